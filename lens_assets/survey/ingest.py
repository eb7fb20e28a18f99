"""From sweep files to the sources of one sky partition, file by file, in bounded memory.

Every row that is read is accounted for, and the result does not depend on the order in which files come in. An
interrupted partition keeps what its finished files gave. What one file gives is decided in `sources.py`, what spans
files in `merging.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lens_assets.survey.accounts import FileAccount, accounts_frame
from lens_assets.survey.merging import Counts, merge_tiles
from lens_assets.survey.sources import Region
from lens_assets.survey.staging import Staging, stage_tile
from lens_assets.survey.tiles import SweepTile


class TileSource(Protocol):
    """Where sweep files come from; `SurveyFiles` is one."""

    def sweep_identity(self, tile: SweepTile) -> str:
        """Return a text that changes when the file does, without opening it."""

    def local_sweep(self, tile: SweepTile) -> AbstractContextManager[Path]:
        """Yield a local path of the file."""


@dataclass(frozen=True)
class PartitionIngest:
    """The sources of one partition, a Parquet file (`SOURCE_SCHEMA`, sorted by galaxy_id), and every file's account."""

    path: Path
    accounts: pd.DataFrame

    @property
    def sources(self) -> pa.Table:
        """The sources as a table in memory."""
        return pq.read_table(self.path)

    def nulls(self, columns: Iterable[str]) -> dict[str, int]:
        """Return the number of sources without a value in each column; only the file's footer is read."""
        footer = pq.read_metadata(self.path)
        places = {footer.schema.column(place).name: place for place in range(footer.num_columns)}
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        return {name: sum(group.column(places[name]).statistics.null_count for group in groups) for name in columns}


def ingest_partition(
    tiles: Iterable[SweepTile],
    source: TileSource,
    region: Region,
    chunk_rows: int,
    staging: Staging,
    scratch: Path,
) -> PartitionIngest:
    """Read the tiles and write the sources of the region, each once, below `scratch`.

    Memory is bounded by `chunk_rows` rows of a file and by `merging.MEMORY_LIMIT`. Files whose rows are staged already
    are not opened; `staging` is left to be removed once the partition is stored. Raises ConflictingRowsError where
    files contradict each other.
    """
    accounts: list[FileAccount] = []
    staged: list[Path] = []
    for tile in tiles:
        account, path = _stage(tile, source, region, chunk_rows, staging)
        accounts.append(account)
        if path is not None:
            staged.append(path)
    staging.keep_only(staged)
    output = scratch / "sources.parquet"
    counts = merge_tiles(sorted(staged), output, scratch)
    for account in accounts:
        _settle(account, counts.get(account.sweep_file, Counts(0, 0, 0)))
    return PartitionIngest(output, accounts_frame(accounts))


def _stage(
    tile: SweepTile, source: TileSource, region: Region, chunk_rows: int, staging: Staging
) -> tuple[FileAccount, Path | None]:
    """Return the account of a tile and, where it is of use, its staged file."""
    try:
        identity = source.sweep_identity(tile)
    except FileNotFoundError as error:
        return FileAccount.quarantined(tile.name, "missing", str(error)), None
    except OSError as error:
        return FileAccount.quarantined(tile.name, "unreachable", str(error)), None
    path = staging.path(tile, identity, region)
    account = stage_tile(path, tile, source.local_sweep, region, chunk_rows)
    return account, path if account.is_ok else None


def _settle(account: FileAccount, counts: Counts) -> None:
    """Put the counts of the whole partition into the account of one file."""
    account.duplicate, account.kept, account.kept_in_margin = counts.duplicate, counts.kept, counts.kept_in_margin
