"""Models of C over the grid, beside the counts and never in their place: each is labelled and off unless asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.selection_function import GridSettings, IntervalSettings
from lens_assets.selection.hierarchical import fit_hierarchical
from lens_assets.selection.rates import LEVELS
from lens_assets.sky.randomness import generator

FloatArray = NDArray[np.float64]
MONOTONE, HIERARCHICAL = "monotone", "hierarchical"
MEANINGS = {
    MONOTONE: "monotone: C is assumed to rise with Einstein radius and depth and to fall with the width of the PSF",
    HIERARCHICAL: "hierarchical: a cell is drawn to a smooth surface, an effect of Einstein radius times one of the "
    "conditions, the more the fewer trials it has; how far is fitted to all cells",
}
MODEL_COLUMNS = {"model": "name of the model: " + "; ".join(MEANINGS.values())}
INCREASING = (True, False, True)
"""C rises with Einstein radius, falls with the width of the PSF and rises with depth."""
_DRAWS, _POOLED_DRAWS = 200, 2000
_SWEEPS = 500
_TOLERANCE = 1e-6


def monotone_projection(rates: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the nearest rates that are monotone along all three axes, shape (..., theta_E, PSF, depth).

    Nearest in the weighted square distance; with weights n this is the maximum of the binomial likelihood under the
    partial order (Robertson, Wright & Dykstra 1988, theorem 1.5.1). Found by Dykstra's alternating projections along
    each axis in turn (Dykstra & Robertson 1982, Ann. Stat. 10, 708). Weights broadcast; every one must be above 0.
    """
    result = np.asarray(rates, dtype=np.float64).copy()
    heavy = np.broadcast_to(np.asarray(weights, dtype=np.float64), result.shape)
    corrections = [np.zeros_like(result) for _ in INCREASING]
    for _ in range(_SWEEPS):
        before = result
        for number, increasing in enumerate(INCREASING):
            wanted = result + corrections[number]
            result = _along(wanted, heavy, number - len(INCREASING), increasing)
            corrections[number] = wanted - result
        if np.abs(result - before).max() < _TOLERANCE:
            break
    return result


def _along(values: FloatArray, weights: FloatArray, axis: int, increasing: bool) -> FloatArray:
    """Isotonic regression of all lines along one axis at once, by the max-min formula (Robertson et al. 1988, 1.4.5).

    The fit at i is the maximum over s <= i of the minimum over t >= i of the weighted mean of s..t.
    """
    sign = 1.0 if increasing else -1.0
    lines, heavy = sign * np.moveaxis(values, axis, -1), np.moveaxis(weights, axis, -1)
    size = lines.shape[-1]
    zero = np.zeros((*lines.shape[:-1], 1))
    sums = np.concatenate([zero, np.cumsum(lines * heavy, axis=-1)], axis=-1)
    mass = np.concatenate([zero, np.cumsum(heavy, axis=-1)], axis=-1)
    fitted = np.full_like(lines, -np.inf)
    for first in range(size):
        means = (sums[..., first + 1 :] - sums[..., [first]]) / (mass[..., first + 1 :] - mass[..., [first]])
        lowest = np.minimum.accumulate(means[..., ::-1], axis=-1)[..., ::-1]
        fitted[..., first:] = np.maximum(fitted[..., first:], lowest)
    return np.moveaxis(sign * fitted, -1, axis)


def modelled_grids(
    names: Sequence[str], table: pd.DataFrame, grid: GridSettings, intervals: IntervalSettings, seed: int
) -> pd.DataFrame:
    """Return the completeness table under each named model, one below the other; column `model` says which."""
    makers = {MONOTONE: monotone_grid, HIERARCHICAL: hierarchical_grid}
    return pd.concat([makers[name](table, grid, intervals, seed) for name in names], ignore_index=True)


def monotone_grid(table: pd.DataFrame, grid: GridSettings, intervals: IntervalSettings, seed: int) -> pd.DataFrame:
    """Return the completeness table under the assumption that C is monotone along each axis; column `model` says so.

    The Beta posterior of every cell is drawn from and each draw of the whole grid projected (Dunson & Neelon 2003,
    Biometrics 59, 286); the mean and the quantiles of the projections replace those of the cells. Trials are taken as
    independent. Cells without trials stay without a number; counts and support are those of the cells.
    """

    def project(k: FloatArray, n: FloatArray, rng: np.random.Generator) -> FloatArray:
        posterior = rng.beta(k + intervals.prior_alpha, n - k + intervals.prior_beta, size=(_DRAWS, *k.shape))
        return monotone_projection(posterior, np.maximum(n, 1e-6))

    return _modelled(table, grid, seed, MONOTONE, project)


def hierarchical_grid(table: pd.DataFrame, grid: GridSettings, intervals: IntervalSettings, seed: int) -> pd.DataFrame:
    """Return the completeness table under the hierarchical model; column `model` says so.

    See `hierarchical.py`. Its own prior takes the place of that of the intervals. Trials are taken as independent;
    cells without trials stay without a number, and counts and support are those of the cells.
    """
    del intervals

    def pool(k: FloatArray, n: FloatArray, rng: np.random.Generator) -> FloatArray:
        flat = (k.shape[0], -1)
        drawn = fit_hierarchical(k.reshape(flat), n.reshape(flat)).draws(
            k.reshape(flat), n.reshape(flat), _POOLED_DRAWS, rng
        )
        return drawn.reshape(_POOLED_DRAWS, *k.shape)

    return _modelled(table, grid, seed, HIERARCHICAL, pool)


def _modelled(
    table: pd.DataFrame,
    grid: GridSettings,
    seed: int,
    name: str,
    draw: Callable[[FloatArray, FloatArray, np.random.Generator], FloatArray],
) -> pd.DataFrame:
    """Return the table with rates from `draw`, which is given k and n (theta_E, PSF, depth) of each threshold."""
    shape = (grid.theta_e_arcsec.count, grid.psf_fwhm_arcsec.count, grid.depth_mag.count)
    parts = []
    for threshold, cells in table.groupby("threshold", sort=False):
        ordered = cells.sort_values(["theta_e_arcsec", "psf_fwhm_arcsec", "depth_mag"])
        k, n = (ordered[column].to_numpy(np.float64).reshape(shape) for column in ("k", "n"))
        drawn = draw(k, n, generator(seed, str(threshold), f"{name}-model"))
        parts.append(_replaced(ordered, drawn.reshape(len(drawn), -1)).loc[cells.index])
    return pd.concat(parts).assign(model=name)


def _replaced(cells: pd.DataFrame, drawn: FloatArray) -> pd.DataFrame:
    kept = cells[[name for name in cells.columns if not name.startswith(("beta_", "host_", "cell_", "total_"))]].copy()
    some = (cells["n"] > 0).to_numpy()
    kept["posterior_mean"] = np.where(some, drawn.mean(axis=0), np.nan)
    for level in LEVELS:
        tail = (1.0 - level) / 2.0
        for side, quantile in (("lower", tail), ("upper", 1.0 - tail)):
            limits = np.quantile(drawn, quantile, axis=0)
            kept[f"conditional_{side}_{round(100 * level)}"] = np.where(some, limits, np.nan)
    return kept
