"""The shape of a check suite: expectations as data, so that naming them costs no import of Great Expectations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign

Expectation = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Suite:
    """What a table must satisfy, and for each corruption the expectation that must catch it.

    `expectations` maps a campaign to (snake-case expectation name, keyword arguments) pairs.
    `corruptions` maps "<expectation name>:<column or ''>" to a function that damages a good table.
    `table` names the extra table of the asset to check instead of its main table.
    `explain` says of a table that fails what a person has to look at, a line each: files by name, say.
    """

    asset: str
    expectations: Callable[[Campaign], list[Expectation]]
    corruptions: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]]
    blocking: bool = True
    table: str = ""
    severity: str = field(default="ERROR")
    explain: Callable[[pd.DataFrame], list[str]] | None = None


def between(column: str, low: float | None, high: float | None, **more: object) -> Expectation:
    """Return the expectation that values lie in [low, high]; None leaves a side open."""
    return "expect_column_values_to_be_between", {"column": column, "min_value": low, "max_value": high, **more}


def not_null(*columns: str) -> list[Expectation]:
    """Return the expectations that columns have a value in every row."""
    return [("expect_column_values_to_not_be_null", {"column": column}) for column in columns]


def unique(column: str) -> Expectation:
    """Return the expectation that no value stands twice."""
    return "expect_column_values_to_be_unique", {"column": column}


def in_set(column: str, values: list[Any], mostly: float = 1.0) -> Expectation:
    """Return the expectation that a share of at least `mostly` of the rows hold one of the values."""
    return "expect_column_values_to_be_in_set", {"column": column, "value_set": values, "mostly": mostly}


def in_first_row(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a corruption that puts a value into the first row of a column."""

    def corrupt(table: pd.DataFrame) -> pd.DataFrame:
        values = table[column].astype(object).to_list()
        return table.assign(**{column: [value, *values[1:]]})

    return corrupt
