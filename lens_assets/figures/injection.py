"""Plots of the injections: what was drawn, where the plan has hosts, and what the stamps look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lens_assets.figures.galleries import lupton_rgb

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PRIOR_PANELS: dict[str, str] = {
    "theta_e_arcsec": "Einstein radius [arcsec]",
    "lens_axis_ratio": "lens axis ratio",
    "source_mag_r": "source r, unlensed [AB mag]",
    "source_g_minus_r": "source g - r [mag]",
    "source_r_minus_z": "source r - z [mag]",
    "source_half_light_radius_arcsec": "half-light radius [arcsec]",
    "source_sersic_index": "Sersic index",
    "source_axis_ratio": "source axis ratio",
    "psfsize_r": "host PSF FWHM, r [arcsec]",
    "psfdepth_r_mag": "host depth, r [AB mag]",
}


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def prior_histograms(plan: pd.DataFrame) -> Figure:
    """Draw the drawn parameters of pilot and grid, each normalised, and where sources lie behind their lenses."""
    figure = _figure(13, 7)
    axes = figure.subplots(3, 4).ravel()
    for axis, (column, label) in zip(axes, PRIOR_PANELS.items(), strict=False):
        values = plan[column].to_numpy(np.float64)
        edges = np.histogram_bin_edges(values[np.isfinite(values)], bins=30)
        for purpose, rows in plan.groupby("purpose"):
            axis.hist(rows[column], bins=edges, density=True, histtype="step", label=str(purpose))
        axis.set_xlabel(label, fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].legend(fontsize=7)
    offset_x = (plan["source_x_arcsec"] - plan["lens_x_arcsec"]) / plan["theta_e_arcsec"]
    offset_y = (plan["source_y_arcsec"] - plan["lens_y_arcsec"]) / plan["theta_e_arcsec"]
    axes[10].plot(offset_x, offset_y, ",", alpha=0.5)
    axes[10].set_aspect("equal")
    axes[10].set_xlabel("source - lens, +x West [theta_E]", fontsize=8)
    axes[10].set_ylabel("+y North [theta_E]", fontsize=8)
    axes[11].hist(plan["log_pdf"], bins=40, histtype="step")
    axes[11].set_xlabel("log density of the draw", fontsize=8)
    return figure


def cell_map(cells: pd.DataFrame, psf_centres: Sequence[float], depth_centres: Sequence[float]) -> Figure:
    """Draw hosts and planned injections of each (PSF, depth) condition; `cells` is ordered with PSF slowest."""
    figure = _figure(11, 4.2)
    shape = (len(psf_centres), len(depth_centres))
    for axis, (column, label) in zip(
        figure.subplots(1, 2), {"hosts": "eligible hosts", "planned": "planned injections"}.items(), strict=True
    ):
        values = cells[column].to_numpy().reshape(shape).T
        image = axis.imshow(values, origin="lower", aspect="auto", cmap="viridis")
        for (row, column_index), value in np.ndenumerate(values):
            axis.text(column_index, row, f"{value}", ha="center", va="center", fontsize=7, color="white")
        axis.set_xticks(range(shape[0]), [f"{value:.2f}" for value in psf_centres], fontsize=7)
        axis.set_yticks(range(shape[1]), [f"{value:.2f}" for value in depth_centres], fontsize=7)
        axis.set_xlabel("PSF FWHM, r [arcsec]")
        axis.set_ylabel("depth, r [AB mag]")
        axis.set_title(label, fontsize=9)
        figure.colorbar(image, ax=axis)
    return figure


GALLERY_GAP_PX = 3
"""White pixels between the stamps of a gallery."""


def triplets(
    hosts: NDArray[np.floating], injected: NDArray[np.floating], arcs: NDArray[np.floating], titles: Sequence[str]
) -> Figure:
    """Draw host, injected stamp and noiseless arc of N injections, one column each; north up, east left."""
    if not len(hosts):
        figure = _figure(4, 2)
        figure.text(0.5, 0.5, "no injections", ha="center", va="center")
        return figure
    height, width = hosts.shape[2] + GALLERY_GAP_PX, hosts.shape[3] + GALLERY_GAP_PX
    picture = np.full((3 * height, len(hosts) * width, 3), 255, dtype=np.uint8)
    for row, stamps in enumerate((arcs, injected, hosts)):
        for column, image in enumerate(lupton_rgb(stamps)):
            up, right = row * height, column * width
            picture[up : up + hosts.shape[2], right : right + hosts.shape[3]] = image
    figure = _figure(1.4 * len(hosts), 4.8)
    # One picture of all: axes for each stamp take most of a second to lay out.
    axis = figure.subplots()
    axis.imshow(picture, origin="lower", interpolation="nearest")
    axis.set_yticks((np.arange(3) + 0.5) * height, ["arc", "injected", "host"], rotation=90, va="center", fontsize=8)
    axis.set_xticks((np.arange(len(hosts)) + 0.5) * width, titles, fontsize=6)
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    axis.spines[:].set_visible(False)
    return figure


def score_pairs(host_scores: NDArray[np.floating], injected_scores: NDArray[np.floating]) -> Figure:
    """Draw each injection's score against its host's alone, and both distributions."""
    figure = _figure(10, 4)
    pairs, distribution = figure.subplots(1, 2)
    pairs.plot(host_scores, injected_scores, ",", alpha=0.6)
    pairs.plot([0, 1], [0, 1], lw=0.8, color="grey")
    pairs.set_xlabel("score of the host alone")
    pairs.set_ylabel("score with the arc")
    edges = np.linspace(0.0, 1.0, 41)
    for values, label in ((host_scores, "host alone"), (injected_scores, "with the arc")):
        distribution.hist(values[np.isfinite(values)], bins=edges, histtype="step", label=label)
    distribution.set_yscale("log")
    distribution.set_xlabel("score")
    distribution.legend(fontsize=8)
    return figure
