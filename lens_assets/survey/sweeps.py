"""Read sweep files: only the needed columns, a bounded number of rows at a time, older releases refused by name.

FITS is big-endian; what leaves this module is native. A file that is cut, damaged or of another kind, or with a number
that the column's type in the schema cannot hold, raises UnreadableFileError; which rows are usable and who owns them
is decided in `sources.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fitsio
import numpy as np
from numpy.typing import NDArray

from lens_assets.survey.fits_files import UnreadableFileError, first_line, open_fits
from lens_assets.survey.schemas import NEEDED_COLUMNS, ROW_FILTER_COLUMN, SWEEP_DTYPES, missing_columns

_TRUE = ord("T")
"""How FITS writes a logical value that holds."""

_BLOCK_ROWS = 4096
"""Rows taken apart at a time: they fit the processor's cache, which each column goes through once."""

RowReader = Callable[[int, int], dict[str, NDArray]]
"""From a range of rows to their columns by upper-case name."""


@dataclass(frozen=True)
class SweepChunk:
    """Consecutive rows of a sweep file: `columns` by lower-case name, native byte order, in the schema's types.

    Text columns are bytes of the schema's width, padded as the file pads them. `row_index` is the zero-based row in
    the file; `primary` is False for rows that another brick owns. Columns that the release does not have (the i band
    before DR10) are absent from `columns`.
    """

    row_index: NDArray[np.int64]
    columns: dict[str, NDArray]
    primary: NDArray[np.bool_]


def read_sweep(path: Path, chunk_rows: int) -> Iterator[SweepChunk]:
    """Yield the rows of a sweep or Tractor file in order, at most `chunk_rows` at a time.

    Raises UnreadableFileError with the reason; missing columns are named with the release that has them.
    """
    with open_fits(path) as opened:
        table = _catalog_extension(path, opened)
        names = _column_names(path, table)
        _require_columns(path, names)
        wanted = {name: names[name] for name in (*NEEDED_COLUMNS, ROW_FILTER_COLUMN) if name in names}
        _require_types(path, table, [name for name in wanted if name in SWEEP_DTYPES], names)
        read = _plain_reader(table, wanted) or _converting_reader(table, wanted)
        for start in range(0, table.get_nrows(), chunk_rows):
            yield _chunk(path, read, start, min(start + chunk_rows, table.get_nrows()))


def _catalog_extension(path: Path, opened: fitsio.FITS) -> fitsio.hdu.TableHDU:
    for extension in opened:
        if extension.get_exttype() == "BINARY_TBL":
            return extension
    detail = "has no binary table, or is cut before its end; expected a sweep catalog in extension 1"
    raise UnreadableFileError(path, "no_table", detail)


def _column_names(path: Path, table: fitsio.hdu.TableHDU) -> dict[str, str]:
    """Return upper-case names of columns and how the file writes them; two that differ in case alone are refused."""
    held = table.get_colnames()
    names = {name.upper(): name for name in held}
    twice = [name for name in held if names[name.upper()] != name]
    if twice:
        pairs = ", ".join(f"{name} and {names[name.upper()]}" for name in twice)
        raise UnreadableFileError(path, "repeated_column", f"has {pairs}; expected each column once, in any case")
    return names


def _require_columns(path: Path, names: dict[str, str]) -> None:
    missing = missing_columns(names)
    if missing:
        listed = ", ".join(f"{name} ({release})" for name, release in missing.items())
        raise UnreadableFileError(
            path,
            "missing_columns",
            f"lacks {len(missing)} columns, named here with the first release that has them: {listed}. "
            "Expected a DR9 or DR10 sweep; older releases describe galaxies by another model and are not read",
        )


def _require_types(path: Path, table: fitsio.hdu.TableHDU, wanted: list[str], names: dict[str, str]) -> None:
    held = table.get_rec_dtype()[0]
    filter_type = held[names[ROW_FILTER_COLUMN]] if ROW_FILTER_COLUMN in names else np.dtype(bool)
    if filter_type != np.dtype(bool):
        detail = f"column {ROW_FILTER_COLUMN} is {_in_words(filter_type)}; expected logical (TFORM L), true or false"
        raise UnreadableFileError(path, "wrong_type", detail)
    for name in wanted:
        expected = np.dtype(SWEEP_DTYPES[name])
        kind = {"U": "S", "u": "i"}.get(held[names[name]].kind, held[names[name]].kind)
        if kind != expected.kind or held[names[name]].shape != expected.shape:
            raise UnreadableFileError(
                path,
                "wrong_type",
                f"column {name} is {_in_words(held[names[name]])}; expected {_in_words(expected)}",
            )
        if expected == np.float64 and held[names[name]].itemsize < expected.itemsize:
            raise UnreadableFileError(
                path,
                "wrong_type",
                f"column {name} is {_in_words(held[names[name]])}; expected {_in_words(expected)}: a shorter number "
                "moves a position by up to 0.05 arcsec. Copy the file from the release again",
            )


def _in_words(dtype: np.dtype) -> str:
    """Return the type of a column as a person knows it: float32, int16, text, or an array of one of them."""
    name = "text" if dtype.base.kind in "SU" else dtype.base.name
    return f"an array of {name} {dtype.shape}" if dtype.shape else name


def _plain_reader(table: fitsio.hdu.TableHDU, wanted: dict[str, str]) -> RowReader | None:
    """Return a reader of rows as they lie in the file, or None where they have to be converted.

    Rows of an uncompressed table without scaled or variable-length columns are a plain big-endian structure: numpy
    takes them five times as fast as cfitsio, which goes over every column of every row.
    """
    header, layout = table.read_header(), table.get_rec_dtype()[0]
    scaled = any(f"{key}{number}" in header for key in ("TZERO", "TSCAL") for number in range(1, len(layout) + 1))
    compressed = bool(header.get("ZTABLE", False))
    if scaled or compressed or layout.hasobject or layout.itemsize != int(header["NAXIS1"]):
        return None
    path, offset, stored = table.get_filename(), table.get_offsets()["data_start"], layout.newbyteorder(">")
    kinds = {name: _read_type(name, layout[held]) for name, held in wanted.items()}

    def read(start: int, stop: int) -> dict[str, NDArray]:
        columns = {name: np.empty(stop - start, kinds[name]) for name in wanted}
        done = 0
        with open(path, "rb") as stream:
            stream.seek(offset + start * stored.itemsize)
            while done < stop - start:
                rows = np.fromfile(stream, stored, min(_BLOCK_ROWS, stop - start - done))
                if not len(rows):
                    break
                for name, held in wanted.items():
                    here = rows[held].view(np.uint8) == _TRUE if name == ROW_FILTER_COLUMN else rows[held]
                    columns[name][done : done + len(rows)] = here
                done += len(rows)
        return {name: values[:done] for name, values in columns.items()}

    return read


def _converting_reader(table: fitsio.hdu.TableHDU, wanted: dict[str, str]) -> RowReader:
    def read(start: int, stop: int) -> dict[str, NDArray]:
        rows = table[list(wanted.values())][start:stop]
        return {name: rows[held] for name, held in wanted.items()}

    return read


def _chunk(path: Path, read: RowReader, start: int, stop: int) -> SweepChunk:
    try:
        columns = read(start, stop)
    except (OSError, ValueError, RuntimeError) as error:
        detail = f"rows {start} to {stop} cannot be read ({first_line(error)})"
        raise UnreadableFileError(path, "corrupt", detail) from error
    held = len(columns["RA"])
    if held != stop - start:
        raise UnreadableFileError(path, "truncated", f"ends after row {start + held}; its headers promise more")
    _require_fitting_integers(path, columns, start)
    _require_fitting_texts(path, columns, start)
    native = {name.lower(): np.ascontiguousarray(values, _native_type(name)) for name, values in columns.items()}
    primary = native.pop(ROW_FILTER_COLUMN.lower(), np.ones(held, dtype=bool))
    return SweepChunk(np.arange(start, stop, dtype=np.int64), native, primary)


def _require_fitting_integers(path: Path, columns: dict[str, NDArray], start: int) -> None:
    """Refuse a file with an integer that its column's type in the schema cannot hold; most types need no look."""
    for name, values in columns.items():
        expected = _native_type(name)
        if expected.kind != "i" or np.can_cast(values.dtype, expected):
            continue
        limits = np.iinfo(expected)
        unfit = (values < limits.min) | (values > limits.max)
        if unfit.any():
            row = int(np.argmax(unfit))
            raise UnreadableFileError(
                path,
                "out_of_range",
                f"column {name} holds {values[row]} in row {start + row}; expected {_in_words(expected)}, "
                f"{limits.min} to {limits.max}. Copy the file from the release again",
            )


def _require_fitting_texts(path: Path, columns: dict[str, NDArray], start: int) -> None:
    """Refuse a file with a text longer than its column in the schema: cut short, it would be another one."""
    for name, values in columns.items():
        expected = _native_type(name)
        if expected.kind != "S" or np.can_cast(values.dtype, expected):
            continue
        long = np.strings.str_len(np.strings.rstrip(values)) > expected.itemsize
        if long.any():
            row = int(np.argmax(long))
            text = values[row].decode("ascii", "replace") if isinstance(values[row], bytes) else str(values[row])
            raise UnreadableFileError(
                path,
                "out_of_range",
                f"column {name} holds {text!r} in row {start + row}; expected at most {expected.itemsize} letters. "
                "Copy the file from the release again",
            )


def _read_type(name: str, stored: np.dtype) -> np.dtype:
    """Return the native type to read a column as: the schema's, or its own where integers or texts may not fit that."""
    expected = _native_type(name)
    unfit = expected.kind in "iS" and not np.can_cast(stored, expected)
    return stored.newbyteorder("=") if unfit else expected


def _native_type(name: str) -> np.dtype:
    return np.dtype(bool if name == ROW_FILTER_COLUMN else SWEEP_DTYPES[name]).newbyteorder("=")
