"""Suites of the parent samples: flags are whole and nested where their limits are, ranks are places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.campaign.stages.host_selection import VARIANTS
from lens_assets.checks.suite import Expectation, Suite, between, in_first_row, in_set, not_null, unique

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign

_RANKS = ("rank_density", "rank_n_lrg", "rank_area_weighted", "rank_psf_weighted")


def _sources(campaign: Campaign) -> list[Expectation]:
    limits = campaign.host_selection.variants
    return [
        *not_null("galaxy_id", "healpix_128", *(f"lrg_{variant}" for variant in VARIANTS)),
        unique("galaxy_id"),
        *(
            (
                "expect_column_values_to_be_between",
                {
                    "column": "mag_z",
                    "max_value": getattr(limits, variant).mag_z_max,
                    "strict_max": True,
                    "row_condition": f"lrg_{variant} == True",
                    "condition_parser": "pandas",
                },
            )
            for variant in VARIANTS
        ),
    ]


def _regions(campaign: Campaign) -> list[Expectation]:
    del campaign
    return [
        *not_null("variant", "region_id", "n_lrg", "area_deg2", *_RANKS),
        in_set("variant", list(VARIANTS)),
        ("expect_compound_columns_to_be_unique", {"column_list": ["variant", "region_id"]}),
        *(("expect_compound_columns_to_be_unique", {"column_list": ["variant", rank]}) for rank in _RANKS),
        between("n_lrg", 1, None),
        between("area_deg2", 0.0, 41253.0),
        between("density_per_deg2", 0.0, None),
    ]


def _legacy(campaign: Campaign) -> list[Expectation]:
    return [
        *not_null("task_id", "selection_set", "legacy_split", "galaxy_id", "drawn_galaxy_id", "is_control"),
        unique("task_id"),
        in_set("design", sorted(campaign.sampling.legacy)),
        in_set("legacy_split", ["train", "val", "test"]),
        in_set("control_kind", ["paired", "unpaired"]),
        between("sampling_weight", 1, None),
        ("expect_column_values_to_not_be_null", {
            "column": "configuration_id", "row_condition": "is_control == False", "condition_parser": "pandas"}),
        ("expect_column_values_to_be_in_set", {
            "column": "theta_e_arcsec", "value_set": [0.0],
            "row_condition": "is_control == True", "condition_parser": "pandas"}),
    ]  # fmt: skip


def _faint(frame: pd.DataFrame) -> pd.DataFrame:
    """Flag a source that is far too faint."""
    return frame.assign(mag_z=24.5, lrg_v1_pure_massive=True)


SUITES = {
    "lrg_sources": Suite(
        asset="lrg_sources",
        expectations=_sources,
        corruptions={
            "expect_column_values_to_be_between:mag_z": _faint,
            "expect_column_values_to_not_be_null:lrg_v3_color_relaxed": in_first_row("lrg_v3_color_relaxed", None),
        },
    ),
    "lrg_regions": Suite(
        asset="lrg_regions",
        expectations=_regions,
        corruptions={
            "expect_column_values_to_be_in_set:variant": in_first_row("variant", "v6"),
            "expect_column_values_to_be_between:n_lrg": in_first_row("n_lrg", 0),
        },
    ),
    "legacy_sample": Suite(
        asset="legacy_sample",
        expectations=_legacy,
        corruptions={
            "expect_column_values_to_not_be_null:drawn_galaxy_id": in_first_row("drawn_galaxy_id", None),
            "expect_column_values_to_be_unique:task_id": lambda frame: frame.assign(task_id="one"),
            "expect_column_values_to_be_in_set:theta_e_arcsec": lambda frame: frame.assign(theta_e_arcsec=1.0),
            "expect_column_values_to_not_be_null:configuration_id": lambda frame: frame.assign(configuration_id=None),
        },
    ),
}
