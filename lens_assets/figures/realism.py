"""Plots of the realism battery: what anchors look like, the calibration, both distributions of every observable."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lens_assets.campaign.stages.realism import RealismSettings
    from lens_assets.realism.background import Background
    from lens_assets.realism.battery import Battery
    from lens_assets.realism.strata import Half

VERDICT_COLOURS = {"PASS": "#2a7f3f", "FAIL": "#b3261e", "WARN": "#c77700", "NOT-EVALUATED": "#6b6b6b"}
OVERVIEW = ("arc_snr", "arc_radius_arcsec", "arc_g_minus_r", "arc_r_minus_z", "arc_width_over_psf", "psfdepth_r_mag")
MOST_DIFFERENCES = 18
_SKY = "background_"
LOGARITHMIC = ("arc_snr", "residual_amplitude")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def anchor_overview(anchors: pd.DataFrame) -> Figure:
    """Draw histograms of the visible anchors of both halves, and of the invisible ones."""
    figure = _figure(11, 5.5)
    groups = {
        "calibration, visible": anchors["visible"] & (anchors["half"] == "calibration"),
        "gate, visible": anchors["visible"] & (anchors["half"] == "gate"),
        "not visible": ~anchors["visible"],
    }
    for axis, name in zip(figure.subplots(2, 3).ravel(), OVERVIEW, strict=True):
        values = anchors[name].to_numpy(np.float64)
        finite = values[np.isfinite(values)]
        edges = np.histogram_bin_edges(finite, bins=20) if len(finite) else np.linspace(0, 1, 21)
        for label, rows in groups.items():
            chosen = values[rows & np.isfinite(values)]
            axis.hist(chosen, bins=edges, histtype="step", label=f"{label} ({int(rows.sum())})")
        axis.set_xlabel(_with_unit(name), fontsize=8)
        axis.set_ylabel("anchors", fontsize=8)
    figure.axes[0].legend(fontsize=7)
    return figure


def calibration_curve(curve: pd.DataFrame, shift_mag: float, lower_mag: float, upper_mag: float) -> Figure:
    """Draw the mismatch of the arc signal-to-noise against the trial shift, and the chosen shift."""
    figure = _figure(6, 4)
    axis = figure.subplots()
    axis.plot(curve["magnitude_shift_mag"], curve["objective"], "o-", label="mean squared difference of log quantiles")
    axis.plot(curve["magnitude_shift_mag"], curve["visible"], "s--", color="0.5", label="visible share")
    axis.axvline(shift_mag, color="#b3261e", label=f"shift {shift_mag:+.2f} mag")
    axis.axvspan(lower_mag, upper_mag, color="#b3261e", alpha=0.15)
    axis.set_xlabel("shift of the source magnitudes [mag]")
    axis.legend(fontsize=8)
    return figure


def distributions(battery: Battery, settings: RealismSettings) -> Figure:
    """Draw both distribution functions of every compared observable, titled with its verdict."""
    names = ("arc_snr", "arc_g_minus_r", "arc_r_minus_z", *settings.distributions.observables)
    columns = 3
    figure = _figure(4.2 * columns, 2.8 * -(-len(names) // columns))
    axes = figure.subplots(-(-len(names) // columns), columns, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        _distribution_panel(axis, battery, name)
    for axis in axes[len(names) :]:
        axis.axis("off")
    axes[0].legend(fontsize=7)
    return figure


def differences(battery: Battery, settings: RealismSettings, background: Background | None) -> Figure:
    """Draw both distributions of every comparison that failed or warned, with its stratum and the likely knob."""
    from lens_assets.realism.battery import half_of_stratum

    rows = battery.rows[battery.rows["verdict"].isin(["FAIL", "WARN"])].drop_duplicates(["observable", "stratum"])
    shown = [
        item for item in rows.to_dict("records") if _has_distributions(battery, background, str(item["observable"]))
    ]
    shown = shown[:MOST_DIFFERENCES]
    columns = 3
    lines = max(1, -(-len(shown) // columns))
    figure = _figure(4.2 * columns, 3.1 * lines)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes[len(shown) :]:
        axis.axis("off")
    if not shown:
        axes[0].text(0.0, 0.5, "no comparison of distributions failed or warned")
    for axis, item in zip(axes, shown, strict=False):
        name, stratum = str(item["observable"]), str(item["stratum"])
        half = half_of_stratum(battery.compared, settings.strata.columns, stratum)
        if name.startswith(_SKY) and background is not None:
            band, sky = "grz".index(name.removeprefix(_SKY)), background if half is None else background.within(half)
            _steps(axis, sky.untouched[:, band].ravel().astype(np.float64), None, "untouched", "black")
            _steps(axis, sky.injected[:, band].ravel().astype(np.float64), None, "injected", "#1f5fa8")
            axis.set_xlabel("sky pixel [nmgy]", fontsize=8)
        else:
            _both_sides(axis, battery, name, half)
            axis.set_xlabel(_with_unit(name), fontsize=8)
            if name in LOGARITHMIC:
                axis.set_xscale("log")
        knob = textwrap.fill(f"look at {item['likely_knob']}", 58)
        axis.set_title(
            f"{name}, {stratum}: {item['verdict']}\n{knob}", fontsize=7, color=VERDICT_COLOURS[item["verdict"]]
        )
        axis.set_ylabel("share below", fontsize=8)
        axis.legend(fontsize=6)
    return figure


def _has_distributions(battery: Battery, background: Background | None, name: str) -> bool:
    return name in battery.compared.judging or (name.startswith(_SKY) and background is not None)


def _both_sides(axis: Axes, battery: Battery, name: str, half: Half | None) -> None:
    compared = battery.compared
    judging = np.ones(len(compared.judging), bool) if half is None else half.holds(compared.judging)
    injected = np.ones(len(compared.injections), bool) if half is None else half.holds(compared.injections)
    weights = compared.matching.weights if compared.matching else np.ones(len(compared.injections))
    anchors = compared.judging[name].to_numpy(np.float64)[judging]
    values = compared.injections[name].to_numpy(np.float64)[injected]
    _steps(axis, anchors, None, f"anchors ({len(anchors)})", "black")
    _steps(axis, values, weights[injected], f"injections, weighted ({len(values)})", "#1f5fa8")


def _distribution_panel(axis: Axes, battery: Battery, name: str) -> None:
    compared = battery.compared
    weights = compared.matching.weights if compared.matching else np.ones(len(compared.injections))
    _steps(axis, compared.judging[name].to_numpy(np.float64), None, f"anchors ({len(compared.judging)})", "black")
    _steps(axis, compared.injections[name].to_numpy(np.float64), weights, "injections, weighted", "#1f5fa8")
    _steps(axis, compared.injections[name].to_numpy(np.float64), None, "injections, as drawn", "#9db8d6")
    rows = battery.rows[(battery.rows["observable"] == name) & (battery.rows["stratum"] == "all")]
    verdicts = rows["verdict"].tolist()
    verdict = next((item for item in VERDICT_COLOURS if item != "PASS" and item in verdicts), "PASS")
    axis.set_title(f"{name}: {verdict}", color=VERDICT_COLOURS[verdict], fontsize=9)
    axis.set_xlabel(_with_unit(name), fontsize=8)
    axis.set_ylabel("share below", fontsize=8)
    if name in LOGARITHMIC:
        axis.set_xscale("log")


def _with_unit(observable: str) -> str:
    """Return the name of an observable with the unit that ends its description."""
    from lens_assets.realism.observables import OBSERVABLES

    unit = re.search(r"\[[^]]+\]$", OBSERVABLES.get(observable, ""))
    return f"{observable} {unit[0]}" if unit else observable


def _steps(
    axis: Axes, values: NDArray[np.float64], weights: NDArray[np.float64] | None, label: str, colour: str
) -> None:
    keep = np.isfinite(values)
    order = np.argsort(values[keep], kind="stable")
    weight = (np.ones(len(values)) if weights is None else weights)[keep][order]
    if len(order):
        axis.step(values[keep][order], np.cumsum(weight) / weight.sum(), where="post", label=label, color=colour)


def verdict_chart(rows: pd.DataFrame) -> Figure:
    """Draw the rows of the report as a coloured list: observable, what was computed, stratum, value, verdict."""
    figure = _figure(13, 0.5 + 0.22 * max(len(rows), 1))
    axis = figure.subplots()
    axis.axis("off")
    axis.set_xlim(0, 1)
    axis.set_ylim(len(rows) + 0.5, -0.5)
    for position, item in enumerate(rows.to_dict("records")):
        colour = VERDICT_COLOURS.get(str(item["verdict"]), "black")
        weight = "bold" if item["gates"] else "normal"
        p_value = f"p = {item['p_value']:.2g}" if np.isfinite(item["p_value"]) else ""
        value = f"{item['value']:.3g}" if np.isfinite(item["value"]) else ""
        statistic = textwrap.shorten(str(item["statistic"] or ""), 62, placeholder=" …")
        cells = (
            *((0.0, item["observable"]), (0.17, statistic), (0.53, item["stratum"])),
            *((0.68, value), (0.74, p_value)),
        )
        for x, text in cells:
            axis.text(x, position, str(text), fontsize=8, va="center")
        axis.text(0.82, position, str(item["verdict"]), fontsize=8, va="center", color=colour, weight=weight)
        axis.text(0.94, position, "decides" if item["gates"] else "reported", fontsize=7, va="center", color="0.4")
    return figure
