"""Plots of stamps, their quality, the balance of the splits and the audit of single features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPLIT_COLOURS = {"train": "#4477aa", "val": "#ccbb44", "test": "#ee6677"}
_FLAG_COLOURS = {
    "none": "#bbbbbb", "expected": "#4477aa", "yellow": "#ccbb44", "red": "#cc3311", "not_evaluated": "#eeeeee",
}  # fmt: skip


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def shortcut_figure(audit: pd.DataFrame, yellow_auc: float, red_auc: float) -> Figure:
    """Draw the AUC of each feature with its 68% interval, coloured by flag, and the two limits."""
    audit = audit[audit["auc"].notna()].iloc[::-1]
    figure = _figure(7.0, 1.0 + 0.22 * max(1, len(audit)))
    axis = figure.subplots()
    colours = [_FLAG_COLOURS[flag] for flag in audit["flag"]]
    axis.barh(audit["feature"], audit["auc"], color=colours, height=0.7)
    errors = [audit["auc"] - audit["lower_68"], audit["upper_68"] - audit["auc"]]
    axis.errorbar(audit["auc"], audit["feature"], xerr=np.clip(errors, 0, None), fmt="none", ecolor="k", lw=0.8)
    axis.axvline(yellow_auc, color=_FLAG_COLOURS["yellow"], ls="--", lw=1)
    axis.axvline(red_auc, color=_FLAG_COLOURS["red"], ls="--", lw=1)
    axis.set_xlim(0.45, 1.0)
    axis.set_xlabel("AUC of the feature alone (grey: none, blue: expected physics)")
    axis.tick_params(labelsize=7)
    return figure


def balance_figure(manifest: pd.DataFrame) -> Figure:
    """Draw seeing, depth, exposures and magnitude of each split as normalised histograms."""
    from lens_assets.survey.units import depth_ivar_to_mag

    panels = {
        "r-band PSF FWHM [arcsec]": manifest["psfsize_r"].to_numpy(dtype=float),
        "r-band depth [AB mag, 5 sigma]": depth_ivar_to_mag(manifest["psfdepth_r"].to_numpy(dtype=float)),
        "exposures in z": manifest["nobs_z"].to_numpy(dtype=float, na_value=np.nan),
        "r magnitude [AB]": manifest["mag_r"].to_numpy(dtype=float),
    }
    figure = _figure(9.0, 2.6)
    for axis, (title, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        finite = np.isfinite(values)
        low, high = np.percentile(values[finite], [0.5, 99.5]) if finite.any() else (0.0, 1.0)
        edges = np.linspace(low, high, 21) if high > low else np.array([low - 0.5, low + 0.5])
        for split, colour in _SPLIT_COLOURS.items():
            chosen = values[finite & (manifest["split"] == split).to_numpy()]
            if len(chosen):
                axis.hist(chosen, bins=edges, density=True, histtype="step", color=colour, label=split)
        axis.set_xlabel(title, fontsize=7)
        axis.tick_params(labelsize=6)
        axis.set_yticks([])
    figure.axes[0].legend(fontsize=6)
    return figure


def visibility_figure(arc_visibility: np.ndarray, group: np.ndarray, visible_snr: float) -> Figure:
    """Draw the cumulative distribution of arc visibility for each group (e.g. tier) with the limit of visible."""
    figure = _figure(5.0, 3.2)
    axis = figure.subplots()
    for name in sorted({str(value) for value in group}):
        values = np.sort(arc_visibility[np.asarray([str(value) == name for value in group])])
        axis.step(values, np.arange(1, len(values) + 1) / len(values), label=f"{name} ({len(values)})")
    axis.axvline(visible_snr, color="k", ls=":", lw=1)
    axis.set_xscale("symlog", linthresh=1.0)
    axis.set_xlabel("arc visibility [signal-to-noise of blue residual light]")
    axis.set_ylabel("cumulative fraction")
    if len(group):
        axis.legend(fontsize=7)
    return figure


def status_figure(counts: pd.Series, title: str) -> Figure:
    """Draw counts by reason as horizontal bars."""
    figure = _figure(5.0, 0.8 + 0.25 * max(1, len(counts)))
    axis = figure.subplots()
    axis.barh([str(name) for name in counts.index], counts.to_numpy(), color="#4477aa")
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xlabel("stamps")
    axis.set_title(title, fontsize=9)
    axis.tick_params(labelsize=7)
    return figure
