"""What the tables of the cutouts group must satisfy: stamps, features, manifest, split proof, shortcut audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lens_assets.checks.suite import Expectation, Suite

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign

_BANDS = ("g", "r", "z")
_SPLITS = ["train", "val", "test"]


def _set(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a corruption that puts a value into the first row of a column."""

    def corrupt(table: pd.DataFrame) -> pd.DataFrame:
        values = table[column].astype(object).to_list()
        return table.assign(**{column: [value, *values[1:]]})

    return corrupt


def _repeat_first(column: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a corruption that gives the second row the first row's value."""

    def corrupt(table: pd.DataFrame) -> pd.DataFrame:
        values = table[column].astype(object).to_list()
        return table.assign(**{column: [values[0], values[0], *values[2:]]})

    return corrupt


def _fail_all(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a corruption that puts a value into every row of a column."""
    return lambda table: table.assign(**{column: value})


def _not_null(*columns: str) -> list[Expectation]:
    return [("expect_column_values_to_not_be_null", {"column": column}) for column in columns]


def _between(column: str, low: float | None, high: float | None) -> Expectation:
    return "expect_column_values_to_be_between", {"column": column, "min_value": low, "max_value": high}


def _unique(column: str) -> Expectation:
    return "expect_column_values_to_be_unique", {"column": column}


def _in_set(column: str, values: list[Any], mostly: float = 1.0) -> Expectation:
    return "expect_column_values_to_be_in_set", {"column": column, "value_set": values, "mostly": mostly}


def _cutouts(campaign: Campaign) -> list[Expectation]:
    return [
        *_not_null("galaxy_id", "status", "ra", "dec", "brickname"),
        _unique("galaxy_id"),
        _unique("cutout_path"),
        _in_set("status", ["ok"], mostly=1.0 - campaign.cutouts.max_failed_fraction),
        *(_between(f"zero_fraction_{band}", 0.0, 1.0) for band in _BANDS),
        *(_between(f"psfsize_{band}", 0.3, 5.0) for band in _BANDS),
        _between("x_offset_arcsec", -0.14, 0.14),
        _between("y_offset_arcsec", -0.14, 0.14),
    ]


def _cutouts_tolerance(campaign: Campaign) -> list[Expectation]:
    return [_in_set("status", ["ok"], mostly=1.0 - campaign.cutouts.warn_failed_fraction)]


def _cutout_features(campaign: Campaign) -> list[Expectation]:
    pixels = campaign.cutouts.stamp_pixels**2
    return [
        *_not_null("galaxy_id", "cutout_path", "quality_ok", "quality_reason", "arc_visibility"),
        _unique("galaxy_id"),
        _unique("cutout_path"),
        *(_between(f"nan_count_{band}", 0, pixels) for band in _BANDS),
        _between("nan_frac", 0.0, 1.0),
        _between("central_nan_frac", 0.0, 1.0),
        _between("clip_frac_r", 0.0, 1.0),
        _between("arc_visibility", 0.0, None),
    ]


def _training_manifest(campaign: Campaign) -> list[Expectation]:
    return [
        *_not_null("cutout_path", "galaxy_id", "label", "split", "sample_weight", "healpix_128", "tier", "brickname"),
        _unique("galaxy_id"),
        _unique("cutout_path"),
        _in_set("label", [0, 1]),
        _in_set("split", _SPLITS),
        _in_set("tier", ["A", "B", "N1", "N2"]),
        _in_set("quality_ok", [True]),
        _in_set("size", [campaign.cutouts.stamp_pixels]),
        _between("sample_weight", 0.0, None),
        _between("healpix_128", 0, 12 * 128**2 - 1),
        ("expect_column_distinct_values_to_contain_set", {"column": "split", "value_set": _expected_splits(campaign)}),
        ("expect_column_distinct_values_to_contain_set", {"column": "label", "value_set": [0, 1]}),
    ]


def _expected_splits(campaign: Campaign) -> list[str]:
    return [name for name, fraction in campaign.splits.ordered_fractions.items() if fraction > 0]


def _separation(campaign: Campaign) -> list[Expectation]:
    return [
        *_not_null("check", "found"),
        _in_set("passed", [True]),
        ("expect_table_row_count_to_be_between", {"min_value": 10}),
    ]


def _balance(campaign: Campaign) -> list[Expectation]:
    return [_in_set("passed", [True])]


def _shortcut_audit(campaign: Campaign) -> list[Expectation]:
    return [
        *_not_null("feature", "part", "flag"),
        ("expect_compound_columns_to_be_unique", {"column_list": ["part", "feature"]}),
        _between("auc", 0.5, 1.0),
        _in_set("flag", ["none", "yellow", "red", "expected", "not_evaluated"]),
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
            "expect_column_values_to_be_between:psfsize_r": _set("psfsize_r", 1300.0),
            "expect_column_values_to_be_between:x_offset_arcsec": _set("x_offset_arcsec", 1.0),
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
            "expect_column_values_to_be_between:nan_count_g": _set("nan_count_g", -1),
            "expect_column_values_to_not_be_null:arc_visibility": _set("arc_visibility", None),
        },
    ),
    "training_manifest": Suite(
        asset="training_manifest",
        expectations=_training_manifest,
        corruptions={
            "expect_column_values_to_be_unique:cutout_path": _repeat_first("cutout_path"),
            "expect_column_values_to_not_be_null:healpix_128": _set("healpix_128", None),
            "expect_column_values_to_be_in_set:split": _set("split", "holdout"),
            "expect_column_values_to_be_in_set:quality_ok": _set("quality_ok", False),
        },
    ),
    "split_proof": Suite(
        asset="split_proof",
        expectations=_separation,
        corruptions={"expect_column_values_to_be_in_set:passed": _set("passed", False)},
        table="separation",
    ),
    "split_proof_balance": Suite(
        asset="split_proof",
        expectations=_balance,
        corruptions={"expect_column_values_to_be_in_set:passed": _set("passed", False)},
        table="balance_checks",
        blocking=False,
        severity="WARN",
    ),
    "shortcut_audit": Suite(
        asset="shortcut_audit",
        expectations=_shortcut_audit,
        corruptions={"expect_column_values_to_be_between:auc": _set("auc", 0.2)},
    ),
    "shortcut_audit_flags": Suite(
        asset="shortcut_audit",
        expectations=_shortcut_flags,
        corruptions={"expect_column_values_to_not_be_in_set:flag": _set("flag", "red")},
        blocking=False,
        severity="WARN",
    ),
}
