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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lens_assets.campaign.stages.injection import NoiseSettings, SkyBrightnessSettings
from lens_assets.lensing.machine_code import compiled
from lens_assets.sky.randomness import generator
from lens_assets.survey.units import BANDS, PIXEL_SCALE_ARCSEC, mag_to_flux


def sky_flux_per_pixel(sky: SkyBrightnessSettings) -> NDArray[np.float64]:
    """Return the night sky's flux in a pixel by band, nanomaggies, shape (3,)."""
    return mag_to_flux([sky.g, sky.r, sky.z]) * PIXEL_SCALE_ARCSEC**2


def inferred_gain(sky_sigma: NDArray[np.floating], sky: SkyBrightnessSettings) -> NDArray[np.float64]:
    """Return electrons per nanomaggy of stamps with sky noise `sky_sigma` (nmgy per pixel), shape (N, 3)."""
    return sky_flux_per_pixel(sky) / np.asarray(sky_sigma, dtype=np.float64) ** 2


FAINT_ELECTRONS = 1.0
"""Pixels that expect fewer electrons draw theirs together: nearly all of a stamp's, and few electrons."""


def shot_noise(
    signal: NDArray[np.floating], gain: NDArray[np.floating], seed: int, injection_id: str
) -> NDArray[np.float64]:
    """Return Poisson noise of mean zero and variance signal/gain, shape (3, H, W), nanomaggies.

    It is exactly zero where the signal is not positive. Each band has its own stream, keyed by the injection.
    Neighbouring pixels are independent.
    """
    noise = np.empty(signal.shape, dtype=np.float64)
    for plane, band in enumerate(BANDS):
        stream = generator(seed, injection_id, f"source_shot_noise_{band}")
        own = noise[plane].reshape(-1)
        expected, faint, bright = _expected(np.ascontiguousarray(signal[plane]).reshape(-1), float(gain[plane]))
        own[bright] = stream.poisson(expected[bright])
        _throw(own, expected, np.sort(stream.random(stream.poisson(faint))) * faint)
        own -= expected
        own /= gain[plane]
    return noise


@compiled
def _expected(signal: Any, gain: float) -> Any:
    """Return (expected electrons of every pixel, their sum over faint pixels, indices of the bright ones)."""
    expected, bright = np.empty(len(signal)), np.empty(len(signal), np.int64)
    faint, found = 0.0, 0
    for pixel in range(len(signal)):
        electrons = max(np.float64(signal[pixel]), 0.0) * gain
        expected[pixel] = electrons
        if electrons < FAINT_ELECTRONS:
            faint += electrons
        else:
            bright[found] = pixel
            found += 1
    return expected, faint, bright[:found]


@compiled
def _throw(counts: Any, expected: Any, events: Any) -> None:
    """Fill the counts of faint pixels with the events, in rising order, that fall on them on the line of their sums.

    A Poisson number of events over the whole line are independent Poisson counts of its parts, of means their lengths.
    """
    reached, event = 0.0, 0
    for pixel in range(len(expected)):
        if expected[pixel] < FAINT_ELECTRONS:
            reached += expected[pixel]
            before = event
            while event < len(events) and events[event] < reached:
                event += 1
            counts[pixel] = event - before


def correlated(noise: NDArray[np.floating], pixel_correlation: float) -> NDArray[np.float64]:
    """Return white noise (..., H, W) after a resampling that correlates neighbours along rows and columns.

    The kernel [a, 1 - 2a, a] along each axis has unit sum, as flux is conserved: a sum over many pixels keeps its
    error while single pixels vary less, exactly as the sky whose inverse variance promises the error of sums. With
    correlation rho = 2 a (1 - 2a) / ((1 - 2a)^2 + 2 a^2) the quadratic
    (4 + 6 rho) a^2 - (2 + 4 rho) a + rho = 0 gives a.
    What was exactly zero stays so.
    """
    return _smoothed(noise, pixel_correlation, keep_zeros=True)


def _smoothed(noise: NDArray[np.floating], pixel_correlation: float, keep_zeros: bool) -> NDArray[np.float64]:
    rho = pixel_correlation
    a = ((1.0 + 2.0 * rho) - np.sqrt((1.0 + 2.0 * rho) ** 2 - (4.0 + 6.0 * rho) * rho)) / (4.0 + 6.0 * rho)
    planes = np.asarray(noise, dtype=np.float64).reshape(-1, *np.shape(noise)[-2:])
    smooth = np.empty_like(planes)
    for plane, filled in zip(planes, smooth, strict=True):
        _smooth(plane, filled, float(a), keep_zeros)
    return smooth.reshape(np.shape(noise))


@compiled
def _smooth(plane: Any, smooth: Any, a: float, keep_zeros: bool) -> None:
    """Fill `smooth` with a plane after the kernel [a, 1 - 2a, a] along columns and rows; zero lies beyond its edges."""
    height, width = plane.shape
    column = np.zeros(width + 2)
    for row in range(height):
        for i in range(width):
            column[i + 1] = (1.0 - 2.0 * a) * plane[row, i]
        if row > 0:
            for i in range(width):
                column[i + 1] += a * plane[row - 1, i]
        if row < height - 1:
            for i in range(width):
                column[i + 1] += a * plane[row + 1, i]
        for i in range(width):
            value = (1.0 - 2.0 * a) * column[i + 1] + a * (column[i] + column[i + 2])
            smooth[row, i] = 0.0 if keep_zeros and plane[row, i] == 0.0 else value


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
            stamps[row, plane] = _smoothed(white, pixel_correlation, keep_zeros=False)[1:-1, 1:-1]
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
