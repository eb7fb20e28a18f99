"""The bootstrap against scikit-learn, analytic errors and simulated clusters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lens_assets.statistics.bootstrap import (
    bootstrap_auc,
    bootstrap_auc_difference,
    cluster_bootstrap_rate,
    delong_standard_error,
    roc_auc,
)


def _sample(n: int, seed: int, decimals: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.2
    labels[:2] = [True, False]
    scores = np.round(rng.normal(labels * 1.2, 1.0), decimals)
    return scores, labels.astype(int)


@settings(deadline=None)
@given(st.integers(4, 300), st.integers(0, 10_000), st.sampled_from([0, 1, 12]))
def test_auc_is_scikit_learns_with_ties_and_weights(n: int, seed: int, decimals: int) -> None:
    scores, labels = _sample(n, seed, decimals)
    weights = np.random.default_rng(seed).random(n) + 0.1
    assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    weighted = roc_auc_score(labels, scores, sample_weight=weights)
    assert roc_auc(scores, labels, weights) == pytest.approx(weighted, abs=1e-12)


def test_every_resample_is_the_auc_of_the_drawn_rows() -> None:
    scores, labels = _sample(120, 3, decimals=1)
    estimate = bootstrap_auc(scores, labels, np.random.default_rng(9), resamples=40)
    rng = np.random.default_rng(9)
    drawn = [rng.integers(0, 120, 120) for _ in range(40)]
    direct = [roc_auc_score(labels[rows], scores[rows]) for rows in drawn]
    assert estimate.lower == pytest.approx(np.quantile(direct, 0.025), abs=1e-12)
    assert estimate.upper == pytest.approx(np.quantile(direct, 0.975), abs=1e-12)


def test_bootstrap_and_delong_agree_for_independent_objects() -> None:
    scores, labels = _sample(4000, 5)
    estimate = bootstrap_auc(scores, labels, np.random.default_rng(1), resamples=400)
    assert estimate.standard_error == pytest.approx(delong_standard_error(scores, labels), rel=0.12)


def test_a_transformed_score_has_the_same_auc_and_no_difference() -> None:
    scores, labels = _sample(500, 2)
    difference = bootstrap_auc_difference(scores, np.tanh(scores), labels, np.random.default_rng(0), resamples=50)
    assert (difference.value, difference.lower, difference.upper) == (0.0, 0.0, 0.0)


def test_an_auc_without_a_class_is_nan_and_a_bad_score_is_refused() -> None:
    assert np.isnan(roc_auc([0.1, 0.2], [0, 0]))
    assert np.isnan(bootstrap_auc([0.1, 0.2], [1, 1], np.random.default_rng(0), resamples=5).lower)
    with pytest.raises(ValueError, match="1 of 2 scores are not finite"):
        roc_auc([0.1, np.nan], [0, 1])


def test_clusters_widen_the_interval_by_the_design_effect() -> None:
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(100), 20)
    detected = (rng.random(100) < 0.3)[groups]
    by_host = cluster_bootstrap_rate(detected, groups, np.random.default_rng(0))
    by_row = cluster_bootstrap_rate(detected, np.arange(2000), np.random.default_rng(0))
    assert by_host.value == by_row.value == detected.mean()
    assert by_host.standard_error / by_row.standard_error == pytest.approx(np.sqrt(20), rel=0.1)


def test_the_cluster_interval_covers() -> None:
    hits = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        rates = rng.beta(3, 7, 60)
        groups = np.repeat(np.arange(60), 10)
        estimate = cluster_bootstrap_rate(rng.random(600) < rates[groups], groups, rng, resamples=300)
        hits += estimate.lower <= 0.3 <= estimate.upper
    assert hits >= 180


def test_order_of_rows_does_not_matter_to_groups() -> None:
    rng = np.random.default_rng(8)
    k, groups, shuffled = rng.random(90) < 0.4, rng.integers(0, 12, 90), rng.permutation(90)
    first = cluster_bootstrap_rate(k, groups, np.random.default_rng(1))
    assert cluster_bootstrap_rate(k[shuffled], groups[shuffled], np.random.default_rng(1)) == first


def test_weights_and_trials_make_the_rate_a_ratio_of_sums() -> None:
    estimate = cluster_bootstrap_rate([1, 0], [0, 1], np.random.default_rng(0), n_per_row=[2, 4], weights=[3, 1])
    assert estimate.value == pytest.approx(3 / 10)


def test_nothing_and_a_single_group_promise_nothing() -> None:
    empty = cluster_bootstrap_rate([], [], np.random.default_rng(0))
    assert np.isnan(empty.value)
    single = cluster_bootstrap_rate([1, 0], ["host", "host"], np.random.default_rng(0))
    assert (single.value, single.lower, single.upper) == (0.5, 0.0, 1.0)
