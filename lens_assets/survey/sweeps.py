"""Read sweep files: only the needed columns, a bounded number of rows at a time, older releases refused by name.

FITS is big-endian and pads text; what leaves this module is native and stripped. A file that is cut, damaged or of
another kind raises UnreadableFileError; which rows are usable and who owns them is decided in `ingest.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fitsio
import numpy as np
from numpy.typing import NDArray

from lens_assets.survey.fits_files import UnreadableFileError, first_line, open_fits
from lens_assets.survey.schemas import (
    NEEDED_COLUMNS,
    OPTIONAL_COLUMNS,
    ROW_FILTER_COLUMN,
    SWEEP_DTYPES,
    missing_columns,
)

_KINDS = {"i": "an integer", "f": "a floating-point number", "S": "text"}


@dataclass(frozen=True)
class SweepChunk:
    """Consecutive rows of a sweep file: `columns` by lower-case name, native byte order, in the schema's types.

    `row_index` is the zero-based row in the file; `primary` is False for rows that another brick owns.
    Columns that the release does not have (the i band before DR10) are absent from `columns`.
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
        names = {name.upper(): name for name in table.get_colnames()}
        _require_columns(path, names)
        wanted = [name for name in (*NEEDED_COLUMNS, ROW_FILTER_COLUMN) if name in names]
        _require_types(path, table, [name for name in wanted if name in SWEEP_DTYPES], names)
        for start in range(0, table.get_nrows(), chunk_rows):
            stop = min(start + chunk_rows, table.get_nrows())
            yield _chunk(path, table, [names[name] for name in wanted], start, stop)


def _catalog_extension(path: Path, opened: fitsio.FITS) -> fitsio.hdu.TableHDU:
    for extension in opened:
        if extension.get_exttype() == "BINARY_TBL":
            return extension
    raise UnreadableFileError(path, "no_table", "has no binary table; expected a sweep catalog in extension 1")


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
    for name in wanted:
        expected = np.dtype(SWEEP_DTYPES[name])
        kind = {"U": "S", "u": "i"}.get(held[names[name]].kind, held[names[name]].kind)
        if kind != expected.kind or held[names[name]].shape != expected.shape:
            raise UnreadableFileError(
                path,
                "wrong_type",
                f"column {name} is {held[names[name]].base.str}{held[names[name]].shape or ''}; "
                f"expected {_KINDS[expected.kind]} ({expected.str})",
            )


def _chunk(path: Path, table: fitsio.hdu.TableHDU, names: list[str], start: int, stop: int) -> SweepChunk:
    try:
        rows = table[start:stop]
    except (OSError, ValueError, RuntimeError) as error:
        detail = f"rows {start} to {stop} cannot be read ({first_line(error)})"
        raise UnreadableFileError(path, "corrupt", detail) from error
    columns = {name.lower(): _native(name.upper(), rows[name]) for name in names if name.upper() in SWEEP_DTYPES}
    flag = next((name for name in names if name.upper() == ROW_FILTER_COLUMN), None)
    primary = np.asarray(rows[flag], dtype=bool) if flag else np.ones(stop - start, dtype=bool)
    return SweepChunk(np.arange(start, stop, dtype=np.int64), columns, primary)


def _native(name: str, values: NDArray) -> NDArray:
    expected = np.dtype(SWEEP_DTYPES[name])
    if expected.kind == "S":
        text = values.astype("U") if values.dtype.kind == "S" else values
        return np.strings.strip(text).astype(object)
    return np.ascontiguousarray(values, dtype=expected.newbyteorder("="))


def absent_optional_columns(chunk: SweepChunk) -> tuple[str, ...]:
    """Return the lower-case names of optional columns that the file does not have."""
    return tuple(sorted(name.lower() for name in OPTIONAL_COLUMNS if name.lower() not in chunk.columns))
