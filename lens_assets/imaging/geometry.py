"""Radii on the pixel grid of a stamp; the target sits on the central pixel."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def flat_pixels(stamps: NDArray[Any]) -> NDArray[Any]:
    """Return stamps (..., H, W) with their pixels in one axis, (..., H x W); N may be 0."""
    return stamps.reshape(*stamps.shape[:-2], stamps.shape[-2] * stamps.shape[-1])


def centre_pixel(pixels: int) -> int:
    """Return the index of the target's pixel along one side.

    A stamp is cut with an odd side, centred. An even crop of it cannot be centred: `crop_start` places the
    target on index pixels // 2.
    """
    return pixels // 2


def crop_start(stamp_pixels: int, crop_pixels: int) -> int:
    """Return the first row (and column) of the central crop, so that the target lands on its centre pixel."""
    if not 0 < crop_pixels <= stamp_pixels:
        raise ValueError(f"crop of {crop_pixels} px does not fit in a stamp of {stamp_pixels} px")
    return centre_pixel(stamp_pixels) - centre_pixel(crop_pixels)


@lru_cache(maxsize=32)
def radius_px(height: int, width: int) -> NDArray[np.float64]:
    """Return the distance of every pixel centre from the target's pixel, (H, W), in pixels (read-only)."""
    y, x = np.indices((height, width), dtype=np.float64)
    radius = np.hypot(y - centre_pixel(height), x - centre_pixel(width))
    radius.setflags(write=False)
    return radius


@lru_cache(maxsize=64)
def annulus_indices(height: int, width: int, inner_px: float, outer_px: float) -> NDArray[np.int64]:
    """Return the flat indices of the pixels with inner_px <= radius <= outer_px (the published columns' rule)."""
    radius = radius_px(height, width).ravel()
    indices = np.flatnonzero((radius >= inner_px) & (radius <= outer_px))
    indices.setflags(write=False)
    return indices
