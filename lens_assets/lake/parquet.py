"""Parquet files of the lake: the bytes depend on the rows alone, whether they come as one table or in a stream."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

COMPRESSION = "zstd"
ROW_GROUP_ROWS = 131_072
"""Rows that a writer of a stream holds at a time."""


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as Parquet bytes, without its metadata."""
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(None), buffer, compression=COMPRESSION)
    return buffer.getvalue()


def write_batches(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write a stream of batches in the columns and types of `schema`; return the number of rows.

    How rows are cut into batches leaves no trace in the file.
    """
    rows = 0
    with pq.ParquetWriter(path, schema.remove_metadata(), compression=COMPRESSION) as writer:
        for group in _row_groups(batches, schema):
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
            rows += group.num_rows
    return rows


def _row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for batch in batches:
        waiting.append(pa.Table.from_batches([batch]).select(schema.names).cast(schema))
        while sum(table.num_rows for table in waiting) >= ROW_GROUP_ROWS:
            together = pa.concat_tables(waiting)
            yield together.slice(0, ROW_GROUP_ROWS).combine_chunks()
            waiting = [together.slice(ROW_GROUP_ROWS)]
    together = pa.concat_tables(waiting) if waiting else schema.empty_table()
    if together.num_rows:
        yield together.combine_chunks()
