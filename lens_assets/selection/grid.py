"""The cells of a grid: which partition a host belongs to, which bin an Einstein radius, and which grids compare."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lens_assets.campaign.stages.selection_function import GridSettings

OUTSIDE = -1


class GridMismatchError(ValueError):
    """Numbers of different grids were about to be compared or merged."""


def condition_key(psf_fwhm_arcsec: float, depth_mag: float) -> str:
    """Return the partition key of the (PSF, depth) bin with these centres, such as `psf1.20_depth24.25`."""
    return f"psf{psf_fwhm_arcsec:.2f}_depth{depth_mag:.2f}"


def condition_keys(grid: GridSettings) -> list[str]:
    """Return the keys of all (PSF, depth) bins, PSF slowest."""
    return [condition_key(psf, depth) for psf in grid.psf_fwhm_arcsec.centres for depth in grid.depth_mag.centres]


def condition_centres(grid: GridSettings) -> dict[str, tuple[float, float]]:
    """Map each condition key to the (PSF FWHM in arcsec, depth in AB mag) at the centre of its bin."""
    return {
        condition_key(psf, depth): (psf, depth)
        for psf in grid.psf_fwhm_arcsec.centres
        for depth in grid.depth_mag.centres
    }


def bin_index(values: ArrayLike, edges: tuple[float, ...]) -> NDArray[np.int64]:
    """Return the index of each value's half-open bin [lower, upper), OUTSIDE beyond the edges and for NaN.

    Values are never clamped into an edge bin.
    """
    numbers = np.asarray(values, dtype=np.float64)
    boundaries = np.asarray(edges, dtype=np.float64)
    index = np.searchsorted(boundaries, numbers, side="right") - 1
    inside = (numbers >= boundaries[0]) & (numbers < boundaries[-1])
    return np.where(inside, index, OUTSIDE).astype(np.int64)


def cells_of(grid: GridSettings, psf_fwhm_arcsec: ArrayLike, depth_mag: ArrayLike) -> NDArray[np.object_]:
    """Return the condition key of each pair, shape (N,); None outside the grid."""
    psf = bin_index(psf_fwhm_arcsec, grid.psf_fwhm_edges_arcsec)
    depth = bin_index(depth_mag, grid.depth_edges_mag)
    keys = np.asarray([*condition_keys(grid), None], dtype=object)
    flat = psf * grid.depth_mag.count + depth
    return keys[np.where((psf == OUTSIDE) | (depth == OUTSIDE), len(keys) - 1, flat)]


def grid_frame(grid: GridSettings) -> pd.DataFrame:
    """Return one row a (theta_E, PSF, depth) cell: indices, centres in arcsec and AB mag, and condition key."""
    axes = np.meshgrid(
        np.arange(grid.theta_e_arcsec.count),
        np.arange(grid.psf_fwhm_arcsec.count),
        np.arange(grid.depth_mag.count),
        indexing="ij",
    )
    theta, psf, depth = (axis.ravel() for axis in axes)
    frame = pd.DataFrame(
        {
            "theta_e_bin": theta,
            "psf_bin": psf,
            "depth_bin": depth,
            "theta_e_arcsec": np.asarray(grid.theta_e_arcsec.centres)[theta],
            "psf_fwhm_arcsec": np.asarray(grid.psf_fwhm_arcsec.centres)[psf],
            "depth_mag": np.asarray(grid.depth_mag.centres)[depth],
        }
    )
    frame["condition"] = [condition_key(p, d) for p, d in zip(frame.psf_fwhm_arcsec, frame.depth_mag, strict=True)]
    return frame


def require_same_grid(digests: Iterable[str], what: str) -> str:
    """Return the one digest shared by all, or refuse: rates of different grids are different quantities."""
    found = sorted(set(digests))
    if len(found) == 1:
        return found[0]
    raise GridMismatchError(
        f"{what}: expected numbers of one grid, got grid digests {[digest[:12] for digest in found]}; "
        "remake both from the same grid before comparing or merging them"
    )
