"""The injection assets: hosts, cells, stamps and scores answer to their inputs as the science says."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lens_assets.assets import injection as assets
from lens_assets.assets.framework import Product
from lens_assets.campaign.campaign import Campaign, load_campaign
from lens_assets.campaign.stages.selection_function import SelectionFunctionSettings
from lens_assets.imaging.stamps import read_stamps, write_stamps
from lens_assets.lake.lake import Lake, LakeError
from lens_assets_tests.assets.selection_inputs import ArcDetector, arc_detector
from lens_assets_tests.support import run_asset, store

__all__ = ["arc_detector"]

SHARD = "hp04-000"
HOSTS = 40
GRID = {
    "name": "footprint",
    "theta_e_arcsec": {"start": 0.75, "step": 0.5, "count": 3},
    "psf_fwhm_arcsec": {"start": 1.2, "step": 0.2, "count": 2},
    "depth_mag": {"start": 24.25, "step": 0.5, "count": 1},
    "injections_per_cell": 8,
}
SHARP, BROAD = "psf1.20_depth24.25", "psf1.40_depth24.25"


def small_campaign(**injection: object) -> Campaign:
    """Return the demo with a grid of two conditions and a pilot of 30."""
    demo = load_campaign("demo")
    content = json.loads(demo.selection_function.model_dump_json())
    content |= {"grids": [GRID], "audited_grid": "footprint"}
    content["reference"] |= {"theta_e_arcsec": 1.0, "psf_fwhm_arcsec": 1.2, "depth_mag": 24.3}
    selection = SelectionFunctionSettings.model_validate_json(json.dumps(content))
    changed = demo.injection.model_copy(update={"pilot_injections": 30, **injection})
    return replace(demo, stages={**demo.stages, "selection_function": selection, "injection": changed})


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return small_campaign()


def manifest() -> pd.DataFrame:
    stream = np.random.default_rng(0)
    frame = pd.DataFrame({"galaxy_id": [f"10000_1_{row:03d}" for row in range(HOSTS)]})
    frame["cutout_path"] = [f"{SHARD}#{row}" for row in range(HOSTS)]
    values = {
        "label": 0, "split": "test", "quality_ok": True, "in_deployment": True, "sampling_weight_deployment": 10.0,
        "type": "SER", "mag_g": 19.5, "mag_r": 19.0, "mag_z": 18.5, "shape_r": 1.2, "sersic": 4.0, "ebv": 0.03,
        "maskbits": 0, "sky_partition": SHARD, "region_id": 1, "healpix_128": 5.0, "confuser_category": None,
    }  # fmt: skip
    frame = frame.assign(**values)
    frame["shape_e1"], frame["shape_e2"] = stream.normal(0, 0.1, (2, HOSTS))
    psf = np.where(np.arange(HOSTS) % 2 == 0, 1.2, 1.4)
    for band, factor in (("g", 1.1), ("r", 1.0), ("z", 0.95)):
        frame[f"psfsize_{band}"] = psf * factor
        frame[f"psfdepth_{band}"] = (5.0 / 10 ** (0.4 * (22.5 - 24.3))) ** 2
    return frame


def cutouts() -> pd.DataFrame:
    frame = pd.DataFrame({"cutout_path": [f"{SHARD}#{row}" for row in range(HOSTS)], "status": "ok"})
    return frame.assign(sky_sigma_g=0.0017, sky_sigma_r=0.0033, sky_sigma_z=0.0078)


def shift(value: float) -> pd.DataFrame:
    return pd.DataFrame({"magnitude_shift_mag": [value]})


def red_sources() -> pd.DataFrame:
    """Every third host is red in one variant, the first alone in another."""
    names = manifest()["galaxy_id"]
    flags = {"lrg_v2_baseline_dr10": np.arange(HOSTS) % 3 == 0, "lrg_v1_pure_massive": np.arange(HOSTS) == 0}
    return pd.DataFrame({"galaxy_id": names, **flags})


def plan_of(campaign: Campaign, **changes: pd.DataFrame) -> Product:
    inputs = {
        "training_manifest": manifest(),
        "cutouts": {SHARD: cutouts()} | dict.fromkeys(campaign.survey.sky_partitions[1:], cutouts()[:0]),
        "brightness_calibration": shift(0.0),
        "lrg_sources": dict.fromkeys(campaign.survey.sky_partitions, red_sources()[:0]) | {SHARD: red_sources()},
    }
    return run_asset(assets.injection_plan, campaign, inputs | changes)


@pytest.fixture(scope="module")
def plan(campaign) -> Product:
    return plan_of(campaign)


def host_stamps() -> np.ndarray:
    sigma = np.array([0.0017, 0.0033, 0.0078])[None, :, None, None]
    return (np.random.default_rng(3).normal(size=(HOSTS, 3, 101, 101)) * sigma).astype(np.float32)


@pytest.fixture
def lake(tmp_path, campaign, plan) -> Lake:
    lake = Lake(str(tmp_path / "lake"), campaign.name)
    path = tmp_path / "stamps.arrow"
    write_stamps(path, [f"g{row}" for row in range(HOSTS)], host_stamps())
    store(lake, "cutouts", cutouts(), SHARD, files={"stamps.arrow": path})
    store(lake, "injection_plan", plan.table)
    return lake


def test_the_plan_fills_every_cell_that_has_hosts_with_hosts_of_its_own_conditions(plan):
    table = plan.table
    grid = table[table["purpose"] == "grid"]
    assert (table["purpose"] == "pilot").sum() == 30
    assert grid.groupby(["condition", "theta_e_bin"]).size().eq(8).all()
    assert set(grid["condition"]) == {SHARP, BROAD}
    assert grid.loc[grid["condition"] == SHARP, "psfsize_r"].eq(1.2).all()
    assert set(plan.figures) == {"priors", "cells"}


def test_without_hosts_in_a_condition_its_cells_stay_empty_and_are_reported(campaign):
    sharp_only = manifest().query("psfsize_r == 1.2")
    plan = plan_of(campaign, training_manifest=sharp_only)
    cells = plan.tables["cells"].set_index("condition")
    assert cells.loc[BROAD, ["hosts", "planned"]].tolist() == [0, 0]
    assert plan.summary["conditions_without_hosts"] == 1


def test_training_galaxies_and_lenses_never_host(campaign):
    damaged = manifest()
    damaged.loc[:9, "split"] = "train"
    damaged.loc[10:19, "label"] = 1
    plan = plan_of(campaign, training_manifest=damaged)
    assert not set(plan.table["galaxy_id"]) & set(damaged["galaxy_id"][:20])
    assert plan.summary["hosts"] == HOSTS - 20


@pytest.mark.parametrize("parent", ["scan", "v2_baseline_dr10"])
def test_hosts_may_be_luminous_red_galaxies_alone(campaign, plan, parent):
    hosts = campaign.injection.hosts.model_copy(update={"parent": parent})
    changed = campaign.stages["injection"].model_copy(update={"hosts": hosts})
    product = plan_of(replace(campaign, stages=campaign.stages | {"injection": changed}))
    red = set(red_sources().query("lrg_v2_baseline_dr10")["galaxy_id"])
    used, everyone = set(product.table["galaxy_id"]), set(plan.table["galaxy_id"])
    assert used == (everyone if parent == "scan" else everyone & red)
    assert product.summary["host_parent"] == parent


def test_hosts_are_used_in_proportion_to_their_weight(campaign):
    weighted = manifest()
    weighted.loc[weighted["galaxy_id"] < "10000_1_010", "sampling_weight_deployment"] = 1000.0
    pilot = plan_of(campaign, training_manifest=weighted).table.query("purpose == 'pilot'")
    assert (pilot["galaxy_id"] < "10000_1_010").mean() > 0.9


def test_the_calibrated_shift_moves_all_source_magnitudes(campaign, plan):
    brighter = plan_of(campaign, brightness_calibration=shift(-1.5)).table
    assert np.allclose(brighter["source_mag_r"], plan.table["source_mag_r"] - 1.5)
    assert brighter["theta_e_arcsec"].equals(plan.table["theta_e_arcsec"])


def test_another_seed_is_another_plan(plan):
    other = plan_of(small_campaign(seed=99)).table
    assert not np.isin(other["source_mag_r"], plan.table["source_mag_r"]).any()


def test_the_pilot_holds_stamps_in_table_order_with_the_arcs_on_their_hosts(campaign, lake):
    product = run_asset(assets.injection_pilot, campaign, lake=lake)
    truth, stamps = product.table, read_stamps(product.files["stamps.arrow"])
    assert len(truth) == len(stamps) == 30
    assert truth["injection_id"].is_monotonic_increasing
    rows = truth["host_cutout_path"].str.split("#").str[1].astype(int).to_numpy()
    added = (stamps - host_stamps()[rows])[:, 1].sum(axis=(1, 2), dtype=np.float64)
    expected = 10 ** (0.4 * (22.5 - truth["lensed_mag_r"].to_numpy()))
    assert np.allclose(added, expected, rtol=0.03, atol=0.05)
    assert (truth["status"] == 0).all()
    assert product.summary["failed"] == 0


def test_brighter_sources_give_higher_signal_to_noise(campaign, lake, plan):
    faint = run_asset(assets.injection_pilot, campaign, lake=lake).summary["median_arc_snr"]
    bright = plan.table.assign(source_mag_r=plan.table["source_mag_r"] - 2.0)
    store(lake, "injection_plan", bright)
    assert run_asset(assets.injection_pilot, campaign, lake=lake).summary["median_arc_snr"] == pytest.approx(
        faint * 10**0.8, rel=1e-3
    )


def test_a_condition_renders_its_own_rows_and_one_without_hosts_is_an_empty_table(campaign, lake):
    full = run_asset(assets.injection_batches, campaign, lake=lake, partition=SHARP)
    assert set(full.table["condition"]) == {SHARP}
    assert len(full.table) == 24
    empty = run_asset(assets.injection_batches, campaign, lake=lake, partition="psf9.99_depth24.25")
    assert len(empty.table) == 0
    assert list(empty.table.columns) == list(full.table.columns)
    assert empty.table.dtypes.equals(full.table.dtypes)
    assert len(read_stamps(empty.files["stamps.arrow"])) == 0


def test_rendering_again_gives_the_same_bytes(campaign, lake):
    first = run_asset(assets.injection_batches, campaign, lake=lake, partition=SHARP).files["stamps.arrow"].read_bytes()
    shutil.rmtree(lake.staging("injection_batches", SHARP))
    again = run_asset(assets.injection_batches, campaign, lake=lake, partition=SHARP).files["stamps.arrow"].read_bytes()
    assert first == again


def scored(campaign: Campaign, lake: Lake) -> Product:
    for key in (SHARP, BROAD):
        product = run_asset(assets.injection_batches, campaign, lake=lake, partition=key)
        store(lake, "injection_batches", product.table, key, files=dict(product.files))
    detector = next(iter(campaign.evaluation.detectors))
    store(lake, "frozen_detector", pd.DataFrame({"detector": [detector]}), detector, files={"detector.json": b"{}"})
    return run_asset(assets.injection_scores, campaign, lake=lake, partition=detector)


def test_scores_are_those_of_host_and_injected_stamp(campaign, lake, arc_detector: ArcDetector):
    table = scored(campaign, lake).table
    truth = read_stamps(lake.file("injection_batches", "stamps.arrow", SHARP))
    ids = lake.table("injection_batches", SHARP)["injection_id"]
    sharp = table.set_index("injection_id").loc[ids]
    assert np.allclose(sharp["injected_score"], arc_detector.score(truth))
    rows = sharp["host_cutout_path"].str.split("#").str[1].astype(int).to_numpy()
    assert np.allclose(sharp["host_score"], arc_detector.score(host_stamps()[rows]))
    assert len(table) == 48


def test_a_psf_wider_than_the_stamp_is_flagged_and_said_with_what_to_do(campaign, lake, plan, caplog):
    wide = plan.table.copy()
    rows = wide.index[(wide["purpose"] == "grid") & (wide["condition"] == SHARP)][:2]
    wide.loc[rows, "psfsize_z"] = 30.0
    store(lake, "injection_plan", wide)
    product = run_asset(assets.injection_batches, campaign, lake=lake, partition=SHARP)
    assert product.summary["failed"] == 2
    assert product.tables["failures"].to_dict("list") == {"status": ["PSF_TOO_WIDE"], "injections": [2]}
    assert "2 of 24 injections failed" in caplog.text and "cut larger stamps (cutouts.stamp_pixels)" in caplog.text


def test_a_detector_that_was_not_frozen_cannot_score(campaign, lake):
    with pytest.raises(LakeError, match="frozen_detector.*unknown"):
        run_asset(assets.injection_scores, campaign, lake=lake, partition="unknown")


def test_a_failed_injection_has_no_injected_score(campaign, lake, plan, arc_detector: ArcDetector):
    failed = plan.table.copy()
    failed.loc[failed["purpose"] == "grid", "status"] = 1
    store(lake, "injection_plan", failed)
    table = scored(campaign, lake).table
    assert table["injected_score"].isna().all()
    assert table["host_score"].notna().all()
