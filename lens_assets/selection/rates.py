"""One detection rate with all its intervals: the Beta posterior, and bootstraps over shared hosts and shared sky."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lens_assets.sky.randomness import generator
from lens_assets.statistics.bootstrap import cluster_bootstrap_rate
from lens_assets.statistics.intervals import beta_interval

LEVELS = (0.68, 0.95)
BetaPrior = tuple[float, float]


def posterior_mean(k: ArrayLike, n: ArrayLike, prior: BetaPrior) -> NDArray[np.float64]:
    """Return the mean (k + alpha) / (n + alpha + beta) of the posterior after k of n with a Beta(alpha, beta) prior."""
    hits, trials = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    return np.asarray((hits + prior[0]) / (trials + sum(prior)))


def rate_columns(
    detected: ArrayLike,
    clusters: Mapping[str, ArrayLike],
    prior: BetaPrior,
    resamples: int,
    seed: int,
    identifier: str,
) -> dict[str, float]:
    """Return the rate of one group of trials, shape (N,), with its intervals as columns of a completeness table.

    `clusters` maps a label ("host", "cell") to the cluster of each trial, shape (N,). `identifier` names the group;
    with `seed` it fixes the bootstrap, whatever other groups there are.
    """
    hits = np.asarray(detected, dtype=bool)
    k, n = int(hits.sum()), int(hits.size)
    columns: dict[str, float] = {
        "completeness": k / n if n else float("nan"),
        "posterior_mean": float(posterior_mean(k, n, prior)),
    }
    for level in LEVELS:
        lower, upper = beta_interval(k, n, level, prior)
        columns |= _limits("beta", level, float(lower), float(upper))
    for label, members in clusters.items():
        for level in LEVELS:
            rng = generator(seed, identifier, f"{label}-bootstrap")
            estimate = cluster_bootstrap_rate(hits, members, rng, resamples=resamples, level=level)
            columns |= _limits(label, level, estimate.lower, estimate.upper)
    return columns


def _limits(kind: str, level: float, lower: float, upper: float) -> dict[str, float]:
    percent = round(100 * level)
    return {f"{kind}_lower_{percent}": lower, f"{kind}_upper_{percent}": upper}
