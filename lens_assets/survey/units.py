"""Conversions between the survey's units: nanomaggies and AB magnitudes, inverse-variance depths, Tractor shapes.

Formulas: https://www.legacysurvey.org/dr10/description/#photometry and https://www.legacysurvey.org/dr10/catalogs/.
Every function takes and returns arrays (float64); what has no value (flux <= 0, no data) becomes NaN, never inf.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

PIXEL_SCALE_ARCSEC = 0.262
"""Pixel of the coadds and of the stamps."""

BANDS: tuple[str, ...] = ("g", "r", "z")
"""The bands of a stamp, in plane order. The i band covers too little of the survey to be required."""

ZERO_POINT_MAG = 22.5
"""AB magnitude of one nanomaggy."""

EXTINCTION_PER_EBV: dict[str, float] = {
    "g": 3.214, "r": 2.165, "i": 1.592, "z": 1.211, "w1": 0.184, "w2": 0.113,
}  # fmt: skip
"""A_band / E(B-V) for the SFD98 map, DECam and WISE filters (legacysurvey.org/dr10/catalogs, galactic extinction)."""

POINT_SOURCE_SIGNIFICANCE = 5.0

FloatArray = NDArray[np.float64]


def flux_to_mag(flux_nanomaggy: ArrayLike) -> FloatArray:
    """Return AB magnitudes, m = 22.5 - 2.5 log10(flux); NaN where the flux is not positive."""
    flux = np.asarray(flux_nanomaggy, dtype=np.float64)
    magnitude = np.full(flux.shape, np.nan)
    np.log10(flux, out=magnitude, where=flux > 0)
    return ZERO_POINT_MAG - 2.5 * magnitude


def mag_to_flux(mag_ab: ArrayLike) -> FloatArray:
    """Return nanomaggies, flux = 10^(0.4 (22.5 - m))."""
    return np.asarray(10.0 ** (0.4 * (ZERO_POINT_MAG - np.asarray(mag_ab, dtype=np.float64))))


def counts_to_nanomaggies(counts: ArrayLike, zero_point_mag: float) -> FloatArray:
    """Return nanomaggies of another survey's counts, `zero_point_mag` the AB magnitude of one count (30 for DES)."""
    return np.asarray(counts, dtype=np.float64) * mag_to_flux(zero_point_mag)


def depth_ivar_to_mag(depth_ivar: ArrayLike) -> FloatArray:
    """Return the 5-sigma depth in AB mag of PSFDEPTH or GALDEPTH (nanomaggy^-2); NaN where it is not positive.

    m5 = 22.5 - 2.5 log10(5 / sqrt(depth)). The columns of the same names in the bricks and CCD tables
    are magnitudes already and must not pass through here.
    """
    ivar = np.asarray(depth_ivar, dtype=np.float64)
    sigma = np.full(ivar.shape, np.nan)
    np.sqrt(ivar, out=sigma, where=ivar > 0)
    return flux_to_mag(POINT_SOURCE_SIGNIFICANCE / sigma)


def depth_mag_to_ivar(depth_mag: ArrayLike) -> FloatArray:
    """Return the inverse variance (nanomaggy^-2) of a 5-sigma depth in AB mag."""
    return np.asarray((POINT_SOURCE_SIGNIFICANCE / mag_to_flux(depth_mag)) ** 2)


def ellipticity_modulus(shape_e1: ArrayLike, shape_e2: ArrayLike) -> FloatArray:
    """Return |eps| = sqrt(e1^2 + e2^2) with eps = (a - b)/(a + b) exp(2 i phi)."""
    return np.hypot(np.asarray(shape_e1, dtype=np.float64), np.asarray(shape_e2, dtype=np.float64))


def axis_ratio(shape_e1: ArrayLike, shape_e2: ArrayLike) -> FloatArray:
    """Return b/a = (1 - |eps|)/(1 + |eps|), in [0, 1]; |eps| >= 1 is unphysical and gives NaN."""
    modulus = ellipticity_modulus(shape_e1, shape_e2)
    ratio = (1.0 - modulus) / (1.0 + modulus)
    return np.where(modulus < 1.0, ratio, np.nan)


def position_angle_deg(shape_e1: ArrayLike, shape_e2: ArrayLike) -> FloatArray:
    """Return the angle of the major axis in degrees East of North, in [0, 180): phi = atan2(e2, e1) / 2."""
    angle = 0.5 * np.degrees(np.arctan2(np.asarray(shape_e2, float), np.asarray(shape_e1, float)))
    folded = np.mod(angle, 180.0)
    return np.where(folded >= 180.0, 0.0, folded)


def shape_to_ellipticity(axis_ratio_b_to_a: ArrayLike, angle_deg: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return (e1, e2) of an ellipse with axis ratio b/a and major axis at `angle_deg` East of North."""
    ratio = np.asarray(axis_ratio_b_to_a, dtype=np.float64)
    modulus = (1.0 - ratio) / (1.0 + ratio)
    double_angle = 2.0 * np.radians(np.asarray(angle_deg, dtype=np.float64))
    return modulus * np.cos(double_angle), modulus * np.sin(double_angle)


def circularised_radius_arcsec(shape_r_arcsec: ArrayLike, axis_ratio_b_to_a: ArrayLike) -> FloatArray:
    """Return SHAPE_R sqrt(b/a), the radius that GalSim and lenstronomy expect.

    SHAPE_R is the half-light radius along the major axis (tractor, `ellipses.py`).
    """
    return np.asarray(shape_r_arcsec, dtype=np.float64) * np.sqrt(np.asarray(axis_ratio_b_to_a, np.float64))


def dereddened_flux(flux_nanomaggy: ArrayLike, mw_transmission: ArrayLike) -> FloatArray:
    """Return flux / transmission, corrected for Galactic dust; NaN where the transmission is not positive."""
    transmission = np.asarray(mw_transmission, dtype=np.float64)
    safe = np.where(transmission > 0, transmission, np.nan)
    return np.asarray(flux_nanomaggy, dtype=np.float64) / safe


def mw_transmission(ebv_mag: ArrayLike, band: str) -> FloatArray:
    """Return the linear Galactic transmission 10^(-0.4 A) of E(B-V), A = R_band E(B-V)."""
    return np.asarray(10.0 ** (-0.4 * EXTINCTION_PER_EBV[band] * np.asarray(ebv_mag, dtype=np.float64)))
