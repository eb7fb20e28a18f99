"""Intervals for a rate k/n. Every rate of the platform gets its interval here."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FloatArray = NDArray[np.float64]


def beta_interval(
    k: ArrayLike, n: ArrayLike, level: float, prior: tuple[float, float] = (1.0, 1.0)
) -> tuple[FloatArray, FloatArray]:
    """Return the equal-tailed credible interval of a rate after `k` successes in `n` trials.

    The posterior is Beta(k + a, n - k + b) for a Beta(a, b) prior (Gelman et al., Bayesian Data Analysis, 2.1);
    the default prior is uniform, and n = 0 gives the interval of the prior. `k` and `n` broadcast; `level` is the
    enclosed probability, for example 0.95. ValueError where k < 0 or k > n.
    """
    successes, trials, tail = _checked(k, n, level)
    alpha, beta = successes + prior[0], trials - successes + prior[1]
    return stats.beta.ppf(tail, alpha, beta), stats.beta.ppf(1.0 - tail, alpha, beta)


def wilson_interval(k: ArrayLike, n: ArrayLike, level: float) -> tuple[FloatArray, FloatArray]:
    """Return the Wilson score interval (Wilson 1927, JASA 22, 209); n = 0 gives [0, 1]. Shapes as `beta_interval`."""
    successes, trials, tail = _checked(k, n, level)
    z_squared = stats.norm.isf(tail) ** 2
    safe = np.where(trials > 0, trials, 1.0)
    rate = successes / safe
    centre = (rate + z_squared / (2.0 * safe)) / (1.0 + z_squared / safe)
    spread = rate * (1.0 - rate) / safe + z_squared / (4.0 * safe**2)
    half = np.sqrt(z_squared * spread) / (1.0 + z_squared / safe)
    lower = np.where((trials == 0) | (successes == 0), 0.0, centre - half)
    upper = np.where((trials == 0) | (successes == trials), 1.0, centre + half)
    return lower[()], upper[()]


def _level(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; expected a probability between 0 and 1, for example 0.95")
    return level


def _checked(k: ArrayLike, n: ArrayLike, level: float) -> tuple[FloatArray, FloatArray, float]:
    successes, trials = np.broadcast_arrays(np.asarray(k, np.float64), np.asarray(n, np.float64))
    wrong = ~((successes >= 0) & (successes <= trials))
    if wrong.any():
        where = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"entry {where} has k = {successes.flat[where]} successes in n = {trials.flat[where]} trials; "
            "expected 0 <= k <= n"
        )
    return successes, trials, (1.0 - _level(level)) / 2.0
