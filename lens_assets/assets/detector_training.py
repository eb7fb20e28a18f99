"""Training and scoring in the lineage: one network an experiment, and its scores of what it did not train on."""

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

    name, settings = str(run.partition), experiment_of(run)
    manifest, reader = run.table("training_manifest"), _reader(run)
    design, fold = settings.training.design, settings.training.held_out_fold
    if not (manifest["split"] == "test").any():
        run.log.warning("before %s trains: %s", name, NOTHING_HELD_OUT)
    chosen = validation_rows(manifest, design) if fold is None else fold_rows(manifest, design, fold)
    training = _labelled(manifest[_trained_on(manifest, settings)], reader)
    validation = _labelled(manifest[chosen], reader)
    checkpoint = _checkpoint(run)
    with tracked_run(run, "training", settings.model_dump(mode="json")) as tracked:
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
    unseen = manifest[~_trained_on(manifest, experiment_of(run))]
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


def experiment_of(run: AssetRun) -> ExperimentSettings:
    """Return the settings of the experiment that a partition is of."""
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


def tracked_run(run: AssetRun, experiment: str, params: dict[str, Any]) -> Any:
    """Return an open MLflow run of a partition, tagged with what it is made from."""
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
