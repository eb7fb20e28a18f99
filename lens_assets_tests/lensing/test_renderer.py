"""Rendered stamps against GalSim, lenstronomy and a converged reference, and the symmetries they must keep."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from lenstronomy.Util.param_util import phi_q2_ellipticity
from scipy.signal import fftconvolve
from scipy.special import gamma, kv

from lens_assets.campaign.stages.injection import MOFFAT_BETAS
from lens_assets.lensing.canvas import Canvas
from lens_assets.lensing.geometry import angle_from_x_rad, pixel_centres_arcsec
from lens_assets.lensing.light import light_constants
from lens_assets.lensing.mass import mass_constants
from lens_assets.lensing.psf import MOFFAT_TRANSFORM_POLYNOMIALS, moffat_transfer
from lens_assets.lensing.rays import Profiles, shoot

SIZE, SCALE = 101, 0.262
LENS = {"theta_e_arcsec": 1.5, "axis_ratio": 0.7, "angle_deg": 40.0, "shear_g1": 0.03, "shear_g2": -0.02,
        "x_arcsec": 0.05, "y_arcsec": -0.03}  # fmt: skip
SOURCE = {"x_arcsec": 0.25, "y_arcsec": 0.1, "half_light_radius_arcsec": 0.25, "sersic_index": 1.0,
          "axis_ratio": 0.6, "angle_deg": 70.0}  # fmt: skip


def render(lens, source, fwhm=(1.2,), beta=3.5, tolerance=3e-5, dtype=torch.float64, flux=1.0, pixel_response=False):
    mass = mass_constants(**{key: [value] for key, value in lens.items()}, dtype=dtype)
    light = light_constants(**{key: [value] for key, value in source.items()}, flux=[flux], dtype=dtype)
    canvas = Canvas(SIZE, SCALE, dtype, pixel_response)
    grid = canvas.deposit(shoot(Profiles(mass, light, torch.zeros(1, dtype=torch.long)), SIZE, SCALE, tolerance), 1)
    return canvas.convolve(grid, torch.tensor([list(fwhm)], dtype=dtype), beta)[0].numpy(), float(grid.sum())


def unlensed(source, **more):
    return render({**LENS, "theta_e_arcsec": 1e-10, "shear_g1": 0.0, "shear_g2": 0.0}, source, **more)


@pytest.mark.parametrize(("index", "radius"), [(0.5, 0.1), (1.0, 0.3), (2.5, 0.2), (4.0, 0.4)])
@pytest.mark.parametrize("pixel_response", [False, True])
def test_an_unlensed_source_agrees_with_galsim(index, radius, pixel_response):
    source = {**SOURCE, "half_light_radius_arcsec": radius, "sersic_index": index}
    mine, _ = unlensed(source, tolerance=1e-6, pixel_response=pixel_response)
    fine = galsim.GSParams(folding_threshold=1e-4, kvalue_accuracy=1e-7, maxk_threshold=1e-5, maximum_fft_size=32768)
    profile = galsim.Sersic(index, half_light_radius=radius, gsparams=fine)
    profile = profile.shear(q=0.6, beta=float(angle_from_x_rad(70.0)) * galsim.radians).shift(0.25, 0.1)
    convolved = galsim.Convolve(profile, galsim.Moffat(3.5, fwhm=1.2, gsparams=fine), gsparams=fine)
    method = "fft" if pixel_response else "no_pixel"
    theirs = convolved.drawImage(nx=SIZE, ny=SIZE, scale=SCALE, method=method).array
    assert np.abs(mine[0] - theirs).max() < 6e-4 * theirs.max()
    assert mine[0].sum() == pytest.approx(theirs.sum(), rel=5e-4)


def test_a_lensed_source_agrees_with_lenstronomy_where_that_has_converged():
    rays = 11
    axis = ((np.arange(SIZE * rays) + 0.5) / rays - SIZE / 2) * SCALE
    x, y = np.meshgrid(axis, axis)
    lens_e = phi_q2_ellipticity(float(angle_from_x_rad(LENS["angle_deg"])), LENS["axis_ratio"])
    source_e = phi_q2_ellipticity(float(angle_from_x_rad(SOURCE["angle_deg"])), SOURCE["axis_ratio"])
    centre = {"center_x": LENS["x_arcsec"], "center_y": LENS["y_arcsec"]}
    beta_x, beta_y = LensModel(["SIE", "SHEAR"]).ray_shooting(
        x.ravel(), y.ravel(),
        [{"theta_E": 1.5, "e1": lens_e[0], "e2": lens_e[1], **centre},
         {"gamma1": 0.03, "gamma2": -0.02, "ra_0": centre["center_x"], "dec_0": centre["center_y"]}],
    )  # fmt: skip
    light = LightModel(["SERSIC_ELLIPSE"])
    arguments = [{"amp": 1.0, "R_sersic": 0.25, "n_sersic": 1.0, "e1": source_e[0], "e2": source_e[1],
                  "center_x": 0.25, "center_y": 0.1}]  # fmt: skip
    brightness = light.surface_brightness(beta_x, beta_y, arguments).reshape(x.shape)
    # Their b_n is approximate, so their amplitude belongs to another total: normalise by the exact profile's.
    amplitude = float(light_constants([0.0], [0.0], [0.25], [1.0], [1.0], [0.0]).brightness_at_half_light)
    fine = brightness * amplitude * (SCALE / rays) ** 2
    reach = np.arange(-27 * rays, 27 * rays + 1) * SCALE / rays
    alpha = 1.2 / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
    kernel = 2.5 / (np.pi * alpha**2) * (1 + (reach[:, None] ** 2 + reach**2) / alpha**2) ** -3.5 * SCALE**2
    middle = slice(rays // 2, None, rays)
    theirs = fftconvolve(fine, kernel, mode="same")[middle, middle]
    mine, flux = render(LENS, SOURCE)
    assert flux == pytest.approx(fine.sum(), rel=1e-3)
    assert np.abs(mine[0] - theirs).max() < 0.01 * theirs.max()


@pytest.mark.parametrize(("radius", "index"), [(0.05, 4.0), (0.05, 1.0), (0.2, 2.5), (0.5, 4.0)])
@pytest.mark.parametrize("theta_e", [0.5, 3.0])
def test_single_precision_at_working_tolerance_is_within_two_thousandths_of_a_converged_reference(
    radius, index, theta_e
):
    lens = {**LENS, "theta_e_arcsec": theta_e}
    source = {**SOURCE, "half_light_radius_arcsec": radius, "sersic_index": index}
    reference, reference_flux = render(lens, source, tolerance=1e-7)
    working, flux = render(lens, source, tolerance=3e-5, dtype=torch.float32)
    assert flux == pytest.approx(reference_flux, rel=1e-3)
    assert np.abs(working - reference).max() < 2e-3 * reference.max()


def test_the_moffat_transform_is_the_bessel_form_and_its_table_covers_the_settings():
    assert set(MOFFAT_TRANSFORM_POLYNOMIALS) == set(MOFFAT_BETAS)
    k = np.linspace(0.01, 20, 60)
    for beta in MOFFAT_BETAS:
        nu = beta - 1
        u = k * 1.1 / (2 * np.sqrt(2 ** (1 / beta) - 1))
        expected = 2 ** (1 - nu) / gamma(nu) * u**nu * kv(nu, u)
        mine = moffat_transfer(torch.as_tensor(k), torch.tensor(1.1, dtype=torch.float64), beta)
        assert np.allclose(mine.numpy(), expected, rtol=1e-12)
        assert float(moffat_transfer(torch.zeros(1), torch.tensor(1.1), beta)) == 1.0


def test_a_point_source_has_the_requested_width_in_every_band():
    widths = (1.0, 1.4, 1.9)
    stamp, _ = unlensed(
        {**SOURCE, "x_arcsec": 0.0, "y_arcsec": 0.0, "half_light_radius_arcsec": 0.02, "axis_ratio": 1.0}, fwhm=widths
    )
    axis = pixel_centres_arcsec(SIZE, SCALE)
    for plane, width in zip(stamp, widths, strict=True):
        profile = plane[SIZE // 2, SIZE // 2 :] / plane.max()
        assert 2 * np.interp(-0.5, -profile, axis[SIZE // 2 :]) == pytest.approx(width, rel=0.03)


def test_surface_brightness_is_conserved_so_magnification_of_a_point_in_a_sphere_is_two_over_offset():
    lens = {**LENS, "axis_ratio": 1.0, "shear_g1": 0.0, "shear_g2": 0.0, "x_arcsec": 0.0, "y_arcsec": 0.0}
    source = {**SOURCE, "x_arcsec": 0.5, "y_arcsec": 0.0, "half_light_radius_arcsec": 0.02, "axis_ratio": 1.0}
    _, magnification = render(lens, source, tolerance=1e-6)
    assert magnification == pytest.approx(2 * 1.5 / 0.5, rel=2e-3)


@settings(max_examples=8, deadline=None)
@given(flux=st.floats(0.1, 50.0))
def test_pixels_scale_with_the_flux(flux):
    one, _ = render(LENS, SOURCE)
    many, _ = render(LENS, SOURCE, flux=flux)
    assert np.allclose(many, flux * one, rtol=0, atol=2e-3 * flux * one.max())


def test_a_quarter_turn_of_everything_turns_the_stamp():
    before, _ = render(LENS, SOURCE, tolerance=1e-6)

    def turned(item):
        return {
            **item,
            "x_arcsec": -item["y_arcsec"],
            "y_arcsec": item["x_arcsec"],
            "angle_deg": item["angle_deg"] + 90,
        }

    after, _ = render({**turned(LENS), "shear_g1": -0.03, "shear_g2": 0.02}, turned(SOURCE), tolerance=1e-6)
    # +x to +y is counter-clockwise: rows grow with y, so the array turns from columns to rows.
    assert np.allclose(after[0], np.rot90(before[0], -1), rtol=0, atol=2e-4 * before.max())


def test_mirroring_everything_mirrors_the_stamp():
    before, _ = render(LENS, SOURCE, tolerance=1e-6)

    def mirrored(item):
        return {**item, "x_arcsec": -item["x_arcsec"], "angle_deg": -item["angle_deg"]}

    after, _ = render({**mirrored(LENS), "shear_g2": 0.02}, mirrored(SOURCE), tolerance=1e-6)
    assert np.allclose(after[0], before[0][:, ::-1], rtol=0, atol=2e-4 * before.max())


def test_light_of_two_profiles_on_one_stamp_adds():
    first = {key: [value] for key, value in SOURCE.items()}
    second = {**first, "x_arcsec": [-0.2], "sersic_index": [2.0]}
    mass = mass_constants(**{key: [value] * 2 for key, value in LENS.items()})
    both = light_constants(**{key: first[key] + second[key] for key in first}, flux=[0.7, 0.3])
    canvas = Canvas(SIZE, SCALE, torch.float64)
    grid = canvas.deposit(shoot(Profiles(mass, both, torch.zeros(2, dtype=torch.long)), SIZE, SCALE, 3e-5), 1)
    together = canvas.convolve(grid, torch.tensor([[1.2]], dtype=torch.float64), 3.5)[0, 0].numpy()
    alone = [
        render(LENS, {key: value[0] for key, value in item.items()}, flux=flux)[0][0]
        for item, flux in ((first, 0.7), (second, 0.3))
    ]
    assert np.allclose(together, alone[0] + alone[1], rtol=0, atol=1e-3 * together.max())
