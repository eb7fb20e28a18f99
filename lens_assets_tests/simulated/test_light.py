"""Fourier drawing against GalSim drawing the same profile in its own way."""

from __future__ import annotations

import galsim
import numpy as np
import pytest

from lens_assets.simulated import light
from lens_assets.survey.units import PIXEL_SCALE_ARCSEC


@pytest.mark.parametrize(("index", "radius", "axis_ratio"), [(1.0, 0.5, 1.0), (4.0, 1.2, 0.6), (2.0, 2.0, 0.3)])
def test_a_galaxy_equals_galsims_drawing(index: float, radius: float, axis_ratio: float) -> None:
    galaxy = galsim.Sersic(n=index, half_light_radius=radius * np.sqrt(axis_ratio))
    galaxy = galaxy.shear(q=axis_ratio, beta=(30.0 + 90.0) * galsim.degrees)
    seen = galsim.Convolve(galaxy, galsim.Moffat(beta=3.5, fwhm=1.3))
    offset = galsim.PositionD(0.5 + 0.3, 0.5 - 0.2)  # GalSim centres even images between pixels
    expected = seen.drawImage(nx=256, ny=256, scale=PIXEL_SCALE_ARCSEC, method="no_pixel", offset=offset).array
    spectrum = light.sersic_spectrum(256, index, radius, axis_ratio, 30.0)
    drawn = light.draw(spectrum, light.psf_transfer(256, 1.3, 3.5), 0.3, -0.2)
    assert np.abs(drawn - expected).max() < 2e-3 * expected.max()
    assert drawn.sum() == pytest.approx(1.0, abs=1e-6)


def test_a_flux_map_lands_where_a_profile_does_and_keeps_its_flux() -> None:
    oversampling, pixels = 6, 64
    count = pixels * oversampling
    axis = (np.arange(count) - (count - 1) / 2) * PIXEL_SCALE_ARCSEC / oversampling
    sigma = 0.5 / np.sqrt(2.0 * np.log(2.0))
    fine = np.exp(-0.5 * (axis[None, :] ** 2 + axis[:, None] ** 2) / sigma**2)
    transfer = light.psf_transfer(pixels, 1.2, 3.5)
    mapped = light.draw(light.grid_spectrum(fine / fine.sum(), oversampling), transfer, 0.4, 0.1)
    profile = light.draw(light.sersic_spectrum(pixels, 0.5, 0.5, 1.0, 0.0), transfer, 0.4, 0.1)
    assert mapped.sum() == pytest.approx(1.0, abs=1e-9)
    assert np.abs(mapped - profile).max() < 1e-3 * profile.max()


@pytest.mark.parametrize("fwhm", [0.9, 1.3, 2.0])
def test_a_star_has_the_width_that_psfsize_promises(fwhm: float) -> None:
    pixels = 64
    star = light.draw(np.ones((pixels, pixels // 2 + 1)), light.psf_transfer(pixels, fwhm, 3.5), 0.0, 0.0)
    expected = galsim.Moffat(beta=3.5, fwhm=fwhm)
    half = pixels // 2
    profile = star[half, half:] / star[half, half]
    radius = np.arange(len(profile)) * PIXEL_SCALE_ARCSEC
    for r, value in zip(radius[:6], profile[:6], strict=True):
        assert value == pytest.approx(expected.xValue(r, 0) / expected.xValue(0, 0), abs=3e-3)


def test_psf_norm_of_a_wide_gaussian_like_psf() -> None:
    """sum p^2 = integral p^2 times the pixel area, for a PSF that the pixels resolve."""
    fwhm, beta = 1.6, 4.5
    profile = galsim.Moffat(beta=beta, fwhm=fwhm)
    radius = np.linspace(0.0, 40.0, 400_001)
    values = np.array([profile.xValue(float(r), 0.0) for r in radius[::200]])
    integral = np.trapezoid(2 * np.pi * radius[::200] * values**2, radius[::200])
    assert light.psf_norm(fwhm, beta) == pytest.approx(np.sqrt(integral) * PIXEL_SCALE_ARCSEC, rel=2e-3)


def test_a_galaxy_is_measured_worse_than_a_star() -> None:
    assert light.psf_norm(1.3, 3.5, 0.45) < light.psf_norm(1.3, 3.5)


def test_stamps_are_cut_at_the_edges_of_the_image() -> None:
    image = np.zeros((10, 10))
    light.add_stamp(image, np.ones((4, 4)), 0, 9)
    assert image.sum() == 2 * 3
    light.add_stamp(image, np.ones((4, 4)), -20, 5)
    assert image.sum() == 6
