"""External finders in a campaign: both files agree, and what does not is named by file and key."""

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml

from lens_assets.assets.detector_external import finder_of
from lens_assets.campaign.campaign import CAMPAIGNS_FOLDER, load_campaign
from lens_assets.campaign.errors import CampaignError
from lens_assets.campaign.stages.evaluation import ExternalDetectorSettings
from lens_assets.campaign.stages.external import ScoredFinderSettings
from lens_assets.detector.exchange import ScoreFileError
from lens_assets.partitions import partition_keys

OUTSIDE = {"kind": "external", "validation_design": "baseline", "description": "a finder of another team"}
FINDER = {"source": "scores", "output": "probability", "files": [{"path": "a.csv", "sha256": "a" * 64}]}


def _campaign(folder: Path, detector: dict | None = OUTSIDE, finders: dict | None = None) -> Path:
    place = folder / "mine"
    shutil.copytree(CAMPAIGNS_FOLDER / "demo", place)
    evaluation = yaml.safe_load((place / "evaluation.yaml").read_text())
    if detector is not None:
        evaluation["detectors"]["theirs"] = detector
    (place / "evaluation.yaml").write_text(yaml.safe_dump(evaluation))
    if finders is not None:
        (place / "external.yaml").write_text(yaml.safe_dump({"finders": finders}))
    return place


def test_a_finder_is_a_detector_partition(tmp_path):
    campaign = load_campaign(_campaign(tmp_path, finders={"theirs": FINDER}))
    assert isinstance(campaign.evaluation.detectors["theirs"], ExternalDetectorSettings)
    assert partition_keys(campaign, "detector") == ["baseline", "ensemble", "theirs"]
    assert isinstance(campaign.external.finders["theirs"], ScoredFinderSettings)
    assert load_campaign("demo").external is None


@pytest.mark.parametrize(
    ("detector", "finders", "message"),
    [
        (OUTSIDE, None, r"external.yaml: finders: .*an entry theirs that says where its scores or its model are"),
        (None, {"theirs": FINDER}, r"external.yaml: finders.theirs: .*there is none"),
        (OUTSIDE | {"validation_design": "wide"}, {"theirs": FINDER}, r"detectors.theirs.validation_design: .*wide"),
        (OUTSIDE | {"members": ["baseline"]}, {"theirs": FINDER}, r"members: .*no such key"),
        ({"kind": "rented"}, {"theirs": FINDER}, r"evaluation.yaml: detectors.theirs: .*rented"),
        (OUTSIDE, {"theirs": FINDER | {"source": "pickle"}}, r"external.yaml: finders.theirs: .*pickle"),
        (OUTSIDE, {"theirs": FINDER | {"files": [{"path": "a", "sha256": "x"}]}}, r"files.0.sha256"),
    ],
)
def test_contradictions_are_named(tmp_path, detector, finders, message):
    with pytest.raises(CampaignError, match=message):
        load_campaign(_campaign(tmp_path, detector, finders))


def test_a_model_must_take_the_stamps_that_are_cut(tmp_path):
    experiment = yaml.safe_load((CAMPAIGNS_FOLDER / "demo/experiments/baseline.yaml").read_text())
    model = {
        "source": "torchscript", "output": "logit", "path": "m.pt", "sha256": "a" * 64, "batch_size": 8,
        "preprocessing": experiment["preprocessing"],
    }  # fmt: skip
    assert load_campaign(_campaign(tmp_path / "good", finders={"theirs": model})).external is not None
    model["preprocessing"] = model["preprocessing"] | {"input_pixels": 121}
    with pytest.raises(CampaignError, match=r"finders.theirs.preprocessing.input_pixels: found 121; expected 101"):
        load_campaign(_campaign(tmp_path / "bad", finders={"theirs": model}))


def test_files_are_those_that_were_stated(tmp_path):
    scores = tmp_path / "scores.csv"
    scores.write_text(f"stamp_id,score\n{'a' * 20},0.25\n", encoding="utf-8")
    stated = {"path": str(scores), "sha256": hashlib.sha256(scores.read_bytes()).hexdigest()}
    campaign = load_campaign(_campaign(tmp_path / "good", finders={"theirs": FINDER | {"files": [stated]}}))
    assert finder_of(campaign, "theirs").scores.to_dict() == {"a" * 20: 0.25}
    scores.write_text(f"stamp_id,score\n{'a' * 20},0.75\n", encoding="utf-8")
    with pytest.raises(ScoreFileError, match=r"scores.csv: SHA-256 \w+, but external.yaml, finders.theirs states"):
        finder_of(campaign, "theirs")
    scores.unlink()
    with pytest.raises(ScoreFileError, match="scores.csv: no such file; external.yaml, finders.theirs names it"):
        finder_of(campaign, "theirs")
