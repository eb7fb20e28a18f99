"""The audit assets: recall that is lost, galaxies that fool, and a page for every verdict."""

import numpy as np
import pandas as pd
import pytest

from lens_assets.assets import audit as assets
from lens_assets.campaign.campaign import Campaign, load_campaign
from lens_assets.imaging.stamps import stamp_path, write_stamps
from lens_assets.lake.lake import Lake
from lens_assets_tests.assets.selection_inputs import PIXELS, THRESHOLDS, arc_detector, verdict_bytes
from lens_assets_tests.support import run_asset, store

__all__ = ["arc_detector"]
COUNT = 12


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return load_campaign("demo")


@pytest.fixture
def lake(tmp_path, campaign) -> Lake:
    return Lake(str(tmp_path / "lake"), campaign.name)


def _stamps(light: np.ndarray) -> np.ndarray:
    axis = np.arange(PIXELS) - PIXELS // 2
    radius = np.hypot(axis[:, None], axis[None, :])
    ring = (radius >= 4) & (radius < 16)
    stamps = np.full((len(light), 3, PIXELS, PIXELS), 1e-6, np.float32)
    stamps[:, 1][:, ring] = (light / ring.sum())[:, None]
    return stamps


def _fill(lake: Lake, campaign: Campaign, tmp_path, light: np.ndarray) -> None:
    paths = [stamp_path("hp04-000", k) for k in range(len(light))]
    shard = tmp_path / "stamps.arrow"
    write_stamps(shard, paths, _stamps(light))
    index = pd.DataFrame({"cutout_path": paths, "zero_fraction_g": 0.0, "zero_fraction_r": 0.0, "zero_fraction_z": 0.0})
    uncut = pd.DataFrame({"cutout_path": [None, None]})
    index = pd.concat([index, uncut], ignore_index=True)
    for key in campaign.survey.sky_partitions:
        rows = index if key == "hp04-000" else index.iloc[:0]
        store(lake, "cutouts", rows, key, {"stamps.arrow": shard.read_bytes()})
    manifest = pd.DataFrame(
        {
            "cutout_path": paths, "galaxy_id": [f"g{k}" for k in range(len(light))],
            "tier": ["A", "B"] * (len(light) // 2),
            "split": "test", "label": 0, "in_deployment": True, "psfsize_r": 1.4, "psfdepth_r": 200.0, "type": "SER",
            "confuser_category": ["ring", None] * (len(light) // 2), "maskbits": 0,
        }
    )  # fmt: skip
    store(lake, "training_manifest", manifest)
    visible = np.arange(len(light)) % 3 > 0
    anchors = pd.DataFrame({"lens_id": [f"l{k}" for k in range(len(light))], "cutout_path": paths, "visible": visible})
    store(lake, "anchor_observables", anchors)
    for name in campaign.evaluation.detectors:
        store(lake, "frozen_detector", THRESHOLDS, name, {"detector.json": b"{}"})


def test_brighter_arcs_raise_the_conditional_recall_and_leave_the_observable_one(
    lake, campaign, tmp_path, arc_detector
):
    _fill(lake, campaign, tmp_path, np.linspace(0.1, 1.5, COUNT))
    faint = run_asset(assets.detectability_report, campaign, lake=lake)
    _fill(lake, campaign, tmp_path, np.full(COUNT, 1.5))
    bright = run_asset(assets.detectability_report, campaign, lake=lake)
    assert bright.summary["conditional_recall"] == 1.0 > faint.summary["conditional_recall"] > 0.0
    assert bright.summary["observable_recall"] == faint.summary["observable_recall"] == pytest.approx(8 / 12)
    assert set(faint.table["stratum"]) == {"all", "tier A", "tier B"}


def test_what_fools_the_detector_is_named(lake, campaign, tmp_path, arc_detector):
    _fill(lake, campaign, tmp_path, np.where(np.arange(COUNT) % 2 == 0, 1.5, 0.0))
    product = run_asset(assets.false_positive_taxonomy, campaign, lake=lake)
    rates = product.table.set_index(["threshold", "property", "class"])
    assert rates.loc[("fpr_0.05", "confuser_category", "ring"), ["k", "n"]].tolist() == [6, 6]
    assert rates.loc[("fpr_0.05", "confuser_category", "none"), "k"] == 0
    assert rates.loc[("fpr_0.05", "seeing", "1.35-1.50 arcsec"), "n"] == COUNT
    assert product.tables["top_of_list"]["confuser_category"].head(6).tolist() == ["ring"] * 6
    quiet = run_asset(assets.false_positive_taxonomy, campaign, lake=lake)
    assert quiet.table.equals(product.table)


@pytest.mark.parametrize("decision", ["GO", "NO-GO"])
def test_the_report_renders_whatever_the_gate_said(lake, campaign, decision):
    store(lake, "realism_gate", None, files={"verdict.json": verdict_bytes("realism_gate", decision)})
    rows = pd.DataFrame({"observable": ["arc_snr"], "verdict": ["PASS" if decision == "GO" else "FAIL"]})
    store(lake, "realism_report", rows)
    product = run_asset(assets.audit_report, campaign, lake=lake)
    html = product.files["report.html"].decode()
    assert f'<strong class="{decision}">' in html
    assert "NOT-REACHED" in html
    assert "arc_snr" in html
    assert ("realism_gate said NO-GO" in html) == (decision == "NO-GO")
    assert product.summary["realism_gate"] == decision
    assert product.summary["release_gate"] == "NOT-REACHED"


def test_the_report_of_an_empty_lake_says_what_is_missing(lake, campaign):
    html = run_asset(assets.audit_report, campaign, lake=lake).files["report.html"].decode()
    assert html.count("in the lake: it was not materialised") >= 10
