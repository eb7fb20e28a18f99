from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_assets.imaging.stamps import (
    StampError,
    StampReader,
    StampWriter,
    read_stamp_columns,
    read_stamps,
    split_stamp_path,
    stamp_path,
    write_stamps,
)


def _stamps(count: int, side: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, side, side)).astype("f4")


def test_what_is_written_is_read_back_bit_for_bit_with_its_columns(tmp_path):
    stamps = _stamps(7)
    stamps[2, 0, 0, 0], stamps[3, 1, 1, 1] = np.nan, -0.0
    write_stamps(tmp_path / "a.arrow", [f"g{i}" for i in range(7)], stamps, {"mag": np.arange(7.0)})
    assert read_stamps(tmp_path / "a.arrow").tobytes() == stamps.tobytes()
    table = read_stamp_columns(tmp_path / "a.arrow")
    assert table["id"].to_pylist()[:2] == ["g0", "g1"] and table["mag"].to_pylist() == list(range(7))


def test_arrow_itself_reads_the_file_and_finds_its_shape(tmp_path):
    stamps = _stamps(3)
    write_stamps(tmp_path / "a.arrow", list("abc"), stamps)
    table = pa.ipc.open_file(str(tmp_path / "a.arrow")).read_all()
    assert table.schema.metadata[b"shape"] == b"3,5,5" and table.schema.metadata[b"bands"] == b"g,r,z"
    assert np.frombuffer(table["stamp"][1].as_py(), "<f4").tobytes() == stamps[1].tobytes()


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=5), data=st.data())
def test_rows_come_in_the_order_asked_whatever_the_batches(tmp_path_factory, sizes, data):
    path = tmp_path_factory.mktemp("s") / "a.arrow"
    stamps = _stamps(sum(sizes))
    with StampWriter(path, 5, 5) as writer:
        start = 0
        for size in sizes:
            writer.write([str(i) for i in range(size)], stamps[start : start + size])
            start += size
    assert writer.rows == len(stamps)
    if len(stamps):
        rows = data.draw(st.lists(st.integers(0, len(stamps) - 1), max_size=8))
        assert np.array_equal(read_stamps(path, rows), stamps[rows])


def test_the_same_stamps_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_stamps(tmp_path / name, ["x", "y"], _stamps(2))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_empty_partition_is_a_file_without_rows(tmp_path):
    write_stamps(tmp_path / "a.arrow", [], np.empty((0, 3, 5, 5)))
    assert read_stamps(tmp_path / "a.arrow").shape == (0, 3, 5, 5)


def test_the_reader_gathers_over_shards_in_the_order_of_the_paths(tmp_path):
    stamps = {"hp04-001": _stamps(3, seed=1), "hp04-002": _stamps(4, seed=2)}
    for shard, values in stamps.items():
        write_stamps(tmp_path / shard, [str(i) for i in range(len(values))], values)
    opened: list[str] = []
    reader = StampReader(lambda shard: opened.append(shard) or tmp_path / shard)
    paths = [stamp_path("hp04-002", 3), stamp_path("hp04-001", 0), stamp_path("hp04-002", 0)]
    expected = [stamps["hp04-002"][3], stamps["hp04-001"][0], stamps["hp04-002"][0]]
    assert np.array_equal(reader.read(paths), expected)
    reader.read(paths)
    assert sorted(opened) == ["hp04-001", "hp04-002"]


@pytest.mark.parametrize("path", ["hp04-001", "#3", "hp04-001#", "hp04-001#-1", "hp04-001#x"])
def test_a_path_that_names_no_row_is_refused(path):
    with pytest.raises(StampError, match="<shard>#<row>"):
        split_stamp_path(path)


def test_wrong_shapes_rows_and_files_are_refused_by_name(tmp_path):
    with pytest.raises(StampError, match=r"expected \(N, 3, H, W\)"):
        write_stamps(tmp_path / "a", ["x"], np.zeros((1, 2, 5, 5)))
    write_stamps(tmp_path / "a", ["x"], _stamps(1))
    with pytest.raises(StampError, match=r"rows 0\.\.0"):
        read_stamps(tmp_path / "a", [1])
    (tmp_path / "cut").write_bytes((tmp_path / "a").read_bytes()[:-40])
    with pytest.raises(StampError, match="not a readable stamp file"):
        read_stamps(tmp_path / "cut")
