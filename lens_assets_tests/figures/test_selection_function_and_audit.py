"""Plots draw on tables with empty cells, without intervals and with a single class."""

import numpy as np
import pandas as pd
import pytest

from lens_assets.audit.detectability import detectability
from lens_assets.audit.taxonomy import false_positive_rates
from lens_assets.figures import audit, selection_function, stability
from lens_assets.selection.completeness import completeness_grid, thresholds_of, trials_of
from lens_assets.selection.marginals import marginal
from lens_assets_tests.selection.synthetic import THRESHOLDS, injections, settings_of

CONFIG = settings_of()
FEW = CONFIG.intervals.model_copy(update={"bootstrap_resamples": 50, "minimum_trials": 3, "minimum_hosts": 2})


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    table, scores = injections(CONFIG.grid, per_cell=3)
    lost = table["condition"] == "psf1.65_depth25.10"
    trials, _ = trials_of(table[~lost], scores[~lost], CONFIG.grid, "all_draws")
    cuts = thresholds_of(THRESHOLDS)
    return (
        completeness_grid(trials, cuts, CONFIG.grid, FEW, "all_draws", 1),
        marginal(trials, cuts, CONFIG.grid, FEW, 1),
    )


def test_a_map_a_depth_and_a_hatch_for_each_unsupported_cell(tables):
    grid, _ = tables
    figure = selection_function.completeness_maps(grid, "fixed_0.5", "demo")
    maps = [axis for axis in figure.axes if axis.get_title().startswith("depth")]
    assert [axis.get_title() for axis in maps] == ["depth 23.90 mag", "depth 24.50 mag", "depth 25.10 mag"]
    unsupported = (~grid.loc[grid["threshold"] == "fixed_0.5", "supported"]).sum()
    assert sum(len(axis.patches) for axis in maps) == unsupported >= 10


def test_marginals_have_one_line_a_threshold_on_every_axis(tables):
    figure = selection_function.marginals(tables[1], ["fixed_0.5", "fpr_0.01"], "demo")
    assert [len(axis.containers) for axis in figure.axes] == [2, 2, 2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["fixed_0.5", "fpr_0.01"]


def test_no_two_of_seven_thresholds_look_alike(tables):
    names = ["fixed_0.3", "fixed_0.5", "fpr_0.1", "fpr_0.05", "fpr_0.01", "top_0.05", "top_0.01"]
    one = tables[1].loc[tables[1]["threshold"] == "fixed_0.5"]
    many = pd.concat([one.assign(threshold=name, threshold_kind=name.split("_")[0]) for name in names])
    lines = [part[0] for part in selection_function.marginals(many, names, "demo").axes[0].containers]
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == len(names)
    assert [line.get_linestyle() for line in lines] == ["--", "--", "-", "-", "-", ":", ":"]


def test_sensitivity_draws_a_missing_interval_as_a_gap():
    report = pd.DataFrame(
        {"detector": "a", "variant": ["x", "y"], "shift": [0.1, np.nan], "shift_lower_95": [0.0, np.nan],
         "shift_upper_95": [0.2, np.nan], "maximum_shift": 0.1, "verdict": ["STABLE", "NOT-EVALUATED"]}
    )  # fmt: skip
    figure = stability.shifts(report)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["x", "y  [NOT-EVALUATED]"]


def test_closure_draws_each_stratum():
    strata = pd.DataFrame({"k": [2, 10], "n": [20, 20], "n_lenses": [3, 10], "n_passed": [0, 6]})
    points = selection_function.closure(strata, "t").axes[0].collections[0].get_offsets()
    assert points.tolist() == [[0.1, 0.0], [0.5, 0.6]]


def test_recall_and_false_positives_name_their_counts():
    anchors = pd.DataFrame({"visible": [True, False], "score": [0.9, 0.2], "stratum": ["tier A", "tier A"]})
    labels = audit.detectability(detectability(anchors, {"t": 0.5}), "t").axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["all\nn = 2", "tier A\nn = 2"]
    negatives = pd.DataFrame({"score": [0.9, 0.2], "type": ["SER", "SER"]})
    figure = audit.false_positives(false_positive_rates(negatives, {"t": 0.5}, ["type"]), "t", "type")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["SER (1/2)"]


def test_closure_at_scale_draws_every_variable_and_marks_what_is_judged():
    from lens_assets.figures.closure import closure_at_scale

    rows = pd.DataFrame({"centre": [1.0, 2.0], "bias": [0.01, -0.02], "standard_error": [0.01, 0.02]})
    rows = rows.assign(
        lower_68=rows["bias"] - 0.01, upper_68=rows["bias"] + 0.01, lower_95=rows["bias"] - 0.02,
        upper_95=rows["bias"] + 0.02, predicted_recall=[0.2, 0.8], true_recall=[0.19, 0.82],
    )  # fmt: skip
    along = pd.concat([rows.assign(variable=name) for name in ("a", "b", "c", "d")])
    ways = pd.DataFrame({"estimator": ["cells", "detectability"], "bias": [0.1, 0.0], "standard_error": [0.02, 0.01]})
    labels = {name: f"label {name}" for name in ("a", "b", "c", "d")}
    figure = closure_at_scale(along, rows, ways, labels, "t")
    assert [axis.get_xlabel() for axis in figure.axes[2:]] == list(labels.values())
    assert [tick.get_text() for tick in figure.axes[1].get_yticklabels()] == ["cells", "detectability"]
    assert figure.axes[2].get_ylim() == figure.axes[5].get_ylim() == pytest.approx((-0.044, 0.044))
