"""Suites of the selection-function group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.checks.suite import Expectation, Suite, between

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign

_VERDICTS = ["PASS", "FAIL", "WARN", "NOT-EVALUATED"]
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
    return [
        ("expect_compound_columns_to_be_unique", {"column_list": ["detector", "variant"]}),
        ("expect_column_values_to_be_in_set", {"column": "variant", "value_set": names}),
        ("expect_column_values_to_be_in_set", {"column": "verdict", "value_set": _STABILITY}),
        between("shift", -1.0, 1.0),
        between("baseline_completeness", 0.0, 1.0),
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
    "sensitivity_report": Suite(
        asset="sensitivity_report",
        expectations=_sensitivity,
        corruptions={
            "expect_column_values_to_be_in_set:verdict": lambda table: table.assign(verdict="fine"),
            "expect_column_values_to_be_between:shift": lambda table: table.assign(shift=2.0),
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
