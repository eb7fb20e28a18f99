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
    axes.set(xlabel="sources", title=f"{total} sources in, {int(cascade['rows_left'].min())} pass every filter")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def breakdown_figure(breakdown: pd.DataFrame) -> Figure:
    """Plot the share of the rows of each split, pool and stratum that is left after each filter in order."""
    shown = breakdown[breakdown["enabled"]]
    dimensions = ("split", "pool", "stratum")
    left = {name: _share_left(shown[shown["dimension"] == name]) for name in dimensions}
    heights = [max(len(table), 1) for table in left.values()]
    figure = Figure(figsize=(8, 1.6 + 0.27 * sum(heights)), layout="constrained")
    panels = figure.subplots(3, 1, height_ratios=heights, sharex=True)
    for axes, (dimension, table) in zip(panels, left.items(), strict=True):
        axes.imshow(table.to_numpy(float), vmin=0.0, vmax=1.0, cmap="Blues", aspect="auto")
        for (row, column), share in np.ndenumerate(table.to_numpy(float)):
            colour = "white" if share > 0.6 else "black"
            axes.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=7, color=colour)
        axes.set_yticks(range(len(table)), list(table.index), fontsize=7)
        axes.set_xticks(range(table.shape[1]), list(table.columns), fontsize=8)
        axes.set_ylabel(f"by {dimension}")
    figure.suptitle("share of rows left after each filter, in order", fontsize=10)
    return figure


def _share_left(rows: pd.DataFrame) -> pd.DataFrame:
    """Return value (number of rows) x filter: the share left, filters in their order."""
    left = rows.pivot(index="value", columns="ordinal", values="rows_left")
    total = rows.groupby("value")["rows_in"].max()
    names = rows.drop_duplicates("ordinal").set_index("ordinal")["filter"].reindex(left.columns)
    share = left.div(total, axis=0).set_axis(list(names), axis="columns")
    return share.set_axis([f"{value} ({total[value]})" for value in share.index], axis="index")


def alternatives_figure(categories: pd.DataFrame) -> Figure:
    """Plot the share of candidates of each category under the campaign's thresholds and under an alternative's."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(categories))
    axes.barh(places - 0.2, 100 * categories["share"], height=0.4, color="tab:blue", label="campaign")
    axes.barh(places + 0.2, 100 * categories["share_alternative"], height=0.4, color="tab:purple", label="alternative")
    for place, row in enumerate(categories.itertuples()):
        longest = 100 * np.nanmax([row.share, row.share_alternative, 0.0])
        axes.text(longest, place, f" {row.n} -> {row.n_alternative}", va="center", fontsize=7)
    axes.set_yticks(places, [f"{row.category} ({row.recipe})" for row in categories.itertuples()], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    name = categories["alternative"].iloc[0] if len(categories) else ""
    axes.set(xlabel="per cent of candidates", title=f"thresholds of the campaign and of the alternative {name!r}")
    axes.legend(fontsize="small")
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
