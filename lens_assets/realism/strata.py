"""Strata of the battery: both halves of each condition, cut at the median of the anchors that judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Half:
    """What lies below a value of one condition, or from it on."""

    column: str
    value: float
    below: bool

    @property
    def name(self) -> str:
        """What the report calls the stratum."""
        return f"{self.column} {'<' if self.below else '>='} {self.value:.2f}"

    def holds(self, table: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which rows are in it, (N,); a missing condition is in no half."""
        values = table[self.column].to_numpy(np.float64)
        return np.asarray(values < self.value if self.below else values >= self.value)


def halves_of(judging: pd.DataFrame, columns: Sequence[str]) -> list[Half]:
    """Return both halves of every condition."""
    medians = [(column, float(np.nanmedian(judging[column].to_numpy(np.float64)))) for column in columns]
    return [Half(column, median, below) for column, median in medians for below in (True, False)]
