"""Compiled rays against the tensors they stand for, their arithmetic against numpy, bytes, and bad sources."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import njit

from lens_assets.lensing import compiled
from lens_assets.lensing.canvas import Canvas
from lens_assets.lensing.light import light_constants
from lens_assets.lensing.mass import mass_constants
from lens_assets.lensing.rays import Profiles, shoot

SIZE, SCALE, TOLERANCE = 101, 0.262, 1e-5


def profiles(count, seed, stamps=None, dtype=torch.float32, inner_images=True, **changed):
    """Random systems over the range that the renderer answers for; profile i on stamp i % stamps."""
    stream = np.random.default_rng(seed)
    theta_e, direction = stream.uniform(0.5, 3.0, count), stream.uniform(0, 2 * np.pi, count)
    offset = theta_e * stream.uniform(0.0, 1.2, count)
    mass = mass_constants(
        theta_e, stream.uniform(0.3, 1.0, count), stream.uniform(0, 180, count), *stream.normal(0, 0.04, (2, count)),
        *stream.uniform(-0.1, 0.1, (2, count)), dtype,
    )  # fmt: skip
    source = {
        "x_arcsec": offset * np.cos(direction), "y_arcsec": offset * np.sin(direction),
        "half_light_radius_arcsec": np.exp(stream.uniform(np.log(0.05), np.log(0.5), count)),
        "sersic_index": stream.uniform(0.5, 4.0, count), "axis_ratio": stream.uniform(0.4, 1.0, count),
        "angle_deg": stream.uniform(0, 180, count),
    } | changed  # fmt: skip
    return Profiles(mass, light_constants(**source, dtype=dtype), torch.arange(count) % (stamps or count), inner_images)


@pytest.mark.parametrize(
    ("mine", "theirs", "values"),
    [
        (compiled.exp, np.exp, np.linspace(-86, 86, 20001)),
        (compiled.log, np.log, np.exp(np.linspace(-80, 80, 20001)) * 1.01),
        (compiled.atan, np.arctan, np.sinh(np.linspace(-20, 20, 20001))),
        (compiled.atanh, np.arctanh, np.tanh(np.linspace(-4, 4, 20001))),
    ],
)
def test_elementary_functions_are_right_to_the_last_bits_and_the_same_in_every_lane(mine, theirs, values):
    @njit
    def every(x, y):
        for i in range(len(x)):
            y[i] = mine(x[i])

    x = values.astype(np.float32)
    y, one = np.empty_like(x), np.empty(1, np.float32)
    every(x, y)
    assert np.allclose(y, theirs(x.astype(np.float64)), rtol=4e-7, atol=0)
    for place in range(0, len(x), 97):
        every(x[place : place + 1], one)
        assert one[0] == y[place]


def test_nothing_is_left_of_a_vanishing_exponential():
    assert compiled.exp(np.float32(-100.0)) == 0.0


@pytest.mark.parametrize("size", [101, 64, 31])
def test_compiled_rays_are_those_of_the_tensors(size):
    some, canvas = profiles(40, 1, stamps=25), Canvas(size, SCALE, torch.float32)
    slow = canvas.deposit(shoot(some, size, SCALE, TOLERANCE), 25)
    fast = compiled.light_on(canvas, some, 25, TOLERANCE)
    assert torch.allclose(fast.sum(dim=(1, 2)), slow.sum(dim=(1, 2)), rtol=2e-5)
    worst = (fast - slow).abs().amax(dim=(1, 2)) / slow.amax(dim=(1, 2))
    assert worst.max() < 1e-4
    assert worst.median() < 5e-6


def test_the_bytes_of_a_stamp_do_not_depend_on_its_company():
    some, canvas = profiles(9, 2), Canvas(SIZE, SCALE, torch.float32)
    together = compiled.light_on(canvas, some, 9, TOLERANCE)
    for place in range(9):
        mass, light = (type(part)(*(column[place : place + 1] for column in part)) for part in (some.mass, some.light))
        alone = compiled.light_on(canvas, Profiles(mass, light, torch.zeros(1, dtype=torch.long)), 1, TOLERANCE)
        assert torch.equal(alone[0], together[place])


def test_a_source_that_is_not_finite_leaves_its_stamp_without_a_finite_flux_and_the_others_alone():
    radius = np.array([0.2, 1e-25, np.nan, 0.2])
    some, canvas = profiles(4, 3, half_light_radius_arcsec=radius), Canvas(SIZE, SCALE, torch.float32)
    flux = compiled.light_on(canvas, some, 4, TOLERANCE).sum(dim=(1, 2))
    assert flux.isfinite().tolist() == [True, False, False, True]


@pytest.mark.parametrize("variant", [{"dtype": torch.float64}, {"inner_images": False}])
def test_what_is_not_compiled_for_is_drawn_by_the_tensors(variant):
    some = profiles(2, 4, **variant)
    canvas = Canvas(SIZE, SCALE, some.light.b_n.dtype)
    drawn = compiled.light_on(canvas, some, 2, TOLERANCE)
    assert torch.equal(drawn, canvas.deposit(shoot(some, SIZE, SCALE, TOLERANCE), 2))
