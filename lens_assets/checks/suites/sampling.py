"""What the tables of the sampling group must satisfy: splits, pool, report, sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.checks.suite import Expectation, Suite, between, in_first_row, not_null

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign

_SPLITS = ["train", "val", "test"]
_FILTERS = 13


def _split_cells(campaign: Campaign) -> list[Expectation]:
    wanted = {name for name, fraction in campaign.splits.ordered_fractions.items() if fraction > 0}
    return [
        ("expect_column_values_to_be_unique", {"column": "healpix_128"}),
        between("healpix_128", 0, 12 * campaign.splits.cell_nside**2 - 1),
        *not_null("healpix_128", "u", "split", "region_id", "fold", "sky_partition"),
        ("expect_column_values_to_be_between", {"column": "u", "min_value": 0, "max_value": 1, "strict_max": True}),
        ("expect_column_distinct_values_to_equal_set", {"column": "split", "value_set": sorted(wanted)}),
        between("fold", 0, campaign.splits.folds - 1),
        ("expect_column_values_to_be_in_set", {
            "column": "sky_partition", "value_set": list(campaign.survey.sky_partitions)}),
    ]  # fmt: skip


def _negative_pool(campaign: Campaign) -> list[Expectation]:
    filters = campaign.negatives.filters
    candidate = "is_candidate == True"
    return [
        *not_null("galaxy_id", "healpix_128", "split", "region_id", "fold", "sky_partition", "is_candidate"),
        ("expect_column_values_to_be_in_set", {"column": "split", "value_set": _SPLITS}),
        ("expect_column_values_to_be_in_set", {"column": "pool", "value_set": ["N1", "N1b", "N2"]}),
        ("expect_column_values_to_be_between", {
            "column": "mag_z", "max_value": filters.mag_z_max, "strict_max": True,
            "row_condition": candidate, "condition_parser": "pandas"}),
        ("expect_column_values_to_be_between", {
            "column": "exclusion_separation_arcsec", "min_value": filters.exclusion_radius_arcsec, "strict_min": True,
            "row_condition": candidate, "condition_parser": "pandas"}),
        ("expect_column_values_to_not_be_null", {
            "column": "confuser_category", "row_condition": 'pool == "N2"', "condition_parser": "pandas"}),
        ("expect_column_values_to_be_unique", {
            "column": "galaxy_id", "row_condition": candidate, "condition_parser": "pandas"}),
    ]  # fmt: skip


def _parity_report(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_table_row_count_to_equal", {"value": _FILTERS}),
        ("expect_column_values_to_be_unique", {"column": "filter"}),
        between("rows_left", 1, None),
        between("fails_in_order", 0, None),
        ("expect_column_pair_values_a_to_be_greater_than_b", {
            "column_A": "fails_alone", "column_B": "fails_in_order", "or_equal": True}),
        ("expect_column_pair_values_a_to_be_greater_than_b", {
            "column_A": "rows_in", "column_B": "rows_left", "or_equal": True}),
    ]  # fmt: skip


def _confusers(campaign: Campaign) -> list[Expectation]:
    limits = campaign.negatives.warnings
    return [
        ("expect_column_values_to_be_unique", {"column": "category"}),
        ("expect_column_sum_to_be_between", {"column": "n", "min_value": 1}),
        between("share_of_n2", 0, limits.largest_category_share),
        ("expect_column_sum_to_be_between", {
            "column": "share_of_candidates", "row_condition": 'recipe == "published"', "condition_parser": "pandas",
            "min_value": limits.published_rate_min, "max_value": limits.published_rate_max}),
        between("share_of_n2", limits.edge_on_share_min, limits.edge_on_share_max,
                row_condition='category == "edge_on_proxy"', condition_parser="pandas"),
    ]  # fmt: skip


def _stratified_sample(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_compound_columns_to_be_unique", {"column_list": ["design", "galaxy_id"]}),
        *not_null("design", "galaxy_id", "label", "tier", "split", "healpix_128", "ra", "dec", "stratum"),
        ("expect_column_distinct_values_to_equal_set", {
            "column": "design", "value_set": sorted(campaign.sampling.drawn)}),
        ("expect_column_values_to_be_in_set", {"column": "tier", "value_set": ["A", "B", "N1", "N2"]}),
        ("expect_column_values_to_be_in_set", {"column": "split", "value_set": _SPLITS}),
        between("sample_weight", 0, 1),
        between("sampling_weight", 1, None),
        ("expect_column_values_to_be_in_set", {
            "column": "evaluation_only", "value_set": [False],
            "row_condition": 'split == "train"', "condition_parser": "pandas"}),
        ("expect_column_values_to_not_be_null", {
            "column": "lens_id", "row_condition": "label == 1", "condition_parser": "pandas"}),
    ]  # fmt: skip


def _bright_limit_broken(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(mag_z=table["mag_z"].mask(table["is_candidate"], 25.0))


def _candidates_beside_lenses(table: pd.DataFrame) -> pd.DataFrame:
    near = table["exclusion_separation_arcsec"].astype(float).mask(table["is_candidate"], 2.0)
    return table.assign(exclusion_separation_arcsec=near)


def _first_row_twice(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([table.iloc[:1], table], ignore_index=True)


SUITES: dict[str, Suite] = {
    "split_cells": Suite(
        asset="split_cells",
        expectations=_split_cells,
        corruptions={
            "expect_column_values_to_be_unique:healpix_128": _first_row_twice,
            "expect_column_values_to_not_be_null:split": in_first_row("split", None),
            "expect_column_distinct_values_to_equal_set:split": lambda table: table.assign(split="train"),
        },
    ),
    "negative_pool": Suite(
        asset="negative_pool",
        expectations=_negative_pool,
        corruptions={
            "expect_column_values_to_not_be_null:healpix_128": in_first_row("healpix_128", None),
            "expect_column_values_to_be_between:mag_z": _bright_limit_broken,
            "expect_column_values_to_be_between:exclusion_separation_arcsec": _candidates_beside_lenses,
        },
    ),
    "parity_report": Suite(
        asset="parity_report",
        expectations=_parity_report,
        corruptions={
            "expect_table_row_count_to_equal:": lambda table: table.iloc[:-1],
            "expect_column_values_to_be_between:rows_left": in_first_row("rows_left", 0),
        },
    ),
    "parity_report_confusers": Suite(
        asset="parity_report",
        table="parity_confusers",
        expectations=_confusers,
        corruptions={
            "expect_column_sum_to_be_between:n": lambda table: table.assign(n=0),
            "expect_column_sum_to_be_between:share_of_candidates": lambda table: table.assign(share_of_candidates=0.0),
            "expect_column_values_to_be_between:share_of_n2": lambda table: table.assign(share_of_n2=0.99),
        },
        blocking=False,
        severity="WARN",
    ),
    "stratified_sample": Suite(
        asset="stratified_sample",
        expectations=_stratified_sample,
        corruptions={
            "expect_compound_columns_to_be_unique:": _first_row_twice,
            "expect_column_values_to_be_in_set:evaluation_only": lambda table: table.assign(evaluation_only=True),
            "expect_column_values_to_be_in_set:tier": in_first_row("tier", "C"),
        },
    ),
}
