"""Sensitivity: how far completeness moves under other priors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset
from lens_assets.assets.selection_readers import detector_and_cuts, stamp_reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet", "torch"},
    inputs=("injection_batches", "injection_scores", "frozen_detector", "cutouts"),
    settings=("selection_function", "injection", "evaluation", "external"),
    code_version="sensitivity-5",
    pool="torch",
    behind="realism_gate",
)
def sensitivity_report(run: AssetRun) -> Product:
    """The same injections under other priors: paired shifts of the mean completeness, and whether it is stable."""
    import pandas as pd

    from lens_assets.detector.external import UnscoredStampsError
    from lens_assets.figures import selection_function as figures
    from lens_assets.selection import sensitivity

    settings, audit = run.campaign.selection_function, run.campaign.evaluation.thresholds.audit
    detectors = {name: detector_and_cuts(run, name) for name in run.partition_keys_of("detector")}
    detected: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in detectors}
    unscored: dict[str, str] = {}
    plan, hosts = plan_and_hosts(run)
    host_scores = {name: detector.score(hosts) for name, (detector, _) in detectors.items()}
    for key, rows, stamps in rendered_variants(run, plan, hosts):
        for name, (detector, cuts) in detectors.items():
            if name in unscored:
                continue
            try:
                scores = detector.score(stamps)
            except UnscoredStampsError as missing:
                unscored[name] = str(missing)
                continue
            passed = (scores >= cuts[audit]) & (host_scores[name] < cuts[audit])
            detected[name][key] = rows[["injection_id", "galaxy_id"]].assign(detected=passed)
    for reason in unscored.values():
        run.log.warning(reason)
    limit = settings.sensitivity.maximum_shift
    report = pd.DataFrame(
        [
            {"detector": name, "threshold": audit} | sensitivity.unscored_row(variant.name)
            if name in unscored
            else {"detector": name, "threshold": audit}
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


def plan_and_hosts(run: AssetRun) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Return the plan of the small batches, and the stamps of its hosts in row order."""
    import numpy as np

    from lens_assets.selection import sensitivity

    settings = run.campaign.selection_function
    planned = run.table("injection_batches")
    planned = planned.loc[planned["status"] == 0].sort_values("injection_id")
    plan = sensitivity.subsample(planned, settings.sensitivity.injections, settings.seed)
    plan = plan[_plan_columns(plan)]
    return plan, stamp_reader(run, "cutouts", list(plan["host_cutout_path"]))(np.arange(len(plan)))


def rendered_variants(
    run: AssetRun, plan: pd.DataFrame, hosts: NDArray[np.float32]
) -> Iterator[tuple[str, pd.DataFrame, NDArray[np.float32]]]:
    """Yield (name, plan, stamps) of the published prior and of every variant, on the same hosts and draws."""
    from lens_assets.lensing.injection import render_injections
    from lens_assets.selection import sensitivity

    priors = run.campaign.injection
    yield sensitivity.BASELINE, plan, render_injections(plan, hosts, priors).stamps
    for variant in run.progress(run.campaign.selection_function.sensitivity.variants, "alternate priors"):
        rows = sensitivity.altered_plan(plan, variant)
        yield variant.name, rows, render_injections(rows, hosts, sensitivity.altered_settings(priors, variant)).stamps


def _plan_columns(batches: pd.DataFrame) -> list[str]:
    """Return the columns of the plan among those of rendered batches: rendering appends its own."""
    from lens_assets.lensing.plan import HOST_COLUMNS
    from lens_assets.lensing.priors import PARAMETER_COLUMNS

    wanted = {"injection_id", *HOST_COLUMNS, *PARAMETER_COLUMNS, "source_clumps", "log_pdf", "status"}
    return [name for name in batches.columns if name in wanted]
