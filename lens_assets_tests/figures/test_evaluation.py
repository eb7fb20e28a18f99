"""Figures of the evaluation: they draw what the tables say, also where a class or a bin is empty."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lens_assets.detector.comparison import compare
from lens_assets.detector.evaluation import metric_table, threshold_table, value_of
from lens_assets.figures import evaluation as figures
from lens_assets.statistics.calibration import reliability_table
from lens_assets_tests.checks.suites.test_detector import _scored
from lens_assets_tests.detector.test_evaluation import SETTINGS


@pytest.fixture(scope="module")
def scored() -> pd.DataFrame:
    return _scored(2)


@pytest.fixture(scope="module")
def thresholds(scored: pd.DataFrame) -> pd.DataFrame:
    return threshold_table(scored[scored["split"] == "val"], SETTINGS)


def _drawn(figure: Figure) -> Figure:
    figure.canvas.draw()
    return figure


def test_the_roc_curve_is_the_roc_curve(scored: pd.DataFrame, thresholds: pd.DataFrame) -> None:
    test = scored[scored["split"] == "test"]
    metrics = metric_table(scored, thresholds, SETTINGS)
    axis = _drawn(figures.roc(test, thresholds, value_of(metrics, "auc"), "one")).axes[0]
    fpr, recall = (np.asarray(values) for values in axis.lines[0].get_data())
    area = np.trapezoid(recall[::-1], fpr[::-1])
    assert area == pytest.approx(value_of(metrics, "auc")["value"], abs=2e-3)


def test_every_subset_has_its_bar(scored: pd.DataFrame, thresholds: pd.DataFrame) -> None:
    metrics = metric_table(scored, thresholds, SETTINGS)
    figure = _drawn(figures.rates_by_subset(metrics, "fpr_0.05", "one"))
    labels = [label.get_text().split("  ")[0] for label in figure.axes[0].get_yticklabels()]
    assert labels == ["tier A", "all"]


def test_empty_bins_and_classes_are_left_out(scored: pd.DataFrame, thresholds: pd.DataFrame) -> None:
    table = reliability_table([0.05, 0.06], [0, 1], 10)
    assert len(_drawn(figures.reliability(table, 0.4, "few")).axes[0].lines[1].get_xdata()) == 1
    only = scored[(scored["label"] == 0)]
    _drawn(figures.score_histogram_by_split(only, "no lenses"))
    _drawn(figures.score_histogram_by_split(only.iloc[:0], "nothing"))
    _drawn(figures.roc(only, thresholds, {"value": 0.5, "lower": 0.4, "upper": 0.6}, "no lenses"))
    _drawn(figures.score_histograms(only, thresholds, "fpr_0.05", "no lenses"))


def test_the_kept_epoch_is_marked() -> None:
    history = pd.DataFrame({"epoch": [1, 2, 3], "validation_auc": [0.6, 0.9, 0.8]})
    history["training_loss"], history["validation_loss"] = [0.7, 0.4, 0.3], [0.7, 0.5, 0.6]
    figure = _drawn(figures.learning_curves(history, 2, "one"))
    assert {line.get_xdata()[0] for axis in figure.axes for line in axis.lines if len(line.get_xdata()) == 2} == {2}


def test_members_and_combiners_are_rows(scored: pd.DataFrame) -> None:
    report = compare({"one": scored, "two": _scored(3)}, ["one", "two"], SETTINGS)[0]
    figure = _drawn(figures.ensemble_comparison(report, "fpr_0.05"))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(report["name"][::-1])
