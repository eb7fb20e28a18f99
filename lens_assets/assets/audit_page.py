"""What the audit report shows, read from whatever the lake holds; an absent product becomes a sentence on why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.audit.page import Number, Page, Picture, Section, Table, Verdict
    from lens_assets.lake.record import Record

GATES = ("realism_gate", "release_gate")
NOT_REACHED = "NOT-REACHED"

# Asset, title, what it answers. Tables and figures are those the asset itself shows.
SECTIONS = (
    (
        "completeness_table",
        "Completeness",
        "What fraction of lenses the detector finds, by Einstein radius and conditions.",
    ),
    ("realism_report", "Realism", "Whether injected lenses can be told from real ones, observable by observable."),
    ("release_gate", "Release", "What the second gate asked, and what it found."),
    ("closure_report", "Closure", "Whether completeness measured by injection predicts the recall of true lenses."),
    ("sensitivity_report", "Sensitivity", "How far completeness moves under other priors."),
    ("failure_experiments", "Failures", "Why lenses are missed: each cause taken away on the same injections."),
    ("detectability_report", "Detectability", "Of the lenses missed: not in the data, or missed by the model?"),
    (
        "false_positive_taxonomy",
        "False positives",
        "Who fools the detector, where, and what fills the top of its list.",
    ),
    ("evaluation_report", "Detector", "How the detectors rank lenses above negatives that they never saw."),
    (
        "shortcut_audit",
        "Shortcuts",
        "Which single feature separates the classes, and so might be all that was learned.",
    ),
    ("split_proof", "Splits", "That training, validation and test share nothing, and how alike they are."),
    ("parity_report", "Selection", "Which rows each filter of the parent sample removed."),
)

# What the page shows of wide tables; the tables themselves hold the rest.
SHOWN_COLUMNS = {
    "completeness_table": (
        *("theta_e_arcsec", "psf_fwhm_arcsec", "depth_mag", "k", "n", "n_hosts", "n_host_only"),
        *("completeness", "beta_lower_95", "beta_upper_95", "host_lower_95", "host_upper_95", "supported"),
    ),
    "realism_report": (
        *("observable", "statistic", "stratum", "n_anchors", "n_injections", "value", "lower", "upper"),
        *("p_value", "requirement", "verdict", "gates"),
    ),
}
SHOWN_COLUMNS["realism_gate"] = SHOWN_COLUMNS["realism_report"]
NOTES = {
    "completeness_table": (
        "k of n injections were found, on n hosts; n host only counts hosts that pass without any arc, whose "
        "injections are not in k. The Beta interval takes injections as independent, the host interval resamples hosts."
    ),
    "realism_report": (
        "Each row compares anchors, lenses that people have seen, with injections weighted to their conditions; rows "
        "marked as gates decide the verdict, the others are reported."
    ),
}


def build_page(run: AssetRun) -> Page:
    """Assemble the report from the products that exist."""
    from lens_assets.audit.page import Page

    campaign = run.campaign
    verdicts = [_verdict(run, gate) for gate in GATES]
    return Page(
        title=campaign.report.title,
        subtitle=(
            f"Campaign {campaign.name}, detector {campaign.evaluation.primary_detector}, threshold "
            f"{campaign.evaluation.thresholds.audit}, grid {campaign.selection_function.grid.name}."
        ),
        verdicts=verdicts,
        numbers=_numbers(run),
        sections=[_section(run, *section, verdicts) for section in SECTIONS],
        lineage=_lineage(run),
    )


def _partitions(run: AssetRun, asset: str) -> list[str | None]:
    """Return the partitions of an input that are in the lake; empty where the campaign does not have the asset."""
    if asset not in run.schemes:
        return []
    scheme = run.schemes[asset]
    keys: list[str | None] = [None] if scheme is None else list(run.partition_keys_of(scheme))
    return [key for key in keys if run.lake.record(asset, key) is not None]


def _verdict(run: AssetRun, gate: str) -> Verdict:
    from lens_assets.audit.page import Verdict
    from lens_assets.realism.verdict import FILE_NAME

    if not _partitions(run, gate):
        return Verdict(gate, NOT_REACHED, "This gate has given no verdict: what it judges does not exist.")
    content = json.loads(run.file(gate, FILE_NAME).read_text(encoding="utf-8"))
    return Verdict(gate, content["decision"], content["statement"])


def _numbers(run: AssetRun) -> list[Number]:
    from lens_assets.audit.page import Number, interval_text

    primary, point = run.campaign.evaluation.primary_detector, run.campaign.selection_function.reference
    numbers = []
    summary = (
        run.record("completeness_table", primary).summary if primary in _partitions(run, "completeness_table") else {}
    )
    label = (
        f"Completeness at theta_E {point.theta_e_arcsec} arcsec, PSF {point.psf_fwhm_arcsec} arcsec, "
        f"depth {point.depth_mag} mag"
    )
    names = ("reference_completeness", "reference_completeness_lower_95", "reference_completeness_upper_95")
    if all(summary.get(name) is not None for name in names):
        value, lower, upper = (float(summary[name]) for name in names)
        numbers.append(Number(label, *interval_text(value, lower, upper)))
    else:
        numbers.append(Number(label, "none", "no number without an open gate"))
    for asset, key, title in (
        ("closure_report", "bias", "Closure bias (predicted minus true recall)"),
        ("detectability_report", "observable_recall", "Known lenses whose arc can be seen"),
        ("detectability_report", "conditional_recall", "Of those, found by the detector"),
    ):
        if _partitions(run, asset) and run.record(asset).summary.get(key) is not None:
            numbers.append(Number(title, f"{float(run.record(asset).summary[key]):.3f}", asset.replace("_", " ")))
    return numbers


def _section(run: AssetRun, asset: str, title: str, question: str, verdicts: list[Verdict]) -> Section:
    from lens_assets.audit.page import Section

    keys = _partitions(run, asset)
    if not keys:
        return Section(asset, title, [question], missing=_why_missing(asset, verdicts))
    paragraphs = [question, *([NOTES[asset]] if asset in NOTES else [])]
    tables = [table for key in keys for table in _tables(run, asset, key)]
    pictures = [picture for key in keys for picture in _pictures(run, asset, key)]
    return Section(asset, title, paragraphs, tables, pictures)


def _why_missing(asset: str, verdicts: list[Verdict]) -> str:
    closed = [verdict for verdict in verdicts if verdict.decision not in ("GO", NOT_REACHED)]
    if closed:
        return f"There is no {asset}: {closed[0].gate} said {closed[0].decision}. {closed[0].statement}"
    return f"There is no {asset} in the lake: it was not materialised, or this campaign does not have it."


def _tables(run: AssetRun, asset: str, key: str | None) -> list[Table]:
    """Return the asset's table in the columns shown; of completeness, the audited threshold's cells with trials."""
    from lens_assets.audit.page import table_of

    label = f"{asset}, {key}" if key else asset
    if asset in GATES:
        import pandas as pd

        rows = json.loads(run.file(asset, "verdict.json").read_text(encoding="utf-8"))["rows"]
        return [table_of(_shown(pd.DataFrame(rows), asset), label)]
    record = run.record(asset, key)
    if not record.rows:
        return []
    frame = run.table(asset, key)
    if asset == "completeness_table":
        frame = frame.loc[(frame["threshold"] == run.campaign.evaluation.thresholds.audit) & (frame["n"] > 0)]
    return [table_of(_shown(frame, asset), label)]


def _shown(frame: pd.DataFrame, asset: str) -> pd.DataFrame:
    wanted = SHOWN_COLUMNS.get(asset, tuple(frame.columns))
    return frame[[name for name in wanted if name in frame.columns]]


def _pictures(run: AssetRun, asset: str, key: str | None) -> list[Picture]:
    from lens_assets.audit.page import Picture
    from lens_assets.lake.lake import FIGURES_FOLDER

    names = sorted(
        entry.name
        for entry in run.record(asset, key).files
        if entry.name.startswith(FIGURES_FOLDER) and entry.name.endswith(".png")
    )
    return [Picture(_caption(asset, key, name), run.file(asset, name, key).read_bytes()) for name in names]


def _caption(asset: str, key: str | None, name: str) -> str:
    stem = name.rsplit("/", 1)[-1].removesuffix(".png").replace("_", " ")
    return f"{asset}{f', {key}' if key else ''}: {stem}"


def _lineage(run: AssetRun) -> Table:
    import pandas as pd

    from lens_assets.audit.page import table_of

    rows = []
    for asset in run.asset.optional_inputs:
        keys = _partitions(run, asset)
        records = [run.record(asset, key) for key in keys]
        rows.append(
            {
                "asset": asset,
                "partitions": len(keys),
                "rows": sum(record.rows or 0 for record in records),
                "digest": _digest(records),
                "code_version": records[0].provenance.code_version if records else "",
            }
        )
    return table_of(pd.DataFrame(rows), "Products this page was made from")


def _digest(records: list[Record]) -> str:
    from lens_assets.lake.record import combined_digest

    if not records:
        return "absent"
    return (
        records[0].digest if len(records) == 1 else combined_digest({item.partition: item.digest for item in records})
    )
