"""Where the files of a survey are: one root, local or remote, laid out as the public release is.

A remote root (s3://, https://) is listed with fsspec and each file is fetched into a scratch folder before it is
read; a local root is read in place. Reading what is in the files belongs to `sweeps.py` and `coadds.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from upath import UPath

from lens_assets.survey.tiles import SweepTile, parse_sweep_name, tiles_of_pixel

COADD_PRODUCTS = ("image", "invvar", "nexp", "psfsize")


class SurveyRootError(FileNotFoundError):
    """The survey root or one of its folders cannot be listed."""


@dataclass(frozen=True)
class SurveyFiles:
    """The folder layout of a survey release under one root; `scratch` receives copies of remote files."""

    root: str
    sweep_folder: str
    coadd_folder: str
    bricks_table: str
    scratch: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether files can be opened in place."""
        return isinstance(UPath(self.root), Path)

    def sweep_tiles(self) -> tuple[SweepTile, ...]:
        """Return every sweep tile of the release, sorted by name; other files are passed over."""
        folder = UPath(self.root) / self.sweep_folder
        try:
            names = sorted({entry.name for entry in folder.iterdir()})
        except (OSError, FileNotFoundError) as error:
            raise SurveyRootError(
                f"cannot list the sweep folder {folder}: {error}. Expected a folder of sweep-*.fits files: "
                "check survey.root and survey.sweep_folder"
            ) from error
        return tuple(tile for tile in map(parse_sweep_name, names) if tile is not None)

    def tiles_of_partition(self, nside: int, pixel: int, margin_arcsec: float) -> tuple[SweepTile, ...]:
        """Return the tiles that a sky partition and its margin need."""
        return tiles_of_pixel((tile.name for tile in self.sweep_tiles()), nside, pixel, margin_arcsec)

    @contextmanager
    def local_sweep(self, tile: SweepTile) -> Iterator[Path]:
        """Yield a local path of a sweep file; a copy of a remote file is removed afterwards."""
        with self._local(f"{self.sweep_folder}/{tile.name}") as path:
            yield path

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

    @contextmanager
    def _local(self, relative: str) -> Iterator[Path]:
        source = UPath(self.root) / relative
        if self.is_local:
            yield Path(str(source))
            return
        if self.scratch is None:
            raise SurveyRootError(f"{source} is remote; reading it needs a scratch folder")
        copy = self.scratch / relative.replace("/", "_")
        try:
            with source.open("rb") as incoming, copy.open("wb") as outgoing:
                shutil.copyfileobj(incoming, outgoing, 1 << 24)
            yield copy
        finally:
            copy.unlink(missing_ok=True)
