"""Small sweep files in DR10's format, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import fitsio
import numpy as np
from numpy.typing import NDArray

from lens_assets.survey.files import SurveyFiles
from lens_assets.survey.ingest import PartitionIngest, ingest_partition
from lens_assets.survey.schemas import SWEEP_COLUMNS
from lens_assets.survey.sources import Region
from lens_assets.survey.staging import Staging
from lens_assets.survey.tiles import parse_sweep_name
from lens_assets_tests.support import new_folder


def sweep_rows(ra: NDArray, dec: NDArray, objid: NDArray | None = None, brickid: int = 7) -> NDArray:
    """Return rows with all DR10 columns; positions in degrees, everything else plausible and constant."""
    rows = np.zeros(len(ra), dtype=[(column.name, np.dtype(column.dtype)) for column in SWEEP_COLUMNS])
    rows["RA"], rows["DEC"] = ra, dec
    rows["RELEASE"], rows["BRICKID"], rows["BRICKNAME"] = 10000, brickid, b"0001m005"
    rows["OBJID"] = np.arange(len(ra)) if objid is None else objid
    rows["TYPE"] = b"SER"
    for band, flux in (("G", 10.0), ("R", 20.0), ("I", 25.0), ("Z", 30.0), ("W1", 40.0)):
        rows[f"FLUX_{band}"] = flux
        if band in "GRIZ":
            rows[f"FLUX_IVAR_{band}"], rows[f"MW_TRANSMISSION_{band}"] = 100.0, 0.9
            rows[f"PSFSIZE_{band}"], rows[f"PSFDEPTH_{band}"], rows[f"GALDEPTH_{band}"] = 1.3, 400.0, 250.0
            rows[f"NOBS_{band}"] = 4
    rows["MW_TRANSMISSION_W1"] = 0.99
    rows["SHAPE_R"], rows["SHAPE_E1"], rows["SERSIC"], rows["EBV"] = 1.2, 0.2, 3.0, 0.05
    rows["REF_CAT"] = b"  "
    return rows


def write_sweep(folder: Path, name: str, rows: NDArray) -> Path:
    """Write rows as a sweep file and return its path."""
    path = folder / name
    fitsio.write(str(path), rows, clobber=True)
    return path


def sweep_name(ra1: int, dec1: int, ra2: int, dec2: int) -> str:
    """Return the file name of a tile from its corners in whole degrees."""
    corners = [(ra1, dec1), (ra2, dec2)]
    return "sweep-" + "-".join(f"{ra:03d}{'m' if dec < 0 else 'p'}{abs(dec):03d}" for ra, dec in corners) + ".fits"


def files_of(folder: Path) -> SurveyFiles:
    """Return a survey whose sweep files lie in one folder."""
    return SurveyFiles(str(folder), ".", "coadd", "bricks.fits")


def ingest(
    folder: Path, names: Iterable[str], region: Region, chunk_rows: int = 1000, staging: Path | None = None
) -> PartitionIngest:
    """Ingest sweep files of a folder, in the order given; what was staged is not kept unless a folder is given."""
    work = new_folder()
    tiles = [tile for tile in map(parse_sweep_name, names) if tile is not None]
    staged = Staging(staging or work / "staging", "test")
    return ingest_partition(tiles, files_of(folder), region, chunk_rows, staged, work)
