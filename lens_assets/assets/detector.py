"""The detector group of the lineage: training, scoring, evaluation, ensembles and the frozen detectors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_assets.assets.framework import AssetRun, Product, lens_asset

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lens_assets.campaign.stages.experiments import ExperimentSettings
    from lens_assets.detector.data import LabelledStamps
    from lens_assets.detector.training import EpochRecord
    from lens_assets.imaging.stamps import StampReader
    from lens_assets.resources.tracking import TrackedRun

_DESCRIBING = ("healpix_128", "tier", "pool", "confuser_category", "type", "nobs_z_bin", "family", "confirmation")
_EVALUATED_FLAGS = ("visible", "stress_test", "evaluation_only")
_EVALUATED = ("galaxy_id", "sampling_weight", *_EVALUATED_FLAGS, *_DESCRIBING)


@lens_asset(
    group="detector",
    team="detector",
    kinds={"pytorch", "mlflow"},
    inputs=("training_manifest", "cutouts"),
    settings=("experiments",),
    partitions="experiment",
    code_version="trained-model-2",
    pool="torch",
)
def trained_model(run: AssetRun) -> Product:
    """The network of one experiment, trained on its design's training split; the epoch with the best validation AUC.

    With a spatial fold held out, that fold is not trained on and chooses the epoch: its AUC is one of a spatial
    cross-validation. The table is the course of the training. The test split is never read here. Evaluation-only
    objects and rows without weight are not trained on. Weights are in `weights.pt`, architecture and preprocessing
    in `detector.json`.
    """
    import pandas as pd

    from lens_assets.detector.data import fold_rows, validation_rows
    from lens_assets.detector.evaluation import NOTHING_HELD_OUT
    from lens_assets.detector.frozen import save_detector, single
    from lens_assets.detector.training import train, training_summary
    from lens_assets.figures.evaluation import learning_curves

    name, settings = str(run.partition), _experiment(run)
    manifest, reader = run.table("training_manifest"), _reader(run)
    design, fold = settings.training.design, settings.training.held_out_fold
    if not (manifest["split"] == "test").any():
        run.log.warning("before %s trains: %s", name, NOTHING_HELD_OUT)
    chosen = validation_rows(manifest, design) if fold is None else fold_rows(manifest, design, fold)
    training = _labelled(manifest[_trained_on(manifest, settings)], reader)
    validation = _labelled(manifest[chosen], reader)
    checkpoint = _checkpoint(run)
    with _tracked(run, "training", settings.model_dump(mode="json")) as tracked:
        trained = train(
            name,
            settings,
            training,
            validation,
            data_digest=repr(sorted(run.upstream.items())),
            checkpoint=checkpoint,
            on_epoch=lambda record: _report_epoch(run, tracked, record),
            on_batch=lambda done, total: run.report_progress(f"training {name}", done, total),
        )
        detector, summary = single(trained.member, name), training_summary(trained)
        files = save_detector(run.scratch / "detector", detector, summary)
        history = pd.DataFrame(summary["history"])
        figure = learning_curves(history, trained.best_epoch, f"{run.campaign.name}, {name}: {settings.title}")
        tracked.figure(figure, "learning_curves")
        tracked.artifact(files["detector.json"], "detector")
        tracked.tag("detector_digest", detector.digest)
        _log_model(run, tracked, detector, validation, f"{run.campaign.name}-{name}")
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    positives, negatives = training.classes()
    return Product(
        table=history,
        files=files,
        figures={"learning_curves": figure},
        summary={
            "validation_auc": summary["validation_auc"],
            "best_epoch": trained.best_epoch,
            "epochs": len(history),
            "parameters": trained.n_parameters,
            "training_positives": positives,
            "training_negatives": negatives,
            "validation_stamps": len(validation),
            "detector_digest": detector.digest,
        },
        columns={
            "epoch": "pass over the training stamps, from 1",
            "learning_rate": "rate at the end of the epoch",
            "training_loss": "weighted cross-entropy while training",
            "validation_loss": "weighted cross-entropy of the validation split",
            "validation_auc": "area under the ROC curve of the validation split; its maximum is kept",
        },
    )


@lens_asset(
    group="detector",
    team="detector",
    kinds={"pytorch", "parquet"},
    inputs=("training_manifest", "cutouts", "trained_model"),
    settings=("experiments",),
    partitions="experiment",
    code_version="scores-2",
    pool="torch",
)
def scores(run: AssetRun) -> Product:
    """Scores of one experiment for every stamp that it was not trained on, the deployment sample among them."""
    from lens_assets.detector.frozen import load_detector, score_in_chunks
    from lens_assets.figures.evaluation import score_histogram_by_split

    manifest = run.table("training_manifest")
    unseen = manifest[~_trained_on(manifest, _experiment(run))]
    unseen = unseen.sort_values("galaxy_id", kind="stable", ignore_index=True)
    detector = load_detector(run.folder("trained_model"))
    found = score_in_chunks(
        detector,
        _reader(run).read,
        unseen["cutout_path"].tolist(),
        progress=lambda done, total: run.report_progress(f"scoring with {run.partition}", done, total),
    )
    designs = [column for column in unseen.columns if column.startswith("in_")]
    table = unseen[["galaxy_id", "cutout_path", "label", "split", "tier"]].assign(score=found)
    table[designs] = unseen[designs]
    return Product(
        table=table,
        figures={"scores": score_histogram_by_split(table, f"{run.campaign.name}, {run.partition}")},
        summary={
            "scored": len(table),
            "trained_on": len(manifest) - len(table),
            "median_positive": float(table.loc[table["label"] == 1, "score"].median()),
            "median_negative": float(table.loc[table["label"] == 0, "score"].median()),
            "detector_digest": detector.digest,
        },
        columns={
            "galaxy_id": "release_brickid_objid",
            "cutout_path": "shard#row of the stamp",
            "label": "1 lens, 0 not",
            "split": "train, val or test; train only for stamps that this experiment did not see",
            "tier": "A, B (positives), N1, N2 (negatives)",
            "score": "probability of being a lens, rounded to 1e-6",
        },
    )


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

    name, settings, design = str(run.partition), run.campaign.evaluation, _experiment(run).training.design
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
    with _tracked(run, "evaluation", settings.model_dump(mode="json")) as tracked:
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
    with _tracked(run, "freezing", params) as tracked:
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


def _experiment(run: AssetRun) -> ExperimentSettings:
    return run.campaign.experiments[str(run.partition)]


def _trained_on(manifest: pd.DataFrame, settings: ExperimentSettings) -> np.ndarray:
    """Return which rows of the manifest an experiment trains on; a fold held out keeps one stamp side of distance."""
    from lens_assets.detector.data import training_rows
    from lens_assets.survey.units import PIXEL_SCALE_ARCSEC

    recipe, side_arcsec = settings.training, settings.preprocessing.input_pixels * PIXEL_SCALE_ARCSEC
    return training_rows(manifest, recipe.design, recipe.held_out_fold, side_arcsec)


def _reader(run: AssetRun) -> StampReader:
    from lens_assets.imaging.stamps import STAMP_FILE, StampReader

    return StampReader(lambda shard: run.file("cutouts", STAMP_FILE, shard))


def _labelled(rows: pd.DataFrame, reader: StampReader) -> LabelledStamps:
    """Return the stamps of manifest rows, sorted by galaxy and read only when a batch needs them."""
    import numpy as np

    from lens_assets.detector.data import LabelledStamps

    rows = rows.sort_values("galaxy_id", kind="stable")
    paths = rows["cutout_path"].to_numpy(dtype=object)

    def read(wanted: np.ndarray) -> np.ndarray:
        return reader.read(list(paths[wanted]))

    return LabelledStamps(
        galaxy_ids=rows["galaxy_id"].tolist(),
        labels=rows["label"].to_numpy(np.float32),
        weights=rows["sample_weight"].to_numpy(np.float32),
        tiers=rows["tier"].tolist(),
        read=read,
    )


def _checkpoint(run: AssetRun) -> Path | None:
    """Return where a training may leave its state between epochs; None where no state folder is set."""
    from lens_assets.resources.tracking import STATE_VARIABLE

    folder = os.environ.get(STATE_VARIABLE)
    return Path(folder) / "checkpoints" / run.campaign.name / f"{run.partition}.pt" if folder else None


def _tracked(run: AssetRun, experiment: str, params: dict[str, Any]) -> Any:
    tags = run.provenance_tags()
    if "training_manifest" in run.upstream:
        tags["manifest_digest"] = run.upstream["training_manifest"]
    return run.tracking.start(experiment=experiment, name=str(run.partition), tags=tags, params=params)


def _report_epoch(run: AssetRun, tracked: TrackedRun, record: EpochRecord) -> None:
    import dataclasses

    values = dataclasses.asdict(record)
    epoch = values.pop("epoch")
    tracked.metrics(values, step=epoch)
    run.log.info(
        "%s epoch %s: loss %.4f, validation AUC %.4f", run.partition, epoch, record.training_loss, record.validation_auc
    )


def _log_model(run: AssetRun, tracked: TrackedRun, detector: Any, validation: LabelledStamps, registered: str) -> None:
    """Log the network with a preprocessed example, so that its signature says what it takes."""
    import numpy as np

    from lens_assets.imaging.preprocessing import preprocess

    member = detector.members[0]
    example = preprocess(validation.read(np.arange(2)), member.preprocessing)
    tracked.model(member.network, example, registered, detector.digest, {"experiment": str(run.partition)})


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
