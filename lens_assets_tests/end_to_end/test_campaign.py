"""The whole lineage on the miniature campaign: what the tables hold, not that they exist."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lens_assets.assets.execution import Lineage
from lens_assets.checks.great_expectations import load_suites, validate
from lens_assets.lake.lake import Lake
from lens_assets_tests.end_to_end.command_line import digests, run_command
from lens_assets_tests.end_to_end.miniature import EXPERIMENTS, PARTITIONS, Place, opened_instance

pytestmark = pytest.mark.end_to_end

# What other people build on: names, groups and partitions. A changed contract has to be changed here too.
SQL_MODELS = (
    "int_cascade int_class_combinations int_class_matches int_confuser_classes int_confuser_quotas "
    "int_draw_limits int_filter_counts int_filter_groups int_filters int_legacy_draws int_lrg_cell_density "
    "int_negative_filters int_negative_pools int_random_quotas int_sample_candidates int_stratum_quotas "
    "legacy_sample legacy_strata lrg_cells lrg_parent_v1_pure_massive lrg_parent_v2_baseline_dr10 "
    "lrg_parent_v3_color_relaxed lrg_parent_v4_mag_relaxed lrg_parent_v5_very_relaxed lrg_regions lrg_sources "
    "negative_candidates negative_pool parity_alternative parity_bands parity_breakdown parity_cascade "
    "parity_confusers parity_exclusion parity_maskbits parity_overlap parity_strata sample_strata "
    "stg_legacy_hosts stg_reachable_sources stg_sample_negatives stg_sample_positives stg_sweep_sources "
    "stratified_sample"
)
CONTRACT: dict[str, dict[str, str | None]] = {
    "survey": {"simulated_survey": None, "simulated_truth": None, "sweep_sources": "sky"},
    "catalogs": {"contaminant_catalog": None, "lens_catalog": None, "spectroscopic_catalog": None},
    "sql": {f"sql/{model}": None for model in SQL_MODELS.split()},
    "sampling": {
        "legacy_sample": None,
        "lrg_regions": None,
        "lrg_sources": "sky",
        "negative_pool": "sky",
        "parity_report": None,
        "positives": None,
        "split_cells": None,
        "stratified_sample": None,
    },
    "cutouts": {
        "cutout_features": "sky",
        "cutouts": "sky",
        "shortcut_audit": None,
        "split_proof": None,
        "training_manifest": None,
    },
    "detector": {
        "ensemble_report": None,
        "evaluation_report": "experiment",
        "frozen_detector": "detector",
        "scores": "experiment",
        "trained_model": "experiment",
    },
    "injection": {
        "anchor_observables": None,
        "brightness_calibration": None,
        "injection_batches": "condition",
        "injection_pilot": None,
        "injection_plan": None,
        "injection_scores": "detector",
        "realism_gate": None,
        "realism_report": None,
    },
    "selection_function": {
        "closure_report": None,
        "completeness_table": "detector",
        "failure_experiments": None,
        "footprint_conditions": None,
        "release_gate": None,
        "selection_function_product": None,
        "sensitivity_report": None,
    },
    "audit": {"audit_report": None, "detectability_report": None, "false_positive_taxonomy": None},
}
KEYS = {
    "sky": PARTITIONS,
    "experiment": list(EXPERIMENTS),
    "detector": ["baseline", "ensemble"],
    "condition": ["psf1.40_depth23.90", "psf1.40_depth24.90"],
}
WITHOUT_TABLE = {"audit_report", *CONTRACT["sql"]}
SUITES = load_suites()
CORRUPTIONS = [(name, corruption) for name, suite in SUITES.items() for corruption in suite.corruptions]


@pytest.fixture(scope="module")
def lineage(finished: Place) -> Lineage:
    from lens_assets.campaign.campaign import load_campaign
    from lens_assets.definitions import build_lineage

    return build_lineage(load_campaign(finished.campaign))


@pytest.fixture(scope="module")
def lake(finished: Place, lineage: Lineage) -> Lake:
    return Lake(finished.lake, lineage.campaign.name)


@pytest.fixture(scope="module")
def manifest(lake: Lake) -> pd.DataFrame:
    return lake.table("training_manifest")


def everything(lake: Lake, asset: str, scheme: str) -> pd.DataFrame:
    return pd.concat([lake.table(asset, key) for key in KEYS[scheme]], ignore_index=True)


# -- the contract ---------------------------------------------------------------------------------


def test_keys_groups_and_partitions_are_the_contract(finished: Place) -> None:
    import dagster as dg

    from lens_assets.definitions import build_defs

    graph = build_defs(finished.campaign).resolve_asset_graph()
    found: dict[str, dict[str, object]] = {}
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        partitions = node.partitions_def
        keys = list(partitions.get_partition_keys()) if isinstance(partitions, dg.StaticPartitionsDefinition) else None
        found.setdefault(node.group_name, {})[key.to_user_string()] = keys
    expected = {
        group: {name: KEYS[scheme] if scheme else None for name, scheme in assets.items()}
        for group, assets in CONTRACT.items()
    }
    assert found == expected
    stages = {key.path[-1] for key in graph.observable_asset_keys}
    assert stages == {
        *("catalogs", "closure", "cutouts", "evaluation", "experiments", "features", "host_selection", "injection"),
        *("negatives", "realism", "report", "sampling", "selection_function", "simulated_sky", "splits", "survey"),
    }


def test_every_partition_of_every_asset_has_rows(lake: Lake, lineage: Lineage) -> None:
    for name, asset in lineage.assets.items():
        for key in lineage.keys(asset):
            record = lake.require(name, key)
            assert record.files, name
            if name not in WITHOUT_TABLE:
                assert record.rows == len(lake.table(name, key)) > 0, (name, key)


def test_every_record_names_the_run_that_dagster_shows(finished: Place, lake: Lake, lineage: Lineage) -> None:
    import dagster as dg

    with opened_instance(finished) as instance:
        successes = {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))}
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
        for name, asset in lineage.assets.items():
            for key in lineage.keys(asset):
                record = lake.require(name, key)
                assert record.run_id in successes
                shown = instance.fetch_materializations(
                    dg.AssetRecordsFilter(dg.AssetKey(name.split("/")), asset_partitions=[key] if key else None),
                    limit=1,
                ).records[0]
                assert shown.asset_materialization is not None
                assert shown.asset_materialization.metadata["digest"].value == record.digest


# -- catalogs, survey, sampling -------------------------------------------------------------------


def test_sources_are_held_once_and_the_truth_is_among_them(lake: Lake) -> None:
    sources = everything(lake, "sweep_sources", "sky")
    own = sources[~sources["in_margin"]]
    assert own["galaxy_id"].is_unique
    truth = lake.table("simulated_truth")
    named = truth[truth["galaxy_id"].notna() & (truth["galaxy_id"] != "")]
    joined = named.merge(own, on="galaxy_id", suffixes=("_true", ""), validate="one_to_one")
    assert len(joined) > 0.9 * len(named)
    offset = np.hypot(
        (joined["ra"] - joined["ra_true"]) * np.cos(np.radians(joined["dec"])), joined["dec"] - joined["dec_true"]
    )
    assert float((offset * 3600).max()) < 1.5


def test_positives_lie_on_the_true_lenses(lake: Lake) -> None:
    from astropy import units
    from astropy.coordinates import SkyCoord

    positives, truth = lake.table("positives"), lake.table("simulated_truth")
    matched = positives[positives["matched"]]
    lenses = truth[truth["kind"] == "lens"]
    assert len(matched) > 0.8 * len(lenses)
    assert not positives.loc[~positives["matched"], "unmatched_reason"].isna().any()
    found = SkyCoord(matched["ra"], matched["dec"], unit=units.deg)
    true = SkyCoord(lenses["ra"], lenses["dec"], unit=units.deg)
    nearest, separation, _ = found.match_to_catalog_sky(true)
    assert (separation < 1.0 * units.arcsec).all()
    assert len(set(nearest)) == len(matched)
    assert set(lenses["galaxy_id"].iloc[nearest]) == set(matched["galaxy_id"])


def test_no_true_lens_that_is_published_is_a_negative(lake: Lake, manifest: pd.DataFrame) -> None:
    truth, positives = lake.table("simulated_truth"), lake.table("positives")
    published = set(truth.loc[truth["kind"] == "lens", "galaxy_id"]) & set(
        positives.loc[positives["matched"], "galaxy_id"]
    )
    assert not set(manifest.loc[manifest["label"] == 0, "galaxy_id"]) & published


def test_splits_share_no_galaxy_and_no_cell(manifest: pd.DataFrame, lake: Lake) -> None:
    assert set(manifest["split"]) == {"train", "val", "test"}
    assert manifest["galaxy_id"].is_unique
    assert (manifest.groupby("healpix_128")["split"].nunique() == 1).all()
    cells = lake.table("split_cells").set_index("healpix_128")["split"]
    assert (cells.loc[manifest["healpix_128"].astype(int)].to_numpy() == manifest["split"].to_numpy()).all()
    for label in (0, 1):
        assert set(manifest.loc[manifest["label"] == label, "split"]) == {"train", "val", "test"}


# -- stamps and scores ----------------------------------------------------------------------------


def test_the_manifest_joins_sources_and_stamps(manifest: pd.DataFrame, lake: Lake) -> None:
    sources = everything(lake, "sweep_sources", "sky")
    own = sources[~sources["in_margin"]][["galaxy_id", "ra", "dec", "mag_r", "psfsize_r"]]
    joined = manifest.merge(own, on="galaxy_id", suffixes=("", "_source"), validate="one_to_one")
    assert len(joined) == len(manifest)
    for column in ("mag_r", "psfsize_r"):
        np.testing.assert_allclose(joined[column], joined[f"{column}_source"], rtol=1e-6)
    stamps = everything(lake, "cutouts", "sky")
    assert set(manifest["cutout_path"]) <= set(stamps["cutout_path"])
    paired = manifest.merge(stamps[["cutout_path", "galaxy_id"]], on="cutout_path", suffixes=("", "_stamp"))
    assert (paired["galaxy_id"] == paired["galaxy_id_stamp"]).all()


def test_stamps_are_finite_and_bright_where_their_galaxy_is(manifest: pd.DataFrame, lake: Lake) -> None:
    from lens_assets.imaging.stamps import STAMP_FILE, StampReader

    reader = StampReader(lambda shard: lake.file("cutouts", STAMP_FILE, shard))
    stamps = reader.read(manifest["cutout_path"].tolist())
    assert stamps.shape == (len(manifest), 3, 101, 101)
    assert stamps.dtype == np.float32
    assert np.isfinite(stamps).all()
    core = stamps[:, 1, 48:53, 48:53].mean(axis=(1, 2))
    rim = np.median(stamps[:, 1, :8, :].reshape(len(stamps), -1), axis=1)
    assert (core > rim).mean() > 0.98


def test_scores_are_probabilities_of_what_was_not_trained_on(manifest: pd.DataFrame, lake: Lake) -> None:
    trained = manifest[(manifest["split"] == "train") & manifest["in_baseline"] & (manifest["sample_weight"] > 0)]
    trained = trained[~trained["evaluation_only"]]
    for experiment in EXPERIMENTS:
        scores = lake.table("scores", experiment)
        assert scores["score"].between(0, 1).all()
        assert scores["score"].nunique() > len(scores) // 2
        assert set(scores["galaxy_id"]) == set(manifest["galaxy_id"]) - set(trained["galaxy_id"])
        joined = scores.merge(manifest, on="galaxy_id", suffixes=("", "_manifest"), validate="one_to_one")
        for column in ("cutout_path", "label", "split", "tier"):
            assert (joined[column] == joined[f"{column}_manifest"]).all()


def test_the_reported_auc_is_that_of_the_scores(lake: Lake, manifest: pd.DataFrame) -> None:
    from sklearn.metrics import roc_auc_score

    for experiment in EXPERIMENTS:
        scores = lake.table("scores", experiment)
        test = scores[(scores["split"] == "test") & scores["in_baseline"]]
        reported = lake.require("evaluation_report", experiment).summary["test_auc"]
        assert reported == pytest.approx(roc_auc_score(test["label"], test["score"]), abs=1e-9)


# -- injections and completeness ------------------------------------------------------------------


def test_injections_have_other_light_than_their_hosts(lake: Lake, manifest: pd.DataFrame) -> None:
    from lens_assets.imaging.stamps import STAMP_FILE, StampReader, read_stamps

    reader = StampReader(lambda shard: lake.file("cutouts", STAMP_FILE, shard))
    hosts = manifest[(manifest["label"] == 0) & (manifest["split"] == "test")]
    for condition in KEYS["condition"]:
        table = lake.table("injection_batches", condition)
        assert set(table["galaxy_id"]) <= set(hosts["galaxy_id"])
        good = np.flatnonzero(table["status"] == 0)
        injected = read_stamps(lake.file("injection_batches", STAMP_FILE, condition), good)
        alone = reader.read(table["host_cutout_path"].iloc[good].tolist())
        added = (injected - alone)[:, 1].sum(axis=(1, 2))
        expected = 10 ** ((22.5 - table["lensed_mag_r"].iloc[good].to_numpy()) / 2.5)
        np.testing.assert_allclose(added.mean(), expected.mean(), rtol=0.1)


def test_completeness_recounts_from_the_injections(lake: Lake) -> None:
    """Detections and trials of every cell and threshold, counted again by another route."""
    truth = everything(lake, "injection_batches", "condition")
    for detector in KEYS["detector"]:
        table = lake.table("completeness_table", detector)
        scored = truth.merge(lake.table("injection_scores", detector), on="injection_id", suffixes=("", "_scored"))
        scored = scored[(scored["status"] == 0) & scored["injected_score"].notna()]
        assert len(scored) > 100
        for row in table.itertuples():
            cell = scored.query("condition == @row.condition")
            cell = cell[(cell["theta_e_arcsec"] - row.theta_e_arcsec).abs() <= 0.3]
            found = cell.query("injected_score >= @row.threshold_score and host_score < @row.threshold_score")
            assert (row.n, row.k) == (len(cell), len(found))
            assert row.n_hosts == cell["galaxy_id"].nunique()
            assert row.completeness == pytest.approx(len(found) / len(cell))
        assert table.groupby("threshold")["n"].sum().eq(len(scored)).all()


def test_completeness_lies_within_its_intervals(lake: Lake) -> None:
    for detector in KEYS["detector"]:
        table = lake.table("completeness_table", detector)
        assert table["k"].sum() > 0
        assert (table["k"] < table["n"]).any()
        for level in (68, 95):
            inside = table["posterior_mean"].between(table[f"beta_lower_{level}"], table[f"beta_upper_{level}"])
            assert inside.all()
            for kind in ("host", "cell"):
                lower, upper = table[f"{kind}_lower_{level}"], table[f"{kind}_upper_{level}"]
                assert table["completeness"].between(lower - 1e-9, upper + 1e-9).mean() > 0.9
        assert (table["beta_lower_95"] <= table["beta_lower_68"]).all()
        assert (table["beta_upper_95"] >= table["beta_upper_68"]).all()


def test_the_closure_measures_true_lenses_of_the_test_split(lake: Lake) -> None:
    report = lake.table("closure_report")
    assert set(report["detector"]) == set(KEYS["detector"])
    assert (report["bias"] - (report["predicted_recall"] - report["true_recall"])).abs().max() < 1e-12
    truth, cells = lake.table("simulated_truth"), lake.table("split_cells")
    sources = everything(lake, "sweep_sources", "sky")
    lenses = truth[truth["kind"] == "lens"].merge(
        sources.loc[~sources["in_margin"], ["galaxy_id", "healpix_128"]], on="galaxy_id"
    )
    test = set(cells.loc[cells["split"] == "test", "healpix_128"])
    assert 0 < report["n_lenses"].max() <= lenses["healpix_128"].isin(test).sum()


def test_the_verdicts_say_go_for_what_is_in_the_lake(lake: Lake, lineage: Lineage) -> None:
    for gate in ("realism_gate", "release_gate"):
        verdict = json.loads(lake.file(gate, "verdict.json").read_text())
        assert verdict["decision"] == "GO"
        assert verdict["inputs"].items() >= lake.require(gate).provenance.upstream.items()
    assert lineage.stale(lake, list(lineage.assets)) == []


# -- what is handed out ---------------------------------------------------------------------------


def test_the_release_answers_through_its_own_loader(lake: Lake) -> None:
    """The loader is taken from the release folder: what is downloaded has to work by itself."""
    folder = lake.folder("selection_function_product") / "release"
    specification = importlib.util.spec_from_file_location("released_loader", folder / "selection_function.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["released_loader"] = module
    specification.loader.exec_module(module)
    released = module.load(folder, quiet=True)
    table = lake.table("completeness_table", "baseline")
    cell = table[(table["threshold"] == "fpr_0.1") & table["supported"]].iloc[0]
    axes = ("theta_e_arcsec", "psf_fwhm_arcsec", "depth_mag")
    answer = released.completeness(**{axis: float(cell[axis]) for axis in axes}, threshold="fpr_0.1")
    assert float(answer.value) == pytest.approx(cell["posterior_mean"])
    assert answer.lower <= answer.value <= answer.upper
    with pytest.raises(module.OutsideGridError, match=r"lies outside the grid"):
        released.completeness(theta_e_arcsec=9.0, psf_fwhm_arcsec=1.4, depth_mag=24.0, threshold="fpr_0.1")
    assert released.metadata["verdicts"]["realism_gate"].startswith("GO")


def test_the_audit_report_shows_the_numbers(lake: Lake) -> None:
    page = lake.file("audit_report", "report.html").read_text(encoding="utf-8")
    auc = lake.require("evaluation_report", "baseline").summary["test_auc"]
    assert f"{auc:.3f}" in page or f"{auc:.2f}" in page
    assert "GO" in page


# -- the checks on real tables --------------------------------------------------------------------


@pytest.fixture(scope="module")
def checked(lake: Lake) -> dict[str, pd.DataFrame]:
    """The first partition of the table of every suite, as the lineage made it."""
    schemes = {name: scheme for assets in CONTRACT.values() for name, scheme in assets.items()}
    tables = {}
    for name, suite in SUITES.items():
        scheme = schemes[suite.asset]
        file = f"{suite.table}.parquet" if suite.table else "table.parquet"
        tables[name] = lake.table(suite.asset, KEYS[scheme][0] if scheme else None, name=file)
    return tables


@pytest.mark.parametrize(("name", "corruption"), CORRUPTIONS)
def test_every_corruption_of_a_real_table_fails_by_name(
    name: str, corruption: str, checked: dict[str, pd.DataFrame], lineage: Lineage
) -> None:
    expectation, _, column = corruption.partition(":")
    damaged = SUITES[name].corruptions[corruption](checked[name].copy())
    failed = [item for item in validate(damaged, SUITES[name], lineage.campaign) if not item.passed]
    assert any(item.expectation == expectation and column in ("", item.column) for item in failed), failed


# -- MLflow ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry(finished: Place):
    import mlflow

    uri = f"sqlite:///{finished.state / 'mlflow.db'}"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield mlflow.MlflowClient(uri, uri)
    mlflow.set_tracking_uri(before)


def runs_of(registry, experiment: str) -> dict[str, object]:
    found = registry.get_experiment_by_name(f"miniature/{experiment}")
    runs = registry.search_runs([found.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    return {run.info.run_name: run for run in runs}


def test_every_computation_is_one_tracked_run(registry) -> None:
    names = {
        "training": set(EXPERIMENTS),
        "evaluation": set(EXPERIMENTS),
        "freezing": set(KEYS["detector"]),
        "selection_function": set(KEYS["detector"]),
    }
    for experiment, expected in names.items():
        assert set(runs_of(registry, experiment)) == expected
        assert len(runs_of(registry, experiment)) == len(expected)


def test_tracked_runs_hold_parameters_metrics_and_links(registry, lake: Lake, lineage: Lineage) -> None:
    manifest_digest = lake.require("training_manifest").digest
    for name, run in runs_of(registry, "training").items():
        tags, settings = run.data.tags, lineage.campaign.experiments[name]
        assert tags["manifest_digest"] == manifest_digest
        assert tags["dagster/run_id"] == lake.require("trained_model", name).run_id
        assert tags[f"settings/experiments/{name}"] == lineage.campaign.settings_digest(f"experiments/{name}")[:16]
        assert run.data.params["training.epochs"] == str(settings.training.epochs)
        history = registry.get_metric_history(run.info.run_id, "validation_auc")
        stored = lake.table("trained_model", name)
        assert [point.step for point in history] == stored["epoch"].tolist()
        np.testing.assert_allclose([point.value for point in history], stored["validation_auc"])
    for run in runs_of(registry, "freezing").values():
        for experiment in EXPERIMENTS:
            digest = lineage.campaign.settings_digest(f"experiments/{experiment}")
            assert run.data.tags[f"settings/experiments/{experiment}"] == digest[:16]
    for name, run in runs_of(registry, "selection_function").items():
        summary = lake.require("completeness_table", name).summary
        assert run.data.metrics["pooled_completeness"] == pytest.approx(summary["pooled_completeness"])
        artifacts = {item.path for item in registry.list_artifacts(run.info.run_id, "figures")}
        assert "figures/completeness_maps.png" in artifacts
    evaluated = runs_of(registry, "evaluation")["baseline"].data.metrics
    assert evaluated["test_auc"] == pytest.approx(lake.require("evaluation_report", "baseline").summary["test_auc"])


def test_the_champion_is_the_primary_detector_and_scores_as_it_does(registry, lake: Lake) -> None:
    import mlflow
    from mlflow.models import get_model_info

    champion = registry.get_model_version_by_alias("miniature-finder", "champion")
    detector_digest = lake.require("frozen_detector", "baseline").summary["digest"]
    assert champion.tags["lens_assets/digest"] == detector_digest
    signature = get_model_info("models:/miniature-finder@champion").signature
    assert signature is not None
    assert signature.inputs.inputs[0].shape == (-1, 3, 64, 64)
    assert signature.outputs.inputs[0].shape == (-1,)
    module = mlflow.pytorch.load_model("models:/miniature-finder@champion")
    import torch

    from lens_assets.detector.freezing import DetectorModule
    from lens_assets.detector.frozen import load_detector

    example = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 3, 64, 64)).astype(np.float32))
    with torch.inference_mode():
        again = DetectorModule(load_detector(lake.folder("frozen_detector", "baseline"))).eval()(example)
        np.testing.assert_allclose(module(example).numpy(), again.numpy(), atol=1e-5)


# -- again ----------------------------------------------------------------------------------------


def test_a_second_run_runs_nothing_changes_no_digest_and_says_the_three_numbers(
    finished: Place, lineage: Lineage, lake: Lake
) -> None:
    before = digests(finished)
    assert len(before) == sum(len(lineage.keys(asset)) for asset in lineage.assets.values())
    with opened_instance(finished) as instance:
        runs = {run.run_id for run in instance.get_runs()}
    written = {path: path.stat().st_mtime_ns for path in finished.lake.rglob("*") if path.is_file()}
    again = run_command(finished, "run")
    assert again.returncode == 0, again.stderr
    assert "0 assets run" in again.stdout
    with opened_instance(finished) as instance:
        assert {run.run_id for run in instance.get_runs()} == runs
    assert {path: path.stat().st_mtime_ns for path in finished.lake.rglob("*") if path.is_file()} == written
    assert digests(finished) == before
    assert list((finished.lake / "_scratch").iterdir()) == []
    _ends_with_the_three_numbers(again.stdout, lake)


def _ends_with_the_three_numbers(text: str, lake: Lake) -> None:
    auc = lake.require("evaluation_report", "baseline").summary["test_auc"]
    assert f"1. test AUC of baseline: {auc:.3f} [" in text
    assert "2. realism verdict: GO" in text
    reference = lake.require("completeness_table", "baseline").summary["reference_completeness"]
    assert f"{reference:.3f} [" in next(line for line in text.splitlines() if line.startswith("3. "))
    assert str(Path(lake.table_path("completeness_table", "baseline"))) in text
