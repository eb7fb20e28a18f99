"""Subtracting a smooth elliptical host, so that what remains is arcs, companions and noise.

Angles are counter-clockwise from the +x pixel axis (columns) towards +y (rows). In a survey image north is
up and east is left, so a position angle east of north is this angle minus 90 degrees.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lens_assets.imaging.geometry import centre_pixel, flat_pixels
from lens_assets.imaging.robust import covered

_CHUNK = 64


def pixel_angle_deg(position_angle_deg: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Return the angle from +x of a position angle given east of north (north up, east left)."""
    return np.asarray(np.asarray(position_angle_deg, dtype=np.float64) + 90.0)


def elliptical_radius_px(
    height: int, width: int, axis_ratio: NDArray[np.floating], angle_deg: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the elliptical radius (N, H, W) in pixels: sqrt(q u^2 + v^2 / q), u along the major axis.

    This radius encloses the same area as the circle of that radius.
    """
    q = np.asarray(axis_ratio, dtype=np.float64)[:, None, None]
    phi = np.deg2rad(np.asarray(angle_deg, dtype=np.float64))[:, None, None]
    y = (np.arange(height) - centre_pixel(height))[None, :, None]
    x = (np.arange(width) - centre_pixel(width))[None, None, :]
    major = x * np.cos(phi) + y * np.sin(phi)
    minor = -x * np.sin(phi) + y * np.cos(phi)
    return np.asarray(np.sqrt(q * major**2 + minor**2 / q))


def subtract_elliptical_profile(
    stamps: NDArray[np.floating],
    axis_ratio: NDArray[np.floating] | float,
    angle_deg: NDArray[np.floating] | float,
    quantile: float = 0.5,
    ring_width_px: float = 1.0,
) -> NDArray[np.float32]:
    """Return stamps minus a concentric elliptical light profile, float32 of the same shape and unit.

    In every band the profile is the median (or another quantile) of each elliptical annulus of width
    `ring_width_px`, interpolated linearly in radius. The median ignores an arc that covers less than half
    of its annulus; a complete ring is partly subtracted with the host, which a lower quantile reduces.

    `stamps` has shape (N, B, H, W) in any flux unit with the target on the central pixel; `axis_ratio` is minor
    over major axis in (0, 1] and `angle_deg` the major axis counter-clockwise from +x, one a stamp or one for all.
    Pixels without coverage enter no profile and come out as 0.
    """
    stamps = np.asarray(stamps, dtype=np.float32)
    if stamps.ndim != 4:
        raise ValueError(f"stamps have shape {stamps.shape}, expected (N, bands, H, W)")
    if not 0.0 < quantile < 1.0:
        raise ValueError(f"quantile is {quantile}, expected between 0 and 1")
    ratio = np.broadcast_to(np.asarray(axis_ratio, dtype=np.float64), len(stamps))
    angle = np.broadcast_to(np.asarray(angle_deg, dtype=np.float64), len(stamps))
    if len(stamps) and not (np.all(ratio > 0) and np.all(ratio <= 1)):
        raise ValueError("axis_ratio must be minor over major axis, in (0, 1]")
    result = np.empty_like(stamps)
    for start in range(0, len(stamps), _CHUNK):
        part = slice(start, start + _CHUNK)
        result[part] = _subtract_chunk(stamps[part], ratio[part], angle[part], quantile, ring_width_px)
    return result


def _subtract_chunk(
    stamps: NDArray[np.float32],
    axis_ratio: NDArray[np.float64],
    angle_deg: NDArray[np.float64],
    quantile: float,
    ring_width_px: float,
) -> NDArray[np.float32]:
    bands, height, width = stamps.shape[1:]
    radius = flat_pixels(elliptical_radius_px(height, width, axis_ratio, angle_deg))
    position = radius / ring_width_px
    ring = np.rint(position).astype(np.int64)
    ring_count = int(ring.max()) + 1
    values = flat_pixels(stamps)
    valid = covered(values)
    profile = _ring_quantiles(values, np.broadcast_to(ring[:, None], values.shape), valid, ring_count, quantile)
    profile = _fill_gaps(profile)
    low = np.minimum(np.floor(position).astype(np.int64), ring_count - 1)
    high = np.minimum(low + 1, ring_count - 1)
    weight = (position - low)[:, None]
    model = (1.0 - weight) * np.take_along_axis(profile, low[:, None].repeat(bands, 1), 2)
    model += weight * np.take_along_axis(profile, high[:, None].repeat(bands, 1), 2)
    return np.where(valid, values - model, 0.0).astype(np.float32).reshape(stamps.shape)


def _ring_quantiles(
    values: NDArray[np.float32],
    ring: NDArray[np.int64],
    valid: NDArray[np.bool_],
    ring_count: int,
    quantile: float,
) -> NDArray[np.float64]:
    """Return the quantile (N, B, rings) of the valid pixels of each ring (NaN where none), linear between ranks.

    One sort of 64-bit keys, ring in the high half and the order-preserving bits of the float in the low
    half, ranks all rings of all stamps at once.
    """
    count, bands, _ = values.shape
    group = (np.arange(count * bands).reshape(count, bands, 1) * ring_count + ring)[valid]
    bits = np.ascontiguousarray(values[valid]).view(np.uint32)
    ordered = np.where(bits >> 31 != 0, ~bits, bits | np.uint32(0x80000000))
    keys = np.sort((group.astype(np.uint64) << np.uint64(32)) | ordered)
    bits = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    values_sorted = np.where(bits >> 31 != 0, bits & np.uint32(0x7FFFFFFF), ~bits).view(np.float32)
    size = np.bincount(group, minlength=count * bands * ring_count)
    first = np.cumsum(size) - size
    rank = quantile * np.maximum(size - 1, 0)
    low = np.floor(rank).astype(np.int64)
    filled = size > 0
    result = np.full(size.shape, np.nan)
    lower = values_sorted[(first + low)[filled]].astype(np.float64)
    upper = values_sorted[(first + np.minimum(low + 1, np.maximum(size - 1, 0)))[filled]].astype(np.float64)
    result[filled] = lower + (rank - low)[filled] * (upper - lower)
    return result.reshape(count, bands, ring_count)


def _fill_gaps(profile: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace rings without data by the nearest filled ring inside, else outside; 0 where the band has none."""
    filled = np.isfinite(profile)
    rings = np.arange(profile.shape[-1])
    inside = np.maximum.accumulate(np.where(filled, rings, -1), axis=-1)
    outside = np.minimum.accumulate(np.where(filled, rings, len(rings))[..., ::-1], axis=-1)[..., ::-1]
    source = np.where(inside >= 0, inside, np.minimum(outside, len(rings) - 1))
    return np.nan_to_num(np.take_along_axis(profile, source, axis=-1))


def measure_ellipse(
    stamps: NDArray[np.floating], weight_sigma_px: float = 4.0, radius_px: float = 12.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return axis ratio and major-axis angle (degrees from +x) of each central object, from the r band.

    Second moments under a circular Gaussian weight of width s, with the weight taken out as for a Gaussian
    object (a product of Gaussians adds inverse covariances): M_true^-1 = M_measured^-1 - 1/s^2. An object
    without a measurable shape is returned as round. `stamps` (N, B, H, W) are sky-subtracted, the second band is r.
    """
    image = np.asarray(stamps)[:, 1].astype(np.float64)
    height, width = image.shape[1:]
    half = int(np.ceil(radius_px))
    rows = slice(max(0, centre_pixel(height) - half), centre_pixel(height) + half + 1)
    columns = slice(max(0, centre_pixel(width) - half), centre_pixel(width) + half + 1)
    y = (np.arange(height)[rows] - centre_pixel(height))[:, None]
    x = (np.arange(width)[columns] - centre_pixel(width))[None, :]
    weight = np.exp(-0.5 * (x**2 + y**2) / weight_sigma_px**2) * (np.hypot(x, y) <= radius_px)
    light = np.where(covered(image[:, rows, columns]), image[:, rows, columns], 0.0) * weight
    total = light.sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        xx, yy, xy = ((light * term).sum(axis=(1, 2)) / total for term in (x**2, y**2, x * y))
        return _deweighted_ellipse(xx, yy, xy, total, weight_sigma_px)


def _deweighted_ellipse(
    xx: NDArray[np.float64],
    yy: NDArray[np.float64],
    xy: NDArray[np.float64],
    total: NDArray[np.float64],
    weight_sigma_px: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return axis ratio (clipped to [0.1, 1]) and angle of the moments with the weight taken out."""
    determinant = xx * yy - xy**2
    inverse_xx = yy / determinant - weight_sigma_px**-2
    inverse_yy = xx / determinant - weight_sigma_px**-2
    inverse_xy = -xy / determinant
    mean = 0.5 * (inverse_xx + inverse_yy)
    half_difference = np.hypot(0.5 * (inverse_xx - inverse_yy), inverse_xy)
    # The inverse moments are 1/a^2 along the major axis (smallest) and 1/b^2 along the minor one.
    ratio = np.sqrt((mean - half_difference) / (mean + half_difference))
    angle = 0.5 * np.rad2deg(np.arctan2(-2.0 * inverse_xy, inverse_yy - inverse_xx))
    good = (total > 0) & (determinant > 0) & (mean > half_difference)
    return np.where(good, np.clip(ratio, 0.1, 1.0), 1.0), np.where(good, angle, 0.0)
