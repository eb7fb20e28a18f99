"""The survey's bricks: the 0.25 deg grid, names, folders, and which brick holds a position.

The grid is that of desiutil (`desiutil.brick.Bricks`): rows of 0.25 deg in Dec centred on multiples of 0.25 deg, each
cut into an even number of columns no wider than 0.25 deg at the edge nearest the equator; 662,174 bricks in all.
Membership is half open, RA1 <= RA < RA2 and DEC1 <= Dec < DEC2; a name only approximates the centre.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lens_assets.sky.healpix import pixel_of
from lens_assets.survey.fits_files import UnreadableFileError, open_fits

BRICK_SIZE_DEG = 0.25
_NAME = re.compile(r"^(?P<ra>\d{4})(?P<sign>[pm])(?P<dec>\d{3})$")
_EDGES = ("ra1", "ra2", "dec1", "dec2")


def parse_brick_name(name: str) -> tuple[float, float]:
    """Return the approximate centre (RA, Dec) in degrees that a brick name carries; ValueError if it is none."""
    match = _NAME.match(name)
    if not match or int(match["ra"]) >= 3600 or int(match["dec"]) > 900:
        raise ValueError(f"{name!r} is not a brick name; expected AAAAcBBB such as 1126p222")
    return int(match["ra"]) / 10.0, (-1 if match["sign"] == "m" else 1) * int(match["dec"]) / 10.0


@lru_cache(maxsize=1)
def _columns_of_rows() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of bricks in each row, and the number of bricks before it."""
    centres = np.arange(-90.0, 90.0 + BRICK_SIZE_DEG / 2, BRICK_SIZE_DEG)
    widest_dec = np.maximum(np.abs(centres) - BRICK_SIZE_DEG / 2, 0.0)
    columns = 2 * np.ceil(360.0 / BRICK_SIZE_DEG * np.cos(np.radians(widest_dec)) / 2.0).astype(np.int64)
    columns[[0, -1]] = 1
    return columns, np.concatenate([[0], np.cumsum(columns)[:-1]])


def bricks_of_positions(ra_deg: ArrayLike, dec_deg: ArrayLike) -> pd.DataFrame:
    """Return for each position its brick: brickname, brickid, ra, dec of the centre and the edges, in degrees."""
    columns, before = _columns_of_rows()
    ra = np.mod(np.atleast_1d(np.asarray(ra_deg, np.float64)), 360.0)
    dec = np.atleast_1d(np.asarray(dec_deg, np.float64))
    row = np.floor((dec + 90.0 + BRICK_SIZE_DEG / 2) / BRICK_SIZE_DEG).astype(np.int64)
    row = np.clip(row, 0, len(columns) - 1)
    width = 360.0 / columns[row]
    column = np.minimum((ra / width).astype(np.int64), columns[row] - 1)
    centre_ra, centre_dec = (column + 0.5) * width, row * BRICK_SIZE_DEG - 90.0
    return pd.DataFrame(
        {
            "brickname": brick_names(centre_ra, centre_dec),
            "brickid": before[row] + column + 1,
            "ra": centre_ra,
            "dec": centre_dec,
            "ra1": column * width,
            "ra2": (column + 1) * width,
            "dec1": centre_dec - BRICK_SIZE_DEG / 2,
            "dec2": centre_dec + BRICK_SIZE_DEG / 2,
        }
    )


def count_bricks() -> int:
    """Return the number of bricks of the whole sky."""
    return int(_columns_of_rows()[0].sum())


def brick_names(centre_ra_deg: ArrayLike, centre_dec_deg: ArrayLike) -> list[str]:
    """Return AAAAcBBB: RA and |Dec| of each centre in tenths of a degree, cut off."""
    ra, dec = np.atleast_1d(np.asarray(centre_ra_deg)), np.atleast_1d(np.asarray(centre_dec_deg))
    tenths_ra = np.floor(ra * 10.0 + 1e-9).astype(int)
    tenths_dec = np.floor(np.abs(dec) * 10.0 + 1e-9).astype(int)
    return [f"{a:04d}{'p' if d >= 0 else 'm'}{b:03d}" for a, b, d in zip(tenths_ra, tenths_dec, dec, strict=True)]


def read_bricks_table(path: Path) -> pd.DataFrame:
    """Return the bricks of a release, sorted by name: brickname, ra, dec, the edges, and every other scalar column.

    The summary tables of a release carry no edges: they are then those of the grid. Depths in these tables are
    AB magnitudes already. Raises UnreadableFileError.
    """
    with open_fits(path) as opened:
        tables = [item for item in opened if item.get_exttype() == "BINARY_TBL"]
        if not tables:
            raise UnreadableFileError(path, "no_table", "has no binary table; expected a table of bricks")
        rows = tables[0].read()
    names = {name.lower(): name for name in rows.dtype.names}
    missing = [name for name in ("brickname", "ra", "dec") if name not in names]
    if missing:
        raise UnreadableFileError(path, "missing_columns", f"lacks {', '.join(missing)}; expected a table of bricks")
    scalar = {key: _native(rows[name]) for key, name in names.items() if rows[name].ndim == 1}
    frame = pd.DataFrame(scalar)
    if not set(_EDGES) <= set(frame.columns):
        grid = bricks_of_positions(frame["ra"], frame["dec"])
        frame[list(_EDGES)] = grid[list(_EDGES)]
    return frame.sort_values("brickname", kind="stable").reset_index(drop=True)


def _native(values: NDArray) -> NDArray:
    if values.dtype.kind in "SU":
        return np.strings.strip(values.astype("U")).astype(object)
    return values.astype(values.dtype.newbyteorder("="))


def sources_by_brick(bricks: pd.DataFrame, brickname_of_sources: Iterable[str], nside: int, pixel: int) -> pd.DataFrame:
    """Return the bricks of one NESTED pixel in which the release found objects, with the sources that were ingested.

    `bricks` is as `read_bricks_table` returns it. A brick belongs to the pixel that holds its centre; one without
    objects (nobjs 0, where the table has that column) is left out. Columns: brickname, ra, dec [deg], sources.
    """
    here = pixel_of(nside, bricks["ra"], bricks["dec"]) == pixel
    with_objects = bricks["nobjs"] > 0 if "nobjs" in bricks else np.ones(len(bricks), dtype=bool)
    listed = bricks.loc[here & with_objects, ["brickname", "ra", "dec"]].reset_index(drop=True)
    counts = pd.Series(brickname_of_sources, dtype="str").value_counts()
    return listed.assign(sources=listed["brickname"].map(counts).fillna(0).astype("int64"))


def inside_brick(brick: pd.Series, ra_deg: ArrayLike, dec_deg: ArrayLike) -> NDArray[np.bool_]:
    """Return True for positions that a brick (a row with its edges) owns."""
    ra, dec = np.mod(np.asarray(ra_deg, np.float64), 360.0), np.asarray(dec_deg, np.float64)
    inside_ra = np.mod(ra - brick["ra1"], 360.0) < brick["ra2"] - brick["ra1"]
    return np.asarray(inside_ra & (dec >= brick["dec1"]) & (dec < brick["dec2"]))
