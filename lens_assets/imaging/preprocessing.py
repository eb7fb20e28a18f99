"""The one preprocessing of stamps: training, scoring, injection scoring and the gates all call `preprocess`.

Its settings are part of every experiment, and their digest is stored with every detector.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from lens_assets.campaign.preprocessing import PreprocessingSettings
from lens_assets.imaging.geometry import annulus_indices, crop_start, radius_px
from lens_assets.imaging.host_subtraction import measure_ellipse, subtract_elliptical_profile
from lens_assets.imaging.robust import covered, median_and_sigma

__all__ = ["PreprocessingSettings", "preprocess", "preprocessing_digest", "sky_statistics"]

_VERSION = 1  # raised when the same settings would give other pixels
_LARGEST = 1e30  # no later step can overflow float32 from here
_CHUNK = 128  # stamps worked on at once: keeps the temporaries in cache


def preprocessing_digest(spec: PreprocessingSettings) -> str:
    """Return a digest that changes whenever the same stamp would be preprocessed to other numbers."""
    content = json.dumps({"version": _VERSION, **spec.model_dump(mode="json")}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def preprocess(stamps: NDArray[np.floating], spec: PreprocessingSettings) -> NDArray[np.float32]:
    """Return what a detector sees of stamps in nanomaggies: (N, 3, stamp_pixels, stamp_pixels) float32, finite.

    `stamps` has shape (N, 3, input_pixels, input_pixels), bands g, r, z, in nanomaggies per pixel.

    Per band: the median of the sky annulus of the full stamp is subtracted and the result divided by
    1.4826 x the median absolute deviation of the same annulus (about the noise of one pixel); then crop, mask, clip
    and the optional stretch softening x asinh(x / softening). Pixels without coverage (exact zero or
    non-finite) enter no statistic and come out as 0. A band whose annulus has no coverage or no spread has
    no scale and comes out as 0 throughout. Each stamp's result depends on nothing but that stamp and `spec`.
    """
    stamps = np.asarray(stamps)
    expected = (3, spec.input_pixels, spec.input_pixels)
    if stamps.ndim != 4 or stamps.shape[1:] != expected:
        raise ValueError(f"stamps have shape {stamps.shape}, expected (N, {', '.join(map(str, expected))})")
    result = np.empty((len(stamps), 3, spec.stamp_pixels, spec.stamp_pixels), dtype=np.float32)
    for start in range(0, len(stamps), _CHUNK):
        chunk = np.asarray(stamps[start : start + _CHUNK], dtype=np.float32)
        result[start : start + _CHUNK] = _preprocess_chunk(chunk, spec)
    return result


def sky_statistics(
    stamps: NDArray[np.floating], inner_px: float, outer_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sky level and pixel noise (N, bands) in nanomaggies from the annulus inner_px <= r <= outer_px."""
    count, bands, height, width = stamps.shape
    indices = annulus_indices(height, width, inner_px, outer_px)
    values = stamps.reshape(count * bands, height * width)[:, indices]
    level, sigma = median_and_sigma(values, covered(values))
    return level.reshape(count, bands), sigma.reshape(count, bands)


def _preprocess_chunk(stamps: NDArray[np.float32], spec: PreprocessingSettings) -> NDArray[np.float32]:
    level, sigma = sky_statistics(stamps, spec.annulus_inner_px, spec.annulus_outer_px)
    first = crop_start(spec.input_pixels, spec.stamp_pixels)
    window = slice(first, first + spec.stamp_pixels)
    crop = stamps[:, :, window, window]
    has_scale = np.isfinite(level) & np.isfinite(sigma) & (sigma > 0)
    usable = covered(crop) & has_scale[:, :, None, None]
    level = np.where(has_scale, level, 0.0)[:, :, None, None]
    sigma = np.where(has_scale, sigma, 1.0)[:, :, None, None]
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.clip((crop - level) / sigma, -_LARGEST, _LARGEST).astype(np.float32)
    scaled = np.where(usable, scaled, np.float32(0.0))
    if spec.mask == "residual":
        axis_ratio, angle_deg = measure_ellipse(scaled)
        scaled = subtract_elliptical_profile(scaled, axis_ratio, angle_deg)
    scaled *= _visible(spec)
    np.clip(scaled, -spec.clip, spec.clip, out=scaled)
    if spec.asinh_softening is not None:
        scaled = spec.asinh_softening * np.arcsinh(scaled / spec.asinh_softening)
    return scaled.astype(np.float32)


def _visible(spec: PreprocessingSettings) -> NDArray[np.float32]:
    """Return 1 where the detector may look and 0 elsewhere, (h, w)."""
    core = radius_px(spec.stamp_pixels, spec.stamp_pixels) < spec.core_radius_px
    if spec.mask == "core_only":
        return core.astype(np.float32)
    if spec.mask == "annulus_only":
        return (~core).astype(np.float32)
    return np.ones_like(core, dtype=np.float32)
