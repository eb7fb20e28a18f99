from __future__ import annotations

import galsim
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photutils.isophote import Ellipse, EllipseGeometry

from lens_assets.imaging.host_subtraction import (
    elliptical_radius_px,
    measure_ellipse,
    pixel_angle_deg,
    subtract_elliptical_profile,
)
from lens_assets_tests.imaging.scenes import arc, host, noise


@settings(max_examples=30, deadline=None)
@given(q=st.floats(0.4, 1.0), angle=st.floats(0.0, 180.0))
def test_a_noise_free_host_is_removed_to_a_few_per_cent_of_its_light(q, angle):
    light = host(q, angle)[None]
    left = subtract_elliptical_profile(light, q, angle)
    assert np.abs(left).sum() < 0.05 * light.sum()


def test_an_arc_survives_and_the_host_around_it_does_not():
    scene = (host() + arc(21.5))[None]
    left = subtract_elliptical_profile(scene, 0.7, 30.0)[0, 1]
    shape = arc(21.5)[1]
    on_arc = shape > 0.3 * shape.max()
    assert left[on_arc].sum() == pytest.approx(shape[on_arc].sum(), rel=0.25)
    assert np.abs(left[~(shape > 0.01 * shape.max())]).sum() < 0.05 * host()[1].sum()


def test_medians_of_rings_equal_a_plain_loop():
    stamps = (noise(2, seed=4, pixels=31) + host(pixels=31)).astype("f4")
    stamps[0, 1, 3:9, 3:9] = 0.0
    radius = elliptical_radius_px(31, 31, np.array([0.6, 0.9]), np.array([20.0, 70.0]))
    left = subtract_elliptical_profile(stamps, np.array([0.6, 0.9]), np.array([20.0, 70.0]))
    for n in range(2):
        ring = np.rint(radius[n]).astype(int)
        for band in range(3):
            plane = stamps[n, band]
            rings = range(ring.max() + 1)
            medians = [np.median(plane[(ring == k) & (plane != 0)]) if ((ring == k) & (plane != 0)).any() else np.nan
                       for k in rings]  # fmt: skip
            medians = [value if np.isfinite(value) else medians[k - 1] for k, value in enumerate(medians)]
            expected = np.where(plane != 0, plane - np.interp(radius[n], rings, medians), 0.0)
            np.testing.assert_allclose(left[n, band], expected, atol=2e-6)


def test_each_stamp_is_treated_alone():
    stamps = noise(70, seed=6, pixels=33) + host(pixels=33)
    together = subtract_elliptical_profile(stamps, 0.7, 30.0)
    for n in (0, 63, 64, 69):
        assert np.array_equal(subtract_elliptical_profile(stamps[n : n + 1], 0.7, 30.0)[0], together[n])


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 150.0])
def test_the_measured_ellipse_is_galsims(angle):
    ratio = 0.6
    galaxy = galsim.Gaussian(sigma=3.0, flux=1.0).shear(q=ratio, beta=angle * galsim.degrees)
    image = galaxy.drawImage(nx=101, ny=101, scale=1.0, method="no_pixel").array
    q, phi = measure_ellipse(np.repeat(image[None, None], 3, axis=1))
    assert q[0] == pytest.approx(ratio, abs=0.02)
    assert (phi[0] - angle + 90.0) % 180.0 - 90.0 == pytest.approx(0.0, abs=1.0)


def test_the_residual_is_no_worse_than_photutils_isophotes():
    light = host(0.7, 30.0)[1]
    geometry = EllipseGeometry(x0=50, y0=50, sma=8, eps=0.3, pa=np.deg2rad(30.0))
    isophotes = Ellipse(light, geometry=geometry).fit_image(maxsma=25, minsma=2, step=0.3)
    ours = elliptical_radius_px(101, 101, np.array([0.7]), np.array([30.0]))[0]
    profile = light - subtract_elliptical_profile(np.repeat(light[None, None], 3, 1), 0.7, 30.0)[0, 1]
    for sma, intensity in zip(isophotes.sma, isophotes.intens, strict=True):
        near = np.abs(ours - sma * np.sqrt(0.7)) < 0.5  # photutils counts along the major axis
        assert profile[near].mean() == pytest.approx(intensity, rel=0.1)


def test_an_object_without_light_is_round():
    q, phi = measure_ellipse(np.zeros((2, 3, 41, 41)))
    assert np.array_equal(q, [1.0, 1.0]) and np.array_equal(phi, [0.0, 0.0])


def test_position_angles_turn_from_north_through_east():
    # North up and east left: a galaxy along north-south is along +y, and one at 90 deg (east) along the x axis.
    assert pixel_angle_deg(0.0) == 90.0 and pixel_angle_deg(90.0) == 180.0


@pytest.mark.parametrize(("ratio", "quantile"), [(0.0, 0.5), (1.5, 0.5), (0.5, 0.0), (0.5, 1.0)])
def test_impossible_shapes_are_refused(ratio, quantile):
    with pytest.raises(ValueError, match="axis_ratio|quantile"):
        subtract_elliptical_profile(np.ones((1, 3, 11, 11)), ratio, 0.0, quantile)
