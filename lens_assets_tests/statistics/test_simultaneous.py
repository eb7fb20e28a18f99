"""Joint intervals: what they enclose together, and what the family costs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from lens_assets.statistics.simultaneous import simultaneous_means


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


def test_all_intervals_hold_at_once_as_often_as_stated() -> None:
    """Eight columns of clustered rows, their true mean 0: at least one interval misses it in about 5% of the tries."""
    missed = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        members = np.repeat(np.arange(60), 4)
        values = random.normal(size=(60, 8))[members] + random.normal(size=(240, 8))
        found = simultaneous_means(values, members, _rng(seed), 300)
        missed += bool((np.abs(found.means) > found.half_widths).any())
    assert 2 <= missed <= 22


def test_one_column_is_its_ordinary_interval_and_independent_ones_cost_bonferroni() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(600, 20))
    alone = simultaneous_means(values[:, :1], np.arange(600), _rng(1), 2000)
    assert alone.critical == pytest.approx(norm.isf(0.025), abs=0.08)
    assert alone.standard_errors[0] == pytest.approx(1 / np.sqrt(600), rel=0.05)
    many = simultaneous_means(values, np.arange(600), _rng(1), 2000)
    assert many.critical == pytest.approx(norm.isf(0.025 / 20), abs=0.15)
    same = simultaneous_means(values[:, [0] * 20], np.arange(600), _rng(1), 2000)
    assert same.critical == pytest.approx(alone.critical, abs=0.1)


def test_rows_outside_a_column_do_not_count_and_clusters_widen() -> None:
    values = np.column_stack([np.r_[np.ones(10), np.full(90, np.nan)], np.tile([0.0, 1.0], 50)])
    found = simultaneous_means(values, np.arange(100) // 5, _rng(2), 200)
    assert found.means.tolist() == [1.0, 0.5]
    assert found.n.tolist() == [10, 100]
    assert found.n_clusters.tolist() == [2, 20]
    host = np.repeat(np.random.default_rng(3).normal(size=20), 5)[:, None]
    wide, narrow = (simultaneous_means(host, by, _rng(4), 500) for by in (np.arange(100) // 5, np.arange(100)))
    assert wide.standard_errors[0] == pytest.approx(np.sqrt(5) * narrow.standard_errors[0], rel=0.15)


def test_what_never_differs_is_known_to_one_row_and_one_cluster_says_nothing() -> None:
    still = simultaneous_means(np.zeros((50, 1)), np.arange(50), _rng(5), 100)
    assert still.standard_errors.tolist() == [0.02]
    lone = simultaneous_means(np.ones((5, 1)), np.zeros(5), _rng(5), 100)
    assert np.isnan(lone.half_widths).all()
    assert np.isnan(simultaneous_means(np.zeros((0, 2)), [], _rng(5), 100).means).all()
