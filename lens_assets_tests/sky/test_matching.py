"""Matching by angle against astropy's other matcher and against known separations."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.sky.matching import groups_within, nearest_within, pairs_within


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
