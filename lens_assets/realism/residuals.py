"""What is left of a stamp when sky and host are gone, and which of its pixels are arc.

One function serves anchors, injections and untouched galaxies; it sees pixels and the host's ellipse, never what was
injected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lens_assets.campaign.stages.realism import ApertureSettings
from lens_assets.imaging.geometry import annulus_indices, centre_pixel, radius_px
from lens_assets.imaging.host_subtraction import subtract_elliptical_profile
from lens_assets.imaging.robust import covered, median_and_sigma
from lens_assets.survey.units import PIXEL_SCALE_ARCSEC

G, R, Z = 0, 1, 2
CROP_MARGIN_PX = 9
SMOOTHING_SIGMA_PX = 1.5
# Half the width of the seeing: the host's peak fills it, and light of arcs at an arcsecond hardly reaches it.
HOST_APERTURE_PX = 2.0
# Weights of r against g in the detection image, for an arc of g-r = 0.6 mag: flux ratio over variance ratio.
ARC_FLUX_R_OVER_G = 10.0 ** (0.4 * 0.6)
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Residuals:
    """The central crop of N stamps, decomposed; fluxes in nanomaggies per pixel.

    `residual` and `host` (N, 3, C, C); `detection` and `smoothed` (N, C, C) in units of the sky noise of the
    unsmoothed and smoothed detection image; `arc` (N, C, C) marks arc pixels; `sky_median` and `sky_sigma` (N, 3).
    """

    residual: NDArray[np.float32]
    host: NDArray[np.float32]
    detection: NDArray[np.float32]
    smoothed: NDArray[np.float32]
    arc: NDArray[np.bool_]
    sky_median: NDArray[np.float64]
    sky_sigma: NDArray[np.float64]


def crop(images: NDArray[np.floating], half_px: int) -> NDArray[np.floating]:
    """Return the central (2 half + 1)^2 pixels of the last two axes."""
    rows, columns = centre_pixel(images.shape[-2]), centre_pixel(images.shape[-1])
    return images[..., rows - half_px : rows + half_px + 1, columns - half_px : columns + half_px + 1]


def crop_half_px(apertures: ApertureSettings, stamp_pixels: int) -> int:
    """Return the half-width of the crop that holds the arc annulus with a margin."""
    wanted = int(np.ceil(apertures.arc_outer_arcsec / PIXEL_SCALE_ARCSEC)) + CROP_MARGIN_PX
    return min(wanted, centre_pixel(stamp_pixels))


def sky_statistics(
    stamps: NDArray[np.floating], apertures: ApertureSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return median and robust sigma (N, B) of the sky annulus; NaN where a band has no data there."""
    count, bands, height, width = stamps.shape
    where = annulus_indices(
        height,
        width,
        apertures.sky_inner_arcsec / PIXEL_SCALE_ARCSEC,
        apertures.sky_outer_arcsec / PIXEL_SCALE_ARCSEC,
    )
    values = stamps.reshape(count * bands, -1)[:, where]
    median, sigma = median_and_sigma(values, covered(values))
    return median.reshape(count, bands), sigma.reshape(count, bands)


def decompose(
    stamps: NDArray[np.floating],
    axis_ratio: NDArray[np.floating],
    angle_deg: NDArray[np.floating],
    apertures: ApertureSettings,
) -> Residuals:
    """Subtract sky and host and mark the arc pixels.

    The detection image adds g and r with the weights that are optimal for a blue arc. Arc pixels lie in the arc
    annulus and belong to a connected group above the threshold of the smoothed image that is large enough, mostly
    inside the annulus (else it is the edge of a neighbour), and bluer in g-r than the host (else a neighbour or the
    host's own structure).

    Args:
        stamps: (N, 3, H, W) nanomaggies per pixel, bands g, r, z.
        axis_ratio: (N,) minor over major axis of the host.
        angle_deg: (N,) major axis of the host, counter-clockwise from +x.
    """
    stamps = np.asarray(stamps, dtype=np.float32)
    if stamps.ndim != 4 or stamps.shape[1] != 3:
        raise ValueError(f"stamps have shape {stamps.shape}, expected (N, 3, H, W) with bands g, r, z")
    sky_median, sky_sigma = sky_statistics(stamps, apertures)
    level = np.nan_to_num(sky_median).astype(np.float32)[:, :, None, None]
    flat = np.where(covered(stamps), stamps - level, np.float32(0.0))
    half = crop_half_px(apertures, stamps.shape[-1])
    centre = np.ascontiguousarray(crop(flat, half), dtype=np.float32)
    residual = subtract_elliptical_profile(centre, axis_ratio, angle_deg)
    weights = _detection_weights(sky_sigma)
    detection, smoothed = _in_noise_units(flat, residual, weights, apertures)
    return Residuals(
        residual=residual,
        host=centre - residual,
        detection=detection,
        smoothed=smoothed,
        arc=_arc_pixels(smoothed, residual, centre, apertures),
        sky_median=sky_median,
        sky_sigma=sky_sigma,
    )


def _detection_weights(sky_sigma: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the weights (N, 2) of g and r: expected arc flux over variance; 0 for a band without data."""
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.array([1.0, ARC_FLUX_R_OVER_G]) / sky_sigma[:, : R + 1] ** 2
    weights = np.where(np.isfinite(weights), weights, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0).astype(np.float32)


def _in_noise_units(
    flat: NDArray[np.float32],
    residual: NDArray[np.float32],
    weights: NDArray[np.float32],
    apertures: ApertureSettings,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return detection image and smoothed detection image of the crop over their own sky noise."""
    sigma = (0.0, SMOOTHING_SIGMA_PX, SMOOTHING_SIGMA_PX)
    whole = (flat[:, : R + 1] * weights[:, :, None, None]).sum(axis=1)
    part = (residual[:, : R + 1] * weights[:, :, None, None]).sum(axis=1)
    result = []
    for sky, image in (
        (whole, part),
        (ndimage.gaussian_filter(whole, sigma), ndimage.gaussian_filter(part, sigma)),
    ):
        noise = sky_statistics(sky[:, None], apertures)[1][:, 0]
        good = np.isfinite(noise) & (noise > 0)
        scale = np.where(good, 1.0 / np.where(good, noise, 1.0), 0.0).astype(np.float32)
        result.append(image * scale[:, None, None])
    return result[0], result[1]


def _arc_pixels(
    smoothed: NDArray[np.float32],
    residual: NDArray[np.float32],
    stamps: NDArray[np.float32],
    apertures: ApertureSettings,
) -> NDArray[np.bool_]:
    radius = radius_px(*smoothed.shape[1:]) * PIXEL_SCALE_ARCSEC
    outside_core = radius >= apertures.arc_inner_arcsec
    annulus = outside_core & (radius < apertures.arc_outer_arcsec)
    bright = (smoothed > apertures.arc_pixel_threshold_sigma) & outside_core
    arc = np.zeros_like(bright)
    reddest = _reddest_ratio(stamps, apertures)
    for index in np.flatnonzero((bright & annulus).any(axis=(1, 2))):
        labels, groups = ndimage.label(bright[index], _EIGHT_NEIGHBOURS)
        chosen = _arc_groups(labels, groups, annulus, residual[index], float(reddest[index]), apertures)
        arc[index] = chosen[labels] & annulus
    return arc


def _arc_groups(
    labels: NDArray[np.integer],
    groups: int,
    annulus: NDArray[np.bool_],
    residual: NDArray[np.float32],
    reddest: float,
    apertures: ApertureSettings,
) -> NDArray[np.bool_]:
    """Return which labels (0 to groups) are arcs."""
    flat, size = labels.ravel(), groups + 1
    pixels = np.bincount(flat, minlength=size)
    inside = np.bincount(flat, weights=annulus.ravel(), minlength=size)
    flux_g, flux_r = (np.bincount(flat, weights=residual[band].ravel(), minlength=size) for band in (G, R))
    chosen = (
        (inside >= apertures.minimum_arc_pixels)
        & (inside >= apertures.minimum_inside_share * pixels)
        & (flux_g > 0)
        & (flux_r <= reddest * flux_g)
    )
    chosen[0] = False
    return np.asarray(chosen)


def host_fluxes(stamps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the flux (N, 3) of sky-subtracted stamps within `HOST_APERTURE_PX` of the target."""
    core = radius_px(*stamps.shape[2:]) < HOST_APERTURE_PX
    return np.asarray(stamps[:, :, core].sum(axis=2, dtype=np.float64))


def _reddest_ratio(stamps: NDArray[np.float32], apertures: ApertureSettings) -> NDArray[np.float64]:
    """Return the largest r/g flux ratio (N,) of an arc; infinite where the host's colour cannot be measured."""
    flux = host_fluxes(stamps)
    good = (flux[:, G] > 0) & (flux[:, R] > 0)
    ratio = np.where(good, flux[:, R] / np.where(good, flux[:, G], 1.0), np.inf)
    return np.asarray(ratio * 10.0 ** (-0.4 * apertures.minimum_blue_excess_mag))
