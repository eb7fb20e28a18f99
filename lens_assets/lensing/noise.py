"""The photon noise that arcs add. The host's stamp already carries its sky, so nothing else is added by default.

Gain. The noise of a sky-limited stamp counts sky photons: sigma^2 = S / G with S the sky's flux in a pixel and G in
electrons per nanomaggy of the whole coadd. Hence G = S / sigma^2, from the stamp's own measured sky noise: about
2.7e4 in r at DR10 depth, deeper stamps more. The night sky is DECam's nominal one, g 22.04, r 20.91, z 18.46
mag/arcsec^2 (legacysurvey/obsbot, decam.py). Read noise and the covariance of resampled pixels are left out: both make
the true gain a few tens of percent larger, where source noise is a percent of the sky's.

Correlation. A coadd is resampled, so neighbouring pixels share their photon noise as they share the sky's; white noise
would be rougher than that of any real source.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from lens_assets.campaign.stages.injection import NoiseSettings, SkyBrightnessSettings
from lens_assets.sky.randomness import generator
from lens_assets.survey.units import BANDS, PIXEL_SCALE_ARCSEC, mag_to_flux


def sky_flux_per_pixel(sky: SkyBrightnessSettings) -> NDArray[np.float64]:
    """Return the night sky's flux in a pixel by band, nanomaggies, shape (3,)."""
    return mag_to_flux([sky.g, sky.r, sky.z]) * PIXEL_SCALE_ARCSEC**2


def inferred_gain(sky_sigma: NDArray[np.floating], sky: SkyBrightnessSettings) -> NDArray[np.float64]:
    """Return electrons per nanomaggy of stamps with sky noise `sky_sigma` (nmgy per pixel), shape (N, 3)."""
    return sky_flux_per_pixel(sky) / np.asarray(sky_sigma, dtype=np.float64) ** 2


def shot_noise(
    signal: NDArray[np.floating], gain: NDArray[np.floating], seed: int, injection_id: str
) -> NDArray[np.float64]:
    """Return Poisson noise of mean zero and variance signal/gain, shape (3, H, W), nanomaggies.

    It is exactly zero where the signal is not positive. Each band has its own stream, keyed by the injection.
    Neighbouring pixels are independent.
    """
    noise = np.zeros(signal.shape, dtype=np.float64)
    for plane, band in enumerate(BANDS):
        stream = generator(seed, injection_id, f"source_shot_noise_{band}")
        expected = np.maximum(np.asarray(signal[plane], dtype=np.float64), 0.0) * gain[plane]
        noise[plane] = (stream.poisson(expected) - expected) / gain[plane]
    return noise


def correlated(noise: NDArray[np.floating], pixel_correlation: float) -> NDArray[np.float64]:
    """Return white noise (..., H, W) after a resampling that correlates neighbours along rows and columns.

    The kernel [a, 1 - 2a, a] along each axis has unit sum, as flux is conserved: a sum over many pixels keeps its
    error while single pixels vary less, exactly as the sky whose inverse variance promises the error of sums. With
    correlation rho = 2 a (1 - 2a) / ((1 - 2a)^2 + 2 a^2) the quadratic
    (4 + 6 rho) a^2 - (2 + 4 rho) a + rho = 0 gives a.
    What was exactly zero stays so.
    """
    smooth = _smoothed(noise, pixel_correlation)
    return np.where(noise != 0.0, smooth, 0.0)


def _smoothed(noise: NDArray[np.floating], pixel_correlation: float) -> NDArray[np.float64]:
    rho = pixel_correlation
    a = ((1.0 + 2.0 * rho) - np.sqrt((1.0 + 2.0 * rho) ** 2 - (4.0 + 6.0 * rho) * rho)) / (4.0 + 6.0 * rho)
    kernel = np.array([a, 1.0 - 2.0 * a, a])
    return np.asarray(convolve1d(convolve1d(noise, kernel, axis=-1, mode="constant"), kernel, axis=-2, mode="constant"))


def sky_only_stamps(
    injection_ids: Sequence[str], sky_sigma: NDArray[np.floating], size_px: int, pixel_correlation: float, seed: int
) -> NDArray[np.float32]:
    """Return stamps of nothing but a coadd's sky, (N, 3, size, size) nanomaggies, to render arcs onto no host at all.

    `sky_sigma` (N, 3) is the noise that the inverse variance promises: sums over many pixels have it exactly, single
    pixels less, and neighbours share `pixel_correlation`. Each id and band has its own stream.
    """
    stamps = np.empty((len(injection_ids), len(BANDS), size_px, size_px), dtype=np.float32)
    for row, identifier in enumerate(injection_ids):
        for plane, band in enumerate(BANDS):
            stream = generator(seed, str(identifier), f"sky_only_{band}")
            # A frame of one pixel, cut off again, so that the edge is like the middle.
            white = stream.normal(0.0, sky_sigma[row, plane], (size_px + 2, size_px + 2))
            stamps[row, plane] = _smoothed(white, pixel_correlation)[1:-1, 1:-1]
    return stamps


def second_sky(
    shape: tuple[int, ...], sky_sigma: NDArray[np.floating], seed: int, injection_id: str
) -> NDArray[np.float64]:
    """Return white Gaussian noise of the host's own sky level, (3, H, W): the fault of counting the sky twice."""
    noise = np.empty(shape, dtype=np.float64)
    for plane, band in enumerate(BANDS):
        stream = generator(seed, injection_id, f"second_sky_{band}")
        noise[plane] = stream.normal(0.0, sky_sigma[plane], shape[1:])
    return noise


def added_noise(
    signal: NDArray[np.floating],
    gain: NDArray[np.floating],
    sky_sigma: NDArray[np.floating],
    settings: NoiseSettings,
    seed: int,
    injection_id: str,
) -> NDArray[np.float64]:
    """Return the noise that goes with the arcs of one stamp under the campaign's noise settings, (3, H, W)."""
    if settings.mode == "none":
        return np.zeros(signal.shape, dtype=np.float64)
    noise = shot_noise(signal, np.asarray(gain) * settings.gain_scale, seed, injection_id)
    noise = correlated(noise, settings.pixel_correlation)
    if settings.mode == "source_shot_and_sky":
        noise += second_sky(signal.shape, sky_sigma, seed, injection_id)
    return noise
