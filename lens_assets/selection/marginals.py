"""C along one axis, from pooled k and n with stated weights, and the pass rate of hosts without any arc."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lens_assets.campaign.stages.selection_function import GridSettings, IntervalSettings
from lens_assets.selection.completeness import (
    Threshold,
    bootstrap_is_degenerate,
    counted,
    counts_of,
    detected_at,
    is_supported,
)
from lens_assets.selection.rates import combined_limits, weighted_rate_columns
from lens_assets.statistics.intervals import beta_interval

PER_TRIAL = "trials"
"""Each trial counts once: conditions weigh as the plan filled them."""
MARGINAL_COLUMNS = {
    "axis": "axis of the grid along which the rates are given",
    "centre": "centre of the bin, in the unit of that axis [arcsec or AB mag]",
    "weights": "how conditions weigh: trials (as the plan filled them) or footprint (and what it was counted from)",
    "n_eff": "effective number of trials of the weights, (sum w)^2 / sum w^2",
    "share_with_trials": "share of the footprint whose conditions hold trials in this bin; null for weights of trials",
}
"""What a marginal states beside the columns of the completeness table."""

FLOOR_COLUMNS = {
    "n_hosts_passing_alone": "distinct hosts that pass without an arc",
    "n_hosts": "distinct hosts",
    "floor": "their share",
}


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
    rows = []
    for threshold in thresholds:
        for axis, column, index, centre in _bins(grid):
            group = trials.loc[trials[column] == index]
            identifier = f"{threshold.name}|{axis}|{index}"
            rows.append(
                {
                    **threshold.columns(),
                    "axis": axis,
                    "centre": centre,
                    "weights": PER_TRIAL,
                    **counted(group, threshold, intervals, seed, identifier),
                    "n_eff": float(len(group)),
                    "share_with_trials": float("nan"),
                }
            )
    return pd.DataFrame(rows)


def footprint_marginal(
    trials: pd.DataFrame,
    shares: pd.DataFrame,
    weights: str,
    thresholds: Sequence[Threshold],
    grid: GridSettings,
    intervals: IntervalSettings,
    seed: int,
) -> pd.DataFrame:
    """Return C along each axis with conditions weighted as the footprint holds them.

    `shares` has condition and share; `weights` names what they were counted from. A trial weighs the share of its
    condition over the number of trials in its cell, so that k and n stay weighted counts: sum(w k) / sum(w n), which
    is post-stratification (Holt & Smith 1979, J. R. Stat. Soc. A 142, 33); Einstein radius bins weigh equally.
    `share_with_trials` is the share of the footprint, within the bin, whose conditions hold any trials: the rest has
    no number and is not guessed. Columns as `marginal`, with rates and limits of the weighted estimate.
    """
    share = shares.set_index("condition")["share"]
    prior = (intervals.prior_alpha, intervals.prior_beta)
    cell = ["theta_e_bin", "psf_bin", "depth_bin"]
    weighted = trials.assign(
        weight=trials["condition"].map(share).fillna(0.0).to_numpy(np.float64)
        / trials.groupby(cell)["injection_id"].transform("size").to_numpy(np.float64)
    )
    rows = []
    for threshold in thresholds:
        for axis, column, index, centre in _bins(grid):
            group = weighted.loc[weighted[column] == index]
            identifier = f"{threshold.name}|{axis}|{index}|footprint"
            counts = counts_of(group, threshold)
            rates = weighted_rate_columns(
                detected_at(group, threshold.score),
                group["weight"],
                {"host": group["galaxy_id"], "cell": group["healpix_128"]},
                prior,
                intervals.bootstrap_resamples,
                seed,
                identifier,
            )
            rows.append(
                {
                    **threshold.columns(),
                    "axis": axis,
                    "centre": centre,
                    "weights": weights,
                    **counts,
                    **rates,
                    **combined_limits(rates, _moved_rates(group, threshold), 1, prior),
                    "bootstrap_degenerate": bootstrap_is_degenerate(counts),
                    "supported": is_supported(counts, intervals),
                    "share_with_trials": float(share.reindex(group["condition"].unique()).sum()),
                }
            )
    return pd.DataFrame(rows)


def _moved_rates(group: pd.DataFrame, threshold: Threshold) -> tuple[float, float]:
    """Return the weighted rates if the threshold were at its limits."""
    total = float(group["weight"].sum())
    if not total:
        return float("nan"), float("nan")
    ends = (threshold.score_lower, threshold.score_upper)
    lower, upper = (float(group["weight"] @ detected_at(group, end)) / total for end in ends)
    return lower, upper


def _bins(grid: GridSettings) -> list[tuple[str, str, int, float]]:
    """Return (axis, column of the bin index, index, centre) of every bin of every axis."""
    axes = (
        ("theta_e_arcsec", "theta_e_bin", grid.theta_e_arcsec.centres),
        ("psf_fwhm_arcsec", "psf_bin", grid.psf_fwhm_arcsec.centres),
        ("depth_mag", "depth_bin", grid.depth_mag.centres),
    )
    return [(axis, column, index, centre) for axis, column, centres in axes for index, centre in enumerate(centres)]


def null_floor(trials: pd.DataFrame, thresholds: Sequence[Threshold], intervals: IntervalSettings) -> pd.DataFrame:
    """Return how often the hosts alone pass: the pass rate of host + arc as the arc's light goes to 0.

    Each host counts once, however many injections it carries. C as theta_E goes to 0 with the source's light kept is
    measured by the control of the failure experiments.
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
