"""What the command line asks of finished products: a completeness, and whether scores that came back can be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from lens_assets.digests import file_digest

if TYPE_CHECKING:
    from lens_assets.assets.execution import Lineage
    from lens_assets.lake.lake import Lake
    from lens_assets.selection.loader import SelectionFunction

PRODUCT = "selection_function_product"


class QuestionError(ValueError):
    """A question that cannot be answered; the message says why and what to do."""


def released(lineage: Lineage, lake: Lake, folder: str | None) -> tuple[SelectionFunction, str]:
    """Return (the selection function, a warning or nothing) of a release folder, else of the campaign's own product."""
    from lens_assets.selection.loader import load

    if folder is not None:
        return load(folder, quiet=True), ""
    if lake.record(PRODUCT) is None:
        raise QuestionError(
            f"campaign {lineage.campaign.name} has no {PRODUCT} in {lake.root}: run it first, or name --release FOLDER"
        )
    stale = lineage.stale(lake, [*lineage.ancestors(PRODUCT), PRODUCT])
    warning = f"made from other settings or inputs than now; not current: {', '.join(stale[:5])}" if stale else ""
    return load(lake.folder(PRODUCT) / "release", quiet=True), warning


def answer_lines(
    sf: SelectionFunction,
    theta_e_arcsec: Sequence[float],
    psf_fwhm_arcsec: float,
    depth_mag: float,
    threshold: str | None,
    detector: str | None,
    outside: str,
    level: int,
    interval: str,
    cells: str,
) -> list[str]:
    """Return the verdicts and one line a queried Einstein radius."""
    lines = [sf.metadata["title"], *(f"  {gate}: {verdict}" for gate, verdict in sf.metadata["verdicts"].items())]
    named = threshold or sf.metadata["reference_threshold"]
    lines.append(
        f"detector {detector or sf.detectors[0]}, threshold {named}, PSF {psf_fwhm_arcsec:g} arcsec, depth "
        f"{depth_mag:g} mag, {level}% {interval} limits, {cells} cells"
    )
    rows = sf.grid.loc[(sf.grid["threshold"] == named) & (sf.grid["detector"] == (detector or sf.detectors[0]))]
    if len(rows) and not rows["threshold_sufficient"].all():
        lines.append(f"insufficient: too few validation objects lie above threshold {named} to define it")
    c = sf.completeness(
        theta_e_arcsec=np.asarray(theta_e_arcsec, dtype=np.float64),
        psf_fwhm_arcsec=psf_fwhm_arcsec,
        depth_mag=depth_mag,
        threshold=threshold,
        detector=detector,
        outside=outside,
        level=level,
        interval=interval,
        cells=cells,
    )
    for theta, value, lower, upper in zip(theta_e_arcsec, c.value, c.lower, c.upper, strict=True):
        empty = outside == "clip" and np.isnan(value)
        answer = "no number: nothing was injected there" if empty else f"{value:.4f} [{lower:.4f}, {upper:.4f}]"
        lines.append(f"theta_E {theta:g} arcsec: {answer}")
    return lines


def check_score_file(path: Path, output: Literal["probability", "logit"], index: Path | None) -> list[str]:
    """Return what a file of scores holds, and the lines of `external.yaml` that name it; ScoreFileError if unusable.

    `index` is the export's stamps.csv: every stamp that it lists has to have a score.
    """
    import pandas as pd

    from lens_assets.detector.exchange import STAMP_ID, ScoreFileError, read_scores

    scores = read_scores(path, output)
    span = f"from {scores.min():.6g} to {scores.max():.6g}"
    lines = [f"{path}: {len(scores)} scores {span}, every stamp once, all finite"]
    if index is not None:
        exported = pd.read_csv(index, dtype={STAMP_ID: "string"})
        missing = exported.loc[~exported[STAMP_ID].isin(scores.index)]
        if len(missing):
            counts = ", ".join(f"{role} {count}" for role, count in missing["role"].value_counts().items())
            raise ScoreFileError(
                f"{path}: no score for {len(missing)} of {len(exported)} exported stamps ({counts}), "
                f"{missing[STAMP_ID].iloc[0]} among them; expected one for every stamp of {index}"
            )
        unknown = int((~pd.Index(scores.index).isin(exported[STAMP_ID])).sum())
        lines.append(f"every one of the {len(exported)} exported stamps has a score; {unknown} further scores")
    digest = file_digest(path)
    return [
        *lines,
        "in external.yaml, under files of the finder:",
        f'  - {{path: "{path.resolve()}", sha256: "{digest}"}}',
    ]


def pooled_table(lineage: Lineage, folders: Sequence[str], detector: str | None, target: Path) -> list[str]:
    """Write the completeness table of two releases' injections together as Parquet; return what it holds.

    The campaign gives the grid and the statistics; releases of another quantity are refused by name.
    """
    from lens_assets.selection.loader import load
    from lens_assets.selection.pooling import pooled_completeness
    from lens_assets.selection.product import parquet_bytes

    first, second = (load(folder, quiet=True) for folder in folders)
    settings = lineage.campaign.selection_function
    name = detector or first.detectors[0]
    table = pooled_completeness(first, second, name, settings.grid, settings.intervals, settings.seed)
    target.write_bytes(parquet_bytes(table))
    cells = table.loc[table["threshold"] == table["threshold"].iloc[0]]
    return [f"{target}: {int(cells['n'].sum())} trials of {name} in {len(cells)} cells, from {' and '.join(folders)}"]
