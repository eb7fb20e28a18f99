"""Thresholds defined by a false-positive rate, and how well the negatives at hand determine them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from lens_assets.statistics.intervals import beta_interval

# Below this many negatives above the cut the tail is not measured: 30 objects are an 18 % Poisson error.
MINIMUM_ABOVE = 30


@dataclass(frozen=True)
class FprThreshold:
    """A cut for `score >= threshold` and the false-positive rate measured at it.

    `threshold_lower` and `threshold_upper` bracket the cut by order statistics; `fpr_lower` and `fpr_upper` are
    the Beta interval of the rate. `sufficient` is false with fewer than `minimum_above` negatives at or above the cut.
    """

    target: float
    threshold: float
    threshold_lower: float
    threshold_upper: float
    n_negatives: int
    n_above: int
    fpr: float
    fpr_lower: float
    fpr_upper: float
    sufficient: bool


def fpr_threshold(
    negative_scores: ArrayLike, target: float, level: float = 0.95, minimum_above: int = MINIMUM_ABOVE
) -> FprThreshold:
    """Return the lowest threshold at which at most a share `target` of the negatives scores at or above it.

    With k = floor(target N) allowed above, it lies directly above the (k+1)-th highest score, so ties at that score
    are all rejected and the rate never exceeds the target. Every score must be finite: a stamp that could not be
    scored is not a negative with score 0. ValueError for an empty or non-finite sample.
    """
    scores = np.sort(np.asarray(negative_scores, dtype=np.float64))[::-1]
    if len(scores) == 0 or not np.isfinite(scores).all():
        found = "no negatives" if len(scores) == 0 else f"{int((~np.isfinite(scores)).sum())} scores not finite"
        raise ValueError(f"threshold for FPR {target}: {found}; expected finite scores of validation negatives")
    if not 0.0 < target < 1.0:
        raise ValueError(f"FPR target is {target}; expected a share between 0 and 1")
    allowed = _allowed(target, len(scores))
    threshold = _above(scores, allowed)
    tail = (1.0 - level) / 2.0
    fewest, most = stats.binom.ppf([tail, 1.0 - tail], len(scores), target)
    n_above = int((scores >= threshold).sum())
    lower, upper = beta_interval(n_above, len(scores), level)
    return FprThreshold(
        target=target,
        threshold=threshold,
        threshold_lower=_above(scores, int(most)),
        threshold_upper=_above(scores, int(fewest)),
        n_negatives=len(scores),
        n_above=n_above,
        fpr=n_above / len(scores),
        fpr_lower=float(lower),
        fpr_upper=float(upper),
        sufficient=n_above >= minimum_above,
    )


def _allowed(target: float, count: int) -> int:
    """Return floor(target N), forgiving the last bit: 0.01 x 300 is 3, not 2."""
    return int(np.floor(target * count * (1.0 + 1e-12)))


def _above(descending: np.ndarray, rank: int) -> float:
    if rank >= len(descending):
        return float(descending[-1])
    return float(np.nextafter(descending[rank], np.inf))
