"""How many rows a weighted sample is worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def effective_number(weights: ArrayLike) -> float:
    """Return Kish's effective sample size (sum w)^2 / sum w^2 (Kish 1965, Survey Sampling, 11.7); 0 when empty."""
    values = np.asarray(weights, dtype=np.float64)
    squares = float((values**2).sum())
    return float(values.sum()) ** 2 / squares if squares > 0.0 else 0.0
