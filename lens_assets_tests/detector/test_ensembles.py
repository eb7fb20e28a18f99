"""Combiners against their formulas and scikit-learn; diversity against counting."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from lens_assets.detector.ensembles import (
    Combiner,
    aligned_scores,
    best_member,
    combine,
    diversity,
    fit_combiner,
    member_logits,
)

probability = st.floats(0, 1)


def _members(seed: int = 0, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.4
    logits = 1.5 * labels[:, None] + rng.normal(size=(n, 3)) * np.array([0.8, 1.5, 3.0]) - 0.5
    return np.round(1 / (1 + np.exp(-logits)), 6), labels.astype(int)


@given(st.lists(st.tuples(probability, probability), min_size=1, max_size=20))
def test_means_lie_between_their_members(rows: list[tuple[float, float]]) -> None:
    columns = np.array(rows)
    for kind in ("mean_probability", "mean_logit"):
        score = combine(columns, Combiner(kind))
        assert (score >= columns.min(axis=1) - 2e-6).all()
        assert (score <= columns.max(axis=1) + 2e-6).all()
        np.testing.assert_allclose(score, combine(columns[:, ::-1], Combiner(kind)), atol=1e-12)


def test_equal_members_change_nothing() -> None:
    one = np.linspace(0.01, 0.99, 30)
    for kind in ("mean_probability", "mean_logit"):
        np.testing.assert_allclose(combine(np.stack([one, one], 1), Combiner(kind)), one, atol=1e-12)


def test_stacking_is_the_regression_on_logits_and_prefers_the_better_member() -> None:
    probabilities, labels = _members()
    combiner = fit_combiner("stacking", probabilities, labels)
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(member_logits(probabilities), labels)
    np.testing.assert_allclose(
        combine(probabilities, combiner), reference.predict_proba(member_logits(probabilities))[:, 1], atol=1e-6
    )
    weights = combiner.coefficients
    assert weights[0] > weights[1] > weights[2]
    assert Combiner.from_content(combiner.content()) == combiner


def test_certain_scores_stay_finite() -> None:
    assert np.isfinite(member_logits([0.0, 1.0])).all()


def test_wrong_uses_are_refused() -> None:
    probabilities, labels = _members(n=10)
    with pytest.raises(ValueError, match="expected one of"):
        Combiner("median")
    with pytest.raises(ValueError, match="got 3 members"):
        combine(probabilities, Combiner("single"))
    with pytest.raises(ValueError, match="stacking of 2 members got 3"):
        combine(probabilities, Combiner("stacking", (1.0, 1.0), 0.0))
    with pytest.raises(ValueError, match="both classes"):
        fit_combiner("stacking", probabilities, np.zeros_like(labels))


def test_diversity_counts() -> None:
    table = diversity({"a": [0.9, 0.9, 0.1, 0.1], "b": [0.9, 0.1, 0.9, 0.1]}, [1, 1, 1, 1], {"a": 0.5, "b": 0.5})
    row = table[table["label"] == 1].iloc[0]
    assert (row["both"], row["first_only"], row["second_only"], row["neither"]) == (1, 1, 1, 1)
    assert row["disagreement"] == 0.5
    assert row["q_statistic"] == 0.0
    assert row["spearman"] == pytest.approx(0.0)


def test_members_are_joined_by_object_not_by_row() -> None:
    first = pd.DataFrame({"galaxy_id": ["b", "a", "c"], "label": [1, 0, 1], "score": [0.2, 0.1, 0.3]})
    second = pd.DataFrame({"galaxy_id": ["a", "b"], "label": [0, 1], "score": [0.7, 0.8]})
    joined = aligned_scores({"x": first, "y": second})
    assert joined[["galaxy_id", "x", "y"]].to_numpy().tolist() == [["a", 0.1, 0.7], ["b", 0.2, 0.8]]


def test_the_best_member_is_the_best_and_the_first_of_equals() -> None:
    labels = [0, 0, 1, 1]
    assert best_member({"bad": [4, 3, 2, 1], "good": [1, 2, 3, 4]}, labels) == "good"
    assert best_member({"one": [1, 2, 3, 4], "two": [1, 2, 3, 4]}, labels) == "one"
