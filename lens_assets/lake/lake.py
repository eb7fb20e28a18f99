"""The lake: tables and files of assets, written so that a reader never sees half a write.

A partition is written to a folder of its own (a generation) that nothing refers to; then one small sidecar,
`_record.json`, is put in place in a single step and names that generation. Readers start from the sidecar.
A writer that dies leaves folders that no reader looks at; the next writer of that partition, and `tidy`, remove them.
The root is a local folder or an `s3://` prefix; both go through `pyarrow.fs`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pydantic import ValidationError

from lens_assets.environment import LAKE_VARIABLE, STATE_VARIABLE
from lens_assets.lake.parquet import parquet_bytes
from lens_assets.lake.record import FORMAT_VERSION, Provenance, Record, StoredFile, combined_digest

UNPARTITIONED = "all"
TABLE_FILE = "table.parquet"
RECORD_FILE = "_record.json"
OWNER_FILE = "_lake.json"
FIGURES_FOLDER = "figures/"
SCRATCH_FOLDER = "_scratch"
STAGING_FOLDER = "_staging"
VOLATILE_COLUMNS = frozenset({"timestamp", "git_commit", "extraction_timestamp"})


class LakeError(RuntimeError):
    """Something stored is missing, damaged or belongs to another campaign; the message says what to do."""


class Lake:
    """The store of one campaign.

    `root` is a folder or an `s3://bucket/prefix`; an S3 endpoint other than AWS's is taken from
    `AWS_ENDPOINT_URL`. Opening a root that another campaign wrote raises LakeError and changes nothing.
    """

    def __init__(self, root: str | Path, campaign: str) -> None:
        self.campaign = campaign
        self.root = str(root)
        self._files, self._base = open_filesystem(self.root)
        self._cache: Path | None = None
        self._claim()

    # -- reading ----------------------------------------------------------------------------------

    def record(self, asset: str, partition: str | None = None) -> Record | None:
        """Return the sidecar of a partition, or None where nothing has been written."""
        path = self._path(asset, partition, RECORD_FILE)
        try:
            with self._files.open_input_stream(path) as stream:
                content = stream.read()
        except FileNotFoundError:
            return None
        try:
            record = Record.model_validate_json(content)
        except ValidationError as error:
            advice = "it was damaged or written by another version; delete that folder and materialise again"
            raise LakeError(f"{path} is not a readable sidecar ({advice}): {error}") from error
        if record.format_version > FORMAT_VERSION:
            raise LakeError(f"{path} has format {record.format_version}; this version reads up to {FORMAT_VERSION}")
        return record

    def require(self, asset: str, partition: str | None = None) -> Record:
        """Return the sidecar of a partition; LakeError if there is none."""
        record = self.record(asset, partition)
        if record is None:
            raise LakeError(f"{_label(asset, partition)} is not in the lake {self.root}: materialise it first")
        return record

    def partitions(self, asset: str) -> list[str]:
        """Return the partition keys of an asset that have been written, sorted."""
        selector = pafs.FileSelector(f"{self._base}/{asset}", recursive=False, allow_not_found=True)
        found = [info.base_name for info in self._files.get_file_info(selector) if info.type == pafs.FileType.Directory]
        return sorted(key for key in found if self.record(asset, key) is not None)

    def digest(self, asset: str, partitions: Iterable[str] | None = None) -> str:
        """Return the digest of an unpartitioned asset, or one digest of the given partitions."""
        if partitions is None:
            return self.require(asset).digest
        return combined_digest({key: self.require(asset, key).digest for key in partitions})

    def table_path(self, asset: str, partition: str | None = None, name: str = TABLE_FILE) -> str:
        """Return the path or URI of a stored Parquet file, for engines that read files themselves."""
        record = self.require(asset, partition)
        self._entry(record, name)
        path = self._path(asset, partition, f"{record.generation}/{name}")
        return f"s3://{path}" if self._is_remote else path

    def arrow(
        self,
        asset: str,
        partition: str | None = None,
        columns: Sequence[str] | None = None,
        name: str = TABLE_FILE,
    ) -> pa.Table:
        """Read a stored table. LakeError if it is absent, damaged or lacks a wanted column."""
        record = self.require(asset, partition)
        entry = self._entry(record, name)
        path = self._path(asset, partition, f"{record.generation}/{name}")
        self._verify(path, entry)
        table_file = pq.ParquetFile(path, filesystem=self._files)
        missing = sorted(set(columns or ()) - set(table_file.schema_arrow.names))
        if missing:
            held = ", ".join(table_file.schema_arrow.names)
            raise LakeError(f"{_label(asset, partition)} has no column {', '.join(missing)}; it holds {held}")
        return table_file.read(columns=list(columns) if columns is not None else None)

    def table(
        self,
        asset: str,
        partition: str | None = None,
        columns: Sequence[str] | None = None,
        name: str = TABLE_FILE,
    ) -> pd.DataFrame:
        """Read a stored table as a DataFrame; see `arrow`."""
        return self.arrow(asset, partition, columns, name).to_pandas()

    def head(self, asset: str, rows: int, partition: str | None = None) -> pa.Table:
        """Return the first rows of a stored table, with all its columns, without reading the others."""
        record = self.require(asset, partition)
        path = self._path(asset, partition, f"{record.generation}/{TABLE_FILE}")
        self._verify(path, self._entry(record, TABLE_FILE))
        table_file = pq.ParquetFile(path, filesystem=self._files)
        first = next(table_file.iter_batches(batch_size=rows), None)
        empty = table_file.schema_arrow.empty_table()
        return pa.Table.from_batches([first]) if first is not None else empty

    def file(self, asset: str, name: str, partition: str | None = None) -> Path:
        """Return a local path of a stored file; remote files are fetched once per process."""
        record = self.require(asset, partition)
        return self._local(asset, partition, record, self._entry(record, name))

    def folder(self, asset: str, partition: str | None = None) -> Path:
        """Return a local folder that holds every file of a stored partition."""
        record = self.require(asset, partition)
        for entry in record.files:  # the sidecar is read once: a survey has thousands of files
            self._local(asset, partition, record, entry)
        path = self._path(asset, partition, record.generation)
        return self._cache_folder() / path if self._is_remote else Path(path)

    def is_current(self, asset: str, partition: str | None, provenance: Provenance) -> bool:
        """Say whether a partition was made from exactly this provenance and all its files are in place."""
        record = self.record(asset, partition)
        if record is None or record.provenance != provenance:
            return False
        paths = [self._path(asset, partition, f"{record.generation}/{entry.name}") for entry in record.files]
        infos = self._files.get_file_info(paths) if paths else []
        return all(
            info.type == pafs.FileType.File and info.size == entry.size
            for info, entry in zip(infos, record.files, strict=True)
        )

    # -- writing ----------------------------------------------------------------------------------

    def scratch(self) -> Path:
        """Return a new temporary folder; on a local lake it is on the lake's own disk, so that moves are cheap."""
        parent = None if self._is_remote else Path(self._base) / SCRATCH_FOLDER
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=parent, prefix=f"{_host()}-{os.getpid()}-"))

    def staging(self, asset: str, partition: str | None = None) -> Path:
        """Return the local folder for what an interrupted computation of a partition may take up again.

        It outlives the process, and is removed when the partition is written for good. A lake on S3 has it in the
        state folder.
        """
        base = Path(self._base)
        if self._is_remote:
            state = os.environ.get(STATE_VARIABLE) or tempfile.gettempdir()
            base = Path(state) / hashlib.sha256(self.root.encode()).hexdigest()[:16]
        return base / STAGING_FOLDER / asset / (partition or UNPARTITIONED)

    def tidy(self) -> None:
        """Remove the scratch folders of this machine's processes that died; those of the living are left alone."""
        if self._is_remote:
            return
        for folder in Path(self._base, SCRATCH_FOLDER).glob(f"{_host()}-*"):
            process = folder.name.removeprefix(f"{_host()}-").split("-")[0]
            if process.isdigit() and not _is_alive(int(process)):
                shutil.rmtree(folder, ignore_errors=True)

    def write(
        self,
        asset: str,
        partition: str | None,
        provenance: Provenance,
        *,
        table: pa.Table | Path | None,
        files: Mapping[str, Path | bytes] | None = None,
        summary: Mapping[str, Any] | None = None,
        run_id: str = "",
        provisional: bool = False,
    ) -> Record:
        """Store a partition and make it visible in one step; files given as paths are moved into the lake.

        `table` may be a Parquet file, for tables larger than memory; it must have none of VOLATILE_COLUMNS.
        What is staged is removed, unless the partition is `provisional` (see `Record`).
        A full disk or a failed write raises LakeError and leaves what was visible before.
        """
        generation = provenance.digest[:16]
        folder = self._path(asset, partition, generation)
        previous = self.record(asset, partition)
        if previous is not None and previous.generation == generation:
            generation = hashlib.sha256(f"{generation}{datetime.now(UTC)}".encode()).hexdigest()[:16]
            folder = self._path(asset, partition, generation)
        try:
            self._remove(folder)
            rows = _count_rows(table)
            stored, digest = self._write_contents(folder, table, files or {})
            record = Record(
                asset=asset,
                partition=partition or UNPARTITIONED,
                generation=generation,
                rows=rows,
                digest=digest,
                provenance=provenance,
                files=tuple(stored),
                summary=dict(summary or {}),
                written_at=datetime.now(UTC).isoformat(timespec="seconds"),
                run_id=run_id,
                provisional=provisional,
            )
            self._put(self._path(asset, partition, RECORD_FILE), record.model_dump_json(indent=1).encode())
        except OSError as error:
            raise LakeError(_write_failure(_label(asset, partition), self.root, error)) from error
        self._remove_other_generations(asset, partition, generation)
        if not provisional:
            shutil.rmtree(self.staging(asset, partition), ignore_errors=True)
        return record

    def retire(self, asset: str) -> None:
        """Remove everything stored of an asset; the sidecars go first, so that readers never see a part."""
        for partition in self.partitions(asset):
            self._files.delete_file(self._path(asset, partition, RECORD_FILE))
        self._remove(f"{self._base}/{asset}")

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _is_remote(self) -> bool:
        return not isinstance(self._files, pafs.LocalFileSystem)

    def _path(self, asset: str, partition: str | None, name: str) -> str:
        return f"{self._base}/{asset}/{partition or UNPARTITIONED}/{name}"

    def _claim(self) -> None:
        path = f"{self._base}/{OWNER_FILE}"
        try:
            with self._files.open_input_stream(path) as stream:
                owner = json.loads(stream.read())["campaign"]
        except FileNotFoundError:
            self._put(path, json.dumps({"campaign": self.campaign, "format": FORMAT_VERSION}).encode())
            return
        except (ValueError, KeyError, TypeError) as error:
            raise LakeError(f"{path} does not name the campaign that owns this lake; is {self.root} a lake?") from error
        if owner != self.campaign:
            advice = f"set {LAKE_VARIABLE} to another folder or prefix, or LENS_CAMPAIGN to {owner}"
            raise LakeError(f"{self.root} was written by campaign {owner!r}, not {self.campaign!r}: {advice}")

    def _entry(self, record: Record, name: str) -> StoredFile:
        found = next((entry for entry in record.files if entry.name == name), None)
        if found is None:
            held = ", ".join(entry.name for entry in record.files[:20]) or "nothing"
            raise LakeError(f"{record.asset}/{record.partition} holds no file {name}; it holds {held}")
        return found

    def _local(self, asset: str, partition: str | None, record: Record, entry: StoredFile) -> Path:
        path = self._path(asset, partition, f"{record.generation}/{entry.name}")
        self._verify(path, entry)
        return self._fetch(path, entry) if self._is_remote else Path(path)

    def _verify(self, path: str, entry: StoredFile) -> None:
        info = self._files.get_file_info(path)
        if info.type != pafs.FileType.File or info.size != entry.size:
            found = f"{info.size} bytes" if info.type == pafs.FileType.File else "nothing"
            raise LakeError(f"{path}: found {found}, expected {entry.size} bytes; materialise this asset again")

    def _write_contents(
        self, folder: str, table: pa.Table | Path | None, files: Mapping[str, Path | bytes]
    ) -> tuple[list[StoredFile], str]:
        stored: list[StoredFile] = []
        digests: dict[str, str] = {}
        if isinstance(table, Path):
            stored.append(self._store(f"{folder}/{TABLE_FILE}", TABLE_FILE, table))
            digests[TABLE_FILE] = stored[-1].sha256
        elif table is not None:
            content = parquet_bytes(table)
            stored.append(self._store(f"{folder}/{TABLE_FILE}", TABLE_FILE, content))
            digests[TABLE_FILE] = table_digest(table, content)
        for name in sorted(files):
            entry = self._store(f"{folder}/{name}", name, files[name])
            stored.append(entry)
            if not name.startswith(FIGURES_FOLDER):
                digests[name] = entry.sha256
        return stored, combined_digest(digests)

    def _store(self, path: str, name: str, content: Path | bytes) -> StoredFile:
        self._files.create_dir(path.rsplit("/", 1)[0], recursive=True)
        if isinstance(content, bytes):
            with self._files.open_output_stream(path, compression=None) as stream:
                stream.write(content)
            return StoredFile(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        with content.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        size = content.stat().st_size
        if self._is_remote:
            pafs.copy_files(
                str(content),
                path,
                source_filesystem=pafs.LocalFileSystem(),
                destination_filesystem=self._files,
            )
        else:
            shutil.move(content, path)
        return StoredFile(name=name, size=size, sha256=digest)

    def _put(self, path: str, content: bytes) -> None:
        """Write a small file in one visible step: an S3 PUT is atomic, a local file is renamed into place."""
        self._files.create_dir(path.rsplit("/", 1)[0], recursive=True)
        if self._is_remote:
            with self._files.open_output_stream(path, compression=None) as stream:
                stream.write(content)
            return
        folder = self.scratch()
        try:
            staged = folder / "staged"
            with staged.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            staged.replace(path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _remove_other_generations(self, asset: str, partition: str | None, kept: str) -> None:
        """Remove what the sidecar no longer names: the previous generation, and those of writers that died."""
        selector = pafs.FileSelector(self._path(asset, partition, "").rstrip("/"), recursive=False)
        for info in self._files.get_file_info(selector):
            if info.type == pafs.FileType.Directory and info.base_name != kept:
                self._remove(info.path)

    def _remove(self, folder: str) -> None:
        if self._files.get_file_info(folder).type == pafs.FileType.Directory:
            self._files.delete_dir(folder)

    def _cache_folder(self) -> Path:
        if self._cache is None:
            self._cache = Path(tempfile.mkdtemp(prefix="lens-assets-lake-"))
        return self._cache

    def _fetch(self, path: str, entry: StoredFile) -> Path:
        local = self._cache_folder() / path
        if not local.exists() or local.stat().st_size != entry.size:
            local.parent.mkdir(parents=True, exist_ok=True)
            pafs.copy_files(
                path, str(local), source_filesystem=self._files, destination_filesystem=pafs.LocalFileSystem()
            )
        return local


def _host() -> str:
    """Return the name of this machine, as part of a file name."""
    return "".join(letter if letter.isalnum() else "_" for letter in platform.node()) or "localhost"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def table_digest(table: pa.Table, content: bytes | None = None) -> str:
    """Return the SHA-256 of a table's Parquet bytes without its volatile columns and its metadata.

    `content` may hold the Parquet bytes of the whole table, which saves a second encoding.
    """
    kept = [name for name in table.column_names if name not in VOLATILE_COLUMNS]
    if content is None or len(kept) < table.num_columns:
        content = parquet_bytes(table.select(kept))
    return hashlib.sha256(content).hexdigest()


def open_filesystem(root: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a folder or an `s3://` prefix, and the path of that root in it."""
    if not root.startswith("s3://"):
        return pafs.LocalFileSystem(), str(Path(root).expanduser().resolve())
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    options: dict[str, Any] = {"region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")}
    if endpoint:
        scheme, _, host = endpoint.partition("://")
        options |= {"endpoint_override": host, "scheme": scheme}
    return pafs.S3FileSystem(**options), root.removeprefix("s3://").rstrip("/")


def _count_rows(table: pa.Table | Path | None) -> int | None:
    if table is None or isinstance(table, pa.Table):
        return table.num_rows if table is not None else None
    footer = pq.read_metadata(table)
    volatile = VOLATILE_COLUMNS & set(footer.schema.to_arrow_schema().names)
    if volatile:
        raise ValueError(f"{table} has {', '.join(sorted(volatile))}; expected a table without volatile columns")
    return int(footer.num_rows)


def _label(asset: str, partition: str | None) -> str:
    return f"{asset}/{partition}" if partition else asset


def _write_failure(label: str, root: str, error: OSError) -> str:
    reason = "the disk is full" if error.errno == errno.ENOSPC else str(error)
    return (
        f"{label} could not be written to {root}: {reason}. What was there before is unchanged; mend that and run again"
    )
