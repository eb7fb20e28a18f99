"""Plots of the sensitivity report: shifts under every alternative, bands of C over priors, groups of sky regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lens_assets.figures.selection_function import AXIS_LABELS, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PALETTE = ("#1f5a7a", "#c0562f", "#4b8b3b", "#7a4fa3", "#8a8f94")
_GREY = "#8a8f94"


def shifts(report: pd.DataFrame) -> Figure:
    """Draw the shift under each alternative with its joint interval, one colour a detector; shaded: allowed."""
    detectors, variants = list(dict.fromkeys(report["detector"])), list(dict.fromkeys(report["variant"]))
    figure, axes = canvas(1, 1, 7.6, 0.34 * len(variants) + 1.6)
    axis, limit = axes[0][0], float(report["maximum_shift"].max())
    axis.axvspan(-limit, limit, color="#e8f0ea", lw=0)
    axis.axvline(0.0, color=_GREY, lw=0.8)
    for number, detector in enumerate(detectors):
        rows = report.loc[report["detector"] == detector].set_index("variant").reindex(variants)
        height = np.arange(len(variants)) + 0.18 * (number - (len(detectors) - 1) / 2.0)
        colour = _PALETTE[number % len(_PALETTE)]
        axis.errorbar(
            rows["shift"], height, xerr=_bars(rows, "shift"), fmt="o", ms=4, capsize=2, color=colour, label=detector
        )
    labels = [f"{name}{_mark(report.loc[report['variant'] == name, 'verdict'])}" for name in variants]
    axis.set_yticks(range(len(variants)), labels, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("shift of the mean completeness (joint intervals); shaded: allowed", fontsize=9)
    axis.legend(fontsize=8)
    return figure


def _mark(verdicts: pd.Series) -> str:
    worst = [name for name in ("UNSTABLE", "NOT-EVALUATED") if (verdicts == name).any()]
    return f"  [{worst[0]}]" if worst else ""


def bands(table: pd.DataFrame) -> Figure:
    """Draw C by Einstein radius: the published prior with its statistical interval, and the band over all priors."""
    detectors = list(dict.fromkeys(table["detector"]))
    figure, axes = canvas(1, max(len(detectors), 1), 4.6 * max(len(detectors), 1), 3.8)
    for axis, name in zip(axes[0], detectors, strict=False):
        rows = table.loc[(table["detector"] == name) & (table["n"] > 0)].dropna(subset=["theta_e_arcsec"])
        theta = rows["theta_e_arcsec"]
        axis.fill_between(
            theta, rows["lowest"], rows["highest"], color=_PALETTE[1], alpha=0.2, lw=0, label="all priors"
        )
        interval = [
            rows["completeness"] - rows["statistical_lower_95"],
            rows["statistical_upper_95"] - rows["completeness"],
        ]
        axis.errorbar(
            theta, rows["completeness"], yerr=np.clip(interval, 0.0, None), fmt="o-", ms=4, lw=1.1, capsize=2,
            color=_PALETTE[0], label="published prior, 95% statistical",
        )  # fmt: skip
        axis.set_title(_title(table, name), fontsize=9)
        axis.set_xlabel(AXIS_LABELS["theta_e_arcsec"])
        axis.set_ylim(0.0, None)
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("completeness")
    if detectors:
        axes[0][0].legend(fontsize=8)
    return figure


def _title(table: pd.DataFrame, name: str) -> str:
    whole = table.loc[(table["detector"] == name) & table["theta_e_arcsec"].isna()].iloc[0]
    ends = f"{whole['lowest']:.3f} ({whole['lowest_variant']}) to {whole['highest']:.3f} ({whole['highest_variant']})"
    return f"{name}: C {whole['completeness']:.3f}\n{ends}"


def regions(table: pd.DataFrame) -> Figure:
    """Draw the excess of each group of sky regions over what its conditions let expect, one colour a detector."""
    detectors = list(dict.fromkeys(table["detector"]))
    figure, axes = canvas(1, 1, 6.4, 3.6)
    axis = axes[0][0]
    axis.axhline(0.0, color=_GREY, lw=0.8)
    for number, name in enumerate(detectors):
        rows = table.loc[table["detector"] == name]
        place = rows["group"] + 0.12 * (number - (len(detectors) - 1) / 2.0)
        colour = _PALETTE[number % len(_PALETTE)]
        axis.errorbar(
            place, rows["excess"], yerr=_bars(rows, "excess"), fmt="o", ms=4, capsize=2, color=colour, label=name
        )
    first = table.drop_duplicates("group")
    labels = [f"{row.group}\n{row.regions} regions\n{row.n_hosts} hosts" for row in first.itertuples()]
    axis.set_xticks(list(first["group"]), labels, fontsize=7)
    axis.set_xlabel("group of neighbouring regions")
    axis.set_ylabel("completeness over that of like\nconditions (joint intervals)")
    axis.legend(fontsize=8)
    return figure


def _bars(rows: pd.DataFrame, name: str) -> Any:
    return np.clip([rows[name] - rows[f"{name}_lower_95"], rows[f"{name}_upper_95"] - rows[name]], 0.0, None)
