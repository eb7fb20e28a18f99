"""Are scores probabilities: reliability curve, expected calibration error, Brier score."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lens_assets.statistics.intervals import beta_interval


def reliability_table(
    scores: ArrayLike, labels: ArrayLike, bins: int, level: float = 0.95, weights: ArrayLike | None = None
) -> pd.DataFrame:
    """Return one row per equal-width bin of score in [0, 1].

    Columns: score_lo, score_hi, n, k (positives), weight, mean_score, rate (weighted share of positives), lower and
    upper (Beta interval of the unweighted rate). Empty bins stay, with NaN mean_score and rate.
    """
    values, positive, mass = _checked(scores, labels, weights)
    edges = np.linspace(0.0, 1.0, bins + 1)
    which = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    n = np.bincount(which, minlength=bins)
    k = np.bincount(which, positive, bins).astype(np.int64)
    weight = np.bincount(which, mass, bins)
    with np.errstate(invalid="ignore"):
        mean_score = np.bincount(which, mass * values, bins) / weight
        rate = np.bincount(which, mass * positive, bins) / weight
    lower, upper = beta_interval(k, n, level)
    columns = {"score_lo": edges[:-1], "score_hi": edges[1:], "n": n, "k": k, "weight": weight}
    return pd.DataFrame(columns | {"mean_score": mean_score, "rate": rate, "lower": lower, "upper": upper})


def expected_calibration_error(
    scores: ArrayLike, labels: ArrayLike, bins: int, weights: ArrayLike | None = None
) -> float:
    """Return the weighted mean of |share of positives - mean score| over bins (Naeini et al. 2015, AAAI, eq. 1)."""
    table = reliability_table(scores, labels, bins, weights=weights)
    filled = table[table["weight"] > 0]
    gaps = (filled["rate"] - filled["mean_score"]).abs()
    return float((gaps * filled["weight"]).sum() / filled["weight"].sum())


def brier_score(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the weighted mean of (score - label)^2 (Brier 1950, Monthly Weather Review 78, 1)."""
    values, positive, mass = _checked(scores, labels, weights)
    return float(np.average((values - positive) ** 2, weights=mass))


def _checked(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if len(values) == 0 or not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError(f"{len(values)} scores; expected at least one and all between 0 and 1")
    mass = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64)
    return values, positive, mass
