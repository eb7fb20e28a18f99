"""C(theta_E, PSF, depth): trials from scored injections, counts in the cells of a grid, marginals and the null floor.

A detection is a host + arc that passes the threshold while the host alone does not: a host that passes anyway is a
candidate with or without the arc, and is counted apart (`n_host_only`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from lens_assets.campaign.stages.selection_function import GridSettings, IntervalSettings
from lens_assets.selection.grid import OUTSIDE, bin_index, condition_centres, grid_frame
from lens_assets.selection.rates import combined_limits, rate_columns

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
    """A named cut on the score with the 95% limits of its own position, equal to it where it was given as such.

    `sufficient` says whether enough validation objects lie above it to define it.
    """

    name: str
    kind: str
    score: float
    score_lower: float
    score_upper: float
    sufficient: bool

    def columns(self) -> dict[str, object]:
        """Return what every rate at this threshold states of it."""
        return {
            "threshold": self.name,
            "threshold_kind": self.kind,
            "threshold_score": self.score,
            "threshold_score_lower": self.score_lower,
            "threshold_score_upper": self.score_upper,
            "threshold_sufficient": self.sufficient,
        }


def thresholds_of(frame: pd.DataFrame) -> tuple[Threshold, ...]:
    """Return the thresholds of a frozen detector's table.

    Columns name, kind, threshold, threshold_lower, threshold_upper, sufficient.
    """
    return tuple(
        Threshold(
            str(row["name"]),
            str(row["kind"]),
            float(row["threshold"]),
            float(row["threshold_lower"]),
            float(row["threshold_upper"]),
            bool(row["sufficient"]),
        )
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
                    **counted(group, threshold, intervals, seed, identifier),
                    "denominator": denominator,
                }
            )
    return pd.DataFrame(rows)


def counts_of(group: pd.DataFrame, threshold: Threshold) -> dict[str, int]:
    """Return k, n, n_hosts, n_host_only of one group of trials, and k at the limits of the threshold."""
    return {
        "k": int(detected_at(group, threshold.score).sum()),
        "n": len(group),
        "n_hosts": int(group["galaxy_id"].nunique()),
        "n_host_only": int((group["host_score"] >= threshold.score).sum()),
        "k_threshold_lower": int(detected_at(group, threshold.score_lower).sum()),
        "k_threshold_upper": int(detected_at(group, threshold.score_upper).sum()),
    }


def bootstrap_is_degenerate(counts: Mapping[str, int]) -> bool:
    """Say whether all trials or hosts of a group agree, so that its bootstraps have no width."""
    return counts["n"] > 0 and (counts["k"] in (0, counts["n"]) or counts["n_hosts"] == 1)


def is_supported(counts: Mapping[str, int], intervals: IntervalSettings) -> bool:
    """Say whether a group has trials and hosts enough to be quoted."""
    return counts["n"] >= intervals.minimum_trials and counts["n_hosts"] >= intervals.minimum_hosts


def counted(
    group: pd.DataFrame, threshold: Threshold, intervals: IntervalSettings, seed: int, identifier: str
) -> dict[str, object]:
    """Return counts, rates, intervals and support of one group of trials at one threshold.

    `identifier` names the group; with `seed` it fixes the bootstraps, whatever other groups there are.
    """
    counts = counts_of(group, threshold)
    prior = (intervals.prior_alpha, intervals.prior_beta)
    clusters = {"host": group["galaxy_id"], "cell": group["healpix_128"]}
    detected = detected_at(group, threshold.score)
    rates = rate_columns(detected, clusters, prior, intervals.bootstrap_resamples, seed, identifier)
    moved = (counts["k_threshold_lower"], counts["k_threshold_upper"])
    return {
        **counts,
        **rates,
        **combined_limits(rates, moved, counts["n"], prior),
        "bootstrap_degenerate": bootstrap_is_degenerate(counts),
        "supported": is_supported(counts, intervals),
    }


COMPLETENESS_COLUMNS = {
    "grid": "name of the grid",
    "grid_digest": "SHA-256 of the grid's axes, band and depth definition",
    "threshold": "name of the detection threshold",
    "threshold_kind": "fixed score, or defined by a false-positive rate on validation",
    "threshold_score": "score at or above which a stamp passes",
    "threshold_score_lower": "lower 95% limit of that score, by order statistics of the validation sample",
    "threshold_score_upper": "upper 95% limit of that score",
    "threshold_sufficient": "whether enough validation objects lie above the threshold to define it",
    "theta_e_arcsec": "centre of the Einstein radius bin [arcsec]",
    "psf_fwhm_arcsec": "centre of the r-band PSF FWHM bin [arcsec]",
    "depth_mag": "centre of the r-band 5-sigma point-source depth bin [AB mag]",
    "condition": "partition key of the (PSF, depth) bin",
    "k": "detections: host + arc passes and the host alone does not",
    "n": "trials",
    "n_hosts": "distinct hosts among the trials",
    "n_host_only": "trials whose host alone passes",
    "k_threshold_lower": "detections if the threshold were at its lower limit",
    "k_threshold_upper": "detections if the threshold were at its upper limit",
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
    **{
        f"{kind}_{side}_{level}": f"{side} {level}% limit, {meaning}"
        for kind, meaning in (
            (
                "conditional",
                "at the threshold as it is: the wider of Beta posterior and host bootstrap, if not at 0 or 1",
            ),
            ("total", "all three and, in quadrature, the threshold's own uncertainty"),
        )
        for level in (68, 95)
        for side in ("lower", "upper")
    },
    "bootstrap_degenerate": "all trials or hosts agree, so that the bootstraps have no width and say nothing",
    "supported": "enough trials and hosts to be quoted",
    "denominator": "what a trial is: every draw of the source-position prior, or the multiply imaged ones",
}
