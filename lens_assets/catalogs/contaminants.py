"""Objects that are not lenses: curated lists, labels that reviewers gave, and the match of both to the survey."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lens_assets.campaign.stages.catalogs import (
    CONTAMINANT_KIND,
    LENS_LABEL,
    CatalogsSettings,
    ContaminantSource,
    ReviewSource,
    names_no_contaminant,
)
from lens_assets.catalogs.identity import lens_ids
from lens_assets.catalogs.positives import sources_named, sources_near
from lens_assets.catalogs.reading import CatalogError, read_text_table, require_columns
from lens_assets.catalogs.spectroscopic import positions
from lens_assets.sky.matching import pairs_within

CONTAMINANT, EXCLUDE = "contaminant", "exclude"
OUTSIDE, NO_SOURCE, UNKNOWN_ID, SUPERSEDED = (
    "outside_footprint", "no_source_in_radius", "unknown_galaxy_id", "superseded_by_review",
)  # fmt: skip
UNMATCHED_REASONS = (OUTSIDE, NO_SOURCE, UNKNOWN_ID, SUPERSEDED)
"""Why an entry says nothing of a source. Masks and types play no part: artefacts lie in masks."""

CONTAMINANT_COLUMNS = (
    "contaminant_id", "name", "ra", "dec", "category", "use", "source_catalog", "reviewer", "galaxy_id", "matched",
    "unmatched_reason", "separation_arcsec",
)  # fmt: skip
_LISTED = ("contaminant_id", "name", "ra", "dec", "category", "source_catalog", "reviewer", "given_id", "place")


def read_entries(settings: CatalogsSettings, locate: Callable[[str, str], Path]) -> pd.DataFrame:
    """Return the rows of all curated lists and of all reviews, `reviewed` telling them apart, before any match.

    `locate` gives the file of a list by its origin and path.
    """
    curated = together(read_contaminant_list(item, locate(item.origin, item.path)) for item in settings.contaminants)
    known = {*settings.contaminant_categories, *curated["category"]}
    reviews = together(read_review(item, locate(item.origin, item.path), known) for item in settings.reviews)
    return together([curated.assign(reviewed=False), reviews.assign(reviewed=True)]).astype({"reviewed": bool})


def match_to_survey(
    entries: pd.DataFrame, parquet_paths: Sequence[str], settings: CatalogsSettings, radius_arcsec: float
) -> pd.DataFrame:
    """Return the contaminant catalog of entries as `read_entries` gives them, over the files of `sweep_sources`."""
    placed = entries[entries["ra"].notna()]
    coverage = settings.coverage_radius_arcsec
    near = sources_near(parquet_paths, placed["ra"].to_numpy(), placed["dec"].to_numpy(), coverage)
    named = sources_named(parquet_paths, entries.loc[entries["given_id"] != "", "given_id"].tolist())
    sources = pd.concat([near[["galaxy_id", "ra", "dec"]], named]).drop_duplicates("galaxy_id", ignore_index=True)
    reviewed = entries["reviewed"].to_numpy(dtype=bool)
    lists = entries.drop(columns="reviewed")
    return build_contaminant_catalog([lists[~reviewed]], [lists[reviewed]], sources, radius_arcsec, coverage)


def read_contaminant_list(source: ContaminantSource, path: Path) -> pd.DataFrame:
    """Return one curated list, one row an entry; positions may stand in the J-names.

    Raises CatalogError for a row whose category is none: empty, reserved, or a word for a lens, which only reviews say.
    """
    raw = read_text_table(path, source.sha256, may_be_empty=source.origin == "simulated")
    used = [source.name_column, source.ra_column, source.dec_column, source.category_column, source.galaxy_id_column]
    require_columns(path, raw, [*used, *source.keep_where])
    for column, wanted in source.keep_where.items():
        raw = raw[raw[column] == wanted]
    if not len(raw) and source.keep_where:
        raise CatalogError(path, ", ".join(source.keep_where), "no row", f"rows that hold {dict(source.keep_where)}")
    frame = positions(path, raw, source.name_column, source.ra_column, source.dec_column)
    frame["category"] = raw[source.category_column].to_numpy() if source.category_column else source.category
    refused = np.flatnonzero(frame["category"].map(names_no_contaminant).to_numpy(dtype=bool))
    if len(refused):
        found = repr(frame["category"].iloc[refused[0]])
        raise CatalogError(path, source.category_column, found, CONTAMINANT_KIND, int(raw.index[refused[0]]) + 1)
    frame["given_id"] = raw[source.galaxy_id_column].to_numpy(dtype=object) if source.galaxy_id_column else ""
    frame["reviewer"] = ""
    frame["contaminant_id"] = lens_ids(source.name, frame["ra"], frame["dec"], frame["name"].tolist())
    return _listed(frame, raw, path, source.name)


def read_review(source: ReviewSource, path: Path, known: Collection[str]) -> pd.DataFrame:
    """Return the labels of one review, one row a label; ra and dec are NaN where objects are named by id.

    Raises CatalogError for a label that is neither `lens` nor a known category, a missing id or reviewer.
    """
    raw = read_text_table(path, source.sha256)
    ids, label, reviewer = source.galaxy_id_column, source.label_column, source.reviewer_column
    require_columns(path, raw, [ids, source.ra_column, source.dec_column, label, reviewer])
    labels = f"{LENS_LABEL} or one of {', '.join(sorted(known))} (others: contaminant_categories in catalogs.yaml)"
    _require_text(path, raw, label, labels, {LENS_LABEL, *known})
    _require_text(path, raw, reviewer, "the name of the reviewer")
    if ids:
        _require_text(path, raw, ids, "the galaxy_id of the object")
        frame = pd.DataFrame({"name": raw[ids].to_numpy(), "ra": np.nan, "dec": np.nan})
    else:
        frame = positions(path, raw, "", source.ra_column, source.dec_column)
    frame["given_id"] = raw[ids].to_numpy() if ids else ""
    frame["category"], frame["reviewer"] = raw[label].to_numpy(), raw[reviewer].to_numpy()
    frame["contaminant_id"] = [f"{source.name}:{number + 1}" for number in range(len(frame))]
    return _listed(frame, raw, path, source.name)


def _require_text(
    path: Path, raw: pd.DataFrame, column: str, expected: str, allowed: Collection[str] | None = None
) -> None:
    for number, text in enumerate(raw[column], start=1):
        if not text or (allowed is not None and text not in allowed):
            raise CatalogError(path, column, repr(text), expected, number)


def _listed(frame: pd.DataFrame, raw: pd.DataFrame, path: Path, catalog: str) -> pd.DataFrame:
    frame["source_catalog"] = catalog
    frame["place"] = [f"{path}, row {number + 1}" for number in raw.index]
    texts = [name for name in _LISTED if name not in ("ra", "dec")]
    return frame.astype(dict.fromkeys(texts, "str") | {"ra": "float64", "dec": "float64"})[list(_LISTED)]


def together(lists: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all lists; none make an empty table with the columns of one."""
    empty = pd.DataFrame({name: pd.Series([], dtype="float64" if name in ("ra", "dec") else "str") for name in _LISTED})
    return pd.concat([empty, *lists], ignore_index=True)


def build_contaminant_catalog(
    curated: list[pd.DataFrame],
    reviews: list[pd.DataFrame],
    sources: pd.DataFrame,
    radius_arcsec: float,
    coverage_radius_arcsec: float,
) -> pd.DataFrame:
    """Return every entry with the Tractor source it speaks of, or why there is none (CONTAMINANT_COLUMNS).

    `sources` holds galaxy_id, ra, dec of the sources near the entries and of those that entries name. An entry speaks
    of the source it names, else of the nearest one within the radius. An object that a review labels lens is
    excluded from negatives; any label of a review takes the place of what curated lists say of the object. Raises
    ValueError for a review of an unknown object and for labels that contradict one another.
    """
    frame = together([*curated, *reviews])
    reviewed = np.repeat([False, True], [sum(map(len, curated)), sum(map(len, reviews))])
    _match(frame, sources, radius_arcsec, coverage_radius_arcsec)
    unknown = np.flatnonzero(reviewed & (frame["unmatched_reason"] == UNKNOWN_ID).to_numpy())
    if len(unknown):
        first = frame.iloc[unknown[0]]
        raise ValueError(
            f"{first['place']}: galaxy_id {first['given_id']} is no source of this campaign ({len(unknown)} such "
            "rows); expected {release}_{brickid}_{objid} of a source in sweep_sources"
        )
    _refuse_contradictions(frame[reviewed & frame["matched"].to_numpy()])
    _refuse_contradictions(frame[~reviewed & frame["matched"].to_numpy() & (frame["given_id"] != "").to_numpy()])
    labelled = set(frame.loc[reviewed & frame["matched"].to_numpy(), "galaxy_id"])
    superseded = ~reviewed & frame["galaxy_id"].isin(labelled).to_numpy()
    frame.loc[superseded, "unmatched_reason"] = SUPERSEDED
    frame.loc[superseded, "matched"] = False
    frame["use"] = np.where(reviewed & (frame["category"] == LENS_LABEL).to_numpy(), EXCLUDE, CONTAMINANT)
    frame["use"] = frame["use"].astype("str")
    frame["reviewer"] = frame["reviewer"].mask(frame["reviewer"] == "")
    return frame[list(CONTAMINANT_COLUMNS)].sort_values("contaminant_id", kind="stable").reset_index(drop=True)


def _match(frame: pd.DataFrame, sources: pd.DataFrame, radius_arcsec: float, coverage_radius_arcsec: float) -> None:
    """Add galaxy_id, matched, unmatched_reason, separation_arcsec; an entry without a position takes the source's."""
    place = pd.Series(np.arange(len(sources)), index=sources["galaxy_id"].to_numpy(dtype=object))
    named = (frame["given_id"] != "").to_numpy()
    found = np.array(frame["given_id"].map(place).fillna(-1), dtype=np.int64)
    by_position = np.flatnonzero(~named)
    entry, source, angle = pairs_within(
        frame["ra"].to_numpy()[by_position], frame["dec"].to_numpy()[by_position],
        sources["ra"], sources["dec"], coverage_radius_arcsec,
    )  # fmt: skip
    covered = np.isin(np.arange(len(frame)), by_position[np.unique(entry)])
    near = angle <= radius_arcsec
    first_entry, first = np.unique(entry[near], return_index=True)
    found[by_position[first_entry]] = source[near][first]
    separation = np.full(len(frame), np.nan)
    separation[by_position[first_entry]] = angle[near][first]
    matched = found >= 0
    reason = np.select([matched, named, ~covered], ["", UNKNOWN_ID, OUTSIDE], default=NO_SOURCE)
    at = np.where(matched, found, 0)
    for column in ("ra", "dec"):
        if len(sources):
            frame[column] = frame[column].fillna(pd.Series(sources[column].to_numpy()[at]).where(matched))
    ids = sources["galaxy_id"].to_numpy(dtype=object)
    frame["galaxy_id"] = pd.Series([ids[i] if i >= 0 else None for i in found], dtype="str")
    frame["matched"] = matched
    frame["unmatched_reason"] = pd.Series(reason, dtype="str").mask(matched)
    frame["separation_arcsec"] = separation


def _refuse_contradictions(frame: pd.DataFrame) -> None:
    """Raise ValueError where one source has two labels, naming both rows."""
    for galaxy_id, rows in frame.groupby("galaxy_id", sort=True):
        if rows["category"].nunique() > 1:
            said = "; ".join(f"{row.category} ({row.place})" for row in rows.drop_duplicates("category").itertuples())
            raise ValueError(f"{galaxy_id} has contradicting labels: {said}; expected one label an object")
