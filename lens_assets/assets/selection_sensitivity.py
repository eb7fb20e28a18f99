"""Sensitivity: how far completeness moves under other priors, over the sky and between detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset
from lens_assets.assets.selection_readers import cuts_of, detector_and_cuts, stamp_reader, trials_of_detector

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from lens_assets.campaign.stages.selection_function import SensitivityVariant
    from lens_assets.selection.stability import Batches


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet", "torch"},
    inputs=("injection_batches", "injection_scores", "frozen_detector", "cutouts", "brightness_calibration"),
    settings=("selection_function", "injection", "evaluation", "external"),
    code_version="sensitivity-6",
    pool="torch",
    behind="realism_gate",
)
def sensitivity_report(run: AssetRun) -> Product:
    """How far completeness moves under other priors, over the sky and between detectors, and whether it is stable.

    Priors and calibrations: the same hosts and draws rendered anew, paired shifts whose intervals hold all at once.
    Regions and detectors: the campaign's own scored injections. Side tables: `bands`, the range of C over all priors by
    Einstein radius beside its statistical interval; `regions`, C by groups of neighbouring regions.
    """
    import pandas as pd

    from lens_assets.figures import stability as figures
    from lens_assets.selection import stability
    from lens_assets.selection.sensitivity import shifts_magnitudes_alone

    settings, audit = run.campaign.selection_function, run.campaign.evaluation.thresholds.audit
    limits, names = settings.sensitivity, list(run.partition_keys_of("detector"))
    batches, kinds = _scored_batches(run)
    magnitudes = {item.name: item.source_mag_shift for item in _variants(run) if shifts_magnitudes_alone(item)}
    errors = _calibration_errors(run)
    rows = stability.prior_rows(batches, names, kinds, limits, settings.intervals, settings.seed, magnitudes, errors)
    trials = {name: trials_of_detector(run, name)[0] for name in names}
    cuts = {name: cuts_of(run, name)[audit] for name in names}
    region_rows, regions = _regions(run, trials, cuts)
    rows += region_rows
    rows += stability.detector_rows(
        trials, cuts, run.campaign.evaluation.primary_detector, limits, settings.intervals, settings.seed
    )
    report = pd.DataFrame(rows).assign(threshold=audit).reindex(columns=list(stability.COLUMNS))
    band = stability.bands(batches, names, list(kinds), settings.grid, settings.intervals)
    verdict = stability.overall(report, settings.release.accepted_unstable_variants)
    return Product(
        table=report,
        tables={"bands": band, "regions": regions},
        figures={
            "sensitivity": figures.shifts(report),
            "bands": figures.bands(band),
            "regions": figures.regions(regions),
        },
        summary={
            "stability": verdict,
            "injections_per_variant": len(batches.plan),
            "largest_shift": float(report["shift"].abs().max()),
            "unstable": int((report["verdict"] == stability.UNSTABLE).sum()),
        },
        columns=stability.COLUMNS,
        markdown=(
            f"**{verdict}** but for accepted variants. {stability.RULE}. Other detectors, and calibrations on too few "
            "anchors, do not decide."
        ),
    )


def _scored_batches(run: AssetRun) -> tuple[Batches, dict[str, str]]:
    """Render and score every alternative; return who is detected, and the kind of each alternative."""
    import numpy as np

    from lens_assets.detector.external import UnscoredStampsError
    from lens_assets.selection import stability

    audit = run.campaign.evaluation.thresholds.audit
    detectors = {name: detector_and_cuts(run, name) for name in run.partition_keys_of("detector")}
    plan, hosts = plan_and_hosts(run)
    host_scores = {name: detector.score(hosts) for name, (detector, _) in detectors.items()}
    detected: dict[tuple[str, str], NDArray[np.float64]] = {}
    unscored: dict[str, str] = {}
    for key, rows, stamps in rendered_variants(run, plan, hosts):
        for name, (detector, cuts) in detectors.items():
            if name in unscored:
                continue
            try:
                passed = (detector.score(stamps) >= cuts[audit]) & (host_scores[name] < cuts[audit])
            except UnscoredStampsError as missing:
                unscored[name] = str(missing)
                continue
            detected[name, key] = np.where(rows["status"] == 0, passed, np.nan)
    for reason in unscored.values():
        run.log.warning(reason)
    scored = {pair: values for pair, values in detected.items() if pair[0] not in unscored}
    kinds = {variant.name: stability.PRIOR for variant in run.campaign.selection_function.sensitivity.variants}
    kinds |= dict.fromkeys(_calibrations(run)["anchors"].map(stability.calibration_name), stability.CALIBRATION)
    return stability.Batches(plan, scored), kinds


def _regions(
    run: AssetRun, trials: dict[str, pd.DataFrame], cuts: dict[str, float]
) -> tuple[list[dict[str, object]], pd.DataFrame]:
    """Return one row a detector on the homogeneity of the sky, and the groups of regions of all detectors."""
    import pandas as pd

    from lens_assets.selection.regions import region_test
    from lens_assets.selection.stability import region_row
    from lens_assets.statistics.simultaneous import holm_adjusted

    settings = run.campaign.selection_function
    limits, resamples = settings.sensitivity, settings.intervals.bootstrap_resamples
    found = {
        name: region_test(rows, cuts[name], limits.region_groups, resamples, settings.seed, limits.confidence)
        for name, rows in trials.items()
    }
    p_values = holm_adjusted([item.p_value for item in found.values()])
    rows = [
        region_row(name, item, float(p_value), limits, settings.release.region_p_value)
        for (name, item), p_value in zip(found.items(), p_values, strict=True)
    ]
    return rows, pd.concat([item.groups.assign(detector=name) for name, item in found.items()], ignore_index=True)


def plan_and_hosts(run: AssetRun) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Return the plan of the small batches, and the stamps of its hosts in row order."""
    import numpy as np

    from lens_assets.lensing.plan import PLAN_COLUMNS
    from lens_assets.selection import sensitivity

    settings = run.campaign.selection_function
    planned = run.table("injection_batches")
    planned = planned.loc[planned["status"] == 0].sort_values("injection_id")
    plan = sensitivity.subsample(planned, settings.sensitivity.injections, settings.seed)
    plan = plan[[name for name in plan if name in PLAN_COLUMNS]]
    return plan, stamp_reader(run, "cutouts", list(plan["host_cutout_path"]))(np.arange(len(plan)))


def rendered_variants(
    run: AssetRun, plan: pd.DataFrame, hosts: NDArray[np.float32]
) -> Iterator[tuple[str, pd.DataFrame, NDArray[np.float32]]]:
    """Yield (name, truth, stamps) of the published prior and of every alternative, on the same hosts and draws."""
    from lens_assets.lensing.injection import render_injections
    from lens_assets.selection import sensitivity

    priors = run.campaign.injection
    published = render_injections(plan, hosts, priors)
    yield sensitivity.BASELINE, published.truth, published.stamps
    for variant in run.progress([*_variants(run)], "alternate priors"):
        rows = sensitivity.altered_plan(plan, variant)
        rendered = render_injections(rows, hosts, sensitivity.altered_settings(priors, variant))
        yield variant.name, rendered.truth, rendered.stamps


def _variants(run: AssetRun) -> Iterator[SensitivityVariant]:
    """Yield the priors of the settings, then the published one with each other calibration that could be fitted."""
    from lens_assets.selection.sensitivity import magnitude_variant
    from lens_assets.selection.stability import calibration_name

    yield from run.campaign.selection_function.sensitivity.variants
    published = float(run.table("brightness_calibration")["magnitude_shift_mag"].iloc[0])
    for row in _calibrations(run).itertuples():
        if row.mode == "fitted":
            yield magnitude_variant(calibration_name(str(row.anchors)), float(row.magnitude_shift_mag) - published)


def _calibrations(run: AssetRun) -> pd.DataFrame:
    return run.side_table("brightness_calibration", "alternatives")


def _calibration_errors(run: AssetRun) -> dict[str, float]:
    """Return the half width of the 95% interval of each other calibration's difference to the published one [mag].

    The two fits share anchors; taking them as independent is the wider choice.
    """
    import numpy as np

    from lens_assets.selection.stability import calibration_name

    published = run.table("brightness_calibration").iloc[0]
    half = (published["upper_mag"] - published["lower_mag"]) / 2.0
    return {
        calibration_name(str(row.anchors)): float(np.hypot(half, (row.upper_mag - row.lower_mag) / 2.0))
        for row in _calibrations(run).itertuples()
    }
