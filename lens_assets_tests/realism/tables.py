"""Tables of observables drawn from one law, for what needs many batteries and no pixels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.realism import RealismSettings
from lens_assets.realism.background import Background
from lens_assets_tests.realism.pilot import edited

TYPES = ("SER", "DEV", "REX", "EXP")


def demo_realism(**edits: object) -> RealismSettings:
    """Return the demo's settings, cheap, with edits by dotted name in which `__` stands for the dot."""
    cheap = {"distributions.resamples": 500, "strata.columns": []}
    return edited(load_campaign("demo").realism, cheap | {name.replace("__", "."): v for name, v in edits.items()})


def draw_observables(count: int, random: np.random.Generator, fainter_hosts_mag: float = 0.0) -> pd.DataFrame:
    """Return observables of visible arcs; brightness and radius go with the host, as they do on the sky."""
    host = random.normal(20.0 + fainter_hosts_mag, 0.6, count)
    radius = random.normal(1.6, 0.35, count)
    snr = np.exp(random.normal(3.6, 0.5, count) - 0.15 * (host - 20.0))
    return pd.DataFrame(
        {
            "galaxy_id": [f"9_1_{row}" for row in range(count)],
            "type": random.choice(TYPES, count, p=[0.5, 0.3, 0.1, 0.1]),
            "arc_snr": np.maximum(snr, 12.0),
            "arc_g_minus_r": random.normal(0.5, 0.2, count),
            "arc_r_minus_z": random.normal(0.4, 0.2, count),
            "arc_surface_brightness": random.normal(24.5, 0.5, count) + 0.3 * (host - 20.0),
            "arc_width_over_psf": random.lognormal(0.0, 0.2, count),
            "arc_radius_arcsec": radius,
            "residual_amplitude": random.lognormal(-2.3, 0.5, count),
            "tangential_asymmetry": random.beta(4, 2, count),
            "arc_noise_ratio": random.lognormal(0.05, 0.1, count),
            "host_core_mag_r": host,
            "host_halo_mag_z": host - 1.5 + random.normal(0, 0.2, count),
            "host_g_minus_r": random.normal(1.3, 0.3, count),
            "psfsize_r": random.normal(1.35, 0.12, count),
            "psfdepth_r_mag": random.normal(24.3, 0.3, count),
            "host_visible": False,
        }
    )


def draw_anchors(count: int, random: np.random.Generator) -> pd.DataFrame:
    """Return anchors, four of ten of them for calibration."""
    table = draw_observables(count, random)
    return table.assign(half=np.where(np.arange(count) % 10 < 4, "calibration", "gate"))


def draw_background(pairs: int, random: np.random.Generator, scale: float = 1.0, pixels: int = 60) -> Background:
    """Return sky pixels of pairs whose stamps share the level of their brick and have one of their own.

    A coin says which of a pair is shown injected; `scale` multiplies what is shown injected.
    """
    brick = random.normal(0.0, 0.3, (12, 3))[random.integers(0, 12, pairs)]
    both = (
        random.normal(size=(2, pairs, 3, pixels)) + random.normal(0.0, 0.2, (2, pairs, 3, 1)) + brick[None, ..., None]
    )
    coin = random.integers(0, 2, pairs)
    rows = np.arange(pairs)
    conditions = pd.DataFrame({"psfsize_r": random.normal(1.35, 0.12, pairs)})
    return Background(scale * both[coin, rows], both[1 - coin, rows], conditions)
