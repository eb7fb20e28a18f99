"""The selection-function group: completeness, what it depends on, whether it closes, the second gate, the release."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lens_assets.assets.framework import AssetRun, NoGo, Product, lens_asset

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lens_assets.realism.verdict import Verdict


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet"},
    inputs=("injection_batches", "injection_scores", "frozen_detector"),
    settings=("selection_function", "evaluation"),
    partitions="detector",
    code_version="completeness-1",
    behind="realism_gate",
)
def completeness_table(run: AssetRun) -> Product:
    """C(theta_E, PSF, depth) at every threshold: counts, Beta and cluster-bootstrap intervals, support flags."""
    from lens_assets.figures import selection_function as figures
    from lens_assets.selection.completeness import COMPLETENESS_COLUMNS, completeness_grid, marginal, null_floor
    from lens_assets.selection.product import completeness_at

    settings, audit = run.campaign.selection_function, run.campaign.evaluation.thresholds.audit
    thresholds = _thresholds(run, run.partition)
    trials, counts = _trials(run, run.partition)
    table = completeness_grid(
        trials, thresholds, settings.grid, settings.intervals, settings.denominator, settings.seed
    )
    table.insert(0, "detector", run.partition)
    marginals = marginal(trials, thresholds, settings.grid, settings.intervals, settings.seed)
    floor = null_floor(trials, thresholds, settings.intervals)
    point = settings.reference
    at = completeness_at(
        table, point.theta_e_arcsec, point.psf_fwhm_arcsec, point.depth_mag, audit, str(run.partition)
    )
    plots = {
        "completeness_maps": figures.completeness_maps(table, audit, f"{run.campaign.name}, {run.partition}"),
        "marginals": figures.marginals(marginals, list(thresholds["name"]), f"{run.campaign.name}, {run.partition}"),
    }
    numbers = {f"reference_completeness{suffix}": number for suffix, number in _suffixed(at).items()}
    cells = table.loc[table["threshold"] == audit]
    summary = {
        **counts,
        "cells": len(cells),
        "supported_cells": int(cells["supported"].sum()),
        "pooled_completeness": float(cells["k"].sum() / max(1, cells["n"].sum())),
        **numbers,
    }
    params = settings.model_dump(mode="json", include={"audited_grid", "denominator", "intervals", "reference"})
    with run.tracking.start("selection_function", str(run.partition), run.provenance_tags(), params) as tracked:
        tracked.metrics({name: float(value) for name, value in summary.items()})
        tracked.table(table, "completeness")
        for name, plot in plots.items():
            tracked.figure(plot, name)
    return Product(
        table=table,
        tables={"marginals": marginals, "floor": floor},
        figures=plots,
        summary=summary,
        columns={"detector": "frozen detector", **COMPLETENESS_COLUMNS},
    )


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet", "torch"},
    inputs=("injection_batches", "injection_scores", "frozen_detector", "cutouts"),
    settings=("selection_function", "injection", "evaluation"),
    code_version="sensitivity-1",
    pool="torch",
    behind="realism_gate",
)
def sensitivity_report(run: AssetRun) -> Product:
    """The same injections under other priors: paired shifts of the mean completeness, and whether it is stable."""
    import pandas as pd

    from lens_assets.figures import selection_function as figures
    from lens_assets.lensing.injection import render_injections
    from lens_assets.selection import sensitivity

    settings, audit = run.campaign.selection_function, run.campaign.evaluation.thresholds.audit
    planned = run.table("injection_batches")
    planned = planned.loc[planned["status"] == 0].sort_values("injection_id")
    plan = sensitivity.subsample(planned, settings.sensitivity.injections, settings.seed)
    plan = plan[_plan_columns(plan)]
    hosts = _stamps(run, "cutouts", plan["host_cutout_path"])
    detectors = {name: _detector(run, name) for name in run.partition_keys_of("detector")}
    host_scores = {name: detector.score(hosts) for name, (detector, _) in detectors.items()}
    detected: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in detectors}
    variants = [None, *settings.sensitivity.variants]
    for variant in run.progress(variants, "alternate priors"):
        rows = plan if variant is None else sensitivity.altered_plan(plan, variant)
        priors = run.campaign.injection
        priors = priors if variant is None else sensitivity.altered_settings(priors, variant)
        stamps = render_injections(rows, hosts, priors).stamps
        for name, (detector, thresholds) in detectors.items():
            cut = float(thresholds.set_index("name").loc[audit, "threshold"])
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


def _thresholds(run: AssetRun, detector: str | None) -> pd.DataFrame:
    """Return the thresholds of a frozen detector: name, kind, target, threshold, sufficient."""
    return run.table("frozen_detector", detector)


def _detector(run: AssetRun, name: str) -> tuple[Any, pd.DataFrame]:
    from lens_assets.detector.frozen import load_detector

    return load_detector(run.folder("frozen_detector", name)), _thresholds(run, name)


def _trials(run: AssetRun, detector: str | None) -> tuple[pd.DataFrame, dict[str, int]]:
    from lens_assets.selection.completeness import INJECTION_COLUMNS, trials_of

    settings = run.campaign.selection_function
    injections = run.table("injection_batches", columns=list(INJECTION_COLUMNS))
    scores = run.table("injection_scores", detector, columns=["injection_id", "host_score", "injected_score"])
    return trials_of(injections, scores, settings.grid, settings.denominator)


def _plan_columns(batches: pd.DataFrame) -> list[str]:
    """Return the columns of the plan among those of rendered batches: rendering appends its own."""
    from lens_assets.lensing.plan import HOST_COLUMNS
    from lens_assets.lensing.priors import PARAMETER_COLUMNS

    wanted = {"injection_id", *HOST_COLUMNS, *PARAMETER_COLUMNS, "source_clumps", "log_pdf", "status"}
    return [name for name in batches.columns if name in wanted]


def _stamps(run: AssetRun, asset: str, paths: pd.Series) -> np.ndarray:
    from lens_assets.imaging.stamps import StampReader

    return StampReader(lambda shard: run.file(asset, "stamps.arrow", shard)).read(list(paths))


def _suffixed(answer: dict[str, float]) -> dict[str, float]:
    return {"" if name == "value" else f"_{name}_95": number for name, number in answer.items()}
