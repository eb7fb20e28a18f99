"""`lens-assets closure` asks the detector of a finished lake and leaves a report that another campaign can name."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from lens_assets.automation.closure import ClosureError, model_finder, stated_settings
from lens_assets.campaign.campaign import load_campaign
from lens_assets.cli import main
from lens_assets.detector.frozen import load_detector
from lens_assets.selection.release import relied_closure_evidence
from lens_assets_tests.detector.test_external import SPEC
from lens_assets_tests.detector.test_external_onnx import Tiny, exported
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


def test_hosts_of_a_parent_sample_do_not_close_on_lenses_of_all_hosts() -> None:
    demo = load_campaign("demo")
    hosts = demo.injection.hosts.model_copy(update={"parent": "v2_baseline_dr10"})
    red = replace(demo, stages=demo.stages | {"injection": demo.injection.model_copy(update={"hosts": hosts})})
    with pytest.raises(ClosureError, match="hosts from v2_baseline_dr10.*set hosts.parent of injection.yaml to scan"):
        stated_settings(red)


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


def _stated(folder: Path, kind: str, content: bytes, **changes: object) -> Path:
    """Write a model and the YAML that describes it; return the YAML."""
    (folder / "model").write_bytes(content)
    entry = {
        "source": kind, "output": "logit", "path": "model", "sha256": hashlib.sha256(content).hexdigest(),
        "batch_size": 4, "preprocessing": SPEC.model_dump(mode="json"), **changes,
    }  # fmt: skip
    (folder / "theirs.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    return folder / "theirs.yaml"


def _torchscript() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Tiny()), buffer)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_given_model_is_asked_in_either_format(tmp_path: Path) -> None:
    stamps, scores = np.random.default_rng(3).normal(0, 0.01, (6, 3, 101, 101)), {}
    for source, content in (("torchscript", _torchscript()), ("onnx", exported(Tiny()))):
        folder = tmp_path / source
        folder.mkdir()
        finders = model_finder(_stated(folder, source, content), 0.7, folder / "closure")
        assert finders.audit == "fixed_0.7"
        assert finders.cuts == {"theirs": {"fixed_0.7": 0.7}}
        scores[source] = load_detector(finders.folders["theirs"]).score(stamps)
    assert scores["torchscript"].std() > 0
    np.testing.assert_allclose(scores["onnx"], scores["torchscript"], atol=2e-6)


@pytest.mark.parametrize(
    ("changes", "content", "words"),
    [
        ({"source": "scores"}, b"x", "whose source is torchscript or onnx"),
        ({"path": "elsewhere"}, b"x", "elsewhere: no such file"),
        ({"sha256": "0" * 64}, b"x", "SHA-256 2d711642b726b044"),
        ({}, b"not a model", "model: detector theirs: the model file is not TorchScript"),
    ],
)
def test_a_model_that_cannot_be_asked_is_refused(
    changes: dict[str, object], content: bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ClosureError, match=words):
        model_finder(_stated(tmp_path, "torchscript", content, **changes), 0.5, tmp_path / "closure")


def test_a_model_without_a_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClosureError, match="absent.yaml"):
        model_finder(tmp_path / "absent.yaml", 0.5, tmp_path / "closure")


@pytest.mark.parametrize("threshold", [float("nan"), 0.0, 1.0, 5.0])
def test_a_threshold_that_is_no_probability_is_refused(threshold: float, tmp_path: Path) -> None:
    with pytest.raises(ClosureError, match=r"--threshold .*: scores are probabilities"):
        model_finder(_stated(tmp_path, "torchscript", b"x"), threshold, tmp_path / "closure")
