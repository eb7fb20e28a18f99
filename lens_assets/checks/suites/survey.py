"""Suites of sweep_sources: the sources themselves, and what became of the files and rows they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.checks.suite import Expectation, Suite

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign

_BANDS = ("g", "r", "z")


def _sources(campaign: Campaign) -> list[Expectation]:
    del campaign
    never_null = ("galaxy_id", "ra", "dec", "type", "brickname", "healpix_128", "sky_partition", "in_margin")
    positive_or_zero = [f"{stem}_{band}" for stem in ("psfdepth", "galdepth", "psfsize", "nobs") for band in _BANDS]
    return [
        *[("expect_column_values_to_not_be_null", {"column": name}) for name in never_null],
        *[("expect_column_values_to_not_be_null", {"column": f"flux_{band}"}) for band in _BANDS],
        ("expect_column_values_to_be_unique", {"column": "galaxy_id"}),
        ("expect_column_values_to_match_regex", {"column": "galaxy_id", "regex": r"^\d+_\d+_\d+$"}),
        ("expect_column_values_to_be_between", {"column": "ra", "min_value": 0, "max_value": 360, "strict_max": True}),
        ("expect_column_values_to_be_between", {"column": "dec", "min_value": -90, "max_value": 90}),
        (
            "expect_column_values_to_be_in_set",
            {"column": "type", "value_set": ["PSF", "REX", "DEV", "EXP", "SER", "DUP"]},
        ),
        ("expect_column_values_to_be_between", {"column": "axis_ratio", "min_value": 0, "max_value": 1}),
        *[("expect_column_values_to_be_between", {"column": name, "min_value": 0}) for name in positive_or_zero],
        *[
            (
                "expect_column_values_to_be_between",
                {"column": f"mw_transmission_{band}", "min_value": 0, "max_value": 1.0001},
            )
            for band in _BANDS
        ],
        (
            "expect_column_values_to_be_between",
            {"column": "healpix_128", "min_value": 0, "max_value": 12 * 128**2 - 1},
        ),
        ("expect_column_values_to_be_between", {"column": "maskbits", "min_value": 0, "max_value": 2**17 - 1}),
    ]


def _files(campaign: Campaign) -> list[Expectation]:
    readable = 1.0 - campaign.survey.max_quarantined_fraction
    return [
        ("expect_column_values_to_be_in_set", {"column": "status", "value_set": ["ok"], "mostly": readable}),
        ("expect_column_values_to_be_unique", {"column": "sweep_file"}),
        ("expect_column_values_to_be_between", {"column": "rows_read", "min_value": 0}),
    ]


def _every_file(campaign: Campaign) -> list[Expectation]:
    del campaign
    return [
        ("expect_column_values_to_be_in_set", {"column": "status", "value_set": ["ok"]}),
        ("expect_column_values_to_be_between", {"column": "malformed", "min_value": 0, "max_value": 0}),
    ]


def _with(column: str, value: object, all_rows: bool = False):  # type: ignore[no-untyped-def]  # a function of frames
    def corrupt(frame: pd.DataFrame) -> pd.DataFrame:
        damaged = frame.copy()
        damaged[column] = damaged[column].astype(object)
        damaged.iloc[slice(None) if all_rows else 0, damaged.columns.get_loc(column)] = value
        return damaged

    return corrupt


def _repeated(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([frame, frame.iloc[:1]], ignore_index=True)


SUITES = {
    "sweep_sources": Suite(
        asset="sweep_sources",
        expectations=_sources,
        corruptions={
            "expect_column_values_to_be_unique:galaxy_id": _repeated,
            "expect_column_values_to_not_be_null:flux_z": _with("flux_z", None),
            "expect_column_values_to_be_in_set:type": _with("type", "COMP"),
            "expect_column_values_to_be_between:dec": _with("dec", -91.0),
            "expect_column_values_to_be_between:psfsize_r": _with("psfsize_r", -1.0),
        },
    ),
    "sweep_files_tolerated": Suite(
        asset="sweep_sources",
        table="files",
        expectations=_files,
        corruptions={"expect_column_values_to_be_in_set:status": _with("status", "quarantined", all_rows=True)},
    ),
    "sweep_files_all_read": Suite(
        asset="sweep_sources",
        table="files",
        blocking=False,
        severity="WARN",
        expectations=_every_file,
        corruptions={
            "expect_column_values_to_be_in_set:status": _with("status", "quarantined"),
            "expect_column_values_to_be_between:malformed": _with("malformed", 3),
        },
    ),
}
