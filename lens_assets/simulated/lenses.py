"""The lenses of the sky: their mass, their sources, and what their arcs amount to before any coadd is drawn.

The laws here (log-normal radii, normal magnitudes, gamma colours and sizes, normal source offsets) are the sky's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.simulated_sky import LensPopulationSettings, SimulatedSkySettings
from lens_assets.simulated.conditions import BrickConditions, kernel_weights
from lens_assets.simulated.light import draw, grid_spectrum, psf_transfer
from lens_assets.simulated.ray_shooting import Blob, LensModel, lensed_fractions
from lens_assets.sky.randomness import generator
from lens_assets.survey.units import BANDS, PIXEL_SCALE_ARCSEC, mag_to_flux

FloatArray = NDArray[np.float64]
CATALOGUE_OVERSAMPLING = 3
"""Rays per pixel side for catalogue quantities; fluxes agree with the drawn arcs to a percent."""


def draw_lens(law: LensPopulationSettings, host: pd.Series, seed: int) -> dict[str, Any]:
    """Draw the mass and the source of the lens in `host` (a row of the population table).

    A hidden lens has a source 1.3 to 2.3 mag fainter than usual and a radius 0.6 times as large.
    """
    rng = generator(seed, str(host["object_id"]), "lens")
    hidden = bool(rng.random() < law.hidden_fraction)
    theta_e = _bounded_lognormal(rng, law) * (0.6 if hidden else 1.0)
    theta_e = max(theta_e, law.theta_e_min_arcsec)
    mag_r = rng.normal(law.source_mag_r_mean, law.source_mag_r_sigma) + (rng.uniform(1.3, 2.3) if hidden else 0.0)
    g_minus_r = law.source_g_minus_r_floor + rng.gamma(law.source_g_minus_r_shape, law.source_g_minus_r_scale)
    host_g_minus_r = 2.5 * np.log10(host["flux_r"] / host["flux_g"])
    host_r_minus_z = 2.5 * np.log10(host["flux_z"] / host["flux_r"])
    g_minus_r = min(g_minus_r, host_g_minus_r - 0.1)
    mean_g_minus_r = law.source_g_minus_r_floor + law.source_g_minus_r_shape * law.source_g_minus_r_scale
    r_minus_z = law.source_r_minus_z_mean + 0.4 * (g_minus_r - mean_g_minus_r)
    r_minus_z = min(r_minus_z + rng.normal(0.0, law.source_r_minus_z_sigma), host_r_minus_z - 0.1)
    offset = _source_offset(rng, law) * theta_e
    shear = rng.normal(0.0, law.shear_sigma, size=2)
    return {
        "hidden": hidden,
        "theta_e_arcsec": float(theta_e),
        "lens_axis_ratio": float(np.clip(host["axis_ratio"] + rng.normal(0.0, 0.05), 0.5, 1.0)),
        "lens_angle_deg": float(np.mod(host["angle_deg"] + rng.normal(0.0, law.mass_angle_scatter_deg), 180.0)),
        "shear_g1": float(shear[0]),
        "shear_g2": float(shear[1]),
        "source_x_arcsec": float(offset.real),
        "source_y_arcsec": float(offset.imag),
        "source_mag_r": float(mag_r),
        "source_g_minus_r": float(g_minus_r),
        "source_r_minus_z": float(r_minus_z),
        "source_radius_arcsec": float(
            np.clip(rng.gamma(law.source_radius_shape, law.source_radius_scale_arcsec), 0.06, 0.9)
        ),
        "source_sersic_index": float(rng.uniform(0.6, 1.6)),
        "source_axis_ratio": float(rng.uniform(0.35, 1.0)),
        "source_angle_deg": float(rng.uniform(0.0, 180.0)),
    }


def _bounded_lognormal(rng: np.random.Generator, law: LensPopulationSettings) -> float:
    while True:
        theta_e = float(rng.lognormal(np.log(law.theta_e_median_arcsec), law.theta_e_sigma_ln))
        if law.theta_e_min_arcsec <= theta_e <= law.theta_e_max_arcsec:
            return theta_e


def _source_offset(rng: np.random.Generator, law: LensPopulationSettings) -> complex:
    while True:
        offset = complex(*rng.normal(0.0, law.source_offset_sigma, size=2))
        if abs(offset) <= law.source_offset_max:
            return offset


def mass_model(lens: pd.Series) -> LensModel:
    """Return the mass of a lens row, centred on its host."""
    return LensModel(
        lens["theta_e_arcsec"], lens["lens_axis_ratio"], lens["lens_angle_deg"], lens["shear_g1"], lens["shear_g2"]
    )


def source_blobs(lens: pd.Series, clump_fraction: float, seed: int) -> list[Blob]:
    """Return the source of a lens row: a Sersic body and two to four star-forming clumps within its radius."""
    rng = generator(seed, str(lens["object_id"]), "clumps")
    radius, x, y = lens["source_radius_arcsec"], lens["source_x_arcsec"], lens["source_y_arcsec"]
    body = Blob(
        1.0 - clump_fraction, x, y, radius,
        lens["source_sersic_index"], lens["source_axis_ratio"], lens["source_angle_deg"],
    )  # fmt: skip
    if clump_fraction == 0.0:
        return [body]
    count = int(rng.integers(2, 5))
    shares = rng.dirichlet(np.ones(count)) * clump_fraction
    places = (rng.normal(0.0, 0.7, size=(count, 2)) * radius).clip(-2.0 * radius, 2.0 * radius)
    return [body] + [
        Blob(float(share), x + float(dx), y + float(dy), float(rng.uniform(0.06, 0.10)), 0.5, 1.0, 0.0)
        for share, (dx, dy) in zip(shares, places, strict=True)
    ]


def arc_grid(lens: pd.Series, settings: SimulatedSkySettings, oversampling: int) -> FloatArray:
    """Return the arcs of a lens per unit of unlensed flux on the ray grid, (pixels * s, pixels * s)."""
    blobs = source_blobs(lens, settings.lenses.clump_fraction, settings.seed)
    pixels = settings.pixels.lens_stamp_pixels
    return lensed_fractions(mass_model(lens), blobs, pixels, PIXEL_SCALE_ARCSEC, oversampling).sum(axis=0)


def source_flux(lens: pd.Series) -> dict[str, float]:
    """Return the unlensed source flux in g, r, z (nmgy)."""
    mag_r = lens["source_mag_r"]
    mags = {"g": mag_r + lens["source_g_minus_r"], "r": mag_r, "z": mag_r - lens["source_r_minus_z"]}
    return {band: float(mag_to_flux(mags[band])) for band in BANDS}


def measure_arcs(lens: pd.Series, settings: SimulatedSkySettings, conditions: BrickConditions) -> dict[str, float]:
    """Return what the arcs of a lens amount to: magnification, fluxes, signal-to-noise, the brightest image.

    `arc_snr_<band>` is that of a perfectly matched filter on the sky noise alone, sqrt(sum arc^2) / sigma.
    """
    grid = arc_grid(lens, settings, CATALOGUE_OVERSAMPLING)
    magnification = float(grid.sum())
    flux = source_flux(lens)
    spectrum = grid_spectrum(grid, CATALOGUE_OVERSAMPLING)
    pixels = settings.pixels.lens_stamp_pixels
    _, ratio = kernel_weights(settings.pixels.noise_correlation)
    result = {"magnification": magnification}
    for band in BANDS:
        state = conditions.bands[band]
        transfer = psf_transfer(pixels, state.psf_fwhm_arcsec, settings.pixels.psf_moffat_beta)
        arc = draw(spectrum, transfer, 0.0, 0.0) * flux[band]
        result[f"arc_flux_{band}"] = flux[band] * magnification
        result[f"arc_snr_{band}"] = float(np.sqrt((arc**2).sum()) / (ratio * state.sigma1))
        if band == "r":
            row, column = np.unravel_index(int(np.argmax(arc)), arc.shape)
            result["brightest_x_arcsec"] = float(column - pixels // 2) * PIXEL_SCALE_ARCSEC
            result["brightest_y_arcsec"] = float(row - pixels // 2) * PIXEL_SCALE_ARCSEC
    return result
