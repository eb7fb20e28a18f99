"""Conversions of units against astropy, GalSim and worked examples of the survey's pages."""

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.survey import units


def test_magnitudes_agree_with_astropy():
    flux = np.array([0.01, 1.0, 37.5, 1e4])
    expected = (flux * 1e-9 * u.AB).to(u.ABmag).value
    np.testing.assert_allclose(units.flux_to_mag(flux), expected, atol=1e-9)


def test_counts_of_another_zero_point_agree_with_astropy():
    counts = np.array([-20.0, 0.0, 1.0, 1000.0])
    expected = (counts * (30.0 * u.ABmag).to(u.AB)).to(1e-9 * u.AB).value
    np.testing.assert_allclose(units.counts_to_nanomaggies(counts, 30.0), expected, rtol=1e-12)
    assert units.counts_to_nanomaggies(7.0, units.ZERO_POINT_MAG) == 7.0


def test_no_flux_is_no_magnitude_and_never_infinite():
    assert np.isnan(units.flux_to_mag([0.0, -3.0, np.nan])).all()
    assert np.isnan(units.depth_ivar_to_mag([0.0, -1.0, np.nan])).all()


@given(st.floats(5.0, 35.0))
def test_flux_and_magnitude_are_inverse(mag):
    assert units.flux_to_mag(units.mag_to_flux(mag)) == pytest.approx(mag, abs=1e-9)


@given(st.floats(15.0, 30.0))
def test_depth_and_inverse_variance_are_inverse(depth):
    assert units.depth_ivar_to_mag(units.depth_mag_to_ivar(depth)) == pytest.approx(depth, abs=1e-9)


def test_depth_is_the_five_sigma_magnitude_of_the_survey():
    # legacysurvey.org/dr10/catalogs: -2.5 [log10(5 / sqrt(PSFDEPTH)) - 9]
    psfdepth = np.array([254.0, 1000.0])
    expected = -2.5 * (np.log10(5.0 / np.sqrt(psfdepth)) - 9.0)
    np.testing.assert_allclose(units.depth_ivar_to_mag(psfdepth), expected, rtol=1e-12)


def test_half_ellipticity_is_an_axis_ratio_of_one_third():
    assert units.axis_ratio(0.5, 0.0) == pytest.approx(1.0 / 3.0)
    assert np.isnan(units.axis_ratio(0.8, 0.7))


@given(st.floats(0.02, 0.99), st.floats(0.0, 179.9))
def test_shape_agrees_with_galsim_and_returns(ratio, angle):
    import galsim

    e1, e2 = units.shape_to_ellipticity(ratio, angle)
    shear = galsim.Shear(g1=float(e1), g2=float(e2))
    assert shear.q == pytest.approx(ratio, rel=1e-9)
    assert units.axis_ratio(e1, e2) == pytest.approx(ratio, rel=1e-9)
    difference = (units.position_angle_deg(e1, e2) - angle + 90.0) % 180.0 - 90.0
    assert difference == pytest.approx(0.0, abs=1e-6)


def test_circularised_radius_is_the_radius_of_equal_area():
    assert units.circularised_radius_arcsec(2.0, 0.25) == pytest.approx(np.sqrt(2.0 * 0.5))


def test_transmission_undoes_extinction():
    transmission = units.mw_transmission(0.1, "r")
    assert units.flux_to_mag(units.dereddened_flux(10.0 * transmission, transmission)) == pytest.approx(20.0)
    assert -2.5 * np.log10(transmission) == pytest.approx(0.2165)
