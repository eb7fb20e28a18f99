"""A tiny survey in a lake, laid out as the release: sweep files over one sky partition, published lists beside them."""

from __future__ import annotations

import gzip
from pathlib import Path

import fitsio
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.campaign import Campaign
from lens_assets.lake.lake import Lake
from lens_assets.survey.bricks import bricks_of_positions
from lens_assets_tests.support import new_folder, store
from lens_assets_tests.survey.sweep_files import sweep_rows, write_sweep

PARTITION = "hp04-070"
"""Around RA 11, Dec 0, in the demo campaign's footprint."""

WEST, EAST = "sweep-005p000-010p005.fits", "sweep-010p000-015p005.fits"
LENSES = pd.DataFrame(
    [
        ("DESI-010.5000+01.0000", 10.5, 1.0, "0.4", "galaxy", "confident", "Huang et al. (2020)"),
        ("DESI-010.6000+01.0000", 10.6, 1.0, "", "galaxy", "probable", "Huang et al. (2020)"),
        ("SDSSJ1", 10.7, 1.0, "0.2", "galaxy", "confident", "Bolton et al. (2008) - arXiv:0805.1931"),
        ("DESI-200.0000+01.0000", 200.0, 1.0, "", "galaxy", "probable", "Storfer et al. (2022)"),
    ],
    columns=["name", "RA", "DEC", "zlens", "type", "grading", "ref"],
)
SPECTRA = pd.DataFrame({"name": ["SPEC-J1"], "RA": [10.6], "DEC": [1.0005], "confirmation": ["silver"]})
REVIEWED = pd.DataFrame({"name": ["J1"], "RA": [10.9], "DEC": [1.0], "category": ["ring"]})


def tiny_rows() -> NDArray:
    """Return 60 sources from RA 9.5 to 12.4, Dec 1; the ones at 10.5, 10.6 and 10.7 are lenses of LENSES."""
    ra = np.round(np.arange(9.5, 12.45, 0.05), 4)
    return sweep_rows(ra, np.full(len(ra), 1.0))


def _bricks_table(folder: Path, rows: NDArray) -> bytes:
    """Return the table of bricks of the rows of a survey; a brick lies where its first source does."""
    names, first, counts = np.unique(rows["BRICKNAME"], return_index=True, return_counts=True)
    table = bricks_of_positions(rows["RA"][first], rows["DEC"][first]).assign(brickname=names, nobjs=counts)
    path = folder / "bricks.fits"
    fitsio.write(str(path), table.to_records(index=False, column_dtypes={"brickname": "S8"}), clobber=True)
    return gzip.compress(path.read_bytes())


def survey_lake(
    campaign: Campaign,
    rows: NDArray | None = None,
    lenses: pd.DataFrame = LENSES,
    spectra: pd.DataFrame = SPECTRA,
    reviewed: pd.DataFrame = REVIEWED,
    damage: str = "",
    lacks: str = "",
) -> Lake:
    """Return a lake with a simulated survey; `damage` names a sweep file to cut in half, `lacks` one to leave out."""
    folder = new_folder()
    rows = tiny_rows() if rows is None else rows
    files: dict[str, bytes | Path] = {}
    for name, here in ((WEST, rows["RA"] < 10.0), (EAST, rows["RA"] >= 10.0)):
        content = write_sweep(folder, name, rows[here]).read_bytes()
        files[f"south/sweep/10.1/{name}"] = content[: len(content) // 2] if name == damage else content
    files["south/sweep/10.1/README.txt"] = b"not a sweep"
    files["south/survey-bricks-dr10-south.fits.gz"] = _bricks_table(folder, rows)
    lists = {"lenses": lenses, "spectroscopic": spectra, "contaminants": reviewed}
    for name, frame in lists.items():
        files[f"published_{name}.csv"] = frame.to_csv(index=False).encode()
    lake = Lake(str(new_folder()), campaign.name)
    present = {name: content for name, content in files.items() if not lacks or not name.endswith(lacks)}
    store(lake, "simulated_survey", None, files=present)
    return lake
