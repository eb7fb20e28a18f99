"""The release gate: whether the numbers may be published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, NoGo, Product, lens_asset
from lens_assets.assets.selection_readers import StatedFileError, stamp_reader, stated_file

if TYPE_CHECKING:
    import pandas as pd


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"gate"},
    inputs=(
        "realism_gate",
        "anchor_observables",
        "cutouts",
        "training_manifest",
        "injection_batches",
        "completeness_table",
        "sensitivity_report",
        "closure_report",
        "split_proof",
        "false_positive_taxonomy",
    ),
    settings=("selection_function", "realism", "evaluation"),
    code_version="release-gate-5",
    behind="realism_gate",
)
def release_gate(run: AssetRun) -> Product:
    """The second verdict: may the numbers be published? Raises unless GO, after the verdict is written.

    Realism is judged again on the full run; the splits must be proven disjoint; completeness must be stable over sky
    regions and under alternate priors, and must close where there is truth; artefacts must not fill the top
    of the list.
    """
    import pandas as pd

    from lens_assets.realism.verdict import FILE_NAME
    from lens_assets.selection import release

    settings = run.campaign.selection_function
    limits, audit = settings.release, run.campaign.evaluation.thresholds.audit
    battery = _realism_of_full_run(run)
    rows = [
        release.realism_evidence(battery),
        release.split_evidence(run.table("split_proof")),
        release.host_evidence(
            set(run.table("injection_batches", columns=["galaxy_id"])["galaxy_id"]),
            run.table("training_manifest", columns=["galaxy_id", "split", "label"]),
        ),
        *release.sensitivity_evidence(
            run.table("sensitivity_report"),
            limits.accepted_unstable_variants,
            limits.acceptance_reason,
            _optional(run),
            limits.region_p_value,
        ),
        *_closure_evidence(run, audit),
    ]
    rows.append(
        release.artefact_evidence(
            run.side_table("false_positive_taxonomy", "top_of_list"), limits.maximum_artefact_share
        )
    )
    table = run.table("completeness_table")
    rows += [release.support_evidence(table, audit), *release.threshold_evidence(table, audit)]
    verdict = release.judge_release(rows, run.upstream)
    product = Product(
        table=pd.DataFrame(rows),
        files={FILE_NAME: verdict.to_json().encode()},
        tables={"realism_of_full_run": battery},
        summary={
            "decision": verdict.decision,
            "conditions": len(rows),
            "failed": sum(row["verdict"] == "FAIL" for row in rows),
            "accepted": sum(row["verdict"] == "WARN" for row in rows),
        },
        columns={
            "condition": "what was asked",
            "found": "what was found",
            "expected": "what passes",
            "verdict": "PASS, FAIL, WARN or NOT-EVALUATED",
            "gates": "whether the row decides",
            "reason": "why a row is not evaluated, or the campaign's reason for accepting it",
        },
        markdown=verdict.statement,
    )
    if verdict.decision != "GO":
        raise NoGo(product, verdict.statement)
    return product


def _closure_evidence(run: AssetRun, audit: str) -> list[dict[str, object]]:
    from lens_assets.selection import release

    closure = run.campaign.selection_function.closure
    if "closure_report" not in run.schemes:
        if not closure.relied_on_report:
            return [release.missing_closure_evidence(closure.relied_on_campaign)]
        return release.relied_closure_evidence(_relied_on_report(run), closure.relied_on_campaign, closure.maximum_bias)
    report = run.table("closure_report")
    return release.closure_evidence(report.loc[report["threshold"] == audit], closure.maximum_bias, _optional(run))


def _relied_on_report(run: AssetRun) -> pd.DataFrame:
    """Return the closure of the campaign that this one relies on, from the file that the settings name."""
    import pandas as pd

    closure = run.campaign.selection_function.closure
    where = "selection_function.yaml, closure.relied_on_report"
    report = pd.read_parquet(stated_file(run, closure.relied_on_report, closure.relied_on_sha256, where))
    campaigns = sorted(set(report["campaign"]))
    if campaigns != [closure.relied_on_campaign]:
        raise StatedFileError(
            f"{where} holds the closure of {', '.join(campaigns)}; expected campaign {closure.relied_on_campaign}"
        )
    return report


def _optional(run: AssetRun) -> list[str]:
    """Return the external detectors beside the primary one: they may lack scores of stamps made for the gate."""
    evaluation = run.campaign.evaluation
    others = {name: item for name, item in evaluation.detectors.items() if name != evaluation.primary_detector}
    return [name for name, item in others.items() if item.kind == "external"]


def _realism_of_full_run(run: AssetRun) -> pd.DataFrame:
    """Run the battery again: a subsample of the full run against the same anchors and against untouched hosts."""
    from lens_assets.imaging.stamps import stamp_path
    from lens_assets.lensing.plan import HOST_COLUMNS
    from lens_assets.realism.battery import run_battery
    from lens_assets.realism.examine import StampTable, observe_injections, paired_sky
    from lens_assets.selection.sensitivity import subsample

    settings, realism = run.campaign.selection_function, run.campaign.realism
    batches = run.table("injection_batches", columns=["injection_id", "condition", "status", *HOST_COLUMNS])
    batches["row"] = batches.groupby("condition").cumcount()
    chosen = subsample(batches.loc[batches["status"] == 0], settings.release.realism_subsample, settings.seed)
    paths = [stamp_path(str(key), int(row)) for key, row in zip(chosen["condition"], chosen["row"], strict=True)]
    injected = StampTable(chosen, stamp_reader(run, "injection_batches", paths))
    hosts = batches.drop_duplicates("galaxy_id").sort_values("galaxy_id", ignore_index=True)
    untouched = StampTable(hosts, stamp_reader(run, "cutouts", list(hosts["host_cutout_path"])))
    report = lambda done, total: run.report_progress("injections measured", done, total)  # noqa: E731
    measured = observe_injections(injected, untouched, realism, report)
    background = paired_sky(injected, untouched, realism)
    return run_battery(run.table("anchor_observables"), measured, realism, background).rows
