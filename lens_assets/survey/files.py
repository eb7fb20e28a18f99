"""Where the files of a survey are: one root, local or remote, laid out as the public release is.

A local root is read in place; files of a remote root (s3://, https://) are copied first, see `downloads.py`. Reading
what is in the files belongs to `sweeps.py`, `bricks.py` and `coadds.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lens_assets.survey.bricks import read_bricks_table
from lens_assets.survey.downloads import Cache, describe, list_names, local_copy
from lens_assets.survey.fits_files import UnreadableFileError
from lens_assets.survey.tiles import SweepTile, parse_sweep_name, tiles_of_pixel

COADD_PRODUCTS = ("image", "invvar", "nexp", "psfsize")


class SurveyRootError(FileNotFoundError):
    """The survey root, one of its folders or its table of bricks is not there."""


@dataclass(frozen=True)
class SurveyFiles:
    """The folder layout of a survey release under one root.

    `scratch` receives copies of remote files while they are read, and `cache` keeps them for later, if given.
    """

    root: str
    sweep_folder: str
    coadd_folder: str
    bricks_table: str
    scratch: Path | None = None
    cache: Cache | None = None

    @property
    def is_local(self) -> bool:
        """Whether files can be opened in place."""
        return "://" not in self.root

    def sweep_tiles(self) -> tuple[SweepTile, ...]:
        """Return every sweep tile of the release, sorted by name; other files are passed over.

        Raises SurveyRootError where there is none.
        """
        folder = self._path(self.sweep_folder)
        try:
            names = sorted(entry.name for entry in Path(folder).iterdir()) if self.is_local else list_names(folder)
        except OSError as error:
            raise SurveyRootError(
                f"cannot list the sweep folder {folder}: {error}. Expected a folder of sweep-*.fits files: "
                "check survey.root and survey.sweep_folder"
            ) from error
        tiles = tuple(tile for tile in map(parse_sweep_name, names) if tile is not None)
        if not tiles:
            held = f"holds {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}" if names else "is empty"
            raise SurveyRootError(
                f"the sweep folder {folder} {held}; expected files named as the release names them, such as "
                "sweep-010p000-015p005.fits: check survey.root and survey.sweep_folder"
            )
        return tiles

    def tiles_of_partition(self, nside: int, pixel: int, margin_arcsec: float) -> tuple[SweepTile, ...]:
        """Return the tiles that a sky partition and its margin need."""
        return tiles_of_pixel((tile.name for tile in self.sweep_tiles()), nside, pixel, margin_arcsec)

    @contextmanager
    def local_sweep(self, tile: SweepTile) -> Iterator[Path]:
        """Yield a local path of a sweep file; a copy of a remote file is removed afterwards."""
        with self._local(f"{self.sweep_folder}/{tile.name}") as path:
            yield path

    def sweep_identity(self, tile: SweepTile) -> str:
        """Return a text that changes when a sweep file does, from what can be seen without opening it.

        That is its size with the time of its last change, or with the tag its server gives. Raises OSError.
        """
        path = self._path(f"{self.sweep_folder}/{tile.name}")
        if self.is_local:
            status = Path(path).stat()
            return f"{path} {status.st_size} {status.st_mtime_ns}"
        file = describe(path)
        return f"{path} {file.size} {file.tag}"

    def read_bricks(self) -> pd.DataFrame:
        """Return the release's table of bricks, see `read_bricks_table`; SurveyRootError where it has none."""
        try:
            with self._local(self.bricks_table) as path:
                return read_bricks_table(path)
        except (OSError, UnreadableFileError) as error:
            raise SurveyRootError(
                f"cannot read the table of bricks {self._path(self.bricks_table)}: {error}. It says which bricks have "
                "to have sources: check survey.bricks_table, or copy the table from the release"
            ) from error

    def brick_folder(self, brickname: str) -> str:
        """Return the folder of a brick's coadds, relative to the root."""
        return f"{self.coadd_folder}/{brickname[:3]}/{brickname}"

    def coadd_path(self, brickname: str, product: str, band: str = "") -> str:
        """Return the path of a coadd relative to the root; `maskbits` has no band."""
        suffix = f"{product}-{band}" if band else product
        return f"{self.brick_folder(brickname)}/legacysurvey-{brickname}-{suffix}.fits.fz"

    @contextmanager
    def local_coadd(self, brickname: str, product: str, band: str = "") -> Iterator[Path]:
        """Yield a local path of a coadd; FileNotFoundError where the release has none."""
        with self._local(self.coadd_path(brickname, product, band)) as path:
            yield path

    def _path(self, relative: str) -> str:
        return f"{self.root.rstrip('/')}/{relative}"

    @contextmanager
    def _local(self, relative: str) -> Iterator[Path]:
        path = self._path(relative)
        if self.is_local:
            yield Path(path)
            return
        if self.scratch is None:
            raise SurveyRootError(f"{path} is remote; reading it needs a scratch folder")
        with local_copy(describe(path), self.scratch, self.cache) as copy:
            yield copy
