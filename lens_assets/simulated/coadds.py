"""The pixels of a brick: light of its objects and arcs, correlated noise, photon noise, masks and coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from lens_assets.campaign.stages.simulated_sky import SimulatedSkySettings
from lens_assets.simulated.conditions import kernel_weights
from lens_assets.simulated.lenses import arc_grid, source_flux
from lens_assets.simulated.light import add_stamp, draw, grid_spectrum, psf_transfer
from lens_assets.simulated.masks import maskbits_map
from lens_assets.simulated.morphology import band_shares, components, stamp_pixels
from lens_assets.simulated.sky import Brick
from lens_assets.sky.randomness import generator
from lens_assets.survey.schemas import Maskbits
from lens_assets.survey.units import BANDS

FloatArray = NDArray[np.float64]
SATURATION_NANOMAGGY = 40.0
"""Flux per pixel at which the coadd stops rising."""

_SATURATED = {"g": Maskbits.SATUR_G, "r": Maskbits.SATUR_R, "z": Maskbits.SATUR_Z}


@dataclass(frozen=True)
class Coadd:
    """The planes of one brick by band, (pixels, pixels): image (nmgy), invvar (nmgy^-2), nexp, psfsize (arcsec)."""

    image: dict[str, NDArray[np.float32]]
    invvar: dict[str, NDArray[np.float32]]
    nexp: dict[str, NDArray[np.int16]]
    psfsize: dict[str, NDArray[np.float32]]
    maskbits: NDArray[np.int32]


def render_brick(settings: SimulatedSkySettings, brick: Brick, objects: pd.DataFrame) -> Coadd:
    """Return the coadd of a brick whose objects (with lens columns) are given."""
    return render_pixels(settings, brick, objects, brick.exposures(settings.seed))


def render_pixels(
    settings: SimulatedSkySettings, brick: Brick, objects: pd.DataFrame, exposures: dict[str, NDArray[np.int16]]
) -> Coadd:
    """Return the coadd under the given exposure maps, (pixels, pixels) by band."""
    light = render_light(settings, brick, objects)
    maskbits = maskbits_map(objects, exposures)
    pixels = brick.plane.pixels
    columns, rows = np.meshgrid(np.arange(pixels), np.arange(pixels))
    image, invvar, psfsize = {}, {}, {}
    for band in BANDS:
        state = brick.conditions.bands[band]
        covered = exposures[band] > 0
        sigma = state.sigma1 * np.sqrt(state.exposures / np.maximum(exposures[band], 1))
        rng = generator(settings.seed, brick.name, f"noise-{band}")
        noise = correlated_noise(
            rng, light[band], sigma, state.gain_electrons_per_nanomaggy, settings.pixels.noise_correlation
        )
        plane = np.minimum(light[band] + state.pedestal, SATURATION_NANOMAGGY) + noise
        image[band] = np.where(covered, plane, 0.0).astype(np.float32)
        good = covered & ((maskbits & int(_SATURATED[band])) == 0)
        invvar[band] = np.where(good, sigma**-2, 0.0).astype(np.float32)
        fwhm = state.fwhm_at(columns.astype(np.float64), rows.astype(np.float64), pixels)
        psfsize[band] = np.where(covered, fwhm, 0.0).astype(np.float32)
    return Coadd(image, invvar, exposures, psfsize, maskbits)


def correlated_noise(
    rng: np.random.Generator,
    light: FloatArray,
    sigma: FloatArray,
    gain_electrons_per_nanomaggy: float,
    noise_correlation: float,
) -> FloatArray:
    """Return sky and photon noise in nmgy, correlated as by resampling (see `conditions.kernel_weights`).

    White noise of variance sigma^2 + F / G' per pixel passes through the resampling kernel. G' is the gain times the
    kernel's variance ratio, so that the variance of a finished pixel grows by F / gain.
    """
    a, ratio = kernel_weights(noise_correlation)
    white_gain = gain_electrons_per_nanomaggy * ratio**2
    variance = sigma**2 + np.maximum(light, 0.0) / white_gain
    white = rng.standard_normal(light.shape) * np.sqrt(variance)
    kernel = np.array([a, 1.0 - 2.0 * a, a])
    return np.asarray(convolve1d(convolve1d(white, kernel, axis=0, mode="wrap"), kernel, axis=1, mode="wrap"))


def render_light(settings: SimulatedSkySettings, brick: Brick, objects: pd.DataFrame) -> dict[str, FloatArray]:
    """Return the noise-free light of a brick by band, nmgy per pixel, without the sky pedestal."""
    pixels = brick.plane.pixels
    light = {band: np.zeros((pixels, pixels)) for band in BANDS}
    for _, row in objects.iterrows():
        _add_object(light, row, settings, brick)
        if row["kind"] == "lens":
            _add_arcs(light, row, settings, brick)
    return light


def _add_object(light: dict[str, FloatArray], row: pd.Series, settings: SimulatedSkySettings, brick: Brick) -> None:
    size = stamp_pixels(row)
    parts = components(row, size, settings.seed)
    for band in BANDS:
        shares = [share[band] for share in band_shares(parts)]
        spectrum = sum(share * part.spectrum for share, part in zip(shares, parts, strict=True))
        _add_spectrum(light[band], spectrum * row[f"flux_{band}"], row, band, settings, brick)


def _add_arcs(light: dict[str, FloatArray], row: pd.Series, settings: SimulatedSkySettings, brick: Brick) -> None:
    oversampling = settings.pixels.ray_oversampling
    spectrum = grid_spectrum(arc_grid(row, settings, oversampling), oversampling)
    flux = source_flux(row)
    for band in BANDS:
        _add_spectrum(light[band], spectrum * flux[band], row, band, settings, brick)


def _add_spectrum(
    image: FloatArray,
    spectrum: NDArray[np.complex128],
    row: pd.Series,
    band: str,
    settings: SimulatedSkySettings,
    brick: Brick,
) -> None:
    state = brick.conditions.bands[band]
    fwhm = float(state.fwhm_at(row["x_px"], row["y_px"], brick.plane.pixels))
    transfer = psf_transfer(spectrum.shape[0], fwhm, settings.pixels.psf_moffat_beta)
    x, y = int(np.rint(row["x_px"])), int(np.rint(row["y_px"]))
    add_stamp(image, draw(spectrum, transfer, row["x_px"] - x, row["y_px"] - y), x, y)
