"""Deflections against lenstronomy and against known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.Util.param_util import phi_q2_ellipticity

from lens_assets.lensing.geometry import angle_from_x_rad
from lens_assets.lensing.mass import deflection, mass_constants


def ours(x, y, theta_e=1.3, q=0.7, angle_deg=25.0, g1=0.0, g2=0.0, centre=(0.1, -0.2)):
    mass = mass_constants([theta_e], [q], [angle_deg], [g1], [g2], [centre[0]], [centre[1]])
    return [part.numpy() for part in deflection(torch.as_tensor(x), torch.as_tensor(y), mass)]


def points(count=400, seed=1):
    stream = np.random.default_rng(seed)
    return stream.uniform(-6, 6, count), stream.uniform(-6, 6, count)


@pytest.mark.parametrize("q", [0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("shear", [(0.0, 0.0), (0.05, -0.03)])
def test_deflections_agree_with_lenstronomy_to_one_in_a_million(q, shear):
    x, y = points()
    e1, e2 = phi_q2_ellipticity(float(angle_from_x_rad(25.0)), q)
    theirs = LensModel(["SIE", "SHEAR"]).alpha(
        x,
        y,
        [
            {"theta_E": 1.3, "e1": e1, "e2": e2, "center_x": 0.1, "center_y": -0.2},
            {"gamma1": shear[0], "gamma2": shear[1], "ra_0": 0.1, "dec_0": -0.2},
        ],
    )
    mine = ours(x, y, q=q, g1=shear[0], g2=shear[1])
    size = np.hypot(*theirs)
    assert np.max(np.abs(mine[0] - theirs[0]) / size) < 1e-6
    assert np.max(np.abs(mine[1] - theirs[1]) / size) < 1e-6


def test_a_round_lens_deflects_by_its_einstein_radius_towards_the_centre():
    x, y = points()
    alpha_x, alpha_y, two_kappa = ours(x, y, q=1.0, centre=(0.0, 0.0))
    radius = np.hypot(x, y)
    assert np.allclose(alpha_x, 1.3 * x / radius, rtol=1e-6, atol=1e-6)
    assert np.allclose(alpha_y, 1.3 * y / radius, rtol=1e-6, atol=1e-6)
    assert np.allclose(two_kappa, 1.3 / radius, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("q", [0.3, 0.999999, 1.0])
def test_a_ray_through_the_centre_is_finite(q, dtype):
    mass = mass_constants([1.0], [q], [0.0], [0.01], [0.0], [0.0], [0.0], dtype)
    zero = torch.zeros(1, dtype=dtype)
    assert all(bool(torch.isfinite(part).all()) for part in deflection(zero, zero, mass))


def test_kappa_is_one_half_inside_an_ellipse_of_area_pi_theta_e_squared():
    axis = (np.arange(1200) - 599.5) * 0.005
    x, y = np.meshgrid(axis, axis)
    for q in (0.4, 0.8, 1.0):
        _, _, two_kappa = ours(x.ravel(), y.ravel(), q=q, centre=(0.0, 0.0), theta_e=1.1)
        assert np.count_nonzero(two_kappa > 1.0) * 0.005**2 == pytest.approx(np.pi * 1.1**2, rel=2e-3)


def test_the_divergence_of_the_deflection_is_twice_kappa():
    x, y = points(50)
    step = 1e-5
    divergence = (ours(x + step, y)[0] - ours(x - step, y)[0] + ours(x, y + step)[1] - ours(x, y - step)[1]) / (
        2 * step
    )
    assert np.allclose(divergence, ours(x, y)[2], rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    q=st.floats(0.3, 1.0), angle=st.floats(0, 180), turn=st.floats(-90, 90), x=st.floats(-4, 4), y=st.floats(0.05, 4)
)
def test_turning_lens_and_point_together_turns_the_deflection(q, angle, turn, x, y):
    cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    before = ours([x], [y], q=q, angle_deg=angle, centre=(0.0, 0.0))
    after = ours([cosine * x - sine * y], [sine * x + cosine * y], q=q, angle_deg=angle + turn, centre=(0.0, 0.0))
    assert after[0][0] == pytest.approx(cosine * before[0][0] - sine * before[1][0], abs=1e-6)
    assert after[1][0] == pytest.approx(sine * before[0][0] + cosine * before[1][0], abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(q=st.floats(0.3, 1.0), angle=st.floats(0, 180), x=st.floats(-4, 4), y=st.floats(0.05, 4))
def test_mirroring_east_and_west_mirrors_the_deflection(q, angle, x, y):
    before = ours([x], [y], q=q, angle_deg=angle, g1=0.03, g2=0.02, centre=(0.0, 0.0))
    after = ours([-x], [y], q=q, angle_deg=-angle, g1=0.03, g2=-0.02, centre=(0.0, 0.0))
    assert after[0][0] == pytest.approx(-before[0][0], abs=1e-9)
    assert after[1][0] == pytest.approx(before[1][0], abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.1, 5.0))
def test_deflection_is_proportional_to_the_einstein_radius(scale):
    x, y = points(20)
    assert np.allclose(ours(x, y, theta_e=scale)[0], scale * ours(x, y, theta_e=1.0)[0], rtol=1e-9, atol=1e-12)
