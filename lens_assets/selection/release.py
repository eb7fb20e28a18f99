"""The evidence of the release gate, one row a condition, each with what was found and what was asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lens_assets.realism.verdict import Decision, Verdict
from lens_assets.selection.stability import CALIBRATION, DETECTOR, REGIONS, decides

GATE = "release_gate"


def evidence(
    condition: str, found: str, expected: str, verdict: str, gates: bool = True, reason: str = ""
) -> dict[str, object]:
    """Return one row of evidence; `verdict` is PASS, FAIL, WARN or NOT-EVALUATED."""
    return {
        "condition": condition,
        "found": found,
        "expected": expected,
        "verdict": verdict,
        "gates": gates,
        "reason": reason,
    }


UNSCORED = "the external finder has not scored these stamps; export the roles sensitivity and closure to it"


REGIONS_NEEDED = "needs two groups of regions with 5 hosts each"


def host_evidence(hosts: Collection[str], manifest: pd.DataFrame) -> dict[str, object]:
    """Return the row on hosts that a detector may have seen: each has to be a negative of the test split.

    `manifest` has galaxy_id, split and label.
    """
    used = manifest.loc[manifest["galaxy_id"].isin(set(hosts))]
    clean = used.loc[(used["split"] == "test") & (used["label"] == 0), "galaxy_id"]
    wrong = sorted(set(hosts) - set(clean))
    verdict = "NOT-EVALUATED" if not len(set(hosts)) else "FAIL" if wrong else "PASS"
    found = f"{len(set(clean))} of {len(set(hosts))} are test negatives"
    return evidence("no host was trained on", found, "all", verdict, reason=", ".join(wrong[:3]))


NOT_DECIDING = {
    DETECTOR: "completeness is published for each detector",
    CALIBRATION: "too few anchors of this kind to calibrate on",
}
"""Rows of a sensitivity report that are said and do not decide: other detectors, and calibrations not evaluated."""


def sensitivity_evidence(
    report: pd.DataFrame,
    accepted: tuple[str, ...],
    reason: str,
    optional: Collection[str] = (),
    region_p_value: float = 0.0,
) -> list[dict[str, object]]:
    """Return one row a (detector, alternative) of a sensitivity report; accepted variants warn instead of failing.

    What was not evaluated of an `optional` detector, an external one beside the primary, is said and does not decide;
    likewise `NOT_DECIDING`. `region_p_value` is what the row on sky regions was judged by.
    """
    rows = []
    for row, decisive in zip(report.itertuples(index=False), decides(report), strict=True):
        unstable = row.verdict == "UNSTABLE"
        verdict = {"STABLE": "PASS", "UNSTABLE": "FAIL"}.get(str(row.verdict), "NOT-EVALUATED")
        waived = row.variant in accepted
        missing = verdict == "NOT-EVALUATED"
        unscored = row.detector in optional and missing
        said = not decisive
        shift = f"shift {row.shift:+.3f} [{row.shift_lower_95:+.3f}, {row.shift_upper_95:+.3f}]"
        regions = row.kind == REGIONS
        because = (
            (waived, reason),
            (unscored, UNSCORED),
            (said, NOT_DECIDING.get(row.kind, "")),
            (regions and missing, REGIONS_NEEDED),
        )
        rows.append(
            evidence(
                f"stable under {row.variant} ({row.detector})",
                f"p = {row.p_value:.3g}, largest {shift}" if regions else shift,
                f"p >= {region_p_value}" if regions else f"|shift| <= {row.maximum_shift}",
                "WARN" if unstable and (waived or said) else verdict,
                gates=not waived and not unscored and not said,
                reason=next((text for holds, text in because if holds), ""),
            )
        )
    return rows


def artefact_evidence(top: pd.DataFrame, maximum: float) -> dict[str, object]:
    """Return the row on what fills the top of the deployment sample's list; see `audit.taxonomy.top_of_list`.

    An object is an artefact if a mask bit is set at it or its stamp has pixels without data.
    """
    share = float(((top["maskbits"].fillna(0) != 0) | (top["zero_fraction"].fillna(0) > 0)).mean())
    verdict = "NOT-EVALUATED" if top.empty else "PASS" if share <= maximum else "FAIL"
    return evidence("top candidates are not artefacts", f"{share:.2f} of {len(top)}", f"<= {maximum}", verdict)


def realism_evidence(battery: pd.DataFrame) -> dict[str, object]:
    """Return the row on realism of the full run: the deciding rows of the battery of observables."""
    rows = battery.loc[battery["gates"]]
    failed, missing = rows.loc[rows["verdict"] == "FAIL"], rows.loc[rows["verdict"] == "NOT-EVALUATED"]
    verdict = "FAIL" if len(failed) else "NOT-EVALUATED" if len(missing) or rows.empty else "PASS"
    named = ", ".join(sorted(set((failed if len(failed) else missing)["observable"])))
    found = f"{(rows['verdict'] == 'PASS').sum()} of {len(rows)} comparisons pass"
    return evidence("realism of the full run", found, "all pass", verdict, reason=named)


def split_evidence(checks: pd.DataFrame) -> dict[str, object]:
    """Return the row on disjoint splits, from the rows of the split proof that separate (balance only warns)."""
    separation = checks.loc[checks["kind"] == "separation"]
    broken = separation.loc[~separation["passed"].astype(bool), "check"]
    verdict = "NOT-EVALUATED" if separation.empty else "FAIL" if len(broken) else "PASS"
    found = f"{len(separation) - len(broken)} of {len(separation)} proofs hold"
    return evidence("splits are disjoint", found, "all hold", verdict, reason=", ".join(broken))


def closure_evidence(
    report: pd.DataFrame, maximum_bias: float, optional: Collection[str] = ()
) -> list[dict[str, object]]:
    """Return one row a detector of a closure report at the audited threshold; `optional` as `sensitivity_evidence`."""
    return [
        evidence(
            f"completeness closes ({row.detector})",
            f"bias {row.bias:+.3f} +- {row.standard_error:.3f}",
            f"|bias| <= {maximum_bias} and intervals that cover",
            str(row.verdict),
            gates=not (row.detector in optional and row.verdict == "NOT-EVALUATED"),
            reason=str(row.reason),
        )
        for row in report.itertuples(index=False)
    ]


def missing_closure_evidence(relied_on: str) -> dict[str, object]:
    """Return the row of a campaign without truth: its closure is that of a simulated one, and is not evaluated here."""
    advice = f"relies on the closure of campaign {relied_on}: state closure.relied_on_report, a file of its release"
    reason = f"no truth in this survey; {advice}" if relied_on else "no truth"
    return evidence("completeness closes", "no truth", "a closure report", "NOT-EVALUATED", reason=reason)


def relied_closure_evidence(report: pd.DataFrame, relied_on: str, maximum_bias: float) -> list[dict[str, object]]:
    """Return one row a detector of another campaign's closure, judged by this campaign's tolerance.

    `report` is the `closure.parquet` of that campaign's release; its rows `audited` count, at that campaign's own
    threshold. Closure is a property of the method: simulator, renderer and priors, not of the detector. A bias that
    is more uncertain than the tolerance confirms nothing.
    """
    rows = []
    for row in report.loc[report["audited"].astype(bool)].itertuples(index=False):
        uncertain = not np.isfinite(row.standard_error) or row.standard_error > maximum_bias
        beyond = abs(row.bias) > maximum_bias
        verdict = str(row.verdict)
        if verdict == "PASS" and (uncertain or beyond):
            verdict = "NOT-EVALUATED" if uncertain else "FAIL"
        rows.append(
            evidence(
                f"completeness closes in campaign {relied_on} ({row.detector})",
                f"bias {row.bias:+.3f} +- {row.standard_error:.3f} on {int(row.n_lenses)} lenses",
                f"|bias| <= {maximum_bias}, standard error too, and intervals that cover",
                verdict,
                reason="too uncertain for this campaign's tolerance" if verdict == "NOT-EVALUATED" else str(row.reason),
            )
        )
    return rows or [missing_closure_evidence(relied_on)]


def support_evidence(table: pd.DataFrame, threshold: str) -> dict[str, object]:
    """Return the row on whether anything can be quoted at all: at least one supported cell a detector."""
    cells = table.loc[table["threshold"] == threshold].groupby("detector")["supported"].sum()
    verdict = "PASS" if len(cells) and (cells > 0).all() else "FAIL"
    found = ", ".join(f"{name} {count}" for name, count in cells.items())
    return evidence("cells with enough injections and hosts", found or "none", "at least 1 a detector", verdict)


def threshold_evidence(table: pd.DataFrame, threshold: str) -> list[dict[str, object]]:
    """Return one row a detector on whether enough validation objects define the audited threshold; it only warns.

    Completeness at a cut that few objects define is published as insufficient, with limits that carry the cut's own
    uncertainty (`interval="total"`).
    """
    cuts = table.loc[table["threshold"] == threshold].drop_duplicates("detector")
    rows = []
    for row in cuts.itertuples():
        span = f"{row.threshold_score:.3g} [{row.threshold_score_lower:.3g}, {row.threshold_score_upper:.3g}]"
        enough = bool(row.threshold_sufficient)
        rows.append(
            evidence(
                f"objects above {threshold} ({row.detector})",
                f"{'sufficient' if enough else 'insufficient'}, score {span}",
                "enough validation objects above it",
                "PASS" if enough else "WARN",
                gates=False,
                reason="" if enough else "insufficient: quote total limits, which carry the threshold's uncertainty",
            )
        )
    return rows


def judge_release(rows: Sequence[Mapping[str, Any]], inputs: Mapping[str, str]) -> Verdict:
    """Decide the release: any gating FAIL is NO-GO, else anything gating not evaluated is NOT-EVALUATED, else GO."""
    gating = [row for row in rows if row["gates"]]
    failed = [row for row in gating if row["verdict"] == "FAIL"]
    missing = [row for row in gating if row["verdict"] == "NOT-EVALUATED"]
    decision: Decision = "NO-GO" if failed else "NOT-EVALUATED" if missing or not gating else "GO"
    because = failed or missing
    reasons = tuple(_describe(row) for row in because)
    passed = sum(row["verdict"] == "PASS" for row in gating)
    warned = [row for row in rows if not row["gates"] and row["verdict"] == "WARN"]
    accepted = [f"{row['condition']}: {row['found']}" for row in warned]
    parts = [f"{decision}: {passed} of {len(gating)} deciding conditions met", *reasons]
    parts += [f"published with a stated reason: {', '.join(accepted)}"] if accepted else []
    return Verdict(
        gate=GATE,
        decision=decision,
        inputs=dict(inputs),
        rows=tuple(dict(row) for row in rows),
        reasons=reasons,
        statement=". ".join(part.rstrip(".") for part in parts) + ".",
    )


def _describe(row: Mapping[str, Any]) -> str:
    reason = f" ({row['reason']})" if row["reason"] else ""
    return f"{row['condition']}: {row['verdict']}, found {row['found']}, required {row['expected']}{reason}"
