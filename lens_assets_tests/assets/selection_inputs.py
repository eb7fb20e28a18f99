"""Inputs of the selection-function and audit assets: hosts without light, drawn injections and a detector of arcs."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lens_assets.campaign.campaign import Campaign
from lens_assets.campaign.stages.injection import InjectionSettings
from lens_assets.imaging.stamps import stamp_path, write_stamps
from lens_assets.lake.lake import Lake
from lens_assets.lensing.injection import RenderResult, render_injections
from lens_assets.lensing.plan import HOST_COLUMNS, draw_parameters
from lens_assets.selection.footprint import condition_table, count_conditions
from lens_assets.selection.grid import bin_index, condition_keys
from lens_assets_tests.support import store

PIXELS = 101
CONDITION = "psf1.40_depth24.50"
THRESHOLDS = pd.DataFrame(
    {"name": ["fixed_0.5", "fpr_0.05"], "kind": ["fixed", "fpr"], "target": [0.5, 0.05], "threshold": [0.5, 0.5],
     "threshold_lower": [0.5, 0.4], "threshold_upper": [0.5, 0.6], "n_above": [100, 40], "sufficient": [True, True]}
)  # fmt: skip
CALIBRATION = pd.DataFrame(
    {"magnitude_shift_mag": [-0.4], "lower_mag": [-0.5], "upper_mag": [-0.3], "mode": ["fitted"]}
)
ALTERNATIVES = pd.DataFrame(
    {"anchors": ["without_tier_b", "without_candidates"], "magnitude_shift_mag": [-0.7, 0.0],
     "lower_mag": [-0.8, 0.0], "upper_mag": [-0.6, 0.0], "mode": ["fitted", "not_fitted"]}
)  # fmt: skip


class ArcDetector:
    """Scores a stamp by the light in the arc annulus: what a perfectly interpretable detector would do."""

    name = "arc"
    digest = "d" * 64

    def score(self, stamps: np.ndarray) -> np.ndarray:
        """Return scores (N,) of stamps (N, 3, H, W): 0.5 at 0.8 nanomaggies of r between 4 and 16 pixels."""
        axis = np.arange(PIXELS) - PIXELS // 2
        radius = np.hypot(axis[:, None], axis[None, :])
        light = np.asarray(stamps, np.float64)[:, 1][:, (radius >= 4) & (radius < 16)].sum(axis=1)
        return 1.0 / (1.0 + np.exp(-4.0 * (light - 0.8)))


@pytest.fixture
def arc_detector(monkeypatch: pytest.MonkeyPatch) -> ArcDetector:
    """Make every frozen detector of the lake an `ArcDetector`."""
    detector = ArcDetector()
    monkeypatch.setattr("lens_assets.detector.frozen.load_detector", lambda folder: detector)
    return detector


def hosts(count: int = 24) -> pd.DataFrame:
    """Return dark hosts in the median conditions, one a region in turn."""
    table = pd.DataFrame({"galaxy_id": [f"10000_1_{k}" for k in range(count)]})
    table["host_cutout_path"] = [stamp_path("hp04-000", k) for k in range(count)]
    values: dict[str, object] = dict.fromkeys(HOST_COLUMNS, 0.0) | {
        "type": "SER", "sky_partition": "hp04-000", "confuser_category": None, "host_weight": 1.0, "sersic": 4.0,
        "maskbits": 0, "shape_r": 1.0, "ebv": 0.03,
    }  # fmt: skip
    for band in "grz":
        values |= {
            f"mag_{band}": 19.0,
            f"psfsize_{band}": 1.4,
            f"psfdepth_{band}_mag": 24.5,
            f"sky_sigma_{band}": 0.003,
        }
    for name in HOST_COLUMNS:
        if name not in table:
            table[name] = values[name]
    table["region_id"] = np.arange(count) % 3
    table["healpix_128"] = np.arange(count)
    return table[list(HOST_COLUMNS)]


def small(campaign: Campaign) -> Campaign:
    """Return the campaign with few resamples and three variants, for speed."""
    settings = campaign.selection_function
    variants = tuple(item for item in settings.sensitivity.variants if item.name in ("brighter", "fainter", "low_gain"))
    changes = {
        "intervals": settings.intervals.model_copy(update={"bootstrap_resamples": 50}),
        "sensitivity": settings.sensitivity.model_copy(update={"variants": variants}),
    }
    stages = {**campaign.stages, "selection_function": settings.model_copy(update=changes)}
    return dataclasses.replace(campaign, stages=stages)


@functools.lru_cache(maxsize=2)
def _rendered(settings: InjectionSettings, edges: tuple[float, ...], count: int) -> RenderResult:
    plan = draw_parameters(hosts(), count, settings, 1, 0.0, (edges[0], edges[-1]), "grid")
    plan.insert(2, "condition", CONDITION)
    plan.insert(3, "theta_e_bin", bin_index(plan["theta_e_arcsec"], edges))
    plan["condition"] = plan["condition"].astype("str")
    return render_injections(plan, np.full((len(plan), 3, PIXELS, PIXELS), 1e-6, np.float32), settings)


def fill_injections(lake: Lake, campaign: Campaign, folder: Path, count: int = 60) -> pd.DataFrame:
    """Store dark host cutouts, the injections rendered on them, their scores and the thresholds of every detector."""
    grid, dark = campaign.selection_function.grid, hosts()
    rendered = _rendered(campaign.injection, grid.theta_e_edges_arcsec, count)
    truth = rendered.truth.reset_index(drop=True)
    detector = ArcDetector()
    for key in condition_keys(grid):
        rows = truth if key == CONDITION else truth.iloc[:0]
        path = folder / f"{key}.arrow"
        stamps = rendered.stamps if key == CONDITION else rendered.stamps[:0]
        write_stamps(path, rows["injection_id"].tolist(), stamps)
        store(lake, "injection_batches", rows, key, {"stamps.arrow": path.read_bytes()})
    counts = count_conditions(grid, dark["psfsize_r"], dark["psfdepth_r_mag"])
    store(lake, "footprint_conditions", condition_table(grid, counts, "footprint, sources"))
    scores = pd.DataFrame({"injection_id": truth["injection_id"], "host_score": 0.04})
    scores["injected_score"] = detector.score(rendered.stamps)
    for name in campaign.evaluation.detectors:
        store(lake, "injection_scores", scores, name)
        store(lake, "frozen_detector", THRESHOLDS, name, {"detector.json": b"{}"})
    store(lake, "brightness_calibration", CALIBRATION, tables={"alternatives": ALTERNATIVES})
    shard = folder / "hosts.arrow"
    write_stamps(shard, list(dark["galaxy_id"]), np.full((len(dark), 3, PIXELS, PIXELS), 1e-6, np.float32))
    for key in campaign.survey.sky_partitions:
        index = pd.DataFrame({"cutout_path": dark["host_cutout_path"]})
        for band in "grz":
            index[f"zero_fraction_{band}"] = 0.0
        index = index if key == "hp04-000" else index.iloc[:0]
        store(lake, "cutouts", index, key, {"stamps.arrow": shard.read_bytes()})
    return truth


def verdict_bytes(gate: str, decision: str) -> bytes:
    """Return a stored verdict."""
    content = {"gate": gate, "decision": decision, "inputs": {}, "rows": [], "reasons": [], "statement": f"{decision}."}
    return json.dumps(content).encode()
