"""Matching by angle against astropy's other matcher and against known separations."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.sky.matching import close_pairs, groups_within, may_be_near, nearest_within, pairs_within


def test_nearest_agrees_with_match_to_catalog_sky():
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(10, 10.2, 400), rng.uniform(60, 60.1, 400)
    other_ra, other_dec = rng.uniform(10, 10.2, 500), rng.uniform(60, 60.1, 500)
    index, separation, count = nearest_within(ra, dec, other_ra, other_dec, 20.0)
    expected, angle, _ = SkyCoord(ra, dec, unit="deg").match_to_catalog_sky(SkyCoord(other_ra, other_dec, unit="deg"))
    close = angle.arcsec <= 20.0
    np.testing.assert_array_equal(index, np.where(close, expected, -1))
    np.testing.assert_allclose(separation[close], angle.arcsec[close], rtol=1e-6)
    assert ((count > 0) == close).all()


@given(st.floats(0, 359.99), st.floats(-89, 89), st.floats(0.1, 50.0))
def test_a_separation_in_declination_is_known(ra, dec, arcsec):
    other = dec + arcsec / 3600.0
    a, b, separation = pairs_within([ra], [dec], [ra], [other], arcsec * 1.01)
    assert (a.tolist(), b.tolist()) == ([0], [0])
    assert separation[0] == pytest.approx(arcsec, rel=1e-4, abs=1e-4)
    assert not len(pairs_within([ra], [dec], [ra], [other], arcsec * 0.99)[0])


def test_matching_over_the_meridian():
    index, separation, _ = nearest_within([359.9999], [0.0], [0.0001], [0.0], 1.0)
    assert index.tolist() == [0]
    assert separation[0] == pytest.approx(0.72, rel=1e-6)


def test_groups_are_chains_of_friends():
    step = 2.0 / 3600.0
    groups = groups_within([10, 10 + step, 10 + 2 * step, 10.1], [0, 0, 0, 0], 3.0)
    assert groups[0] == groups[1] == groups[2] != groups[3]


def test_nothing_matches_nothing():
    assert nearest_within([], [], [1.0], [1.0], 5.0)[0].shape == (0,)
    assert nearest_within([1.0], [1.0], [], [], 5.0)[0].tolist() == [-1]
    assert groups_within([], [], 3.0).shape == (0,)


@given(
    st.sampled_from([0.0, 0.0005, 123.4, 359.9995]),
    st.sampled_from([-90.0, -89.9999, -30.0, 0.0, 31.9, 60.0, 89.999, 90.0]),
    st.integers(0, 10_000),
)
def test_close_pairs_are_those_of_astropy(ra, dec, seed):
    rng = np.random.default_rng(seed)
    across = 30 / 3600 / max(np.cos(np.radians(dec)), 1e-3)
    many_ra = np.mod(ra + rng.uniform(-across, across, 60), 360.0)
    many_dec = np.clip(dec + rng.uniform(-30, 30, 60) / 3600, -90.0, 90.0)
    first, second, separation = close_pairs(many_ra, many_dec, 6.0)
    a, b, angle = pairs_within(many_ra, many_dec, many_ra, many_dec, 6.0)
    expected = {(i, j): value for i, j, value in zip(a.tolist(), b.tolist(), angle, strict=True) if i < j}
    found = dict(zip(zip(first.tolist(), second.tolist(), strict=True), separation, strict=True))
    assert found.keys() == expected.keys()
    assert all(found[pair] == pytest.approx(value, abs=1e-6) for pair, value in expected.items())


@given(
    st.sampled_from([0.0, 45.0, 359.9999]), st.sampled_from([-90.0, -41.8, 0.0, 41.8, 66.0, 89.99]), st.integers(0, 999)
)
def test_what_is_near_is_never_ruled_out(ra, dec, seed):
    rng = np.random.default_rng(seed)
    across = 60 / 3600 / max(np.cos(np.radians(dec)), 1e-3)
    points = (
        np.mod(ra + rng.uniform(-across, across, (2, 50)), 360),
        np.clip(dec + rng.uniform(-60, 60, (2, 50)) / 3600, -90, 90),
    )
    (ra_a, ra_b), (dec_a, dec_b) = points
    maybe = may_be_near(ra_a, dec_a, ra_b, dec_b, 11.0)
    index, _, _ = nearest_within(ra_a, dec_a, ra_b, dec_b, 11.0)
    assert maybe[index >= 0].all()
    far = may_be_near(ra_a, np.clip(-dec_a + 5.0, -90, 90), ra_b[:3], dec_b[:3], 11.0)
    assert abs(dec) < 3 or not far.all()
