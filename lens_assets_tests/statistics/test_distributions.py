"""Weighted quantiles and KS against numpy, scipy and repetition of rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lens_assets.statistics.distributions import effective_number, weighted_ks, weighted_quantile

integers = st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 4)), min_size=1, max_size=40)


@given(integers, st.floats(0.01, 0.99))
def test_a_weight_is_a_repetition(rows: list[tuple[int, int]], quantile: float) -> None:
    values, weights = (np.array(column) for column in zip(*rows, strict=True))
    repeated = np.sort(np.repeat(values, weights))
    reached = np.arange(1, len(repeated) + 1) / len(repeated)
    expected = repeated[np.argmax(reached >= quantile - 1e-12)]
    assert weighted_quantile(values, quantile, weights) == expected


@settings(deadline=None)
@given(st.integers(5, 200), st.integers(5, 200), st.integers(0, 1000))
def test_ks_with_unit_weights_is_scipys(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n).round(1), rng.normal(0.3, size=m).round(1)
    reference = stats.ks_2samp(a, b, method="asymp")
    assert weighted_ks(a, b) == pytest.approx((reference.statistic, reference.pvalue), abs=1e-9)


def test_ks_distance_of_weighted_rows_is_that_of_repeated_rows() -> None:
    rng = np.random.default_rng(2)
    a, b, weights = rng.normal(size=50), rng.normal(size=70), rng.integers(1, 4, 50)
    assert weighted_ks(a, b, weights)[0] == pytest.approx(weighted_ks(np.repeat(a, weights), b)[0], abs=1e-12)


def test_reweighting_removes_a_difference_that_weights_explain() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1, 4000), rng.normal(0.5, 1, 4000)
    explained = np.exp(0.5 * a - 0.125)  # density ratio N(0.5, 1) / N(0, 1)
    assert weighted_ks(a, b)[1] < 1e-20
    assert weighted_ks(a, b, explained)[1] > 0.01
    assert effective_number(explained) < len(a)


def test_missing_values_are_left_out_and_nothing_gives_nan() -> None:
    assert weighted_quantile([1.0, np.nan, 3.0], 0.5) == 1.0
    assert np.isnan(weighted_quantile([np.nan], [0.5])).all()
    assert np.isnan(weighted_ks([], [1.0])).all()
    with pytest.raises(ValueError, match="negative"):
        weighted_quantile([1.0, 2.0], 0.5, [1, -1])
