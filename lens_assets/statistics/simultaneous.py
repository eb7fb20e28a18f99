"""Statements that hold together: intervals of many means of the same clusters, and p-values of many tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
_BLOCK_ELEMENTS = 4_000_000


@dataclass(frozen=True)
class SimultaneousMeans:
    """Means (C,) with their standard errors, the half widths of their joint intervals and the normal critical value.

    A column without a mean, or whose clusters are fewer than two, has NaN and is no part of the family.
    """

    means: FloatArray
    standard_errors: FloatArray
    half_widths: FloatArray
    critical: float
    n: NDArray[np.int64]
    n_clusters: NDArray[np.int64]

    @property
    def lower(self) -> FloatArray:
        """Lower ends of the joint intervals, (C,)."""
        return self.means - self.half_widths

    @property
    def upper(self) -> FloatArray:
        """Upper ends of the joint intervals, (C,)."""
        return self.means + self.half_widths


def simultaneous_means(
    values: ArrayLike, clusters: ArrayLike, rng: np.random.Generator, resamples: int, level: float = 0.95
) -> SimultaneousMeans:
    """Return the mean of every column with intervals that all hold at once with probability `level`.

    The half width is a common factor times each column's own standard error; the factor is the `level` quantile of the
    largest |resampled mean - mean| / standard error over columns (Westfall and Young 1993, section 2.3), widened from
    the normal to Student's distribution of the column's clusters. Whole clusters are resampled, the same ones for every
    column, so that columns that move together cost little.

    An error is at least 1 / n: where no row differs, the data say no more than that few would.

    Args:
        values: (N, C); NaN where a row is no part of a column.
        clusters: what is independent, one a row, (N,).
    """
    table = np.atleast_2d(np.asarray(values, np.float64))
    unique, members = np.unique(np.asarray(clusters), return_inverse=True)
    if len(members) != len(table):
        raise ValueError(f"{len(members)} clusters for {len(table)} rows; expected one a row")
    used = np.isfinite(table)
    sums = _by_cluster(np.where(used, table, 0.0), members, len(unique))
    counts = _by_cluster(used.astype(np.float64), members, len(unique))
    n, n_clusters = used.sum(axis=0), (counts > 0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums.sum(axis=0) / counts.sum(axis=0)
        draws = np.concatenate([(times @ sums) / (times @ counts) for times in _resamples(rng, len(unique), resamples)])
    errors, critical, family = np.full(len(means), np.nan), np.nan, n_clusters >= 2
    if family.any():
        # Resampling G clusters scatters as (G - 1) / G of the variance.
        unbiased = np.sqrt(n_clusters[family] / (n_clusters[family] - 1.0))
        errors[family] = np.maximum(np.nanstd(draws[:, family], axis=0, ddof=1) * unbiased, 1.0 / n[family])
        distance = np.abs(draws[:, family] - means[family]) / errors[family]
        critical = float(np.quantile(np.nanmax(distance, axis=1), level))
    factors = stats.t.isf(stats.norm.sf(critical), np.maximum(n_clusters - 1, 1))
    return SimultaneousMeans(means, errors, factors * errors, critical, n, n_clusters)


def holm_adjusted(p_values: Sequence[float]) -> FloatArray:
    """Return p-values corrected for their number (Holm 1979, Scand. J. Statist. 6, 65); NaN stays, uncounted."""
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    order = order[np.isfinite(values[order])]
    adjusted = values.copy()
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def _by_cluster(values: FloatArray, members: NDArray[np.int64], n_clusters: int) -> FloatArray:
    sums = [np.bincount(members, column, n_clusters) for column in values.T]
    return np.stack(sums, axis=1) if sums else np.zeros((n_clusters, 0))


def _resamples(rng: np.random.Generator, n_clusters: int, resamples: int) -> list[FloatArray]:
    """Return blocks (B, clusters) of how often each cluster is drawn."""
    if n_clusters == 0:
        return [np.zeros((resamples, 0))]
    block = max(1, min(resamples, _BLOCK_ELEMENTS // n_clusters))
    share = np.full(n_clusters, 1.0 / n_clusters)
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    return [rng.multinomial(n_clusters, share, size).astype(np.float64) for size in sizes]
