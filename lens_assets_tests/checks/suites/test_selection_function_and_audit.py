"""Each suite passes a good table and names what is wrong with a damaged one."""

import pandas as pd
import pytest

from lens_assets.audit.detectability import detectability
from lens_assets.audit.taxonomy import false_positive_rates
from lens_assets.campaign.campaign import Campaign, load_campaign
from lens_assets.checks.great_expectations import validate
from lens_assets.checks.suites import audit, selection_function
from lens_assets.selection.completeness import Threshold, completeness_grid, trials_of
from lens_assets.selection.footprint import condition_table, count_conditions
from lens_assets.selection.marginals import footprint_marginal, marginal
from lens_assets.selection.merging import merged_grid
from lens_assets.selection.regions import region_test
from lens_assets.selection.remedies import remedy_table
from lens_assets_tests.selection.synthetic import injections

SUITES = selection_function.SUITES | audit.SUITES
CASES = [(name, corruption) for name, suite in SUITES.items() for corruption in suite.corruptions]


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return load_campaign("demo")


@pytest.fixture(scope="module")
def good(campaign) -> dict[str, pd.DataFrame]:
    settings = campaign.selection_function
    table, scores = injections(settings.grid, per_cell=4)
    lost = table["condition"] == "psf1.65_depth25.10"
    trials, _ = trials_of(table[~lost], scores[~lost], settings.grid, "all_draws")
    cuts = [Threshold(name, "fixed", 0.5, 0.5, 0.5, True) for name in campaign.evaluation.thresholds.names]
    few = settings.intervals.model_copy(update={"bootstrap_resamples": 50})
    common = (cuts, settings.grid, few, 1)
    shares = condition_table(settings.grid, count_conditions(settings.grid, [1.4], [24.5]), "footprint, sources")
    plain, weighted = marginal(trials, *common), footprint_marginal(trials, shares, "footprint, sources", *common)
    numbers = {"true_recall": [0.5, 0.4], "predicted_recall": [0.55, 0.4], "bias": [0.05, 0.0]}
    names = [variant.name for variant in settings.sensitivity.variants[:2]]
    anchors = pd.DataFrame({"visible": [True, False], "score": [0.9, 0.2], "stratum": ["tier A", "tier B"]})
    negatives = pd.DataFrame({"score": [0.9, 0.2], "type": ["SER", "DEV"]})
    return {
        "completeness_table": completeness_grid(trials, cuts, settings.grid, few, "all_draws", 1),
        "completeness_table_marginals": pd.concat([plain, weighted], ignore_index=True),
        "completeness_table_merged": merged_grid(trials, *common),
        "sensitivity_report": pd.DataFrame(
            {"detector": "baseline", "kind": "prior", "variant": names, "shift": 0.01, "baseline_completeness": 0.4,
             "verdict": "STABLE"}
        ),
        "sensitivity_report_bands": pd.DataFrame(
            {"detector": "baseline", "completeness": [0.4, None], "lowest": [0.3, None], "highest": [0.4, None]}
        ),
        "sensitivity_report_regions": region_test(trials, 0.5, 3, 50, 1).groups.assign(detector="baseline"),
        "failure_experiments_remedies": remedy_table(
            ("a", "b"), (trials, trials), (cuts[0], cuts[0]), settings.grid, few, 1
        ),
        "failure_experiments": pd.DataFrame(
            {"experiment": ["a", "b"], "verdict": ["SUPPORTED", "CONTROL"], "shift": [0.1, None], "completeness": 0.4}
        ),
        "footprint_conditions": condition_table(
            settings.grid, count_conditions(settings.grid, [1.4, 9.0], [24.5, 24.5]), "footprint, sources"
        ),
        "closure_report": pd.DataFrame(
            {"detector": "baseline", "threshold": ["a", "b"], **numbers, "verdict": ["PASS", "NOT-EVALUATED"]}
        ),
        "release_gate": pd.DataFrame({"condition": ["a", "b"], "verdict": ["PASS", "WARN"], "gates": [True, False]}),
        "selection_function_product": pd.DataFrame(
            {"detector": "baseline", "threshold": ["a", "b"], "value": [0.5, None], "lower": [0.4, None],
             "upper": [0.6, None]}
        ),
        "detectability_report": detectability(anchors, {"t": 0.5}),
        "false_positive_taxonomy": false_positive_rates(negatives, {"t": 0.5}, ["type"]),
    }  # fmt: skip


def test_every_table_of_the_two_groups_has_a_suite(good):
    assert set(SUITES) == set(good)
    assert all(suite.corruptions for suite in SUITES.values())


@pytest.mark.parametrize("name", list(SUITES))
def test_a_good_table_passes(name, good, campaign):
    failed = [item for item in validate(good[name], SUITES[name], campaign) if not item.passed]
    assert failed == []


@pytest.mark.parametrize(("name", "corruption"), CASES)
def test_a_damaged_table_fails_by_the_name_of_the_expectation(name, corruption, good, campaign):
    expectation, _, column = corruption.partition(":")
    damaged = SUITES[name].corruptions[corruption](good[name].copy())
    failed = [item for item in validate(damaged, SUITES[name], campaign) if not item.passed]
    assert any(item.expectation == expectation and column in ("", item.column) for item in failed)
