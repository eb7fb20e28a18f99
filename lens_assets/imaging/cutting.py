"""Cut the stamps of one sky partition, brick by brick, into one stamp file and its index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.imaging.stamps import StampWriter, stamp_path
from lens_assets.survey.coadds import OK, BrickStamps
from lens_assets.survey.units import BANDS

ZERO_COVERAGE = "zero_coverage"

ReadBrick = Callable[[str, NDArray[np.float64], NDArray[np.float64]], BrickStamps]

_TYPES = {
    "cutout_path": "str",
    "galaxy_id": "str",
    "ra": "float64",
    "dec": "float64",
    "brickname": "str",
    "status": "str",
    "detail": "str",
    **{f"zero_fraction_{band}": "float64" for band in BANDS},
    **{f"psfsize_{band}": "float64" for band in BANDS},
    **{f"nexp_{band}": "int64" for band in BANDS},
    **{f"sky_sigma_{band}": "float64" for band in BANDS},
    "maskbits_any": "int64",
    "x_offset_arcsec": "float64",
    "y_offset_arcsec": "float64",
}


def cut_partition(
    wanted: pd.DataFrame,
    shard: str,
    path: Path,
    size: int,
    read_brick: ReadBrick,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> pd.DataFrame:
    """Write the stamps of the wanted galaxies to `path` and return their index, sorted by galaxy_id.

    `wanted` has galaxy_id, ra, dec (degrees) and brickname, one row a galaxy, from any order of rows; `shard` is
    the sky partition. Stamps lie in the file by (brickname, galaxy_id), one batch a brick, so that one brick is in
    memory at a time. A galaxy without a stamp keeps its row, with a status, a detail and no cutout_path. No wanted
    rows give an empty file and an empty index with all columns.
    """
    ordered = wanted.sort_values(["brickname", "galaxy_id"], kind="stable", ignore_index=True)
    bricks = {str(name): rows for name, rows in ordered.groupby("brickname", sort=True)}
    parts = []
    with StampWriter(path, size, size) as writer:
        for brick in progress(list(bricks)):
            rows = bricks[brick]
            cut = read_brick(brick, rows["ra"].to_numpy(dtype=float), rows["dec"].to_numpy(dtype=float))
            index = _brick_index(rows, cut)
            has_stamp = (index["status"] == OK).to_numpy()
            numbers = writer.rows + np.cumsum(has_stamp) - 1
            index["cutout_path"] = [
                stamp_path(shard, int(number)) if good else None
                for number, good in zip(numbers, has_stamp, strict=True)
            ]
            writer.write(index.loc[has_stamp, "galaxy_id"].tolist(), cut.stamps[has_stamp])
            parts.append(index)
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(_TYPES))
    return table.astype(_TYPES)[list(_TYPES)].sort_values("galaxy_id", ignore_index=True)


def quarantined_files(table: pd.DataFrame) -> pd.DataFrame:
    """Return status, detail (which names the file) and number of lost stamps, for files that could not be read."""
    lost = table[table["status"].isin(["missing_brick", "missing_file", "corrupt_file"])]
    counts = lost.groupby(["status", "detail"], sort=True).size()
    return counts.rename("stamps").reset_index()


def _brick_index(rows: pd.DataFrame, cut: BrickStamps) -> pd.DataFrame:
    index = rows[["galaxy_id", "ra", "dec", "brickname"]].reset_index(drop=True)
    status, detail = cut.status.copy(), cut.detail.copy()
    empty = (cut.zero_fraction >= 1.0).any(axis=1) & (status == OK)
    for row in np.flatnonzero(empty):
        missing = [band for number, band in enumerate(BANDS) if cut.zero_fraction[row, number] >= 1.0]
        status[row], detail[row] = ZERO_COVERAGE, f"no coverage in {', '.join(missing)}"
    index["status"], index["detail"] = status, detail
    for number, band in enumerate(BANDS):
        index[f"zero_fraction_{band}"] = cut.zero_fraction[:, number]
        index[f"psfsize_{band}"] = cut.psfsize_arcsec[:, number]
        index[f"nexp_{band}"] = cut.nexp[:, number]
        index[f"sky_sigma_{band}"] = cut.sky_sigma[:, number]
    index["maskbits_any"] = cut.maskbits_any
    index["x_offset_arcsec"], index["y_offset_arcsec"] = cut.x_offset_arcsec, cut.y_offset_arcsec
    return index
