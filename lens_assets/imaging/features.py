"""Physical features of stamps: how much arc can be seen, and the numbers a shortcut could hide in."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lens_assets.campaign.stages.features import RegionSettings, VisibilitySettings
from lens_assets.imaging.geometry import annulus_indices, crop_start, flat_pixels, radius_px
from lens_assets.imaging.host_subtraction import measure_ellipse, subtract_elliptical_profile
from lens_assets.imaging.preprocessing import sky_statistics
from lens_assets.imaging.quality import masked_mean
from lens_assets.imaging.robust import covered
from lens_assets.survey.units import BANDS

_CHUNK = 64
_SECTORS = 8


def arc_visibility(
    stamps: NDArray[np.floating], regions: RegionSettings, visibility: VisibilitySettings
) -> NDArray[np.float64]:
    """Return the signal-to-noise ratio (N,) of the blue residual light around each galaxy; 0 where none is seen.

    The host is subtracted in every band as a concentric elliptical profile (ellipse from the r-band
    moments). The blue residual is B = R_g - c R_r with c the flux ratio g/r of the core: light of the host's
    own colour (its residuals, companions of the same colour) cancels, bluer light stays positive. B is
    smoothed and divided by its own robust scatter in the sky annulus, which includes the correlation of the
    survey's noise. With the pixels of the searched annulus above the threshold as the arc,
    SNR = sum(B) / (sigma_B sqrt(N_arc)) over the unsmoothed pixels. Noise alone gives about 0 to 5, because the
    pixels are chosen for being bright. Known blind spot: a complete ring that outshines its host gives the core its
    colour and is subtracted with the host. `stamps` has shape (N, 3, H, W), g, r, z, nanomaggies per pixel.
    """
    stamps = np.asarray(stamps, dtype=np.float32)
    parts = [
        _visibility_chunk(stamps[start : start + _CHUNK], regions, visibility)
        for start in range(0, len(stamps), _CHUNK)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def host_colour_ratio(light: NDArray[np.floating], core_radius_px: float) -> NDArray[np.float64]:
    """Return the flux ratio g/r (N,) of the core of sky-subtracted stamps; 0 where a flux is not positive."""
    core = annulus_indices(light.shape[2], light.shape[3], 0.0, core_radius_px)
    flux = flat_pixels(light)[:, :2, core].sum(axis=2, dtype=np.float64)
    positive = (flux > 0).all(axis=1)
    return np.divide(flux[:, 0], flux[:, 1], out=np.zeros(len(light)), where=positive)


def blue_residual(
    stamps: NDArray[np.floating], regions: RegionSettings, radius_px: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the blue light that is left when the host is taken out, and which pixels are covered in g and r.

    The light is R_g - c R_r (N, H, W) in nanomaggies per pixel, c the core's flux ratio g/r. The host profile is
    subtracted inside the square of half-side `radius_px`; outside it, where the sky is measured, the light is
    g - c r as it stands. Pixels without coverage are 0.
    """
    stamps = np.asarray(stamps, dtype=np.float32)[:, :2]
    level, _ = sky_statistics(stamps, regions.sky_inner_px, regions.sky_outer_px)
    valid = covered(stamps)
    light = np.where(valid, stamps - np.nan_to_num(level)[:, :, None, None], 0.0).astype(np.float32)
    ratio = host_colour_ratio(light, regions.annulus_inner_px).astype(np.float32)[:, None, None]
    both = valid[:, 0] & valid[:, 1]
    blue = np.where(both, light[:, 0] - ratio * light[:, 1], 0.0).astype(np.float32)
    side = min(2 * int(np.ceil(radius_px)) + 1, *stamps.shape[2:])
    rows, columns = crop_start(stamps.shape[2], side), crop_start(stamps.shape[3], side)
    box = (slice(None), slice(rows, rows + side), slice(columns, columns + side))
    centre = light[:, :, box[1], box[2]]
    residual = subtract_elliptical_profile(centre, *measure_ellipse(centre))
    blue[box] = np.where(both[box], residual[:, 0] - ratio * residual[:, 1], 0.0)
    return blue, both


def _visibility_chunk(
    stamps: NDArray[np.float32], regions: RegionSettings, visibility: VisibilitySettings
) -> NDArray[np.float64]:
    margin = 2.0 * visibility.smoothing_sigma_px
    blue, both = blue_residual(stamps, regions, visibility.outer_px + margin)
    width = visibility.smoothing_sigma_px
    smooth = gaussian_filter(blue, sigma=(0, width, width), truncate=3.0)
    sky = (regions.sky_inner_px, regions.sky_outer_px)
    _, sigma = sky_statistics(blue[:, None], *sky)
    _, sigma_smooth = sky_statistics((smooth * both)[:, None], *sky)
    radius = radius_px(*stamps.shape[2:])
    searched = (radius >= visibility.inner_px) & (radius <= visibility.outer_px)
    with np.errstate(divide="ignore", invalid="ignore"):
        arc = searched & (smooth > visibility.threshold_sigma * sigma_smooth[:, :, None])
        pixels = arc.sum(axis=(1, 2))
        snr = np.where(arc, blue, 0.0).sum(axis=(1, 2), dtype=np.float64) / (sigma[:, 0] * np.sqrt(pixels))
    return np.where((pixels > 0) & (snr > 0), snr, 0.0)


def feature_table(stamps: NDArray[np.floating], regions: RegionSettings) -> pd.DataFrame:
    """Return features (one row a stamp) that the shortcut audit looks at beside the quality columns.

    - `sky_level_<b>`, `sky_sigma_<b>`: median and 1.4826 MAD of the sky annulus, nanomaggies per pixel.
    - `noise_correlation_r`: scatter of horizontal neighbour differences over sqrt(2) sky sigma (1 for white
      noise, below 1 for the survey's resampled noise).
    - `core_g_minus_r`, `core_r_minus_z`: colours of the core, mag; NaN where a flux is not positive.
    - `annulus_g_minus_r`: colour of the mean arc-annulus light, mag.
    - `azimuthal_asymmetry_r`: standard deviation over 8 sectors of the mean light of the arc annulus, over
      the sky sigma.
    - `rotation_asymmetry_r`: sum |I - I_180| / sum |I| inside the arc annulus' outer radius (Conselice 2003).
    """
    stamps = np.asarray(stamps, dtype=np.float32)
    parts = [_feature_chunk(stamps[start : start + _CHUNK], regions) for start in range(0, max(len(stamps), 1), _CHUNK)]
    return pd.concat(parts, ignore_index=True)


def _feature_chunk(stamps: NDArray[np.float32], regions: RegionSettings) -> pd.DataFrame:
    level, sigma = sky_statistics(stamps, regions.sky_inner_px, regions.sky_outer_px)
    valid = covered(stamps)
    light = np.where(valid, stamps - level[:, :, None, None], 0.0)
    table = pd.DataFrame({f"sky_level_{b}": level[:, i] for i, b in enumerate(BANDS)})
    for i, band in enumerate(BANDS):
        table[f"sky_sigma_{band}"] = sigma[:, i]
    table["noise_correlation_r"] = _neighbour_scatter(stamps[:, 1:2], regions) / sigma[:, 1]
    height, width = stamps.shape[2:]
    flat, flat_valid = flat_pixels(light), flat_pixels(valid)
    core = annulus_indices(height, width, 0.0, regions.core_radius_px)
    annulus = annulus_indices(height, width, regions.annulus_inner_px, regions.annulus_outer_px)
    core_flux = [masked_mean(flat[:, i, core], flat_valid[:, i, core]) for i in range(len(BANDS))]
    arc_flux = [masked_mean(flat[:, i, annulus], flat_valid[:, i, annulus]) for i in range(2)]
    table["core_g_minus_r"] = _colour(core_flux[0], core_flux[1])
    table["core_r_minus_z"] = _colour(core_flux[1], core_flux[2])
    table["annulus_g_minus_r"] = _colour(arc_flux[0], arc_flux[1])
    table["azimuthal_asymmetry_r"] = _sector_scatter(flat[:, 1], flat_valid[:, 1], regions, width) / sigma[:, 1]
    table["rotation_asymmetry_r"] = _rotation_asymmetry(light[:, 1], regions.annulus_outer_px)
    return table.replace([np.inf, -np.inf], np.nan)


def _colour(blue: NDArray[np.float64], red: NDArray[np.float64]) -> NDArray[np.float64]:
    positive = (blue > 0) & (red > 0)
    ratio = np.divide(blue, red, out=np.ones_like(blue), where=positive)
    return np.where(positive, -2.5 * np.log10(ratio), np.nan)


def _neighbour_scatter(plane: NDArray[np.float32], regions: RegionSettings) -> NDArray[np.float64]:
    """Return the sky scatter of (pixel - right neighbour) / sqrt(2), (N,)."""
    difference = np.zeros_like(plane)
    both = covered(plane[..., 1:]) & covered(plane[..., :-1])
    difference[..., :-1] = np.where(both, (plane[..., 1:] - plane[..., :-1]) / np.float32(np.sqrt(2.0)), 0.0)
    return sky_statistics(difference, regions.sky_inner_px, regions.sky_outer_px)[1][:, 0]


def _sector_scatter(
    light: NDArray[np.floating], valid: NDArray[np.bool_], regions: RegionSettings, width: int
) -> NDArray[np.float64]:
    height = light.shape[1] // width
    indices = annulus_indices(height, width, regions.annulus_inner_px, regions.annulus_outer_px)
    angle = np.arctan2(indices // width - height // 2, indices % width - width // 2)
    sector = np.floor((angle + np.pi) / (2 * np.pi) * _SECTORS).astype(int) % _SECTORS
    means = [masked_mean(light[:, indices[sector == s]], valid[:, indices[sector == s]]) for s in range(_SECTORS)]
    return np.std(means, axis=0)


def _rotation_asymmetry(light: NDArray[np.floating], radius: float) -> NDArray[np.float64]:
    height, width = light.shape[1:]
    side = 2 * int(radius) + 1
    if side > min(height, width):
        raise ValueError(f"arc annulus of {radius} px does not fit in a stamp of {height} x {width} px")
    rows, columns = crop_start(height, side), crop_start(width, side)
    box = light[:, rows : rows + side, columns : columns + side].astype(np.float64)
    inside = radius_px(side, side) < radius
    difference = np.abs(box - box[:, ::-1, ::-1])[:, inside].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return difference / np.abs(box)[:, inside].sum(axis=1)
