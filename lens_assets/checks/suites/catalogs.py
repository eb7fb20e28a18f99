"""Suites of the catalogs group: identities, roles and positions that everything downstream relies on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.checks.suite import Expectation, Suite

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign


def _on_the_sky() -> list[Expectation]:
    return [
        ("expect_column_values_to_not_be_null", {"column": "ra"}),
        ("expect_column_values_to_not_be_null", {"column": "dec"}),
        ("expect_column_values_to_be_between", {"column": "ra", "min_value": 0, "max_value": 360, "strict_max": True}),
        ("expect_column_values_to_be_between", {"column": "dec", "min_value": -90, "max_value": 90}),
    ]


def _identified(column: str) -> list[Expectation]:
    return [
        ("expect_column_values_to_not_be_null", {"column": column}),
        ("expect_column_values_to_be_unique", {"column": column}),
    ]


def _lenses(campaign: Campaign) -> list[Expectation]:
    families = [rule.name for rule in campaign.catalogs.families]
    used = 'role != "exclude_only"'
    return [
        ("expect_table_row_count_to_be_between", {"min_value": 1}),
        *_identified("lens_id"),
        *_on_the_sky(),
        (
            "expect_column_values_to_be_in_set",
            {"column": "role", "value_set": ["positive", "evaluation_only", "exclude_only"]},
        ),
        ("expect_column_values_to_be_in_set", {"column": "grading", "value_set": ["confident", "probable"]}),
        ("expect_column_values_to_be_in_set", {"column": "type", "value_set": ["galaxy", "group", "cluster"]}),
        (
            "expect_column_values_to_be_in_set",
            {"column": "confirmation", "value_set": ["confirmed", "silver", "candidate"]},
        ),
        ("expect_column_values_to_be_in_set", {"column": "family", "value_set": families}),
        (
            "expect_column_values_to_not_be_null",
            {"column": "tier", "row_condition": used, "condition_parser": "pandas"},
        ),
        ("expect_column_values_to_be_between", {"column": "weight", "min_value": 0, "max_value": 1}),
        ("expect_column_values_to_be_between", {"column": "z_lens", "min_value": 0, "max_value": 10}),
    ]


def _spectroscopic(campaign: Campaign) -> list[Expectation]:
    uses = sorted(
        {"evaluation", campaign.catalogs.spectroscopic_matched_use, *(r.use for r in campaign.catalogs.families)}
    )
    radius = campaign.catalogs.spectroscopic_match_radius_arcsec
    return [
        *_identified("spec_id"),
        *_on_the_sky(),
        ("expect_column_values_to_be_in_set", {"column": "confirmation", "value_set": ["confirmed", "silver"]}),
        ("expect_column_values_to_be_in_set", {"column": "use", "value_set": uses}),
        ("expect_column_values_to_be_between", {"column": "separation_arcsec", "min_value": 0, "max_value": radius}),
    ]


def _contaminants(campaign: Campaign) -> list[Expectation]:
    radius = campaign.negatives.contaminant_match_radius_arcsec
    matched = {"row_condition": "matched == True", "condition_parser": "pandas"}
    unmatched = {"row_condition": "matched == False", "condition_parser": "pandas"}
    return [
        *_identified("contaminant_id"),
        *_on_the_sky(),
        ("expect_column_values_to_not_be_null", {"column": "category"}),
        ("expect_column_values_to_be_in_set", {"column": "use", "value_set": ["contaminant", "exclude"]}),
        ("expect_column_values_to_not_be_null", {"column": "galaxy_id", **matched}),
        ("expect_column_values_to_not_be_null", {"column": "unmatched_reason", **unmatched}),
        ("expect_column_values_to_be_between", {"column": "separation_arcsec", "min_value": 0, "max_value": radius}),
    ]


def _with(column: str, value: object):  # type: ignore[no-untyped-def]  # a function of frames
    def corrupt(frame: pd.DataFrame) -> pd.DataFrame:
        damaged = frame.copy()
        damaged[column] = damaged[column].astype(object)
        damaged.iloc[0, damaged.columns.get_loc(column)] = value
        return damaged

    return corrupt


def _repeated(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([frame, frame.iloc[:1]], ignore_index=True)


SUITES = {
    "lens_catalog": Suite(
        asset="lens_catalog",
        expectations=_lenses,
        corruptions={
            "expect_column_values_to_be_unique:lens_id": _repeated,
            "expect_column_values_to_be_in_set:role": _with("role", "negative"),
            "expect_column_values_to_be_between:dec": _with("dec", 91.0),
            "expect_column_values_to_not_be_null:ra": _with("ra", None),
        },
    ),
    "spectroscopic_catalog": Suite(
        asset="spectroscopic_catalog",
        expectations=_spectroscopic,
        corruptions={
            "expect_column_values_to_be_in_set:use": _with("use", "anything"),
            "expect_column_values_to_be_in_set:confirmation": _with("confirmation", "candidate"),
            "expect_column_values_to_be_unique:spec_id": _repeated,
        },
    ),
    "contaminant_catalog": Suite(
        asset="contaminant_catalog",
        expectations=_contaminants,
        corruptions={
            "expect_column_values_to_not_be_null:category": _with("category", None),
            "expect_column_values_to_be_in_set:use": _with("use", "positive"),
            "expect_column_values_to_be_unique:contaminant_id": _repeated,
        },
    ),
}
