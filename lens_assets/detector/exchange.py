"""Stamps that leave for another team's finder, and the scores that come back.

A stamp is named by its content, the first 80 bits of the SHA-256 of its float32 pixels, so that scores can only ever be
joined to the pixels that were scored: a stamp that is rendered or cut anew has another name. The name also says nothing
of what the stamp is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.survey.units import BANDS, PIXEL_SCALE_ARCSEC

Format = Literal["npz", "fits", "hdf5"]
FORMATS: tuple[Format, ...] = ("npz", "fits", "hdf5")
_SUFFIX = {"npz": ".npz", "fits": ".fits", "hdf5": ".h5"}
STAMP_ID, SCORE = "stamp_id", "score"
ID_LENGTH = 20
_SHOWN = 5


class ScoreFileError(ValueError):
    """A file of scores that cannot be used; the message names the file, the rows and what was expected."""


def stamp_ids(stamps: NDArray[np.floating]) -> list[str]:
    """Return the name of each stamp, from stamps (N, 3, H, W) in nanomaggies."""
    block = np.ascontiguousarray(stamps, dtype="<f4")
    return [hashlib.sha256(stamp.tobytes()).hexdigest()[:ID_LENGTH] for stamp in block]


@dataclass
class StampExport:
    """Write stamps into files of a bounded number of rows; equal stamps are written once.

    `index` collects one row a stamp: stamp_id, role, file, row. Files are named <role>-<number>.
    """

    folder: Path
    format: Format
    rows_per_file: int = 1024
    index: list[tuple[str, str, str, int]] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _waiting: list[tuple[str, NDArray[np.float32]]] = field(default_factory=list)
    _files: dict[str, int] = field(default_factory=dict)

    def add(self, role: str, stamps: NDArray[np.floating]) -> None:
        """Take stamps (N, 3, H, W) in nanomaggies; those of one role have to come together."""
        for name, stamp in zip(stamp_ids(stamps), np.asarray(stamps, dtype=np.float32), strict=True):
            if name in self._seen:
                continue
            self._seen.add(name)
            self._waiting.append((name, stamp))
            if len(self._waiting) == self.rows_per_file:
                self.flush(role)

    def flush(self, role: str) -> None:
        """Write what waits; call it at the end of a role."""
        if not self._waiting:
            return
        number = self._files.get(role, 0)
        self._files[role] = number + 1
        path = self.folder / f"{role}-{number:04d}{_SUFFIX[self.format]}"
        names = [name for name, _ in self._waiting]
        write_stamp_file(path, names, np.stack([stamp for _, stamp in self._waiting]), self.format)
        self.index += [(name, role, path.name, row) for row, name in enumerate(names)]
        self._waiting.clear()

    def table(self) -> pd.DataFrame:
        """Return the index of everything written."""
        return pd.DataFrame(self.index, columns=[STAMP_ID, "role", "file", "row"])


def write_stamp_file(path: Path, names: Sequence[str], stamps: NDArray[np.float32], file_format: Format) -> None:
    """Write stamps (N, 3, H, W) in nanomaggies per pixel with their names, north up and east left: +x is West.

    npz: arrays `stamp_id` and `stamps`. fits: the primary HDU holds the stamps, the table IDS their names. hdf5:
    datasets of the names of npz. Nothing is pickled.
    """
    if file_format == "npz":
        np.savez(path, stamp_id=np.asarray(names, dtype=f"<U{ID_LENGTH}"), stamps=stamps)
    elif file_format == "fits":
        _write_fits(path, names, stamps)
    else:
        import h5py

        with h5py.File(path, "w") as file:
            file.create_dataset("stamps", data=stamps).attrs.update(_attributes())
            file.create_dataset(STAMP_ID, data=np.asarray(names, dtype=f"S{ID_LENGTH}"))


def _attributes() -> dict[str, str | float]:
    return {"bands": ",".join(BANDS), "unit": "nanomaggy", "pixel_scale_arcsec": PIXEL_SCALE_ARCSEC}


def _write_fits(path: Path, names: Sequence[str], stamps: NDArray[np.float32]) -> None:
    from astropy.io import fits

    primary = fits.PrimaryHDU(stamps)
    primary.header["BUNIT"] = ("nanomaggy", "per pixel")
    primary.header["BANDS"] = (",".join(BANDS), "along the third axis")
    primary.header["PIXSCALE"] = (PIXEL_SCALE_ARCSEC, "arcsec per pixel")
    column = fits.Column(name=STAMP_ID, format=f"{ID_LENGTH}A", array=np.asarray(names))
    table = fits.BinTableHDU.from_columns([column], name="IDS")
    fits.HDUList([primary, table]).writeto(path, overwrite=True)


def read_stamp_file(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Return (names, stamps) of an exported file; for those who score with this package."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as content:
            return content[STAMP_ID].tolist(), content["stamps"]
    if path.suffix == ".fits":
        from astropy.io import fits

        with fits.open(path) as hdus:
            names = [str(name) for name in hdus["IDS"].data[STAMP_ID]]
            return names, np.asarray(hdus[0].data, dtype=np.float32)
    import h5py

    with h5py.File(path, "r") as file:
        return [name.decode() for name in file[STAMP_ID][:]], file["stamps"][:]


def read_scores(path: Path, output: Literal["probability", "logit"] = "probability") -> pd.Series:
    """Return scores in [0, 1] by stamp_id from a CSV or Parquet file; logits are passed through the logistic function.

    Every id has to be there once and every score finite, and in [0, 1] where it is a probability: ScoreFileError names
    the rows otherwise.
    """
    table = _read_table(path)
    names = table[STAMP_ID].astype("string")
    wrong = names.isna() | ~names.str.fullmatch(f"[0-9a-f]{{{ID_LENGTH}}}").fillna(False).astype(bool)
    _refuse(path, table, wrong, f"a stamp_id of {ID_LENGTH} hexadecimal digits, as exported", STAMP_ID)
    _refuse(path, table, names.duplicated(keep=False), "every stamp_id once", STAMP_ID)
    values = pd.to_numeric(table[SCORE], errors="coerce").astype(np.float64)
    _refuse(path, table, ~np.isfinite(values), "a finite score", SCORE)
    if output == "logit":
        values = 1.0 / (1.0 + np.exp(-values.clip(-700.0, 700.0)))
    else:
        _refuse(path, table, ~values.between(0.0, 1.0), "a probability in [0, 1] (or output: logit)", SCORE)
    return pd.Series(values.to_numpy(), index=pd.Index(names.astype(str).to_numpy(), name=STAMP_ID), name=SCORE)


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ScoreFileError(f"{path}: no such file; expected a CSV or Parquet file with {STAMP_ID} and {SCORE}")
    try:
        is_parquet = path.suffix == ".parquet"
        table = pd.read_parquet(path) if is_parquet else pd.read_csv(path, dtype={STAMP_ID: "string"})
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise ScoreFileError(f"{path} cannot be read ({error}); expected CSV or Parquet") from error
    missing = [name for name in (STAMP_ID, SCORE) if name not in table]
    if missing:
        raise ScoreFileError(f"{path}: lacks {', '.join(missing)}; its columns are {', '.join(map(str, table))}")
    return table


def _refuse(path: Path, table: pd.DataFrame, wrong: pd.Series, expected: str, column: str) -> None:
    places = np.flatnonzero(wrong.to_numpy(dtype=bool))
    if not len(places):
        return
    shown = "; ".join(f"row {place + 1}: {table[column].iloc[place]}" for place in places[:_SHOWN])
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    raise ScoreFileError(f"{path}: {shown}{more}; expected {expected}")


def join_scores(files: Mapping[Path, pd.Series]) -> pd.Series:
    """Return the scores of several files as one; a stamp that two files score differently is refused."""
    joined = pd.concat(list(files.values())) if files else pd.Series(dtype=np.float64, name=SCORE)
    clashing = joined.groupby(level=0).nunique() > 1
    if clashing.any():
        name = clashing.index[clashing][0]
        where = ", ".join(str(path) for path, scores in files.items() if name in scores.index)
        raise ScoreFileError(f"stamp {name} has different scores in {where}; expected one score a stamp")
    return joined[~joined.index.duplicated()].sort_index()


def blocks(count: int, size: int = 256) -> Iterator[NDArray[np.int64]]:
    """Yield the positions 0..count-1 in blocks, which bounds memory."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))
