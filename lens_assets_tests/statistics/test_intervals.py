"""Intervals of rates against scipy's and published values, and their invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lens_assets.statistics.intervals import beta_interval, wilson_interval

counts = st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from([0.68, 0.95]))
def test_wilson_is_scipys(pair: tuple[int, int], level: float) -> None:
    k, n = pair
    if n == 0:
        assert wilson_interval(k, n, level) == (0.0, 1.0)
        return
    reference = stats.binomtest(k, n).proportion_ci(level, method="wilson")
    lower, upper = wilson_interval(k, n, level)
    assert lower == pytest.approx(reference.low, abs=1e-12)
    assert upper == pytest.approx(reference.high, abs=1e-12)


def test_a_published_rate_has_its_wilson_interval() -> None:
    assert wilson_interval(100, 112, 0.95) == pytest.approx((0.822, 0.938), abs=5e-4)


@given(counts)
def test_intervals_hold_the_rate_and_mirror(pair: tuple[int, int]) -> None:
    k, n = pair
    for interval in (beta_interval, wilson_interval):
        lower, upper = interval(k, n, 0.95)
        assert 0.0 <= lower < upper <= 1.0
        mirrored = interval(n - k, n, 0.95)
        assert (1.0 - upper, 1.0 - lower) == pytest.approx(mirrored, abs=1e-9)
        if n:
            assert lower - 0.03 <= k / n <= upper + 0.03


def test_the_uniform_prior_interval_is_the_quantile_of_its_posterior() -> None:
    rng = np.random.default_rng(1)
    posterior = rng.beta(1 + 7, 1 + 13, 2_000_000)
    assert beta_interval(7, 20, 0.68) == pytest.approx(np.quantile(posterior, [0.16, 0.84]), abs=1e-3)


def test_intervals_broadcast() -> None:
    lower, upper = beta_interval(np.array([0, 5, 10]), 10, 0.95)
    assert lower.shape == upper.shape == (3,)
    assert (np.diff(lower) > 0).all()


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (np.nan, 5)])
def test_impossible_counts_are_refused(k: float, n: float) -> None:
    with pytest.raises(ValueError, match="0 <= k <= n"):
        wilson_interval(k, n, 0.95)


def test_a_percentage_as_level_is_refused() -> None:
    with pytest.raises(ValueError, match=r"level is 95"):
        beta_interval(1, 2, 95)
