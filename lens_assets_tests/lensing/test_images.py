"""Image positions, counts and caustics against the lens equation, the isothermal sphere and lenstronomy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LensModel.Solver.lens_equation_solver import LensEquationSolver
from lenstronomy.Util.param_util import phi_q2_ellipticity

from lens_assets.lensing.geometry import angle_from_x_rad
from lens_assets.lensing.images import find_images, multiply_imaged_area_arcsec2, multiply_imaged_radius_arcsec
from lens_assets.lensing.mass import deflection, mass_columns, mass_constants, power_law_constants


def lenses(count=200, seed=0):
    stream = np.random.default_rng(seed)
    return mass_constants(
        stream.uniform(0.5, 3, count), stream.uniform(0.3, 1, count), stream.uniform(0, 180, count),
        stream.normal(0, 0.05, count), stream.normal(0, 0.05, count),
        stream.normal(0, 0.1, count), stream.normal(0, 0.1, count),
    )  # fmt: skip


def power_laws(slope, count=200, seed=0):
    stream = np.random.default_rng(seed)
    return power_law_constants(
        stream.uniform(0.5, 3, count), stream.uniform(0.4, 1, count), stream.uniform(0, 180, count),
        stream.normal(0, 0.05, count), stream.normal(0, 0.05, count),
        stream.normal(0, 0.1, count), stream.normal(0, 0.1, count), slope,
    )  # fmt: skip


@pytest.mark.parametrize("slope", [None, 1.7, 2.0, 2.3])
def test_images_solve_the_lens_equation_and_their_magnification_is_the_jacobian(slope):
    mass = lenses() if slope is None else power_laws(slope)
    stream = np.random.default_rng(2)
    source_x, source_y = stream.uniform(-0.6, 0.6, 200), stream.uniform(-0.6, 0.6, 200)
    images = find_images(mass, source_x, source_y)
    assert len(images.source) > 200
    own = mass_columns(mass, torch.as_tensor(images.source))

    def mapped(x, y):
        alpha_x, alpha_y, _ = deflection(torch.as_tensor(x), torch.as_tensor(y), own)
        return x - alpha_x.numpy(), y - alpha_y.numpy()

    beta_x, beta_y = mapped(images.x_arcsec, images.y_arcsec)
    assert np.max(np.abs(beta_x - source_x[images.source])) < 1e-9
    assert np.max(np.abs(beta_y - source_y[images.source])) < 1e-9
    step = 1e-6
    xx, yx = (np.subtract(a, b) / (2 * step) for a, b in zip(
        mapped(images.x_arcsec + step, images.y_arcsec), mapped(images.x_arcsec - step, images.y_arcsec), strict=True
    ))  # fmt: skip
    xy, yy = (np.subtract(a, b) / (2 * step) for a, b in zip(
        mapped(images.x_arcsec, images.y_arcsec + step), mapped(images.x_arcsec, images.y_arcsec - step), strict=True
    ))  # fmt: skip
    assert np.allclose(1.0 / images.magnification, xx * yy - xy * yx, rtol=1e-3, atol=1e-5)


def test_a_sphere_has_two_images_inside_its_einstein_radius_and_one_outside():
    mass = mass_constants([1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0])
    images = find_images(mass, np.array([0.3, 1.4]), np.array([0.0, 0.0]))
    assert images.counts(2).tolist() == [2, 1]
    assert sorted(images.x_arcsec[images.source == 0]) == pytest.approx([-0.7, 1.3], abs=1e-5)
    assert np.abs(images.magnification[images.source == 0]).sum() == pytest.approx(2 / 0.3, rel=1e-4)


@pytest.mark.parametrize("slope", [1.8, 2.0, 2.2])
def test_positions_agree_with_lenstronomy(slope):
    e1, e2 = phi_q2_ellipticity(float(angle_from_x_rad(40.0)), 0.6)
    arguments = [
        {"theta_E": 1.4, "gamma": slope, "e1": e1, "e2": e2, "center_x": 0.0, "center_y": 0.0},
        {"gamma1": 0.04, "gamma2": -0.02, "ra_0": 0.0, "dec_0": 0.0},
    ]
    solver = LensEquationSolver(LensModel(["EPL", "SHEAR"]))
    x, y = solver.image_position_from_source(0.08, 0.05, arguments, min_distance=0.05, search_window=6)
    system = ([1.4], [0.6], [40.0], [0.04], [-0.02], [0.0], [0.0])
    mass = mass_constants(*system) if slope == 2.0 else power_law_constants(*system, [slope])
    images = find_images(mass, np.array([0.08]), np.array([0.05]))
    theirs = {(round(float(a), 4), round(float(b), 4)) for a, b in zip(x, y, strict=True) if np.hypot(a, b) > 0.05}
    mine = {(round(a, 4), round(b, 4)) for a, b in zip(images.x_arcsec.tolist(), images.y_arcsec.tolist(), strict=True)}
    assert len(mine) == 4
    assert mine == theirs


def test_the_multiply_imaged_area_of_a_sphere_is_its_einstein_disk():
    mass = mass_constants([0.8], [1.0], [0.0], [0.0], [0.0], [0.0], [0.0])
    assert multiply_imaged_area_arcsec2(mass)[0] == pytest.approx(np.pi * 0.8**2, rel=1e-4)


def test_the_multiply_imaged_region_is_continuous_in_the_slope():
    system = ([0.8], [0.7], [20.0], [0.02], [0.01], [0.0], [0.0])
    isothermal = multiply_imaged_area_arcsec2(mass_constants(*system))[0]
    for slope in (1.999, 2.0, 2.001):
        area = multiply_imaged_area_arcsec2(power_law_constants(*system, [slope]))[0]
        assert area == pytest.approx(isothermal, rel=0.02)


def test_the_brightest_images_come_first_and_missing_ones_are_empty():
    mass = mass_constants([1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0])
    table = find_images(mass, np.array([0.3, 1.4]), np.array([0.0, 0.0])).brightest(2)
    assert table[0, :2, 0] == pytest.approx([1.3, -0.7], abs=1e-5)
    assert np.isfinite(table[1, 0]).all()
    assert np.isnan(table[0, 2:]).all()
    assert np.isnan(table[1, 1:]).all()


@pytest.mark.parametrize("slope", [None, 1.7, 2.3])
def test_the_image_count_changes_at_the_edge_of_the_multiply_imaged_region(slope):
    mass = lenses(40, seed=5) if slope is None else power_laws(slope, 40, seed=5)
    reach = multiply_imaged_radius_arcsec(mass)
    angle = 2 * np.pi * 123 / reach.shape[1]
    for factor, multiple in ((0.98, True), (1.02, False)):
        x = mass.x_arcsec.numpy() + factor * reach[:, 123] * np.cos(angle)
        y = mass.y_arcsec.numpy() + factor * reach[:, 123] * np.sin(angle)
        assert ((find_images(mass, x, y).counts(40) >= 2) == multiple).mean() > 0.97
