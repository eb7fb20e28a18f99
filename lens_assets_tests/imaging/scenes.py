"""Stamps with known content: noise of the survey's level, elliptical hosts and arcs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

SKY_SIGMA = np.array([0.0017, 0.0033, 0.0075])  # nanomaggies per pixel in g, r, z


def noise(count: int, seed: int, pixels: int = 101) -> NDArray[np.float64]:
    """Return correlated noise stamps (count, 3, pixels, pixels) in nanomaggies per pixel."""
    white = np.random.default_rng(seed).normal(size=(count, 3, pixels, pixels))
    smooth = gaussian_filter(white, (0, 0, 0.5, 0.5))
    return smooth / smooth.std(axis=(0, 2, 3), keepdims=True) * SKY_SIGMA[None, :, None, None]


def host(axis_ratio: float = 0.7, angle_deg: float = 30.0, pixels: int = 101) -> NDArray[np.float64]:
    """Return a red exponential elliptical galaxy (3, pixels, pixels) of 15 nanomaggies in r, scale 4 px."""
    y, x = np.indices((pixels, pixels)) - pixels // 2
    phi = np.deg2rad(angle_deg)
    u, v = x * np.cos(phi) + y * np.sin(phi), -x * np.sin(phi) + y * np.cos(phi)
    profile = np.exp(-np.sqrt(axis_ratio * u**2 + v**2 / axis_ratio + 1.0) / 4.0)
    return profile / profile.sum() * np.array([3.4, 15.0, 30.0])[:, None, None]


def arc(mag_r: float, radius_px: float = 7.0, pixels: int = 101) -> NDArray[np.float64]:
    """Return a blue arc (3, pixels, pixels) of the given r magnitude at a radius, 90 degrees long."""
    y, x = np.indices((pixels, pixels)) - pixels // 2
    shape = np.exp(-0.5 * ((np.hypot(x, y) - radius_px) / 1.5) ** 2) * (np.abs(np.arctan2(y, x)) < np.pi / 4)
    flux_r = 10 ** (0.4 * (22.5 - mag_r))
    return shape / shape.sum() * flux_r * np.array([0.6, 1.0, 1.3])[:, None, None]
