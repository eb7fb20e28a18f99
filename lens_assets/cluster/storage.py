"""Files of a job, local or on S3: written whole or not at all, so that what is there can be trusted after a kill."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lens_assets.sampling.sql import filesystem


def exists(path: str) -> bool:
    """Say whether a file is there."""
    files, inside = filesystem(path)
    return bool(files.get_file_info(inside).type == pafs.FileType.File)


def put(path: str, content: bytes) -> None:
    """Write a file in one visible step: an S3 PUT is atomic, a local file is renamed into place."""
    files, inside = filesystem(path)
    files.create_dir(inside.rpartition("/")[0], recursive=True)
    local = isinstance(files, pafs.LocalFileSystem)
    staged = f"{inside}.part-{os.getpid()}" if local else inside
    with files.open_output_stream(staged, compression=None) as stream:
        stream.write(content)
    if local:
        Path(staged).replace(inside)


def put_file(path: str, source: Path) -> None:
    """Copy a local file to a path in one visible step."""
    files, inside = filesystem(path)
    files.create_dir(inside.rpartition("/")[0], recursive=True)
    local = isinstance(files, pafs.LocalFileSystem)
    staged = f"{inside}.part-{os.getpid()}" if local else inside
    pafs.copy_files(str(source), staged, source_filesystem=pafs.LocalFileSystem(), destination_filesystem=files)
    if local:
        Path(staged).replace(inside)


def put_table(path: str, table: pa.Table) -> None:
    """Write a table as Parquet in one visible step."""
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(None), sink, compression="zstd")
    put(path, sink.getvalue().to_pybytes())


def read_table(path: str) -> pa.Table:
    """Read a Parquet file."""
    files, inside = filesystem(path)
    return pq.read_table(inside, filesystem=files)


def read_json(path: str) -> Any:
    """Read a JSON file."""
    files, inside = filesystem(path)
    with files.open_input_stream(inside) as stream:
        return json.loads(stream.read())


def remove_folder(path: str) -> None:
    """Remove a folder, if it is there: what an interrupted write left."""
    files, inside = filesystem(path)
    if files.get_file_info(inside).type == pafs.FileType.Directory:
        files.delete_dir(inside)
