"""The brick grid equals the survey's; projection equals astropy's."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.simulated import bricks
from lens_assets.simulated.bricks import TangentPlane
from lens_assets.survey.units import PIXEL_SCALE_ARCSEC


def test_the_grid_has_as_many_bricks_as_the_survey() -> None:
    assert bricks.count_bricks() == 662_174


def test_a_brick_equals_its_row_of_the_survey_bricks_table() -> None:
    # The row of survey-bricks.fits.gz for 0959p805.
    table = bricks.bricks_between(80.4, 80.6).set_index("brickname")
    row = table.loc["0959p805"]
    assert (row["brickid"], row["brickq"], row["brickrow"], row["brickcol"]) == (657438, 0, 682, 64)
    assert row[["ra", "dec", "ra1", "ra2", "dec1", "dec2"]].tolist() == pytest.approx(
        [95.9504132231405, 80.5, 95.20661157024796, 96.69421487603307, 80.375, 80.625], abs=1e-10
    )


def test_documented_names() -> None:
    assert "1126p222" in set(bricks.bricks_between(22.2, 22.3)["brickname"])
    assert bricks.sweep_block_name(165, -10) == "sweep-165m010-170m005.fits"
    assert bricks.sweep_block_name(355, 0) == "sweep-355p000-360p005.fits"


def test_names_and_ids_are_unique() -> None:
    table = bricks.bricks_between(-18.0, 32.0)
    assert table["brickname"].is_unique
    assert table["brickid"].is_unique


@given(
    ra=st.floats(0.0, 359.99),
    dec=st.floats(-60.0, 60.0),
    x=st.floats(-50.0, 800.0),
    y=st.floats(-50.0, 800.0),
)
def test_projection_agrees_with_astropy(ra: float, dec: float, x: float, y: float) -> None:
    plane = TangentPlane(ra, dec, 700)
    header = fits.Header()
    scale = PIXEL_SCALE_ARCSEC / 3600.0
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CRPIX1"] = header["CRPIX2"] = plane.reference_pixel + 1
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -scale, 0.0, 0.0, scale
    expected_ra, expected_dec = WCS(header).all_pix2world(x, y, 0)
    got_ra, got_dec = plane.to_sky(np.array([x]), np.array([y]))
    difference = (got_ra[0] - expected_ra + 180.0) % 360.0 - 180.0
    assert abs(difference) < 1e-9
    assert got_dec[0] == pytest.approx(float(expected_dec), abs=1e-9)


def test_a_source_near_a_block_edge_is_in_both_files() -> None:
    members = bricks.sweep_block_membership(np.array([12.0, 12.0, 14.999]), np.array([4.999, 2.0, 2.0]), 0.01)
    assert members["sweep-010p000-015p005.fits"].tolist() == [0, 1, 2]
    assert members["sweep-010p005-015p010.fits"].tolist() == [0]
    assert members["sweep-015p000-020p005.fits"].tolist() == [2]


@given(ra=st.floats(0.0, 359.999), dec=st.floats(-20.0, 34.0))
def test_without_overlap_every_source_is_in_one_file(ra: float, dec: float) -> None:
    members = bricks.sweep_block_membership(np.array([ra]), np.array([dec]), 0.0)
    assert [rows.tolist() for rows in members.values()] == [[0]]
