"""Suites of the selection-function group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.checks.suite import Expectation, Suite, between

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign

_VERDICTS = ["PASS", "FAIL", "WARN", "NOT-EVALUATED"]
_KINDS = ["prior", "calibration", "sky_regions", "detector"]
_CALIBRATIONS = ["calibrated_without_tier_b", "calibrated_without_candidates"]
_STABILITY = ["STABLE", "UNSTABLE", "NOT-EVALUATED"]


def _completeness(campaign: Campaign) -> list[Expectation]:
    grid = campaign.selection_function.grid
    cells = grid.theta_e_arcsec.count * grid.psf_fwhm_arcsec.count * grid.depth_mag.count
    rows = cells * len(campaign.evaluation.thresholds.names)
    return [
        ("expect_table_row_count_to_equal", {"value": rows}),
        ("expect_column_values_to_be_in_set", {"column": "grid_digest", "value_set": [grid.digest]}),
        (
            "expect_compound_columns_to_be_unique",
            {"column_list": ["threshold", "theta_e_arcsec", "psf_fwhm_arcsec", "depth_mag"]},
        ),
        (
            "expect_column_values_to_be_in_set",
            {"column": "theta_e_arcsec", "value_set": list(grid.theta_e_arcsec.centres)},
        ),
        between("completeness", 0.0, 1.0),
        between("posterior_mean", 0.0, 1.0),
        (
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "n", "column_B": "k", "or_equal": True},
        ),
        (
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "n", "column_B": "n_hosts", "or_equal": True},
        ),
        (
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "beta_upper_95", "column_B": "beta_upper_68", "or_equal": True},
        ),
        (
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "beta_lower_68", "column_B": "beta_lower_95", "or_equal": True},
        ),
        ("expect_column_values_to_not_be_null", {"column": "supported"}),
    ]


def _more_found_than_tried(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(k=table["n"] + 1)


def _clamped(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(theta_e_arcsec=table["theta_e_arcsec"] + 0.01)


def _rate_above_one(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(completeness=1.5)


def _a_cell_twice(table: pd.DataFrame) -> pd.DataFrame:
    damaged = table.copy()
    damaged.iloc[1] = damaged.iloc[0]
    return damaged


def _other_grid(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(grid_digest="0" * 64)


def _sensitivity(campaign: Campaign) -> list[Expectation]:
    names = [variant.name for variant in campaign.selection_function.sensitivity.variants]
    names += [*_CALIBRATIONS, "sky_regions", f"instead_of_{campaign.evaluation.primary_detector}"]
    return [
        ("expect_compound_columns_to_be_unique", {"column_list": ["detector", "variant"]}),
        ("expect_column_values_to_be_in_set", {"column": "variant", "value_set": names}),
        ("expect_column_values_to_be_in_set", {"column": "kind", "value_set": _KINDS}),
        ("expect_column_values_to_be_in_set", {"column": "verdict", "value_set": _STABILITY}),
        between("shift", -1.0, 1.0),
        between("baseline_completeness", 0.0, 1.0),
    ]


def _bands(campaign: Campaign) -> list[Expectation]:
    ends = ("highest", "completeness"), ("completeness", "lowest"), ("highest", "lowest")
    return [
        between("completeness", 0.0, 1.0),
        *(
            (
                "expect_column_pair_values_a_to_be_greater_than_b",
                {"column_A": high, "column_B": low, "or_equal": True, "ignore_row_if": "either_value_is_missing"},
            )
            for high, low in ends
        ),
    ]


def _region_groups(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_compound_columns_to_be_unique", {"column_list": ["detector", "group"]}),
        between("excess", -1.0, 1.0),
        between("completeness", 0.0, 1.0),
        between("n_hosts", 1, None),
    ]


def _remedies(campaign: Campaign) -> list[Expectation]:
    verdicts = ["RAISES", "LOWERS", "UNDECIDED", "NOT-EVALUATED"]
    return [
        ("expect_column_values_to_be_in_set", {"column": "verdict", "value_set": verdicts}),
        between("shift", -1.0, 1.0),
        between("rescued", 0.0, 1.0),
    ]


def _marginals(campaign: Campaign) -> list[Expectation]:
    weights = ["trials", "footprint, randoms", "footprint, sources"]
    return [
        ("expect_compound_columns_to_be_unique", {"column_list": ["threshold", "axis", "centre", "weights"]}),
        ("expect_column_values_to_be_in_set", {"column": "weights", "value_set": weights}),
        between("completeness", 0.0, 1.0),
        between("share_with_trials", 0.0, 1.0 + 1e-9),
    ]


def _merged(campaign: Campaign) -> list[Expectation]:
    most = campaign.selection_function.intervals.maximum_merged_cells
    return [*_completeness(campaign), between("merged_cells", 0, most)]


def _failures(campaign: Campaign) -> list[Expectation]:
    verdicts = ["SUPPORTED", "NOT-SUPPORTED", "OPPOSED", "CONTROL", "NOT-EVALUATED"]
    return [
        ("expect_column_values_to_be_unique", {"column": "experiment"}),
        ("expect_column_values_to_be_in_set", {"column": "verdict", "value_set": verdicts}),
        between("shift", -1.0, 1.0),
        between("completeness", 0.0, 1.0),
    ]


def _footprint(campaign: Campaign) -> list[Expectation]:
    digests = [grid.digest for grid in campaign.selection_function.grids]
    return [
        ("expect_compound_columns_to_be_unique", {"column_list": ["grid", "condition"]}),
        ("expect_column_values_to_be_in_set", {"column": "grid_digest", "value_set": digests}),
        between("share", 0.0, 1.0),
        between("n", 0, None),
    ]


def _closure(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_compound_columns_to_be_unique", {"column_list": ["detector", "threshold"]}),
        ("expect_column_values_to_be_in_set", {"column": "verdict", "value_set": _VERDICTS}),
        between("true_recall", 0.0, 1.0),
        between("predicted_recall", 0.0, 1.0),
        between("bias", -1.0, 1.0),
    ]


def _release(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_column_values_to_be_unique", {"column": "condition"}),
        ("expect_column_values_to_be_in_set", {"column": "verdict", "value_set": _VERDICTS}),
        ("expect_column_values_to_not_be_null", {"column": "gates"}),
    ]


def _product(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_compound_columns_to_be_unique", {"column_list": ["detector", "threshold"]}),
        between("value", 0.0, 1.0),
        (
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "upper", "column_B": "value", "or_equal": True, "ignore_row_if": "either_value_is_missing"},
        ),
        (
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "value", "column_B": "lower", "or_equal": True, "ignore_row_if": "either_value_is_missing"},
        ),
    ]


SUITES: dict[str, Suite] = {
    "completeness_table": Suite(
        asset="completeness_table",
        expectations=_completeness,
        corruptions={
            "expect_column_pair_values_a_to_be_greater_than_b:": _more_found_than_tried,
            "expect_column_values_to_be_in_set:theta_e_arcsec": _clamped,
            "expect_column_values_to_be_in_set:grid_digest": _other_grid,
            "expect_column_values_to_be_between:completeness": _rate_above_one,
            "expect_compound_columns_to_be_unique:": _a_cell_twice,
            "expect_table_row_count_to_equal:": lambda table: table.iloc[:-1],
        },
    ),
    "completeness_table_marginals": Suite(
        asset="completeness_table",
        table="marginals",
        expectations=_marginals,
        corruptions={
            "expect_compound_columns_to_be_unique:": _a_cell_twice,
            "expect_column_values_to_be_in_set:weights": lambda table: table.assign(weights="cells"),
            "expect_column_values_to_be_between:completeness": _rate_above_one,
        },
    ),
    "completeness_table_merged": Suite(
        asset="completeness_table",
        table="merged",
        expectations=_merged,
        corruptions={
            "expect_column_values_to_be_between:merged_cells": lambda table: table.assign(merged_cells=1000),
            "expect_table_row_count_to_equal:": lambda table: table.iloc[:-1],
        },
    ),
    "sensitivity_report": Suite(
        asset="sensitivity_report",
        expectations=_sensitivity,
        corruptions={
            "expect_column_values_to_be_in_set:verdict": lambda table: table.assign(verdict="fine"),
            "expect_column_values_to_be_in_set:kind": lambda table: table.assign(kind="guess"),
            "expect_column_values_to_be_in_set:variant": lambda table: table.assign(variant="guess"),
            "expect_column_values_to_be_between:shift": lambda table: table.assign(shift=2.0),
        },
    ),
    "sensitivity_report_bands": Suite(
        asset="sensitivity_report",
        table="bands",
        expectations=_bands,
        corruptions={
            "expect_column_pair_values_a_to_be_greater_than_b:": lambda table: table.assign(
                lowest=table["highest"] + 0.1
            ),
            "expect_column_values_to_be_between:completeness": _rate_above_one,
        },
    ),
    "sensitivity_report_regions": Suite(
        asset="sensitivity_report",
        table="regions",
        expectations=_region_groups,
        corruptions={
            "expect_compound_columns_to_be_unique:": lambda table: table.assign(group=0),
            "expect_column_values_to_be_between:excess": lambda table: table.assign(excess=2.0),
        },
    ),
    "failure_experiments_remedies": Suite(
        asset="failure_experiments",
        table="remedies",
        expectations=_remedies,
        corruptions={
            "expect_column_values_to_be_in_set:verdict": lambda table: table.assign(verdict="perhaps"),
            "expect_column_values_to_be_between:shift": lambda table: table.assign(shift=2.0),
        },
    ),
    "failure_experiments": Suite(
        asset="failure_experiments",
        expectations=_failures,
        corruptions={
            "expect_column_values_to_be_in_set:verdict": lambda table: table.assign(verdict="perhaps"),
            "expect_column_values_to_be_between:shift": lambda table: table.assign(shift=2.0),
        },
    ),
    "footprint_conditions": Suite(
        asset="footprint_conditions",
        expectations=_footprint,
        corruptions={
            "expect_compound_columns_to_be_unique:": _a_cell_twice,
            "expect_column_values_to_be_between:share": lambda table: table.assign(share=1.5),
            "expect_column_values_to_be_in_set:grid_digest": _other_grid,
        },
    ),
    "closure_report": Suite(
        asset="closure_report",
        expectations=_closure,
        corruptions={
            "expect_column_values_to_be_between:true_recall": lambda table: table.assign(true_recall=-0.1),
            "expect_column_values_to_be_in_set:verdict": lambda table: table.assign(verdict="fine"),
        },
    ),
    "release_gate": Suite(
        asset="release_gate",
        expectations=_release,
        corruptions={
            "expect_column_values_to_be_in_set:verdict": lambda table: table.assign(verdict="fine"),
            "expect_column_values_to_be_unique:condition": lambda table: table.assign(condition="the same"),
        },
    ),
    "selection_function_product": Suite(
        asset="selection_function_product",
        expectations=_product,
        corruptions={
            "expect_column_values_to_be_between:value": lambda table: table.assign(value=1.2, upper=1.3),
            "expect_column_pair_values_a_to_be_greater_than_b:": lambda table: table.assign(lower=1.0, value=0.5),
        },
    ),
}
