"""Suite of the positives: matched lenses are whole, unmatched ones say why, held-out ones are marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.checks.suite import Expectation, Suite

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign

_REASONS = [
    "outside_footprint", "no_source_in_radius", "masked", "filtered", "source_of_another_lens", "duplicate_entry",
]  # fmt: skip


def _positives(campaign: Campaign) -> list[Expectation]:
    settings = campaign.catalogs
    matched = {"row_condition": "matched == True", "condition_parser": "pandas"}
    unmatched = {"row_condition": "matched == False", "condition_parser": "pandas"}
    whole = ("galaxy_id", "ra", "dec", "type", "healpix_128", "split", "sky_partition", "tier", "weight")
    return [
        ("expect_column_values_to_not_be_null", {"column": "lens_id"}),
        ("expect_column_values_to_be_unique", {"column": "lens_id"}),
        ("expect_column_values_to_be_unique", {"column": "galaxy_id"}),
        ("expect_column_values_to_not_be_null", {"column": "evaluation_only"}),
        *[("expect_column_values_to_not_be_null", {"column": name, **matched}) for name in whole],
        ("expect_column_values_to_not_be_null", {"column": "unmatched_reason", **unmatched}),
        ("expect_column_values_to_be_in_set", {"column": "unmatched_reason", "value_set": _REASONS}),
        (
            "expect_column_values_to_be_between",
            {"column": "separation_arcsec", "min_value": 0, "max_value": settings.match_radius_arcsec},
        ),
        ("expect_column_values_to_be_in_set", {"column": "type", "value_set": list(settings.match_types)}),
        ("expect_column_values_to_be_between", {"column": "weight", "min_value": 0, "max_value": 1}),
    ]


def _on_first_match(column: str, value: object):  # type: ignore[no-untyped-def]  # a function of frames
    def corrupt(frame: pd.DataFrame) -> pd.DataFrame:
        damaged = frame.copy()
        damaged[column] = damaged[column].astype(object)
        row = int(frame["matched"].to_numpy(dtype=bool).argmax())
        damaged.iloc[row, damaged.columns.get_loc(column)] = value
        return damaged

    return corrupt


def _same_source_twice(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    first = frame[frame["matched"]].iloc[:1].assign(lens_id="another")
    return pd.concat([frame, first], ignore_index=True)


SUITES = {
    "positives": Suite(
        asset="positives",
        expectations=_positives,
        corruptions={
            "expect_column_values_to_be_unique:galaxy_id": _same_source_twice,
            "expect_column_values_to_not_be_null:split": _on_first_match("split", None),
            "expect_column_values_to_be_between:separation_arcsec": _on_first_match("separation_arcsec", 99.0),
            "expect_column_values_to_be_in_set:type": _on_first_match("type", "PSF"),
        },
    )
}
