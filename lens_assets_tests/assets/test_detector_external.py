"""An external finder is frozen as our own are: thresholds from validation objects, one digest, nothing on trust."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lens_assets.assets.detector import frozen_detector
from lens_assets.assets.framework import Product
from lens_assets.campaign.campaign import Campaign
from lens_assets.campaign.stages.evaluation import EvaluationSettings
from lens_assets.campaign.stages.external import ExternalSettings
from lens_assets.detector.evaluation import threshold_table
from lens_assets.detector.exchange import stamp_ids
from lens_assets.detector.external import UnscoredStampsError
from lens_assets.imaging.stamps import write_stamps
from lens_assets.lake.lake import Lake
from lens_assets_tests.support import run_asset, store

SHARD = "hp04-000"
EVALUATION = {
    "interval_level": 0.95,
    "bootstrap": {"seed": 3, "resamples": 60},
    "thresholds": {"fixed": (0.5,), "fpr_targets": (0.1,), "minimum_above": 5, "audit": "fpr_0.1",
                   "top_shares": (0.2,)},
    "reliability_bins": 5,
    "minimum_subset": 5,
    "deployment_design": "deployment",
    "detectors": {"theirs": {"kind": "external", "validation_design": "baseline", "description": "theirs, version 2"}},
    "primary_detector": "theirs",
}  # fmt: skip
COUNT = 120


@pytest.fixture(scope="module")
def stamps() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(COUNT, 3, 21, 21)).astype(np.float32)


@pytest.fixture(scope="module")
def manifest() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"galaxy_id": [f"g{row:04d}" for row in range(COUNT)]})
    table["cutout_path"] = [f"{SHARD}#{row}" for row in range(COUNT)]
    table["label"] = (rng.random(COUNT) < 0.3).astype(int)
    table["split"] = np.repeat(["train", "val", "test"], COUNT // 3)
    table["sample_weight"], table["evaluation_only"], table["in_baseline"] = 1.0, False, True
    table["in_deployment"] = rng.random(COUNT) < 0.7
    table["score"] = np.round(rng.random(COUNT), 4)
    return table


@pytest.fixture
def lake(tmp_path: Path, stamps: np.ndarray, manifest: pd.DataFrame) -> Lake:
    path = tmp_path / "stamps.arrow"
    write_stamps(path, manifest["galaxy_id"].tolist(), stamps)
    lake = Lake(tmp_path / "lake", "mini")
    store(lake, "cutouts", manifest[["galaxy_id"]], SHARD, {"stamps.arrow": path.read_bytes()})
    store(lake, "training_manifest", manifest.drop(columns="score"))
    return lake


def freeze(lake: Lake, folder: Path, names: list[str], scores: pd.Series) -> Product:
    """Freeze the finder whose returned file holds these scores."""
    path = folder / "returned.csv"
    pd.DataFrame({"stamp_id": names, "score": scores}).to_csv(path, index=False)
    files = ({"path": "returned.csv", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},)
    finder = {"source": "scores", "output": "probability", "files": files}
    stages = {
        "evaluation": EvaluationSettings.model_validate(EVALUATION),
        "external": ExternalSettings.model_validate({"finders": {"theirs": finder}}),
    }
    return run_asset(frozen_detector, Campaign("mini", folder, stages, {}, {}), partition="theirs", lake=lake)


def test_thresholds_come_from_the_validation_objects_alone(lake, tmp_path, stamps, manifest):
    names = stamp_ids(stamps)
    product = freeze(lake, tmp_path, names, manifest["score"])
    validation = manifest[manifest["split"] == "val"]
    expected = threshold_table(validation, EvaluationSettings.model_validate(EVALUATION)).set_index("name")
    table = product.table.set_index("name")
    for name in ("fixed_0.5", "fpr_0.1"):
        assert table.loc[name, "threshold"] == expected.loc[name, "threshold"]
    candidates = validation[validation["in_deployment"]]
    assert (candidates["score"] >= table.loc["top_0.2", "threshold"]).sum() == int(0.2 * len(candidates))
    assert product.summary["description"] == "theirs, version 2"
    swapped = manifest["score"].where(manifest["split"] != "test", 1.0 - manifest["score"])
    again = freeze(lake, tmp_path, names, swapped)
    assert again.table["threshold"].tolist() == product.table["threshold"].tolist()
    assert again.summary["digest"] != product.summary["digest"]


def test_scores_of_other_stamps_change_nothing_and_test_stamps_may_come_later(lake, tmp_path, stamps, manifest):
    names = stamp_ids(stamps)
    product = freeze(lake, tmp_path, names, manifest["score"])
    more = freeze(lake, tmp_path, [*names, "0" * 20], pd.Series([*manifest["score"], 0.9]))
    assert dict(more.files) == dict(product.files)
    early = manifest["split"] == "val"
    first = freeze(lake, tmp_path, list(np.array(names)[early]), manifest.loc[early, "score"])
    assert first.table["threshold"].tolist() == product.table["threshold"].tolist()


def test_a_validation_stamp_without_a_score_is_refused(lake, tmp_path, stamps, manifest):
    names = stamp_ids(stamps)
    with pytest.raises(UnscoredStampsError, match="detector theirs has no score for 1 of 40 stamps"):
        freeze(lake, tmp_path, [*names[:50], *names[51:]], manifest["score"].drop(index=50))
