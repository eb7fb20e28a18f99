"""Sensitivity: how far completeness moves under other priors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset
from lens_assets.assets.selection_readers import detector_and_cuts, stamp_reader

if TYPE_CHECKING:
    import pandas as pd


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet", "torch"},
    inputs=("injection_batches", "injection_scores", "frozen_detector", "cutouts"),
    settings=("selection_function", "injection", "evaluation"),
    code_version="sensitivity-2",
    pool="torch",
    behind="realism_gate",
)
def sensitivity_report(run: AssetRun) -> Product:
    """The same injections under other priors: paired shifts of the mean completeness, and whether it is stable."""
    import numpy as np
    import pandas as pd

    from lens_assets.figures import selection_function as figures
    from lens_assets.lensing.injection import render_injections
    from lens_assets.selection import sensitivity

    settings, audit = run.campaign.selection_function, run.campaign.evaluation.thresholds.audit
    planned = run.table("injection_batches")
    planned = planned.loc[planned["status"] == 0].sort_values("injection_id")
    plan = sensitivity.subsample(planned, settings.sensitivity.injections, settings.seed)
    plan = plan[_plan_columns(plan)]
    hosts = stamp_reader(run, "cutouts", list(plan["host_cutout_path"]))(np.arange(len(plan)))
    detectors = {name: detector_and_cuts(run, name) for name in run.partition_keys_of("detector")}
    host_scores = {name: detector.score(hosts) for name, (detector, _) in detectors.items()}
    detected: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in detectors}
    variants = [None, *settings.sensitivity.variants]
    for variant in run.progress(variants, "alternate priors"):
        rows = plan if variant is None else sensitivity.altered_plan(plan, variant)
        priors = run.campaign.injection
        priors = priors if variant is None else sensitivity.altered_settings(priors, variant)
        stamps = render_injections(rows, hosts, priors).stamps
        for name, (detector, thresholds) in detectors.items():
            cut = thresholds[audit]
            passed = (detector.score(stamps) >= cut) & (host_scores[name] < cut)
            key = sensitivity.BASELINE if variant is None else variant.name
            detected[name][key] = rows[["injection_id", "galaxy_id"]].assign(detected=passed)
    limit = settings.sensitivity.maximum_shift
    report = pd.DataFrame(
        [
            {"detector": name, "threshold": audit}
            | sensitivity.shift_row(
                variant.name,
                detected[name][sensitivity.BASELINE],
                detected[name][variant.name],
                limit,
                settings.intervals.bootstrap_resamples,
                settings.seed,
            )
            | {"maximum_shift": limit}
            for name in detectors
            for variant in settings.sensitivity.variants
        ]
    )
    return Product(
        table=report,
        figures={"sensitivity": figures.sensitivity(report, limit)},
        summary={
            "injections_per_variant": len(plan),
            "largest_shift": float(report["shift"].abs().max()),
            "unstable": int((report["verdict"] == "UNSTABLE").sum()),
        },
        columns={
            "detector": "frozen detector",
            "threshold": "name of the detection threshold",
            "variant": "alternate prior",
            "n": "injections, the same hosts and draws as the published prior",
            "n_hosts": "distinct hosts",
            "baseline_completeness": "mean completeness of these injections under the published prior",
            "completeness": "mean completeness under the variant",
            "shift": "difference, paired",
            "shift_lower_95": "lower 95% limit, hosts resampled",
            "shift_upper_95": "upper 95% limit, hosts resampled",
            "verdict": "STABLE, UNSTABLE or NOT-EVALUATED",
            "maximum_shift": "largest |shift| that is stable",
        },
    )


def _plan_columns(batches: pd.DataFrame) -> list[str]:
    """Return the columns of the plan among those of rendered batches: rendering appends its own."""
    from lens_assets.lensing.plan import HOST_COLUMNS
    from lens_assets.lensing.priors import PARAMETER_COLUMNS

    wanted = {"injection_id", *HOST_COLUMNS, *PARAMETER_COLUMNS, "source_clumps", "log_pdf", "status"}
    return [name for name in batches.columns if name in wanted]
