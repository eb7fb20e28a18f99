"""The effective number of a weighted sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.statistics.distributions import effective_number


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=40))
def test_between_one_and_the_rows_and_the_rows_when_all_count_the_same(weights: list[float]) -> None:
    assert 1.0 - 1e-9 <= effective_number(weights) <= len(weights) * (1.0 + 1e-9)
    assert effective_number(np.full(len(weights), weights[0])) == pytest.approx(len(weights))


def test_it_is_what_the_variance_of_a_weighted_mean_says() -> None:
    rng = np.random.default_rng(3)
    weights = rng.exponential(size=40)
    means = (rng.normal(size=(20_000, 40)) * weights).sum(axis=1) / weights.sum()
    assert effective_number(weights) == pytest.approx(1.0 / means.var(), rel=0.05)


def test_nothing_counts_as_nothing() -> None:
    assert effective_number([]) == effective_number([0.0, 0.0]) == 0.0
