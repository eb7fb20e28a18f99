"""Plots of the survey and catalog stages: where sources and lenses are, and how bright."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

MAX_POINTS = 20_000


def source_map(sources: pd.DataFrame) -> Figure:
    """Plot positions (ra, dec in deg; margin rows apart) and the z magnitudes (mag_z, AB) of a partition."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    sky, bright = figure.subplots(1, 2)
    shown = sources.iloc[:: max(1, len(sources) // MAX_POINTS)]
    for name, rows in (("own", shown[~shown["in_margin"]]), ("margin", shown[shown["in_margin"]])):
        sky.plot(rows["ra"], rows["dec"], ",", label=f"{name} ({len(rows)} shown)")
    sky.set(xlabel="RA [deg]", ylabel="Dec [deg]", title=f"{len(sources)} sources")
    sky.invert_xaxis()
    if len(shown):
        sky.legend(loc="upper right", markerscale=8)
    magnitudes = sources["mag_z"].to_numpy(dtype=float)
    bright.hist(magnitudes[np.isfinite(magnitudes)], bins=np.arange(12.0, 26.5, 0.5))
    bright.set(xlabel="z [AB mag]", ylabel="sources")
    return figure


def sky_map(positions: pd.DataFrame, by: str, title: str) -> Figure:
    """Plot positions (ra, dec in deg) of the whole sky in a Mollweide projection, coloured by the column `by`."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot(projection="mollweide")
    for name, rows in positions.groupby(by, observed=True):
        ra = np.radians((rows["ra"].to_numpy(dtype=float) + 180.0) % 360.0 - 180.0)
        axes.scatter(-ra, np.radians(rows["dec"].to_numpy(dtype=float)), s=2, label=f"{name} ({len(rows)})")
    axes.set_title(title)
    axes.set_xticklabels([])
    axes.grid(alpha=0.3)
    if len(positions):
        axes.legend(loc="lower right", fontsize="small", markerscale=3)
    return figure


def match_figure(matches: pd.DataFrame) -> Figure:
    """Plot separations of matched lenses (separation_arcsec) and how many lenses have which outcome."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    separation = matches.loc[matches["matched"], "separation_arcsec"].to_numpy(dtype=float)
    left.hist(separation, bins=np.linspace(0.0, max(1.0, separation.max(initial=0.0)), 41))
    left.set(xlabel="lens to source [arcsec]", ylabel="lenses", title=f"{len(separation)} matched")
    outcomes = matches["unmatched_reason"].fillna("matched").value_counts()
    right.barh(outcomes.index.to_list(), outcomes.to_numpy())
    right.set(xlabel="lenses")
    return figure
