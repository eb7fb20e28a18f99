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
from lens_assets.lensing.mass import deflection, largest_stretch, mass_constants, power_law_constants


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


def power_law(slope, q=0.7, g1=0.0, g2=0.0):
    return power_law_constants([1.3], [q], [25.0], [g1], [g2], [0.1], [-0.2], [slope])


@pytest.mark.parametrize("slope", [1.5, 1.8, 2.0, 2.2, 2.6])
@pytest.mark.parametrize("q", [0.3, 0.6, 0.95])
def test_power_law_deflections_agree_with_lenstronomy_to_one_in_a_million(slope, q):
    x, y = points()
    e1, e2 = phi_q2_ellipticity(float(angle_from_x_rad(25.0)), q)
    lens = [{"theta_E": 1.3, "gamma": slope, "e1": e1, "e2": e2, "center_x": 0.1, "center_y": -0.2},
            {"gamma1": 0.04, "gamma2": -0.02, "ra_0": 0.1, "dec_0": -0.2}]  # fmt: skip
    model = LensModel(["EPL", "SHEAR"])
    theirs = model.alpha(x, y, lens)
    mass = power_law(slope, q, 0.04, -0.02)
    alpha_x, alpha_y, mean_convergence = (
        part.numpy() for part in deflection(torch.as_tensor(x), torch.as_tensor(y), mass)
    )
    size = np.hypot(*theirs)
    assert np.max(np.hypot(alpha_x - theirs[0], alpha_y - theirs[1]) / size) < 1e-6
    assert np.allclose(mean_convergence * (3.0 - slope) / 2.0, model.kappa(x, y, lens), rtol=1e-5)


def test_a_power_law_of_isothermal_slope_is_the_isothermal_lens_and_the_critical_area_keeps_its_meaning():
    x, y = map(torch.as_tensor, points())
    general = deflection(x, y, power_law(2.0, 0.6, 0.03, 0.01))
    special = deflection(x, y, mass_constants([1.3], [0.6], [25.0], [0.03], [0.01], [0.1], [-0.2]))
    for one, other in zip(general, special, strict=True):
        assert torch.allclose(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("q", [0.2, 1.0])
@pytest.mark.parametrize("slope", [1.4, 2.0, 2.5])
def test_a_power_law_is_finite_at_its_centre_and_when_round(q, slope, dtype):
    mass = power_law_constants([1.0], [q], [0.0], [0.01], [0.0], [0.0], [0.0], [slope], dtype)
    zero = torch.zeros(1, dtype=dtype)
    alpha_x, alpha_y, _ = deflection(zero, zero, mass)
    assert float(alpha_x) == float(alpha_y) == 0.0
    ring = torch.linspace(0.0, 6.0, 7, dtype=dtype)
    alpha_x, alpha_y, _ = deflection(torch.cos(ring), torch.sin(ring), mass)
    assert torch.isfinite(alpha_x).all()
    if q == 1.0:
        unsheared = torch.hypot(alpha_x - 0.01 * torch.cos(ring), alpha_y + 0.01 * torch.sin(ring))
        assert torch.allclose(unsheared, torch.ones_like(ring), rtol=1e-5)


def test_a_slope_without_finite_mass_is_refused():
    with pytest.raises(ValueError, match="density_slope"):
        power_law(3.0)


@settings(max_examples=40, deadline=None)
@given(
    slope=st.floats(1.3, 2.7), q=st.floats(0.2, 1.0), radius=st.floats(0.02, 8.0), direction=st.floats(0.0, 6.3),
    g1=st.floats(-0.1, 0.1),
)  # fmt: skip
def test_no_step_on_the_image_plane_is_stretched_beyond_the_bound(slope, q, radius, direction, g1):
    mass = power_law_constants([1.0], [q], [30.0], [g1], [0.05], [0.0], [0.0], [slope])
    step = 1e-5 * radius
    x = radius * np.cos(direction) + step * np.cos(np.linspace(0, 2 * np.pi, 24, endpoint=False))
    y = radius * np.sin(direction) + step * np.sin(np.linspace(0, 2 * np.pi, 24, endpoint=False))
    alpha_x, alpha_y, convergence = deflection(torch.as_tensor(x), torch.as_tensor(y), mass)
    bound = float(largest_stretch(convergence, mass).max())
    beta = (x - alpha_x.numpy()) + 1j * (y - alpha_y.numpy())
    stretch = np.abs(beta - np.roll(beta, 12)) / (2 * step)
    assert stretch.max() <= bound * 1.001
