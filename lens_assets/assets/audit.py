"""The audit group: where recall is lost, who fools the detector, and the page that shows everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lens_assets.detector.frozen import Detector

REPORT_INPUTS = (
    "parity_report",
    "split_proof",
    "shortcut_audit",
    "evaluation_report",
    "frozen_detector",
    "anchor_observables",
    "realism_report",
    "realism_gate",
    "injection_batches",
    "completeness_table",
    "sensitivity_report",
    "failure_experiments",
    "closure_report",
    "release_gate",
    "selection_function_product",
    "detectability_report",
    "false_positive_taxonomy",
)


def _primary(run: AssetRun) -> tuple[Detector, pd.DataFrame]:
    """Return the primary frozen detector and its thresholds."""
    from lens_assets.detector.frozen import load_detector

    name = run.campaign.evaluation.primary_detector
    return load_detector(run.folder("frozen_detector", name)), run.table("frozen_detector", name)


def _cuts(thresholds: pd.DataFrame) -> dict[str, float]:
    return dict(zip(thresholds["name"], thresholds["threshold"], strict=True))


def _stamps(run: AssetRun, cutout_paths: pd.Series) -> np.ndarray:
    from lens_assets.imaging.stamps import StampReader

    return StampReader(lambda shard: run.file("cutouts", "stamps.arrow", shard)).read(list(cutout_paths))


@lens_asset(
    group="audit",
    team="audit",
    kinds={"parquet", "torch"},
    inputs=("anchor_observables", "training_manifest", "cutouts", "frozen_detector"),
    settings=("evaluation", "report"),
    code_version="detectability-1",
    pool="torch",
)
def detectability_report(run: AssetRun) -> Product:
    """Observable recall times the model's own recall on held-out lenses: not in the data, or missed."""
    from lens_assets.audit.detectability import detectability
    from lens_assets.figures import audit as figures

    detector, thresholds = _primary(run)
    manifest = run.table("training_manifest", columns=["cutout_path", "tier"])
    anchors = run.table("anchor_observables")[["lens_id", "cutout_path", "visible"]].merge(
        manifest, on="cutout_path", how="left", validate="one_to_one"
    )
    anchors["score"] = detector.score(_stamps(run, anchors["cutout_path"])) if len(anchors) else []
    anchors["stratum"] = "tier " + anchors["tier"].fillna("unknown").astype("str")
    report = detectability(anchors, _cuts(thresholds))
    audit = run.campaign.evaluation.thresholds.audit
    rates = report.loc[(report["threshold"] == audit) & (report["stratum"] == "all")].set_index("part")["rate"]
    return Product(
        table=report,
        tables={
            "anchor_scores": anchors.sort_values("lens_id")[["lens_id", "cutout_path", "visible", "tier", "score"]]
        },
        figures={"detectability": figures.detectability(report, audit)} if len(anchors) else {},
        summary={"anchors": len(anchors), **{f"{part}_recall": float(rate) for part, rate in rates.items()}},
        columns={
            "threshold": "name of the detection threshold",
            "stratum": "all anchors, or one tier",
            "part": "observable, conditional, invisible or overall",
            "meaning": "what the part is the probability of",
            "k": "successes",
            "n": "trials",
            "rate": "k / n, null without trials",
            "lower_95": "lower 95% limit, uniform prior",
            "upper_95": "upper 95% limit, uniform prior",
        },
    )


@lens_asset(
    group="audit",
    team="audit",
    kinds={"parquet", "torch"},
    inputs=("training_manifest", "cutouts", "frozen_detector"),
    settings=("evaluation", "report"),
    code_version="false-positives-1",
    pool="torch",
)
def false_positive_taxonomy(run: AssetRun) -> Product:
    """Which negatives pass, by confuser class, type and conditions, and what fills the top of a candidate list."""
    import pandas as pd

    from lens_assets.audit.taxonomy import false_positive_rates, in_bins, top_of_list
    from lens_assets.figures import audit as figures
    from lens_assets.figures.galleries import gallery
    from lens_assets.survey.units import depth_ivar_to_mag

    report, evaluation = run.campaign.report, run.campaign.evaluation
    detector, thresholds = _primary(run)
    manifest = run.table("training_manifest")
    held_out = (manifest["split"] == "test") & manifest[f"in_{evaluation.deployment_design}"]
    listed = manifest.loc[held_out & (manifest["label"] == 0)].sort_values("galaxy_id").reset_index(drop=True)
    zeros = run.table("cutouts", columns=["cutout_path", "zero_fraction_g", "zero_fraction_r", "zero_fraction_z"])
    zeros = zeros.dropna(subset="cutout_path")  # sources that could not be cut have none
    zeros["zero_fraction"] = zeros.filter(like="zero_fraction_").max(axis=1)
    listed = listed.merge(zeros[["cutout_path", "zero_fraction"]], on="cutout_path", how="left", validate="one_to_one")
    listed["score"] = detector.score(_stamps(run, listed["cutout_path"])) if len(listed) else []
    listed["seeing"] = in_bins(listed["psfsize_r"], report.psf_edges_arcsec, "arcsec")
    listed["depth"] = in_bins(pd.Series(depth_ivar_to_mag(listed["psfdepth_r"])), report.depth_edges_mag, "mag")
    properties = ["confuser_category", "type", "seeing", "depth"]
    rates = false_positive_rates(listed, _cuts(thresholds), properties)
    top = top_of_list(listed, report.top_candidates)
    shown = top.head(report.gallery_stamps)
    titles = [f"{row['score']:.3f} {row['type']} {row['confuser_category'] or ''}" for row in shown.to_dict("records")]
    images = {
        "top_of_list": gallery(
            _stamps(run, shown["cutout_path"]), titles, stretch_nanomaggies=report.gallery_stretch_nanomaggies
        )
    }
    if len(rates):
        images |= {name: figures.false_positives(rates, evaluation.thresholds.audit, name) for name in properties}
    columns = [
        "rank",
        "galaxy_id",
        "cutout_path",
        "score",
        "type",
        "confuser_category",
        "seeing",
        "depth",
        "maskbits",
        "zero_fraction",
    ]
    return Product(
        table=rates,
        tables={"top_of_list": top[columns]},
        figures=images,
        summary={"negatives": len(listed), "listed": len(top)},
        columns={
            "threshold": "name of the detection threshold",
            "property": "what negatives are classed by",
            "class": "class of negatives",
            "k": "false positives",
            "n": "negatives of the class",
            "rate": "k / n",
            "lower_95": "lower 95% limit, uniform prior",
            "upper_95": "upper 95% limit, uniform prior",
            "share_of_false_positives": "share of all false positives that are of this class",
            "lift": "rate of the class over the rate of all negatives",
        },
    )


@lens_asset(
    group="audit",
    team="audit",
    kinds={"html"},
    optional_inputs=REPORT_INPUTS,
    settings=("evaluation", "selection_function", "report"),
    code_version="audit-report-3",
)
def audit_report(run: AssetRun) -> Product:
    """The report: verdicts, numbers with intervals, figures and lineage on one page. It renders a NO-GO too."""
    from lens_assets.assets.audit_page import build_page
    from lens_assets.audit.page import render

    page = build_page(run)
    decisions = {f"{verdict.gate}": verdict.decision for verdict in page.verdicts}
    html = render(page)
    return Product(
        files={"report.html": html},
        summary={**decisions, "bytes": len(html), "sections": len(page.sections)},
        markdown="\n".join(
            f"- **{verdict.gate}**: {verdict.decision}. {verdict.statement}" for verdict in page.verdicts
        ),
    )
