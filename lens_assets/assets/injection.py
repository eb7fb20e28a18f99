"""The injections of the lineage: plan, pilot, full run and scores. Realism and its gate are elsewhere."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure

    from lens_assets.campaign.stages.injection import InjectionSettings
    from lens_assets.imaging.stamps import StampReader

GALLERY_STAMPS = 8
SCORED_STAMPS = 1024
"""Stamps read at a time to be scored: enough for several batches of a detector, which the cores share."""

PLAN_COLUMNS = {
    "injection_id": "purpose, cell, host and use; the key of every draw's randomness",
    "purpose": "pilot (over the host population, judged by the realism battery) or grid (the full run)",
    "condition": "key of the (PSF, depth) cell of the host; empty where the host lies outside the grid",
    "theta_e_bin": "index of the Einstein radius bin of the grid",
    "host_cutout_path": "stamp of the host",
    "host_weight": "inverse probability with which the host was selected from the population",
    "sky_sigma_r": "sky noise of the host's stamp [nmgy/px]; other bands alike",
    "theta_e_arcsec": "Einstein radius, product average of the axes [arcsec]",
    "lens_axis_ratio": "axis ratio of the mass",
    "lens_angle_deg": "major axis, East of North [deg]",
    "lens_density_slope": "slope of the mass density, rho ~ r^-slope; 2 is isothermal",
    "shear_g1": "external shear in stamp axes, g1 > 0 stretches East-West",
    "shear_g2": "external shear in stamp axes, stretch at 45 deg from +x (West) to +y (North)",
    "lens_x_arcsec": "lens centre from the stamp's centre, +x is West [arcsec]",
    "lens_y_arcsec": "lens centre from the stamp's centre, +y is North [arcsec]",
    "source_x_arcsec": "unlensed source position from the stamp's centre, +x is West [arcsec]",
    "source_y_arcsec": "unlensed source position from the stamp's centre, +y is North [arcsec]",
    "source_mag_r": "unlensed total r of the source, with the calibrated shift [AB mag]",
    "source_g_minus_r": "observed g - r [mag]",
    "source_r_minus_z": "observed r - z [mag]",
    "source_half_light_radius_arcsec": "half-light radius, product average of the axes [arcsec]",
    "source_sersic_index": "Sersic index",
    "source_axis_ratio": "axis ratio of the source",
    "source_angle_deg": "major axis of the source, East of North [deg]",
    "source_clumps": "star-forming clumps in the source",
    "source_clump_flux_fraction": "share of the source's flux in clumps",
    "log_pdf": "natural log of the density of the draw under the prior, given the host",
    "status": "bits of what failed, 0 for none",
}
TRUTH_COLUMNS = PLAN_COLUMNS | {
    "lensed_mag_r": "lensed total r on the stamp [AB mag]; other bands alike",
    "magnification": "flux of the lensed source on the stamp over its unlensed total, measured",
    "n_images": "images of the source's centre (the central one of a singular lens has no flux)",
    "image_1_x_arcsec": "position of the brightest image of the source's centre, +x is West [arcsec]; empty if none",
    "image_1_y_arcsec": "the same, +y is North [arcsec]; images 2 to 4 alike, by falling magnification",
    "image_1_magnification": "signed magnification of a point there; negative where the image is mirrored",
    "multiply_imaged_area_arcsec2": "source-plane area with two or more images [arcsec^2]",
    "arc_snr": "noiseless r flux at 4 to 16 px over sky sigma sqrt(pixels)",
    "gain_r": "electrons per nanomaggy used for the arcs' photon noise; other bands alike",
}


@lens_asset(
    group="injection",
    team="injection",
    kinds={"parquet"},
    inputs=("training_manifest", "cutouts", "brightness_calibration", "lrg_sources"),
    settings=("injection", "selection_function"),
    code_version="injection-plan-4",
)
def injection_plan(run: AssetRun) -> Product:
    """Hosts, cells and drawn parameters of every injection, before any pixel.

    Hosts are test-split negatives of good quality, weighted to the scanned population and used in cells of their own
    seeing and depth. Pilot rows are drawn over the whole population; grid rows fill every (theta_E, PSF, depth) cell
    that has hosts, and the table `cells` reports those that have none. Every draw carries the log of its density.
    """
    import pandas as pd

    from lens_assets.assets.injection_hosts import hosts_of_campaign
    from lens_assets.figures.injection import cell_map, prior_histograms
    from lens_assets.lensing.plan import GRID, PILOT, cell_report, draw_parameters, grid_injections
    from lens_assets.selection.grid import bin_index, cells_of, condition_keys

    settings, grid = run.campaign.injection, run.campaign.selection_function.grid
    hosts, funnel = hosts_of_campaign(run)
    conditions = list(cells_of(grid, hosts["psfsize_r"], hosts["psfdepth_r_mag"]))
    shift = float(run.table("brightness_calibration")["magnitude_shift_mag"].iloc[0])
    edges = grid.theta_e_edges_arcsec
    full_range = (edges[0], edges[-1])
    pilot = draw_parameters(hosts, settings.pilot_injections, settings, settings.seed, shift, full_range, PILOT)
    pilot_cells = cells_of(grid, pilot["psfsize_r"], pilot["psfdepth_r_mag"])
    pilot["condition"] = pd.Series(pilot_cells, index=pilot.index, dtype="object").fillna("").astype("str")
    pilot["theta_e_bin"] = bin_index(pilot["theta_e_arcsec"], edges)
    filled = grid_injections(hosts, conditions, edges, grid.injections_per_cell, settings, shift)
    filled = filled.reindex(columns=pilot.columns)
    plan = pd.concat([pilot, filled], ignore_index=True).sort_values(["purpose", "injection_id"], ignore_index=True)
    for position, column in enumerate(("condition", "theta_e_bin"), start=2):
        plan.insert(position, column, plan.pop(column))
    cells = cell_report(
        plan, hosts, conditions, condition_keys(grid), grid.injections_per_cell, grid.theta_e_arcsec.count
    )
    return Product(
        table=plan,
        tables={"cells": cells, "host_funnel": funnel.frame()},
        figures={
            "priors": prior_histograms(plan),
            "cells": cell_map(cells, grid.psf_fwhm_arcsec.centres, grid.depth_mag.centres),
        },
        summary={
            "hosts": len(hosts),
            "hosts_inside_grid": sum(key is not None for key in conditions),
            "pilot": int((plan["purpose"] == PILOT).sum()),
            "grid": int((plan["purpose"] == GRID).sum()),
            "grid_wanted": int(cells["wanted"].sum()),
            "conditions_without_hosts": int((cells["hosts"] == 0).sum()),
            "failed_draws": int((plan["status"] != 0).sum()),
            "magnitude_shift_mag": shift,
            "grid_digest": grid.digest,
            "host_population": settings.hosts.population,
            "host_parent": settings.hosts.parent,
        },
        columns=PLAN_COLUMNS,
    )


@lens_asset(
    group="injection",
    team="injection",
    kinds={"pytorch", "arrow"},
    inputs=("injection_plan", "cutouts"),
    settings=("injection",),
    code_version="injection-render-5",
    pool="images",
)
def injection_pilot(run: AssetRun) -> Product:
    """The pilot: rendered injections over the host population, on which realism is judged.

    `stamps.arrow` holds the injected stamps in the order of the table.
    """
    plan = run.table("injection_plan")
    return _rendered(run, plan[plan["purpose"] == "pilot"])


@lens_asset(
    group="injection",
    team="injection",
    kinds={"pytorch", "arrow"},
    inputs=("injection_plan", "cutouts"),
    settings=("injection",),
    partitions="condition",
    code_version="injection-render-5",
    pool="images",
    behind="realism_gate",
)
def injection_batches(run: AssetRun) -> Product:
    """The full run of one (PSF, depth) condition: rendered injections and their truth.

    `stamps.arrow` holds the injected stamps in the order of the table. A condition without hosts is an empty table.
    """
    plan = run.table("injection_plan")
    return _rendered(run, plan[(plan["purpose"] == "grid") & (plan["condition"] == run.partition)])


@lens_asset(
    group="injection",
    team="injection",
    kinds={"pytorch", "parquet"},
    inputs=("injection_batches", "cutouts", "frozen_detector"),
    settings=("external",),
    partitions="detector",
    code_version="injection-scores-3",
    pool="torch",
    behind="realism_gate",
)
def injection_scores(run: AssetRun) -> Product:
    """Scores of the frozen detector on every host alone and with its arc, through the detector's own preprocessing.

    The score of a failed injection is null, so that it can neither count as a detection nor as a miss.
    """
    import numpy as np
    import pandas as pd

    from lens_assets.assets.detector_external import scoring_detector
    from lens_assets.detector.exchange import blocks
    from lens_assets.figures.injection import score_pairs
    from lens_assets.imaging.stamps import STAMP_FILE, read_stamps

    detector = scoring_detector(run, str(run.partition))
    columns = ["injection_id", "galaxy_id", "host_cutout_path", "condition", "theta_e_bin", "status"]
    truth = {key: run.table("injection_batches", key, columns) for key in run.partition_keys_of("condition")}
    hosts = sorted(set().union(*(table["host_cutout_path"] for table in truth.values())))
    reader = _host_reader(run)
    host_scores: dict[str, float] = {}
    for start in run.progress(range(0, len(hosts), SCORED_STAMPS), "hosts alone"):
        block = hosts[start : start + SCORED_STAMPS]
        host_scores |= dict(zip(block, detector.score(reader.read(block)).tolist(), strict=True))
    scored = []
    for key in run.progress(sorted(truth), "injected stamps by condition"):
        table, path = truth[key], run.file("injection_batches", STAMP_FILE, key)
        rendered = np.flatnonzero((table["status"] == 0).to_numpy())
        scores = np.full(len(table), np.nan)
        for part in blocks(len(rendered), SCORED_STAMPS):
            scores[rendered[part]] = detector.score(read_stamps(path, rendered[part]))
        scored.append(table.assign(injected_score=scores))
    table = pd.concat(scored, ignore_index=True).sort_values("injection_id", ignore_index=True)
    table["host_score"] = table["host_cutout_path"].map(host_scores).astype(np.float64)
    ordered = table[["injection_id", "host_score", "injected_score", *columns[1:]]]
    return Product(
        table=ordered,
        figures={"scores": score_pairs(ordered["host_score"].to_numpy(), ordered["injected_score"].to_numpy())},
        summary={
            "injections": len(ordered),
            "hosts": len(hosts),
            "failed": int((ordered["status"] != 0).sum()),
            "median_host_score": float(ordered["host_score"].median()),
            "median_injected_score": float(ordered["injected_score"].median()),
            "detector_digest": detector.digest,
        },
        columns={
            "host_score": "score of the host without the arc",
            "injected_score": "score of the host with the arc; null for a failed injection",
            "status": "bits of what failed, 0 for none",
        },
    )


def _host_reader(run: AssetRun) -> StampReader:
    from lens_assets.imaging.stamps import STAMP_FILE, StampReader

    return StampReader(lambda shard: run.file("cutouts", STAMP_FILE, shard))


def _rendered(run: AssetRun, plan: pd.DataFrame) -> Product:
    """Render the plan's rows batch by batch into a stamp file; memory does not grow with their number.

    Finished batches outlive an interruption in the partition's staging folder.
    """
    import pandas as pd

    from lens_assets.imaging.stamps import STAMP_FILE, StampWriter
    from lens_assets.lensing.checkpoints import resumed_batches
    from lens_assets.lensing.injection import empty_truth
    from lens_assets.lensing.status import advice, describe

    settings = run.campaign.injection
    rows = plan.sort_values("injection_id", ignore_index=True)
    reader = _host_reader(run)
    path = run.scratch / STAMP_FILE
    parts = [empty_truth(rows)]
    with StampWriter(path, settings.renderer.stamp_pixels, settings.renderer.stamp_pixels) as writer:
        report, version = partial(run.report_progress, "injections"), run.asset.code_version
        for truth, stamps in resumed_batches(rows, reader.read, settings, run.staging, version, report):
            writer.write(truth["injection_id"].tolist(), stamps)
            parts.append(truth)
    truth = pd.concat(parts[1:] or parts, ignore_index=True)
    failures = truth.loc[truth["status"] != 0, "status"].map(describe).value_counts()
    good = truth[truth["status"] == 0]
    for status, injections in truth.groupby("status")["injection_id"]:
        if status:
            some = f"{len(injections)} of {len(truth)} injections failed, {injections.iloc[0]} among them"
            run.log.warning("%s. %s", some, advice(int(status)))
    return Product(
        table=truth,
        files={STAMP_FILE: path},
        tables={"failures": failures.rename_axis("status").reset_index(name="injections")},
        figures={"gallery": _gallery(good, path, reader, settings)},
        summary={
            "injections": len(truth),
            "hosts": int(truth["galaxy_id"].nunique()),
            "failed": len(truth) - len(good),
            "multiply_imaged_share": float((good["n_images"] >= 2).mean()) if len(good) else float("nan"),
            "median_arc_snr": float(good["arc_snr"].median()),
            "median_magnification": float(good["magnification"].median()),
        },
        columns=TRUTH_COLUMNS,
    )


def _gallery(truth: pd.DataFrame, path: Path, reader: StampReader, settings: InjectionSettings) -> Figure:
    """Show injections from the faintest to the brightest arc: host, injected stamp, arc alone."""
    import numpy as np

    from lens_assets.figures.injection import triplets
    from lens_assets.imaging.stamps import read_stamps
    from lens_assets.lensing.injection import render_arcs

    ranked = truth.sort_values("arc_snr")
    places = np.unique(np.linspace(0, max(len(ranked) - 1, 0), GALLERY_STAMPS).astype(int))
    chosen = ranked.iloc[places[: len(ranked)]]
    if chosen.empty:
        nothing = np.zeros((0, 3, 1, 1), dtype=np.float32)
        return triplets(nothing, nothing, nothing, [])
    hosts = reader.read(chosen["host_cutout_path"].tolist())
    injected = read_stamps(path, chosen.index.to_numpy())
    arcs, _ = render_arcs(chosen, settings)
    titles = [
        f'{row.theta_e_arcsec:.2f}" r {row.lensed_mag_r:.1f}\nS/N {row.arc_snr:.1f}' for row in chosen.itertuples()
    ]
    return triplets(hosts, injected, arcs, titles)
