"""Failure experiments: where completeness collapses, why, and what a remedy changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset
from lens_assets.assets.selection_readers import detector_and_cuts, stamp_reader, trials_of_detector
from lens_assets.assets.selection_sensitivity import plan_and_hosts

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from lens_assets.detector.frozen import Detector
    from lens_assets.selection.completeness import Threshold
    from lens_assets.selection.failures import Experiment

GALLERY_STAMPS = 8
_TRUTH = ("lensed_mag_g", "lensed_mag_r", "arc_snr", "mag_g", "mag_r", "type", "confuser_category", "host_cutout_path")


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet", "torch"},
    inputs=("injection_batches", "injection_scores", "frozen_detector", "cutouts"),
    settings=("selection_function", "injection", "evaluation", "external"),
    code_version="failure-experiments-3",
    pool="torch",
    behind="realism_gate",
)
def failure_experiments(run: AssetRun) -> Product:
    """Why the primary detector misses lenses: each hypothesis tested by taking its cause away on the same injections.

    Side tables: `collapse`, completeness by property and class; `remedies`, the paired shift of C by Einstein radius
    from a detector to each remedied counterpart that the campaign declares.
    The control, a vanishing lens, is the limit of C as theta_E goes to 0: what passes there is not found for its arc.
    """
    import pandas as pd

    from lens_assets.figures import selection_function as figures
    from lens_assets.selection import failures

    settings, evaluation = run.campaign.selection_function, run.campaign.evaluation
    primary, audit = evaluation.primary_detector, evaluation.thresholds.audit
    detector, cuts = detector_and_cuts(run, primary)
    trials = {name: _trials_with_truth(run, name) for name in run.partition_keys_of("detector")}
    rows = _experiments(run, detector, cuts[audit])
    rows.append(
        failures.contrast_row(
            "confuser_hosts",
            "hosts that look like lenses without an arc: other hosts instead, at equal cells",
            trials[primary],
            trials[primary]["confuser_category"].notna().to_numpy(),
            cuts[audit],
            settings.intervals,
            settings.seed,
        )
    )
    table = pd.DataFrame(rows).assign(detector=primary, threshold=audit)
    collapse = failures.where_it_collapses(trials[primary], cuts[audit], settings.intervals)
    remedied = _remedies(run, trials)
    control = table.set_index("experiment").loc["vanishing_lens"]
    return Product(
        table=table,
        tables={"collapse": collapse, "remedies": remedied},
        figures={
            "hypotheses": figures.failures(table),
            "collapse": figures.collapse(collapse),
            "gallery": _gallery(run, failures.surprising_misses(trials[primary], cuts[audit], GALLERY_STAMPS)),
        }
        | ({"remedies": figures.remedies(remedied)} if len(remedied) else {}),
        summary={
            "supported": int((table["verdict"] == failures.SUPPORTED).sum()),
            "completeness_at_vanishing_theta_e": float(control["completeness"]),
            "lowest_lift": float(collapse["lift"].min()) if len(collapse) else float("nan"),
        }
        | {
            f"shift_by_{row.remedy}": float(row.shift)
            for row in remedied.loc[remedied["theta_e_arcsec"].isna()].itertuples()
        },
        columns={
            "experiment": "what was changed",
            "hypothesis": "why lenses might be missed",
            "n": "injections, the same hosts and draws",
            "n_hosts": "distinct hosts",
            "baseline_completeness": "completeness of these injections as they are",
            "k": "detections with the change",
            "completeness": "completeness with the change",
            "beta_lower_95": "lower 95% limit of it, Beta posterior",
            "beta_upper_95": "upper 95% limit of it, Beta posterior",
            "shift": "difference, paired",
            "shift_lower_95": "lower 95% limit, hosts resampled",
            "shift_upper_95": "upper 95% limit, hosts resampled",
            "rescued": "share of the missed that the change makes found",
            "verdict": "SUPPORTED, NOT-SUPPORTED, OPPOSED, CONTROL or NOT-EVALUATED",
            "detector": "frozen detector",
            "threshold": "name of the detection threshold",
        },
    )


def _experiments(run: AssetRun, detector: Detector, cut: float) -> list[dict[str, object]]:
    from lens_assets.detector.external import UnscoredStampsError
    from lens_assets.selection.failures import AS_INJECTED, EXPERIMENTS, Experiment, effect_row, unscored_row

    settings = run.campaign.selection_function
    plan, hosts = plan_and_hosts(run)
    rows: list[dict[str, object]] = []
    try:
        baseline = _detected(run, Experiment(AS_INJECTED, ""), plan, hosts, detector, cut)
        for experiment in run.progress(EXPERIMENTS, "hypotheses"):
            altered = _detected(run, experiment, plan, hosts, detector, cut)
            rows.append(effect_row(experiment, baseline, altered, settings.intervals, settings.seed))
    except UnscoredStampsError as missing:
        run.log.warning(str(missing))
        return [unscored_row(experiment) for experiment in EXPERIMENTS]
    return rows


def _remedies(run: AssetRun, trials: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return what every declared remedy changes, each pair of detectors at the audited threshold."""
    import pandas as pd

    from lens_assets.selection.completeness import thresholds_of
    from lens_assets.selection.remedies import no_remedies, remedy_table

    settings, audit = run.campaign.selection_function, run.campaign.evaluation.thresholds.audit

    def threshold(name: str) -> Threshold:
        return next(item for item in thresholds_of(run.table("frozen_detector", name)) if item.name == audit)

    found = []
    for remedy in settings.failures.remedies:
        names = remedy.instead_of, remedy.detector
        pair = trials[names[0]], trials[names[1]]
        cuts = threshold(names[0]), threshold(names[1])
        found.append(remedy_table(names, pair, cuts, settings.grid, settings.intervals, settings.seed))
    return pd.concat(found, ignore_index=True) if found else no_remedies()


def stamps_of_experiment(
    run: AssetRun, experiment: Experiment, plan: pd.DataFrame, hosts: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (hosts alone, injected stamps) of an experiment, in the order of the plan."""
    from lens_assets.lensing.injection import render_injections

    alone = experiment.hosts(hosts)
    settings = experiment.settings(run.campaign.injection)
    return alone, render_injections(experiment.plan(plan), alone, settings).stamps


def _detected(
    run: AssetRun,
    experiment: Experiment,
    plan: pd.DataFrame,
    hosts: NDArray[np.float32],
    detector: Detector,
    cut: float,
) -> pd.DataFrame:
    alone, injected = stamps_of_experiment(run, experiment, plan, hosts)
    passed = (detector.score(injected) >= cut) & (detector.score(alone) < cut)
    return plan[["injection_id", "galaxy_id"]].assign(detected=passed)


def _trials_with_truth(run: AssetRun, name: str) -> pd.DataFrame:
    trials, _ = trials_of_detector(run, name)
    truth = run.table("injection_batches", columns=["injection_id", *_TRUTH])
    return trials.merge(truth, on="injection_id", validate="one_to_one")


def _gallery(run: AssetRun, misses: pd.DataFrame) -> Figure:
    """Draw the missed injections with the clearest arcs: host, injected stamp, their difference."""
    import numpy as np

    from lens_assets.figures.injection import triplets
    from lens_assets.imaging.stamps import stamp_path

    if misses.empty:
        nothing = np.zeros((0, 3, 1, 1), dtype=np.float32)
        return triplets(nothing, nothing, nothing, [])
    batches = run.table("injection_batches", columns=["injection_id", "condition"])
    place = batches.groupby("condition").cumcount()
    place.index = batches["injection_id"]
    paths = [stamp_path(str(row.condition), int(place[row.injection_id])) for row in misses.itertuples()]
    positions = np.arange(len(misses))
    hosts = stamp_reader(run, "cutouts", list(misses["host_cutout_path"]))(positions)
    injected = stamp_reader(run, "injection_batches", paths)(positions)
    titles = [
        f'{row.theta_e_arcsec:.2f}" r {row.lensed_mag_r:.1f}\nS/N {row.arc_snr:.0f}, {row.injected_score:.2f}'
        for row in misses.itertuples()
    ]
    return triplets(hosts, injected, injected - hosts, titles)
