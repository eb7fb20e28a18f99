"""What a source's surroundings say of it: nearest known lens, similar neighbours, curated contaminants.

Columns that only spherical geometry can make; the SQL models join them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from lens_assets.campaign.stages.negatives import MergerSettings, NegativesSettings
from lens_assets.catalogs.contaminants import CONTAMINANT, EXCLUDE
from lens_assets.sky.matching import close_pairs, may_be_near, nearest_separation, nearest_within

NEIGHBOURHOOD_COLUMNS = (
    "galaxy_id", "exclusion_separation_arcsec", "similar_neighbours", "contaminant_category",
)  # fmt: skip
FloatArray = NDArray[np.float64]
_SLACK_MAG = 1e-6
"""More than the rounding of a difference of magnitudes; only rows to compare are taken with it."""


def nearest_separation_arcsec(
    ra_deg: ArrayLike, dec_deg: ArrayLike, catalog_ra: ArrayLike, catalog_dec: ArrayLike, radius_arcsec: float
) -> FloatArray:
    """Return the separation of each position from the nearest catalog entry, NaN where it exceeds the radius.

    Shape (N,). Positions or entries without finite coordinates match nothing.
    """
    ra, dec = np.asarray(ra_deg, float), np.asarray(dec_deg, float)
    separation = np.full(len(ra), np.nan)
    reached = _reached(ra, dec, catalog_ra, catalog_dec, radius_arcsec)
    there = _finite(catalog_ra, catalog_dec)
    entries = np.asarray(catalog_ra, float)[there], np.asarray(catalog_dec, float)[there]
    separation[reached] = nearest_separation(ra[reached], dec[reached], *entries, radius_arcsec)
    return separation


def sources_near_lenses(sources: pd.DataFrame, lenses: pd.DataFrame, radius_arcsec: float) -> pd.DataFrame:
    """Return the sources within the radius of a lens or candidate, each with the nearest one; nearest pairs first.

    `sources` has galaxy_id, ra, dec and `lenses` system_id, catalog, ra, dec (degrees). Columns: galaxy_id, ra, dec,
    separation_arcsec, system_id, catalog.
    """
    ra, dec = sources["ra"].to_numpy(float), sources["dec"].to_numpy(float)
    reached = _reached(ra, dec, lenses["ra"], lenses["dec"], radius_arcsec)
    index, separation = _nearest(ra[reached], dec[reached], lenses["ra"], lenses["dec"], radius_arcsec)
    near = index >= 0
    table = sources.iloc[reached[near]][["galaxy_id", "ra", "dec"]].reset_index(drop=True)
    table["separation_arcsec"] = separation[near]
    for column in ("system_id", "catalog"):
        table[column] = lenses[column].to_numpy(object)[index[near]]
    return table.sort_values(["separation_arcsec", "galaxy_id"], ignore_index=True)


def similar_neighbours(
    sources: pd.DataFrame, settings: MergerSettings, asked: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Return for each source how many others of similar z magnitude lie within the merger distances, shape (N,).

    Rows of one galaxy_id are one source, counted in its first row that has a neighbour. `sources` needs galaxy_id,
    ra, dec, mag_z and must hold the margin. Where rows are `asked`, only their counts are whole; then no galaxy_id may
    be repeated.
    """
    counts = np.zeros(len(sources), dtype=np.int64)
    mag = sources["mag_z"].to_numpy(float)
    known = _finite(sources["ra"], sources["dec"]) & np.isfinite(mag)
    if asked is not None:
        known &= _similar_to_some(mag, mag[asked & known], settings.delta_mag_z_max)
    usable = np.flatnonzero(known)
    ra, dec = sources["ra"].to_numpy(float)[usable], sources["dec"].to_numpy(float)[usable]
    one, two, separation = close_pairs(
        ra, dec, settings.separation_max_arcsec, None if asked is None else asked[usable]
    )
    one, two = usable[one], usable[two]
    rows = np.unique(np.concatenate([one, two]))
    repeated = rows[sources["galaxy_id"].iloc[rows].duplicated().to_numpy()]
    similar = (separation >= settings.separation_min_arcsec) & (np.abs(mag[one] - mag[two]) <= settings.delta_mag_z_max)
    similar &= ~np.isin(one, repeated) & ~np.isin(two, repeated)
    np.add.at(counts, np.concatenate([one[similar], two[similar]]), 1)
    return counts


def contaminant_categories(sources: pd.DataFrame, contaminants: pd.DataFrame, radius_arcsec: float) -> dict[str, str]:
    """Return galaxy_id -> category of the curated contaminants, by id where they name one, else the nearest source.

    Where several contaminants claim a source, the first by contaminant_id names it.
    """
    if not len(contaminants) or not len(sources):
        return {}
    claims = contaminants.sort_values("contaminant_id")
    ra, dec = sources["ra"].to_numpy(float), sources["dec"].to_numpy(float)
    reached = _reached(ra, dec, claims["ra"], claims["dec"], radius_arcsec)
    index, _ = _nearest(claims["ra"], claims["dec"], ra[reached], dec[reached], radius_arcsec)
    nearest = sources["galaxy_id"].iloc[reached].to_numpy(object)
    ids = [given for given in claims["galaxy_id"] if isinstance(given, str) and given]
    known = set(sources.loc[sources["galaxy_id"].isin(ids), "galaxy_id"]) if ids else set()
    found: dict[str, str] = {}
    for position, given, category in zip(index, claims["galaxy_id"], claims["category"], strict=True):
        if isinstance(given, str) and given:
            name = given if given in known else None
        else:
            name = nearest[position] if position >= 0 else None
        if name is not None:
            found.setdefault(str(name), str(category))
    return found


def known_systems(lenses: pd.DataFrame, spectroscopic: pd.DataFrame, contaminants: pd.DataFrame) -> pd.DataFrame:
    """Return every system that keeps negatives away: system_id, ra, dec (degrees) and the catalog that has it.

    Those are all entries of the lens and spectroscopic catalogs, and what reviewers called a lens, by the position
    that the review gives: a lens that matches no source still lights up the stamps around it.
    """
    reviewed = contaminants[(contaminants["use"] == EXCLUDE) & _finite(contaminants["ra"], contaminants["dec"])]
    catalogs = {
        "lens_catalog": (lenses, "lens_id"),
        "spectroscopic_catalog": (spectroscopic, "spec_id"),
        "contaminant_catalog": (reviewed, "contaminant_id"),
    }
    systems = [
        table[[key, "ra", "dec"]].rename(columns={key: "system_id"}).assign(catalog=name)
        for name, (table, key) in catalogs.items()
    ]
    return pd.concat(systems, ignore_index=True)


def usable_contaminants(contaminants: pd.DataFrame) -> pd.DataFrame:
    """Return the entries of the contaminant catalog that name the category of a source."""
    return contaminants[contaminants["matched"].astype(bool) & (contaminants["use"] == CONTAMINANT)]


def source_neighbourhood(
    sources: pd.DataFrame,
    lenses: pd.DataFrame,
    contaminants: pd.DataFrame,
    settings: NegativesSettings,
    wanted: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Return the sources about which there is something to say: see NEIGHBOURHOOD_COLUMNS; one row a galaxy_id.

    `sources` are the sources of a partition with its margin; `lenses` (ra, dec) are every system to keep away from.
    Only `wanted` rows are spoken of, default all; the others are still neighbours.
    """
    asked = np.ones(len(sources), dtype=bool) if wanted is None else wanted
    separation = np.full(len(sources), np.nan)
    separation[asked] = nearest_separation_arcsec(
        sources["ra"][asked],
        sources["dec"][asked],
        lenses["ra"],
        lenses["dec"],
        settings.filters.exclusion_radius_arcsec,
    )
    alone = wanted is not None and in_ascending_order(sources["galaxy_id"])
    neighbours = similar_neighbours(sources, settings.confusers.merger, asked if alone else None)
    categories = contaminant_categories(sources, contaminants, settings.contaminant_match_radius_arcsec)
    curated = sources["galaxy_id"].isin(list(categories)).to_numpy() if categories else np.zeros(len(sources), bool)
    said = asked & (np.isfinite(separation) | (neighbours > 0) | curated)
    names = sources["galaxy_id"][said].astype(object)
    table = pd.DataFrame(
        {
            "galaxy_id": names.to_numpy(object),
            "exclusion_separation_arcsec": separation[said],
            "similar_neighbours": neighbours[said],
            "contaminant_category": names.map(categories).to_numpy(object),
        }
    )
    table = table.sort_values(["galaxy_id", "exclusion_separation_arcsec"], na_position="last")
    return table.drop_duplicates("galaxy_id").reset_index(drop=True)


def in_ascending_order(ids: pd.Series) -> bool:
    """Say whether each text is more than the one before, so that none is repeated; cheap for texts in Arrow."""
    texts = pa.array(ids)
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return bool(pc.all(pc.less(texts[:-1], texts[1:]), skip_nulls=False).as_py())


def _similar_to_some(mag: FloatArray, others: FloatArray, delta_mag_max: float) -> NDArray[np.bool_]:
    """Return False where a magnitude lies too far below the smallest or above the largest of the others."""
    if not len(others):
        return np.zeros(len(mag), dtype=bool)
    slack = delta_mag_max + _SLACK_MAG
    return np.asarray((mag >= others.min() - slack) & (mag <= others.max() + slack))


def _finite(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
    return np.isfinite(np.asarray(ra, float)) & np.isfinite(np.asarray(dec, float))


def _reached(
    ra: FloatArray, dec: FloatArray, catalog_ra: ArrayLike, catalog_dec: ArrayLike, radius_arcsec: float
) -> NDArray[np.int64]:
    """Return the rows that may lie within the radius of a catalog entry: few, before any separation is computed."""
    here, there = np.flatnonzero(_finite(ra, dec)), _finite(catalog_ra, catalog_dec)
    entries = np.asarray(catalog_ra, float)[there], np.asarray(catalog_dec, float)[there]
    return here[may_be_near(ra[here], dec[here], *entries, radius_arcsec)]


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
