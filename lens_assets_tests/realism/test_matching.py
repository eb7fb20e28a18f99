"""The density ratio: a known one is recovered, balance improves, weights stay bounded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lens_assets.campaign.stages.realism import ReweightingSettings
from lens_assets.realism.matching import effective_size, match, with_matching_columns

SETTINGS = ReweightingSettings(
    covariates=("a", "b"), squared=("a",), ridge=1.0, maximum_weight_ratio=10.0, minimum_effective=60.0
)


def normal(count: int, mean: float, sigma: float, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({"a": random.normal(mean, sigma, count), "b": random.normal(size=count)})


def test_a_known_density_ratio_is_recovered():
    anchors, injections = normal(4000, 0.5, 0.8, 0), normal(4000, 0.0, 1.0, 1)
    weights = match(anchors, injections, SETTINGS).weights
    a = injections["a"].to_numpy()
    true = np.exp(-0.5 * ((a - 0.5) / 0.8) ** 2 + 0.5 * a**2) / 0.8
    assert np.corrcoef(np.log(weights), np.log(true))[0, 1] > 0.99
    assert weights.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(np.median(weights / true), 1.0, rtol=0.1)


def test_balance_improves_in_mean_and_spread():
    anchors, injections = normal(150, 0.7, 0.6, 2), normal(400, 0.0, 1.0, 3)
    weights = match(anchors, injections, SETTINGS).weights
    a = injections["a"].to_numpy()
    mean = np.average(a, weights=weights)
    assert abs(mean - anchors["a"].mean()) < 0.1 < abs(a.mean() - anchors["a"].mean())
    spread = np.sqrt(np.average((a - mean) ** 2, weights=weights))
    assert abs(spread - anchors["a"].std()) < abs(a.std() - anchors["a"].std())


def test_like_samples_keep_nearly_all_their_weight():
    matching = match(normal(300, 0, 1, 4), normal(600, 0, 1, 5), SETTINGS)
    assert matching.effective > 0.9 * 600


def test_no_weight_exceeds_the_cap():
    anchors, injections = normal(300, 1.5, 0.4, 6), normal(600, 0, 1, 7)
    strict = SETTINGS.model_copy(update={"maximum_weight_ratio": 3.0})
    free, capped = (match(anchors, injections, settings).weights for settings in (SETTINGS, strict))
    assert free.max() > 3.5
    assert capped.max() / capped.mean() <= 3.01
    assert effective_size(capped) > effective_size(free)


def test_one_newton_step_of_the_same_counts_changes_nothing():
    matching = match(normal(100, 0.4, 1, 8), normal(200, 0, 1, 9), SETTINGS)
    np.testing.assert_allclose(matching.resampled(np.ones(100), np.ones(200)), matching.weights, rtol=1e-6)


def test_a_missing_value_counts_as_the_anchors_median():
    anchors, injections = normal(100, 0.4, 1, 8), normal(200, 0, 1, 9)
    holes, filled = injections.copy(), injections.copy()
    holes.loc[:9, "a"] = np.nan
    filled.loc[:9, "a"] = np.median(anchors["a"])
    first, second = (match(anchors, frame, SETTINGS).weights for frame in (holes, filled))
    np.testing.assert_allclose(first, second)


def test_a_covariate_that_nobody_measured_is_named():
    with pytest.raises(ValueError, match=r"\['b'\] are missing"):
        match(normal(10, 0, 1, 0)[["a"]], normal(10, 0, 1, 1), SETTINGS)


def test_early_types_and_kish():
    types = with_matching_columns(pd.DataFrame({"type": ["DEV", "SER ", "REX", "EXP"]}))["type_early"]
    assert types.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert effective_size(np.ones(7)) == 7.0
    assert effective_size(np.array([1.0, 0.0, 0.0])) == 1.0
    assert effective_size(np.zeros(3)) == 0.0
