"""What several assets of the selection-function group read: detectors, thresholds, trials and stamps."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.detector.frozen import Detector
    from lens_assets.realism.examine import Reader


def detector_and_cuts(run: AssetRun, name: str) -> tuple[Detector, dict[str, float]]:
    """Return a frozen detector and its thresholds by name."""
    from lens_assets.assets.detector_external import scoring_detector

    return scoring_detector(run, name), cuts_of(run, name)


class StatedFileError(ValueError):
    """A file that a setting names is missing or is another one; the message names setting and file."""


def stated_file(run: AssetRun, stated: str, sha256: str, where: str) -> Path:
    """Return the path of a file that a setting names, relative to the campaign's folder, if its checksum is right."""
    path = run.campaign.folder / Path(stated).expanduser()
    if not path.is_file():
        raise StatedFileError(f"{path}: no such file; {where} names it")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise StatedFileError(f"{path}: SHA-256 {found}, but {where} states {sha256}; state that of the file meant")
    return path


def cuts_of(run: AssetRun, name: str) -> dict[str, float]:
    """Return the thresholds of a frozen detector by name."""
    table = run.table("frozen_detector", name)
    return dict(zip(table["name"], table["threshold"], strict=True))


def trials_of_detector(run: AssetRun, detector: str | None) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return a detector's trials on the audited grid, and how many injections are none; see `trials_of`."""
    from lens_assets.selection.completeness import INJECTION_COLUMNS, trials_of

    settings = run.campaign.selection_function
    injections = run.table("injection_batches", columns=list(INJECTION_COLUMNS))
    scores = run.table("injection_scores", detector, columns=["injection_id", "host_score", "injected_score"])
    return trials_of(injections, scores, settings.grid, settings.denominator)


def stamp_reader(run: AssetRun, asset: str, paths: list[str]) -> Reader:
    """Return a reader of an asset's stamps by position in `paths`."""
    from lens_assets.imaging.stamps import STAMP_FILE, StampReader

    reader = StampReader(lambda shard: run.file(asset, STAMP_FILE, shard))
    return lambda rows: reader.read([paths[row] for row in rows])
