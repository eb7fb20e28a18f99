"""Quantiles, distances, bootstrap p-values and Holm's procedure against scipy, numpy and numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ks_2samp, kstest

from lens_assets.realism.comparisons import (
    Resamples,
    holm,
    kolmogorov_smirnov,
    quantile_pairs,
    resample,
    sample_of,
    weighted_quantiles,
)
from lens_assets.realism.matching import match
from lens_assets_tests.realism.tables import demo_realism, draw_observables


def even_resamples(anchors: int, injections: int, count: int, seed: int) -> Resamples:
    """Plain multinomial resamples of two unweighted samples."""
    random = np.random.default_rng(seed)
    draw = lambda size: random.multinomial(size, np.full(size, 1 / size), size=count).astype(float)  # noqa: E731
    return Resamples(draw(anchors), draw(injections))


def even_sample(first, second, seed=0, count=500):
    resamples = even_resamples(len(first), len(second), count, seed)
    return sample_of(first, second, np.ones(len(second)), resamples)


@pytest.mark.parametrize("seed", range(5))
def test_with_equal_weights_the_distance_is_that_of_scipy(seed):
    random = np.random.default_rng(seed)
    first, second = random.normal(size=60), random.normal(0.3, 1.2, size=90)
    distance, _ = kolmogorov_smirnov(even_sample(first, second))
    assert distance == pytest.approx(ks_2samp(first, second).statistic, abs=0.5 / 90)


def test_integer_weights_are_repetitions():
    random = np.random.default_rng(3)
    first, second, weights = random.normal(size=50), random.normal(size=40), random.integers(1, 4, 40)
    resamples = even_resamples(50, 40, 500, 0)
    distance, _ = kolmogorov_smirnov(sample_of(first, second, weights.astype(float), resamples))
    repeated = np.repeat(second, weights)
    assert distance == pytest.approx(ks_2samp(first, repeated).statistic, abs=0.03)


def test_the_bootstrap_p_value_is_uniform_when_both_come_from_one_law():
    p_values = []
    for seed in range(150):
        random = np.random.default_rng([11, seed])
        p_values.append(kolmogorov_smirnov(even_sample(random.normal(size=80), random.normal(size=120), seed))[1])
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert binomtest(int((np.array(p_values) < 0.05).sum()), 150, 0.05).pvalue > 0.01


def test_a_margin_forgives_a_distance_within_it_and_no_other():
    random = np.random.default_rng(5)
    sample = even_sample(random.normal(size=400), random.normal(0.9, 1, size=400))
    p_values = [kolmogorov_smirnov(sample, margin)[1] for margin in (0.0, 0.05, 0.3, 0.49)]
    assert p_values == sorted(p_values)
    assert p_values[1] < 0.005 and p_values[3] > 0.5


def test_missing_values_and_rows_of_other_strata_do_not_count():
    first, second = np.array([1.0, np.nan, 3.0]), np.array([1.0, 2.0, np.nan, 4.0])
    sample = sample_of(
        first, second, np.ones(4), even_resamples(3, 4, 10, 0), None, np.array([True, False, True, True])
    )
    assert sample.anchors.tolist() == [1.0, 3.0]
    assert sample.injections.tolist() == [1.0, 4.0]
    assert sample.injection_weights.shape == (10, 2)


def test_equal_weights_give_hazens_quantiles():
    values = np.random.default_rng(0).normal(size=31)
    wanted = [0.1, 0.5, 0.9]
    found = weighted_quantiles(values, np.ones(31), wanted)
    np.testing.assert_allclose(found, np.quantile(values, wanted, method="hazen"))


def test_a_weight_moves_the_median_to_where_the_weight_is():
    assert weighted_quantiles(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 100.0]), [0.5])[0] > 1.9


def test_resampled_quantiles_scatter_as_theory_says():
    random = np.random.default_rng(1)
    sample = even_sample(random.normal(size=400), random.normal(size=400), count=800)
    _, _, anchors, injections = quantile_pairs(sample, (0.5,))
    assert np.std(anchors) == pytest.approx(1.253 / np.sqrt(400), rel=0.4)
    assert np.std(injections) == pytest.approx(1.253 / np.sqrt(400), rel=0.4)


def test_hosts_are_resampled_whole():
    settings = demo_realism()
    random = np.random.default_rng(2)
    tuning, shown = draw_observables(60, random), draw_observables(80, random)
    ones = [frame.assign(type_early=0.0) for frame in (tuning, shown)]
    matching = match(*ones, settings.reweighting)
    hosts = np.repeat([f"h{k}" for k in range(20)], 4).astype(object)
    weights = resample(matching, 30, hosts, 50, 1).injection_weights
    absent = weights.reshape(50, 20, 4) == 0
    assert absent.any() and (absent.all(axis=2) == absent.any(axis=2)).all()


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 against 0.05/4, 0.05/3, 0.05/2, 0.05/1: the first two fall, the third stops it.
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05).tolist() == [True, False, False, True]
    assert holm([0.04, 0.045, 0.049], 0.05).tolist() == [False, False, False]
    assert holm([0.016, 0.024, 0.049], 0.05).tolist() == [True, True, True]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_lies_between_bonferroni_and_no_correction(p_values, level):
    rejected, p = holm(p_values, level), np.array(p_values)
    assert not (rejected & (p > level)).any()
    assert rejected[p <= level / len(p)].all()
