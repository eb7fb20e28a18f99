"""Weighted quantiles and the comparison of two weighted samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FloatArray = NDArray[np.float64]


def effective_number(weights: ArrayLike) -> float:
    """Return Kish's effective sample size (sum w)^2 / sum w^2 (Kish 1965, Survey Sampling, 11.7); 0 when empty."""
    values = np.asarray(weights, dtype=np.float64)
    squares = float((values**2).sum())
    return float(values.sum()) ** 2 / squares if squares > 0.0 else 0.0


def weighted_quantile(values: ArrayLike, quantiles: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Return the quantiles of a weighted sample, shape of `quantiles`; NaN for an empty sample.

    The inverse of the empirical distribution: the smallest value at which the cumulative weight share reaches the
    quantile (`numpy.quantile(method="inverted_cdf", weights=...)`). NaN values are left out.
    """
    data, mass = _clean(values, weights)
    wanted = np.asarray(quantiles, dtype=np.float64)
    if len(data) == 0:
        return np.full(wanted.shape, np.nan)
    return np.asarray(np.quantile(data, wanted, method="inverted_cdf", weights=mass), dtype=np.float64)


def weighted_ks(
    first: ArrayLike,
    second: ArrayLike,
    first_weights: ArrayLike | None = None,
    second_weights: ArrayLike | None = None,
) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance of two weighted samples and its asymptotic p-value.

    The distance is the largest gap of the weighted empirical distributions. The p-value uses the limit law at the
    effective sizes, n = n1 n2 / (n1 + n2) (Monahan 2011, Numerical Methods of Statistics, 12.4); with unit weights
    it is `scipy.stats.ks_2samp(method="asymp")`. An empty sample gives (NaN, NaN). NaN values are left out.
    """
    a, a_mass = _clean(first, first_weights)
    b, b_mass = _clean(second, second_weights)
    if len(a) == 0 or len(b) == 0:
        return float("nan"), float("nan")
    at = np.concatenate([a, b])
    distance = float(np.abs(_cdf(a, a_mass, at) - _cdf(b, b_mass, at)).max())
    n_a, n_b = effective_number(a_mass), effective_number(b_mass)
    size = n_a * n_b / (n_a + n_b)
    # kstwo at the rounded effective size is what scipy's asymptotic two-sample test uses.
    return distance, float(np.clip(stats.kstwo.sf(distance, max(round(size), 1)), 0.0, 1.0))


def _cdf(sample: FloatArray, mass: FloatArray, at: FloatArray) -> FloatArray:
    order = np.argsort(sample, kind="stable")
    cumulative = np.concatenate([[0.0], np.cumsum(mass[order])])
    return cumulative[np.searchsorted(sample[order], at, side="right")] / cumulative[-1]


def _clean(values: ArrayLike, weights: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    data = np.asarray(values, dtype=np.float64).ravel()
    mass = np.ones_like(data) if weights is None else np.asarray(weights, dtype=np.float64).ravel()
    if mass.shape != data.shape:
        raise ValueError(f"{len(mass)} weights for {len(data)} values; expected one weight a value")
    if (mass < 0).any():
        raise ValueError(f"{int((mass < 0).sum())} weights are negative; expected weights >= 0")
    keep = ~np.isnan(data) & (mass > 0)
    return data[keep], mass[keep]
