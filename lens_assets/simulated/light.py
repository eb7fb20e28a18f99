"""From light to noise-free pixels, through Fourier space: GalSim profiles, textured galaxies and ray-shot arcs alike.

PSFSIZE describes stars as they appear in coadd pixels, so the Moffat of that width contains the pixel response already
and a pixel holds the convolved brightness at its centre times its area (GalSim's `no_pixel`).
"""

from __future__ import annotations

from functools import lru_cache

import galsim
import numpy as np
from numpy.typing import NDArray

from lens_assets.survey.units import PIXEL_SCALE_ARCSEC

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_SERSIC_STEP = 0.1
_LARGEST_WAVENUMBER_RADIUS = 400.0


@lru_cache(maxsize=8)
def _transfer_table(beta: float) -> tuple[FloatArray, FloatArray]:
    """Return (k FWHM, MTF) of a Moffat of unit FWHM, from GalSim."""
    profile = galsim.Moffat(beta=beta, fwhm=1.0)
    product = np.linspace(0.0, 60.0, 6001)
    return product, np.asarray([profile.kValue(k, 0.0).real for k in product])


@lru_cache(maxsize=16)
def wavenumbers(pixels: int) -> tuple[FloatArray, FloatArray]:
    """Return (kx, ky) in radian per pixel of a real-to-complex transform: (1, pixels/2 + 1) and (pixels, 1)."""
    kx = 2.0 * np.pi * np.fft.rfftfreq(pixels)[None, :]
    ky = 2.0 * np.pi * np.fft.fftfreq(pixels)[:, None]
    return kx.astype(np.float64), ky.astype(np.float64)


@lru_cache(maxsize=16)
def _modulus(pixels: int) -> FloatArray:
    kx, ky = wavenumbers(pixels)
    return np.hypot(kx, ky)


def psf_transfer(pixels: int, fwhm_arcsec: float, beta: float) -> FloatArray:
    """Return the transfer function of a Moffat on the (pixels, pixels/2 + 1) frequency grid."""
    product, values = _transfer_table(beta)
    return np.interp(_modulus(pixels) * (fwhm_arcsec / PIXEL_SCALE_ARCSEC), product, values)


def psf_norm(fwhm_arcsec: float, beta: float, exponential_radius_arcsec: float = 0.0) -> float:
    """Return sqrt(sum p^2) of the sampled PSF of unit flux, convolved with a round exponential if asked.

    The error of a flux fitted on white noise sigma is sigma / norm, so PSFDEPTH = (norm / sigma)^2, and GALDEPTH is
    the same for an exponential of 0.45 arcsec half-light radius (legacysurvey.org/dr10/catalogs).
    """
    pixels = 64
    transfer = psf_transfer(pixels, fwhm_arcsec, beta)
    if exponential_radius_arcsec > 0:
        transfer = transfer * np.abs(sersic_spectrum(pixels, 1.0, exponential_radius_arcsec, 1.0, 0.0))
    stamp = np.fft.irfft2(transfer, s=(pixels, pixels))
    return float(np.sqrt((stamp**2).sum()))


@lru_cache(maxsize=128)
def _sersic_table(index_steps: int) -> tuple[FloatArray, FloatArray]:
    """Return (k R_e, transform) of a round Sersic profile of unit half-light radius and flux, from GalSim."""
    profile = galsim.Sersic(n=index_steps * _SERSIC_STEP, half_light_radius=1.0)
    product = np.concatenate([[0.0], np.geomspace(1e-4, _LARGEST_WAVENUMBER_RADIUS, 3000)])
    return product, np.asarray([profile.kValue(k, 0.0).real for k in product])


def sersic_spectrum(
    pixels: int, sersic_index: float, radius_major_arcsec: float, axis_ratio: float, angle_deg: float
) -> FloatArray:
    """Return the transform of a centred Sersic profile of unit flux, (pixels, pixels/2 + 1).

    `radius_major_arcsec` is the half-light radius along the major axis, as SHAPE_R; `angle_deg` is East of North,
    which on the coadd (x West) is angle + 90 from +x. The index is rounded to 0.1, within 0.4 to 6.2 (GalSim's
    range). An elliptical profile's transform is the round one at k' = R_e sqrt(k_major^2 + q^2 k_minor^2).
    """
    product, values = _sersic_table(int(np.clip(round(sersic_index / _SERSIC_STEP), 4, 62)))
    kx, ky = wavenumbers(pixels)
    turn = np.radians(angle_deg + 90.0)
    along, across = kx * np.cos(turn) + ky * np.sin(turn), ky * np.cos(turn) - kx * np.sin(turn)
    modulus = np.hypot(along, axis_ratio * across) * (radius_major_arcsec / PIXEL_SCALE_ARCSEC)
    return np.interp(modulus, product, values)


def grid_spectrum(grid: FloatArray, oversampling: int) -> ComplexArray:
    """Return the transform on pixel frequencies of a flux map sampled `oversampling` times finer, centred.

    Only frequencies below the pixel Nyquist are kept, which is exact since the PSF passes none above it. The map's
    centre lies between its middle cells.
    """
    cells = grid.shape[0]
    pixels = cells // oversampling
    kx, ky = wavenumbers(pixels)
    spectrum = np.fft.rfft2(grid)[:, : pixels // 2 + 1]
    half = pixels // 2
    rows = np.concatenate([spectrum[:half], spectrum[cells - half :]])
    centre = (cells - 1) / 2.0 / oversampling
    return np.asarray(rows * np.exp(1j * (kx + ky) * centre))


def draw(spectrum: ComplexArray, transfer: FloatArray, dx_px: float, dy_px: float) -> FloatArray:
    """Return the (pixels, pixels) image whose centre, (pixels/2 + dx, pixels/2 + dy), holds the profile's origin."""
    pixels = spectrum.shape[0]
    kx, ky = wavenumbers(pixels)
    phase_x = np.exp(-1j * kx * (pixels // 2 + dx_px))
    phase_y = np.exp(-1j * ky * (pixels // 2 + dy_px))
    return np.asarray(np.fft.irfft2(spectrum * transfer * phase_x * phase_y, s=(pixels, pixels)))


def add_stamp(image: FloatArray, stamp: FloatArray, x_px: int, y_px: int) -> None:
    """Add a stamp to an image in place with its pixel (n/2, n/2) on (x_px, y_px); what falls outside is cut."""
    size = stamp.shape[0]
    x0, y0 = x_px - size // 2, y_px - size // 2
    left, bottom = max(0, -x0), max(0, -y0)
    right, top = min(size, image.shape[1] - x0), min(size, image.shape[0] - y0)
    if left < right and bottom < top:
        image[y0 + bottom : y0 + top, x0 + left : x0 + right] += stamp[bottom:top, left:right]
