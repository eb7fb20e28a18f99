"""Inputs of the realism assets: mock lenses and galaxies in a manifest with cutouts, a rendered pilot, a detector."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lens_assets.campaign.campaign import Campaign, load_campaign
from lens_assets.imaging.stamps import STAMP_FILE, stamp_path, write_stamps
from lens_assets.lake.lake import Lake
from lens_assets.lensing.injection import render_injections
from lens_assets.lensing.plan import draw_parameters
from lens_assets_tests.realism.mock import mock_galaxies, mock_lenses
from lens_assets_tests.realism.pilot import LIKE_THE_MOCK, THETA_E_ARCSEC, edited, host_rows
from lens_assets_tests.support import store

SHARD = "hp04-000"
LENSES, GALAXIES, INJECTIONS = 130, 120, 200
CHEAP = {"distributions.resamples": 500, "strata.columns": [], "calibration.draws": 60, "calibration.step_mag": 2.0}


class RingDetector:
    """A detector whose features are the light of four rings."""

    name = "ring"
    digest = "e" * 64

    def score(self, stamps: np.ndarray) -> np.ndarray:
        """Return scores (N,) from the blue light of the third ring: 0.5 is passed by about 1 in 20 galaxies alone."""
        light = np.nan_to_num(self.layer_features(stamps)["rings"])
        return 1.0 / (1.0 + np.exp(-4.0 * (light[:, 6] - 0.3 * light[:, 8] + 0.114)))

    def layer_features(self, stamps: np.ndarray) -> dict[str, np.ndarray]:
        """Return features (N, 12) of one layer."""
        axis = np.arange(101) - 50
        radius = np.hypot(axis[:, None], axis[None, :])
        rings = [stamps[:, :, (radius >= low) & (radius < low + 4)].mean(axis=2) for low in (0, 4, 8, 12)]
        return {"rings": np.arcsinh(100 * np.concatenate(rings, axis=1))}


def realism_campaign(realism: Mapping[str, Any] | None = None, injection: Mapping[str, Any] | None = None) -> Campaign:
    """Return the demo with injections like the mock sky, few resamples and trial draws, and further edits."""
    demo = load_campaign("demo")
    stages = {
        **demo.stages,
        "realism": edited(demo.realism, {**CHEAP, **(realism or {})}),
        "injection": edited(demo.injection, {**LIKE_THE_MOCK, **(injection or {})}),
    }
    return replace(demo, stages=stages)


@lru_cache(maxsize=1)
def sky() -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Return stamps, manifest and cutouts: lenses of both held-out splits, then galaxies of the test split."""
    arcs, lenses = mock_lenses(LENSES, 41, THETA_E_ARCSEC)
    plain, galaxies = mock_galaxies(GALAXIES, 42)
    table = pd.concat([lenses, galaxies], ignore_index=True)
    lens = np.arange(len(table)) < LENSES
    hosts = host_rows(table)
    values: dict[str, Any] = {
        "confuser_category": np.where(np.arange(len(table)) % 2 == 0, "ring", None),
        "cutout_path": [stamp_path(SHARD, row) for row in range(len(table))],
        "label": lens.astype(int),
        "split": np.where(lens & (np.arange(len(table)) % 2 == 0), "val", "test"),
        "quality_ok": True,
        "lens_id": [f"L{row:03d}" if is_lens else None for row, is_lens in enumerate(lens)],
        "tier": np.where(lens, "A", "N1"),
        "family": "mock",
        "confirmation": "confirmed",
        "evaluation_only": False,
        "in_deployment": ~lens,
        "sampling_weight_deployment": 1.0,
        "region_id": np.arange(len(table)) % 3,
        "mag_g": table["mag_r"] + 1.6,
        "mag_z": table["mag_r"] - 0.8,
        "sky_partition": SHARD,
    }
    depths = {f"psfdepth_{b}": (5.0 / 10 ** (0.4 * (22.5 - table[f"psfdepth_{b}_mag"]))) ** 2 for b in "grz"}
    rest = hosts.drop(columns=[name for name in hosts if name in values or name.startswith("psfdepth_")])
    manifest = rest.drop(columns=["host_weight", "host_cutout_path", "sky_sigma_g", "sky_sigma_r", "sky_sigma_z"])
    cutouts = hosts.filter(like="sky_sigma").assign(cutout_path=values["cutout_path"], status="ok")
    return np.concatenate([arcs, plain]), manifest.assign(**values, **depths), cutouts


@lru_cache(maxsize=1)
def pilot() -> tuple[pd.DataFrame, np.ndarray]:
    """Return the truth and the stamps of injections made with the right settings."""
    stamps, manifest, _ = sky()
    _, galaxies = mock_galaxies(GALAXIES, 42)
    known = {name: manifest[name][LENSES:].to_numpy() for name in ("cutout_path", "confuser_category")}
    hosts = host_rows(galaxies).assign(
        host_cutout_path=known["cutout_path"], confuser_category=known["confuser_category"]
    )
    settings = realism_campaign().injection
    rows = draw_parameters(hosts, INJECTIONS, settings, settings.seed, 0.0, THETA_E_ARCSEC)
    on = rows["host_cutout_path"].str.partition("#")[2].to_numpy(int)
    rendered = render_injections(rows, stamps[on], settings)
    return rendered.truth.reset_index(drop=True), rendered.stamps


def realism_lake(campaign: Campaign, manifest: pd.DataFrame | None = None) -> Lake:
    """Return a lake with the manifest, its cutouts, the pilot and a frozen detector."""
    folder = Path(tempfile.mkdtemp(prefix="realism-"))
    lake = Lake(str(folder / "lake"), campaign.name)
    stamps, table, cutouts = sky()
    truth, injected = pilot()
    path = folder / STAMP_FILE
    write_stamps(path, table["galaxy_id"].tolist(), stamps)
    for key in campaign.survey.sky_partitions:
        rows, files = (cutouts, {STAMP_FILE: path.read_bytes()}) if key == SHARD else (cutouts[:0], {})
        store(lake, "cutouts", rows, key, files)
    store(lake, "training_manifest", table if manifest is None else manifest)
    write_stamps(path, truth["injection_id"].tolist(), injected)
    store(lake, "injection_pilot", truth, files={STAMP_FILE: path.read_bytes()})
    for name in campaign.evaluation.detectors:
        cuts = pd.DataFrame({"name": [campaign.evaluation.thresholds.audit], "threshold": [0.5]})
        store(lake, "frozen_detector", cuts, name, files={"detector.json": b"{}"})
    return lake
