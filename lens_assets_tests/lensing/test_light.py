"""The Sersic profile against its definition and against scipy's integration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import gammainc

from lens_assets.lensing.light import light_constants, sersic_b_n, surface_brightness


@pytest.mark.parametrize("index", [0.5, 1.0, 2.5, 4.0])
def test_half_the_light_is_within_the_half_light_radius(index):
    assert gammainc(2 * index, sersic_b_n(index)) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("index", [0.5, 1.0, 4.0])
def test_total_flux_is_the_requested_one(index):
    light = light_constants([0.0], [0.0], [0.3], [index], [1.0], [0.0], [7.0])

    def shell(log_radius: float) -> float:
        radius = np.exp(log_radius)
        value = surface_brightness(
            torch.tensor([radius], dtype=torch.float64), torch.zeros(1, dtype=torch.float64), light
        )
        return 2 * np.pi * radius**2 * float(value[0])

    assert quad(shell, np.log(1e-7), np.log(3e4), limit=400)[0] == pytest.approx(7.0, rel=1e-5)


def test_the_log_slope_is_the_derivative_of_the_brightness():
    light = light_constants([0.0], [0.0], [0.3], [2.5], [1.0], [0.0])
    zero = torch.zeros(1, dtype=torch.float64)
    radius, step = 0.2, 1e-6
    low, middle, high = (
        surface_brightness(torch.tensor([value], dtype=torch.float64), zero, light)
        for value in (radius - step, radius, radius + step)
    )
    slope = -(torch.log(high[0]) - torch.log(low[0])) / (2 * step) * radius
    assert float(middle[1]) == pytest.approx(float(slope), rel=1e-6)


def test_the_major_axis_points_east_of_north_and_east_is_minus_x():
    light = light_constants([0.0], [0.0], [0.3], [1.0], [0.3], [30.0])
    angle = np.deg2rad(30.0)
    along = surface_brightness(torch.tensor([-0.3 * np.sin(angle)]), torch.tensor([0.3 * np.cos(angle)]), light)
    across = surface_brightness(torch.tensor([0.3 * np.cos(angle)]), torch.tensor([0.3 * np.sin(angle)]), light)
    assert float(along[0]) > 3 * float(across[0])


def test_the_half_light_radius_is_the_product_average_of_the_axes():
    light = light_constants([0.0], [0.0], [0.5], [1.0], [0.25], [0.0])
    zero = torch.zeros(1, dtype=torch.float64)
    half = float(light.brightness_at_half_light)
    major = surface_brightness(zero, torch.tensor([0.5 / np.sqrt(0.25)], dtype=torch.float64), light)[0]
    minor = surface_brightness(torch.tensor([0.5 * np.sqrt(0.25)], dtype=torch.float64), zero, light)[0]
    assert float(major) == pytest.approx(half, rel=1e-9)
    assert float(minor) == pytest.approx(half, rel=1e-9)
