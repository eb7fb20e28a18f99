"""What a source's surroundings say of it: nearest known lens, similar neighbours, curated contaminants.

Columns that only spherical geometry can make; the SQL models join them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lens_assets.campaign.stages.negatives import MergerSettings, NegativesSettings
from lens_assets.sky.matching import nearest_within, pairs_within

NEIGHBOURHOOD_COLUMNS = (
    "galaxy_id", "exclusion_separation_arcsec", "similar_neighbours", "contaminant_category",
)  # fmt: skip
FloatArray = NDArray[np.float64]


def nearest_separation_arcsec(
    ra_deg: ArrayLike, dec_deg: ArrayLike, catalog_ra: ArrayLike, catalog_dec: ArrayLike, radius_arcsec: float
) -> FloatArray:
    """Return the separation of each position from the nearest catalog entry, NaN where it exceeds the radius.

    Shape (N,). Positions or entries without finite coordinates match nothing.
    """
    _, separation = _nearest(ra_deg, dec_deg, catalog_ra, catalog_dec, radius_arcsec)
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
    ra, dec = sources["ra"].to_numpy(float)[usable], sources["dec"].to_numpy(float)[usable]
    first, second, separation = pairs_within(ra, dec, ra, dec, settings.separation_max_arcsec)
    similar = (first != second) & (separation >= settings.separation_min_arcsec)
    similar &= np.abs(mag[usable[first]] - mag[usable[second]]) <= settings.delta_mag_z_max
    np.add.at(counts, usable[first[similar]], 1)
    return counts


def contaminant_categories(sources: pd.DataFrame, contaminants: pd.DataFrame, radius_arcsec: float) -> dict[str, str]:
    """Return galaxy_id -> category of the curated contaminants, by id where they name one, else the nearest source.

    Where several contaminants claim a source, the first by contaminant_id names it.
    """
    if not len(contaminants) or not len(sources):
        return {}
    claims = contaminants.sort_values("contaminant_id")
    names = sources["galaxy_id"].to_numpy()
    index, _ = _nearest(claims["ra"], claims["dec"], sources["ra"], sources["dec"], radius_arcsec)
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
) -> tuple[NDArray[np.int64], FloatArray]:
    """Index and separation of the nearest catalog entry with finite coordinates; -1 and NaN where none is near."""
    here, there = _finite(ra, dec), _finite(catalog_ra, catalog_dec)
    index = np.full(len(here), -1, dtype=np.int64)
    separation = np.full(len(here), np.nan)
    found, angle, _ = nearest_within(
        np.asarray(ra, float)[here],
        np.asarray(dec, float)[here],
        np.asarray(catalog_ra, float)[there],
        np.asarray(catalog_dec, float)[there],
        radius_arcsec,
    )
    index[here] = np.where(found >= 0, np.append(np.flatnonzero(there), -1)[found], -1)
    separation[here] = angle
    return index, separation
