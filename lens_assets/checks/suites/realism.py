"""What the tables of the realism battery must satisfy, and a corruption that each expectation catches by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lens_assets.checks.suite import Expectation, Suite

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from lens_assets.campaign.campaign import Campaign

VERDICTS = ["PASS", "FAIL", "WARN", "NOT-EVALUATED"]


def _between(column: str, low: float | None, high: float | None) -> Expectation:
    return "expect_column_values_to_be_between", {"column": column, "min_value": low, "max_value": high}


def _filled(*columns: str) -> list[Expectation]:
    return [("expect_column_values_to_not_be_null", {"column": column}) for column in columns]


def _in_set(column: str, values: list[Any]) -> Expectation:
    return "expect_column_values_to_be_in_set", {"column": column, "value_set": values}


def _first(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a corruption that puts a value into the first row of a column."""

    def corrupt(table: pd.DataFrame) -> pd.DataFrame:
        values = table[column].astype(object).to_list()
        return table.assign(**{column: [value, *values[1:]]})

    return corrupt


def _anchors(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_column_values_to_be_unique", {"column": "lens_id"}),
        *_filled("lens_id", "galaxy_id", "cutout_path", "visible", "arc_snr"),
        _in_set("half", ["calibration", "gate"]),
        _in_set("split", list(campaign.realism.anchors.splits)),
        _between("tangential_asymmetry", 0.0, 1.0),
        _between("arc_snr", 0.0, None),
    ]


def _calibration(campaign: Campaign) -> list[Expectation]:
    brightness = campaign.injection.brightness
    fitted = brightness.fitted_shift_mag
    limits = [fitted.minimum, fitted.maximum, brightness.pinned_shift_mag, 0.0]
    return [
        ("expect_table_row_count_to_equal", {"value": 1}),
        _between("magnitude_shift_mag", min(limits), max(limits)),
        _in_set("mode", ["fitted", "pinned", "not_fitted"]),
    ]


def _rows(campaign: Campaign) -> list[Expectation]:
    del campaign
    return [
        *_filled("observable", "stratum", "verdict", "gates"),
        _in_set("verdict", VERDICTS),
        _between("p_value", 0.0, 1.0),
        _between("n_anchors", 0, None),
        ("expect_table_row_count_to_be_between", {"min_value": 1}),
    ]


SUITES: dict[str, Suite] = {
    "anchor_observables": Suite(
        asset="anchor_observables",
        expectations=_anchors,
        corruptions={
            "expect_column_values_to_be_in_set:split": _first("split", "train"),
            "expect_column_values_to_be_in_set:half": _first("half", "both"),
            "expect_column_values_to_be_between:tangential_asymmetry": _first("tangential_asymmetry", 1.5),
            "expect_column_values_to_not_be_null:lens_id": _first("lens_id", None),
        },
    ),
    "brightness_calibration": Suite(
        asset="brightness_calibration",
        expectations=_calibration,
        corruptions={
            "expect_column_values_to_be_between:magnitude_shift_mag": _first("magnitude_shift_mag", 9.0),
            "expect_column_values_to_be_in_set:mode": _first("mode", "guessed"),
        },
    ),
    "realism_report": Suite(
        asset="realism_report",
        expectations=_rows,
        corruptions={
            "expect_column_values_to_be_in_set:verdict": _first("verdict", "MAYBE"),
            "expect_column_values_to_be_between:p_value": _first("p_value", 2.0),
        },
    ),
    "realism_gate": Suite(
        asset="realism_gate",
        expectations=lambda campaign: [
            *_rows(campaign),
            _in_set("gates", [True]),
        ],
        corruptions={"expect_column_values_to_be_in_set:verdict": _first("verdict", "MAYBE")},
    ),
}
