"""The detector assets on a small sky of rings: each answers to its inputs as the science says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lens_assets.assets import detector as assets
from lens_assets.assets import detector_training
from lens_assets.assets.framework import Product
from lens_assets.campaign.campaign import Campaign
from lens_assets.campaign.stages.evaluation import EvaluationSettings
from lens_assets.detector.evaluation import NoTestSplitError
from lens_assets.imaging.stamps import write_stamps
from lens_assets.lake.lake import Lake
from lens_assets_tests.detector.conftest import recipe, sky
from lens_assets_tests.support import run_asset, store

SHARD = "hp04-000"
EVALUATION = {
    "interval_level": 0.95,
    "bootstrap": {"seed": 3, "resamples": 60},
    "thresholds": {"fixed": (0.5,), "fpr_targets": (0.1,), "minimum_above": 5, "audit": "fpr_0.1"},
    "reliability_bins": 5,
    "minimum_subset": 5,
    "deployment_design": "deployment",
    "detectors": {
        "baseline": {"members": ("first",), "combiner": "best_on_validation"},
        "ensemble": {"members": ("first", "second"), "combiner": "stacking"},
    },
    "primary_detector": "baseline",
}
SIZES = {"train": 260, "val": 120, "test": 140}


def campaign() -> Campaign:
    first, second = recipe(training={"epochs": 5}), recipe(training={"epochs": 4, "seed": 6})
    stages = {"evaluation": EvaluationSettings.model_validate(EVALUATION)}
    return Campaign("mini", Path("mini"), stages, {"first": first, "second": second}, {})


def manifest(labels: np.ndarray) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = len(labels)
    lens = labels == 1
    frame = pd.DataFrame({"galaxy_id": [f"10000_{row:06d}_1" for row in range(n)]})
    frame["cutout_path"] = [f"{SHARD}#{row}" for row in range(n)]
    frame["label"] = labels.astype(np.int64)
    frame["split"] = np.repeat(list(SIZES), list(SIZES.values()))
    frame["sample_weight"] = 1.0
    frame["sampling_weight"] = np.where(lens, np.nan, 10.0)
    frame["tier"] = np.where(lens, np.where(rng.random(n) < 0.5, "A", "B"), np.where(rng.random(n) < 0.8, "N1", "N2"))
    frame["pool"] = pd.Series(np.where(lens, None, frame["tier"]), dtype="str")
    frame["confuser_category"] = pd.Series(np.where(frame["tier"] == "N2", "ring", None), dtype="str")
    frame["type"] = np.where(rng.random(n) < 0.5, "SER", "DEV")
    frame["nobs_z_bin"] = "3-5"
    frame["family"] = pd.Series(np.where(lens, "DESI", None), dtype="str")
    frame["confirmation"] = pd.Series(np.where(lens, "candidate", None), dtype="str")
    frame["visible"] = True
    frame["stress_test"] = False
    frame["evaluation_only"] = False
    frame["healpix_128"] = rng.integers(0, 30, n)
    frame["in_baseline"] = True
    frame["in_deployment"] = ~lens & (frame["split"] == "test")
    return frame


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    folder = tmp_path_factory.mktemp("lake")
    stamps, labels = sky(sum(SIZES.values()), 11)
    table = manifest(labels)
    path = folder / "stamps.arrow"
    write_stamps(path, table["galaxy_id"].tolist(), stamps)
    lake = Lake(folder / "lake", "mini")
    store(lake, "cutouts", table[["galaxy_id", "cutout_path"]], SHARD, {"stamps.arrow": path.read_bytes()})
    store(lake, "training_manifest", table)
    for name in ("first", "second"):
        keep(
            lake,
            "trained_model",
            run_asset(detector_training.trained_model, campaign(), partition=name, lake=lake),
            name,
        )
        keep(lake, "scores", run_asset(detector_training.scores, campaign(), partition=name, lake=lake), name)
    return lake


def keep(lake: Lake, asset: str, product: Product, partition: str) -> None:
    files = {name: path.read_bytes() for name, path in product.files.items()}
    store(lake, asset, product.table, partition, files, product.tables)


def test_training_learns_and_never_needs_the_test_split(lake: Lake, tmp_path: Path) -> None:
    blind = Lake(tmp_path / "blind", "mini")
    table = lake.table("training_manifest")
    table.loc[table["split"] == "test", "cutout_path"] = "nowhere#0"
    store(blind, "training_manifest", table)
    stamps = lake.file("cutouts", "stamps.arrow", SHARD).read_bytes()
    store(blind, "cutouts", table[["galaxy_id"]], SHARD, {"stamps.arrow": stamps})
    product = run_asset(detector_training.trained_model, campaign(), partition="first", lake=blind)
    assert product.summary["validation_auc"] > 0.9
    stored = lake.file("trained_model", "weights.pt", "first").read_bytes()
    assert product.files["weights.pt"].read_bytes() == stored


def test_relabelled_training_stamps_change_the_weights(lake: Lake, tmp_path: Path) -> None:
    other = Lake(tmp_path / "other", "mini")
    table = lake.table("training_manifest")
    swapped = table.index[table["split"] == "train"][:40]
    table.loc[swapped, "label"] = 1 - table.loc[swapped, "label"]
    stamps = lake.file("cutouts", "stamps.arrow", SHARD).read_bytes()
    store(other, "cutouts", table[["galaxy_id"]], SHARD, {"stamps.arrow": stamps})
    store(other, "training_manifest", table)
    product = run_asset(detector_training.trained_model, campaign(), partition="first", lake=other)
    before = lake.table("trained_model", "first")
    assert product.table["training_loss"].iloc[-1] > before["training_loss"].iloc[-1]


def test_every_unseen_stamp_is_scored_and_no_seen_one(lake: Lake) -> None:
    scored = lake.table("scores", "first")
    table = lake.table("training_manifest")
    assert set(scored["galaxy_id"]) == set(table.loc[table["split"] != "train", "galaxy_id"])
    lenses, others = (scored.loc[scored["label"] == label, "score"] for label in (1, 0))
    assert lenses.median() > 3 * others.median()


def test_an_evaluation_object_in_a_training_cell_is_scored_not_trained_on(lake: Lake) -> None:
    table = lake.table("training_manifest")
    spared = table.loc[table["split"] == "train", "galaxy_id"].iloc[0]
    table.loc[table["galaxy_id"] == spared, "evaluation_only"] = True
    from lens_assets.detector.data import training_rows

    assert spared not in set(table.loc[training_rows(table, "baseline"), "galaxy_id"])


def _report(lake: Lake, scores: pd.DataFrame) -> Product:
    inputs = {"scores": {"first": scores, "second": scores}}
    fresh = Lake(lake.root + "-report", "mini")
    store(fresh, "training_manifest", lake.table("training_manifest"))
    return run_asset(assets.evaluation_report, campaign(), inputs, partition="first", lake=fresh)


def test_the_report_measures_the_scores_it_is_given(lake: Lake) -> None:
    scores = lake.table("scores", "first")
    good = _report(lake, scores)
    shuffled = scores.assign(score=np.random.default_rng(1).permutation(scores["score"]))
    bad = _report(lake, shuffled)
    assert good.summary["test_auc"] > 0.9
    assert bad.summary["test_auc"] == pytest.approx(0.5, abs=0.15)
    assert good.summary["test_auc_lower"] <= good.summary["test_auc"] <= good.summary["test_auc_upper"]
    deployment = good.tables["deployment"]
    assert set(deployment["metric"]) == {"fpr", "fpr_population"}
    assert set(good.figures) == {"roc", "scores", "rates_by_subset", "reliability"}


def test_thresholds_see_validation_only(lake: Lake) -> None:
    scores = lake.table("scores", "first")
    moved = scores.copy()
    moved.loc[moved["split"] == "test", "score"] = 1.0
    pd.testing.assert_frame_equal(_report(lake, scores).tables["thresholds"], _report(lake, moved).tables["thresholds"])
    raised = scores.copy()
    raised.loc[raised["split"] == "val", "score"] = np.minimum(raised["score"] + 0.2, 1.0)
    cuts = [_report(lake, frame).tables["thresholds"].set_index("name")["threshold"] for frame in (scores, raised)]
    assert cuts[1]["fpr_0.1"] > cuts[0]["fpr_0.1"]


def test_without_a_test_split_the_reports_say_what_cannot_be_evaluated(lake: Lake, tmp_path: Path) -> None:
    unsplit = {"test": "val"}
    scores = {name: lake.table("scores", name).replace({"split": unsplit}) for name in ("first", "second")}
    bare = Lake(tmp_path / "bare", "mini")
    store(bare, "training_manifest", lake.table("training_manifest").replace({"split": unsplit}))
    for report, partition in ((assets.evaluation_report, "first"), (assets.ensemble_report, None)):
        with pytest.raises(NoTestSplitError, match=r"splits\.fractions\.test = 0.*scores.*stand.*evaluation_report"):
            run_asset(report, campaign(), {"scores": scores}, partition=partition, lake=bare)


def test_the_ensemble_report_compares_on_the_same_objects(lake: Lake) -> None:
    product = run_asset(assets.ensemble_report, campaign(), lake=lake)
    rows = product.table.set_index("name")
    assert list(rows.index) == ["first", "second", "mean_probability", "mean_logit", "stacking"]
    assert rows["recall_n"].nunique() == 1
    best = rows.loc[["first", "second"], "validation_auc"].idxmax()
    assert rows.loc[best, "auc_minus_best_member"] == 0.0
    assert len(product.tables["diversity"]) == 2


@pytest.mark.parametrize(("name", "members"), [("baseline", "first"), ("ensemble", "first,second")])
def test_a_frozen_detector_reproduces_its_scores_and_cuts(lake: Lake, name: str, members: str) -> None:
    from lens_assets.detector.frozen import load_detector
    from lens_assets.imaging.stamps import read_stamps

    product = run_asset(assets.frozen_detector, campaign(), partition=name, lake=lake)
    assert product.summary["members"] == members
    detector = load_detector(product.files["detector.json"].parent)
    assert set(product.table["digest"]) == {detector.digest}
    table = lake.table("training_manifest")
    negatives = table[(table["split"] == "val") & (table["label"] == 0)]
    stamps = read_stamps(lake.file("cutouts", "stamps.arrow", SHARD), negatives.index.to_numpy())
    audited = product.table[product.table["audited"]].iloc[0]
    assert int((detector.score(stamps) >= audited["threshold"]).sum()) == audited["n_above"]
    assert product.summary["champion"] is (name == "baseline")


def test_the_digest_of_a_frozen_detector_follows_its_members(lake: Lake) -> None:
    other = campaign()
    swapped = {**EVALUATION, "detectors": {"baseline": {"members": ("second",), "combiner": "best_on_validation"}}}
    changed = Campaign(
        "mini", other.folder, {"evaluation": EvaluationSettings.model_validate(swapped)}, other.experiments, {}
    )
    before = run_asset(assets.frozen_detector, other, partition="baseline", lake=lake)
    after = run_asset(assets.frozen_detector, changed, partition="baseline", lake=lake)
    assert before.summary["digest"] != after.summary["digest"]
    assert before.summary["preprocessing_digest"] == after.summary["preprocessing_digest"]
