"""Quick mock stamps for the tests of the battery: an independent, plain ray shooter with singular isothermal lenses
with external shear.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

PIXELS = 101
SCALE = 0.262
OVERSAMPLE = 3
_HALF = 25
_MOFFAT_BETA = 3.5
# Electrons per nanomaggy of a coadd: sky counts of 0.10, 0.30, 2.9 nanomaggy per pixel over the noise they make.
SKY_NMGY = np.array([0.105, 0.297, 2.84])
SHEAR_SIGMA = 0.07
SOURCE_MAG_R = (21.5, 24.0)


def mock_lenses(
    count: int, seed: int, theta_e: tuple[float, float] = (0.7, 2.2), with_arcs: bool = True
) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """Return stamps (N, 3, 101, 101) of lensed systems and their catalogue rows."""
    random = np.random.default_rng(seed)
    table = _conditions(count, random)
    stamps = np.empty((count, 3, PIXELS, PIXELS), np.float32)
    theta = random.uniform(*theta_e, count)
    beta = theta * np.sqrt(random.uniform(0, 0.36, count))
    angle = random.uniform(0, 2 * np.pi, count)
    radius = np.exp(random.uniform(np.log(0.12), np.log(0.5), count))
    magnitude = random.uniform(*SOURCE_MAG_R, count)
    g_r = random.normal(0.5, 0.2, count)
    r_z = random.normal(0.4, 0.2, count)
    shear = random.normal(0.0, SHEAR_SIGMA, (count, 2))
    for index in range(count):
        row = table.iloc[index]
        sigma, fwhm = mock_noise(row), row[["psfsize_g", "psfsize_r", "psfsize_z"]].to_numpy(float)
        flux = 10 ** (-0.4 * (magnitude[index] + np.array([g_r[index], 0.0, -r_z[index]]) - 22.5))
        shape = _arc(theta[index], beta[index], angle[index], radius[index], shear[index])
        gain = SKY_NMGY / sigma**2
        host = _host(row)
        variance = sigma[:, None, None] ** 2 + np.clip(host, 0, None) / gain[:, None, None]
        stamp = host + random.normal(size=host.shape) * np.sqrt(variance)
        for band in range(3 if with_arcs else 0):
            arc = np.zeros((PIXELS, PIXELS))
            middle = slice(PIXELS // 2 - _HALF, PIXELS // 2 + _HALF + 1)
            arc[middle, middle] = flux[band] * fftconvolve(shape, _moffat(fwhm[band]), "same")
            shot = np.sqrt(np.clip(arc, 0, None) / gain[band])
            stamp[band] += arc + shot * random.normal(size=arc.shape)
        stamps[index] = stamp
    return stamps, table


def mock_galaxies(count: int, seed: int) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """Return stamps and rows of galaxies without arcs."""
    return mock_lenses(count, seed, with_arcs=False)


def _conditions(count: int, random: np.random.Generator) -> pd.DataFrame:
    fwhm = np.clip(random.normal(1.37, 0.15, count), 1.0, 2.0)
    depth = np.clip(random.normal(24.4, 0.3, count), 23.6, 25.4)
    return pd.DataFrame(
        {
            "galaxy_id": [f"9_{random.integers(10**6)}_{index}" for index in range(count)],
            "type": random.choice(["SER", "DEV", "REX", "EXP"], count, p=[0.5, 0.3, 0.1, 0.1]),
            "mag_r": random.uniform(18.3, 20.3, count),
            "axis_ratio": random.uniform(0.5, 1.0, count),
            "angle_deg": random.uniform(0, 180, count),
            "shape_r": random.uniform(0.8, 2.0, count),
            "psfsize_g": 1.08 * fwhm, "psfsize_r": fwhm, "psfsize_z": 0.94 * fwhm,
            "psfdepth_g_mag": depth + 0.45, "psfdepth_r_mag": depth, "psfdepth_z_mag": depth - 1.0,
        }
    )  # fmt: skip


def mock_noise(row: pd.Series) -> NDArray[np.float64]:
    """White noise that makes the 5-sigma point-source depth with a Gaussian PSF."""
    depth = row[["psfdepth_g_mag", "psfdepth_r_mag", "psfdepth_z_mag"]].to_numpy(float)
    sigma_px = row[["psfsize_g", "psfsize_r", "psfsize_z"]].to_numpy(float) / 2.355 / SCALE
    return 10 ** (-0.4 * (depth - 22.5)) / 5.0 / np.sqrt(4 * np.pi * sigma_px**2)


def _host(row: pd.Series) -> NDArray[np.float64]:
    half = PIXELS // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1] * SCALE
    phi = np.deg2rad(row["angle_deg"])
    u, v = x * np.cos(phi) + y * np.sin(phi), -x * np.sin(phi) + y * np.cos(phi)
    radius = np.sqrt(row["axis_ratio"] * u**2 + v**2 / row["axis_ratio"] + 0.05**2)
    light = np.exp(-4.0 * (radius / row["shape_r"]) ** 0.4)
    light /= light.sum()
    flux = 10 ** (-0.4 * (row["mag_r"] + np.array([1.6, 0.0, -0.8]) - 22.5))
    fwhm = row[["psfsize_g", "psfsize_r", "psfsize_z"]].to_numpy(float)
    return np.stack([f * gaussian_filter(light, w / 2.355 / SCALE) for f, w in zip(flux, fwhm, strict=True)])


def _moffat(fwhm_arcsec: float) -> NDArray[np.float64]:
    """Return a round Moffat PSF of unit sum, (2 _HALF + 1)^2 pixels."""
    core = fwhm_arcsec / SCALE / (2.0 * np.sqrt(2.0 ** (1.0 / _MOFFAT_BETA) - 1.0))
    y, x = np.mgrid[-_HALF : _HALF + 1, -_HALF : _HALF + 1]
    light = (1.0 + (x**2 + y**2) / core**2) ** -_MOFFAT_BETA
    return np.asarray(light / light.sum())


def _arc(theta_e: float, beta: float, angle: float, radius: float, shear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lensed image of an exponential disk of unit unlensed flux, flux per pixel."""
    fine = (2 * _HALF + 1) * OVERSAMPLE
    axis = (np.arange(fine) - (fine - 1) / 2) * SCALE / OVERSAMPLE
    x, y = np.meshgrid(axis, axis)
    distance = np.hypot(x, y) + 1e-9
    bend = 1.0 - theta_e / distance
    source_x = x * bend - shear[0] * x - shear[1] * y
    source_y = y * bend - shear[1] * x + shear[0] * y
    rho = np.hypot(source_x - beta * np.cos(angle), source_y - beta * np.sin(angle))
    scale_length = radius / 1.678
    light = np.exp(-rho / scale_length) / (2 * np.pi * scale_length**2) * (SCALE / OVERSAMPLE) ** 2
    size = 2 * _HALF + 1
    return light.reshape(size, OVERSAMPLE, size, OVERSAMPLE).sum(axis=(1, 3))
