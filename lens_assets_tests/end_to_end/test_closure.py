"""`lens-assets closure` asks the detector of a finished lake and leaves a report that another campaign can name."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest

from lens_assets.cli import main
from lens_assets.selection.release import relied_closure_evidence
from lens_assets_tests.end_to_end.miniature import Place

SIZES = ("--lenses", "10", "--hosts", "10", "--injections", "20", "--workers", "1")


def test_the_report_of_a_finished_lake_is_one_that_a_campaign_may_rely_on(
    finished: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["closure", *SIZES, "--to", str(tmp_path)]
    with mock.patch.dict(os.environ, finished.environment()):
        status = main(arguments)
        said = capsys.readouterr().out
        assert status == 3
        before = (tmp_path / "closure.parquet").stat().st_mtime_ns
        assert main(arguments) == 3
    assert (tmp_path / "closure.parquet").stat().st_mtime_ns == before
    assert "NOT-EVALUATED" in said
    assert "true lenses drawn" in said
    report = pd.read_parquet(tmp_path / "closure.parquet")
    assert report["audited"].sum() == 1
    assert report["settings_digest"].str.fullmatch("[0-9a-f]{64}").all()
    evidence = relied_closure_evidence(report, str(report["campaign"].iloc[0]), 0.01)
    assert [row["verdict"] for row in evidence] == ["NOT-EVALUATED"]
    assert (tmp_path / "closure.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("work-*"))


def test_without_a_detector_or_a_simulated_sky_it_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"LENS_LAKE": str(tmp_path / "lake"), "LENS_STATE_DIR": str(tmp_path / "state")}
    with mock.patch.dict(os.environ, places):
        assert main(["--campaign", "demo", "closure"]) == 2
        assert "holds no frozen detector baseline: make it first (make demo" in capsys.readouterr().err
        assert main(["--campaign", "demo", "closure", "--detector", "other"]) == 2
        assert "expected one of baseline" in capsys.readouterr().err
        assert main(["--campaign", "demo", "closure", "--lenses", "3"]) == 2
        assert "--lenses: Input should be greater than or equal to 10" in capsys.readouterr().err
        assert main(["--campaign", "dr10", "closure"]) == 2
        assert "its closure is that of campaign demo" in capsys.readouterr().err
