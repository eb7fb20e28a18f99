"""Detectability: how many known lenses are missed for lack of signal in the data, and how many by the model.

recall(all) = P(visible) x P(found | visible) + P(not visible) x P(found | not visible): the first factor belongs to
the survey (the arc stands out of the noise after the seeing, by a rule that no network takes part in), the second
to the detector.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from lens_assets.statistics.intervals import beta_interval

PARTS = (
    ("observable", "P(visible): the arc can be seen in the data"),
    ("conditional", "P(found | visible): the model's own recall"),
    ("invisible", "P(found | not visible): found by something other than a visible arc"),
    ("overall", "P(found): all anchors"),
)


def detectability(anchors: pd.DataFrame, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """Return one row a (threshold, stratum, part) with k, n, rate and its 95% interval (uniform prior).

    `anchors` has columns visible (bool), score and stratum; `thresholds` maps names to scores. The stratum "all" is
    added. Anchors without a finite score or visibility are refused, since a missing score is not a miss.
    """
    broken = anchors["score"].isna() | anchors["visible"].isna()
    if broken.any():
        raise ValueError(
            f"{int(broken.sum())} anchors have no score or visibility; expected every held-out anchor to be scored"
        )
    groups = [("all", anchors), *anchors.groupby("stratum", sort=True)]
    rows = [
        {"threshold": threshold, "stratum": stratum, **part}
        for threshold, cut in thresholds.items()
        for stratum, group in groups
        for part in _parts(group, cut)
    ]
    return pd.DataFrame(rows)


def _parts(group: pd.DataFrame, threshold: float) -> list[dict[str, object]]:
    found, visible = group["score"] >= threshold, group["visible"].astype(bool)
    counts = {
        "observable": (int(visible.sum()), len(group)),
        "conditional": (int((found & visible).sum()), int(visible.sum())),
        "invisible": (int((found & ~visible).sum()), int((~visible).sum())),
        "overall": (int(found.sum()), len(group)),
    }
    rows = []
    for part, meaning in PARTS:
        k, n = counts[part]
        lower, upper = beta_interval(k, n, 0.95)
        rows.append(
            {
                "part": part,
                "meaning": meaning,
                "k": k,
                "n": n,
                "rate": k / n if n else float("nan"),
                "lower_95": float(lower),
                "upper_95": float(upper),
            }
        )
    return rows
