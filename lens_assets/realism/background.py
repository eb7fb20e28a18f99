"""Sky pixels of injected stamps against untouched stamps of other objects in like conditions.

Pixels are anything but independent draws: those of a stamp share its sky level and its neighbours' wings, stamps of
one brick overlap, and bricks differ. So nothing is assumed of them. Hosts are paired by their conditions before anyone
looks which of the two is shown with its injection and which untouched; a coin decides that. If injecting changes no sky
pixel (Fisher's sharp null), the pixels are fixed numbers and the coins are all that is random, so that swapping within
pairs gives the exact null distribution whatever the dependence of pixels, stamps and bricks (Fisher 1935, The Design of
Experiments, section 21; Imbens and Rubin 2015, chapter 5). Pairing after the choice would break it: a brick with more
injected than untouched stamps lends its surplus to other bricks, all in one direction, which no swapping imitates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from lens_assets.campaign.stages.realism import ApertureSettings, BackgroundSettings
from lens_assets.imaging.geometry import radius_px
from lens_assets.imaging.robust import covered
from lens_assets.realism.residuals import SMOOTHING_SIGMA_PX, sky_statistics
from lens_assets.realism.strata import Half
from lens_assets.sky.randomness import uniform
from lens_assets.survey.units import PIXEL_SCALE_ARCSEC

CONDITION_COLUMNS = (
    "psfsize_g", "psfsize_r", "psfsize_z", "psfdepth_g_mag", "psfdepth_r_mag", "psfdepth_z_mag",
)  # fmt: skip
# A mismatch of this size in one condition counts as one unit of distance between two stamps.
CONDITION_SCALES = (0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
_GRID_POINTS = 200


def sky_pixels(
    stamps: NDArray[np.floating], apertures: ApertureSettings, settings: BackgroundSettings
) -> NDArray[np.float32]:
    """Return a fixed number of sky pixels of every stamp and band, (N, 3, K) nanomaggies per pixel.

    Candidates lie on a square lattice in the sky annulus, so that neighbours are `spacing_px` apart; those on
    sources (smoothed significance in any band) or without data are left out; of the rest every n-th is taken.
    Missing ones are NaN.
    """
    stamps = np.asarray(stamps, dtype=np.float32)
    count, bands, height, width = stamps.shape
    radius = radius_px(height, width) * PIXEL_SCALE_ARCSEC
    lattice = np.zeros((height, width), dtype=bool)
    lattice[:: settings.spacing_px, :: settings.spacing_px] = True
    lattice &= (radius >= apertures.sky_inner_arcsec) & (radius < apertures.sky_outer_arcsec)
    where = np.flatnonzero(lattice)
    clean = _source_free(stamps, apertures, settings).reshape(count, -1)[:, where]
    values = stamps.reshape(count, bands, -1)[:, :, where]
    result = np.full((count, bands, settings.pixels_per_stamp), np.nan, dtype=np.float32)
    for index in range(count):
        free = np.flatnonzero(clean[index])
        taken = min(len(free), settings.pixels_per_stamp)
        chosen = free[np.arange(taken) * len(free) // max(taken, 1)]
        result[index, :, :taken] = values[index][:, chosen]
    return result


def _source_free(
    stamps: NDArray[np.float32], apertures: ApertureSettings, settings: BackgroundSettings
) -> NDArray[np.bool_]:
    """Return (N, H, W): covered in all bands and nowhere significantly above or below the sky."""
    smoothed = ndimage.gaussian_filter(stamps, (0, 0, SMOOTHING_SIGMA_PX, SMOOTHING_SIGMA_PX))
    median, sigma = sky_statistics(smoothed, apertures)
    with np.errstate(divide="ignore", invalid="ignore"):
        significance = (smoothed - median[:, :, None, None]) / sigma[:, :, None, None]
    quiet = np.abs(significance) < settings.mask_sigma
    return np.asarray((quiet & covered(stamps)).all(axis=1))


def pair_by_conditions(
    hosts: pd.DataFrame, seed: int, maximum_pairs: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair hosts in like conditions and toss a coin for which of the two is shown with its injection.

    Hosts in the order of their hash are cut into halves, at most `maximum_pairs` each, and the halves are assigned to
    each other at the least sum of squared differences in `CONDITION_COLUMNS`, in units of `CONDITION_SCALES`. No host
    is in two pairs.

    Args:
        hosts: one row a host, `galaxy_id` (distinct) and `CONDITION_COLUMNS`.

    Returns
    -------
        Positions of the hosts shown injected and of those shown untouched, (P,) each.
    """
    names = hosts["galaxy_id"].astype(str).tolist()
    order = np.argsort(uniform(seed, names, "sky_pairs"), kind="stable")
    count = min(maximum_pairs, len(order) // 2)
    one, other = order[:count], order[count : 2 * count]
    conditions = np.nan_to_num(hosts[list(CONDITION_COLUMNS)].to_numpy(np.float64) / np.asarray(CONDITION_SCALES))
    rows, columns = linear_sum_assignment(cdist(conditions[one], conditions[other], "sqeuclidean"))
    one, other = one[rows], other[columns]
    heads = uniform(seed, [names[position] for position in one], "sky_coin") < 0.5
    return np.where(heads, one, other), np.where(heads, other, one)


@dataclass(frozen=True)
class Background:
    """Paired sky pixels (P, 3, K) of injected stamps and of untouched stamps of other objects."""

    injected: NDArray[np.floating]
    untouched: NDArray[np.floating]
    conditions: pd.DataFrame | None = None
    """One row a pair, those of the host shown injected, which the other is like; None leaves strata out."""

    def within(self, half: Half) -> Background:
        """Return the pairs in one half of a condition; ValueError where no conditions are known."""
        if self.conditions is None:
            raise ValueError("conditions: expected those of the pairs, to look at a half of one of them")
        chosen = half.holds(self.conditions)
        return Background(self.injected[chosen], self.untouched[chosen], self.conditions[chosen])


@dataclass(frozen=True)
class PairedTest:
    """Result of a paired comparison of pixel distributions."""

    distance: float
    p_value: float
    pairs: int


def paired_kolmogorov_smirnov(
    injected: NDArray[np.floating], untouched: NDArray[np.floating], permutations: int, seed: int
) -> PairedTest:
    """Compare pooled pixels (P, K) of two sets of paired stamps.

    The distance sup |F_1 - F_2| is referred to its distribution under random swaps of whole stamps within pairs, which
    is exact at any sample size if a coin decided who is who. Every stamp counts alike, however many of its pixels are
    missing.
    """
    full = np.isfinite(injected).any(axis=1) & np.isfinite(untouched).any(axis=1)
    first, second = np.asarray(injected)[full], np.asarray(untouched)[full]
    if not len(first):
        return PairedTest(np.nan, np.nan, 0)
    pooled = np.concatenate([first.ravel(), second.ravel()])
    grid = np.quantile(pooled[np.isfinite(pooled)], np.linspace(0.0025, 0.9975, _GRID_POINTS))
    difference = _distribution(first, grid) - _distribution(second, grid)
    distance = float(np.abs(difference.mean(axis=0)).max())
    random = np.random.Generator(np.random.Philox(key=seed))
    signs = random.integers(0, 2, size=(permutations, len(first))).astype(np.float64) * 2.0 - 1.0
    null = np.abs(signs @ difference / len(first)).max(axis=1)
    return PairedTest(distance, float((1 + (null >= distance - 1e-12).sum()) / (1 + permutations)), len(first))


def _distribution(pixels: NDArray[np.floating], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distribution function (P, G) of every stamp's finite pixels."""
    finite = np.isfinite(pixels)
    ordered = np.sort(np.where(finite, pixels, np.inf), axis=1)
    below = np.stack([np.searchsorted(row, grid, side="right") for row in ordered]).astype(np.float64)
    return np.asarray(below / finite.sum(axis=1)[:, None])
