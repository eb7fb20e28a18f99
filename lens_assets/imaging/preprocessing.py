"""The one preprocessing of stamps: training, scoring, injection scoring and the gates all call `preprocess`.

Its settings are part of every experiment, and their digest is stored with every detector.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from lens_assets.campaign.base import Settings, setting
from lens_assets.imaging.geometry import annulus_indices, crop_start, radius_px
from lens_assets.imaging.host_subtraction import measure_ellipse, subtract_elliptical_profile
from lens_assets.imaging.robust import covered, median_and_sigma

_VERSION = 1  # raised when the same settings would give other pixels
_CHUNK = 128  # stamps worked on at once: keeps the temporaries in cache


class PreprocessingSettings(Settings):
    """How a stamp in nanomaggies becomes what a detector sees."""

    input_pixels: int = setting("side of the stamps as cut", "pixel", ge=16, le=1024)
    stamp_pixels: int = setting("side of the central crop that the detector sees", "pixel", ge=16, le=1024)
    annulus_inner_px: float = setting("inner radius of the sky annulus on the full stamp", "pixel", gt=0)
    annulus_outer_px: float = setting("outer radius of the sky annulus on the full stamp", "pixel", gt=0)
    clip: float = setting("largest absolute value kept", "sky sigma", gt=0)
    asinh_softening: float | None = setting(
        "linear range of an asinh stretch after clipping; null for none", "sky sigma", gt=0
    )
    mask: Literal["none", "core_only", "annulus_only", "residual"] = setting(
        "what the detector may see: all, only the core, all but the core, or all minus the host"
    )
    core_radius_px: float = setting("radius of the core that core_only keeps and annulus_only drops", "pixel", gt=0)
    arc_radius_px: float = setting(
        "radius inside which arcs and their host may lie; the sky annulus must begin outside it", "pixel", gt=0
    )

    @model_validator(mode="after")
    def _annulus_is_sky(self) -> PreprocessingSettings:
        if self.stamp_pixels > self.input_pixels:
            raise ValueError(f"stamp_pixels {self.stamp_pixels} exceeds input_pixels {self.input_pixels}")
        half = self.input_pixels // 2
        if not self.arc_radius_px <= self.annulus_inner_px < self.annulus_outer_px <= half:
            raise ValueError(
                "expected arc_radius_px <= annulus_inner_px < annulus_outer_px <= input_pixels // 2, got "
                f"{self.arc_radius_px}, {self.annulus_inner_px}, {self.annulus_outer_px}, {half}: an annulus "
                "over the host or its arcs would divide by their light (101 px stamps: 32.5 to 45 px)"
            )
        if self.core_radius_px >= self.stamp_pixels / 2:
            raise ValueError(f"core_radius_px {self.core_radius_px} covers the crop of {self.stamp_pixels} px")
        return self


def preprocessing_digest(spec: PreprocessingSettings) -> str:
    """Return a digest that changes whenever the same stamp would be preprocessed to other numbers."""
    content = json.dumps({"version": _VERSION, **spec.model_dump(mode="json")}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def preprocess(stamps: NDArray[np.floating], spec: PreprocessingSettings) -> NDArray[np.float32]:
    """Return what a detector sees of stamps in nanomaggies.

    Per band: the median of the sky annulus of the full stamp is subtracted and the result divided by
    1.4826 x the median absolute deviation of the same annulus (about the noise of one pixel); then crop, mask, clip
    and the optional stretch softening x asinh(x / softening). Pixels without coverage (exact zero or
    non-finite) enter no statistic and come out as 0. A band whose annulus has no coverage or no spread has
    no scale and comes out as 0 throughout.

    Args:
        stamps: (N, 3, input_pixels, input_pixels), bands g, r, z, nanomaggies per pixel.

    Returns:
        (N, 3, stamp_pixels, stamp_pixels) float32, always finite. Each stamp's result depends on nothing
        but that stamp and `spec`.
    """
    stamps = np.asarray(stamps)
    expected = (3, spec.input_pixels, spec.input_pixels)
    if stamps.ndim != 4 or stamps.shape[1:] != expected:
        raise ValueError(f"stamps have shape {stamps.shape}, expected (N, {expected[0]}, {expected[1]}, {expected[2]})")
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
        scaled = ((crop - level) / sigma).astype(np.float32)
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
