"""HEALPix indices (NESTED, ICRS degrees), sky partitions and their margins. All pixel arithmetic lives here."""

from __future__ import annotations

import re
from functools import lru_cache

import healpy
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

CELL_NSIDE = 128
"""Resolution of the cells that carry a split."""

COARSE_NSIDE = 64

FINE_NSIDE = 512
"""Pixels from which those of every resolution used here follow by `coarser`, so that rows are placed once."""

IntArray = NDArray[np.int64]

_KEY = re.compile(r"^hp(?P<nside>\d{2})-(?P<pixel>\d{3,})$")


def pixel_of(nside: int, ra_deg: ArrayLike, dec_deg: ArrayLike) -> IntArray:
    """Return the NESTED pixel of each position (ICRS degrees), shape of the input; -1 where not on the sky."""
    ra = np.atleast_1d(np.asarray(ra_deg, dtype=np.float64))
    dec = np.atleast_1d(np.asarray(dec_deg, dtype=np.float64))
    valid = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90.0)
    pixel = np.full(ra.shape, -1, dtype=np.int64)
    pixel[valid] = healpy.ang2pix(nside, ra[valid], dec[valid], nest=True, lonlat=True)
    return pixel


def coarser(pixel: ArrayLike, nside: int, coarse_nside: int) -> IntArray:
    """Return the NESTED pixel of `coarse_nside` that holds each pixel of `nside` (both powers of two)."""
    if coarse_nside > nside:
        raise ValueError(f"nside {coarse_nside} is finer than {nside}; expected a coarser one")
    return np.asarray(pixel, dtype=np.int64) // (nside // coarse_nside) ** 2


def pixel_centres(nside: int, pixel: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (ra, dec) in degrees of the centres of NESTED pixels."""
    ra, dec = healpy.pix2ang(nside, np.asarray(pixel, dtype=np.int64), nest=True, lonlat=True)
    return np.atleast_1d(ra), np.atleast_1d(dec)


def resolution_arcsec(nside: int) -> float:
    """Return the square root of the area of a pixel."""
    return float(np.degrees(healpy.nside2resol(nside)) * 3600.0)


def touching(nside: int, pixel: ArrayLike) -> IntArray:
    """Return the pixels that touch each pixel along an edge or at a corner, shape (8, N); -1 where there is none."""
    return np.asarray(healpy.get_all_neighbours(nside, np.asarray(pixel, dtype=np.int64), nest=True), dtype=np.int64)


def partition_key(nside: int, pixel: int) -> str:
    """Return the key of a sky partition, e.g. `hp04-064`."""
    return f"hp{nside:02d}-{pixel:03d}"


def partition_keys_of(nside: int, pixel: ArrayLike) -> NDArray[np.object_]:
    """Return the partition key of each pixel; an empty text where the pixel is -1."""
    values, inverse = np.unique(np.asarray(pixel, dtype=np.int64), return_inverse=True)
    keys = np.array([partition_key(nside, int(p)) if p >= 0 else "" for p in values], dtype=object)
    return keys[inverse] if len(keys) else keys


def parse_partition_key(key: str) -> tuple[int, int]:
    """Return (nside, pixel) of a partition key; ValueError names what was expected."""
    match = _KEY.match(key)
    if not match:
        raise ValueError(f"{key!r} is not a sky partition; expected hp<nside>-<pixel> such as hp04-064")
    return int(match["nside"]), int(match["pixel"])


def within_margin(
    nside: int,
    pixel: int,
    ra_deg: ArrayLike,
    dec_deg: ArrayLike,
    margin_arcsec: float,
    fine_pixel: IntArray | None = None,
) -> NDArray[np.bool_]:
    """Return True where a position lies outside the pixel but no further than the margin from it.

    The nearest point of the pixel is found on its boundary, sampled so finely that the distance is exact to
    1 per cent of the margin; fine pixels far from the boundary are discarded first. `fine_pixel` may give the
    pixels of nside `FINE_NSIDE` where they are known.
    """
    ra = np.atleast_1d(np.asarray(ra_deg, dtype=np.float64))
    dec = np.atleast_1d(np.asarray(dec_deg, dtype=np.float64))
    fine = pixel_of(FINE_NSIDE, ra, dec) if fine_pixel is None else fine_pixel
    near = (coarser(fine, FINE_NSIDE, nside) != pixel) & _near_edge(nside, pixel, margin_arcsec)[fine]
    if not near.any():
        return near
    chord = _distance_to_boundary(nside, pixel, ra[near], dec[near], margin_arcsec)
    near[near] = chord <= 2.0 * np.sin(np.radians(margin_arcsec / 3600.0) / 2.0)
    return near


@lru_cache(maxsize=8)
def _near_edge(nside: int, pixel: int, margin_arcsec: float) -> NDArray[np.bool_]:
    """Return True for the fine pixels that the margin can reach: a cover of the edge of the pixel.

    One entry more than there are pixels, False, stands last: index -1 is what lies on no pixel.
    """
    fine_radius_arcsec = np.degrees(healpy.max_pixrad(FINE_NSIDE)) * 3600.0
    edge = healpy.boundaries(nside, pixel, step=max(1, FINE_NSIDE // nside) * 2, nest=True).T
    radius = np.radians((margin_arcsec + 2.0 * fine_radius_arcsec) / 3600.0)
    covered = np.zeros(12 * FINE_NSIDE**2 + 1, dtype=bool)
    for point in edge:
        covered[healpy.query_disc(FINE_NSIDE, point, radius, nest=True, inclusive=True)] = True
    return covered


def _distance_to_boundary(
    nside: int, pixel: int, ra: NDArray[np.float64], dec: NDArray[np.float64], margin_arcsec: float
) -> NDArray[np.float64]:
    """Return the chord to the nearest boundary segment of the pixel, for points near it."""
    edge, tree = _edge_points(nside, pixel, margin_arcsec)
    points = unit_vectors(ra, dec)
    _, nearest = tree.query(points)
    before, here, after = (edge[(nearest + shift) % len(edge)] for shift in (-1, 0, 1))
    return np.minimum(_to_segment(points, before, here), _to_segment(points, here, after))


@lru_cache(maxsize=8)
def _edge_points(nside: int, pixel: int, margin_arcsec: float) -> tuple[NDArray[np.float64], cKDTree]:
    side_arcsec = np.degrees(healpy.nside2resol(nside)) * 3600.0
    steps = int(np.ceil(side_arcsec / max(margin_arcsec, 10.0))) * 2
    edge = healpy.boundaries(nside, pixel, step=steps, nest=True).T
    return edge, cKDTree(edge)


def _to_segment(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    along = end - start
    fraction = np.einsum("ij,ij->i", points - start, along) / np.einsum("ij,ij->i", along, along)
    foot = start + np.clip(fraction, 0.0, 1.0)[:, None] * along
    return np.asarray(np.linalg.norm(points - foot, axis=1))


def unit_vectors(ra_deg: ArrayLike, dec_deg: ArrayLike) -> NDArray[np.float64]:
    """Return Cartesian unit vectors, shape (N, 3), of positions in degrees."""
    ra, dec = np.radians(np.asarray(ra_deg, np.float64)), np.radians(np.asarray(dec_deg, np.float64))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def pixels_of_box(
    nside: int, ra1: float, ra2: float, dec1: float, dec2: float, margin_arcsec: float = 0.0
) -> frozenset[int]:
    """Return the NESTED pixels that a box of RA and Dec touches, the box grown by a margin.

    The box is walked on a grid finer than a twentieth of a pixel, so that no touched pixel is missed but for
    slivers, which the growth by that step covers.
    """
    step = np.degrees(healpy.nside2resol(nside)) / 20.0
    grow = margin_arcsec / 3600.0 + step
    low, high = max(-90.0, dec1 - grow), min(90.0, dec2 + grow)
    widest = np.cos(np.radians(min(89.9, max(abs(low), abs(high)))))
    width = (ra2 - ra1) % 360.0 or 360.0
    grow_ra = min(180.0, grow / widest)
    dec = np.linspace(low, high, int(np.ceil((high - low) / step)) + 1)
    span = min(360.0, width + 2.0 * grow_ra)
    ra = np.linspace(0.0, span, int(np.ceil(span / step)) + 1) + ra1 - grow_ra
    grid_ra, grid_dec = np.meshgrid(np.mod(ra, 360.0), dec)
    found = healpy.ang2pix(nside, grid_ra.ravel(), grid_dec.ravel(), nest=True, lonlat=True)
    return frozenset(int(value) for value in np.unique(found))
