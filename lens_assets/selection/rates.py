"""One detection rate with all its intervals: the Beta posterior, and bootstraps over shared hosts and shared sky."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from lens_assets.sky.randomness import generator
from lens_assets.statistics.bootstrap import cluster_bootstrap_rate
from lens_assets.statistics.intervals import beta_interval

LEVELS = (0.68, 0.95)
_ROUNDING = 1e-12
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


def weighted_rate_columns(
    detected: ArrayLike,
    weights: ArrayLike,
    clusters: Mapping[str, ArrayLike],
    prior: BetaPrior,
    resamples: int,
    seed: int,
    identifier: str,
) -> dict[str, float]:
    """Return the weighted rate sum(w k) / sum(w n) with its intervals; arguments and columns as `rate_columns`.

    The posterior takes the effective counts of the weights, n_eff = (sum w)^2 / sum w^2 (Kish 1965, section 8.2) and
    the weighted rate times it. Without weight there is no rate.
    """
    hits, weight = np.asarray(detected, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    total = float(weight.sum())
    n_eff = total**2 / float((weight**2).sum()) if total > 0 else 0.0
    rate = float(weight @ hits) / total if total > 0 else float("nan")
    k_eff = rate * n_eff if total > 0 else 0.0
    columns: dict[str, float] = {
        "n_eff": n_eff,
        "completeness": rate,
        "posterior_mean": float(posterior_mean(k_eff, n_eff, prior)),
    }
    for level in LEVELS:
        lower, upper = beta_interval(k_eff, n_eff, level, prior)
        columns |= _limits("beta", level, float(lower), float(upper))
    for label, members in clusters.items():
        for level in LEVELS:
            rng = generator(seed, identifier, f"{label}-bootstrap")
            estimate = cluster_bootstrap_rate(hits, members, rng, weights=weight, resamples=resamples, level=level)
            columns |= _limits(label, level, estimate.lower, estimate.upper)
    return columns


def combined_limits(rates: Mapping[str, float], k_moved: Sequence[float], n: int, prior: BetaPrior) -> dict[str, float]:
    """Return the limits to quote: `conditional` on the threshold as it is, and `total`.

    Conditional limits are, on each side, the wider of the Beta posterior and the bootstrap over hosts. A bootstrap
    limit at exactly 0, or exactly 1, is left out on that side, where the Beta limit stands alone: with k > 0 (k < n)
    it says only that few hosts passed (failed), since resamples without them are common, and with k = 0 (k = n) all
    hosts agree and the bootstrap has no width. So no limit is 0 or 1, and 1 / C is finite.

    Total limits also take the bootstrap over sky cells, by the same rule, and add, in quadrature, how far the rate
    moves when the threshold moves to the ends of its own 95% interval (`k_moved` of `n`, half of it at 68%): the
    threshold comes from other objects than the trials, so the two are independent. Where the sum would pass them, the
    limits end at the Beta limits of as many trials without any detection, or with nothing else.
    """
    conditional: dict[str, float] = {}
    total: dict[str, float] = {}
    trials = rates.get("n_eff", n)
    for level in LEVELS:
        percent = round(100 * level)
        lower, upper = (
            {"beta": rates[f"beta_{side}_{percent}"]}
            | {kind: _informative(rates[f"{kind}_{side}_{percent}"], bound) for kind in ("host", "cell")}
            for side, bound in (("lower", 0.0), ("upper", 1.0))
        )
        inner = float(np.fmin(lower["beta"], lower["host"])), float(np.fmax(upper["beta"], upper["host"]))
        conditional |= _limits("conditional", level, *inner)
        ends = float(np.fmin.reduce(list(lower.values()))), float(np.fmax.reduce(list(upper.values())))
        least, most = _outermost(trials, level, prior)
        moved = _with_threshold(rates, ends, k_moved, n, level)
        total |= _limits(
            "total", level, max(moved[0], min(float(least), ends[0])), min(moved[1], max(float(most), ends[1]))
        )
    return conditional | total


@lru_cache(maxsize=4096)
def _outermost(trials: float, level: float, prior: BetaPrior) -> tuple[float, float]:
    """Return the lower Beta limit of no detection in `trials` and the upper one of nothing else."""
    return float(beta_interval(0, trials, level, prior)[0]), float(beta_interval(trials, trials, level, prior)[1])


def _informative(limit: float, bound: float) -> float:
    """Return a bootstrap limit, NaN where it lies at the bound of all rates but for the rounding of weights."""
    return float("nan") if abs(limit - bound) < _ROUNDING else limit


def _with_threshold(
    rates: Mapping[str, float], ends: tuple[float, float], k_moved: Sequence[float], n: int, level: float
) -> tuple[float, float]:
    mean = rates["posterior_mean"]
    scale = norm.isf((1.0 - level) / 2.0) / norm.isf(0.025)
    shifts = [scale * (k / n - rates["completeness"]) for k in k_moved] if n else [0.0]
    down, up = max(0.0, -min(shifts)), max(0.0, max(shifts))
    lower = mean - float(np.hypot(max(0.0, mean - ends[0]), down))
    upper = mean + float(np.hypot(max(0.0, ends[1] - mean), up))
    return lower, upper


def _limits(kind: str, level: float, lower: float, upper: float) -> dict[str, float]:
    percent = round(100 * level)
    return {f"{kind}_lower_{percent}": lower, f"{kind}_upper_{percent}": upper}
