"""The survey's geometry: its grid of 0.25 deg bricks, their names, sweep blocks, and the world coordinates of a coadd.

The grid follows desiutil (`desiutil.brick.Bricks`): rows of 0.25 deg in Dec centred on multiples of 0.25 deg, each cut
into an even number of columns no wider than 0.25 deg on the sky, 662,174 bricks in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.survey.units import PIXEL_SCALE_ARCSEC

BRICK_SIZE_DEG = 0.25
SWEEP_BLOCK_DEG = 5
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TangentPlane:
    """The TAN projection of a coadd: `pixels` a side, centred on (ra_deg, dec_deg), North up and East left."""

    ra_deg: float
    dec_deg: float
    pixels: int

    @property
    def reference_pixel(self) -> float:
        """Zero-based pixel coordinate of the centre, on both axes (CRPIX - 1)."""
        return (self.pixels - 1) / 2.0

    def to_sky(self, x_px: FloatArray, y_px: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return (ra, dec) in degrees of zero-based pixel coordinates, shape (N,).

        Inverse gnomonic projection: Calabretta & Greisen 2002 (A&A 395, 1077), eqs. 14-15, 54-55.
        """
        scale = np.radians(PIXEL_SCALE_ARCSEC / 3600.0)
        xi = -(np.asarray(x_px, float) - self.reference_pixel) * scale
        eta = (np.asarray(y_px, float) - self.reference_pixel) * scale
        dec0 = np.radians(self.dec_deg)
        denominator = np.cos(dec0) - eta * np.sin(dec0)
        ra = self.ra_deg + np.degrees(np.arctan2(xi, denominator))
        dec = np.degrees(np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, denominator)))
        return np.mod(ra, 360.0), dec

    def to_pixels(self, ra_deg: FloatArray, dec_deg: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return zero-based pixel coordinates of (ra, dec) in degrees, shape (N,): the inverse of `to_sky`."""
        scale = np.radians(PIXEL_SCALE_ARCSEC / 3600.0)
        turn = np.radians(np.asarray(ra_deg, float) - self.ra_deg)
        dec, dec0 = np.radians(np.asarray(dec_deg, float)), np.radians(self.dec_deg)
        depth = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(turn)
        xi = np.cos(dec) * np.sin(turn) / depth
        eta = (np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(turn)) / depth
        return self.reference_pixel - xi / scale, self.reference_pixel + eta / scale


@lru_cache(maxsize=1)
def _row_columns() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of columns of every row, and the number of bricks before it."""
    centres = np.arange(-90.0, 90.0 + BRICK_SIZE_DEG / 2, BRICK_SIZE_DEG)
    nearest_the_equator = np.maximum(np.abs(centres) - BRICK_SIZE_DEG / 2, 0.0)
    columns = 2 * np.ceil(360.0 / BRICK_SIZE_DEG * np.cos(np.radians(nearest_the_equator)) / 2).astype(np.int64)
    columns[[0, -1]] = 1
    return columns, np.concatenate([[0], np.cumsum(columns)[:-1]])


def count_bricks() -> int:
    """Return the number of bricks of the whole sky."""
    return int(_row_columns()[0].sum())


def brick_name(ra_deg: float, dec_deg: float) -> str:
    """Return AAAAcBBB: RA and |Dec| of the centre in tenths of a degree, cut off, with p or m for the sign."""
    sign = "p" if dec_deg >= 0 else "m"
    return f"{int(ra_deg * 10 + 1e-9):04d}{sign}{int(abs(dec_deg) * 10 + 1e-9):03d}"


def bricks_between(dec_min_deg: float, dec_max_deg: float) -> pd.DataFrame:
    """Return the bricks whose centres have dec_min <= dec <= dec_max, with the columns of the bricks table."""
    columns, before = _row_columns()
    frames = []
    for row in range(len(columns)):
        dec = -90.0 + row * BRICK_SIZE_DEG
        if not dec_min_deg <= dec <= dec_max_deg:
            continue
        width = 360.0 / columns[row]
        column = np.arange(columns[row])
        frames.append(
            pd.DataFrame({
                "brickid": before[row] + column + 1,
                "brickq": 2 * (row % 2) + column % 2,
                "brickrow": row,
                "brickcol": column,
                "ra": (column + 0.5) * width,
                "dec": dec,
                "ra1": column * width,
                "ra2": (column + 1) * width,
                "dec1": dec - BRICK_SIZE_DEG / 2,
                "dec2": dec + BRICK_SIZE_DEG / 2,
            })
        )  # fmt: skip
    table = pd.concat(frames, ignore_index=True)
    table.insert(0, "brickname", [brick_name(ra, dec) for ra, dec in zip(table["ra"], table["dec"], strict=True)])
    return table


def sweep_block_name(ra_corner_deg: int, dec_corner_deg: int) -> str:
    """Return the file name of the 5 x 5 deg block with that lower-left corner, e.g. sweep-165m010-170m005.fits."""

    def corner(ra: int, dec: int) -> str:
        return f"{ra:03d}{'p' if dec >= 0 else 'm'}{abs(dec):03d}"

    upper = corner(ra_corner_deg + SWEEP_BLOCK_DEG, dec_corner_deg + SWEEP_BLOCK_DEG)
    return f"sweep-{corner(ra_corner_deg, dec_corner_deg)}-{upper}.fits"


def sweep_block_membership(ra_deg: FloatArray, dec_deg: FloatArray, overlap_deg: float) -> dict[str, NDArray[np.int64]]:
    """Return, for every block that holds sources, its file name and the indices of its rows, in row order.

    A source belongs to the block with ra1 <= RA < ra2 and dec1 <= Dec < dec2, and to a neighbour as well
    when it lies within `overlap_deg` (degrees of coordinate) of it.
    """
    members: dict[str, set[int]] = {}
    for ra_shift in (-overlap_deg, 0.0, overlap_deg):
        for dec_shift in (-overlap_deg, 0.0, overlap_deg):
            ra_corner = (np.mod(ra_deg + ra_shift, 360.0) // SWEEP_BLOCK_DEG * SWEEP_BLOCK_DEG).astype(int)
            dec_corner = ((dec_deg + dec_shift) // SWEEP_BLOCK_DEG * SWEEP_BLOCK_DEG).astype(int)
            for index, (ra, dec) in enumerate(zip(ra_corner, dec_corner, strict=True)):
                members.setdefault(sweep_block_name(int(ra), int(dec)), set()).add(index)
    return {name: np.asarray(sorted(rows), dtype=np.int64) for name, rows in sorted(members.items())}
