"""From the rows of a partition's files to its table: each source once, sorted, in bounded memory.

DuckDB does what spans files, since it sorts and joins beyond the memory it is given by going to disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from lens_assets.lake.parquet import write_batches
from lens_assets.survey.schemas import NEEDED_COLUMNS
from lens_assets.survey.sources import PREFERENCE, REPETITIVE_COLUMNS, SOURCE_SCHEMA

CONTENT_COLUMNS = tuple(name.lower() for name in NEEDED_COLUMNS)
"""What a file says of a source: rows of one galaxy_id must agree in all of it, and so in everything derived from it."""

MEMORY_LIMIT = "512MB"
"""Of DuckDB, beyond which it goes to disk; the rows being written come on top."""

BATCH_ROWS = 32_768
SHOWN_CONFLICTS = 5


class ConflictingRowsError(ValueError):
    """Two rows of one galaxy_id differ in what they say of the source; the message names files, rows and columns."""


@dataclass(frozen=True)
class Counts:
    """Rows of one sweep file in the table: dropped as duplicates, kept, and of these in the margin."""

    duplicate: int
    kept: int
    kept_in_margin: int


def merge_tiles(staged: Sequence[Path], output: Path, scratch: Path) -> dict[str, Counts]:
    """Write the sources of staged files (`TILE_SCHEMA`) to a Parquet file (`SOURCE_SCHEMA`), sorted by galaxy_id.

    One row a galaxy_id is kept, the first in the order of `PREFERENCE`. Returns the counts of each sweep file.
    Raises ConflictingRowsError where rows of one galaxy_id differ in more than where they come from. `scratch` takes
    what does not fit in memory.
    """
    if not staged:
        write_batches(output, SOURCE_SCHEMA, (), REPETITIVE_COLUMNS)
        return {}
    with _connection(staged, scratch) as connection:
        _require_agreement(connection)
        kept = connection.sql("from staged anti join dropped using (sweep_file, row_index)")
        ordered = kept.select(*SOURCE_SCHEMA.names).order("galaxy_id")
        write_batches(output, SOURCE_SCHEMA, ordered.to_arrow_reader(BATCH_ROWS), REPETITIVE_COLUMNS)
        return _counts(connection)


@contextmanager
def _connection(staged: Sequence[Path], scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection with `staged`, every row; `copies`, rows whose galaxy_id is not unique; `dropped` of these."""
    config: dict[str, Any] = {"memory_limit": MEMORY_LIMIT, "temp_directory": str(scratch / "duckdb")}
    preference, content = (
        duckdb.FunctionExpression("row", *map(duckdb.ColumnExpression, names))
        for names in (PREFERENCE, CONTENT_COLUMNS)
    )
    with duckdb.connect(config=config) as connection:
        connection.execute("set preserve_insertion_order = false")
        rows = connection.read_parquet([str(path) for path in staged])
        extended = rows.select(duckdb.StarExpression(), preference.alias("preference"), content.alias("content"))
        extended.create_view("staged")
        connection.execute(
            """
            create table copies as
            select galaxy_id, sweep_file, row_index, content,
                row_number() over (partition by galaxy_id order by preference) as place
            from staged
            semi join (select galaxy_id from staged group by galaxy_id having count(*) > 1) using (galaxy_id)
            """
        )
        connection.execute("create view dropped as select sweep_file, row_index from copies where place > 1")
        yield connection


def _counts(connection: duckdb.DuckDBPyConnection) -> dict[str, Counts]:
    rows = connection.execute(
        """
        select sweep_file,
            count(d.row_index),
            count(*) - count(d.row_index),
            count(*) filter (s.in_margin and d.row_index is null)
        from staged as s left join dropped as d using (sweep_file, row_index)
        group by sweep_file
        """
    ).fetchall()
    return {name: Counts(*counts) for name, *counts in rows}


def _require_agreement(connection: duckdb.DuckDBPyConnection) -> None:
    """Raise ConflictingRowsError unless the rows of each galaxy_id agree with the one that is kept."""
    connection.execute(
        """
        create table conflicts as
        select galaxy_id, other.place,
            kept.sweep_file as kept_file, kept.row_index as kept_row, kept.content as kept_content,
            other.sweep_file, other.row_index, other.content
        from copies as kept join copies as other using (galaxy_id)
        where kept.place = 1 and kept.content is distinct from other.content
        """
    )
    found = connection.table("conflicts")
    count = len(found)
    if count:
        raise ConflictingRowsError(_describe(count, found.order("galaxy_id, place").limit(SHOWN_CONFLICTS).fetchall()))


def _describe(count: int, conflicts: list[tuple[Any, ...]]) -> str:
    lines = []
    for galaxy_id, _, kept_file, kept_row, kept, other_file, other_row, other in conflicts:
        different = [
            f"{name} ({one} and {another})"
            for name, one, another in zip(CONTENT_COLUMNS, kept, other, strict=True)
            if one != another and not (one != one and another != another)
        ]
        more = f" and {len(different) - 3} more columns" if len(different) > 3 else ""
        named = ", ".join(different[:3])
        lines.append(
            f"{galaxy_id}: {kept_file} row {kept_row} and {other_file} row {other_row} differ in {named}{more}"
        )
    if count > len(conflicts):
        lines.append(f"and {count - len(conflicts)} more")
    return (
        f"{count} rows have the galaxy_id of another row and say other things of the source; expected copies to agree. "
        "Files of two versions of a release probably lie in one folder: remove those of the older one and run again; "
        "the other files are not read a second time\n" + "\n".join(lines)
    )
