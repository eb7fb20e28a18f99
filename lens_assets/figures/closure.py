"""Plots of closure at scale: bias along what is known of the lenses, and predicted against true recall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOUR, _SECOND, _GREY = "#1f5a7a", "#c0562f", "#8a8f94"
_COLUMNS = 3


def closure_at_scale(
    along: pd.DataFrame, calibration: pd.DataFrame, estimators: pd.DataFrame, labels: Mapping[str, str], title: str
) -> Figure:
    """Draw bias per stratum with 68 and 95% bands, predicted against true recall, and the bias of each estimator.

    `along` and `calibration` are tables of `selection.closure_scale`; `labels` names the variables, in order.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as MatplotlibFigure

    lines = -(-len(labels) // _COLUMNS) + 1
    figure = MatplotlibFigure(figsize=(3.7 * _COLUMNS, 2.7 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(lines, _COLUMNS)
    _recall(figure.add_subplot(grid[0, 0]), calibration)
    _estimators(figure.add_subplot(grid[0, 1:]), estimators)
    reach = 1.1 * float(np.nanmax(along[["lower_95", "upper_95"]].abs().to_numpy())) if len(along) else 1.0
    for number, (variable, label) in enumerate(labels.items()):
        axis = figure.add_subplot(grid[1 + number // _COLUMNS, number % _COLUMNS])
        _bias(axis, along.loc[along["variable"] == variable].sort_values("centre"))
        axis.set(xlabel=label, ylim=(-reach, reach))
        if number % _COLUMNS == 0:
            axis.set_ylabel("predicted - true recall")
    figure.suptitle(f"{title}; bands 68% and 95%, counting noise of both sides", fontsize=10)
    return figure


def _bias(axis: Any, rows: pd.DataFrame) -> None:
    for level, alpha in ((95, 0.15), (68, 0.3)):
        axis.fill_between(
            rows["centre"], rows[f"lower_{level}"], rows[f"upper_{level}"], color=_COLOUR, alpha=alpha, lw=0
        )
    axis.plot(rows["centre"], rows["bias"], color=_COLOUR, marker="o", ms=3.5, lw=1.2)
    axis.axhline(0.0, color=_GREY, lw=0.9)
    axis.grid(alpha=0.25)


def _recall(axis: Any, rows: pd.DataFrame) -> None:
    axis.plot([0, 1], [0, 1], color=_GREY, lw=0.9)
    error = 1.96 * rows["standard_error"]
    axis.errorbar(
        rows["predicted_recall"], rows["true_recall"], yerr=error, color=_COLOUR, fmt="o", ms=4, capsize=2, lw=1.2
    )
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="recall predicted from injections", ylabel="true recall")
    axis.set_title("by predicted detectability, 95%", fontsize=9)
    axis.grid(alpha=0.25)


def _estimators(axis: Any, rows: pd.DataFrame) -> None:
    height = np.arange(len(rows))
    last = len(rows) - 1
    colours = [_SECOND if number == last else _COLOUR for number in height]
    axis.axvline(0.0, color=_GREY, lw=0.9)
    for number, row in enumerate(rows.itertuples(index=False)):
        axis.errorbar(row.bias, number, xerr=1.96 * row.standard_error, fmt="o", ms=4, capsize=2, color=colours[number])
    axis.set_yticks(height, [name.replace("_", " ") for name in rows["estimator"]])
    axis.invert_yaxis()
    axis.set_xlabel("predicted - true recall, 95%")
    axis.set_title("ways to carry injections over to the lenses; the last one is judged", fontsize=9)
    axis.grid(alpha=0.25, axis="x")
