"""Area in conditions: counted from randoms laid out as the survey's, inside the footprint and without masks."""

import fitsio
import healpy
import numpy as np
import pytest

from lens_assets.selection.footprint import (
    OUTSIDE_GRID,
    RandomsError,
    condition_table,
    count_conditions,
    count_randoms,
)
from lens_assets.survey.fits_files import UnreadableFileError
from lens_assets.survey.units import depth_mag_to_ivar
from lens_assets_tests.selection.synthetic import settings_of

GRID = settings_of().grid


def write_randoms(path, psf, depth_mag, nobs=None, maskbits=None, ra=None, dec=None):
    """Write randoms with DR10's names; positions lie in one cell unless given."""
    count = len(psf)
    table = np.zeros(
        count,
        dtype=[("RELEASE", ">i2"), ("BRICKNAME", "S8"), ("RA", ">f8"), ("DEC", ">f8"), ("NOBS_G", ">i2"),
               ("NOBS_R", ">i2"), ("NOBS_Z", ">i2"), ("PSFSIZE_R", ">f4"), ("PSFDEPTH_R", ">f4"), ("MASKBITS", ">i4")],
    )  # fmt: skip
    table["RA"], table["DEC"] = (10.0, 0.0) if ra is None else (ra, dec)
    table["PSFSIZE_R"], table["PSFDEPTH_R"] = psf, depth_mag_to_ivar(np.asarray(depth_mag, np.float64))
    for band in "GRZ":
        table[f"NOBS_{band}"] = 3 if nobs is None else nobs
    table["MASKBITS"] = 0 if maskbits is None else maskbits
    fitsio.write(str(path), table, clobber=True)
    return path


def _cell(ra: float = 10.0, dec: float = 0.0) -> list[int]:
    return [int(healpy.ang2pix(128, ra, dec, nest=True, lonlat=True))]


def test_randoms_are_counted_by_condition_and_outside(tmp_path):
    path = write_randoms(tmp_path / "randoms-1-0.fits", [1.40] * 6 + [1.15] * 3 + [2.5], [24.5] * 9 + [24.5])
    counts = count_randoms(path, (GRID,), 128, _cell(), 0)[GRID.name]
    assert counts["psf1.40_depth24.50"] == 6
    assert counts["psf1.15_depth24.50"] == 3
    assert counts[OUTSIDE_GRID] == 1
    table = condition_table(GRID, counts, "footprint, randoms").set_index("condition")
    assert table["share"].sum() == pytest.approx(1.0)
    assert table.loc["psf1.40_depth24.50", "share"] == pytest.approx(0.6)
    assert table.loc[OUTSIDE_GRID, "share"] == pytest.approx(0.1)
    assert len(table) == GRID.psf_fwhm_arcsec.count * GRID.depth_mag.count + 1


def test_masked_unexposed_and_foreign_randoms_are_not_area(tmp_path):
    path = write_randoms(
        tmp_path / "r.fits", [1.4] * 5, [24.5] * 5, nobs=[3, 0, 3, 3, 3], maskbits=[0, 0, 2, 1, 0],
        ra=[10.0, 10.0, 10.0, 10.0, 200.0], dec=[0.0] * 5,
    )  # fmt: skip
    assert count_randoms(path, (GRID,), 128, _cell(), mask=2)[GRID.name].sum() == 2


def test_depth_zero_counts_as_outside():
    counts = count_conditions(GRID, [1.4, 1.4], [24.5, np.nan])
    assert (counts["psf1.40_depth24.50"], counts[OUTSIDE_GRID]) == (1, 1)


def test_the_parity_grid_leaves_out_what_is_deeper():
    parity = next(grid for grid in settings_of("dr10").grids if grid.name == "parity")
    deeper = count_conditions(parity, [1.34] * 4, [24.46, 25.05, 25.4, 24.2])
    assert deeper[OUTSIDE_GRID] == 2


def test_a_file_that_is_no_randoms_is_named(tmp_path):
    path = tmp_path / "r.fits"
    fitsio.write(str(path), np.zeros(2, dtype=[("RA", "f8"), ("DEC", "f8")]))
    with pytest.raises(RandomsError, match=r"r.fits: lacks the columns \['MASKBITS', 'PSFSIZE_R'"):
        count_randoms(path, (GRID,), 128, [0], 0)
    text = tmp_path / "r.csv"
    text.write_text("RA,DEC")
    with pytest.raises(UnreadableFileError, match="begins with"):
        count_randoms(text, (GRID,), 128, [0], 0)
