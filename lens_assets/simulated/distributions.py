"""Measured distributions of DR10 that the simulated sky reproduces, and how numbers are drawn from them.

Percentiles were measured on real survey rows: seeing, depth and E(B-V) on 3,301 DR10 bricks at -18 < Dec < 32,
galaxies on DR8 to DR10 sweep rows, lenses on 1,615 known lenses of DR9 (Stein et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Percentiles:
    """A distribution given by percentiles; linear between them, cut at the first and the last."""

    percent: tuple[float, ...]
    values: tuple[float, ...]

    def quantile(self, probability: ArrayLike) -> FloatArray:
        """Return the values at `probability` in [0, 1], any shape."""
        return np.interp(100.0 * np.asarray(probability, dtype=np.float64), self.percent, self.values)


_BRICK_PERCENT = (1.0, 5.0, 16.0, 25.0, 50.0, 75.0, 84.0, 95.0, 99.0)
PSF_FWHM_R_ARCSEC = Percentiles(_BRICK_PERCENT, (1.06, 1.13, 1.22, 1.26, 1.37, 1.51, 1.58, 1.71, 1.88))
PSF_DEPTH_R_MAG = Percentiles(_BRICK_PERCENT, (23.61, 23.98, 24.10, 24.16, 24.28, 24.52, 24.84, 25.20, 25.84))
EBV_MAG = Percentiles(_BRICK_PERCENT, (0.015, 0.021, 0.028, 0.033, 0.049, 0.079, 0.099, 0.16, 0.35))

_OBJECT_PERCENT = (0.0, 5.0, 25.0, 50.0, 75.0, 95.0, 100.0)
HOST_MAG_Z = Percentiles(_OBJECT_PERCENT, (16.0, 16.54, 17.58, 18.41, 19.05, 19.71, 19.95))
HOST_G_MINUS_R = Percentiles(_OBJECT_PERCENT, (0.70, 0.85, 1.34, 1.62, 1.81, 1.96, 2.05))
HOST_R_MINUS_Z = Percentiles(_OBJECT_PERCENT, (0.70, 0.77, 0.92, 1.14, 1.42, 1.80, 1.95))
RED_MAG_Z = Percentiles(_OBJECT_PERCENT, (18.0, 18.58, 19.45, 19.90, 20.18, 20.36, 20.4))
RED_G_MINUS_R = Percentiles(_OBJECT_PERCENT, (0.70, 0.80, 1.24, 1.60, 1.87, 2.11, 2.2))
RED_R_MINUS_Z = Percentiles(_OBJECT_PERCENT, (0.60, 0.68, 0.95, 1.15, 1.40, 1.90, 2.0))
DISK_MAG_Z = Percentiles(_OBJECT_PERCENT, (16.0, 16.8, 18.2, 19.0, 19.6, 19.95, 20.1))
DISK_G_MINUS_R = Percentiles(_OBJECT_PERCENT, (0.25, 0.35, 0.50, 0.65, 0.85, 1.20, 1.4))
DISK_R_MINUS_Z = Percentiles(_OBJECT_PERCENT, (0.20, 0.30, 0.42, 0.55, 0.72, 1.00, 1.1))
FAINT_MAG_Z = Percentiles(_OBJECT_PERCENT, (20.0, 20.3, 21.3, 22.1, 22.7, 23.2, 23.4))
FAINT_G_MINUS_R = Percentiles(_OBJECT_PERCENT, (-0.10, 0.05, 0.30, 0.52, 1.10, 1.85, 2.1))
FAINT_R_MINUS_Z = Percentiles(_OBJECT_PERCENT, (0.05, 0.20, 0.45, 0.65, 0.95, 1.60, 1.9))
STAR_MAG_R = Percentiles((0.0, 100.0), (15.5, 23.0))
BRIGHT_STAR_MAG_R = Percentiles((0.0, 100.0), (9.0, 13.5))
Z_MINUS_W1 = Percentiles(_OBJECT_PERCENT, (0.7, 0.83, 0.98, 1.17, 1.46, 2.2, 3.0))

RADIUS_SER_ARCSEC = Percentiles(_OBJECT_PERCENT, (0.5, 0.75, 1.22, 1.69, 2.33, 3.78, 4.5))
RADIUS_DEV_ARCSEC = Percentiles(_OBJECT_PERCENT, (0.3, 0.46, 0.76, 1.07, 1.52, 2.58, 3.2))
RADIUS_EXP_ARCSEC = Percentiles(_OBJECT_PERCENT, (0.3, 0.49, 0.76, 1.01, 1.36, 2.11, 2.6))
RADIUS_FAINT_ARCSEC = Percentiles(_OBJECT_PERCENT, (0.1, 0.18, 0.32, 0.45, 0.65, 1.05, 1.3))
RADIUS_BY_TYPE = {"SER": RADIUS_SER_ARCSEC, "DEV": RADIUS_DEV_ARCSEC, "EXP": RADIUS_EXP_ARCSEC}

LENS_TYPE_FRACTIONS = {"SER": 0.60, "DEV": 0.26, "REX": 0.11, "EXP": 0.03}
"""Tractor types of known lenses (DR9)."""

RED_TYPE_FRACTIONS: tuple[tuple[float, dict[str, float]], ...] = (
    (18.0, {"DEV": 0.14, "EXP": 0.19, "REX": 0.13, "SER": 0.54}),
    (18.5, {"DEV": 0.10, "EXP": 0.12, "REX": 0.14, "SER": 0.64}),
    (19.0, {"DEV": 0.25, "EXP": 0.12, "REX": 0.12, "SER": 0.51}),
    (19.5, {"DEV": 0.31, "EXP": 0.10, "REX": 0.17, "SER": 0.42}),
    (20.0, {"DEV": 0.35, "EXP": 0.14, "REX": 0.24, "SER": 0.27}),
    (99.0, {"DEV": 0.35, "EXP": 0.19, "REX": 0.32, "SER": 0.14}),
)
"""Tractor types of red DR10 galaxies (faint limit of z, fractions), the point sources left out."""


def draw_type(fractions: dict[str, float], uniform: float) -> str:
    """Return the Tractor type at the cumulative probability `uniform` in [0, 1)."""
    total = 0.0
    for name, fraction in fractions.items():
        total += fraction
        if uniform < total:
            return name
    return next(iter(fractions))


def red_type_fractions(mag_z: float) -> dict[str, float]:
    """Return the type fractions of red galaxies at a z magnitude."""
    return next(fractions for faint_limit, fractions in RED_TYPE_FRACTIONS if mag_z < faint_limit)


def correlated_uniforms(rng: np.random.Generator, correlation: ArrayLike) -> FloatArray:
    """Return D uniforms whose normal scores have the (D, D) correlation matrix (a Gaussian copula)."""
    matrix = np.asarray(correlation, dtype=np.float64)
    return np.asarray(ndtr(np.linalg.cholesky(matrix) @ rng.standard_normal(len(matrix))))
