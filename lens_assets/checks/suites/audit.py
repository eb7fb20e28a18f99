"""Suites of the audit group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.checks.suite import Expectation, Suite

if TYPE_CHECKING:
    from lens_assets.campaign.campaign import Campaign

_PARTS = ["observable", "conditional", "invisible", "overall"]


def _rate_columns(rate: str) -> list[Expectation]:
    return [
        ("expect_column_values_to_be_between", {"column": rate, "min_value": 0.0, "max_value": 1.0}),
        (
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "n", "column_B": "k", "or_equal": True},
        ),
        (
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "upper_95", "column_B": "lower_95", "or_equal": True},
        ),
    ]


def _detectability(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_compound_columns_to_be_unique", {"column_list": ["threshold", "stratum", "part"]}),
        ("expect_column_values_to_be_in_set", {"column": "part", "value_set": _PARTS}),
        *_rate_columns("rate"),
    ]


def _false_positives(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_compound_columns_to_be_unique", {"column_list": ["threshold", "property", "class"]}),
        ("expect_column_values_to_not_be_null", {"column": "class"}),
        *_rate_columns("rate"),
    ]


SUITES: dict[str, Suite] = {
    "detectability_report": Suite(
        asset="detectability_report",
        expectations=_detectability,
        corruptions={
            "expect_column_values_to_be_between:rate": lambda table: table.assign(rate=1.1),
            "expect_column_values_to_be_in_set:part": lambda table: table.assign(part="all"),
            "expect_column_pair_values_a_to_be_greater_than_b:": lambda table: table.assign(k=table["n"] + 1),
        },
    ),
    "false_positive_taxonomy": Suite(
        asset="false_positive_taxonomy",
        expectations=_false_positives,
        corruptions={
            "expect_column_values_to_be_between:rate": lambda table: table.assign(rate=-0.1),
            "expect_column_values_to_not_be_null:class": lambda table: table.assign(**{"class": None}),
        },
    ),
}
