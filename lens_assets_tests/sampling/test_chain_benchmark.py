"""The benchmark of the sampling chain fails where the engines do not draw the same ids."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import _synthetic_sweeps, sampling_chain


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each engine is made to answer; nothing is run."""
    answers = {"duckdb": "same", "pandas": "same", "asset": "counts rows"}

    def child(engine: str, rows: int, folder: Path) -> dict[str, object]:
        return {
            "seconds": 1.0, "rows": rows, "cpu_s": 1.0, "peak_mib": 1.0, "ids": 3, "digest": answers[engine],
        }  # fmt: skip

    monkeypatch.setattr(sampling_chain, "_child", child)
    monkeypatch.setattr(_synthetic_sweeps, "make_sky", lambda folder, rows: SimpleNamespace(partitions=["one"]))
    return answers


def run(folder: Path) -> None:
    """Run the benchmark over two sizes."""
    sampling_chain.main(["--rows", "10", "20", "--engines", "duckdb", "pandas", "asset", "--folder", str(folder)])


def test_equal_digests_end_well(digests: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)
    assert capsys.readouterr().out.count("id digests equal") == 2


def test_other_digests_end_with_an_error(digests: dict[str, str], tmp_path: Path) -> None:
    digests["pandas"] = "other"
    with pytest.raises(SystemExit, match="drew other ids from the same sources, of sizes 10, 20"):
        run(tmp_path)
