"""Merge cells that hold too few trials with their neighbours, by one stated rule; the grid itself stays as it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.selection_function import GridSettings, IntervalSettings
from lens_assets.selection.completeness import Threshold, counted
from lens_assets.selection.grid import grid_frame

CELL = ["theta_e_bin", "psf_bin", "depth_bin"]
RULE = (
    "Within one Einstein radius bin, the unsupported group with the fewest trials is merged with the neighbour in "
    "depth that has the fewest trials, else with such a neighbour in PSF, until it is supported or a group would grow "
    "beyond the stated number of cells. Cells without any trial are never filled from others."
)
MERGED_COLUMNS = {
    "merged_group": "number of the first cell of the merged group, whose rate all its cells hold; -1 without trials",
    "merged_cells": "cells of the group",
}


def merge_groups(trials: pd.DataFrame, grid: GridSettings, intervals: IntervalSettings) -> pd.DataFrame:
    """Return one row a cell with a column `group`, the number of the first cell of its group; -1 without trials.

    Support depends on trials and hosts alone, so that all thresholds share the groups. See RULE.
    """
    cells = grid_frame(grid)
    shape = (grid.theta_e_arcsec.count, grid.psf_fwhm_arcsec.count, grid.depth_mag.count)
    number = np.ravel_multi_index(tuple(trials[axis].to_numpy(np.int64) for axis in CELL), shape)
    hosts = {int(cell): set(group) for cell, group in trials["galaxy_id"].groupby(number)}
    counts = np.bincount(number, minlength=len(cells)).astype(np.int64)
    group = np.where(counts > 0, np.arange(len(cells)), -1).reshape(shape)
    for plane in range(shape[0]):
        _merge_plane(group[plane], counts, hosts, intervals)
    return cells.assign(group=group.ravel())


def _merge_plane(
    group: NDArray[np.int64], counts: NDArray[np.int64], hosts: dict[int, set[str]], intervals: IntervalSettings
) -> None:
    """Merge in place the groups of one Einstein radius bin; `group` has shape (PSF bins, depth bins).

    `counts` and `hosts` hold the trials and hosts of a group at the number of its first cell.
    """
    stuck: set[int] = set()
    while True:
        labels = [int(label) for label in np.unique(group[group >= 0])]
        size = {label: int((group == label).sum()) for label in labels}
        weak = [
            label
            for label in labels
            if label not in stuck
            and (counts[label] < intervals.minimum_trials or len(hosts[label]) < intervals.minimum_hosts)
        ]
        if not weak:
            return
        label = min(weak, key=lambda item: (counts[item], item))
        partner = _partner(group, label, counts, size, intervals.maximum_merged_cells - size[label])
        if partner is None:
            stuck.add(label)
            continue
        first, second = min(label, partner), max(label, partner)
        group[group == second] = first
        hosts[first] |= hosts[second]
        counts[first] += counts[second]


def _partner(
    group: NDArray[np.int64], label: int, counts: NDArray[np.int64], size: dict[int, int], room: int
) -> int | None:
    """Return the neighbour to merge with: in depth before PSF, fewest trials first."""
    inside = group == label
    for axis in (1, 0):
        touching: set[int] = set()
        for step in (1, -1):
            shifted = np.roll(inside, step, axis=axis)
            edge = [slice(None), slice(None)]
            edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
            shifted[tuple(edge)] = False
            touching |= {int(found) for found in group[shifted & ~inside] if found >= 0}
        fitting = [found for found in touching if size[found] <= room]
        if fitting:
            return min(fitting, key=lambda item: (counts[item], item))
    return None


def merged_grid(
    trials: pd.DataFrame,
    thresholds: Sequence[Threshold],
    grid: GridSettings,
    intervals: IntervalSettings,
    seed: int,
) -> pd.DataFrame:
    """Return one row a (threshold, cell) with the rate of its merged group; columns as the completeness table.

    `merged_group` names the group by its first cell, `merged_cells` counts its cells: all of them hold one number.
    """
    cells = merge_groups(trials, grid, intervals)
    keyed = trials.merge(cells[[*CELL, "group"]], on=CELL, validate="many_to_one")
    grouped = dict(iter(keyed.groupby("group", sort=True)))
    sizes = cells.loc[cells["group"] >= 0, "group"].value_counts()
    rows = []
    for threshold in thresholds:
        known = {
            label: counted(group, threshold, intervals, seed, f"{threshold.name}|merged|{label}")
            for label, group in grouped.items()
        }
        empty = counted(keyed.iloc[:0], threshold, intervals, seed, f"{threshold.name}|merged|none")
        for cell in cells.itertuples(index=False):
            rows.append(
                {
                    "grid": grid.name,
                    "grid_digest": grid.digest,
                    **threshold.columns(),
                    "theta_e_arcsec": cell.theta_e_arcsec,
                    "psf_fwhm_arcsec": cell.psf_fwhm_arcsec,
                    "depth_mag": cell.depth_mag,
                    "condition": cell.condition,
                    **known.get(cell.group, empty),
                    "merged_group": int(cell.group),
                    "merged_cells": int(sizes.get(cell.group, 0)),
                }
            )
    return pd.DataFrame(rows)
