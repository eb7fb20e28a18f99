"""What the tables of the injections must satisfy, and a corruption that each expectation catches by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.checks.suite import Expectation, Suite, between

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from lens_assets.campaign.campaign import Campaign

    Corruption = Callable[[pd.DataFrame], pd.DataFrame]

WIDEST_CLIP_MAG = 4.0


def _filled(column: str) -> Expectation:
    return ("expect_column_values_to_not_be_null", {"column": column})


def plan_expectations(campaign: Campaign) -> list[Expectation]:
    """Return the expectations on the plan: unique ids, priors within their settings, hosts with known conditions."""
    injection, edges = campaign.injection, campaign.selection_function.grid.theta_e_edges_arcsec
    lens, source = injection.lens, injection.source
    return [
        ("expect_table_row_count_to_be_between", {"min_value": 1}),
        ("expect_column_values_to_be_unique", {"column": "injection_id"}),
        ("expect_column_values_to_be_in_set", {"column": "purpose", "value_set": ["pilot", "grid"]}),
        *(_filled(name) for name in ("galaxy_id", "host_cutout_path", "log_pdf", "condition")),
        between("host_weight", 0.0, None),
        between("theta_e_arcsec", edges[0], edges[-1]),
        between("lens_axis_ratio", lens.axis_ratio.minimum, lens.axis_ratio.maximum),
        between("lens_angle_deg", 0.0, 180.0),
        between("source_mag_r", source.mag_r.minimum - WIDEST_CLIP_MAG, source.mag_r.maximum + WIDEST_CLIP_MAG),
        between(
            "source_half_light_radius_arcsec",
            source.half_light_radius_arcsec.minimum * 0.999,
            source.half_light_radius_arcsec.maximum * 1.001,
        ),
        between("source_sersic_index", source.sersic_index.minimum, source.sersic_index.maximum),
        between("psfsize_r", 0.3, 5.0),
        between("sky_sigma_r", 0.0, None),
        ("expect_column_values_to_be_in_set", {"column": "status", "value_set": [0]}),
    ]


def truth_expectations(campaign: Campaign) -> list[Expectation]:
    """Return the expectations on rendered injections; a few may fail, and then their status says why."""
    del campaign
    return [
        ("expect_column_values_to_be_unique", {"column": "injection_id"}),
        ("expect_column_values_to_be_in_set", {"column": "status", "value_set": [0], "mostly": 0.99}),
        between("magnification", 0.01, 1000.0),
        between("n_images", 0, 4),
        between("gain_r", 100.0, 1e8),
        ("expect_column_values_to_not_be_null", {"column": "arc_snr", "mostly": 0.99}),
    ]


def score_expectations(campaign: Campaign) -> list[Expectation]:
    """Return the expectations on scores: every injection once, probabilities, the host's always known."""
    del campaign
    return [
        ("expect_column_values_to_be_unique", {"column": "injection_id"}),
        _filled("host_score"),
        between("host_score", 0.0, 1.0),
        between("injected_score", 0.0, 1.0),
        ("expect_column_values_to_not_be_null", {"column": "injected_score", "mostly": 0.99}),
    ]


def _repeat_first(column: str) -> Corruption:
    def corrupt(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(**{column: table[column].iloc[0]})

    return corrupt


def _set(column: str, value: float | str | None) -> Corruption:
    def corrupt(table: pd.DataFrame) -> pd.DataFrame:
        damaged = table.copy()
        damaged.isetitem(list(damaged.columns).index(column), [value] * len(damaged))
        return damaged

    return corrupt


_UNIQUE = "expect_column_values_to_be_unique:injection_id"
_BETWEEN = "expect_column_values_to_be_between"

SUITES: dict[str, Suite] = {
    "injection_plan": Suite(
        asset="injection_plan",
        expectations=plan_expectations,
        corruptions={
            _UNIQUE: _repeat_first("injection_id"),
            f"{_BETWEEN}:theta_e_arcsec": _set("theta_e_arcsec", 40.0),
            f"{_BETWEEN}:source_mag_r": _set("source_mag_r", 12.0),
            "expect_column_values_to_not_be_null:host_cutout_path": _set("host_cutout_path", None),
            "expect_column_values_to_be_in_set:status": _set("status", 1),
        },
    ),
    "injection_pilot": Suite(
        asset="injection_pilot",
        expectations=truth_expectations,
        corruptions={
            _UNIQUE: _repeat_first("injection_id"),
            "expect_column_values_to_be_in_set:status": _set("status", 2),
            f"{_BETWEEN}:gain_r": _set("gain_r", 1.5),
            f"{_BETWEEN}:magnification": _set("magnification", 0.0),
        },
    ),
    "injection_batches": Suite(
        asset="injection_batches",
        expectations=truth_expectations,
        corruptions={_UNIQUE: _repeat_first("injection_id"), f"{_BETWEEN}:n_images": _set("n_images", 7)},
    ),
    "injection_scores": Suite(
        asset="injection_scores",
        expectations=score_expectations,
        corruptions={
            f"{_BETWEEN}:injected_score": _set("injected_score", 1.5),
            "expect_column_values_to_not_be_null:host_score": _set("host_score", float("nan")),
        },
    ),
}
