"""Somebody else's finder: our own, sent out as stamps and taken back as scores and as a file, must give our numbers."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import yaml

from lens_assets.assets.execution import Lineage, materialise
from lens_assets.campaign.campaign import load_campaign
from lens_assets.cli import main
from lens_assets.definitions import build_lineage
from lens_assets.detector.exchange import read_stamp_file
from lens_assets.detector.frozen import load_detector
from lens_assets.lake.lake import Lake
from lens_assets.resources.tracking import Tracking
from lens_assets_tests.end_to_end.command_line import run_command
from lens_assets_tests.end_to_end.miniature import Place

pytestmark = pytest.mark.end_to_end

OWN = "baseline"


@dataclass(frozen=True)
class Audited:
    """The finished campaign with our detector as two finders from elsewhere, the first of them the primary one."""

    place: Place
    lineage: Lineage
    lake: Lake


def script_of(lake: Lake) -> bytes:
    """Return our detector as a TorchScript file."""
    import torch

    from lens_assets.detector.freezing import DetectorModule
    from lens_assets.detector.frozen import load_frozen_detector

    module = DetectorModule(load_frozen_detector(lake.folder("frozen_detector", OWN))).eval()
    buffer = io.BytesIO()
    with torch.inference_mode(False), torch.no_grad():
        torch.jit.save(torch.jit.trace(module, torch.zeros(4, 3, 64, 64)), buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def exported(finished: Place, tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Path]:
    place = finished.copy_to(tmp_path_factory.mktemp("external"))
    folder = place.root / "stamps"
    result = run_command(place, "export-stamps", str(folder), "--format", "hdf5")
    assert result.returncode == 0, result.stderr
    assert all(f"{role}: " in result.stdout for role in ("lenses", "negatives", "injected", "failures", "closure"))
    return place, folder


def score_elsewhere(place: Place, folder: Path, lake: Lake) -> Path:
    """Score every exported stamp as another team would, knowing nothing but the files."""
    detector = load_detector(lake.folder("frozen_detector", OWN))
    parts = []
    for file in sorted(folder.glob("*.h5")):
        names, stamps = read_stamp_file(file)
        parts.append(pd.DataFrame({"stamp_id": names, "score": detector.score(stamps)}))
    path = place.campaign / "returned" / "scores.parquet"
    path.parent.mkdir(exist_ok=True)
    pd.concat(parts).sample(frac=1.0, random_state=1).to_parquet(path, index=False)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def audited(exported: tuple[Place, Path]) -> Iterator[Audited]:
    place, folder = exported
    lake = Lake(place.lake, "miniature")
    scores = score_elsewhere(place, folder, lake)
    checked = run_command(place, "check-scores", str(scores), "--stamps", str(folder / "stamps.csv"))
    assert checked.returncode == 0, checked.stderr
    assert f'sha256: "{sha256(scores)}"' in checked.stdout
    model = place.campaign / "returned" / "model.pt"
    model.write_bytes(script_of(lake))
    campaign = load_campaign(place.campaign)
    preprocessing = campaign.contents[f"experiments/{OWN}"]["preprocessing"]
    finders = {
        "theirs": {
            "source": "scores",
            "output": "probability",
            "files": [{"path": "returned/scores.parquet", "sha256": sha256(scores)}],
        },
        "scripted": {
            "source": "torchscript",
            "output": "probability",
            "path": "returned/model.pt",
            "sha256": sha256(model),
            "batch_size": 32,
            "preprocessing": preprocessing,
        },
    }
    (place.campaign / "external.yaml").write_text(yaml.safe_dump({"finders": finders}), encoding="utf-8")
    outside = {"kind": "external", "validation_design": "baseline", "description": "ours, by another way"}
    detectors = {OWN: campaign.contents["evaluation"]["detectors"][OWN], "theirs": outside, "scripted": outside}
    place.edit("evaluation", {"detectors": detectors, "primary_detector": "theirs"})
    place.edit("selection_function", {"failures.remedies": [{"detector": "scripted", "instead_of": OWN}]})
    lineage = build_lineage(load_campaign(place.campaign))
    wanted = [*lineage.ancestors("selection_function_product"), "selection_function_product"]
    for name in wanted:
        asset = lineage.assets[name]
        for key in lineage.keys(asset):
            materialise(lineage, lake, asset, key, tracking=Tracking.disabled())
    yield Audited(place, lineage, lake)


def test_scores_that_come_back_give_the_same_completeness_table(audited: Audited) -> None:
    own, theirs = (audited.lake.table("completeness_table", name) for name in (OWN, "theirs"))
    assert own["k"].sum() > 0
    pd.testing.assert_frame_equal(own.drop(columns="detector"), theirs.drop(columns="detector"))
    cuts = [audited.lake.table("frozen_detector", name).set_index("name")["threshold"] for name in (OWN, "theirs")]
    pd.testing.assert_series_equal(*cuts)


def test_a_torchscript_file_gives_the_same_scores_and_completeness(audited: Audited) -> None:
    own, scripted = (audited.lake.table("injection_scores", name) for name in (OWN, "scripted"))
    for column in ("host_score", "injected_score"):
        np.testing.assert_allclose(scripted[column], own[column], atol=2e-6)
    tables = [audited.lake.table("completeness_table", name) for name in (OWN, "scripted")]
    fixed = [table.loc[table["threshold_kind"] == "fixed"] for table in tables]
    assert (fixed[0]["k"].to_numpy() - fixed[1]["k"].to_numpy()).max() <= 1


def test_realism_is_judged_without_feature_space_and_says_so(audited: Audited) -> None:
    report = audited.lake.table("realism_report").set_index("observable")
    for name in ("probe_features", "frechet"):
        assert report.loc[name, "verdict"] == "NOT-EVALUATED"
        assert not report.loc[name, "gates"]
        assert "it gives scores, not features" in report.loc[name, "requirement"]
    contaminants = report.loc[["contaminant_fpr", "arcs_on_contaminants"]]
    assert not contaminants["gates"].any()
    assert contaminants.loc["arcs_on_contaminants", "verdict"] == "NOT-EVALUATED"
    verdict = audited.lake.file("realism_gate", "verdict.json").read_text(encoding="utf-8")
    assert "Feature space not compared: the finder is external" in verdict


def test_sensitivity_closure_and_the_product_follow(audited: Audited) -> None:
    from lens_assets.selection.loader import load

    sensitivity = audited.lake.table("sensitivity_report").set_index(["kind", "variant", "detector"])
    brighter = sensitivity.loc[("prior", "brighter"), "shift"]
    assert brighter["theirs"] == brighter[OWN]
    assert sensitivity.loc[("detector", "instead_of_theirs", OWN), "shift"] == 0.0
    failures = audited.lake.table("failure_experiments")
    rendered = failures.loc[failures["experiment"] != "confuser_hosts"]
    assert not (rendered["verdict"] == "NOT-EVALUATED").any()
    closure = audited.lake.table("closure_report").set_index(["detector", "threshold"])
    pd.testing.assert_frame_equal(closure.loc["theirs"], closure.loc[OWN])
    sf = load(audited.lake.folder("selection_function_product") / "release", quiet=True)
    assert sf.detectors == ["theirs", OWN, "scripted"]
    assert sf.compare(sf, "fpr_0.1", "theirs", OWN)["difference"].abs().max() == 0.0
    asked = run_command(
        audited.place, "completeness", "--theta-e", "1.2", "1.8", "--psf", "1.4", "--depth", "24.4", "--outside", "nan"
    )
    assert asked.returncode == 0, asked.stderr
    assert "detector theirs, threshold fpr_0.1" in asked.stdout
    expected = sf.completeness(theta_e_arcsec=np.array([1.2, 1.8]), psf_fwhm_arcsec=1.4, depth_mag=24.4, outside="nan")
    assert f"theta_E 1.2 arcsec: {expected.value[0]:.4f} [" in asked.stdout
    assert "release_gate: GO" in asked.stdout


def test_more_files_change_no_digest_upstream_of_the_scores(audited: Audited) -> None:
    """Scores of injections that come later make injection_scores stale, not the plan, the gate or the stamps."""
    path = audited.place.campaign / "returned" / "more.csv"
    path.write_text(f"stamp_id,score\n{'0' * 20},0.5\n", encoding="utf-8")
    content = yaml.safe_load((audited.place.campaign / "external.yaml").read_text(encoding="utf-8"))
    content["finders"]["theirs"]["files"].append({"path": "returned/more.csv", "sha256": sha256(path)})
    (audited.place.campaign / "external.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    lineage = build_lineage(load_campaign(audited.place.campaign))
    assert lineage.stale(audited.lake, ["injection_plan", "injection_batches", "realism_gate"]) == []
    before = audited.lake.require("frozen_detector", "theirs").digest
    record, computed = materialise(
        lineage, audited.lake, lineage.assets["frozen_detector"], "theirs", tracking=Tracking.disabled()
    )
    assert computed
    assert record.digest == before
    assert lineage.stale(audited.lake, ["realism_gate", "injection_batches"]) == []


def test_the_command_line_refuses_what_cannot_be_used(
    exported: tuple[Place, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, folder = exported
    monkeypatch.chdir(place.root)
    few = tmp_path / "few.csv"
    few.write_text(f"stamp_id,score\n{'0' * 20},0.5\n", encoding="utf-8")
    release = str(Lake(place.lake, "miniature").folder("selection_function_product") / "release")
    cases = [
        (("merge-releases", release, release, "--to", str(tmp_path / "m.parquet")), "injections are in both releases"),
        (("check-scores", str(few), "--stamps", str(folder / "stamps.csv")), "no score for"),
        (("check-scores", str(tmp_path / "none.csv")), "no such file"),
        (("export-stamps", str(folder)), "is not empty"),
        (("export-stamps", str(tmp_path / "new"), "--roles", "stars"), "expected some of lenses, negatives"),
        (("completeness", "--theta-e", "9", "--psf", "1.4", "--depth", "24"), "lies outside the grid"),
        (("completeness", "--theta-e", "1", "--psf", "1.4", "--depth", "24", "--release", str(tmp_path)), "release"),
    ]
    for arguments, message in cases:
        with mock.patch.dict(os.environ, place.environment()):
            assert main([*arguments]) == 2, arguments
        assert message in capsys.readouterr().err
