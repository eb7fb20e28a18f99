"""The verdict of a gate as data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

Decision = Literal["GO", "NO-GO", "NOT-EVALUATED"]
FILE_NAME = "verdict.json"
_NAMED_STRATA = 2


class Verdict(BaseModel):
    """A decision, the digests of what it judged, the rows it rests on and a sentence that says it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate: str
    decision: Decision
    inputs: dict[str, str]
    rows: tuple[dict[str, Any], ...]
    reasons: tuple[str, ...]
    statement: str

    def to_json(self) -> str:
        """Return stable JSON (sorted keys, no NaN)."""
        return json.dumps(self.model_dump(), sort_keys=True, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Verdict:
        """Read what `to_json` wrote; pydantic names what is wrong with it."""
        return cls.model_validate_json(text)


def judge(gate: str, report: pd.DataFrame, inputs: Mapping[str, str], notes: Sequence[str] = ()) -> Verdict:
    """Decide from the gating rows: any FAIL is NO-GO, else anything not evaluated is NOT-EVALUATED, else GO.

    A report without a single gating row is NOT-EVALUATED.

    Args:
        report: rows of the battery (`battery.COLUMNS`).
        inputs: name -> digest of everything that was judged.
        notes: sentences printed with the statement whatever the decision; rows that warn are named after them.
    """
    gating = report[report["gates"]]
    failed = gating[gating["verdict"] == "FAIL"]
    missing = gating[gating["verdict"] == "NOT-EVALUATED"]
    decision: Decision = "GO"
    if len(failed):
        decision, because = "NO-GO", failed
    elif len(missing) or gating.empty:
        decision, because = "NOT-EVALUATED", missing
    else:
        because = gating.iloc[:0]
    reasons = tuple(describe(item) for item in because.to_dict("records"))
    if gating.empty:
        reasons = ("nothing was compared",)
    return Verdict(
        gate=gate,
        decision=decision,
        inputs=dict(inputs),
        rows=tuple(_plain(item) for item in report.to_dict("records")),
        reasons=reasons,
        statement=_statement(decision, gating, reasons, [*notes, *_warnings(report)]),
    )


def describe(item: Mapping[Any, Any]) -> str:
    """Return one sentence: which observable, by how much, where, against which rule, and what to look at."""
    text = f"{item['observable']} ({item['stratum']})"
    if item["verdict"] == "NOT-EVALUATED":
        found = f"{item['n_anchors']} anchors and {item['n_injections']:.0f} effective injections"
        return f"{text}: not evaluated with {found}; asked: {item['requirement']}"
    value = item["value"]
    text += f": {item['statistic']} = {value:.3g}"
    if not math.isnan(item["p_value"]):
        text += f", p = {item['p_value']:.2g}"
    if not math.isnan(item["anchor_value"]):
        text += f" (anchors {item['anchor_value']:.4g}, injections {item['injection_value']:.4g})"
    return f"{text}; required: {item['requirement']}; look at {item['likely_knob']}"


def named(rows: pd.DataFrame) -> str:
    """Return the observables of rows, each once, with the strata where they are few."""
    parts = []
    for observable, group in rows.groupby("observable", sort=False):
        strata = [str(name) for name in group["stratum"] if name != "all"]
        where = f" ({', '.join(strata)})" if len(strata) <= _NAMED_STRATA else f" ({len(strata)} strata)"
        parts.append(f"{observable}{where if strata else ''}")
    return ", ".join(parts)


def _warnings(report: pd.DataFrame) -> list[str]:
    warned = report[(report["verdict"] == "WARN") & ~report["gates"]]
    return [f"Warned without deciding: {named(warned)}"] if len(warned) else []


def _statement(decision: Decision, gating: pd.DataFrame, reasons: Sequence[str], notes: Sequence[str]) -> str:
    counts = gating["verdict"].value_counts()
    summary = ", ".join(f"{counts[name]} {name}" for name in ("PASS", "FAIL", "NOT-EVALUATED") if name in counts)
    parts = [f"{decision}: {len(gating)} deciding comparisons ({summary or 'none'})", *reasons, *notes]
    return ". ".join(part.rstrip(".") for part in parts) + "."


def _plain(item: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(name): None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in item.items()
    }
