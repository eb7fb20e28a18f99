"""Evaluation, ensembles and the frozen detectors in the lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lens_assets.assets.detector_training import experiment_of, tracked_run
from lens_assets.assets.framework import AssetRun, Product, lens_asset

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


_DESCRIBING = ("healpix_128", "tier", "pool", "confuser_category", "type", "nobs_z_bin", "family", "confirmation")
_EVALUATED_FLAGS = ("visible", "stress_test", "evaluation_only")
_EVALUATED = ("galaxy_id", "sampling_weight", *_EVALUATED_FLAGS, *_DESCRIBING)


@lens_asset(
    group="detector",
    team="detector",
    kinds={"mlflow", "parquet"},
    inputs=("scores", "training_manifest"),
    settings=("experiments", "evaluation"),
    partitions="experiment",
    code_version="evaluation-report-2",
)
def evaluation_report(run: AssetRun) -> Product:
    """Every metric of one experiment on the test split, with intervals; thresholds come from the validation split.

    AUC and rates carry intervals from resampling whole HEALPix cells; rates also have Beta intervals. A threshold
    with fewer than the campaign's number of validation negatives above it is marked insufficient. The side table
    `deployment` holds the alert rate of the sample that resembles the survey's candidates.
    """
    from lens_assets.detector.evaluation import delong_error, metric_table, threshold_table, value_of
    from lens_assets.figures import evaluation as figures
    from lens_assets.statistics.calibration import expected_calibration_error, reliability_table

    name, settings, design = str(run.partition), run.campaign.evaluation, experiment_of(run).training.design
    evaluated = _evaluated(run, name)
    scored = evaluated[evaluated[f"in_{design}"]]
    validation = scored[(scored["split"] == "val") & ~scored["evaluation_only"]]
    test = scored[scored["split"] == "test"]
    thresholds = threshold_table(validation, settings)
    metrics = metric_table(scored, thresholds, settings)
    calibration = reliability_table(test["score"], test["label"], settings.reliability_bins, settings.interval_level)
    error = expected_calibration_error(test["score"], test["label"], settings.reliability_bins)
    auc, audit = value_of(metrics, "auc"), settings.thresholds.audit
    recall = value_of(metrics, "recall", audit)
    title = f"{run.campaign.name}, {name}"
    plots = {
        "roc": figures.roc(test, thresholds, auc, title),
        "scores": figures.score_histograms(test, thresholds, audit, f"{title}, test split"),
        "rates_by_subset": figures.rates_by_subset(metrics, audit, title),
        "reliability": figures.reliability(calibration, error, title),
    }
    summary: dict[str, Any] = {
        "test_auc": auc["value"],
        "test_auc_lower": auc["lower"],
        "test_auc_upper": auc["upper"],
        "test_auc_delong_error": delong_error(scored),
        "test_recall": recall["value"],
        "audit_threshold": float(thresholds.set_index("name").loc[audit, "threshold"]),
        "audit_threshold_sufficient": bool(thresholds.set_index("name").loc[audit, "sufficient"]),
        "test_ece": error,
        "test_positives": int((test["label"] == 1).sum()),
        "test_negatives": int((test["label"] == 0).sum()),
    }
    with tracked_run(run, "evaluation", settings.model_dump(mode="json")) as tracked:
        tracked.metrics({key: value for key, value in summary.items() if isinstance(value, int | float)})
        for key, figure in plots.items():
            tracked.figure(figure, key)
        tracked.table(metrics, "metrics")
        tracked.table(thresholds, "thresholds")
    return Product(
        table=metrics,
        tables={
            "thresholds": thresholds,
            "reliability": calibration,
            "deployment": _deployment_rates(evaluated, thresholds, settings),
        },
        figures=plots,
        summary=summary,
        columns={
            "metric": "auc, ece, brier, recall, fpr, fpr_population, precision",
            "subset": "column that divides the objects, or all",
            "value_of_subset": "value of that column",
            "threshold": "name of the cut; empty for metrics without one",
            "k": "objects counted (detections; positives for AUC)",
            "n": "objects in the subset",
            "n_cells": "HEALPix cells they lie in",
            "lower": "lower end: Beta for rates, resampled cells for AUC and fpr_population",
            "cluster_lower": "lower end from resampling cells",
            "sufficient": "the subset has at least the campaign's minimum of objects",
        },
    )


@lens_asset(
    group="detector",
    team="detector",
    kinds={"scikitlearn", "parquet"},
    inputs=("scores", "training_manifest"),
    settings=("experiments", "evaluation"),
    code_version="ensemble-report-1",
)
def ensemble_report(run: AssetRun) -> Product:
    """Averaging and stacking of the candidate experiments against each alone: ranking, recall, calibration, diversity.

    Combiners and thresholds are fitted on the validation split and measured on the test split; differences to the
    member that is best on validation are paired. Diagnostic experiments are shown as members and never combined.
    """
    from lens_assets.detector.comparison import compare
    from lens_assets.figures.evaluation import ensemble_comparison

    experiments, settings = run.campaign.experiments, run.campaign.evaluation
    evaluated = {name: _evaluated(run, name) for name in experiments}
    designs = {name: experiment.training.design for name, experiment in experiments.items()}
    scored = {name: frame[frame[f"in_{designs[name]}"]] for name, frame in evaluated.items()}
    candidates = [name for name, experiment in experiments.items() if experiment.role == "candidate"]
    report, differences, stacking = compare(scored, candidates, settings)
    best = report.loc[report["auc"].idxmax()]
    return Product(
        table=report,
        tables={"diversity": differences, "stacking": stacking},
        figures={"comparison": ensemble_comparison(report, settings.thresholds.audit)},
        summary={"highest_test_auc": float(best["auc"]), "highest_by": str(best["name"]), "rows": len(report)},
        columns={
            "kind": "member, diagnostic or combiner",
            "validation_auc": "AUC on the validation split, the only one that choices may use",
            "auc": "AUC on the test split; lower and upper resample cells",
            "auc_minus_best_member": "paired difference to the member that is best on validation",
            "threshold": "audited cut, defined on validation negatives",
            "recall": "test recall at that cut with its Beta interval",
            "fpr": "test false-positive rate at that cut",
            "ece": "expected calibration error on the test split",
            "ece_recalibrated": "the same after a logistic recalibration fitted on validation",
        },
    )


@lens_asset(
    group="detector",
    team="detector",
    kinds={"pytorch", "mlflow"},
    inputs=("trained_model", "scores", "training_manifest", "cutouts"),
    settings=("experiments", "evaluation", "external"),
    partitions="detector",
    code_version="frozen-detector-2",
    pool="torch",
)
def frozen_detector(run: AssetRun) -> Product:
    """The detector that is audited, with its thresholds: chosen, combined and cut on validation objects only.

    Its digest covers weights, architecture, preprocessing and combiner. The primary detector of the campaign becomes
    the champion of the model registry. Of a detector of kind external, thresholds come from the scores or the model
    that `external.yaml` names, in the same way.
    """
    from lens_assets.assets.detector_external import frozen_external
    from lens_assets.campaign.stages.evaluation import ExternalDetectorSettings
    from lens_assets.detector.data import validation_rows
    from lens_assets.detector.freezing import DetectorModule, freeze, frozen_thresholds
    from lens_assets.detector.frozen import load_frozen_detector, save_detector

    name, settings = str(run.partition), run.campaign.evaluation
    wanted = settings.detectors[name]
    if isinstance(wanted, ExternalDetectorSettings):
        return frozen_external(run, name, wanted)
    manifest = run.table("training_manifest")
    candidates = set(manifest.loc[validation_rows(manifest, settings.deployment_design), "galaxy_id"])
    members, validation, deployment = {}, {}, {}
    for member in wanted.members:
        members[member] = load_frozen_detector(run.folder("trained_model", member)).members[0]
        design = run.campaign.experiments[member].training.design
        chosen = manifest.loc[validation_rows(manifest, design), "galaxy_id"]
        rows = run.table("scores", member)
        validation[member] = rows[rows["galaxy_id"].isin(set(chosen))]
        deployment[member] = rows[rows["galaxy_id"].isin(candidates)]
    detector = freeze(name, wanted, members, validation)
    table = frozen_thresholds(detector, validation, settings, deployment)
    files = save_detector(run.scratch / "detector", detector)
    primary = name == settings.primary_detector
    registered = f"{run.campaign.name}-finder"
    params = {"detector": wanted.model_dump(mode="json"), "thresholds": settings.thresholds.model_dump(mode="json")}
    with tracked_run(run, "freezing", params) as tracked:
        tracked.table(table, "thresholds")
        tracked.artifact(files["detector.json"], "detector")
        tracked.tag("detector_digest", detector.digest)
        tracked.model(
            DetectorModule(detector), _model_example(detector), registered, detector.digest, {"detector": name}
        )
    if primary:
        run.tracking.set_champion(registered, detector.digest)
    audited = table[table["audited"]].iloc[0]
    return Product(
        table=table,
        files=files,
        summary={
            "digest": detector.digest,
            "preprocessing_digest": detector.preprocessing_digest,
            "combiner": detector.combiner.kind,
            "members": ",".join(member.name for member in detector.members),
            "audit_threshold": float(audited["threshold"]),
            "audit_fpr": float(audited["fpr"]),
            "audit_negatives_above": int(audited["n_above"]),
            "audit_sufficient": bool(audited["sufficient"]),
            "champion": primary,
        },
        columns={
            "name": "name of the threshold",
            "kind": "fixed; fpr: defined by a false-positive rate on validation negatives; top: by a share of the "
            "validation objects of the deployment sample",
            "threshold": "an object is detected where score >= threshold",
            "n_above": "validation negatives at or above the threshold",
            "sufficient": "enough of them to define the cut",
            "audited": "the threshold that the campaign audits",
            "combiner": "how members become one score",
            "digest": "SHA-256 over weights, architecture, preprocessing and combiner",
        },
    )


def _model_example(detector: Any) -> np.ndarray:
    import numpy as np

    side = detector.members[0].preprocessing.stamp_pixels
    return np.zeros((2, 3, side, side), dtype=np.float32)


def _evaluated(run: AssetRun, experiment: str) -> pd.DataFrame:
    """Return an experiment's scores with what the manifest says of each object; some have to be in the test split."""
    from lens_assets.detector.evaluation import require_test_split

    scored = run.table("scores", experiment)
    require_test_split(scored["split"])
    manifest = run.table("training_manifest", columns=list(_EVALUATED))
    joined = scored.drop(columns=["tier"]).merge(manifest, on="galaxy_id", validate="one_to_one")
    joined["evaluation_only"] = joined["evaluation_only"].fillna(False).astype(bool)
    return joined.sort_values("galaxy_id", kind="stable", ignore_index=True)


def _deployment_rates(evaluated: pd.DataFrame, thresholds: pd.DataFrame, settings: Any) -> pd.DataFrame:
    """Return the share of deployment-like candidates above each threshold, by pool and confuser, test split only."""
    from lens_assets.detector.evaluation import metric_table

    member = f"in_{settings.deployment_design}"
    if member not in evaluated:
        raise ValueError(
            f"evaluation.deployment_design is {settings.deployment_design!r}; the manifest has no column {member}"
        )
    metrics = metric_table(evaluated[evaluated[member]], thresholds, settings)
    return metrics[metrics["metric"].isin(["fpr", "fpr_population"])].reset_index(drop=True)
