"""Small stamps with rings, and a recipe that learns them in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from lens_assets.campaign.stages.experiments import ExperimentSettings
from lens_assets.detector.data import LabelledStamps

PIXELS = 41

RECIPE = {
    "title": "test",
    "role": "candidate",
    "architecture": {"family": "bottleneck_resnet", "width": 8, "stem_stride": 2, "dropout": 0.1},
    "preprocessing": {
        "input_pixels": PIXELS,
        "stamp_pixels": 24,
        "annulus_inner_px": 13.0,
        "annulus_outer_px": 18.0,
        "clip": 50.0,
        "asinh_softening": 3.0,
        "mask": "none",
        "core_radius_px": 3.0,
        "arc_radius_px": 13.0,
    },
    "augmentation": {"dihedral": True, "max_shift_px": 2, "core_masking": None},
    "training": {
        "design": "baseline",
        "seed": 5,
        "epochs": 6,
        "batch_size": 32,
        "learning_rate": 0.005,
        "weight_decay": 0.01,
        "warmup_epochs": 1.0,
        "positive_weight": 1.0,
        "held_out_fold": None,
        "tier_b_label_smoothing": 0.05,
        "gradient_norm": 5.0,
        "precision": "bfloat16",
        "threads": 1,
    },
    "scoring": {"batch_size": 32},
}


def recipe(**changes: dict[str, object]) -> ExperimentSettings:
    """Return the test recipe with groups changed: recipe(training={"epochs": 2})."""
    content = {
        name: {**value, **changes.get(name, {})} if isinstance(value, dict) else value for name, value in RECIPE.items()
    }
    return ExperimentSettings.model_validate(content)


def sky(count: int, seed: int, share: float = 0.35) -> tuple[np.ndarray, np.ndarray]:
    """Return stamps (N, 3, 41, 41) in nanomaggies, all with a galaxy, some with a blue partial ring, and labels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < share).astype(np.float32)
    y, x = np.indices((PIXELS, PIXELS)) - PIXELS // 2
    radius = np.hypot(x, y)
    sigma = np.array([0.0015, 0.003, 0.007])[:, None, None]
    stamps = rng.normal(0.0, 1.0, (count, 3, PIXELS, PIXELS)) * sigma
    for row in range(count):
        host = rng.uniform(0.1, 0.4) * np.exp(-radius / rng.uniform(1.5, 2.5))
        stamps[row] += host * np.array([0.3, 1.0, 1.6])[:, None, None]
        if labels[row]:
            arc = np.exp(-0.5 * ((radius - rng.uniform(5, 8)) / 1.2) ** 2)
            turned = np.cos(np.arctan2(y, x) - rng.uniform(0, 2 * np.pi)) > 0
            stamps[row] += arc * turned * rng.uniform(0.015, 0.03) * np.array([1.0, 1.2, 1.2])[:, None, None]
    return stamps.astype(np.float32), labels


def labelled(stamps: np.ndarray, labels: np.ndarray, prefix: str) -> LabelledStamps:
    """Return labelled stamps held in memory; positives alternate between tiers A and B."""
    ids = [f"{prefix}{row}" for row in range(len(labels))]
    tiers = [("A" if row % 2 else "B") if label else "N1" for row, label in enumerate(labels)]
    return LabelledStamps(ids, labels, np.ones(len(labels), np.float32), tiers, lambda rows: stamps[rows])


@pytest.fixture(scope="session")
def training_stamps() -> LabelledStamps:
    return labelled(*sky(320, 1), "t")


@pytest.fixture(scope="session")
def validation_stamps() -> LabelledStamps:
    return labelled(*sky(120, 2), "v")
