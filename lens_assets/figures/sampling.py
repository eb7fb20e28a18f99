"""Plots of the sampling stage: the filter cascade, the confuser classes, the strata of the designs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure


def cascade_figure(cascade: pd.DataFrame) -> Figure:
    """Plot the rows left after each filter (filter, rows_in, rows_left, fails_alone, recipe, enabled)."""
    shown = cascade[cascade["enabled"]].iloc[::-1]
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(shown))
    axes.barh(places, shown["rows_left"], color="tab:blue", label="left")
    axes.barh(places, shown["fails_in_order"], left=shown["rows_left"], color="tab:red", label="removed in order")
    axes.plot(shown["fails_alone"], places, "k|", markersize=12, label="fail it alone")
    names = [f"{row.filter} (ext.)" if row.recipe == "extension" else row.filter for row in shown.itertuples()]
    axes.set_yticks(places, names)
    total = int(cascade["rows_in"].max()) if len(cascade) else 0
    axes.set(xlabel="sources", title=f"{total} sources in, {int(cascade['rows_left'].min())} candidates")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def confuser_figure(confusers: pd.DataFrame, overlap: pd.DataFrame) -> Figure:
    """Plot the share of N2 each category takes, and in how many candidates two classes match together."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    shares, matrix = figure.subplots(1, 2)
    colours = confusers["recipe"].map({"published": "tab:blue", "extension": "tab:orange", "curated": "tab:green"})
    shares.barh(confusers["category"], 100 * confusers["share_of_candidates"].fillna(0.0), color=list(colours))
    shares.invert_yaxis()
    shares.set(xlabel="per cent of candidates", title="blue published, orange extension, green curated")
    names = list(overlap["class_name"])
    counts = overlap[names].to_numpy(float) if names else np.zeros((0, 0))
    matrix.imshow(np.log10(1.0 + counts), cmap="Blues")
    for row, column in np.ndindex(*counts.shape):
        matrix.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", fontsize=7)
    matrix.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
    matrix.set_yticks(range(len(names)), names, fontsize=7)
    matrix.set_title("candidates in which both match")
    return figure


def strata_figure(strata: pd.DataFrame, design: str) -> Figure:
    """Plot wanted and drawn negatives of each stratum of one design, per split."""
    rows = strata[strata["design"] == design]
    splits = [name for name in ("train", "val", "test") if name in set(rows["split"])]
    figure = Figure(figsize=(4 * max(len(splits), 1), 4), layout="constrained")
    for axes, split in zip(np.atleast_1d(figure.subplots(1, max(len(splits), 1), sharey=True)), splits, strict=False):
        shown = rows[rows["split"] == split].sort_values("stratum")
        places = np.arange(len(shown))
        axes.bar(places, shown["drawn_n1"], color="tab:blue", label="N1")
        axes.bar(places, shown["drawn_n2"], bottom=shown["drawn_n1"], color="tab:orange", label="N2")
        axes.plot(places, shown["target"], "k_", markersize=12, label="target")
        axes.set_xticks(places, list(shown["stratum"]), rotation=70, ha="right", fontsize=7)
        axes.set_title(f"{design}, {split}: {int(shown['positives'].sum())} lenses")
    figure.axes[0].legend(fontsize="small")
    return figure
