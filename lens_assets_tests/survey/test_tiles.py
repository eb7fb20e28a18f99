"""Names of sweep files, on all 1,436 of the real release."""

import healpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.survey.tiles import SweepTile, parse_sweep_name, tiles_of_pixel
from lens_assets_tests.survey.reference import reference_file
from lens_assets_tests.survey.sweep_files import sweep_name


def real_names():
    return [line.rsplit("/", 1)[1] for line in reference_file("survey/dr10_sweep_urls.txt").read_text().split()]


def test_all_real_names_are_tiles_of_five_degrees():
    tiles = [parse_sweep_name(name) for name in real_names()]
    assert len(tiles) == 1436
    assert all(tile is not None and tile.ra2 - tile.ra1 == 5 and tile.dec2 - tile.dec1 == 5 for tile in tiles)
    assert sorted(sweep_name(int(t.ra1), int(t.dec1), int(t.ra2), int(t.dec2)) for t in tiles) == sorted(real_names())


@pytest.mark.parametrize(
    "name",
    [
        "not_a_sweep_file.txt",
        "sweep-310m005-320p000.fits.sha256sum",
        "sweep-310m005-310p000.fits",
        "tractor-1054p567.fits",
    ],
)
def test_other_files_are_no_tiles(name):
    assert parse_sweep_name(name) is None


@pytest.mark.parametrize(
    "name", ["SWEEP-310M005-320P000.FITS", "sweep-310m005-320p000.FITS", "Sweep-310M005-320P000.Fits.GZ"]
)
def test_names_in_capitals_are_tiles_too(name):
    plain = parse_sweep_name("sweep-310m005-320p000.fits")
    assert parse_sweep_name(name) == SweepTile(name, plain.ra1, plain.ra2, plain.dec1, plain.dec2)
    assert parse_sweep_name(name).dec1 == -5.0


def test_tiles_are_half_open_and_wrap():
    tile = parse_sweep_name("sweep-355m005-360p000.fits")
    np.testing.assert_array_equal(
        tile.contains([355.0, 359.999, 0.0, 357.0, 357.0], [-5.0, -0.001, -1.0, 0.0, -5.1]),
        [True, True, False, False, False],
    )
    over = parse_sweep_name("sweep-355m005-005p000.fits")
    assert over.contains([359.0, 2.0, 6.0], [-1.0, -1.0, -1.0]).tolist() == [True, True, False]


def test_no_tile_that_holds_part_of_a_pixel_is_missed():
    names = real_names()
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, 4000), np.degrees(np.arcsin(rng.uniform(-1, np.sin(np.radians(35)), 4000)))
    pixels = healpy.ang2pix(4, ra, dec, nest=True, lonlat=True)
    tiles = [parse_sweep_name(name) for name in names]
    for pixel in (0, 70, 75, 130):
        found = {tile.name for tile in tiles_of_pixel(names, 4, pixel, 60.0)}
        inside = pixels == pixel
        needed = {tile.name for tile in tiles if tile.contains(ra[inside], dec[inside]).any()}
        assert needed <= found
        assert len(found) < 60  # 215 deg2 need about 9 whole tiles and those around them


@given(st.floats(0, 359.999), st.floats(-60, 60))
def test_the_tile_of_a_position_is_among_those_of_its_pixel(ra, dec):
    corner_ra, corner_dec = int(ra // 5 * 5), int(dec // 5 * 5)
    name = sweep_name(corner_ra, corner_dec, corner_ra + 5, corner_dec + 5)
    pixel = int(healpy.ang2pix(4, ra, dec, nest=True, lonlat=True))
    assert tiles_of_pixel([name], 4, pixel, 0.0)[0].contains(ra, dec)
