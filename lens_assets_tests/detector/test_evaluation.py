"""Metrics against scikit-learn and counting; thresholds never see the test split."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from lens_assets.campaign.stages.evaluation import EvaluationSettings, fpr_name
from lens_assets.detector.evaluation import (
    METRIC_COLUMNS,
    auc_difference,
    metric_table,
    threshold_table,
    top_threshold_rows,
    value_of,
)
from lens_assets.detector.freezing import thresholds_from

SETTINGS = EvaluationSettings.model_validate(
    {
        "interval_level": 0.95,
        "bootstrap": {"seed": 1, "resamples": 100},
        "thresholds": {"fixed": (0.5,), "fpr_targets": (0.05, 0.0001), "minimum_above": 30, "audit": "fpr_0.05"},
        "reliability_bins": 10,
        "minimum_subset": 20,
        "deployment_design": "deployment",
        "detectors": {"one": {"members": ("one",), "combiner": "best_on_validation"}},
        "primary_detector": "one",
    }
)


@pytest.fixture(scope="module")
def scored() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 3000
    label = (rng.random(n) < 0.2).astype(int)
    frame = pd.DataFrame({"galaxy_id": [f"g{row:05d}" for row in range(n)], "label": label})
    frame["split"] = rng.choice(["val", "test"], n)
    frame["score"] = np.round(1 / (1 + np.exp(-(3.0 * label + rng.normal(size=n) - 2))), 6)
    frame["healpix_128"] = rng.integers(0, 40, n)
    frame["tier"] = np.where(label == 1, rng.choice(["A", "B"], n), rng.choice(["N1", "N2"], n))
    frame["pool"] = np.where(label == 0, frame["tier"], None)
    frame["sampling_weight"] = np.where(frame["pool"] == "N1", 10.0, 1.0)
    frame["type"] = rng.choice(["SER", "DEV"], n)
    frame["stress_test"] = (label == 1) & (rng.random(n) < 0.1)
    return frame


@pytest.fixture(scope="module")
def thresholds(scored: pd.DataFrame) -> pd.DataFrame:
    return threshold_table(scored[scored["split"] == "val"], SETTINGS)


@pytest.fixture(scope="module")
def metrics(scored: pd.DataFrame, thresholds: pd.DataFrame) -> pd.DataFrame:
    return metric_table(scored, thresholds, SETTINGS)


def test_names_of_thresholds_are_plain_decimals() -> None:
    assert [fpr_name(target) for target in (0.01, 0.001, 0.0001, 1e-6)] == [
        "fpr_0.01",
        "fpr_0.001",
        "fpr_0.0001",
        "fpr_0.000001",
    ]


def test_metrics_are_scikit_learns(scored: pd.DataFrame, thresholds: pd.DataFrame, metrics: pd.DataFrame) -> None:
    test = scored[scored["split"] == "test"]
    cut = float(thresholds.set_index("name").loc["fpr_0.05", "threshold"])
    predicted = test["score"] >= cut
    assert list(metrics.columns) == METRIC_COLUMNS
    assert value_of(metrics, "auc")["value"] == pytest.approx(roc_auc_score(test["label"], test["score"]))
    assert value_of(metrics, "recall", "fpr_0.05")["value"] == recall_score(test["label"], predicted)
    assert value_of(metrics, "precision", "fpr_0.05")["value"] == precision_score(test["label"], predicted)
    assert value_of(metrics, "fpr", "fpr_0.05")["value"] == pytest.approx(0.05, abs=0.03)


def test_subsets_add_up(metrics: pd.DataFrame) -> None:
    recall = metrics[(metrics["metric"] == "recall") & (metrics["threshold"] == "fixed_0.5")]
    total = recall[recall["subset"] == "all"].iloc[0]
    for subset in ("tier", "type", "stress_test"):
        parts = recall[recall["subset"] == subset]
        assert (parts["k"].sum(), parts["n"].sum()) == (total["k"], total["n"])


def test_intervals_hold_their_values(metrics: pd.DataFrame) -> None:
    rates = metrics[metrics["metric"].isin(["auc", "recall", "fpr", "fpr_population"]) & (metrics["n"] > 0)]
    # An equal-tailed Beta interval of 0 of n begins just above 0.
    assert ((rates["lower"] <= rates["value"] + 0.01) & (rates["value"] <= rates["upper"])).all()


def test_population_rates_weigh_each_negative_by_what_it_stands_for(
    scored: pd.DataFrame, metrics: pd.DataFrame
) -> None:
    negatives = scored[(scored["split"] == "test") & (scored["label"] == 0)]
    expected = np.average(negatives["score"] >= 0.5, weights=negatives["sampling_weight"])
    assert value_of(metrics, "fpr_population", "fixed_0.5")["value"] == pytest.approx(expected)


def test_a_cut_on_few_negatives_says_so(thresholds: pd.DataFrame) -> None:
    rows = thresholds.set_index("name")
    assert bool(rows.loc["fpr_0.05", "sufficient"]) and not bool(rows.loc["fpr_0.0001", "sufficient"])
    assert rows.loc["fpr_0.0001", "n_above"] == 0
    assert rows.loc["fpr_0.0001", "fpr_upper"] > 0.001


def test_thresholds_refuse_the_test_split(scored: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="objects of split test; expected validation only"):
        threshold_table(scored, SETTINGS)


def test_rows_may_come_in_any_order(scored: pd.DataFrame, thresholds: pd.DataFrame, metrics: pd.DataFrame) -> None:
    shuffled = scored.sample(frac=1.0, random_state=3)
    pd.testing.assert_frame_equal(metric_table(shuffled, thresholds, SETTINGS), metrics)


def test_a_difference_is_paired(scored: pd.DataFrame) -> None:
    test = scored[scored["split"] == "test"]
    worse = test.assign(score=np.random.default_rng(0).random(len(test)))
    same = auc_difference(test, test, SETTINGS, "same")
    assert (same["value"], same["lower"], same["upper"]) == (0.0, 0.0, 0.0)
    assert auc_difference(test, worse, SETTINGS, "worse")["lower"] > 0.2


def test_a_metric_that_is_not_there_is_an_error(metrics: pd.DataFrame) -> None:
    with pytest.raises(KeyError, match="0 rows of metric recall at threshold 'fpr_0.3'"):
        value_of(metrics, "recall", "fpr_0.3")


def test_the_top_of_the_deployment_sample_defines_cuts_with_their_uncertainty(scored: pd.DataFrame) -> None:
    cuts = SETTINGS.thresholds.model_copy(update={"top_shares": (0.1, 0.01)})
    settings = SETTINGS.model_copy(update={"thresholds": cuts})
    validation = scored[scored["split"] == "val"]
    table = top_threshold_rows(validation, settings).set_index("name")
    assert list(table.index) == ["top_0.1", "top_0.01"]
    assert list(table.reset_index().columns) == list(threshold_table(validation, settings).columns)
    for name, share in (("top_0.1", 0.1), ("top_0.01", 0.01)):
        row = table.loc[name]
        above = (validation["score"] >= row["threshold"]).mean()
        assert share - 0.005 < above <= share
        assert row["threshold_lower"] < row["threshold"] < row["threshold_upper"]
        assert row["n_negatives"] == len(validation)
    assert table.loc["top_0.1", "sufficient"]
    assert not table.loc["top_0.01", "sufficient"]
    assert cuts.names == ("fixed_0.5", "fpr_0.05", "fpr_0.0001", "top_0.1", "top_0.01")
    with pytest.raises(ValueError, match="expected validation only"):
        top_threshold_rows(scored, settings)
    joined = thresholds_from("d", validation, validation, settings)
    assert joined["name"].tolist() == list(cuts.names)
