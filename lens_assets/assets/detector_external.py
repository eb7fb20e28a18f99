"""External finders in the lineage: read what `external.yaml` names, freeze it, and score with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product
from lens_assets.digests import file_digest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign
    from lens_assets.campaign.stages.evaluation import ExternalDetectorSettings
    from lens_assets.detector.external import ExternalFinder, ScoredFinder
    from lens_assets.detector.frozen import Detector

CATALOGUE_SPLITS = ("val", "test")


def finder_of(campaign: Campaign, name: str) -> ExternalFinder:
    """Return the external finder of a detector from the files that `external.yaml` names.

    ScoreFileError if a file is missing or is another one than stated.
    """
    from lens_assets.campaign.stages.external import ModelFinderSettings
    from lens_assets.detector.exchange import join_scores, read_scores
    from lens_assets.detector.external import MODELS, ScoredFinder

    if campaign.external is None:
        raise KeyError(f"campaign {campaign.name} has no external.yaml, so no finder {name}")
    wanted = campaign.external.finders[name]
    if isinstance(wanted, ModelFinderSettings):
        path = _checked(campaign, name, wanted.path, wanted.sha256)
        _, make = MODELS[wanted.source]
        return make(name, path.read_bytes(), wanted.preprocessing, wanted.output, wanted.batch_size)
    files = [_checked(campaign, name, item.path, item.sha256) for item in wanted.files]
    return ScoredFinder(name, join_scores({path: read_scores(path, wanted.output) for path in files}))


def _checked(campaign: Campaign, name: str, stated: str, sha256: str) -> Path:
    from lens_assets.detector.exchange import ScoreFileError

    path = campaign.folder / Path(stated).expanduser()
    where = f"external.yaml, finders.{name}"
    if not path.is_file():
        raise ScoreFileError(f"{path}: no such file; {where} names it")
    found = file_digest(path)
    if found != sha256:
        raise ScoreFileError(f"{path}: SHA-256 {found}, but {where} states {sha256}; state that of the file meant")
    return path


def scoring_detector(run: AssetRun, name: str) -> Detector:
    """Return what scores stamps for a detector of the campaign.

    A finder known by its scores is read with all files of `external.yaml`, since its frozen part holds those of
    catalogued stamps only; everything else is the frozen detector as it is stored.
    """
    from lens_assets.campaign.stages.evaluation import ExternalDetectorSettings
    from lens_assets.campaign.stages.external import ScoredFinderSettings
    from lens_assets.detector.frozen import load_detector

    external = run.campaign.external
    if (
        external is not None
        and isinstance(run.campaign.evaluation.detectors[name], ExternalDetectorSettings)
        and isinstance(external.finders[name], ScoredFinderSettings)
    ):
        return finder_of(run.campaign, name)
    return load_detector(run.folder("frozen_detector", name))


def frozen_external(run: AssetRun, name: str, wanted: ExternalDetectorSettings) -> Product:
    """Return the frozen detector of an external finder: its thresholds from validation objects, its files and digest.

    Of a finder known by its scores, those of the validation and test stamps of the manifest are kept.
    """
    import pandas as pd

    from lens_assets.detector.data import validation_rows
    from lens_assets.detector.external import ScoredFinder, save_external
    from lens_assets.detector.freezing import thresholds_from

    settings, finder = run.campaign.evaluation, finder_of(run.campaign, name)
    manifest = run.table("training_manifest").sort_values("galaxy_id", kind="stable", ignore_index=True)
    designs = (wanted.validation_design, settings.deployment_design)
    validation, deployment = (manifest.loc[validation_rows(manifest, design)] for design in designs)
    if isinstance(finder, ScoredFinder):
        catalogue = manifest.loc[manifest["split"].isin(CATALOGUE_SPLITS)]
        finder = ScoredFinder(name, _known(run, finder, catalogue["cutout_path"]))
    rows = pd.concat([validation, deployment if settings.thresholds.top_shares else deployment.iloc[:0]])
    rows = rows.drop_duplicates("galaxy_id")
    scores = pd.Series(_scored(run, finder, rows["cutout_path"]), index=rows["galaxy_id"].to_numpy())
    scored = [
        part[["galaxy_id", "split", "label"]].assign(score=part["galaxy_id"].map(scores))
        for part in (validation, deployment)
    ]
    table = thresholds_from(name, scored[0], scored[1] if settings.thresholds.top_shares else None, settings)
    table["combiner"], table["members"] = wanted.kind, name
    table["digest"], table["preprocessing_digest"] = finder.digest, finder.preprocessing_digest
    audited = table.loc[table["audited"]].iloc[0]
    with run.tracking.start("freezing", name, run.provenance_tags(), {"detector": wanted.model_dump()}) as tracked:
        tracked.table(table, "thresholds")
        tracked.tag("detector_digest", finder.digest)
    return Product(
        table=table,
        files=save_external(finder),
        summary={
            "digest": finder.digest,
            "preprocessing_digest": finder.preprocessing_digest,
            "combiner": wanted.kind,
            "members": name,
            "description": wanted.description,
            "audit_threshold": float(audited["threshold"]),
            "audit_fpr": float(audited["fpr"]),
            "audit_negatives_above": int(audited["n_above"]),
            "audit_sufficient": bool(audited["sufficient"]),
            "champion": False,
        },
        columns={
            "name": "name of the threshold",
            "kind": "fixed; fpr: defined by a false-positive rate; top: by a share of the deployment sample",
            "threshold": "an object is detected where score >= threshold",
            "n_above": "validation objects at or above the threshold",
            "sufficient": "enough of them to define the cut",
            "audited": "the threshold that the campaign audits",
            "digest": "SHA-256 over the scores, or over the model file and its preprocessing",
        },
    )


def _known(run: AssetRun, finder: ScoredFinder, paths: pd.Series) -> pd.Series:
    """Return the finder's scores of those catalogued stamps that it has scored, by stamp id."""
    import pandas as pd

    from lens_assets.detector.exchange import blocks

    names, read = paths.to_numpy(dtype=object), _reader(run)
    parts = [finder.known(read(list(names[block]))) for block in run.progress(list(blocks(len(names))), "stamps named")]
    known = pd.concat(parts) if parts else finder.scores.iloc[:0]
    return known[~known.index.duplicated()].sort_index()


def _scored(run: AssetRun, finder: Detector, paths: pd.Series) -> np.ndarray:
    from lens_assets.detector.frozen import score_in_chunks

    report = lambda done, total: run.report_progress(f"scoring with {finder.name}", done, total)  # noqa: E731
    return score_in_chunks(finder, _reader(run), paths.tolist(), progress=report)


def _reader(run: AssetRun):  # type: ignore[no-untyped-def]
    from lens_assets.imaging.stamps import STAMP_FILE, StampReader

    return StampReader(lambda shard: run.file("cutouts", STAMP_FILE, shard)).read
