"""Match lenses to Tractor sources, and say of each that has no match why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import healpy
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from lens_assets.campaign.stages.catalogs import CatalogsSettings
from lens_assets.catalogs.lenses import EVALUATION_ONLY, EXCLUDE_ONLY
from lens_assets.sky.healpix import CELL_NSIDE, pixel_of, unit_vectors
from lens_assets.sky.matching import pairs_within
from lens_assets.survey.schemas import bit_positions_to_mask
from lens_assets.survey.sources import SOURCE_SCHEMA
from lens_assets.survey.units import BANDS

OUTSIDE, NO_SOURCE, MASKED, FILTERED, TAKEN, DUPLICATE = (
    "outside_footprint", "no_source_in_radius", "masked", "filtered", "source_of_another_lens", "duplicate_entry",
)  # fmt: skip
UNMATCHED_REASONS = (OUTSIDE, NO_SOURCE, MASKED, FILTERED, TAKEN, DUPLICATE)

_NOT_CARRIED = ("sky_partition", "in_margin", "healpix_128")
CARRIED_COLUMNS = tuple(name for name in SOURCE_SCHEMA.names if name not in _NOT_CARRIED)
"""Columns of the matched source that a positive has; its cell, split and partition come from the split cells."""


def usable_lenses(lenses: pd.DataFrame, spectroscopic: pd.DataFrame) -> pd.DataFrame:
    """Return the entries that could be positives, sorted by lens_id, with `evaluation_only`.

    An entry is held for evaluation by its role, or because it coincides with a spectroscopic system in that use.
    """
    rows = lenses[lenses["role"] != EXCLUDE_ONLY].sort_values("lens_id", kind="stable").reset_index(drop=True)
    held = set(spectroscopic.loc[spectroscopic["use"] == "evaluation", "matched_lens_id"].dropna())
    rows["evaluation_only"] = (rows["role"] == EVALUATION_ONLY) | rows["lens_id"].isin(held)
    return rows


def sources_near(
    parquet_paths: Iterable[str], ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64], radius_arcsec: float
) -> pd.DataFrame:
    """Return the sources (own rows, columns of `sweep_sources`) within a radius of any of the positions.

    One partition at a time, only the cells that the circles touch are read: memory follows the number of lenses.
    """
    cells = cells_touched(ra_deg, dec_deg, radius_arcsec)
    found = [_near(path, cells, ra_deg, dec_deg, radius_arcsec) for path in parquet_paths]
    table = pa.concat_tables(found) if found else SOURCE_SCHEMA.empty_table()
    return table.to_pandas().drop_duplicates("galaxy_id").sort_values("galaxy_id").reset_index(drop=True)


def sources_named(parquet_paths: Iterable[str], galaxy_ids: Sequence[str]) -> pd.DataFrame:
    """Return galaxy_id, ra, dec (degrees) of the sources (own rows of `sweep_sources`) that have one of the ids."""
    if not len(galaxy_ids):
        return SOURCE_SCHEMA.empty_table().select(["galaxy_id", "ra", "dec"]).to_pandas()
    wanted = pc.field("galaxy_id").isin(pa.array(sorted(set(galaxy_ids)), pa.string())) & ~pc.field("in_margin")
    columns = ["galaxy_id", "ra", "dec"]
    found = [ds.dataset(path, format="parquet").to_table(columns, filter=wanted) for path in parquet_paths]
    return (
        pa.concat_tables(found).to_pandas().drop_duplicates("galaxy_id").sort_values("galaxy_id").reset_index(drop=True)
    )


def _near(
    path: str, cells: NDArray[np.int64], ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64], radius: float
) -> pa.Table:
    in_cells = pc.field("healpix_128").isin(pa.array(cells)) & ~pc.field("in_margin")
    table = ds.dataset(path, format="parquet").to_table(filter=in_cells).select(SOURCE_SCHEMA.names)
    table = table.cast(SOURCE_SCHEMA)
    index, _, _ = pairs_within(table["ra"].to_numpy(), table["dec"].to_numpy(), ra_deg, dec_deg, radius)
    return table.take(pa.array(np.unique(index)))


def cells_touched(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64], radius_arcsec: float) -> NDArray[np.int64]:
    """Return the sorted NESTED nside-128 cells that circles around the positions touch."""
    radius = np.radians(radius_arcsec / 3600.0)
    discs = [
        healpy.query_disc(CELL_NSIDE, vector, radius, inclusive=True, fact=16, nest=True)
        for vector in unit_vectors(ra_deg, dec_deg)
    ]
    return np.unique(np.concatenate(discs)).astype(np.int64) if discs else np.zeros(0, dtype=np.int64)


def match_positives(
    lenses: pd.DataFrame, sources: pd.DataFrame, cells: pd.DataFrame, settings: CatalogsSettings
) -> pd.DataFrame:
    """Return one row a usable lens, sorted by lens_id: its nearest source, or why there is none.

    `lenses` as from `usable_lenses`, `sources` as from `sources_near`, `cells` the split cells of the footprint.
    A lens is ambiguous when more than one source lies within the match radius. Unmatched lenses keep their row, with
    null source columns, and the cell of the lens's own position where the footprint has it.
    """
    nearest, separation, within, covered = _match(lenses, sources, settings)
    in_footprint = np.isin(pixel_of(CELL_NSIDE, lenses["ra"], lenses["dec"]), cells["healpix_128"].to_numpy())
    reason = _reasons(lenses, sources, nearest, covered & in_footprint, settings)
    reason = _one_lens_a_source(lenses, nearest, separation, reason)
    matched = reason == ""
    frame = _lens_columns(lenses)
    frame["matched"] = matched
    frame["unmatched_reason"] = pd.Series(reason, dtype="str").mask(matched)
    frame["separation_arcsec"] = np.where(matched, separation, np.nan)
    frame["ambiguous"] = matched & (within > 1)
    taken = pd.Series(np.where(matched, nearest, -1))
    carried = sources.reindex(taken.where(taken >= 0, -1).to_numpy())[list(CARRIED_COLUMNS)].reset_index(drop=True)
    frame = pd.concat([frame, carried], axis=1)
    ra, dec = frame["ra"].fillna(frame["lens_ra"]), frame["dec"].fillna(frame["lens_dec"])
    frame["healpix_128"] = pixel_of(CELL_NSIDE, ra, dec)
    joined = frame.merge(
        cells[["healpix_128", "split", "region_id", "fold", "sky_partition"]], on="healpix_128", how="left"
    )
    return _typed(joined)


def _match(
    lenses: pd.DataFrame, sources: pd.DataFrame, settings: CatalogsSettings
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return for each lens: nearest source in the match radius (-1), separation, how many, and any coverage at all."""
    size = len(lenses)
    a, b, angle = pairs_within(
        lenses["ra"], lenses["dec"], sources["ra"], sources["dec"], settings.coverage_radius_arcsec
    )
    covered = np.bincount(a, minlength=size) > 0
    close = angle <= settings.match_radius_arcsec
    a, b, angle = a[close], b[close], angle[close]
    nearest, separation = np.full(size, -1, dtype=np.int64), np.full(size, np.nan)
    with_match, first = np.unique(a, return_index=True)
    nearest[with_match], separation[with_match] = b[first], angle[first]
    return nearest, separation, np.bincount(a, minlength=size), covered


def _reasons(
    lenses: pd.DataFrame,
    sources: pd.DataFrame,
    nearest: NDArray[np.int64],
    in_survey: NDArray[np.bool_],
    settings: CatalogsSettings,
) -> NDArray[np.object_]:
    """Return why each lens has no usable source, "" where it has one; the first reason in this order."""
    found = nearest >= 0
    index = np.where(found, nearest, 0)
    mask = bit_positions_to_mask(settings.match_mask_bits)
    if len(sources):
        masked = (sources["maskbits"].to_numpy()[index] & mask) != 0
        usable_type = sources["type"].isin(settings.match_types).to_numpy()[index]
        exposures = np.min([sources[f"nobs_{band}"].to_numpy()[index] for band in BANDS], axis=0)
    else:
        masked, usable_type = np.zeros(len(lenses), bool), np.ones(len(lenses), bool)
        exposures = np.zeros(len(lenses))
    conditions = [
        (lenses["duplicate_of"].notna().to_numpy(), DUPLICATE),
        (~in_survey, OUTSIDE),
        (~found, NO_SOURCE),
        (masked, MASKED),
        (~usable_type | (exposures < settings.match_nobs_min), FILTERED),
    ]
    return np.select([where for where, _ in conditions], [name for _, name in conditions], default="").astype(object)


def _one_lens_a_source(
    lenses: pd.DataFrame, nearest: NDArray[np.int64], separation: NDArray[np.float64], reason: NDArray[np.object_]
) -> NDArray[np.object_]:
    """Leave a source that two lenses would take to the one used for training, then the nearer, then the first id."""
    frame = pd.DataFrame(
        {
            "source": nearest,
            "held": lenses["evaluation_only"].to_numpy(),
            "separation": separation,
            "lens_id": lenses["lens_id"].to_numpy(),
        }
    )[reason == ""]
    ordered = frame.sort_values(["source", "held", "separation", "lens_id"], kind="stable")
    second = ordered.index[ordered["source"].duplicated()]
    result = reason.copy()
    result[second] = TAKEN
    return result


def _lens_columns(lenses: pd.DataFrame) -> pd.DataFrame:
    kept = ["lens_id", "name", "tier", "weight", "family", "confirmation", "evaluation_only", "z_lens"]
    frame = lenses[kept].rename(columns={"name": "lens_name"}).reset_index(drop=True)
    frame["lens_ra"], frame["lens_dec"] = lenses["ra"].to_numpy(), lenses["dec"].to_numpy()
    return frame


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with nullable integers, so that a null never turns an id or a bit mask into a float."""
    integers = {
        name: {pa.int16(): "Int16", pa.int32(): "Int32", pa.int64(): "Int64"}[SOURCE_SCHEMA.field(name).type]
        for name in CARRIED_COLUMNS
        if pa.types.is_integer(SOURCE_SCHEMA.field(name).type)
    }
    texts = [name for name in CARRIED_COLUMNS if pa.types.is_string(SOURCE_SCHEMA.field(name).type)]
    typed = frame.astype(integers | {"region_id": "Int64", "fold": "Int64", "healpix_128": "int64"})
    for name in (*texts, "split", "sky_partition", "tier", "family"):
        typed[name] = pd.Series(typed[name].to_numpy(dtype=object), dtype="str")
    outside = typed["split"].isna()
    typed["healpix_128"] = typed["healpix_128"].astype("Int64").mask(outside)
    return typed.sort_values("lens_id", kind="stable").reset_index(drop=True)
