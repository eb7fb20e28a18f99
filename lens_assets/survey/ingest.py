"""From sweep files to the sources of one sky partition: validity, ownership, duplicates, derived columns, accounting.

Every row that is read is accounted for: it is kept, or counted under the first reason that drops it. The result does
not depend on the order in which files come in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lens_assets.sky import healpix
from lens_assets.survey.fits_files import UnreadableFileError
from lens_assets.survey.schemas import NEEDED_COLUMNS, SWEEP_DTYPES, TRACTOR_TYPES
from lens_assets.survey.sweeps import SweepChunk, absent_optional_columns, read_sweep
from lens_assets.survey.tiles import SweepTile
from lens_assets.survey.units import BANDS, axis_ratio, depth_ivar_to_mag, ellipticity_modulus, flux_to_mag

MAG_BANDS = (*BANDS, "w1")
OK, QUARANTINED = "ok", "quarantined"


@dataclass
class FileAccount:
    """What became of the rows of one file: rows_read is the sum of all the counts below it.

    A quarantined file keeps no row: what was read before its fault showed is not used.
    """

    sweep_file: str
    status: str = OK
    reason: str = ""
    detail: str = ""
    rows_read: int = 0
    not_primary: int = 0
    malformed: int = 0
    outside: int = 0
    faint: int = 0
    duplicate: int = 0
    kept: int = 0
    kept_in_margin: int = 0


@dataclass(frozen=True)
class PartitionIngest:
    """The sources of one partition (schema `SOURCE_SCHEMA`, sorted by galaxy_id) and the account of every file."""

    sources: pa.Table
    accounts: pd.DataFrame


@dataclass(frozen=True)
class Region:
    """What a partition takes from the sky: one NESTED pixel, a margin around it, and a faint limit."""

    nside: int
    pixel: int
    margin_arcsec: float
    faintest_mag_z: float | None = None


def _source_schema() -> pa.Schema:
    types = {"i2": pa.int16(), "i4": pa.int32(), "f4": pa.float32(), "f8": pa.float64()}
    columns: list[tuple[str, pa.DataType]] = [("galaxy_id", pa.string())]
    columns += [(name.lower(), types.get(SWEEP_DTYPES[name], pa.string())) for name in NEEDED_COLUMNS]
    columns += [(f"mag_{band}", pa.float64()) for band in MAG_BANDS]
    columns += [(name, pa.float64()) for name in ("g_minus_r", "r_minus_z", "z_minus_w1", "ellipticity", "axis_ratio")]
    columns += [(f"{depth}_{band}_mag", pa.float64()) for depth in ("psfdepth", "galdepth") for band in BANDS]
    columns += [("healpix_64", pa.int64()), ("healpix_128", pa.int64()), ("sky_partition", pa.string())]
    columns += [("in_margin", pa.bool_()), ("sweep_file", pa.string()), ("row_index", pa.int64())]
    return pa.schema(columns)


SOURCE_SCHEMA = _source_schema()
"""Columns and types of `sweep_sources`; missing values (no i band, flux <= 0) are null."""

OpenTile = Callable[[SweepTile], AbstractContextManager[Path]]


def ingest_partition(
    tiles: Iterable[SweepTile], open_tile: OpenTile, region: Region, chunk_rows: int
) -> PartitionIngest:
    """Read the tiles and return the sources of the region, each once, with the account of every file.

    A source in several files is kept from the file whose box holds it, else from the first by name; within a file
    the first row wins.
    """
    accounts: list[FileAccount] = []
    kept: list[pd.DataFrame] = []
    for tile in tiles:
        frame, account = _read_tile(tile, open_tile, region, chunk_rows)
        accounts.append(account)
        if len(frame):
            kept.append(frame)
    if not kept:
        return PartitionIngest(SOURCE_SCHEMA.empty_table(), accounts_frame(accounts))
    frame, duplicates = _without_duplicates(pd.concat(kept, ignore_index=True))
    _account_for(accounts, frame, duplicates)
    return PartitionIngest(_to_table(frame, region.nside), accounts_frame(accounts))


def accounts_frame(accounts: Iterable[FileAccount]) -> pd.DataFrame:
    """Return the accounts as a table, one row a file, sorted by file name."""
    names = [item.name for item in fields(FileAccount)]
    rows = [[getattr(account, name) for name in names] for account in accounts]
    frame = pd.DataFrame(rows, columns=names)
    integers = [item.name for item in fields(FileAccount) if item.type == "int"]
    texts = [name for name in names if name not in integers]
    return (
        frame.astype(dict.fromkeys(integers, "int64") | dict.fromkeys(texts, "str"))
        .sort_values("sweep_file", kind="stable")
        .reset_index(drop=True)
    )


def _read_tile(
    tile: SweepTile, open_tile: OpenTile, region: Region, chunk_rows: int
) -> tuple[pd.DataFrame, FileAccount]:
    account = FileAccount(tile.name)
    frames: list[pd.DataFrame] = []
    try:
        with open_tile(tile) as path:
            frames = [_select(chunk, tile, region, account) for chunk in read_sweep(path, chunk_rows)]
    except UnreadableFileError as error:
        return pd.DataFrame(), FileAccount(tile.name, QUARANTINED, error.reason, error.detail)
    except OSError as error:
        return pd.DataFrame(), FileAccount(tile.name, QUARANTINED, "unreachable", str(error))
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(), account


def _select(chunk: SweepChunk, tile: SweepTile, region: Region, account: FileAccount) -> pd.DataFrame:
    """Return the usable rows of a chunk that the region takes, and count the others by the first reason."""
    ra, dec = chunk.columns["ra"], chunk.columns["dec"]
    own = healpix.pixel_of(region.nside, ra, dec) == region.pixel
    in_margin = healpix.within_margin(region.nside, region.pixel, ra, dec, region.margin_arcsec)
    remaining = np.ones(len(ra), dtype=bool)
    account.rows_read += len(ra)
    for reason, dropped in (
        ("not_primary", ~chunk.primary),
        ("malformed", ~_well_formed(chunk)),
        ("outside", ~(own | in_margin)),
        ("faint", _too_faint(chunk, region.faintest_mag_z)),
    ):
        now = remaining & dropped
        setattr(account, reason, getattr(account, reason) + int(now.sum()))
        remaining &= ~dropped
    columns = {name: values[remaining] for name, values in chunk.columns.items()}
    frame = pd.DataFrame(columns)
    for name in absent_optional_columns(chunk):
        frame[name] = np.full(len(frame), np.nan, dtype=np.float32)
    frame["in_margin"] = in_margin[remaining]
    frame["sweep_file"] = pd.Series(tile.name, index=frame.index, dtype="str")
    frame["row_index"] = chunk.row_index[remaining]
    frame["outside_its_tile"] = ~tile.contains(ra[remaining], dec[remaining])
    frame["galaxy_id"] = galaxy_ids(frame["release"], frame["brickid"], frame["objid"])
    return frame


def galaxy_ids(release: pd.Series, brickid: pd.Series, objid: pd.Series) -> pd.Series:
    """Return the identity of Tractor sources, `{release}_{brickid}_{objid}`."""
    return release.astype("str") + "_" + brickid.astype("str") + "_" + objid.astype("str")


def _well_formed(chunk: SweepChunk) -> NDArray[np.bool_]:
    """Return True for rows with a position on the sky, an identity, a known type and finite fluxes in g, r, z."""
    columns = chunk.columns
    good = np.isfinite(columns["ra"]) & np.isfinite(columns["dec"])
    good &= (columns["ra"] >= 0.0) & (columns["ra"] < 360.0) & (np.abs(columns["dec"]) <= 90.0)
    good &= (columns["release"] > 0) & (columns["brickid"] > 0) & (columns["objid"] >= 0)
    good &= np.isin(columns["type"].astype("U3"), TRACTOR_TYPES) & (columns["brickname"].astype("U8") != "")
    for band in BANDS:
        good &= np.isfinite(columns[f"flux_{band}"])
    return np.asarray(good, dtype=bool)


def _too_faint(chunk: SweepChunk, faintest_mag_z: float | None) -> NDArray[np.bool_]:
    if faintest_mag_z is None:
        return np.zeros(len(chunk.row_index), dtype=bool)
    return ~(flux_to_mag(chunk.columns["flux_z"]) <= faintest_mag_z)


def _without_duplicates(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (rows kept, rows dropped): one row a galaxy_id, the same whichever order files come in."""
    ordered = frame.sort_values(["galaxy_id", "outside_its_tile", "sweep_file", "row_index"], kind="stable")
    repeated = ordered["galaxy_id"].duplicated(keep="first")
    return ordered[~repeated].reset_index(drop=True), ordered[repeated]


def _account_for(accounts: list[FileAccount], kept: pd.DataFrame, duplicates: pd.DataFrame) -> None:
    held = kept["sweep_file"].value_counts()
    in_margin = kept.loc[kept["in_margin"], "sweep_file"].value_counts()
    dropped = duplicates["sweep_file"].value_counts()
    for account in accounts:
        account.kept = int(held.get(account.sweep_file, 0))
        account.kept_in_margin = int(in_margin.get(account.sweep_file, 0))
        account.duplicate = int(dropped.get(account.sweep_file, 0))


def _to_table(frame: pd.DataFrame, nside: int) -> pa.Table:
    """Return the frame with its derived columns in the schema of the asset; NaN becomes null."""
    derived = frame.assign(**derived_columns(frame))
    ra, dec = frame["ra"].to_numpy(), frame["dec"].to_numpy()
    derived["healpix_128"] = healpix.pixel_of(healpix.CELL_NSIDE, ra, dec)
    derived["healpix_64"] = healpix.coarser(derived["healpix_128"], healpix.CELL_NSIDE, healpix.COARSE_NSIDE)
    derived["sky_partition"] = healpix.partition_keys_of(nside, healpix.pixel_of(nside, ra, dec))
    return pa.Table.from_pandas(derived[SOURCE_SCHEMA.names], schema=SOURCE_SCHEMA, preserve_index=False)


def derived_columns(frame: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return magnitudes, colours (as observed, not dereddened), shapes and depths of sources; NaN where undefined."""
    columns = {f"mag_{band}": flux_to_mag(frame[f"flux_{band}"]) for band in MAG_BANDS}
    columns["g_minus_r"] = columns["mag_g"] - columns["mag_r"]
    columns["r_minus_z"] = columns["mag_r"] - columns["mag_z"]
    columns["z_minus_w1"] = columns["mag_z"] - columns["mag_w1"]
    columns["ellipticity"] = ellipticity_modulus(frame["shape_e1"], frame["shape_e2"])
    columns["axis_ratio"] = axis_ratio(frame["shape_e1"], frame["shape_e2"])
    for depth in ("psfdepth", "galdepth"):
        for band in BANDS:
            columns[f"{depth}_{band}_mag"] = depth_ivar_to_mag(frame[f"{depth}_{band}"])
    return columns
