"""FPR thresholds against the definition, tried one candidate at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.statistics.thresholds import fpr_threshold

scores_with_ties = st.lists(st.integers(0, 12).map(lambda i: i / 12), min_size=1, max_size=80)


@given(scores_with_ties, st.sampled_from([0.5, 0.25, 0.1, 0.01]))
def test_it_is_the_lowest_cut_that_meets_the_target(scores: list[float], target: float) -> None:
    found = fpr_threshold(scores, target)
    values = np.array(scores)
    assert (values >= found.threshold).mean() <= target + 1e-12
    just_below = np.nextafter(found.threshold, -np.inf)
    assert (values >= just_below).mean() > target
    assert found.n_above == (values >= found.threshold).sum()
    assert found.threshold_lower <= found.threshold <= found.threshold_upper


def test_rounding_does_not_lose_an_object() -> None:
    assert fpr_threshold(np.linspace(0, 1, 300), 0.01).n_above == 3


@pytest.mark.parametrize(("n", "sufficient"), [(2_900, False), (3_000, True)])
def test_a_cut_needs_thirty_objects_above_it(n: int, sufficient: bool) -> None:
    assert fpr_threshold(np.random.default_rng(0).random(n), 0.01).sufficient is sufficient


def test_the_bracket_holds_the_true_quantile() -> None:
    hits = 0
    for seed in range(300):
        found = fpr_threshold(np.random.default_rng(seed).random(2000), 0.01)
        hits += found.threshold_lower <= 0.99 <= found.threshold_upper
    assert hits >= 280


def test_unscored_stamps_are_refused() -> None:
    with pytest.raises(ValueError, match="1 scores not finite"):
        fpr_threshold([0.1, np.nan], 0.1)
    with pytest.raises(ValueError, match="no negatives"):
        fpr_threshold([], 0.1)
