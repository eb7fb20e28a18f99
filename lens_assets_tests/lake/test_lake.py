from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_assets.lake import parquet
from lens_assets.lake.lake import Lake, LakeError, table_digest
from lens_assets.lake.parquet import write_batches
from lens_assets.lake.record import Provenance

ONE = Provenance(code_version="1", settings={"splits": "aa"}, upstream={"positives": "bb"})
TWO = Provenance(code_version="2", settings={"splits": "aa"}, upstream={"positives": "bb"})


def table(*values: int) -> pa.Table:
    return pa.table({"galaxy_id": [str(value) for value in values], "flux_r": [float(value) for value in values]})


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    record = lake.write("positives", "hp04-001", ONE, table=table(1, 2), files={"notes/a.txt": b"hello"})
    assert lake.arrow("positives", "hp04-001").equals(table(1, 2))
    assert lake.file("positives", "notes/a.txt", "hp04-001").read_bytes() == b"hello"
    assert (record.rows, lake.partitions("positives")) == (2, ["hp04-001"])


def test_a_file_whose_name_looks_compressed_is_stored_as_it_is(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    lake.write("sweep_sources", None, ONE, table=None, files={"notes.csv.gz": b"not gzip at all"})
    assert lake.file("sweep_sources", "notes.csv.gz").read_bytes() == b"not gzip at all"


def test_files_given_as_paths_are_moved_into_the_lake(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", "demo")
    source = lake.scratch() / "stamps.arrow"
    source.write_bytes(b"pixels")
    lake.write("cutouts", None, ONE, table=None, files={"stamps.arrow": source})
    assert lake.file("cutouts", "stamps.arrow").read_bytes() == b"pixels"
    assert not source.exists()


def test_a_writer_that_dies_leaves_the_former_content_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path, "demo")
    before = lake.write("positives", None, ONE, table=table(1))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lake, "_put", die)
    with pytest.raises(KeyboardInterrupt):
        lake.write("positives", None, TWO, table=table(1, 2, 3))
    assert Lake(tmp_path, "demo").require("positives") == before
    assert lake.arrow("positives").equals(table(1))


def test_a_full_disk_is_named_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path, "demo")
    lake.write("positives", None, ONE, table=table(1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lake, "_store", full)
    with pytest.raises(LakeError, match="positives could not be written .* the disk is full"):
        lake.write("positives", None, TWO, table=table(2))
    assert lake.arrow("positives").equals(table(1))


def test_another_campaigns_lake_is_refused_and_untouched(tmp_path: Path) -> None:
    Lake(tmp_path, "demo").write("positives", None, ONE, table=table(1))
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    with pytest.raises(LakeError, match="written by campaign 'demo', not 'dr10'.*LENS_LAKE"):
        Lake(tmp_path, "dr10")
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def test_a_truncated_table_is_refused_by_name(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    lake.write("positives", None, ONE, table=table(1, 2, 3))
    path = Path(lake.table_path("positives"))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(LakeError, match=r"table.parquet: found \d+ bytes, expected \d+"):
        lake.arrow("positives")
    assert not lake.is_current("positives", None, ONE)


def test_a_missing_column_is_named_with_what_there_is(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    lake.write("positives", None, ONE, table=table(1))
    with pytest.raises(LakeError, match="no column mag_z; it holds galaxy_id, flux_r"):
        lake.table("positives", columns=["mag_z"])


def test_a_damaged_sidecar_says_what_to_do(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    lake.write("positives", None, ONE, table=table(1))
    (tmp_path / "positives" / "all" / "_record.json").write_text(json.dumps({"asset": "positives"}))
    with pytest.raises(LakeError, match="not a readable sidecar.*materialise again"):
        lake.record("positives")


def test_only_the_same_provenance_is_current(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    lake.write("positives", None, ONE, table=table(1))
    assert lake.is_current("positives", None, ONE)
    assert not lake.is_current("positives", None, TWO)
    assert not lake.is_current("positives", "hp04-001", ONE)


def test_writing_again_leaves_one_generation_on_disk(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    for values in ((1,), (1, 2), (1, 2, 3)):
        lake.write("positives", None, ONE, table=table(*values))
    assert len(list(tmp_path.rglob("table.parquet"))) == 1
    assert lake.arrow("positives").num_rows == 3


def test_a_retired_asset_leaves_no_bytes(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    lake.write("completeness_table", "baseline", ONE, table=table(1))
    lake.retire("completeness_table")
    assert lake.record("completeness_table", "baseline") is None
    assert not (tmp_path / "completeness_table").exists()


def test_the_digest_leaves_out_volatile_columns_figures_and_schema_metadata() -> None:
    frame = pd.DataFrame({"galaxy_id": ["a"], "timestamp": ["2026-01-01"]})
    later = frame.assign(timestamp="2027-01-01")
    first, second = (pa.Table.from_pandas(item, preserve_index=False) for item in (frame, later))
    assert table_digest(first) == table_digest(second)
    assert table_digest(first) == table_digest(first.replace_schema_metadata({"commit": "abc"}))
    assert table_digest(first) != table_digest(first.set_column(0, "galaxy_id", pa.array(["b"])))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(allow_nan=True) | st.none(), max_size=20))
def test_equal_tables_have_equal_digests_however_they_are_chunked(values: list[float | None]) -> None:
    whole = pa.table({"value": pa.array(values, pa.float64())})
    chunked = pa.concat_tables([whole.slice(0, len(values) // 2), whole.slice(len(values) // 2)])
    assert table_digest(whole) == table_digest(chunked)


def test_tidy_removes_the_scratch_of_the_dead_and_leaves_that_of_the_living(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    mine = lake.scratch()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
    elsewhere = mine.with_name(f"another_machine-{ended.pid}-x")
    for folder in (left, elsewhere):
        folder.mkdir()
        (folder / "half").write_bytes(b"x")
    lake.tidy()
    assert sorted((tmp_path / "_scratch").iterdir()) == sorted([mine, elsewhere])


def test_a_write_removes_the_generations_that_dead_writers_left(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    lake.write("positives", None, ONE, table=table(1))
    orphan = tmp_path / "positives" / "all" / "0123456789abcdef"
    orphan.mkdir()
    (orphan / "table.parquet").write_bytes(b"half")
    lake.write("positives", None, TWO, table=table(1, 2))
    assert not orphan.exists()
    assert len(list(tmp_path.rglob("table.parquet"))) == 1


def test_a_table_larger_than_memory_is_given_as_a_file_and_read_as_any_other(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    content = table(*range(50))
    path = lake.scratch() / "sources.parquet"
    rows = write_batches(path, content.schema, content.to_batches(max_chunksize=7), ["galaxy_id"])
    record = lake.write("sweep_sources", "hp04-001", ONE, table=path)
    assert record.rows == rows == 50
    assert lake.arrow("sweep_sources", "hp04-001").equals(content)
    assert lake.head("sweep_sources", 3, "hp04-001").equals(content.slice(0, 3))
    assert not path.exists()
    again = lake.scratch() / "sources.parquet"
    write_batches(again, content.schema, content.to_batches(), ["galaxy_id"])
    assert lake.write("sweep_sources", "hp04-001", TWO, table=again).digest == record.digest
    volatile = lake.scratch() / "volatile.parquet"
    stamped = content.append_column("timestamp", content["galaxy_id"])
    write_batches(volatile, stamped.schema, stamped.to_batches(), [])
    with pytest.raises(ValueError, match="without volatile columns"):
        lake.write("sweep_sources", "hp04-001", TWO, table=volatile)


def test_the_head_of_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    lake.write("positives", None, ONE, table=table())
    assert lake.head("positives", 3).equals(table())


@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 5000])
def test_how_a_stream_is_cut_into_batches_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 1000)
    content = table(*range(3500))
    for name, batches in (("whole", content.to_batches()), ("cut", content.to_batches(max_chunksize=size))):
        write_batches(tmp_path / name, content.schema, batches, [])
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()
    assert pq.read_metadata(tmp_path / "cut").num_row_groups == 4


def test_what_is_staged_for_a_partition_stays_until_that_partition_is_written(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "demo")
    folders = [lake.staging("sweep_sources", key) for key in ("hp04-001", "hp04-002")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(b"rows")
    lake.tidy()
    assert all((folder / "part").exists() for folder in folders)
    lake.write("sweep_sources", "hp04-001", ONE, table=table(1))
    assert [folder.exists() for folder in folders] == [False, True]
    assert lake.partitions("sweep_sources") == ["hp04-001"]
