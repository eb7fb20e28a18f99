"""The catalog of known lenses: one row an entry, with what it may be used for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lens_assets.campaign.stages.catalogs import CatalogsSettings, FamilyRule, LensSource
from lens_assets.catalogs.identity import (
    canonical_of_groups,
    joined_aliases,
    lens_ids,
    parse_redshift,
    primary_name,
)
from lens_assets.catalogs.reading import CatalogError, parse_degrees, read_text_table, require_columns

POSITIVE, EVALUATION_ONLY, EXCLUDE_ONLY = "positive", "evaluation_only", "exclude_only"
ROLES = (POSITIVE, EVALUATION_ONLY, EXCLUDE_ONLY)
TYPES = ("galaxy", "group", "cluster")
GRADINGS = ("confident", "probable")
CONFIRMATIONS = ("confirmed", "silver", "candidate")

CONFIRMED_WEIGHT = 1.0
"""Sample weight of lenses that the literature confirms, whatever the campaign gives tier A."""

LENS_COLUMNS = (
    "lens_id", "name", "ra", "dec", "z_lens", "z_lens_text", "type", "grading", "reference", "source_catalog",
    "source_row", "role", "tier", "weight", "family", "confirmation", "aliases", "duplicate_of",
)  # fmt: skip


def read_lens_list(source: LensSource, path: Path) -> pd.DataFrame:
    """Return one list with the common columns: names, position, redshift text, type, grading, reference, row.

    Raises CatalogError with file, row and column for a position, type or grading that is none.
    """
    raw = read_text_table(path, source.sha256, may_be_empty=source.origin == "simulated")
    columns = source.columns
    require_columns(path, raw, list(columns.model_dump().values()))
    frame = pd.DataFrame(
        {
            "names": _text(raw, columns.name),
            "ra": parse_degrees(path, raw[columns.ra], 0.0, 360.0) % 360.0,
            "dec": parse_degrees(path, raw[columns.dec], -90.0, 90.0),
            "z_lens_text": _text(raw, columns.z_lens),
            "type": _choice(path, _text(raw, columns.type), columns.type, {}, TYPES, "galaxy"),
            "grading": _choice(
                path, _text(raw, columns.grading), columns.grading, source.grading_values, GRADINGS, "probable"
            ),
            "reference": _text(raw, columns.reference),
            "source_row": np.arange(1, len(raw) + 1),
        }
    )
    preferred = re.compile(source.positive_names) if source.positive_names else None
    frame["name"] = pd.Series([primary_name(text, preferred) for text in frame["names"]], dtype="str")
    frame["named_positive"] = [bool(preferred and preferred.search(text)) for text in frame["names"]]
    frame["source_catalog"] = pd.Series(source.name, index=frame.index, dtype="str")
    frame["lens_id"] = pd.Series(lens_ids(source.name, frame["ra"], frame["dec"], frame["names"].tolist()), dtype="str")
    return frame


def _text(raw: pd.DataFrame, column: str) -> pd.Series:
    return raw[column] if column else pd.Series("", index=raw.index, dtype="str")


def _choice(
    path: Path, values: pd.Series, column: str, aliases: Mapping[str, str], allowed: tuple[str, ...], empty: str
) -> pd.Series:
    mapped = values.map(lambda text: aliases.get(text, text.lower() or empty)).astype("str")
    bad = np.flatnonzero(~mapped.isin(allowed))
    if len(bad):
        expected = f"one of {', '.join((*allowed, *aliases))}"
        raise CatalogError(path, column, repr(values.iloc[bad[0]]), expected, int(bad[0]) + 1)
    return mapped


def build_lens_catalog(lists: list[pd.DataFrame], settings: CatalogsSettings) -> pd.DataFrame:
    """Return all entries of all lists (columns LENS_COLUMNS, sorted by lens_id) with role, tier, family and identity.

    `lists` are in order of precedence. An entry whose name marks a candidate of the searches is a positive; a member
    of a literature family is held for evaluation, or a positive where the family's rule says so; every other entry
    only keeps negatives away from it. A used entry that the literature confirms is of tier A with weight 1.
    """
    frame = pd.concat(lists, ignore_index=True)
    precedence = {item.name: number for number, item in enumerate(settings.lenses)}
    _assign_families(frame, settings.families)
    _assign_roles(frame, settings)
    _assign_tiers(frame, settings)
    frame["z_lens"] = np.array([parse_redshift(text) for text in frame["z_lens_text"]], dtype=np.float64)
    _merge_duplicates(frame, precedence, settings.duplicate_radius_arcsec)
    _raise_confirmed(frame)
    return frame[list(LENS_COLUMNS)].sort_values("lens_id", kind="stable").reset_index(drop=True)


def _assign_families(frame: pd.DataFrame, families: tuple[FamilyRule, ...]) -> None:
    family = pd.Series(None, index=frame.index, dtype="object")
    confirmation = pd.Series("candidate", index=frame.index, dtype="object")
    for rule in families:
        member = frame["reference"].str.contains(rule.reference_pattern, regex=True).to_numpy(dtype=bool)
        new = member & family.isna().to_numpy()
        family[new] = rule.name
        confident = (frame["grading"] == "confident").to_numpy()
        confirmation[new & confident] = rule.confident_is
        confirmation[new & ~confident] = rule.probable_is
    frame["family"], frame["confirmation"] = family, confirmation.astype("str")


def _assign_roles(frame: pd.DataFrame, settings: CatalogsSettings) -> None:
    named = frame["named_positive"].to_numpy(dtype=bool) & frame["type"].isin(settings.positive_types).to_numpy()
    member = (
        frame["family"].notna().to_numpy()
        & frame["grading"].isin(settings.evaluation_gradings).to_numpy()
        & frame["type"].isin(settings.evaluation_types).to_numpy()
    )
    trained = frame["family"].isin([rule.name for rule in settings.families if rule.use == "training"]).to_numpy()
    positive, held = named | (member & trained), member & ~trained
    frame["role"] = pd.Series(np.where(positive, POSITIVE, np.where(held, EVALUATION_ONLY, EXCLUDE_ONLY)), dtype="str")


def _assign_tiers(frame: pd.DataFrame, settings: CatalogsSettings) -> None:
    used = (frame["role"] != EXCLUDE_ONLY).to_numpy()
    tiers = {rule.grading: rule.tier for rule in settings.tiers}
    weights = {rule.grading: rule.weight for rule in settings.tiers}
    frame["tier"] = frame["grading"].map(tiers).astype("str").where(used)
    frame["weight"] = frame["grading"].map(weights).astype(float).where(used, np.nan)


def _raise_confirmed(frame: pd.DataFrame) -> None:
    confirmed = (frame["confirmation"] == "confirmed") & (frame["role"] != EXCLUDE_ONLY)
    frame["tier"] = frame["tier"].mask(confirmed, "A")
    frame["weight"] = frame["weight"].mask(confirmed, CONFIRMED_WEIGHT)


def _merge_duplicates(frame: pd.DataFrame, precedence: dict[str, int], radius_arcsec: float) -> None:
    """Name the canonical entry of each system; it takes the others' names, and their family where it has none."""
    keys = pd.DataFrame(
        {
            "role": frame["role"].map({role: number for number, role in enumerate(ROLES)}),
            "catalog": frame["source_catalog"].map(precedence),
            "grading": frame["grading"].map({grading: number for number, grading in enumerate(GRADINGS)}),
            "lens_id": frame["lens_id"],
        }
    )
    rank = np.empty(len(frame), dtype=np.int64)
    rank[keys.sort_values(list(keys.columns), kind="stable").index.to_numpy()] = np.arange(len(frame))
    canonical = canonical_of_groups(frame["ra"], frame["dec"], rank, radius_arcsec)
    repeated = canonical != np.arange(len(frame))
    names = np.array(frame["names"], dtype=object)
    families = np.array(frame["family"].fillna(""), dtype=object)
    confirmations = np.array(frame["confirmation"], dtype=object)
    together: dict[int, list[int]] = {}
    for entry in np.flatnonzero(repeated):
        together.setdefault(int(canonical[entry]), []).append(int(entry))
    for index, others in together.items():
        names[index] = " | ".join([names[index], *names[sorted(others, key=lambda item: rank[item])]])
        known = [item for item in sorted(others, key=lambda item: rank[item]) if families[item]]
        if not families[index] and known:
            best = min(known, key=lambda item: CONFIRMATIONS.index(confirmations[item]))
            families[index], confirmations[index] = families[best], confirmations[best]
    frame["family"] = pd.Series(families, dtype="str").mask(families == "")
    frame["confirmation"] = pd.Series(confirmations, dtype="str")
    frame["aliases"] = pd.Series(
        [joined_aliases([text], name) for text, name in zip(names, frame["name"], strict=True)], dtype="str"
    )
    canonical_id = pd.Series(frame["lens_id"].to_numpy(dtype=object)[canonical], dtype="str")
    frame["duplicate_of"] = canonical_id.where(repeated)


def catalog_counts(lenses: pd.DataFrame) -> pd.DataFrame:
    """Return the number of entries by source catalog, role, family, confirmation and grading."""
    keys = ["source_catalog", "role", "family", "confirmation", "grading"]
    counted = lenses.assign(family=lenses["family"].fillna("none")).groupby(keys, observed=True).size()
    return counted.rename("entries").reset_index()
