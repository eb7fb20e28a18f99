"""What finished files of an interrupted partition gave, kept so that the next attempt does not read them again.

A staged file is one Parquet file: the rows of one sweep file for one region, with the file's account in its metadata.
It is named by a digest of everything it depends on, written under another name and renamed when it is whole, so that
it can be trusted wherever it stands, a kill at any moment included.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq

from lens_assets.survey.accounts import FileAccount
from lens_assets.survey.sources import REPETITIVE_COLUMNS, TILE_SCHEMA, OpenTile, Region, read_tile
from lens_assets.survey.tiles import SweepTile

_ACCOUNT = b"account"
_SUFFIX = ".parquet"
_OPTIONS = {"compression": "lz4", "use_dictionary": list(REPETITIVE_COLUMNS), "write_statistics": False}
"""Read once, whole: minima and maxima of columns would be of no use."""


@dataclass(frozen=True)
class Staging:
    """The folder of one partition's staged files; `version` names the code that wrote them."""

    folder: Path
    version: str

    def path(self, tile: SweepTile, identity: str, region: Region) -> Path:
        """Return where the rows of a tile belong; `identity` changes when the sweep file does."""
        content = json.dumps([tile.name, identity, asdict(region), self.version], sort_keys=True)
        return self.folder / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}{_SUFFIX}"

    def keep_only(self, paths: Iterable[Path]) -> None:
        """Remove what belongs to no file of this attempt: other settings, changed sweep files, halves of writes."""
        wanted = {path.name for path in paths}
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if path.name not in wanted:
                path.unlink()


def stage_tile(path: Path, tile: SweepTile, open_tile: OpenTile, region: Region, chunk_rows: int) -> FileAccount:
    """Read a tile into its staged file, unless that is there, and return the tile's account.

    A file that cannot be used is not staged: the next attempt looks at it again.
    """
    if path.exists():
        return FileAccount(**json.loads(pq.read_metadata(path).metadata[_ACCOUNT]))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    try:
        with pq.ParquetWriter(part, TILE_SCHEMA, **_OPTIONS) as writer:
            account = read_tile(tile, open_tile, region, chunk_rows, writer.write_batch)
            writer.add_key_value_metadata({_ACCOUNT.decode(): json.dumps(asdict(account))})
        if account.is_ok:
            _put(part, path)
        return account
    finally:
        part.unlink(missing_ok=True)


def _put(part: Path, path: Path) -> None:
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    part.replace(path)
