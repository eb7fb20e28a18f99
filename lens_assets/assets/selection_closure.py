"""Closure: whether completeness measured by injection predicts the recall of true lenses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset
from lens_assets.assets.selection_readers import detector_and_cuts

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lens_assets.detector.frozen import Detector


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet", "torch"},
    inputs=(
        "simulated_truth",
        "simulated_survey",
        "sweep_sources",
        "lrg_sources",
        "split_cells",
        "injection_batches",
        "injection_scores",
        "frozen_detector",
    ),
    settings=("selection_function", "injection", "evaluation", "survey", "external"),
    code_version="closure-5",
    pool="torch",
    behind="realism_gate",
    simulated_only=True,
)
def closure_report(run: AssetRun) -> Product:
    """Whether completeness measured by injection predicts the recall of true lenses never seen before.

    Every true lens of the test split whose host is in the scanned population is cut from the coadds and scored,
    published or not. The injections, carried over to these lenses by Einstein radius, arc brightness, depth and host
    colour, predict their recall; bias and the coverage of the intervals are tested.
    """
    import pandas as pd

    from lens_assets.figures import selection_function as figures
    from lens_assets.selection import closure

    settings, audit = run.campaign.selection_function, run.campaign.evaluation.thresholds.audit
    lenses, stamps, funnel = true_lenses(run)
    names = {"lensed_mag_r": "arc_mag_r", "mag_g": "host_mag_g", "mag_r": "host_mag_r"}
    batches = run.table("injection_batches").rename(columns=names)
    rows, strata, coverage, results = [], [], [], {}
    for name in run.partition_keys_of("detector"):
        detector, thresholds = detector_and_cuts(run, name)
        scored, unscored = _scored(lenses, stamps, detector)
        scores = run.table("injection_scores", name, columns=["injection_id", "injected_score"])
        trials = batches.merge(scores, on="injection_id", validate="one_to_one")
        trials = trials.loc[(trials["status"] == 0) & trials["injected_score"].notna()]
        for threshold, cut in thresholds.items():
            result = closure.closure(
                closure.with_strata(scored.assign(passed=scored["score"] >= cut), settings.grid),
                closure.with_strata(trials.assign(passed=trials["injected_score"] >= cut), settings.grid),
                closure.LEVELS_OF_STRATA,
                (settings.intervals.prior_alpha, settings.intervals.prior_beta),
                settings.seed,
            )
            limits = settings.closure
            verdict, reason = closure.closure_verdict(
                result, limits.minimum_lenses, limits.maximum_bias, limits.significance
            )
            verdict, reason = ("NOT-EVALUATED", unscored) if unscored else (verdict, reason)
            key = {"detector": name, "threshold": threshold}
            results[(name, threshold)] = result
            rows.append({**key, **result.numbers(), "verdict": verdict, "reason": reason})
            strata.append(result.strata.assign(**key))
            coverage.append(result.coverage.assign(**key))
    primary = results[(run.campaign.evaluation.primary_detector, audit)]
    return Product(
        table=pd.DataFrame(rows),
        tables={
            "strata": pd.concat(strata, ignore_index=True),
            "coverage": pd.concat(coverage, ignore_index=True),
            "funnel": funnel,
        },
        figures={"closure": figures.closure(primary.strata, f"{run.campaign.evaluation.primary_detector}, {audit}")},
        summary=primary.numbers(),
        columns=closure.CLOSURE_COLUMNS,
        markdown=f"Averaged over the injections' population: {closure.AVERAGED_OVER}.",
    )


def _scored(lenses: pd.DataFrame, stamps: np.ndarray, detector: Detector) -> tuple[pd.DataFrame, str]:
    """Return (lenses with their scores, ""), or (none of them, why) where an external finder has not scored them."""
    from lens_assets.detector.external import UnscoredStampsError

    try:
        return lenses.assign(score=detector.score(stamps) if len(lenses) else []), ""
    except UnscoredStampsError as missing:
        return lenses.iloc[:0].assign(score=[]), str(missing)


def true_lenses(run: AssetRun) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Return (true lenses of the test split, their stamps in row order, how many were left at each step)."""
    import numpy as np
    import pandas as pd

    from lens_assets.assets.injection_hosts import parent_sample
    from lens_assets.assets.survey import survey_files
    from lens_assets.survey.coadds import OK, read_stamps_from_brick
    from lens_assets.survey.units import flux_to_mag

    truth, hosts = run.table("simulated_truth"), run.campaign.injection.hosts
    lenses = truth.loc[truth["kind"] == "lens"]
    steps = [("true lenses", len(lenses))]
    columns = ["galaxy_id", "in_margin", "brickname", "healpix_128", "type", "mag_z", "psfsize_r", "psfdepth_r_mag"]
    sources = run.table("sweep_sources", columns=columns)
    sources = sources.loc[~sources["in_margin"]].drop(columns="in_margin")
    names = ["object_id", "galaxy_id", "ra", "dec", "theta_e_arcsec", "arc_flux_r", "flux_g", "flux_r"]
    lenses = lenses[names].merge(sources, on="galaxy_id", validate="one_to_one")
    steps.append(("one Tractor source each", len(lenses)))
    cells = run.table("split_cells", columns=["healpix_128", "split"])
    lenses = lenses.merge(cells.loc[cells["split"] == "test"], on="healpix_128", validate="many_to_one")
    steps.append(("in the test split", len(lenses)))
    scanned = lenses["type"].isin(hosts.types) & lenses["mag_z"].between(hosts.mag_z.minimum, hosts.mag_z.maximum)
    parent = parent_sample(run)
    scanned &= True if parent is None else lenses["galaxy_id"].isin(parent)
    lenses = lenses.loc[scanned].sort_values(["brickname", "object_id"]).reset_index(drop=True)
    steps.append(("host in the scanned population", len(lenses)))
    for name, flux in (("arc_mag_r", "arc_flux_r"), ("host_mag_g", "flux_g"), ("host_mag_r", "flux_r")):
        lenses[name] = flux_to_mag(lenses[flux])
    files, size = survey_files(run), run.campaign.injection.renderer.stamp_pixels
    stamps, good = np.zeros((len(lenses), 3, size, size), dtype=np.float32), np.zeros(len(lenses), dtype=bool)
    groups = lenses.groupby("brickname", sort=True)
    for brick, group in run.progress(list(groups), "bricks of true lenses"):
        cut = read_stamps_from_brick(files, str(brick), group["ra"], group["dec"], size)
        stamps[group.index], good[group.index] = cut.stamps, cut.status == OK
    steps.append(("with a stamp", int(good.sum())))
    return lenses.loc[good].reset_index(drop=True), stamps[good], pd.DataFrame(steps, columns=["step", "lenses"])
