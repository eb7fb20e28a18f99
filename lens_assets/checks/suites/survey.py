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
    from lens_assets.survey.accounts import ADDENDS

    readable = 1.0 - campaign.survey.max_quarantined_fraction
    return [
        ("expect_column_values_to_be_in_set", {"column": "status", "value_set": ["ok"], "mostly": readable}),
        ("expect_column_values_to_be_unique", {"column": "sweep_file"}),
        *[("expect_column_values_to_be_between", {"column": name, "min_value": 0}) for name in ("rows_read", *ADDENDS)],
        ("expect_column_values_to_be_in_set", {"column": "unaccounted", "value_set": [0]}),
    ]


def _every_file(campaign: Campaign) -> list[Expectation]:
    del campaign
    return [
        ("expect_column_values_to_be_in_set", {"column": "status", "value_set": ["ok"]}),
        ("expect_column_values_to_be_between", {"column": "malformed", "min_value": 0, "max_value": 0}),
    ]


def _name_files(files: pd.DataFrame) -> list[str]:
    """Return a line for each file that could not be read, that holds malformed rows, or whose rows do not add up."""
    lines = []
    for row in files.itertuples():
        if row.status != "ok":
            lines.append(f"{row.sweep_file}: {row.status}, {row.reason}: {row.detail}; mend or remove it and run again")
        elif row.malformed:
            lines.append(f"{row.sweep_file}: {row.malformed} malformed rows left out; {row.detail}")
        elif row.unaccounted:
            lines.append(f"{row.sweep_file}: {row.unaccounted} of {row.rows_read} rows are not accounted for")
    return lines


def _bricks(campaign: Campaign) -> list[Expectation]:
    del campaign
    return [
        ("expect_column_values_to_be_unique", {"column": "brickname"}),
        ("expect_column_values_to_be_between", {"column": "sources", "min_value": 1}),
    ]


def _name_bricks(bricks: pd.DataFrame) -> list[str]:
    """Return one line that names bricks without a source and what that may mean."""
    empty = bricks.loc[bricks["sources"] == 0, "brickname"].tolist()
    if not empty:
        return []
    named = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
    return [f"no source in {len(empty)} of {len(bricks)} bricks of the release: {named}; is a sweep file missing?"]


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
        explain=_name_files,
        corruptions={
            "expect_column_values_to_be_in_set:status": _with("status", "quarantined", all_rows=True),
            "expect_column_values_to_be_in_set:unaccounted": _with("unaccounted", 1),
            "expect_column_values_to_be_between:kept": _with("kept", -1),
        },
    ),
    "sweep_files_all_read": Suite(
        asset="sweep_sources",
        table="files",
        blocking=False,
        severity="WARN",
        expectations=_every_file,
        explain=_name_files,
        corruptions={
            "expect_column_values_to_be_in_set:status": _with("status", "quarantined"),
            "expect_column_values_to_be_between:malformed": _with("malformed", 3),
        },
    ),
    "sweep_bricks_covered": Suite(
        asset="sweep_sources",
        table="bricks",
        blocking=False,
        severity="WARN",
        expectations=_bricks,
        explain=_name_bricks,
        corruptions={
            "expect_column_values_to_be_unique:brickname": _repeated,
            "expect_column_values_to_be_between:sources": _with("sources", 0),
        },
    ),
}
