"""The observing conditions of a brick: seeing, depth, exposures, dust, and the maps of them over its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lens_assets.campaign.stages.simulated_sky import PixelSettings
from lens_assets.simulated import distributions
from lens_assets.simulated.light import psf_norm
from lens_assets.sky.randomness import generator
from lens_assets.survey.units import BANDS, PIXEL_SCALE_ARCSEC, depth_mag_to_ivar

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int16]

SKY_MAG_PER_ARCSEC2 = {"g": 22.1, "r": 20.9, "z": 18.9}
"""Dark-time sky at CTIO (DECam; Burke et al. 2018 and the survey's CCD tables), AB mag per square arcsec."""

SKY_PEDESTAL_NANOMAGGY = {"g": 0.0003, "r": 0.0007, "z": 0.0022}
"""Median of blank annuli of DR10 stamps: unresolved light and imperfect sky subtraction, nmgy per pixel."""

GALDEPTH_RADIUS_ARCSEC = 0.45
_PSF_DEPTH_CORRELATION = -0.15
_MAXIMUM_EXPOSURES = 17


@dataclass(frozen=True)
class BandConditions:
    """One band of one brick. Widths in arcsec (FWHM), noise in nmgy per pixel, gain in electrons per nmgy."""

    psf_fwhm_arcsec: float
    psf_gradient_x: float
    psf_gradient_y: float
    exposures: int
    psf_depth_mag: float
    sigma1: float
    """White-noise sigma per pixel of an exposure stack without gaps, before resampling: invvar^-1/2."""
    gain_electrons_per_nanomaggy: float
    pedestal: float

    def fwhm_at(self, x_px: FloatArray | float, y_px: FloatArray | float, pixels: int) -> FloatArray:
        """Return the PSF FWHM in arcsec at pixel positions; it changes linearly over the brick."""
        u = 2.0 * np.asarray(x_px, float) / pixels - 1.0
        v = 2.0 * np.asarray(y_px, float) / pixels - 1.0
        return self.psf_fwhm_arcsec * (1.0 + self.psf_gradient_x * u + self.psf_gradient_y * v)


@dataclass(frozen=True)
class BrickConditions:
    """Conditions of a brick, band by band, with its dust."""

    ebv: float
    has_i_band: bool
    bands: dict[str, BandConditions]


def kernel_weights(noise_correlation: float) -> tuple[float, float]:
    """Return (a, ratio): the resampling kernel [a, 1 - 2a, a] along each axis, and pixel over white-noise sigma.

    The correlation of neighbours along an axis is rho = 2 a (1 - 2a) / ((1 - 2a)^2 + 2 a^2). The kernel has unit sum,
    so a flux summed over many pixels keeps the error that invvar promises while a single pixel, and so the MAD of a
    blank annulus, shows less: ratio = (1 - 2a)^2 + 2 a^2, as Lanczos resampling does in the survey.
    """
    rho = noise_correlation
    quadratic, linear = 4.0 + 6.0 * rho, -(2.0 + 4.0 * rho)
    a = (-linear - np.sqrt(linear**2 - 4.0 * quadratic * rho)) / (2.0 * quadratic)
    return float(a), float((1.0 - 2.0 * a) ** 2 + 2.0 * a**2)


def draw_conditions(seed: int, brickname: str, pixels: PixelSettings) -> BrickConditions:
    """Draw the conditions of a brick from the survey's measured distributions.

    r-band seeing and depth with their correlation; g is 1.05 to 1.15 times, z 0.90 to 0.98 times as wide; g is
    0.35 to 0.60 mag deeper, z 0.95 to 1.25 mag shallower. The gain follows from the sky: a background-limited
    stack of sky brightness S has sigma^2 = S / gain, hence gain = S / sigma_pixel^2 (2 to 5e4 electrons per nmgy).
    """
    rng = generator(seed, brickname, "conditions")
    u_psf, u_depth = distributions.correlated_uniforms(rng, [[1, _PSF_DEPTH_CORRELATION], [_PSF_DEPTH_CORRELATION, 1]])
    psf_r = float(distributions.PSF_FWHM_R_ARCSEC.quantile(u_psf))
    depth_r = float(distributions.PSF_DEPTH_R_MAG.quantile(u_depth))
    width = {"g": rng.uniform(1.05, 1.15), "r": 1.0, "z": rng.uniform(0.90, 0.98)}
    offset = {"g": rng.uniform(0.35, 0.60), "r": 0.0, "z": -rng.uniform(0.95, 1.25)}
    _, ratio = kernel_weights(pixels.noise_correlation)
    bands = {}
    for band in BANDS:
        fwhm, depth = psf_r * width[band], depth_r + offset[band]
        sigma1 = psf_norm(fwhm, pixels.psf_moffat_beta) / np.sqrt(float(depth_mag_to_ivar(depth)))
        sky = 10.0 ** (0.4 * (22.5 - SKY_MAG_PER_ARCSEC2[band])) * PIXEL_SCALE_ARCSEC**2
        exposures = 4.5 * 10.0 ** (0.4 * (depth_r - 24.28)) + rng.normal(0.0, 1.2)
        bands[band] = BandConditions(
            psf_fwhm_arcsec=fwhm,
            psf_gradient_x=rng.uniform(-0.5, 0.5) * pixels.psf_gradient,
            psf_gradient_y=rng.uniform(-0.5, 0.5) * pixels.psf_gradient,
            exposures=int(np.clip(round(exposures), 1, _MAXIMUM_EXPOSURES)),
            psf_depth_mag=depth,
            sigma1=float(sigma1),
            gain_electrons_per_nanomaggy=float(sky / (ratio * sigma1) ** 2),
            pedestal=SKY_PEDESTAL_NANOMAGGY[band] * rng.lognormal(0.0, 0.3),
        )
    ebv = float(distributions.EBV_MAG.quantile(rng.random()))
    return BrickConditions(ebv=ebv, has_i_band=bool(rng.random() < 0.8), bands=bands)


def exposure_map(seed: int, brickname: str, band: str, exposures: int, pixels: int, incomplete: bool) -> IntArray:
    """Return the number of images at every pixel, (pixels, pixels): a gap between CCDs crosses some of them.

    An incomplete brick has a strip without any image along one edge.
    """
    rng = generator(seed, brickname, f"exposures-{band}")
    counts = np.full((pixels, pixels), exposures, dtype=np.int16)
    for _ in range(exposures):
        if rng.random() < 0.35:
            start, gap = int(rng.integers(0, pixels)), int(rng.integers(12, 22))
            if rng.random() < 0.5:
                counts[start : start + gap, :] -= 1
            else:
                counts[:, start : start + gap] -= 1
    if incomplete:
        strip = int(pixels * rng.uniform(0.12, 0.3))
        side = int(rng.integers(0, 4))
        np.rot90(counts, side)[:strip, :] = 0
    return np.maximum(counts, 0)
