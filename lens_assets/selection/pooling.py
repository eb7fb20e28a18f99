"""Pool two releases that measured the same quantity with the same detector on different injections."""

from __future__ import annotations

import pandas as pd

from lens_assets.campaign.stages.selection_function import GridSettings, IntervalSettings
from lens_assets.selection.completeness import Denominator, Threshold, completeness_grid
from lens_assets.selection.grid import GridMismatchError, bin_index, require_same_grid
from lens_assets.selection.identity import detector_digest_name
from lens_assets.selection.loader import IncomparableError, SelectionFunction, require_comparable

GO = "GO"
"""How the verdict of an open gate begins."""


def pooled_completeness(
    first: SelectionFunction,
    second: SelectionFunction,
    detector: str,
    grid: GridSettings,
    intervals: IntervalSettings,
    seed: int,
) -> pd.DataFrame:
    """Return the completeness table of the trials of both releases together, with columns as the table of one.

    Grid, prior, hosts, denominator and thresholds must be the same, as scores and not by definition alone: pooled
    trials have to come from one frozen detector at one cut. IncomparableError names what differs, GridMismatchError
    another grid than `grid`. An injection that is in both releases is refused, since it would count twice, and so is a
    release with a gate that is not GO, whose verdict the pooled table would not carry.
    """
    for sf in (first, second):
        _require_go(sf)
    parts = [sf.grid.loc[sf.grid["detector"] == detector] for sf in (first, second)]
    if any(part.empty for part in parts):
        held = f"{first.detectors} and {second.detectors}"
        raise IncomparableError(f"detector {detector} is not in both releases, which hold {held}")
    measured = require_same_grid([str(part["grid_digest"].iloc[0]) for part in parts], "pooling two releases")
    if measured != grid.digest:
        raise GridMismatchError(
            f"both releases hold grid {measured[:12]}, this campaign's grid {grid.name} is {grid.digest[:12]}; pool "
            "them under a campaign with their grid, such as the one that made them (LENS_CAMPAIGN)"
        )
    thresholds = _thresholds(parts[0])
    for threshold in thresholds:
        require_comparable(first, second, threshold.name)
    _require_same_detector(first, second, detector)
    others = {threshold.name: threshold.score for threshold in _thresholds(parts[1])}
    moved = [item.name for item in thresholds if others.get(item.name) != item.score]
    if moved:
        raise IncomparableError(
            f"thresholds {', '.join(moved)} of {detector} are cuts at other scores in the two releases; expected one "
            "detector with one set of thresholds: pool only what was scored by the same frozen detector"
        )
    trials = _trials(first, second, detector, grid)
    denominator: Denominator = first.metadata["identity"]["denominator"]
    table = completeness_grid(trials, thresholds, grid, intervals, denominator, seed)
    table.insert(0, "detector", detector)
    return table


def _require_go(sf: SelectionFunction) -> None:
    verdicts = sf.metadata.get("verdicts", {})
    held = [f"{gate}: {verdict}" for gate, verdict in verdicts.items() if not str(verdict).startswith(GO)]
    if held or not verdicts:
        said = "; ".join(held) or "no verdict at all"
        raise IncomparableError(
            f"{sf.metadata.get('title', 'a release')} says {said}; expected releases whose gates are all {GO}: "
            "mend what the gate names and release it again"
        )


def _require_same_detector(first: SelectionFunction, second: SelectionFunction, detector: str) -> None:
    mine, theirs = (sf.metadata.get("digests", {}).get(detector_digest_name(detector)) for sf in (first, second))
    if mine is None or theirs is None:
        raise IncomparableError(f"a release does not state the digest of frozen detector {detector}; remake it")
    if mine != theirs:
        raise IncomparableError(
            f"detector {detector} is another frozen detector in each release ({mine[:12]} and {theirs[:12]}); "
            "pool only what was scored by the same one"
        )


def _thresholds(cells: pd.DataFrame) -> list[Threshold]:
    return [
        Threshold(
            str(row.threshold),
            str(row.threshold_kind),
            float(row.threshold_score),
            float(row.threshold_score_lower),
            float(row.threshold_score_upper),
            bool(row.threshold_sufficient),
        )
        for row in cells.drop_duplicates("threshold").itertuples()
    ]


def _trials(first: SelectionFunction, second: SelectionFunction, detector: str, grid: GridSettings) -> pd.DataFrame:
    rows = []
    for sf in (first, second):
        if sf.injections is None:
            raise IncomparableError("a release lacks its injections; expected injections.parquet beside the grid")
        rows.append(sf.injections.loc[(sf.injections["detector"] == detector) & sf.injections["is_trial"]])
    trials = pd.concat(rows, ignore_index=True)
    twice = trials.loc[trials.duplicated(["injection_id", "galaxy_id"]), "injection_id"]
    if len(twice):
        raise IncomparableError(
            f"{len(twice)} injections are in both releases, {twice.iloc[0]} among them; expected different injections"
        )
    return trials.assign(
        theta_e_bin=bin_index(trials["theta_e_arcsec"], grid.theta_e_edges_arcsec),
        psf_bin=bin_index(trials["psfsize_r"], grid.psf_fwhm_edges_arcsec),
        depth_bin=bin_index(trials["psfdepth_r_mag"], grid.depth_edges_mag),
    )
