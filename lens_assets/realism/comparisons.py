"""Comparing one observable of anchors with weighted injections: quantiles, medians, distributions.

Every comparison carries the uncertainty of all that was sampled: the anchors that judge, the anchors the
weights were tuned on, and the injections, which are resampled by host because a host is used more than once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lens_assets.realism.matching import Matching
from lens_assets.statistics.simultaneous import holm_adjusted

_GRID_POINTS = 128


@dataclass(frozen=True)
class Resamples:
    """B joint bootstrap resamples: anchor counts (B, A) and injection weights (B, I)."""

    anchor_counts: NDArray[np.float64]
    injection_weights: NDArray[np.float64]


def resample(matching: Matching, anchors: int, hosts: NDArray[np.object_], count: int, seed: int) -> Resamples:
    """Draw the resamples: judging anchors, tuning anchors (the weights are refitted) and hosts of injections.

    Args:
        anchors: number of judging anchors.
        hosts: (I,) host identity of every injection.
    """
    random = np.random.Generator(np.random.Philox(key=seed))
    _, host = np.unique(hosts.astype(str), return_inverse=True)
    host_number = int(host.max()) + 1 if len(host) else 0
    judging = random.multinomial(anchors, np.full(anchors, 1.0 / anchors), size=count).astype(np.float64)
    tuning_size = len(matching.anchors)
    tuning = random.multinomial(tuning_size, np.full(tuning_size, 1.0 / tuning_size), size=count)
    chosen = random.multinomial(host_number, np.full(host_number, 1.0 / host_number), size=count)
    weights = np.empty((count, len(host)))
    for index in range(count):
        weights[index] = matching.resampled(tuning[index].astype(np.float64), chosen[index][host].astype(np.float64))
    return Resamples(judging, weights)


def weighted_quantiles(
    values: NDArray[np.floating], weights: NDArray[np.floating], quantiles: Sequence[float]
) -> NDArray[np.float64]:
    """Return quantiles (..., Q) of the values (N,) under weights (..., N): mid-point cumulative weight, linear."""
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values, dtype=np.float64)[order]
    weight = np.atleast_2d(weights)[:, order]
    cumulative = np.cumsum(weight, axis=1)
    position = (cumulative - 0.5 * weight) / cumulative[:, -1:]
    rows = [np.interp(quantiles, row, ordered) for row in position]
    return np.asarray(rows).reshape(*np.shape(weights)[:-1], len(quantiles))


@dataclass(frozen=True)
class Sample:
    """Finite values of one observable on both sides, with the weights and resamples that belong to them."""

    anchors: NDArray[np.float64]
    injections: NDArray[np.float64]
    weights: NDArray[np.float64]
    anchor_counts: NDArray[np.float64]
    injection_weights: NDArray[np.float64]

    @property
    def usable(self) -> bool:
        """Whether there is anything to compare on both sides in every resample."""
        return bool(
            len(self.anchors)
            and self.weights.sum() > 0
            and (self.anchor_counts.sum(axis=1) > 0).all()
            and (self.injection_weights.sum(axis=1) > 0).all()
        )


def sample_of(
    anchors: NDArray[np.floating],
    injections: NDArray[np.floating],
    weights: NDArray[np.floating],
    resamples: Resamples,
    anchor_rows: NDArray[np.bool_] | None = None,
    injection_rows: NDArray[np.bool_] | None = None,
) -> Sample:
    """Keep the finite values, and of them only the rows of a stratum when one is given."""
    first = np.isfinite(anchors) if anchor_rows is None else np.isfinite(anchors) & anchor_rows
    second = np.isfinite(injections) if injection_rows is None else np.isfinite(injections) & injection_rows
    return Sample(
        anchors=np.asarray(anchors, np.float64)[first],
        injections=np.asarray(injections, np.float64)[second],
        weights=np.asarray(weights, np.float64)[second],
        anchor_counts=resamples.anchor_counts[:, first],
        injection_weights=resamples.injection_weights[:, second],
    )


def quantile_pairs(sample: Sample, quantiles: Sequence[float]) -> tuple[NDArray[np.float64], ...]:
    """Return quantiles of anchors and injections, (Q,) each, and of their resamples, (B, Q) each."""
    return (
        weighted_quantiles(sample.anchors, np.ones(len(sample.anchors)), quantiles),
        weighted_quantiles(sample.injections, sample.weights, quantiles),
        weighted_quantiles(sample.anchors, sample.anchor_counts, quantiles),
        weighted_quantiles(sample.injections, sample.injection_weights, quantiles),
    )


def kolmogorov_smirnov(sample: Sample, margin: float = 0.0) -> tuple[float, float]:
    """Return the largest distance of the two weighted distribution functions and its bootstrap p-value.

    The sampling distribution is that of the centred resamples, sup |(F_a* - F_a) - (F_i* - F_i)| (Abadie 2002,
    JASA 97, 284, in its centred form). The p-value is that of a true distance of at most `margin`: by the triangle
    inequality the distance found exceeds the true one by no more than the sampling term, so the excess over the
    margin is referred to it.
    """
    grid = _grid(sample)
    first = (sample.anchors[:, None] <= grid).astype(np.float64)
    second = (sample.injections[:, None] <= grid).astype(np.float64)
    anchor_cdf = first.mean(axis=0)
    injection_cdf = sample.weights @ second / sample.weights.sum()
    distance = float(np.abs(anchor_cdf - injection_cdf).max())
    extremes = [
        np.abs((a - anchor_cdf) - (i - injection_cdf)).max(axis=1) for a, i in _resampled_cdfs(sample, first, second)
    ]
    null = np.concatenate(extremes)
    return distance, float((1 + (null >= distance - margin).sum()) / (1 + len(null)))


def _resampled_cdfs(
    sample: Sample, first: NDArray[np.float64], second: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    for start in range(0, len(sample.anchor_counts), 500):
        counts = sample.anchor_counts[start : start + 500]
        weights = sample.injection_weights[start : start + 500]
        yield (
            counts @ first / counts.sum(axis=1, keepdims=True),
            weights @ second / weights.sum(axis=1, keepdims=True),
        )


def _grid(sample: Sample) -> NDArray[np.float64]:
    """Return where the distribution functions are compared: every anchor value and quantiles of the injections."""
    quantiles = np.quantile(sample.injections, np.linspace(0, 1, _GRID_POINTS))
    return np.unique(np.concatenate([sample.anchors, quantiles]))


def holm(p_values: Sequence[float], level: float) -> NDArray[np.bool_]:
    """Return which hypotheses are rejected at a family-wise level (Holm 1979, Scand. J. Statist. 6, 65)."""
    return np.asarray(holm_adjusted(p_values) <= level)
