"""Plots of the selection function: maps at depth slices, marginals with bands, closure and failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXIS_LABELS = {
    "theta_e_arcsec": "Einstein radius [arcsec]",
    "psf_fwhm_arcsec": "PSF FWHM, r [arcsec]",
    "depth_mag": "5-sigma depth, r [AB mag]",
}
_COLOUR = "#1f5a7a"
_SECOND = "#c0562f"
_GREY = "#8a8f94"
_PALETTE = (_COLOUR, _SECOND, "#4b8b3b", "#7a4fa3", "#1a1a1a", "#c2a000", "#2fa3b5", "#b8408f", "#7d5a3c")
_MARKERS = "osD^vP*"
_LINES = {"fixed": "--", "fpr": "-", "top": ":"}


def canvas(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """Return a figure of that size in inches, and its axes (rows, columns)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, np.asarray(figure.subplots(rows, columns, squeeze=False))


def completeness_maps(table: pd.DataFrame, threshold: str, title: str) -> Figure:
    """Map C(theta_E, PSF) at each depth; cells with too few injections are hatched and empty cells are grey."""
    cells = table.loc[table["threshold"] == threshold]
    depths = np.unique(cells["depth_mag"])
    theta, psf = np.unique(cells["theta_e_arcsec"]), np.unique(cells["psf_fwhm_arcsec"])
    figure, axes = canvas(1, len(depths), 3.6 * len(depths) + 1.0, 3.4)
    top = max(0.05, float(cells.loc[cells["n"] > 0, "completeness"].max(skipna=True) or 0.0))
    image = None
    for axis, depth in zip(axes[0], depths, strict=True):
        at = cells.loc[cells["depth_mag"] == depth]
        cube = at.pivot(index="psf_fwhm_arcsec", columns="theta_e_arcsec", values="completeness")
        supported = at.pivot(index="psf_fwhm_arcsec", columns="theta_e_arcsec", values="supported")
        axis.set_facecolor("#dddddd")
        image = axis.pcolormesh(_edges(theta), _edges(psf), cube.to_numpy(), vmin=0.0, vmax=top, cmap="viridis")
        _hatch(axis, _edges(theta), _edges(psf), ~supported.to_numpy(dtype=bool))
        axis.set_title(f"depth {depth:.2f} mag", fontsize=10)
        axis.set_xlabel(AXIS_LABELS["theta_e_arcsec"])
    axes[0][0].set_ylabel(AXIS_LABELS["psf_fwhm_arcsec"])
    if image is not None:
        figure.colorbar(image, ax=list(axes[0]), label="completeness")
    figure.suptitle(f"{title}, threshold {threshold}; hatched: too few injections or hosts", fontsize=10)
    return figure


def _edges(centres: np.ndarray) -> np.ndarray:
    half = (centres[1] - centres[0]) / 2.0 if len(centres) > 1 else 0.5
    return np.append(centres - half, centres[-1] + half)


def _hatch(axis: Any, x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    for row, column in np.argwhere(mask):
        axis.add_patch(
            Rectangle(
                (x[column], y[row]),
                x[column + 1] - x[column],
                y[row + 1] - y[row],
                fill=False,
                hatch="///",
                edgecolor=_GREY,
                linewidth=0.0,
            )
        )


def marginals(table: pd.DataFrame, thresholds: list[str], title: str) -> Figure:
    """Draw C along each axis alone, with the 95% Beta interval as bars and the host bootstrap as a band.

    Dashed lines are cuts given as scores, solid ones cuts by false-positive rate, dotted ones the top of a sample.
    """
    figure, axes = canvas(1, 3, 11.5, 3.9)
    kinds = table.drop_duplicates("threshold").set_index("threshold")["threshold_kind"]
    for axis, (column, label) in zip(axes[0], AXIS_LABELS.items(), strict=True):
        for number, threshold in enumerate(thresholds):
            rows = table.loc[(table["axis"] == column) & (table["threshold"] == threshold) & (table["n"] > 0)]
            colour = _PALETTE[number % len(_PALETTE)]
            axis.fill_between(
                rows["centre"], rows["host_lower_95"], rows["host_upper_95"], color=colour, alpha=0.15, lw=0
            )
            bars = [rows["completeness"] - rows["beta_lower_95"], rows["beta_upper_95"] - rows["completeness"]]
            axis.errorbar(
                rows["centre"],
                rows["completeness"],
                yerr=np.clip(bars, 0.0, None),
                color=colour,
                ls=_LINES.get(kinds.get(threshold), "-"),
                marker=_MARKERS[number % len(_MARKERS)],
                ms=3.5,
                lw=1.2,
                capsize=2,
                label=threshold,
            )
        axis.set_xlabel(label)
        axis.set_ylim(0.0, None)
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("completeness")
    lines, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=len(labels), fontsize=8, title="threshold")
    figure.suptitle(f"{title}: bars 95% Beta, bands 95% bootstrap over hosts; pooled over the plan", fontsize=10)
    return figure


def footprint_map(table: pd.DataFrame, outside: float, weights: str) -> Figure:
    """Map the share of the footprint in each (PSF, depth) condition; the title states what lies outside the grid."""
    inside = table.dropna(subset=["psf_fwhm_arcsec", "depth_mag"])
    share = inside.pivot(index="psf_fwhm_arcsec", columns="depth_mag", values="share")
    figure, axes = canvas(1, 1, 5.4, 3.8)
    axis = axes[0][0]
    values = np.ma.masked_equal(share.to_numpy(np.float64), 0.0)
    axis.set_facecolor("#dddddd")
    depth, psf = _edges(share.columns.to_numpy(np.float64)), _edges(share.index.to_numpy(np.float64))
    image = axis.pcolormesh(depth, psf, values, cmap="viridis", vmin=0.0)
    axis.set_xlabel(AXIS_LABELS["depth_mag"])
    axis.set_ylabel(AXIS_LABELS["psf_fwhm_arcsec"])
    figure.colorbar(image, ax=axis, label="share of the footprint")
    axis.set_title(f"{weights}: {outside:.1%} outside the grid; grey: none", fontsize=9)
    return figure


def closure(strata: pd.DataFrame, title: str) -> Figure:
    """Draw predicted against true pass rate of each stratum; the area of a point is its number of true lenses."""
    figure, axes = canvas(1, 1, 4.6, 4.4)
    axis = axes[0][0]
    axis.plot([0, 1], [0, 1], color=_GREY, lw=0.9)
    axis.scatter(
        strata["k"] / strata["n"],
        strata["n_passed"] / strata["n_lenses"],
        s=12.0 * strata["n_lenses"].clip(lower=1),
        color=_COLOUR,
        alpha=0.55,
        edgecolor="white",
    )
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="predicted from injections", ylabel="true lenses found")
    axis.set_title(title, fontsize=9)
    axis.grid(alpha=0.25)
    return figure


def failures(table: pd.DataFrame) -> Figure:
    """Draw the paired shift of completeness when the cause that each hypothesis names is taken away."""
    figure, axes = canvas(1, 1, 7.0, 0.45 * len(table) + 1.4)
    axis = axes[0][0]
    axis.axvline(0.0, color=_GREY, lw=0.8)
    bars = np.clip([table["shift"] - table["shift_lower_95"], table["shift_upper_95"] - table["shift"]], 0.0, None)
    axis.errorbar(table["shift"], np.arange(len(table)), xerr=bars, fmt="o", ms=4, capsize=2, color=_COLOUR)
    labels = [f"{row.experiment}\n{row.verdict}" for row in table.itertuples()]
    axis.set_yticks(range(len(table)), labels, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("shift of completeness with the change (95%, hosts resampled)")
    return figure


def remedies(table: pd.DataFrame) -> Figure:
    """Draw C before and after each remedy by Einstein radius, and its paired shift below.

    Thick bars are the joint 95% intervals of the shift, thin ones add the uncertainty of the thresholds; the title
    gives the shift of all bins together.
    """
    names = list(dict.fromkeys(table["remedy"]))
    figure, axes = canvas(2, len(names), 4.4 * len(names) + 0.6, 5.6)
    for number, name in enumerate(names):
        rows = table.loc[table["remedy"] == name]
        total, bins = rows.loc[rows["theta_e_arcsec"].isna()].iloc[0], rows.dropna(subset=["theta_e_arcsec"])
        rates, shifts = axes[0][number], axes[1][number]
        theta = bins["theta_e_arcsec"]
        rates.plot(theta, bins["completeness_before"], "o--", color=_GREY, ms=4, label=total["instead_of"])
        rates.plot(theta, bins["completeness_after"], "o-", color=_COLOUR, ms=4, label=name)
        rates.set_ylim(0.0, None)
        rates.legend(fontsize=8)
        limits = f"{total['shift']:+.3f} [{total['total_lower_95']:+.3f}, {total['total_upper_95']:+.3f}]"
        rates.set_title(f"{name}: {total['verdict']}\n{limits} at {total['threshold']}", fontsize=9)
        for ends, width in (("total", 0.9), ("shift", 2.4)):
            bars = [bins["shift"] - bins[f"{ends}_lower_95"], bins[f"{ends}_upper_95"] - bins["shift"]]
            shifts.errorbar(theta, bins["shift"], yerr=np.clip(bars, 0.0, None), fmt="o", ms=4, lw=width, color=_COLOUR)
        shifts.axhline(0.0, color=_GREY, lw=0.8)
        shifts.set_xlabel(AXIS_LABELS["theta_e_arcsec"])
        for axis in (rates, shifts):
            axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("completeness")
    axes[1][0].set_ylabel("shift, paired (95%)")
    return figure


def collapse(table: pd.DataFrame) -> Figure:
    """Draw completeness by quarters of each property and by class, with 95% Beta limits."""
    names = list(dict.fromkeys(table["property"])) if len(table) else []
    columns = min(max(1, len(names)), 4)
    lines = -(-max(1, len(names)) // columns)
    figure, axes = canvas(lines, columns, 3.0 * columns, 3.2 * lines)
    for axis in axes.ravel()[len(names) :]:
        axis.set_axis_off()
    for axis, name in zip(axes.ravel(), names, strict=False):
        rows = table.loc[table["property"] == name]
        bars = [rows["completeness"] - rows["beta_lower_95"], rows["beta_upper_95"] - rows["completeness"]]
        axis.errorbar(range(len(rows)), rows["completeness"], yerr=np.clip(bars, 0.0, None), fmt="o", color=_COLOUR)
        axis.set_xticks(range(len(rows)), list(rows["value"]), rotation=60, ha="right", fontsize=6)
        axis.set_title(name, fontsize=8)
        axis.set_ylim(0.0, None)
        axis.grid(alpha=0.25)
    for axis in axes[:, 0]:
        axis.set_ylabel("completeness")
    return figure
