"""C(theta_E, PSF, depth): trials from scored injections, counts in the cells of a grid, marginals and the null floor.

A detection is a host + arc that passes the threshold while the host alone does not: a host that passes anyway is a
candidate with or without the arc, and is counted apart (`n_host_only`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from lens_assets.campaign.stages.selection_function import GridSettings, IntervalSettings
from lens_assets.selection.grid import OUTSIDE, bin_index, condition_centres, grid_frame
from lens_assets.selection.rates import rate_columns
from lens_assets.statistics.intervals import beta_interval

Denominator = Literal["all_draws", "multiply_imaged"]

INJECTION_COLUMNS = (
    "injection_id",
    "galaxy_id",
    "healpix_128",
    "region_id",
    "condition",
    "theta_e_arcsec",
    "psfsize_r",
    "psfdepth_r_mag",
    "n_images",
    "status",
)
"""What is needed of an injection, beside its scores."""

RENDERED = 0
"""`status` of an injection without a fault; any set bit names one."""
AXES = ("theta_e_arcsec", "psf_fwhm_arcsec", "depth_mag")


@dataclass(frozen=True)
class Threshold:
    """A named cut on the score; `sufficient` says whether enough validation objects lie above it to define it."""

    name: str
    kind: str
    score: float
    sufficient: bool

    def columns(self) -> dict[str, object]:
        """Return what every rate at this threshold states of it."""
        return {
            "threshold": self.name,
            "threshold_kind": self.kind,
            "threshold_score": self.score,
            "threshold_sufficient": self.sufficient,
        }


def thresholds_of(frame: pd.DataFrame) -> tuple[Threshold, ...]:
    """Return the thresholds of a frozen detector's table: columns name, kind, threshold, sufficient."""
    return tuple(
        Threshold(str(row["name"]), str(row["kind"]), float(row["threshold"]), bool(row["sufficient"]))
        for row in frame.to_dict("records")
    )


def trials_of(
    injections: pd.DataFrame, scores: pd.DataFrame, grid: GridSettings, denominator: Denominator
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Join injections with their scores and put each in its cell.

    Returns (trials, counts). A failed draw or a missing score is no trial, neither detected nor missed: such rows
    are left out and counted. An injection whose host lies in another cell than its partition says is refused.
    """
    joined = injections.merge(scores, on="injection_id", how="left", validate="one_to_one", sort=True)
    usable = joined["status"].eq(RENDERED) & np.isfinite(joined["host_score"]) & np.isfinite(joined["injected_score"])
    counted = usable & (joined["n_images"] >= 2) if denominator == "multiply_imaged" else usable
    trials = joined.loc[counted].reset_index(drop=True)
    trials["theta_e_bin"] = bin_index(trials["theta_e_arcsec"], grid.theta_e_edges_arcsec)
    trials["psf_bin"] = bin_index(trials["psfsize_r"], grid.psf_fwhm_edges_arcsec)
    trials["depth_bin"] = bin_index(trials["psfdepth_r_mag"], grid.depth_edges_mag)
    _require_in_cell(trials, grid)
    counts = {
        "injections": len(joined),
        "failed": int((~usable).sum()),
        "not_in_denominator": int((usable & ~counted).sum()),
        "trials": len(trials),
    }
    return trials, counts


def _require_in_cell(trials: pd.DataFrame, grid: GridSettings) -> None:
    bins = trials[["theta_e_bin", "psf_bin", "depth_bin"]]
    stray = bins.eq(OUTSIDE).any(axis=1)
    keys = {(psf, depth): key for key, (psf, depth) in condition_centres(grid).items()}
    psf_centres, depth_centres = grid.psf_fwhm_arcsec.centres, grid.depth_mag.centres
    expected = [
        None if outside else keys[(psf_centres[psf], depth_centres[depth])]
        for psf, depth, outside in zip(trials["psf_bin"], trials["depth_bin"], stray, strict=True)
    ]
    wrong = stray.to_numpy() | (np.asarray(expected, dtype=object) != trials["condition"].to_numpy(dtype=object))
    if wrong.any():
        row = trials.loc[wrong].iloc[0]
        raise ValueError(
            f"injection {row['injection_id']}: expected a host in cell {row['condition']} of grid {grid.name}, got PSF "
            f"{row['psfsize_r']:.3f} arcsec, depth {row['psfdepth_r_mag']:.3f} mag, theta_E "
            f"{row['theta_e_arcsec']:.3f} arcsec ({int(wrong.sum())} such rows); plan them again with this grid"
        )


def detected_at(trials: pd.DataFrame, threshold: float) -> pd.Series:
    """Return which trials are detections: host + arc at or above the threshold, host alone below it."""
    return (trials["injected_score"] >= threshold) & (trials["host_score"] < threshold)


def completeness_grid(
    trials: pd.DataFrame,
    thresholds: Sequence[Threshold],
    grid: GridSettings,
    intervals: IntervalSettings,
    denominator: Denominator,
    seed: int,
) -> pd.DataFrame:
    """Return one row a (threshold, cell), empty cells among them, sorted by threshold order and cell.

    See `COMPLETENESS_COLUMNS` for the columns.
    """
    cells = grid_frame(grid)
    groups = dict(iter(trials.groupby(["theta_e_bin", "psf_bin", "depth_bin"], sort=True)))
    rows = []
    for threshold in thresholds:
        for cell in cells.itertuples(index=False):
            group = groups.get((cell.theta_e_bin, cell.psf_bin, cell.depth_bin), trials.iloc[:0])
            identifier = f"{threshold.name}|{cell.condition}|{cell.theta_e_bin}"
            rows.append(
                {
                    "grid": grid.name,
                    "grid_digest": grid.digest,
                    **threshold.columns(),
                    **{axis: getattr(cell, axis) for axis in AXES},
                    "condition": cell.condition,
                    **_counted(group, threshold.score, intervals, seed, identifier),
                    "denominator": denominator,
                }
            )
    return pd.DataFrame(rows)


def marginal(
    trials: pd.DataFrame,
    thresholds: Sequence[Threshold],
    grid: GridSettings,
    intervals: IntervalSettings,
    seed: int,
) -> pd.DataFrame:
    """Return C along each axis alone, from the pooled k and n of its bins, weighted by trials.

    Rates are never averaged. The weights are those of the plan: each trial counts once, so conditions weigh as the
    plan filled them, not as the footprint holds them.
    """
    bins = {
        "theta_e_arcsec": ("theta_e_bin", grid.theta_e_arcsec.centres),
        "psf_fwhm_arcsec": ("psf_bin", grid.psf_fwhm_arcsec.centres),
        "depth_mag": ("depth_bin", grid.depth_mag.centres),
    }
    rows = []
    for threshold in thresholds:
        for axis, (column, centres) in bins.items():
            for index, centre in enumerate(centres):
                group = trials.loc[trials[column] == index]
                identifier = f"{threshold.name}|{axis}|{index}"
                rows.append(
                    {
                        **threshold.columns(),
                        "axis": axis,
                        "centre": centre,
                        "weights": "trials",
                        **_counted(group, threshold.score, intervals, seed, identifier),
                    }
                )
    return pd.DataFrame(rows)


def null_floor(trials: pd.DataFrame, thresholds: Sequence[Threshold], intervals: IntervalSettings) -> pd.DataFrame:
    """Return how often the hosts alone pass: the limit of the pass rate of host + arc as theta_E goes to 0.

    Each host counts once, however many injections it carries. The limit of C itself is 0 by its definition.
    """
    hosts = trials.drop_duplicates("galaxy_id")
    prior = (intervals.prior_alpha, intervals.prior_beta)
    rows = []
    for threshold in thresholds:
        k, n = int((hosts["host_score"] >= threshold.score).sum()), len(hosts)
        lower, upper = beta_interval(k, n, 0.95, prior)
        rows.append(
            {
                **threshold.columns(),
                "n_hosts_passing_alone": k,
                "n_hosts": n,
                "floor": k / n if n else float("nan"),
                "beta_lower_95": float(lower),
                "beta_upper_95": float(upper),
            }
        )
    return pd.DataFrame(rows)


def _counted(
    group: pd.DataFrame, threshold: float, intervals: IntervalSettings, seed: int, identifier: str
) -> dict[str, object]:
    detected = detected_at(group, threshold)
    n, n_hosts = len(group), int(group["galaxy_id"].nunique())
    prior = (intervals.prior_alpha, intervals.prior_beta)
    clusters = {"host": group["galaxy_id"], "cell": group["healpix_128"]}
    return {
        "k": int(detected.sum()),
        "n": n,
        "n_hosts": n_hosts,
        "n_host_only": int((group["host_score"] >= threshold).sum()),
        **rate_columns(detected, clusters, prior, intervals.bootstrap_resamples, seed, identifier),
        "supported": n >= intervals.minimum_trials and n_hosts >= intervals.minimum_hosts,
    }


COMPLETENESS_COLUMNS = {
    "grid": "name of the grid",
    "grid_digest": "SHA-256 of the grid's axes, band and depth definition",
    "threshold": "name of the detection threshold",
    "threshold_kind": "fixed score, or defined by a false-positive rate on validation",
    "threshold_score": "score at or above which a stamp passes",
    "threshold_sufficient": "whether enough validation objects lie above the threshold to define it",
    "theta_e_arcsec": "centre of the Einstein radius bin [arcsec]",
    "psf_fwhm_arcsec": "centre of the r-band PSF FWHM bin [arcsec]",
    "depth_mag": "centre of the r-band 5-sigma point-source depth bin [AB mag]",
    "condition": "partition key of the (PSF, depth) bin",
    "k": "detections: host + arc passes and the host alone does not",
    "n": "trials",
    "n_hosts": "distinct hosts among the trials",
    "n_host_only": "trials whose host alone passes",
    "completeness": "k / n, null without trials",
    "posterior_mean": "mean of the Beta posterior",
    **{
        f"{kind}_{side}_{level}": f"{side} {level}% limit, {meaning}"
        for kind, meaning in (
            ("beta", "Beta posterior of independent trials"),
            ("host", "bootstrap over hosts"),
            ("cell", "bootstrap over sky cells"),
        )
        for level in (68, 95)
        for side in ("lower", "upper")
    },
    "supported": "enough trials and hosts to be quoted",
    "denominator": "what a trial is: every draw of the source-position prior, or the multiply imaged ones",
}
