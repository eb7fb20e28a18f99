"""The store of stamps: one uncompressed Arrow IPC file a shard, memory-mapped, read by row.

Noise does not compress, so compression would cost time and buy nothing; a memory map serves sequential and
random reads alike. Stamps are float32 (3, H, W) in nanomaggies per pixel, bands g, r, z, first row south.
A stamp is named by its path `<shard>#<row>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lens_assets.survey.units import BANDS

STAMP_FILE = "stamps.arrow"


class StampError(ValueError):
    """A stamp file or path is not what it should be; the message names it."""


def stamp_path(shard: str, row: int) -> str:
    """Return the name of a stamp, `<shard>#<row>`."""
    return f"{shard}#{row}"


def split_stamp_path(cutout_path: str) -> tuple[str, int]:
    """Return (shard, row) of a stamp's name; raise StampError if it is not one."""
    shard, separator, row = cutout_path.rpartition("#")
    if not separator or not shard or not row.isdecimal():
        raise StampError(f"cutout path {cutout_path!r} is not of the form <shard>#<row>")
    return shard, int(row)


class StampWriter:
    """Write a stamp file batch by batch, so that a shard never has to fit in memory.

    The bytes depend only on the batches written, never on the clock.
    """

    def __init__(self, path: Path, height: int, width: int, columns: Mapping[str, pa.DataType] | None = None):
        self.path = Path(path)
        self.shape = (len(BANDS), height, width)
        fields = [pa.field("id", pa.string()), *(pa.field(k, v) for k, v in (columns or {}).items())]
        fields.append(pa.field("stamp", pa.binary(4 * int(np.prod(self.shape)))))
        metadata = {"shape": ",".join(map(str, self.shape)), "dtype": "<f4", "bands": ",".join(BANDS)}
        self.schema = pa.schema(fields, metadata=metadata)
        self.rows = 0
        self._sink = pa.OSFile(str(self.path), "wb")
        self._writer = pa.ipc.new_file(self._sink, self.schema)

    def write(self, ids: Sequence[str], stamps: NDArray[np.floating], columns: Mapping[str, Any] | None = None) -> None:
        """Append stamps (N, 3, H, W) with one id each and the extra columns announced at opening."""
        block = np.ascontiguousarray(stamps, dtype="<f4")
        if block.shape != (len(ids), *self.shape):
            raise StampError(f"{self.path}: stamps {block.shape}, expected {(len(ids), *self.shape)}")
        if not len(ids):
            return
        values = pa.Array.from_buffers(
            self.schema.field("stamp").type, len(ids), [None, pa.py_buffer(block.reshape(-1))]
        )
        extra = [pa.array((columns or {})[name], type=self.schema.field(name).type) for name in self.schema.names[1:-1]]
        arrays = [pa.array([str(name) for name in ids], type=pa.string()), *extra, values]
        self._writer.write_batch(pa.record_batch(arrays, schema=self.schema))
        self.rows += len(ids)

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
        self._sink.close()

    def __enter__(self) -> StampWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_stamps(
    path: Path, ids: Sequence[str], stamps: NDArray[np.floating], columns: Mapping[str, Any] | None = None
) -> None:
    """Write stamps (N, 3, H, W) in nanomaggies with their ids and extra columns (name -> N values)."""
    stamps = np.asarray(stamps)
    if stamps.ndim != 4 or stamps.shape[1] != len(BANDS):
        raise StampError(f"{path}: stamps have shape {stamps.shape}, expected (N, {len(BANDS)}, H, W)")
    arrays = {name: pa.array(values) for name, values in (columns or {}).items()}
    types = {name: array.type for name, array in arrays.items()}
    with StampWriter(path, stamps.shape[2], stamps.shape[3], types) as writer:
        writer.write(ids, stamps, arrays)


class _Shard:
    """A memory-mapped stamp file with the first row of each of its batches."""

    def __init__(self, path: Path):
        try:
            self._map = pa.memory_map(str(path), "r")
            reader = pa.ipc.open_file(self._map)
            metadata = {k.decode(): v.decode() for k, v in (reader.schema.metadata or {}).items()}
            self.shape = tuple(int(side) for side in metadata["shape"].split(","))
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
            raise StampError(f"{path} is not a readable stamp file ({error}); write it again") from error
        if metadata.get("bands") != ",".join(BANDS) or metadata.get("dtype") != "<f4":
            raise StampError(f"{path}: bands/dtype {metadata}, expected {','.join(BANDS)} and <f4")
        self.path = path
        self.blocks = [_as_array(batch.column("stamp"), self.shape) for batch in batches]
        self.starts = np.cumsum([0, *(len(block) for block in self.blocks)])
        self.table = pa.Table.from_batches(batches, schema=reader.schema).drop_columns(["stamp"])

    def read(self, rows: NDArray[np.integer] | None) -> NDArray[np.float32]:
        total = int(self.starts[-1])
        wanted = np.arange(total) if rows is None else np.asarray(rows, dtype=np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= total):
            raise StampError(f"{self.path} holds rows 0..{total - 1}, asked for {wanted.min()}..{wanted.max()}")
        result = np.empty((len(wanted), *self.shape), dtype=np.float32)
        block_of = np.searchsorted(self.starts, wanted, side="right") - 1
        for block in np.unique(block_of):
            here = np.flatnonzero(block_of == block)
            result[here] = self.blocks[block][wanted[here] - self.starts[block]]
        return result


def _as_array(column: pa.FixedSizeBinaryArray, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """View the bytes of a fixed-size binary column as stamps, without a copy."""
    width = column.type.byte_width
    values = column.buffers()[1]
    flat = np.frombuffer(values, dtype="<f4", offset=column.offset * width, count=len(column) * width // 4)
    return flat.reshape(len(column), *shape)


def read_stamps(path: Path, rows: Sequence[int] | NDArray[np.integer] | None = None) -> NDArray[np.float32]:
    """Return stamps (N, 3, H, W) in nanomaggies: the given rows in the given order, or all of the file."""
    return _Shard(Path(path)).read(None if rows is None else np.asarray(rows, dtype=np.int64))


def read_stamp_columns(path: Path) -> pa.Table:
    """Return the ids and the extra columns of a stamp file."""
    return _Shard(Path(path)).table


class StampReader:
    """Read stamps by name, grouped by shard, each shard mapped once.

    Args:
        locate: returns the local stamp file of a shard.
    """

    def __init__(self, locate: Callable[[str], Path]):
        self._locate = locate
        self._shards: dict[str, _Shard] = {}

    def read(self, cutout_paths: Sequence[str]) -> NDArray[np.float32]:
        """Return stamps (N, 3, H, W) in nanomaggies in the order of the names `<shard>#<row>`."""
        names = [split_stamp_path(str(path)) for path in cutout_paths]
        rows_of: dict[str, list[int]] = {}
        for position, (shard, _) in enumerate(names):
            rows_of.setdefault(shard, []).append(position)
        result: NDArray[np.float32] | None = None
        for shard, positions in rows_of.items():
            stamps = self._shard(shard).read(np.asarray([names[i][1] for i in positions]))
            if result is None:
                result = np.empty((len(names), *stamps.shape[1:]), dtype=np.float32)
            if stamps.shape[1:] != result.shape[1:]:
                raise StampError(f"shard {shard}: stamps {stamps.shape[1:]}, others {result.shape[1:]}")
            result[positions] = stamps
        return np.empty((0, len(BANDS), 0, 0), dtype=np.float32) if result is None else result

    def _shard(self, name: str) -> _Shard:
        if name not in self._shards:
            self._shards[name] = _Shard(Path(self._locate(name)))
        return self._shards[name]
