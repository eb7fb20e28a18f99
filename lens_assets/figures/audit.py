"""Plots of the audit: where recall is lost, and what the false positives are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lens_assets.figures.selection_function import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def detectability(report: pd.DataFrame, threshold: str) -> Figure:
    """Draw observable, conditional and overall recall of each stratum with 95% intervals."""
    rows = report.loc[report["threshold"] == threshold]
    strata = list(dict.fromkeys(rows["stratum"]))
    parts = [("observable", "#8a8f94"), ("conditional", "#1f5a7a"), ("overall", "#c0562f")]
    figure, axes = canvas(1, 1, 1.1 * len(strata) + 3.0, 3.4)
    axis = axes[0][0]
    for number, (part, colour) in enumerate(parts):
        at = rows.loc[rows["part"] == part].set_index("stratum").reindex(strata)
        place = np.arange(len(strata)) + 0.22 * (number - 1)
        bars = np.clip([at["rate"] - at["lower_95"], at["upper_95"] - at["rate"]], 0.0, None)
        axis.errorbar(place, at["rate"], yerr=bars, fmt="o", color=colour, capsize=3, label=part)
    counts = rows.loc[rows["part"] == "overall"].set_index("stratum")["n"].reindex(strata)
    axis.set_xticks(range(len(strata)), [f"{name}\nn = {count}" for name, count in counts.items()], fontsize=8)
    axis.set(ylim=(0.0, 1.03), ylabel="recall")
    axis.grid(axis="y", alpha=0.25)
    axis.legend(fontsize=8, loc="lower left", bbox_to_anchor=(1.0, 0.0))
    axis.set_title(f"held-out anchors, threshold {threshold}", fontsize=10)
    return figure


def false_positives(rates: pd.DataFrame, threshold: str, property_name: str) -> Figure:
    """Draw the false-positive rate of each class of one property with 95% intervals."""
    rows = rates.loc[(rates["threshold"] == threshold) & (rates["property"] == property_name)].sort_values("rate")
    figure, axes = canvas(1, 1, 6.4, 0.36 * len(rows) + 1.3)
    axis = axes[0][0]
    bars = np.clip([rows["rate"] - rows["lower_95"], rows["upper_95"] - rows["rate"]], 0.0, None)
    axis.errorbar(rows["rate"], range(len(rows)), xerr=bars, fmt="o", color="#c0562f", capsize=3)
    axis.set_yticks(
        range(len(rows)), [f"{row['class']} ({row['k']}/{row['n']})" for _, row in rows.iterrows()], fontsize=8
    )
    axis.set_xlabel("false-positive rate")
    axis.set_xlim(0.0, None)
    axis.grid(axis="x", alpha=0.25)
    axis.set_title(f"{property_name}, threshold {threshold}", fontsize=10)
    return figure
