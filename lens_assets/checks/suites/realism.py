"""What the tables of the realism battery must satisfy, and a corruption that each expectation catches by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.checks.suite import Expectation, Suite, between, in_first_row, in_set, not_null

if TYPE_CHECKING:
    from lens_assets.campaign.campaign import Campaign

VERDICTS = ["PASS", "FAIL", "WARN", "NOT-EVALUATED"]


def _anchors(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_column_values_to_be_unique", {"column": "lens_id"}),
        *not_null("lens_id", "galaxy_id", "cutout_path", "visible", "arc_snr"),
        in_set("half", ["calibration", "gate"]),
        in_set("split", list(campaign.realism.anchors.splits)),
        between("tangential_asymmetry", 0.0, 1.0),
        between("arc_snr", 0.0, None),
    ]


def _calibration(campaign: Campaign) -> list[Expectation]:
    brightness = campaign.injection.brightness
    fitted = brightness.fitted_shift_mag
    limits = [fitted.minimum, fitted.maximum, brightness.pinned_shift_mag, 0.0]
    return [
        ("expect_table_row_count_to_equal", {"value": 1}),
        between("magnitude_shift_mag", min(limits), max(limits)),
        in_set("mode", ["fitted", "arc_snr_faint", "arc_snr_legacy", "pinned", "not_fitted"]),
    ]


def _rows(campaign: Campaign) -> list[Expectation]:
    del campaign
    return [
        *not_null("observable", "stratum", "verdict", "gates"),
        in_set("verdict", VERDICTS),
        between("p_value", 0.0, 1.0),
        between("n_anchors", 0, None),
        ("expect_table_row_count_to_be_between", {"min_value": 1}),
    ]


SUITES: dict[str, Suite] = {
    "anchor_observables": Suite(
        asset="anchor_observables",
        expectations=_anchors,
        corruptions={
            "expect_column_values_to_be_in_set:split": in_first_row("split", "train"),
            "expect_column_values_to_be_in_set:half": in_first_row("half", "both"),
            "expect_column_values_to_be_between:tangential_asymmetry": in_first_row("tangential_asymmetry", 1.5),
            "expect_column_values_to_not_be_null:lens_id": in_first_row("lens_id", None),
        },
    ),
    "brightness_calibration": Suite(
        asset="brightness_calibration",
        expectations=_calibration,
        corruptions={
            "expect_column_values_to_be_between:magnitude_shift_mag": in_first_row("magnitude_shift_mag", 9.0),
            "expect_column_values_to_be_in_set:mode": in_first_row("mode", "guessed"),
        },
    ),
    "realism_report": Suite(
        asset="realism_report",
        expectations=_rows,
        corruptions={
            "expect_column_values_to_be_in_set:verdict": in_first_row("verdict", "MAYBE"),
            "expect_column_values_to_be_between:p_value": in_first_row("p_value", 2.0),
        },
    ),
    "realism_gate": Suite(
        asset="realism_gate",
        expectations=lambda campaign: [
            *_rows(campaign),
            in_set("gates", [True]),
        ],
        corruptions={"expect_column_values_to_be_in_set:verdict": in_first_row("verdict", "MAYBE")},
    ),
}
