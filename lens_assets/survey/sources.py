"""From the rows of one sweep file to sources of one sky partition: validity, ownership, derived columns, accounting.

Everything here looks at one file alone, a chunk of rows at a time, and needs nothing but picklable arguments, so that
any worker may run it: see `read_tile`. What spans files, duplicates above all, belongs to `merging.py`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from lens_assets.sky import healpix
from lens_assets.survey.accounts import FileAccount
from lens_assets.survey.fits_files import UnreadableFileError
from lens_assets.survey.schemas import NEEDED_COLUMNS, SWEEP_DTYPES, TRACTOR_TYPES
from lens_assets.survey.sweeps import SweepChunk, read_sweep
from lens_assets.survey.tiles import SweepTile
from lens_assets.survey.units import (
    BANDS,
    axis_ratio,
    depth_ivar_to_mag,
    dereddened_flux,
    ellipticity_modulus,
    flux_to_mag,
)

MAG_BANDS = (*BANDS, "w1")
_TEXT_COLUMNS = tuple(name.lower() for name in NEEDED_COLUMNS if SWEEP_DTYPES[name].startswith("S"))


@dataclass(frozen=True)
class Region:
    """What a partition takes from the sky: one NESTED pixel, a margin around it, and a faint limit in AB mag.

    With `extinction_corrected` every magnitude and colour, that of the faint limit too, is corrected for Galactic
    dust by MW_TRANSMISSION; fluxes stay as observed.
    """

    nside: int
    pixel: int
    margin_arcsec: float
    faintest_mag_z: float | None = None
    extinction_corrected: bool = False


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

OUTSIDE_ITS_TILE = "outside_its_tile"
TILE_SCHEMA = SOURCE_SCHEMA.append(pa.field(OUTSIDE_ITS_TILE, pa.bool_()))
"""`SOURCE_SCHEMA` and whether a row lies outside the box of the file it stands in."""

REPETITIVE_COLUMNS = (*_TEXT_COLUMNS, "sky_partition", "sweep_file")
"""Columns of few values, for writers of Parquet."""

PREFERENCE = (OUTSIDE_ITS_TILE, "sweep_file", "row_index")
"""Of the rows of one galaxy_id the first in this order is kept, whichever order files are read in: the row of the
file whose box holds it, else of the first file by name, and within a file the first row."""

OpenTile = Callable[[SweepTile], AbstractContextManager[Path]]


def read_tile(
    tile: SweepTile,
    open_tile: OpenTile,
    region: Region,
    chunk_rows: int,
    take: Callable[[pa.RecordBatch], object],
) -> FileAccount:
    """Hand the rows of one file that a region takes to `take`, a chunk at a time, and return the file's account.

    Rows have `TILE_SCHEMA` and the order of the file; `open_tile` yields a local path of it, as
    `SurveyFiles.local_sweep` does. The account counts `kept` before duplicates are removed. What was taken of a file
    whose account is not ok must not be used. Raises OSError where this machine's disk is full.
    """
    account = FileAccount(tile.name)
    try:
        with open_tile(tile) as path:
            for batch in _batches(path, tile, region, chunk_rows, account):
                take(batch)
    except UnreadableFileError as error:
        return FileAccount.quarantined(tile.name, error.reason, error.detail)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        return FileAccount.quarantined(tile.name, "unreachable", str(error))
    return account


def _batches(
    path: Path, tile: SweepTile, region: Region, chunk_rows: int, account: FileAccount
) -> Iterator[pa.RecordBatch]:
    for chunk in read_sweep(path, chunk_rows):
        chosen, in_margin, pixel = _select(chunk, region, account)
        if chosen.any():
            yield _batch(chunk, chosen, in_margin, pixel, tile, region)


def _select(
    chunk: SweepChunk, region: Region, account: FileAccount
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    """Return (rows that the region takes, rows in its margin, NESTED pixel of nside FINE_NSIDE) of a chunk.

    The other rows are counted by the first reason that drops them.
    """
    ra, dec = chunk.columns["ra"], chunk.columns["dec"]
    pixel = healpix.pixel_of(healpix.FINE_NSIDE, ra, dec)
    in_margin = healpix.within_margin(region.nside, region.pixel, ra, dec, region.margin_arcsec, pixel)
    own = healpix.coarser(pixel, healpix.FINE_NSIDE, region.nside) == region.pixel
    faults = _faults(chunk.columns)
    malformed = np.logical_or.reduce(list(faults.values()))
    account.note_malformed(chunk.row_index, {name: bad & chunk.primary for name, bad in faults.items()})
    remaining = account.drop_in_order(
        {
            "not_primary": ~chunk.primary,
            "malformed": malformed,
            "outside": ~(own | in_margin),
            **_beyond_limit(chunk.columns, region),
        }
    )
    account.kept += int(remaining.sum())
    account.kept_in_margin += int((remaining & in_margin).sum())
    return remaining, in_margin, pixel


def _faults(columns: Mapping[str, NDArray]) -> dict[str, NDArray[np.bool_]]:
    """Return for each thing that makes a row unusable the rows that have it; the name says what was expected."""
    ra, dec = columns["ra"], columns["dec"]
    on_sky = np.isfinite(ra) & np.isfinite(dec) & (ra >= 0.0) & (ra < 360.0) & (np.abs(dec) <= 90.0)
    identified = (columns["release"] > 0) & (columns["brickid"] > 0) & (columns["objid"] >= 0)
    finite = np.logical_and.reduce([np.isfinite(columns[f"flux_{band}"]) for band in BANDS])
    return {
        "RA not in [0, 360) or DEC not in [-90, 90]": ~on_sky,
        "RELEASE or BRICKID not above 0, or OBJID below 0": ~identified,
        f"TYPE none of {', '.join(TRACTOR_TYPES)}": ~_is_type(columns["type"]),
        "BRICKNAME, TYPE or REF_CAT not text, or BRICKNAME empty": ~_are_texts(columns),
        f"FLUX not finite in one of {', '.join(BANDS)}": ~finite,
    }


def _is_type(values: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    return np.isin(np.strings.rstrip(values), np.array([name.encode() for name in TRACTOR_TYPES]))


def _are_texts(columns: Mapping[str, NDArray]) -> NDArray[np.bool_]:
    good = np.strings.strip(columns["brickname"]) != b""
    for name in _TEXT_COLUMNS:
        values = columns[name]
        letters = values.view(np.uint8).reshape(len(values), -1)
        good &= (letters < 128).all(axis=1)
    return np.asarray(good, dtype=bool)


def _beyond_limit(columns: Mapping[str, NDArray], region: Region) -> dict[str, NDArray[np.bool_]]:
    """Return the rows that a faint limit drops: those without a magnitude in z, and those fainter than the limit."""
    if region.faintest_mag_z is None:
        return {}
    mag_z = magnitudes(columns, ("z",), region.extinction_corrected)["mag_z"]
    return {"no_flux_z": np.isnan(mag_z), "faint": mag_z > region.faintest_mag_z}


def _batch(
    chunk: SweepChunk,
    chosen: NDArray[np.bool_],
    in_margin: NDArray[np.bool_],
    pixel: NDArray[np.int64],
    tile: SweepTile,
    region: Region,
) -> pa.RecordBatch:
    """Return the chosen rows of a chunk with their derived columns; NaN becomes null."""
    held = {name: values[chosen] for name, values in chunk.columns.items()}
    count, cells = int(chosen.sum()), pixel[chosen]
    columns: dict[str, pa.Array] = {name: _text(held.pop(name)) for name in _TEXT_COLUMNS}
    columns["galaxy_id"] = galaxy_ids(held["release"], held["brickid"], held["objid"])
    held |= derived_columns(held, region.extinction_corrected)
    for nside in (healpix.COARSE_NSIDE, healpix.CELL_NSIDE):
        held[f"healpix_{nside}"] = healpix.coarser(cells, healpix.FINE_NSIDE, nside)
    owner = healpix.coarser(cells, healpix.FINE_NSIDE, region.nside)
    columns["sky_partition"] = pa.array(healpix.partition_keys_of(region.nside, owner), pa.string())
    columns["sweep_file"] = pa.repeat(tile.name, count)
    held |= {"in_margin": in_margin[chosen], "row_index": chunk.row_index[chosen]}
    held[OUTSIDE_ITS_TILE] = ~tile.contains(held["ra"], held["dec"])
    columns |= {name: pa.array(values, from_pandas=True) for name, values in held.items()}
    arrays = [columns.get(field.name, pa.nulls(count, field.type)) for field in TILE_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=TILE_SCHEMA)


def galaxy_ids(release: ArrayLike, brickid: ArrayLike, objid: ArrayLike) -> pa.StringArray:
    """Return the identity of Tractor sources, `{release}_{brickid}_{objid}`; a brick reduced again has new ones."""
    numbers = [pc.cast(pa.array(np.asarray(values)), pa.string()) for values in (release, brickid, objid)]
    return pc.binary_join_element_wise(*numbers, "_")


def _text(values: NDArray[np.bytes_]) -> pa.Array:
    return pc.utf8_trim_whitespace(pc.cast(pa.array(values, pa.binary()), pa.string()))


def magnitudes(
    fluxes: Mapping[str, ArrayLike], bands: tuple[str, ...], extinction_corrected: bool = False
) -> dict[str, NDArray[np.float64]]:
    """Return mag_<band> in AB mag of flux_<band> in nanomaggies; NaN where the flux is not positive.

    Corrected for Galactic dust, each flux is first divided by mw_transmission_<band>.
    """
    found = {}
    for band in bands:
        flux = fluxes[f"flux_{band}"]
        if extinction_corrected:
            flux = dereddened_flux(flux, fluxes[f"mw_transmission_{band}"])
        found[f"mag_{band}"] = flux_to_mag(flux)
    return found


def derived_columns(
    columns: Mapping[str, ArrayLike], extinction_corrected: bool = False
) -> dict[str, NDArray[np.float64]]:
    """Return magnitudes, colours, shapes and 5-sigma depths of sources, each of shape (N,); NaN where undefined.

    Magnitudes and colours are as observed, or corrected for Galactic dust; depths are never corrected.
    """
    derived = magnitudes(columns, MAG_BANDS, extinction_corrected)
    derived["g_minus_r"] = derived["mag_g"] - derived["mag_r"]
    derived["r_minus_z"] = derived["mag_r"] - derived["mag_z"]
    derived["z_minus_w1"] = derived["mag_z"] - derived["mag_w1"]
    derived["ellipticity"] = ellipticity_modulus(columns["shape_e1"], columns["shape_e2"])
    derived["axis_ratio"] = axis_ratio(columns["shape_e1"], columns["shape_e2"])
    for depth in ("psfdepth", "galdepth"):
        for band in BANDS:
            derived[f"{depth}_{band}_mag"] = depth_ivar_to_mag(columns[f"{depth}_{band}"])
    return derived
