"""The brute-force ray shooter against lenstronomy and against what is known analytically."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lenstronomy.LensModel.lens_model import LensModel as LenstronomyLens
from lenstronomy.Util.param_util import phi_q2_ellipticity

from lens_assets.simulated.ray_shooting import (
    Blob,
    LensModel,
    deflection,
    lensed_fractions,
    ray_grid,
    sersic_brightness,
)

LENSES = st.builds(
    LensModel,
    theta_e_arcsec=st.floats(0.4, 3.0),
    axis_ratio=st.floats(0.4, 0.99),
    angle_deg=st.floats(0.0, 180.0),
    shear_g1=st.floats(-0.1, 0.1),
    shear_g2=st.floats(-0.1, 0.1),
    x_arcsec=st.floats(-0.2, 0.2),
    y_arcsec=st.floats(-0.2, 0.2),
)


def _lenstronomy_arguments(lens: LensModel) -> list[dict[str, float]]:
    e1, e2 = phi_q2_ellipticity(np.radians(lens.angle_deg + 90.0), lens.axis_ratio)
    centre = {"center_x": lens.x_arcsec, "center_y": lens.y_arcsec}
    shear = {"gamma1": lens.shear_g1, "gamma2": lens.shear_g2, "ra_0": lens.x_arcsec, "dec_0": lens.y_arcsec}
    return [{"theta_E": lens.theta_e_arcsec, "e1": float(e1), "e2": float(e2), **centre}, shear]


@settings(deadline=None, max_examples=40)
@given(lens=LENSES)
def test_deflection_agrees_with_lenstronomy(lens: LensModel) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-5.0, 5.0, (2, 200))
    alpha = deflection(x + 1j * y, lens)
    reference = LenstronomyLens(["SIE", "SHEAR"]).alpha(x, y, _lenstronomy_arguments(lens))
    # lenstronomy softens the centre by 1e-10 and treats q -> 1 separately.
    np.testing.assert_allclose(alpha.real, reference[0], atol=2e-5 * lens.theta_e_arcsec)
    np.testing.assert_allclose(alpha.imag, reference[1], atol=2e-5 * lens.theta_e_arcsec)


@pytest.mark.parametrize("index", [0.5, 1.0, 2.5])
def test_sersic_agrees_with_galsim_and_has_unit_flux(index: float) -> None:
    blob = Blob(1.0, 0.1, -0.2, 0.4, index, 0.6, 30.0)
    grid = ray_grid(200, 0.1, 2)
    mine = sersic_brightness(grid, blob)
    assert mine.sum() * 0.05**2 == pytest.approx(1.0, abs=5e-3)
    profile = galsim.Sersic(n=index, half_light_radius=0.4).shear(q=0.6, beta=120.0 * galsim.degrees)
    profile = profile.shift(0.1, -0.2)
    for row, column in ((200, 200), (190, 207), (180, 230), (215, 195)):
        place = galsim.PositionD(grid[row, column].real, grid[row, column].imag)
        assert mine[row, column] == pytest.approx(profile.xValue(place), rel=1e-4)


def test_image_agrees_with_lenstronomy() -> None:
    lens = LensModel(1.3, 0.7, 25.0, 0.03, -0.02)
    blob = Blob(1.0, 0.15, 0.1, 0.25, 1.0, 0.8, 70.0)
    mine = lensed_fractions(lens, [blob], 40, 0.262, 4)[0]
    rays = ray_grid(40, 0.262, 4)
    model = LenstronomyLens(["SIE", "SHEAR"])
    source_x, source_y = model.ray_shooting(rays.real.ravel(), rays.imag.ravel(), _lenstronomy_arguments(lens))
    expected = sersic_brightness((source_x + 1j * source_y).reshape(rays.shape), blob) * (0.262 / 4) ** 2
    np.testing.assert_allclose(mine, expected, atol=2e-4 * expected.max())


def test_magnification_of_a_small_source_behind_a_singular_isothermal_sphere() -> None:
    """mu_total = 2 / (beta / theta_E) for beta < theta_E (Narayan & Bartelmann 1996, sec. 3)."""
    for offset in (0.3, 0.5, 0.8):
        lens = LensModel(1.2, 1.0, 0.0, 0.0, 0.0)
        blob = Blob(1.0, offset * 1.2, 0.0, 0.05, 0.5, 1.0, 0.0)
        total = lensed_fractions(lens, [blob], 40, 0.262, 16).sum()
        assert total == pytest.approx(2.0 / offset, rel=0.01)


def test_flux_is_conserved_without_a_lens() -> None:
    lens = LensModel(1e-9, 0.8, 0.0, 0.0, 0.0)
    blobs = [Blob(0.7, 0.1, 0.0, 0.3, 1.0, 0.6, 10.0), Blob(0.3, -0.4, 0.2, 0.1, 0.5, 1.0, 0.0)]
    fractions = lensed_fractions(lens, blobs, 64, 0.262, 6).sum(axis=(1, 2))
    np.testing.assert_allclose(fractions, [0.7, 0.3], rtol=2e-3)


def test_position_angles_run_from_north_to_east() -> None:
    """A source elongated at 45 deg East of North points to the upper left: x grows West, y North."""
    grid = ray_grid(40, 0.1, 1)
    light = sersic_brightness(grid, Blob(1.0, 0.0, 0.0, 0.8, 1.0, 0.3, 45.0))
    assert (light * grid.real * grid.imag).sum() < 0
