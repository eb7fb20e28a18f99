"""What the tables of the cutouts group must satisfy: stamps, features, manifest, split proof, shortcut audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lens_assets.checks.suite import Expectation, Suite, between, in_first_row, in_set, not_null, unique

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign

_BANDS = ("g", "r", "z")
_SPLITS = ["train", "val", "test"]


def _repeat_first(column: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a corruption that gives the second row the first row's value."""

    def corrupt(table: pd.DataFrame) -> pd.DataFrame:
        values = table[column].astype(object).to_list()
        return table.assign(**{column: [values[0], values[0], *values[2:]]})

    return corrupt


def _fail_all(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a corruption that puts a value into every row of a column."""
    return lambda table: table.assign(**{column: value})


def _cutouts(campaign: Campaign) -> list[Expectation]:
    return [
        *not_null("galaxy_id", "status", "ra", "dec", "brickname"),
        unique("galaxy_id"),
        unique("cutout_path"),
        in_set("status", ["ok"], mostly=1.0 - campaign.cutouts.max_failed_fraction),
        *(between(f"zero_fraction_{band}", 0.0, 1.0) for band in _BANDS),
        *(between(f"psfsize_{band}", 0.3, 5.0) for band in _BANDS),
        between("x_offset_arcsec", -0.14, 0.14),
        between("y_offset_arcsec", -0.14, 0.14),
    ]


def _cutouts_tolerance(campaign: Campaign) -> list[Expectation]:
    return [in_set("status", ["ok"], mostly=1.0 - campaign.cutouts.warn_failed_fraction)]


def _cutout_features(campaign: Campaign) -> list[Expectation]:
    pixels = campaign.cutouts.stamp_pixels**2
    return [
        *not_null("galaxy_id", "cutout_path", "quality_ok", "quality_reason", "arc_visibility"),
        unique("galaxy_id"),
        unique("cutout_path"),
        *(between(f"nan_count_{band}", 0, pixels) for band in _BANDS),
        between("nan_frac", 0.0, 1.0),
        between("central_nan_frac", 0.0, 1.0),
        between("clip_frac_r", 0.0, 1.0),
        between("arc_visibility", 0.0, None),
    ]


def _training_manifest(campaign: Campaign) -> list[Expectation]:
    return [
        *not_null("cutout_path", "galaxy_id", "label", "split", "sample_weight", "healpix_128", "tier", "brickname"),
        unique("galaxy_id"),
        unique("cutout_path"),
        in_set("label", [0, 1]),
        in_set("split", _SPLITS),
        in_set("tier", ["A", "B", "N1", "N2"]),
        in_set("quality_ok", [True]),
        in_set("size", [campaign.cutouts.stamp_pixels]),
        between("sample_weight", 0.0, None),
        between("healpix_128", 0, 12 * 128**2 - 1),
        ("expect_column_distinct_values_to_contain_set", {"column": "split", "value_set": _expected_splits(campaign)}),
        ("expect_column_distinct_values_to_contain_set", {"column": "label", "value_set": [0, 1]}),
    ]


def _expected_splits(campaign: Campaign) -> list[str]:
    return [name for name, fraction in campaign.splits.ordered_fractions.items() if fraction > 0]


def _separation(campaign: Campaign) -> list[Expectation]:
    return [
        *not_null("check", "found"),
        in_set("passed", [True]),
        ("expect_table_row_count_to_be_between", {"min_value": 10}),
    ]


def _balance(campaign: Campaign) -> list[Expectation]:
    return [in_set("passed", [True])]


def _shortcut_audit(campaign: Campaign) -> list[Expectation]:
    return [
        *not_null("feature", "part", "flag"),
        ("expect_compound_columns_to_be_unique", {"column_list": ["part", "feature"]}),
        between("auc", 0.5, 1.0),
        in_set("flag", ["none", "yellow", "red", "expected", "not_evaluated"]),
    ]


def _shortcut_flags(campaign: Campaign) -> list[Expectation]:
    return [("expect_column_values_to_not_be_in_set", {"column": "flag", "value_set": ["red"]})]


SUITES: dict[str, Suite] = {
    "cutouts": Suite(
        asset="cutouts",
        expectations=_cutouts,
        corruptions={
            "expect_column_values_to_be_in_set:status": _fail_all("status", "corrupt_file"),
            "expect_column_values_to_be_unique:cutout_path": _repeat_first("cutout_path"),
            "expect_column_values_to_be_between:psfsize_r": in_first_row("psfsize_r", 1300.0),
            "expect_column_values_to_be_between:x_offset_arcsec": in_first_row("x_offset_arcsec", 1.0),
        },
    ),
    "cutouts_tolerance": Suite(
        asset="cutouts",
        expectations=_cutouts_tolerance,
        corruptions={"expect_column_values_to_be_in_set:status": _fail_all("status", "missing_file")},
        blocking=False,
        severity="WARN",
    ),
    "cutout_features": Suite(
        asset="cutout_features",
        expectations=_cutout_features,
        corruptions={
            "expect_column_values_to_be_between:nan_count_g": in_first_row("nan_count_g", -1),
            "expect_column_values_to_not_be_null:arc_visibility": in_first_row("arc_visibility", None),
        },
    ),
    "training_manifest": Suite(
        asset="training_manifest",
        expectations=_training_manifest,
        corruptions={
            "expect_column_values_to_be_unique:cutout_path": _repeat_first("cutout_path"),
            "expect_column_values_to_not_be_null:healpix_128": in_first_row("healpix_128", None),
            "expect_column_values_to_be_in_set:split": in_first_row("split", "holdout"),
            "expect_column_values_to_be_in_set:quality_ok": in_first_row("quality_ok", False),
        },
    ),
    "split_proof": Suite(
        asset="split_proof",
        expectations=_separation,
        corruptions={"expect_column_values_to_be_in_set:passed": in_first_row("passed", False)},
        table="separation",
    ),
    "split_proof_balance": Suite(
        asset="split_proof",
        expectations=_balance,
        corruptions={"expect_column_values_to_be_in_set:passed": in_first_row("passed", False)},
        table="balance_checks",
        blocking=False,
        severity="WARN",
    ),
    "shortcut_audit": Suite(
        asset="shortcut_audit",
        expectations=_shortcut_audit,
        corruptions={"expect_column_values_to_be_between:auc": in_first_row("auc", 0.2)},
    ),
    "shortcut_audit_flags": Suite(
        asset="shortcut_audit",
        expectations=_shortcut_flags,
        corruptions={"expect_column_values_to_not_be_in_set:flag": in_first_row("flag", "red")},
        blocking=False,
        severity="WARN",
    ),
}
