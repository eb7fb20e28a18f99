"""False positives: which kinds of galaxy pass a threshold, under which conditions, and what tops a list."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from lens_assets.statistics.intervals import beta_interval

NO_CONFUSER = "none"


def false_positive_rates(negatives: pd.DataFrame, thresholds: Mapping[str, float], by: list[str]) -> pd.DataFrame:
    """Return one row a (threshold, property, class): k false positives of n, rate, 95% interval, and lift.

    `negatives` has `score` and the columns `by`; null classes are shown as "none". `share_of_false_positives` says
    how much of the false positives a class makes up, `lift` is the class's rate over the rate of all negatives.
    """
    rows = []
    for threshold, cut in thresholds.items():
        passed = negatives["score"] >= cut
        total, overall = int(passed.sum()), float(passed.mean()) if len(negatives) else float("nan")
        for column in by:
            classes = negatives[column].astype("str").where(negatives[column].notna(), NO_CONFUSER)
            for name, group in passed.groupby(classes, sort=True):
                k, n = int(group.sum()), len(group)
                lower, upper = beta_interval(k, n, 0.95)
                rows.append(
                    {
                        "threshold": threshold,
                        "property": column,
                        "class": str(name),
                        "k": k,
                        "n": n,
                        "rate": k / n,
                        "lower_95": float(lower),
                        "upper_95": float(upper),
                        "share_of_false_positives": k / total if total else float("nan"),
                        "lift": (k / n) / overall if overall > 0 else float("nan"),
                    }
                )
    return pd.DataFrame(rows)


def in_bins(values: pd.Series, edges: tuple[float, ...], unit: str) -> pd.Series:
    """Return a text class for each value, such as "1.20-1.40 arcsec"; "outside" beyond the edges, null for NaN."""
    boundaries = np.asarray(edges, dtype=np.float64)
    labels = [f"{a:.2f}-{b:.2f} {unit}" for a, b in pairwise(boundaries)]
    index = np.searchsorted(boundaries, values.to_numpy(dtype=np.float64), side="right") - 1
    inside = (index >= 0) & (index < len(labels))
    text = np.where(inside, np.asarray(labels, dtype=object)[np.clip(index, 0, len(labels) - 1)], "outside")
    return pd.Series(text, index=values.index).where(values.notna())


def top_of_list(objects: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the `count` highest scores of a candidate list, ties broken by galaxy_id."""
    ordered = objects.sort_values(["score", "galaxy_id"], ascending=[False, True], kind="stable")
    top = ordered.head(count).reset_index(drop=True)
    return top.assign(rank=np.arange(1, len(top) + 1))
