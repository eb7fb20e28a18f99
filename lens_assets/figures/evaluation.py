"""Plots of trained and evaluated detectors: learning curves, ROC, scores, rates by subset, calibration, ensembles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LENS_COLOUR, OTHER_COLOUR, GUIDE_COLOUR = "#b8421f", "#3b6ea5", "#8a8a8a"
_LOWEST_FPR = 1e-4


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def learning_curves(history: pd.DataFrame, best_epoch: int, title: str) -> Figure:
    """Draw losses and validation AUC by epoch; columns epoch, training_loss, validation_loss, validation_auc."""
    figure = _figure(8.0, 3.2)
    left, right = figure.subplots(1, 2)
    left.plot(history["epoch"], history["training_loss"], color=OTHER_COLOUR, label="training")
    left.plot(history["epoch"], history["validation_loss"], color=LENS_COLOUR, label="validation")
    left.set(xlabel="epoch", ylabel="weighted cross-entropy", ylim=(0, None))
    right.plot(history["epoch"], history["validation_auc"], color=LENS_COLOUR, marker="o", markersize=3)
    right.set(xlabel="epoch", ylabel="validation AUC")
    for axis in (left, right):
        axis.axvline(best_epoch, color=GUIDE_COLOUR, linestyle=":", label="epoch kept")
        axis.xaxis.get_major_locator().set_params(integer=True)
    left.legend(fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def roc(scored: pd.DataFrame, thresholds: pd.DataFrame, auc: dict[str, float], title: str) -> Figure:
    """Draw recall against false-positive rate on a logarithmic axis, with the cuts that validation defined.

    `scored` holds label and score of the test split, `thresholds` name, kind and threshold, `auc` value, lower, upper.
    """
    figure = _figure(4.8, 4.0)
    axis = figure.subplots()
    negatives = np.sort(scored.loc[scored["label"] == 0, "score"].to_numpy())
    positives = np.sort(scored.loc[scored["label"] == 1, "score"].to_numpy())
    cuts = np.unique(scored["score"].to_numpy())
    axis.step(_share_above(negatives, cuts), _share_above(positives, cuts), color=LENS_COLOUR, where="post")
    for row in thresholds[thresholds["kind"] == "fpr"].itertuples():
        x, y = (_share_above(values, np.array([row.threshold]))[0] for values in (negatives, positives))
        axis.plot(max(x, _LOWEST_FPR), y, "o", color=OTHER_COLOUR, markersize=5)
        note = str(row.name) if row.sufficient else f"{row.name} (few negatives)"
        axis.annotate(note, (max(x, _LOWEST_FPR), y), xytext=(6, -9), textcoords="offset points", fontsize=7)
    grid = np.geomspace(_LOWEST_FPR, 1, 50)
    axis.plot(grid, grid, color=GUIDE_COLOUR, linestyle=":", linewidth=1)
    axis.set(xscale="log", xlim=(_LOWEST_FPR * 0.8, 1.05), ylim=(-0.02, 1.02))
    axis.set(xlabel="false-positive rate (test)", ylabel="recall (test)")
    axis.set_title(f"{title}: AUC {auc['value']:.4f} [{auc['lower']:.4f}, {auc['upper']:.4f}]", fontsize=9)
    return figure


def _share_above(ascending: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    if len(ascending) == 0:
        return np.zeros(len(cuts))
    return 1.0 - np.searchsorted(ascending, cuts, side="left") / len(ascending)


def score_histograms(scored: pd.DataFrame, thresholds: pd.DataFrame, audit: str, title: str) -> Figure:
    """Draw the share of each tier or pool by score; `scored` holds tier and score of the test split."""
    figure = _figure(5.6, 3.4)
    axis = figure.subplots()
    edges = np.linspace(0, 1, 41)
    shades = {"A": "#b8421f", "B": "#e39b7c", "N1": "#3b6ea5", "N2": "#63a088"}
    for tier, members in scored.groupby("tier", observed=True):
        weights = np.full(len(members), 1.0 / len(members))
        label = f"{tier} ({len(members)})"
        colour = shades.get(str(tier), GUIDE_COLOUR)
        axis.hist(
            members["score"], edges.tolist(), weights=weights, histtype="step", color=colour, label=label, linewidth=1.5
        )
    cut = float(thresholds.loc[thresholds["name"] == audit, "threshold"].iloc[0])
    axis.axvline(cut, color=GUIDE_COLOUR, linestyle=":", label=f"{audit}: {cut:.3f}")
    axis.set(yscale="log", xlabel="score", ylabel="share of the tier", title=title)
    axis.legend(fontsize=8, frameon=False)
    return figure


def score_histogram_by_split(scored: pd.DataFrame, title: str) -> Figure:
    """Draw the share of lenses and of others by score in each split; columns label, split, score."""
    figure = _figure(8.4, 2.8)
    splits = [name for name in ("train", "val", "test") if (scored["split"] == name).any()]
    axes = figure.subplots(1, max(len(splits), 1), sharey=True, squeeze=False)[0]
    for axis, split in zip(axes, splits, strict=False):
        rows = scored[scored["split"] == split]
        for label, colour, name in ((1, LENS_COLOUR, "lenses"), (0, OTHER_COLOUR, "others")):
            members = rows.loc[rows["label"] == label, "score"].to_numpy()
            if len(members) == 0:
                continue
            weights = np.full(len(members), 1.0 / len(members))
            caption = f"{name} ({len(members)})"
            axis.hist(members, np.linspace(0, 1, 41), weights=weights, histtype="step", color=colour, label=caption)
        shown = "train cells, not trained on" if split == "train" else split
        axis.set(yscale="log", xlabel="score", title=shown)
        axis.legend(fontsize=7, frameon=False)
    axes[0].set_ylabel("share")
    figure.suptitle(title, fontsize=10)
    return figure


def rates_by_subset(metrics: pd.DataFrame, threshold: str, title: str) -> Figure:
    """Draw recall and false-positive rate of every subset at one threshold, with Beta intervals and counts."""
    recall = _rates(metrics, "recall", threshold)
    fpr = _rates(metrics, "fpr", threshold)
    figure = _figure(10.0, 1.3 + 0.24 * max(len(recall), len(fpr)))
    left, right = figure.subplots(1, 2)
    _draw_rates(left, recall, LENS_COLOUR, "recall (test)")
    _draw_rates(right, fpr, OTHER_COLOUR, "false-positive rate (test)")
    left.set_xlim(-0.02, 1.02)
    figure.suptitle(f"{title}, threshold {threshold}; faint: fewer objects than the campaign asks for", fontsize=9)
    return figure


def _rates(metrics: pd.DataFrame, metric: str, threshold: str) -> pd.DataFrame:
    return metrics[(metrics["metric"] == metric) & (metrics["threshold"] == threshold)].iloc[::-1]


def _draw_rates(axis: Axes, rows: pd.DataFrame, colour: str, label: str) -> None:
    for height, row in enumerate(rows.itertuples()):
        faint = 1.0 if row.sufficient else 0.35
        axis.plot([row.lower, row.upper], [height, height], color=colour, alpha=faint)
        axis.plot(row.value, height, "o", color=colour, alpha=faint, markersize=4)
    names = [
        ("all" if row.subset == "all" else f"{row.subset} {row.value_of_subset}") + f"  {int(row.k)}/{row.n}"
        for row in rows.itertuples()
    ]
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.set_xlabel(label)
    axis.grid(axis="x", alpha=0.3)


def reliability(table: pd.DataFrame, error: float, title: str) -> Figure:
    """Draw the share of lenses against the mean score of each bin; columns as `statistics.calibration`."""
    figure = _figure(4.2, 4.0)
    axis = figure.subplots()
    filled = table[table["n"] > 0]
    axis.plot([0, 1], [0, 1], color=GUIDE_COLOUR, linestyle=":")
    axis.vlines(filled["mean_score"], filled["lower"], filled["upper"], color=LENS_COLOUR, alpha=0.6)
    axis.plot(filled["mean_score"], filled["rate"], "o", color=LENS_COLOUR, markersize=4)
    for row in filled.itertuples():
        axis.annotate(str(row.n), (row.mean_score, row.rate), xytext=(5, 3), textcoords="offset points", fontsize=7)
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="mean score of the bin", ylabel="share of lenses")
    axis.set_title(f"{title}: expected calibration error {error:.4f}", fontsize=9)
    return figure


def ensemble_comparison(rows: pd.DataFrame, audit: str) -> Figure:
    """Draw AUC and recall at the audited threshold of members and combiners; columns of `ensemble_report`."""
    figure = _figure(9.0, 1.4 + 0.32 * len(rows))
    axes = figure.subplots(1, 2, sharey=True)
    ordered = rows.iloc[::-1]
    heights = np.arange(len(ordered))
    colours = [LENS_COLOUR if kind == "combiner" else OTHER_COLOUR for kind in ordered["kind"]]
    for axis, name, label in zip(axes, ("auc", "recall"), ("test AUC", f"test recall at {audit}"), strict=True):
        axis.hlines(heights, ordered[f"{name}_lower"], ordered[f"{name}_upper"], color=colours)
        axis.scatter(ordered[name], heights, color=colours, s=18)
        axis.set_xlabel(label)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(heights, ordered["name"], fontsize=8)
    return figure
