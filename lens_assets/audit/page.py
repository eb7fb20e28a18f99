"""The audit report as one HTML page that needs nothing else: text, tables and figures inside it, nothing fetched.

Everything shown passes through the template's escaping, since names and reasons come from catalogs and campaigns.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

TEMPLATE = "report.html.j2"
_VERDICT_WORDS = frozenset(
    {"GO", "NO-GO", "PASS", "FAIL", "WARN", "NOT-EVALUATED", "NOT-REACHED", "STABLE", "UNSTABLE"}
)


@dataclass(frozen=True)
class Cell:
    """Text of one table cell and its CSS class."""

    text: str
    style: str


@dataclass(frozen=True)
class Table:
    """A table ready to be shown."""

    caption: str
    header: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Picture:
    """A PNG with its caption."""

    caption: str
    png: bytes

    @property
    def base64(self) -> str:
        """The PNG in base64."""
        return base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Number:
    """A headline number, already formatted, with a note on its interval."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Verdict:
    """What a gate said. NOT-REACHED: it was never asked, since a gate before it did not open."""

    gate: str
    decision: str
    statement: str


@dataclass(frozen=True)
class Section:
    """One part of the page; `missing` says why what belongs here does not exist."""

    anchor: str
    title: str
    paragraphs: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    missing: str = ""


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    subtitle: str
    verdicts: list[Verdict]
    numbers: list[Number]
    sections: list[Section]
    lineage: Table


def render(page: Page) -> bytes:
    """Return the page as UTF-8 HTML; a name the template does not find is an error."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    source = resources.files("lens_assets.audit").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(page=page).encode()


def table_of(frame: pd.DataFrame, caption: str, limit: int = 60) -> Table:
    """Format a frame; rows beyond `limit` are left out and the caption says how many."""
    left_out = len(frame) - limit
    rows = [[_cell(value) for value in row] for row in frame.head(limit).itertuples(index=False)]
    note = f" ({left_out} more rows in the table itself)" if left_out > 0 else ""
    return Table(caption + note, [str(name).replace("_", " ") for name in frame.columns], rows)


def interval_text(value: float, lower: float, upper: float, digits: int = 3) -> tuple[str, str]:
    """Return (value, note on the interval) as shown on a headline card."""
    if not np.isfinite(value):
        return "n/a", "not supported by enough trials"
    return f"{value:.{digits}f}", f"95% interval {lower:.{digits}f} to {upper:.{digits}f}"


def _cell(value: Any) -> Cell:
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and np.isnan(value)):
        return Cell("", "")
    if isinstance(value, bool | np.bool_):
        return Cell("yes" if value else "no", "")
    if isinstance(value, int | np.integer):
        return Cell(f"{value:,}", "number")
    if isinstance(value, float | np.floating):
        return Cell(f"{value:.4g}", "number")
    text = str(value)
    return Cell(text, text if text in _VERDICT_WORDS else "")
