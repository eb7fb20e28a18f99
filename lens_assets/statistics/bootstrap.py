"""Bootstrap of rates and of the area under the ROC curve, over rows or over whole groups (cells, hosts)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FloatArray = NDArray[np.float64]

# Resamples are drawn in blocks, so that memory does not grow with their number.
_BLOCK_ELEMENTS = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A statistic with its percentile interval. `n_groups` counts what was resampled (rows or clusters)."""

    value: float
    lower: float
    upper: float
    standard_error: float
    n_groups: int


def roc_auc(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the probability that a positive outranks a negative, ties counted as half; NaN if a class is empty.

    `scores`, `labels` (1 or 0) and `weights` have shape (N,).
    """
    ranks, positive, n_ranks = _ranked(scores, labels)
    rows = np.ones(len(ranks)) if weights is None else np.asarray(weights, dtype=np.float64)
    return float(_auc_of_counts(_counts(ranks, positive, n_ranks, rows), n_ranks))


def bootstrap_auc(
    scores: ArrayLike,
    labels: ArrayLike,
    rng: np.random.Generator,
    groups: ArrayLike | None = None,
    resamples: int = 500,
    level: float = 0.95,
) -> Estimate:
    """Return the AUC with its percentile interval from `resamples` bootstraps of rows, or of `groups` if given.

    Scores are ranked once; a resample is one bincount of ranks by label (Efron and Tibshirani 1993, chapter 13,
    for the percentile interval). Groups should be what is independent: split cells, hosts. Resamples that lose a
    class are dropped from the interval.
    """
    ranks, positive, n_ranks = _ranked(scores, labels)
    members, n_groups = _group_codes(groups, len(ranks))
    value = float(_auc_of_counts(_counts(ranks, positive, n_ranks, np.ones(len(ranks))), n_ranks))
    draws = [
        _auc_of_counts(_counts(ranks, positive, n_ranks, times[members]), n_ranks)
        for times in (_one_resample(rng, n_groups) for _ in range(resamples))
    ]
    return _estimate(value, np.asarray(draws), level, n_groups)


def bootstrap_auc_difference(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    rng: np.random.Generator,
    groups: ArrayLike | None = None,
    resamples: int = 500,
    level: float = 0.95,
) -> Estimate:
    """Return AUC(first) - AUC(second) on the same objects; both are resampled with the same draws."""
    ranked = [_ranked(scores, labels) for scores in (first, second)]
    n_rows = len(ranked[0][0])
    members, n_groups = _group_codes(groups, n_rows)

    def difference(times: FloatArray) -> float:
        a, b = (_auc_of_counts(_counts(*one, times), one[2]) for one in ranked)
        return float(a - b)

    draws = [difference(_one_resample(rng, n_groups)[members]) for _ in range(resamples)]
    return _estimate(difference(np.ones(n_rows)), np.asarray(draws), level, n_groups)


def delong_standard_error(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the analytic standard error of the AUC for independent objects.

    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837, by mid-ranks (Sun and Xu 2014, IEEE SPL 21,
    1389). It ignores clustering on the sky. NaN with fewer than two objects in a class.
    """
    values, positive = np.asarray(scores, np.float64), np.asarray(labels).astype(bool)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if min(n_positive, n_negative) < 2:
        return float("nan")
    all_ranks = stats.rankdata(values)
    above = (all_ranks[positive] - stats.rankdata(values[positive])) / n_negative
    below = 1.0 - (all_ranks[~positive] - stats.rankdata(values[~positive])) / n_positive
    return float(np.sqrt(above.var(ddof=1) / n_positive + below.var(ddof=1) / n_negative))


def cluster_bootstrap_rate(
    k_per_row: ArrayLike,
    groups: ArrayLike,
    rng: np.random.Generator,
    n_per_row: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """Return the rate sum(w k) / sum(w n) with a percentile interval from resampling whole groups.

    `k_per_row` holds successes of a row (0 or 1, or a count), `n_per_row` its trials (default 1), `weights` its
    weight (default 1); all of shape (N,). Groups are drawn with replacement, so that the interval carries the
    dependence inside a group (Davison and Hinkley 1997, section 3.8). No rows: value and interval are NaN. One
    group: the interval is [0, 1], since nothing was replicated.
    """
    successes = np.asarray(k_per_row, dtype=np.float64)
    trials = np.ones_like(successes) if n_per_row is None else np.asarray(n_per_row, dtype=np.float64)
    rows = np.ones_like(successes) if weights is None else np.asarray(weights, dtype=np.float64)
    members, n_groups = _group_codes(groups, len(successes))
    if n_groups == 0 or float((rows * trials).sum()) <= 0.0:
        return Estimate(float("nan"), float("nan"), float("nan"), float("nan"), n_groups)
    group_k = np.bincount(members, rows * successes, n_groups)
    group_n = np.bincount(members, rows * trials, n_groups)
    value = float(group_k.sum() / group_n.sum())
    if n_groups == 1:
        return Estimate(value, 0.0, 1.0, float("nan"), 1)
    draws = []
    for size in _blocks(resamples, n_groups):
        times = _resamples(rng, n_groups, size)
        with np.errstate(invalid="ignore", divide="ignore"):
            draws.append((times @ group_k) / (times @ group_n))
    return _estimate(value, np.concatenate(draws), level, n_groups)


def _ranked(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(labels).astype(bool)
    if values.shape != positive.shape or values.ndim != 1:
        raise ValueError(f"scores have shape {values.shape} and labels {positive.shape}; expected the same (N,)")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {len(values)} scores are not finite; drop those rows")
    unique, ranks = np.unique(values, return_inverse=True)
    return ranks.astype(np.int64), positive, len(unique)


def _counts(ranks: NDArray[np.int64], positive: NDArray[np.bool_], n_ranks: int, times: FloatArray) -> FloatArray:
    """Count negatives, then positives, at each rank: shape (2 n_ranks,)."""
    return np.bincount(ranks + n_ranks * positive, times, 2 * n_ranks).astype(np.float64, copy=False)


def _auc_of_counts(counts: FloatArray, n_ranks: int) -> np.float64:
    negatives, positives = counts[:n_ranks], counts[n_ranks:]
    pairs = negatives.sum() * positives.sum()
    if pairs == 0.0:
        return np.float64("nan")
    below = np.cumsum(negatives) - negatives / 2.0
    return np.float64((positives @ below) / pairs)


def _group_codes(groups: ArrayLike | None, n_rows: int) -> tuple[NDArray[np.int64], int]:
    if groups is None:
        return np.arange(n_rows, dtype=np.int64), n_rows
    unique, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(codes) != n_rows:
        raise ValueError(f"{len(codes)} groups for {n_rows} rows; expected one group a row")
    return codes.astype(np.int64), len(unique)


def _one_resample(rng: np.random.Generator, n_groups: int) -> FloatArray:
    drawn = rng.integers(0, n_groups, n_groups)
    return np.bincount(drawn, minlength=n_groups).astype(np.float64)


def _resamples(rng: np.random.Generator, n_groups: int, size: int) -> FloatArray:
    """Return how often each group is drawn in each resample, shape (size, n_groups)."""
    drawn = rng.integers(0, n_groups, (size, n_groups)) + n_groups * np.arange(size)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=size * n_groups).astype(np.float64)
    return counts.reshape(size, n_groups)


def _blocks(resamples: int, n_groups: int) -> list[int]:
    block = max(1, min(resamples, _BLOCK_ELEMENTS // max(n_groups, 1)))
    return [min(block, resamples - start) for start in range(0, resamples, block)]


def _estimate(value: float, draws: FloatArray, level: float, n_groups: int) -> Estimate:
    kept = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(kept) < 2:
        return Estimate(value, float("nan"), float("nan"), float("nan"), n_groups)
    tail = (1.0 - level) / 2.0
    lower, upper = np.quantile(kept, [tail, 1.0 - tail])
    return Estimate(value, float(lower), float(upper), float(kept.std(ddof=1)), n_groups)
