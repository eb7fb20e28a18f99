"""Read lists of objects from CSV, FITS, VOTable or Parquet as text, with errors that name file, row and column."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.digests import file_digest

_SUFFIXES = {".csv": ",", ".tsv": "\t", ".txt": ","}
_VOTABLE = (".vot", ".votable", ".xml")
_FITS = (".fits", ".fit")
_JNAME = re.compile(r"J(\d{2})(\d{2})(\d{2}(?:\.\d*)?)([+-])(\d{2})(\d{2})(\d{2}(?:\.\d*)?)")


class CatalogError(ValueError):
    """A list that cannot be used as it is; the message names file, row, column, what was found and expected."""

    def __init__(self, path: str | Path, column: str, found: str, expected: str, row: int | None = None) -> None:
        place = f"{path}, " + (f"row {row}, " if row is not None else "")
        super().__init__(f"{place}column {column}: found {found}; expected {expected}")


def installed_lenscat() -> Path:
    """Return the path of the catalog that the installed lenscat package holds, without importing the package."""
    spec = importlib.util.find_spec("lenscat")
    if spec is None or spec.origin is None:
        raise CatalogError("lenscat", "(package)", "not installed", "the lenscat package: pip install lenscat")
    return Path(spec.origin).parent / "data" / "catalog.csv"


def read_text_table(path: Path, sha256: str = "", *, may_be_empty: bool = False) -> pd.DataFrame:
    """Return a list with every value as stripped text ("" where missing), rows in file order.

    A list without rows is an error unless it may be empty: nobody names a list to learn nothing.

    Formats by suffix: .csv, .tsv, .txt, .fits, .fit (with .gz), .vot, .votable, .xml, .parquet. Raises CatalogError for
    a file that is none of these and for a row of text with more or fewer values than the header has.
    """
    if path.is_dir():
        raise CatalogError(path, "(file)", "a folder", "a CSV, FITS, VOTable or Parquet file")
    if not path.is_file():
        raise CatalogError(path, "(file)", "no such file", "a CSV, FITS, VOTable or Parquet file")
    _require_checksum(path, sha256)
    suffix = path.name.lower().removesuffix(".gz")
    kind = f".{suffix.rpartition('.')[2]}"
    try:
        if kind in _SUFFIXES:
            frame = _read_delimited(path, _SUFFIXES[kind])
        elif kind == ".parquet":
            frame = _as_text(pd.read_parquet(path))
        elif kind in (*_FITS, *_VOTABLE):
            frame = _as_text(_read_astropy(path, "fits" if kind in _FITS else "votable"))
        else:
            raise CatalogError(path, "(file)", f"suffix {kind}", "csv, tsv, txt, fits, vot, xml or parquet")
    except CatalogError:
        raise
    except Exception as error:  # the readers raise dozens of kinds; all mean that the file is not what it is named
        raise CatalogError(path, "(file)", f"unreadable ({error})", f"a valid {kind} file") from error
    if not len(frame) and not may_be_empty:
        raise CatalogError(path, "(file)", "no rows", "at least one; take the list out of catalogs.yaml if it has none")
    return frame.apply(lambda column: column.str.strip()) if len(frame.columns) else frame


def _require_checksum(path: Path, sha256: str) -> None:
    if not sha256:
        return
    held = file_digest(path)
    if held != sha256:
        raise CatalogError(path, "(file)", f"SHA-256 {held}", f"{sha256}; correct sha256 if the change is meant")


def _read_delimited(path: Path, separator: str) -> pd.DataFrame:
    _require_full_rows(path, separator)
    # Without index_col=False a separator at the end of the rows makes their first value an index: columns shift.
    return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, comment=None, index_col=False)


def _require_full_rows(path: Path, separator: str) -> None:
    """Raise CatalogError for the first row that has not as many values as the header; empty lines are no rows."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream, delimiter=separator)
        records = (record for record in lines if len(record) > 1 or "".join(record).strip())
        header = next(records, [])
        for row, record in enumerate(records, start=1):
            if len(record) != len(header):
                expected = f"{len(header)}, as many as the header has; correct the separators or quotes of the row"
                raise CatalogError(path, "(all)", f"{len(record)} values", expected, row)


def _read_astropy(path: Path, kind: str) -> pd.DataFrame:
    from astropy.table import Table

    table = Table.read(path, format=kind, **({"hdu": 1} if kind == "fits" else {}))
    scalar = [name for name in table.colnames if table[name].ndim == 1]
    return table[scalar].to_pandas()


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Return every column as text that restores the number exactly; missing values are empty."""
    return pd.DataFrame({str(name): _text_column(frame[name]) for name in frame.columns})


def _text_column(column: pd.Series) -> pd.Series:
    def text(value: object) -> str:
        if isinstance(value, bytes):
            return value.decode("utf-8", errors="replace")
        return str(value)

    missing = column.isna().to_numpy()
    values = ["" if gone else text(value) for value, gone in zip(column.tolist(), missing, strict=True)]
    return pd.Series(values, dtype="str")


def require_columns(path: Path, frame: pd.DataFrame, names: list[str]) -> None:
    """Raise CatalogError for the first mapped column that the list does not have."""
    for name in names:
        if name and name not in frame.columns:
            raise CatalogError(path, repr(name), f"only {', '.join(map(repr, frame.columns))}", "a column of that name")


def parse_degrees(path: Path, column: pd.Series, low: float, high: float) -> NDArray[np.float64]:
    """Return a column of degrees in [low, high]; CatalogError names the first row that holds something else."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values) | (values < low) | (values > high))
    if len(bad):
        row = int(bad[0])
        expected = f"degrees from {low:g} to {high:g} ({len(bad)} such rows)"
        raise CatalogError(path, str(column.name), repr(column.iloc[row]), expected, row + 1)
    return values


def positions_from_jnames(path: Path, names: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (ra, dec) in degrees from names such as J000411.19+020924.0 (hours, minutes, seconds; degrees ...)."""
    ra, dec = np.empty(len(names)), np.empty(len(names))
    for row, name in enumerate(names):
        match = _JNAME.search(name)
        if not match:
            raise CatalogError(path, str(names.name), repr(name), "a J-name such as J000411.19+020924.0", row + 1)
        hours, minutes, seconds, sign, degrees, arcmin, arcsec = match.groups()
        ra[row] = 15.0 * (int(hours) + int(minutes) / 60.0 + float(seconds) / 3600.0)
        dec[row] = (-1 if sign == "-" else 1) * (int(degrees) + int(arcmin) / 60.0 + float(arcsec) / 3600.0)
    return ra, dec


def list_path(origin: str, path: str, campaign_folder: Path, simulated_file: Callable[[str], Path]) -> Path:
    """Return the file of a list: in the lenscat package, the simulated survey, or relative to the campaign's folder."""
    if origin == "lenscat":
        return installed_lenscat()
    if origin == "simulated":
        return simulated_file(path)
    return campaign_folder / Path(path).expanduser()
