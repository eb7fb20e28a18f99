"""Recipes that cannot work are refused, with the setting, what was found and what was expected."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from lens_assets.campaign.campaign import CAMPAIGNS_FOLDER
from lens_assets.campaign.stages.evaluation import EvaluationSettings
from lens_assets_tests.detector.conftest import recipe

EVALUATION: dict[str, Any] = {
    "interval_level": 0.95,
    "bootstrap": {"seed": 1, "resamples": 100},
    "thresholds": {"fixed": (0.5,), "fpr_targets": (0.01,), "minimum_above": 30, "audit": "fpr_0.01"},
    "reliability_bins": 10,
    "minimum_subset": 20,
    "deployment_design": "deployment",
    "detectors": {"one": {"members": ("a",), "combiner": "best_on_validation"}},
    "primary_detector": "one",
}


MASKING = {"radius_px": 4.0, "first_share": 0.5, "last_share": 0.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preprocessing": {"mask": "core_only"}}, "a detector that sees part of the stamp is a diagnostic"),
        ({"augmentation": {"max_shift_px": 8}, "preprocessing": {"stamp_pixels": 40}}, "exceeds the margin of 0 px"),
        ({"augmentation": {"core_masking": MASKING | {"last_share": 1.0}}}, "less than 1"),
        (
            {"augmentation": {"core_masking": MASKING | {"radius_px": 12.0}}},
            "hides the whole crop; expected less than 12",
        ),
        ({"training": {"warmup_epochs": 6.0}}, "warmup_epochs 6.0 must be shorter than epochs 6"),
        ({"training": {"learning_rate": 2.0}}, "less than 1"),
        ({"training": {"tier_b_label_smoothing": 0.3}}, "a tier-B lens 0.7; expected 0 .off., or 0.05 to 0.2"),
        ({"training": {"tier_b_label_smoothing": 0.02}}, "a tier-B lens 0.98; expected 0"),
        ({"training": {"held_out_fold": -1}}, "held_out_fold"),
        ({"training": {"momentum": 0.9}}, "momentum"),
        ({"architecture": {"family": "efficientnet_v2_s", "width": 32}}, "has its published width 24"),
        ({"preprocessing": {"annulus_inner_px": 5.0}}, "an annulus over the host or its arcs"),
    ],
)
def test_an_impossible_recipe_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": {**EVALUATION["thresholds"], "audit": "fpr_1e-2"}}, "expected one of fixed_0.5, fpr_0.01"),
        ({"thresholds": {**EVALUATION["thresholds"], "fpr_targets": (0.01, 0.01)}}, "repeat a value"),
        ({"primary_detector": "two"}, "expected one of detectors: one"),
        ({"detectors": {"one": {"members": ("a", "a"), "combiner": "mean_logit"}}}, "name an experiment twice"),
        ({"detectors": {"one": {"members": ("a",), "combiner": "stacking"}}}, "expected best_on_validation"),
        ({"interval_level": 95.0}, "less than 1"),
    ],
)
def test_an_impossible_evaluation_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EvaluationSettings.model_validate({**EVALUATION, **changes})


def test_every_line_of_a_recipe_says_what_it_means() -> None:
    paths = [*CAMPAIGNS_FOLDER.glob("*/experiments/*.yaml"), *CAMPAIGNS_FOLDER.glob("*/evaluation.yaml")]
    assert len(paths) >= 7
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            groups = line.rstrip().endswith(":") or line.startswith(("  baseline:", "  single:", "  ensemble:"))
            assert groups or " # " in line, f"{path.name}: {line}"
