"""Pixels, partitions and margins against astropy-healpix and brute force."""

import healpy
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy_healpix import HEALPix
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.sky import healpix

RA, DEC = st.floats(0, 359.9999), st.floats(-90, 90)


@given(st.sampled_from([1, 4, 64, 128]), RA, DEC)
def test_pixels_agree_with_astropy_healpix(nside, ra, dec):
    other = HEALPix(nside, order="nested").lonlat_to_healpix(ra * u.deg, dec * u.deg)
    centre_ra, centre_dec = healpix.pixel_centres(nside, healpix.pixel_of(nside, ra, dec))
    mine = healpix.pixel_of(nside, ra, dec)[0]
    if mine != other:  # on an edge the two may round to different sides
        near = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(centre_ra, centre_dec, unit="deg"))
        assert near < 1.6 * HEALPix(nside).pixel_resolution
        assert other in healpy.get_all_neighbours(nside, mine, nest=True)


@given(RA, DEC)
def test_a_coarse_pixel_holds_its_fine_ones(ra, dec):
    fine = healpix.pixel_of(128, ra, dec)
    coarse = healpix.pixel_of(4, ra, dec)
    assert healpix.coarser(fine, 128, 4) == coarse
    inside = 32**2
    assert coarse[0] * inside <= fine[0] < (coarse[0] + 1) * inside


def test_what_is_not_on_the_sky_has_no_pixel():
    assert healpix.pixel_of(4, [np.nan, 10.0, 10.0], [0.0, np.inf, 91.0]).tolist() == [-1, -1, -1]
    assert healpix.partition_keys_of(4, [-1, 7]).tolist() == ["", "hp04-007"]


def test_keys():
    assert healpix.parse_partition_key(healpix.partition_key(4, 64)) == (4, 64)
    assert healpix.parse_partition_key("hp16-3071") == (16, 3071)
    with pytest.raises(ValueError, match="hp04-064"):
        healpix.parse_partition_key("64")


@pytest.mark.parametrize("pixel", [0, 70, 113, 191])
@pytest.mark.parametrize("margin_arcsec", [15.0, 60.0, 600.0])
def test_the_margin_is_exact_within_one_per_cent(pixel, margin_arcsec):
    """Brute force: distances to a boundary sampled every arcsecond of the nearest stretch."""
    rng = np.random.default_rng(int(pixel + margin_arcsec))
    edge = healpy.boundaries(4, pixel, step=400, nest=True).T
    picked = edge[rng.integers(0, len(edge), 300)]
    scatter = rng.normal(0, np.radians(margin_arcsec / 3600.0), picked.shape)
    points = picked + scatter
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    ra, dec = np.degrees(np.arctan2(points[:, 1], points[:, 0])) % 360, np.degrees(np.arcsin(points[:, 2]))
    fine = healpy.boundaries(4, pixel, step=60_000, nest=True).T
    chord = np.array([np.sqrt(((fine - point) ** 2).sum(axis=1).min()) for point in points[:60]])
    distance = np.degrees(2 * np.arcsin(chord / 2)) * 3600
    outside = healpix.pixel_of(4, ra, dec)[:60] != pixel
    found = healpix.within_margin(4, pixel, ra, dec, margin_arcsec)[:60]
    assert found[outside & (distance < 0.99 * margin_arcsec)].all()
    assert not found[distance > 1.01 * margin_arcsec].any()
    assert not found[~outside].any()


@given(st.floats(0, 355), st.floats(-85, 80))
def test_a_box_touches_the_pixels_of_its_points(ra1, dec1):
    rng = np.random.default_rng(1)
    ra, dec = ra1 + rng.uniform(0, 5, 200), dec1 + rng.uniform(0, 5, 200)
    found = healpix.pixels_of_box(4, ra1, ra1 + 5, dec1, dec1 + 5)
    assert set(healpix.pixel_of(4, ra % 360, dec).tolist()) <= found


def test_a_box_over_the_meridian():
    found = healpix.pixels_of_box(4, 355.0, 5.0, -5.0, 5.0)
    assert found == healpix.pixels_of_box(4, 355.0, 365.0, -5.0, 5.0)
    assert int(healpix.pixel_of(4, 0.0, 0.0)[0]) in found
    assert int(healpix.pixel_of(4, 180.0, 0.0)[0]) not in found
