"""Stages that contradict each other are refused with the file, the key, what was found and what was expected."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.errors import CampaignError

TIERS_OF_LOW_WEIGHT = [
    {"grading": "confident", "tier": "A", "weight": 1.0},
    {"grading": "probable", "tier": "B", "weight": 0.4},
]
REMEDY = [{"detector": "residual", "instead_of": "baseline"}]
DEMO = Path("deploy/campaigns/demo")


def _edited(folder: Path, stage: str, key: str, value: Any) -> Path:
    shutil.copytree(Path(__file__).parents[2] / DEMO, folder)
    path = folder / f"{stage}.yaml"
    content = yaml.safe_load(path.read_text())
    *above, last = key.split(".")
    inner = content
    for name in above:
        inner = inner[name]
    inner[last] = value
    path.write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize(
    ("stage", "key", "value", "expected"),
    [
        ("injection", "hosts.design", "everything", "a design of sampling.yaml: baseline, deployment"),
        ("evaluation", "deployment_design", "everything", "a design of sampling.yaml: baseline, deployment"),
        ("experiments/second", "training.design", "everything", "a design of sampling.yaml: baseline, deployment"),
        ("evaluation", "detectors.baseline.members", ["core_only"], "an experiment with role candidate"),
        ("injection", "renderer.stamp_pixels", 91, "101, the stamp_pixels of cutouts.yaml"),
        ("injection", "hosts.mag_z", {"minimum": 20.5, "maximum": 21.0}, "below 20.0, the mag_z_max of negatives.yaml"),
        ("survey", "faintest_mag_z", 21.8, "null or at least 22.0: the neighbours that negatives.yaml compares"),
        ("catalogs", "match_mask_bits", [1], "the mask_bits of negatives.yaml"),
        ("catalogs", "tiers", TIERS_OF_LOW_WEIGHT, "not less of both"),
        ("experiments/second", "training.held_out_fold", 4, "null or 0 to 3, since splits.yaml has 4 folds"),
        ("features", "split_proof.buffer_arcsec", 8.0, "at least 11.0, the exclusion_radius_arcsec"),
        ("selection_function", "failures.remedies", REMEDY, "a detector of evaluation.yaml: baseline, ensemble"),
        ("simulated_sky", "layout.sky_partitions", ["hp04-001"], "sky partitions that survey.sky_partitions lists"),
    ],
)
def test_a_contradiction_is_named(tmp_path: Path, stage: str, key: str, value: Any, expected: str) -> None:
    with pytest.raises(CampaignError) as refusal:
        load_campaign(_edited(tmp_path / "campaign", stage, key, value))
    named = "experiments/baseline" if value is TIERS_OF_LOW_WEIGHT else stage
    assert f"{named}.yaml" in str(refusal.value)
    assert expected in str(refusal.value)


def test_a_low_weight_without_smoothing_is_accepted(tmp_path: Path) -> None:
    folder = _edited(tmp_path / "campaign", "catalogs", "tiers", TIERS_OF_LOW_WEIGHT)
    for path in (folder / "experiments").glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        content["training"]["tier_b_label_smoothing"] = 0.0
        path.write_text(yaml.safe_dump(content))
    assert load_campaign(folder).catalogs.tier_weight("B") == 0.4


def test_an_untouched_copy_is_accepted(tmp_path: Path) -> None:
    load_campaign(_edited(tmp_path / "campaign", "splits", "seed", 42))
