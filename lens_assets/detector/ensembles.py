"""How the outputs of several members become one score, fitted on validation objects only, and how much they differ."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

FloatArray = NDArray[np.float64]
KINDS = ("single", "mean_probability", "mean_logit", "stacking")
# Scores are rounded to 1e-6, so that is the nearest to certainty that a logit may be taken of.
_NEAREST_TO_CERTAIN = 1e-6
# Ridge strength of the stacking fit (sklearn's C): logits of good members are collinear.
_STACKING_C = 1.0


@dataclass(frozen=True)
class Combiner:
    """A rule from member probabilities to a score; coefficients and intercept are those of stacking."""

    kind: str
    coefficients: tuple[float, ...] = ()
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"combiner {self.kind!r}; expected one of {', '.join(KINDS)}")

    def content(self) -> dict[str, Any]:
        """Return the combiner as plain values, for storage and digests."""
        return {"kind": self.kind, "coefficients": list(self.coefficients), "intercept": self.intercept}

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Combiner:
        """Return the combiner of stored values."""
        return cls(str(content["kind"]), tuple(content["coefficients"]), float(content["intercept"]))


SINGLE = Combiner("single")


def member_logits(probabilities: ArrayLike) -> FloatArray:
    """Return log-odds, kept finite at scores that were rounded to 0 or 1."""
    clipped = np.clip(np.asarray(probabilities, np.float64), _NEAREST_TO_CERTAIN, 1.0 - _NEAREST_TO_CERTAIN)
    return np.asarray(logit(clipped), dtype=np.float64)


def combine(probabilities: ArrayLike, combiner: Combiner) -> FloatArray:
    """Return scores (N,) of member probabilities (N, M)."""
    columns = np.asarray(probabilities, dtype=np.float64)
    if combiner.kind == "single":
        if columns.shape[1] != 1:
            raise ValueError(f"combiner single got {columns.shape[1]} members; expected 1")
        return columns[:, 0]
    if combiner.kind == "mean_probability":
        return columns.mean(axis=1)
    logits = member_logits(columns)
    if combiner.kind == "mean_logit":
        return np.asarray(expit(logits.mean(axis=1)))
    if columns.shape[1] != len(combiner.coefficients):
        raise ValueError(f"stacking of {len(combiner.coefficients)} members got {columns.shape[1]}")
    return np.asarray(expit(logits @ np.asarray(combiner.coefficients) + combiner.intercept))


def fit_combiner(kind: str, probabilities: ArrayLike, labels: ArrayLike) -> Combiner:
    """Return a combiner; stacking is a logistic regression of labels on member log-odds.

    Stacking: Wolpert 1992, Neural Networks 5, 241. `probabilities` (N, M) and `labels` (N,) must be those of
    validation objects: members have seen the training ones, and the test ones measure the result. Coefficients are
    rounded to 1e-9, far below their errors, so that solver noise is in no digest.
    """
    if kind != "stacking":
        return Combiner(kind)
    positive = np.asarray(labels).astype(int)
    if len(np.unique(positive)) < 2:
        raise ValueError("stacking needs validation objects of both classes")
    fit = LogisticRegression(C=_STACKING_C, tol=1e-10, max_iter=10_000).fit(member_logits(probabilities), positive)
    coefficients = tuple(float(np.round(value, 9)) for value in fit.coef_[0])
    return Combiner("stacking", coefficients, float(np.round(fit.intercept_[0], 9)))


def diversity(probabilities: Mapping[str, ArrayLike], labels: ArrayLike, cuts: Mapping[str, float]) -> pd.DataFrame:
    """Return one row per pair of members and class: how alike they rank and how often they disagree.

    `probabilities` maps member to scores (N,), `cuts` member to its threshold. Columns: first, second, label, n,
    spearman, both, first_only, second_only, neither, disagreement (share on which exactly one detects), q_statistic
    (Yule's Q; Kuncheva and Whitaker 2003, Machine Learning 51, 181; 1 is alike, 0 independent).
    """
    positive = np.asarray(labels).astype(bool)
    rows = []
    for first, second in itertools.combinations(probabilities, 2):
        for label in (1, 0):
            chosen = positive == bool(label)
            a, b = (np.asarray(probabilities[name], np.float64)[chosen] for name in (first, second))
            rows.append(
                {"first": first, "second": second, "label": label} | _agreement(a, b, cuts[first], cuts[second])
            )
    columns = ["first", "second", "label", "n", "spearman", "both", "first_only", "second_only", "neither"]
    return pd.DataFrame(rows, columns=[*columns, "disagreement", "q_statistic"])


def _agreement(a: FloatArray, b: FloatArray, cut_a: float, cut_b: float) -> dict[str, float]:
    in_a, in_b = a >= cut_a, b >= cut_b
    both, neither = int((in_a & in_b).sum()), int((~in_a & ~in_b).sum())
    first_only, second_only = int((in_a & ~in_b).sum()), int((~in_a & in_b).sum())
    varied = len(a) > 1 and len(np.unique(a)) > 1 and len(np.unique(b)) > 1
    same, crossed = both * neither, first_only * second_only
    return {
        "n": len(a),
        "spearman": float(stats.spearmanr(a, b).statistic) if varied else float("nan"),
        "both": both,
        "first_only": first_only,
        "second_only": second_only,
        "neither": neither,
        "disagreement": (first_only + second_only) / len(a) if len(a) else float("nan"),
        "q_statistic": (same - crossed) / (same + crossed) if same + crossed else float("nan"),
    }


def best_member(probabilities: Mapping[str, ArrayLike], labels: ArrayLike) -> str:
    """Return the member with the best AUC on the given (validation) objects; the first of equals."""
    from lens_assets.statistics.bootstrap import roc_auc

    names: Sequence[str] = list(probabilities)
    return max(names, key=lambda name: (roc_auc(probabilities[name], labels), -names.index(name)))


def aligned_scores(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row per object that every member scored, with a column of scores for each member.

    Each frame has galaxy_id and score, and the columns that describe the object; these are taken from the first.
    """
    names = list(scores)
    joined = scores[names[0]].rename(columns={"score": names[0]})
    for name in names[1:]:
        joined = joined.merge(scores[name][["galaxy_id", "score"]].rename(columns={"score": name}), on="galaxy_id")
    return joined.sort_values("galaxy_id", kind="stable", ignore_index=True)
