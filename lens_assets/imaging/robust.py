"""Medians and median absolute deviations of many pixel sets at once, with pixels without coverage left out.

The survey marks a pixel without coverage by an exact 0.0, never by NaN: both are left out here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAD_TO_SIGMA = 1.4826  # 1 / Phi^-1(3/4): standard deviation of a normal over its median absolute deviation


def covered(pixels: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which pixels hold data: finite and not the exact zero that marks missing coverage."""
    return np.isfinite(pixels) & (pixels != 0.0)


def row_medians(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the median of the valid entries of each row; NaN for a row without any.

    Args:
        values: (N, P); valid: (N, P).

    A row's result depends on that row only. Selection (`np.partition`), not sorting, does the work where
    all entries of the rows are valid, which is almost always.
    """
    count = valid.sum(axis=1)
    result = np.full(len(values), np.nan)
    full = count == values.shape[1]
    if full.any() and values.shape[1]:
        result[full] = _middle(np.array(values[full]), values.shape[1])
    for row in np.flatnonzero(~full & (count > 0)):
        result[row] = np.median(values[row, valid[row]].astype(np.float64))
    return result


def _middle(values: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    low, high = (count - 1) // 2, count // 2
    values.partition([low, high], axis=1)
    return 0.5 * (values[:, low].astype(np.float64) + values[:, high].astype(np.float64))


def median_and_sigma(
    values: NDArray[np.floating], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the median and 1.4826 x the median absolute deviation of each row (N,), NaN without valid entries."""
    median = row_medians(values, valid)
    deviation = np.abs(values - median[:, None].astype(values.dtype))
    return median, MAD_TO_SIGMA * row_medians(deviation, valid)
