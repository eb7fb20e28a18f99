"""Matching positions on the sky by angle. Positions are ICRS degrees, separations arcsec."""

from __future__ import annotations

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord, search_around_sky
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def pairs_within(
    ra_a: ArrayLike, dec_a: ArrayLike, ra_b: ArrayLike, dec_b: ArrayLike, radius_arcsec: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return (index into a, index into b, separation in arcsec) of every pair no further apart than the radius.

    Pairs are sorted by index into a, then separation, then index into b.
    """
    first, second = _coordinates(ra_a, dec_a), _coordinates(ra_b, dec_b)
    if not first.size or not second.size:
        empty = np.zeros(0, dtype=np.int64)
        return empty, empty, np.zeros(0)
    index_a, index_b, angle, _ = search_around_sky(first, second, radius_arcsec * units.arcsec)
    separation = np.asarray(angle.to_value(units.arcsec))
    order = np.lexsort((index_b, separation, index_a))
    return index_a[order].astype(np.int64), index_b[order].astype(np.int64), separation[order]


def nearest_within(
    ra_a: ArrayLike, dec_a: ArrayLike, ra_b: ArrayLike, dec_b: ArrayLike, radius_arcsec: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return for each position of a: index of the nearest in b (-1: none), its separation, how many lie within."""
    size = np.size(np.asarray(ra_a))
    index = np.full(size, -1, dtype=np.int64)
    separation = np.full(size, np.nan)
    a, b, angle = pairs_within(ra_a, dec_a, ra_b, dec_b, radius_arcsec)
    count = np.bincount(a, minlength=size).astype(np.int64)
    with_match, first = np.unique(a, return_index=True)
    index[with_match], separation[with_match] = b[first], angle[first]
    return index, separation, count


def groups_within(ra: ArrayLike, dec: ArrayLike, radius_arcsec: float) -> NDArray[np.int64]:
    """Return the number of the group of each position: friends of friends no further apart than the radius.

    Groups are numbered by their first member, so the labels depend on the order of rows but the grouping does not.
    """
    size = np.size(np.asarray(ra))
    a, b, _ = pairs_within(ra, dec, ra, dec, radius_arcsec)
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(size, size))
    labels = connected_components(graph, directed=False)[1]
    return np.asarray(labels, dtype=np.int64)


def _coordinates(ra_deg: ArrayLike, dec_deg: ArrayLike) -> SkyCoord:
    ra = np.atleast_1d(np.asarray(ra_deg, dtype=np.float64))
    dec = np.atleast_1d(np.asarray(dec_deg, dtype=np.float64))
    return SkyCoord(ra * units.deg, dec * units.deg, frame="icrs")
