"""Expectations on the simulated survey's tables."""

from __future__ import annotations

from lens_assets.checks.suite import Suite

SUITES = {
    "simulated_survey": Suite(
        asset="simulated_survey",
        expectations=lambda campaign: [
            ("expect_column_values_to_be_unique", {"column": "brickname"}),
            ("expect_column_values_to_match_regex", {"column": "brickname", "regex": r"^\d{4}[pm]\d{3}$"}),
            ("expect_column_values_to_be_between", {"column": "dec", "min_value": -90, "max_value": 90}),
        ],
        corruptions={
            "expect_column_values_to_match_regex:brickname": lambda frame: frame.assign(brickname="brick"),
        },
    ),
    "simulated_truth": Suite(
        asset="simulated_truth",
        expectations=lambda campaign: [
            ("expect_column_values_to_be_unique", {"column": "object_id"}),
            ("expect_column_values_to_not_be_null", {"column": "ra"}),
            (
                "expect_column_values_to_be_between",
                {"column": "theta_e_arcsec", "min_value": 0.05, "max_value": 10.0},
            ),
        ],
        corruptions={
            "expect_column_values_to_be_between:theta_e_arcsec": lambda frame: frame.assign(theta_e_arcsec=60.0),
        },
    ),
}
