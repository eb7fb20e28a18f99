"""What a source's surroundings say of it: nearest known lens, similar neighbours, curated contaminants.

Columns that only spherical geometry can make; the SQL models join them. Separations come from a k-d tree on unit
vectors: a chord c subtends 2 asin(c / 2).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from lens_assets.campaign.stages.negatives import MergerSettings, NegativesSettings

ARCSEC_PER_RADIAN = 206264.80624709636
NEIGHBOURHOOD_COLUMNS = (
    "galaxy_id", "exclusion_separation_arcsec", "similar_neighbours", "contaminant_category",
)  # fmt: skip
FloatArray = NDArray[np.float64]
_ROUNDING = 1e-12
"""Slack of a search radius in chord units (0.2 microarcsec), so that a pair exactly at the radius is found."""


def unit_vectors(ra_deg: ArrayLike, dec_deg: ArrayLike) -> FloatArray:
    """Return unit vectors of ICRS positions in degrees, shape (N, 3)."""
    ra, dec = np.radians(np.asarray(ra_deg, float)), np.radians(np.asarray(dec_deg, float))
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def chord(separation_arcsec: float) -> float:
    """Return the chord of the unit sphere that an angle subtends."""
    return 2.0 * np.sin(separation_arcsec / ARCSEC_PER_RADIAN / 2.0)


def angle_arcsec(chords: ArrayLike) -> FloatArray:
    """Return the angle that chords of the unit sphere subtend."""
    return 2.0 * np.arcsin(np.minimum(np.asarray(chords, float) / 2.0, 1.0)) * ARCSEC_PER_RADIAN


def nearest_separation_arcsec(
    ra_deg: ArrayLike, dec_deg: ArrayLike, catalog_ra: ArrayLike, catalog_dec: ArrayLike, radius_arcsec: float
) -> FloatArray:
    """Return the separation of each position from the nearest catalog entry, NaN where it exceeds the radius.

    Shape (N,). Positions or entries without finite coordinates match nothing.
    """
    separation, _ = _nearest(ra_deg, dec_deg, catalog_ra, catalog_dec, radius_arcsec)
    return separation


def similar_neighbours(sources: pd.DataFrame, settings: MergerSettings) -> NDArray[np.int64]:
    """Return for each source how many others of similar z magnitude lie within the merger distances, shape (N,).

    Two rows of one galaxy_id are not neighbours. `sources` needs galaxy_id, ra, dec, mag_z and must hold the margin.
    """
    counts = np.zeros(len(sources), dtype=np.int64)
    mag = sources["mag_z"].to_numpy(float)
    usable = np.flatnonzero(_finite(sources["ra"], sources["dec"]) & np.isfinite(mag))
    if len(usable) < 2:
        return counts
    names = sources["galaxy_id"].to_numpy()
    usable = usable[np.unique(names[usable].astype(str), return_index=True)[1]]
    vectors = unit_vectors(sources["ra"].to_numpy(float)[usable], sources["dec"].to_numpy(float)[usable])
    pairs = cKDTree(vectors).query_pairs(chord(settings.separation_max_arcsec) + _ROUNDING, output_type="ndarray")
    left, right = usable[pairs[:, 0]], usable[pairs[:, 1]]
    separation = angle_arcsec(np.linalg.norm(vectors[pairs[:, 0]] - vectors[pairs[:, 1]], axis=1))
    similar = (separation >= settings.separation_min_arcsec) & (separation <= settings.separation_max_arcsec)
    similar &= np.abs(mag[left] - mag[right]) <= settings.delta_mag_z_max
    np.add.at(counts, left[similar], 1)
    np.add.at(counts, right[similar], 1)
    return counts


def contaminant_categories(
    sources: pd.DataFrame, contaminants: pd.DataFrame, radius_arcsec: float
) -> dict[str, str]:
    """Return galaxy_id -> category of the curated contaminants, by id where they name one, else the nearest source.

    Where several contaminants claim a source, the first by contaminant_id names it.
    """
    if not len(contaminants) or not len(sources):
        return {}
    claims = contaminants.sort_values("contaminant_id")
    names = sources["galaxy_id"].to_numpy()
    _, index = _nearest(claims["ra"], claims["dec"], sources["ra"], sources["dec"], radius_arcsec)
    found: dict[str, str] = {}
    known = set(names.tolist())
    for position, given, category in zip(index, claims["galaxy_id"], claims["category"], strict=True):
        by_id = given if isinstance(given, str) and given else None
        name = by_id if by_id is not None else (names[position] if position >= 0 else None)
        if name is not None and name in known:
            found.setdefault(str(name), str(category))
    return found


def source_neighbourhood(
    sources: pd.DataFrame, lenses: pd.DataFrame, contaminants: pd.DataFrame, settings: NegativesSettings
) -> pd.DataFrame:
    """Return the sources about which there is something to say: see NEIGHBOURHOOD_COLUMNS; one row a galaxy_id.

    `sources` are the sources of a partition with its margin; `lenses` (ra, dec) are every system to keep away from.
    """
    separation = nearest_separation_arcsec(
        sources["ra"], sources["dec"], lenses["ra"], lenses["dec"], settings.filters.exclusion_radius_arcsec
    )
    neighbours = similar_neighbours(sources, settings.confusers.merger)
    categories = contaminant_categories(sources, contaminants, settings.contaminant_match_radius_arcsec)
    table = pd.DataFrame(
        {
            "galaxy_id": sources["galaxy_id"].to_numpy(),
            "exclusion_separation_arcsec": separation,
            "similar_neighbours": neighbours,
            "contaminant_category": sources["galaxy_id"].map(categories).to_numpy(object),
        }
    )
    said = np.isfinite(separation) | (neighbours > 0) | table["contaminant_category"].notna()
    table = table[said].sort_values(["galaxy_id", "exclusion_separation_arcsec"], na_position="last")
    return table.drop_duplicates("galaxy_id").reset_index(drop=True)


def _finite(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
    return np.isfinite(np.asarray(ra, float)) & np.isfinite(np.asarray(dec, float))


def _nearest(
    ra: ArrayLike, dec: ArrayLike, catalog_ra: ArrayLike, catalog_dec: ArrayLike, radius_arcsec: float
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Separation and index of the nearest catalog entry; NaN and -1 where none lies within the radius."""
    here, there = _finite(ra, dec), _finite(catalog_ra, catalog_dec)
    separation = np.full(len(here), np.nan)
    index = np.full(len(here), -1, dtype=np.int64)
    if not here.any() or not there.any():
        return separation, index
    tree = cKDTree(unit_vectors(np.asarray(catalog_ra, float)[there], np.asarray(catalog_dec, float)[there]))
    vectors = unit_vectors(np.asarray(ra, float)[here], np.asarray(dec, float)[here])
    distance, match = tree.query(vectors, distance_upper_bound=chord(radius_arcsec) + _ROUNDING)
    found = np.isfinite(distance)
    rows = np.flatnonzero(here)[found]
    separation[rows] = angle_arcsec(distance[found])
    index[rows] = np.flatnonzero(there)[match[found]]
    beyond = separation > radius_arcsec
    separation[beyond], index[beyond] = np.nan, -1
    return separation, index
