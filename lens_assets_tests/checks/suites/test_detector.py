"""The suites of the detector group pass on good tables and fail, by name, on damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lens_assets.campaign.campaign import Campaign
from lens_assets.checks.great_expectations import validate
from lens_assets.checks.suites.detector import SUITES
from lens_assets.detector.comparison import compare
from lens_assets.detector.evaluation import metric_table, threshold_table
from lens_assets_tests.detector.test_evaluation import SETTINGS

CAMPAIGN = Campaign("mini", Path("mini"), {"evaluation": SETTINGS}, {}, {})


def _scored(seed: int) -> pd.DataFrame:
    rng, n = np.random.default_rng(seed), 2400
    label = (np.random.default_rng(1).random(n) < 0.3).astype(int)
    frame = pd.DataFrame(
        {"galaxy_id": [f"g{row}" for row in range(n)], "cutout_path": [f"s#{row}" for row in range(n)]}
    )
    frame["label"], frame["split"] = label, np.where(np.arange(n) % 2 == 0, "val", "test")
    frame["tier"] = np.where(label == 1, "A", "N1")
    frame["pool"] = np.where(label == 1, None, "N1")
    frame["score"] = np.round(1 / (1 + np.exp(-(2.0 * label + rng.normal(size=n) - 1))), 6)
    frame["healpix_128"], frame["sampling_weight"], frame["evaluation_only"] = np.arange(n) % 40, 1.0, False
    return frame


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    first, second = _scored(2), _scored(3)
    thresholds = threshold_table(first[first["split"] == "val"], SETTINGS)
    frozen = thresholds.assign(detector="baseline", digest="a" * 64, preprocessing_digest="b" * 64)
    history = pd.DataFrame({"epoch": [1, 2], "validation_auc": [0.6, 0.9], "training_loss": [0.7, 0.3]})
    return {
        "trained_model": history,
        "scores": first,
        "evaluation_report": metric_table(first, thresholds, SETTINGS),
        "ensemble_report": compare({"one": first, "two": second}, ["one", "two"], SETTINGS)[0],
        "frozen_detector": frozen,
        "frozen_detector_audited_threshold": frozen,
    }


@pytest.mark.parametrize("name", list(SUITES))
def test_a_good_table_passes(name: str, tables: dict[str, pd.DataFrame]) -> None:
    failed = [outcome for outcome in validate(tables[name], SUITES[name], CAMPAIGN) if not outcome.passed]
    assert failed == []


@pytest.mark.parametrize(
    ("name", "expected"), [(name, key) for name, suite in SUITES.items() for key in suite.corruptions]
)
def test_a_damaged_table_fails_by_name(name: str, expected: str, tables: dict[str, pd.DataFrame]) -> None:
    damaged = SUITES[name].corruptions[expected](tables[name].copy())
    outcomes = validate(damaged, SUITES[name], CAMPAIGN)
    failed = {f"{outcome.expectation}:{outcome.column}" for outcome in outcomes if not outcome.passed}
    assert expected in failed
    assert not [outcome for outcome in outcomes if outcome.error]
