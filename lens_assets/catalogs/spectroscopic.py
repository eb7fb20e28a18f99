"""Spectroscopically selected systems, which are never trained on unless a campaign says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lens_assets.campaign.stages.catalogs import CatalogsSettings, SpectroscopicSource
from lens_assets.catalogs.identity import lens_ids
from lens_assets.catalogs.lenses import POSITIVE
from lens_assets.catalogs.reading import (
    CatalogError,
    parse_degrees,
    positions_from_jnames,
    read_text_table,
    require_columns,
)
from lens_assets.sky.matching import nearest_within

SPECTROSCOPIC_COLUMNS = (
    "spec_id", "name", "ra", "dec", "source_catalog", "confirmation", "matched_lens_id", "separation_arcsec", "use",
)  # fmt: skip


def read_spectroscopic_list(source: SpectroscopicSource, path: Path) -> pd.DataFrame:
    """Return one list of spectroscopic systems: spec_id, name, ra, dec, source_catalog, confirmation."""
    raw = read_text_table(path, source.sha256, may_be_empty=source.origin == "simulated")
    status = source.confirmation_column
    require_columns(path, raw, [source.name_column, source.ra_column, source.dec_column, status])
    frame = positions(path, raw, source.name_column, source.ra_column, source.dec_column)
    frame["source_catalog"] = source.name
    frame["confirmation"] = raw[status].str.lower().to_numpy() if status else source.confirmation
    bad = np.flatnonzero(~frame["confirmation"].isin(["confirmed", "silver"]))
    if len(bad):
        row = int(bad[0])
        raise CatalogError(path, status, repr(raw[status].iloc[row]), "confirmed or silver", row + 1)
    frame["spec_id"] = lens_ids(source.name, frame["ra"], frame["dec"], frame["name"].tolist())
    return frame


def build_spectroscopic_catalog(
    lenses: pd.DataFrame, lists: list[pd.DataFrame], settings: CatalogsSettings
) -> pd.DataFrame:
    """Return spectroscopically selected systems (SPECTROSCOPIC_COLUMNS, sorted by spec_id) and their use.

    They come from the spectroscopic families of the lens catalog and from the campaign's lists; entries nearer than
    the duplicate radius are not merged, since each list states its own status. A system that coincides with a positive
    is used as the campaign's switch says; every other one for evaluation, but for members of a family that the campaign
    trains on. What the lens catalog holds for evaluation is no candidate to match: no switch makes it train.
    """
    rules = {rule.name for rule in settings.families if rule.selection == "spectroscopic"}
    members = lenses[lenses["family"].isin(rules) & (lenses["confirmation"] != "candidate")]
    own = pd.DataFrame(
        {
            "spec_id": "spec:" + members["lens_id"].astype("str"),
            "name": members["name"],
            "ra": members["ra"],
            "dec": members["dec"],
            "source_catalog": members["family"],
            "confirmation": members["confirmation"],
            "trained": (members["role"] == POSITIVE) & members["family"].isin(_trained_families(settings)),
        }
    )
    frame = pd.concat([own, *lists], ignore_index=True)
    imaging = lenses[(lenses["role"] == POSITIVE) & lenses["duplicate_of"].isna()].reset_index(drop=True)
    index, separation, _ = nearest_within(
        frame["ra"], frame["dec"], imaging["ra"], imaging["dec"], settings.spectroscopic_match_radius_arcsec
    )
    matched = index >= 0
    ids = imaging["lens_id"].to_numpy(dtype=object)
    frame["matched_lens_id"] = pd.Series([ids[i] if i >= 0 else None for i in index], dtype="str")
    frame["separation_arcsec"] = separation
    frame["use"] = np.where(matched, settings.spectroscopic_matched_use, "evaluation")
    frame.loc[frame["trained"].fillna(False).to_numpy(dtype=bool), "use"] = "training"
    texts = ["spec_id", "name", "source_catalog", "confirmation", "use"]
    frame = frame.astype(dict.fromkeys(texts, "str") | {"ra": "float64", "dec": "float64"})
    return frame[list(SPECTROSCOPIC_COLUMNS)].sort_values("spec_id", kind="stable").reset_index(drop=True)


def _trained_families(settings: CatalogsSettings) -> list[str]:
    return [rule.name for rule in settings.families if rule.use == "training"]


def positions(path: Path, raw: pd.DataFrame, name: str, ra: str, dec: str) -> pd.DataFrame:
    """Return name, ra and dec (degrees) of the rows of a list; without columns of a position they are J-names."""
    if ra:
        ra_deg = parse_degrees(path, raw[ra], 0.0, 360.0) % 360.0
        dec_deg = parse_degrees(path, raw[dec], -90.0, 90.0)
    else:
        ra_deg, dec_deg = positions_from_jnames(path, raw[name])
    rows = [f"row {number + 1}" for number in raw.index]
    return pd.DataFrame({"name": raw[name].to_numpy() if name else rows, "ra": ra_deg, "dec": dec_deg})
