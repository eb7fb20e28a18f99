"""Plots of the parent samples of lens hosts: where luminous red galaxies are dense, and which regions lead."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

_NAMED = 10


def density_map(cells: pd.DataFrame, regions: pd.DataFrame, variant: str) -> Figure:
    """Plot cells (ra, dec in deg, density_per_deg2) over the sky and the leading regions (ra, dec, rank_density)."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot(projection="mollweide")
    order = np.argsort(cells["density_per_deg2"].to_numpy())
    shown = cells.iloc[order]
    drawn = axes.scatter(*_projected(shown), s=2, c=shown["density_per_deg2"], cmap="viridis")
    figure.colorbar(drawn, ax=axes, label="luminous red galaxies [1/deg$^2$]", shrink=0.7)
    leading = regions[regions["rank_density"] <= _NAMED]
    for x, y, place in zip(*_projected(leading), leading["rank_density"], strict=True):
        axes.annotate(str(place), (x, y), fontsize=7, color="tab:red", ha="center", va="center")
    axes.set_title(f"{variant}: {len(cells)} cells, {len(regions)} dense regions; red: place by density")
    axes.set_xticklabels([])
    axes.grid(alpha=0.3)
    return figure


def rankings_figure(regions: pd.DataFrame) -> Figure:
    """Plot how the place by density compares with the three other rankings, for every variant."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    for axes, other in zip(figure.subplots(1, 3), ("n_lrg", "area_weighted", "psf_weighted"), strict=True):
        for variant, rows in regions.groupby("variant"):
            axes.plot(rows["rank_density"], rows[f"rank_{other}"], ".", label=str(variant))
        axes.set(xlabel="place by density", ylabel=f"place by {other.replace('_', ' ')}")
    if len(regions):
        figure.axes[-1].legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _projected(positions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return Mollweide coordinates in radians, right ascension growing to the left."""
    ra = np.radians((positions["ra"].to_numpy(dtype=float) + 180.0) % 360.0 - 180.0)
    return -ra, np.radians(positions["dec"].to_numpy(dtype=float))


def legacy_figure(strata: pd.DataFrame) -> Figure:
    """Plot the galaxies drawn of those wanted in each bin of PSF and depth, summed over selection sets, per split."""
    splits = [name for name in ("train", "val", "test") if name in set(strata["legacy_split"])]
    figure = Figure(figsize=(4 * max(len(splits), 1), 3.5), layout="constrained")
    for axes, split in zip(np.atleast_1d(figure.subplots(1, max(len(splits), 1))), splits, strict=False):
        bins = strata[strata["legacy_split"] == split].groupby(["depth_bin", "psf_bin"])[["drawn", "wanted"]].sum()
        share = (bins["drawn"] / bins["wanted"]).unstack("psf_bin")
        axes.imshow(share.to_numpy(), vmin=0.0, vmax=1.0, cmap="Blues", origin="lower", aspect="auto")
        for (row, column), value in np.ndenumerate(bins["drawn"].unstack("psf_bin").to_numpy()):
            axes.text(column, row, f"{value}", ha="center", va="center", fontsize=8)
        axes.set_xticks(range(share.shape[1]), list(share.columns))
        axes.set_yticks(range(share.shape[0]), list(share.index))
        axes.set(xlabel="PSF bin, sharp to blurred", ylabel="depth bin, shallow to deep")
        axes.set_title(f"{split}: {int(bins['drawn'].sum())} of {int(bins['wanted'].sum())}", fontsize=9)
    return figure
