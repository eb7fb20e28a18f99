"""How the footprint is distributed over the conditions of a grid, counted from randoms or, without them, sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lens_assets.campaign.stages.selection_function import GridSettings
from lens_assets.selection.grid import cells_of, condition_centres
from lens_assets.sky.healpix import pixel_of
from lens_assets.survey.fits_files import open_fits
from lens_assets.survey.units import BANDS, depth_ivar_to_mag

OUTSIDE_GRID = "outside"
RANDOMS_COLUMNS = (
    "RA", "DEC", "MASKBITS", "PSFSIZE_R", "PSFDEPTH_R", *(f"NOBS_{band.upper()}" for band in BANDS),
)  # fmt: skip
_ROWS_AT_ONCE = 2_000_000

FOOTPRINT_COLUMNS = {
    "grid": "name of the grid",
    "grid_digest": "SHA-256 of the grid's axes, band and depth definition",
    "condition": "key of the (PSF, depth) condition; `outside` for what lies beyond the axes",
    "psf_fwhm_arcsec": "centre of the r-band PSF FWHM bin [arcsec]",
    "depth_mag": "centre of the r-band 5-sigma point-source depth bin [AB mag]",
    "n": "positions counted",
    "share": "share of the footprint",
    "weights": "what was counted: randoms, or sources in their place",
}


class RandomsError(ValueError):
    """A file of randoms that cannot be used; the message names the file and what was expected."""


def count_conditions(grid: GridSettings, psf_fwhm_arcsec: ArrayLike, depth_mag: ArrayLike) -> pd.Series:
    """Return how many positions fall into each condition of the grid, and how many outside, by key."""
    keys = cells_of(grid, psf_fwhm_arcsec, depth_mag)
    named = np.where(keys == None, OUTSIDE_GRID, keys)  # noqa: E711 - element by element
    counts = pd.Series(named, dtype="object").value_counts()
    return counts.reindex([*condition_centres(grid), OUTSIDE_GRID], fill_value=0).astype(np.int64)


def count_randoms(
    path: Path, grids: tuple[GridSettings, ...], cell_nside: int, cells: ArrayLike, mask: int
) -> dict[str, pd.Series]:
    """Return for each grid the counts of the randoms of one file that lie in the footprint's cells.

    Randoms are uniform on the sky (https://www.legacysurvey.org/dr10/files/#random-catalogs), so that their counts are
    areas. Used are those within `cells` (HEALPix NESTED of `cell_nside`) with an exposure in g, r and z and without a
    bit of `mask`.
    """
    footprint = np.asarray(cells, dtype=np.int64)
    totals = {grid.name: count_conditions(grid, [], []) for grid in grids}
    with open_fits(path) as opened:
        table = opened[1]
        present = {name.upper(): name for name in table.get_colnames()}
        missing = [name for name in RANDOMS_COLUMNS if name not in present]
        if missing:
            raise RandomsError(f"{path}: lacks the columns {missing}; expected a DR10 randoms-*.fits file")
        rows = table.get_nrows()
        for start in range(0, rows, _ROWS_AT_ONCE):
            block = table.read(
                columns=[present[name] for name in RANDOMS_COLUMNS],
                rows=np.arange(start, min(start + _ROWS_AT_ONCE, rows)),
            )
            part = {name: np.asarray(block[present[name]]) for name in RANDOMS_COLUMNS}
            used = _usable(part, footprint, cell_nside, mask)
            depth = depth_ivar_to_mag(part["PSFDEPTH_R"][used].astype(np.float64))
            for grid in grids:
                totals[grid.name] = totals[grid.name] + count_conditions(grid, part["PSFSIZE_R"][used], depth)
    return totals


def _usable(part: dict[str, np.ndarray], footprint: np.ndarray, cell_nside: int, mask: int) -> np.ndarray:
    exposed = np.logical_and.reduce([part[f"NOBS_{band.upper()}"] > 0 for band in BANDS])
    clear = (part["MASKBITS"].astype(np.int64) & mask) == 0
    inside = np.isin(pixel_of(cell_nside, part["RA"], part["DEC"]), footprint)
    return np.asarray(exposed & clear & inside)


def condition_table(grid: GridSettings, counts: pd.Series, weights: str) -> pd.DataFrame:
    """Return one row a condition and one for what lies outside: grid, condition, centres, n, share of the footprint.

    `weights` says what was counted.
    """
    centres = condition_centres(grid)
    total = int(counts.sum())
    nowhere = (float("nan"), float("nan"))
    return pd.DataFrame(
        {
            "grid": grid.name,
            "grid_digest": grid.digest,
            "condition": list(counts.index),
            "psf_fwhm_arcsec": [centres.get(key, nowhere)[0] for key in counts.index],
            "depth_mag": [centres.get(key, nowhere)[1] for key in counts.index],
            "n": counts.to_numpy(np.int64),
            "share": counts.to_numpy(np.float64) / total if total else np.nan,
            "weights": weights,
        }
    )
