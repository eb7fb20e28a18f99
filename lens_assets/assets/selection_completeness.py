"""Completeness: counts of detections and trials in the cells of the grid, with their intervals."""

from __future__ import annotations

from lens_assets.assets.framework import AssetRun, Product, lens_asset
from lens_assets.assets.selection_readers import trials_of_detector


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet"},
    inputs=("injection_batches", "injection_scores", "frozen_detector", "footprint_conditions"),
    settings=("selection_function", "evaluation"),
    partitions="detector",
    code_version="completeness-5",
    behind="realism_gate",
)
def completeness_table(run: AssetRun) -> Product:
    """C(theta_E, PSF, depth) at every threshold: counts, Beta and cluster-bootstrap intervals, support flags.

    Side tables: `marginals` along each axis, weighted by trials and by footprint; `floor`, how often hosts alone
    pass; `merged`, unsupported cells merged with neighbours by the stated rule; `models`, where the campaign asks.
    """
    import pandas as pd

    from lens_assets.figures import selection_function as figures
    from lens_assets.selection.completeness import COMPLETENESS_COLUMNS, completeness_grid, thresholds_of
    from lens_assets.selection.marginals import PER_TRIAL, footprint_marginal, marginal, null_floor
    from lens_assets.selection.merging import merged_grid
    from lens_assets.selection.models import modelled_grids
    from lens_assets.selection.product import completeness_at

    settings, audit = run.campaign.selection_function, run.campaign.evaluation.thresholds.audit
    thresholds = thresholds_of(run.table("frozen_detector"))
    trials, counts = trials_of_detector(run, run.partition)
    table = completeness_grid(
        trials, thresholds, settings.grid, settings.intervals, settings.denominator, settings.seed
    )
    table.insert(0, "detector", run.partition)
    common = (thresholds, settings.grid, settings.intervals, settings.seed)
    marginals = marginal(trials, *common)
    footprint = run.table("footprint_conditions")
    footprint = footprint.loc[footprint["grid"] == settings.audited_grid]
    weighted = footprint_marginal(trials, footprint, str(footprint["weights"].iloc[0]), *common)
    floor = null_floor(trials, thresholds, settings.intervals)
    side = {
        "marginals": pd.concat([marginals, weighted], ignore_index=True),
        "floor": floor,
        "merged": merged_grid(trials, *common),
    }
    if settings.models:
        side["models"] = modelled_grids(settings.models, table, *common[1:])
    point = settings.reference
    at = completeness_at(table, point.theta_e_arcsec, point.psf_fwhm_arcsec, point.depth_mag, audit, str(run.partition))
    plots = {
        "completeness_maps": figures.completeness_maps(table, audit, f"{run.campaign.name}, {run.partition}"),
        "marginals": figures.marginals(
            marginals.loc[marginals["weights"] == PER_TRIAL],
            [threshold.name for threshold in thresholds],
            f"{run.campaign.name}, {run.partition}",
        ),
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
        tables=side,
        figures=plots,
        summary=summary,
        columns={"detector": "frozen detector", **COMPLETENESS_COLUMNS},
    )


def _suffixed(answer: dict[str, float]) -> dict[str, float]:
    return {"" if name == "value" else f"_{name}_95": number for name, number in answer.items()}
