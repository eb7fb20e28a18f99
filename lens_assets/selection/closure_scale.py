"""Closure at scale, the comparison: what injections predict for true lenses against what the detector found.

Several ways to carry injections over stand side by side, from none to all that is known, so that a bias can be traced
to what a way leaves out; `HEADLINE` is the one that is judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from lens_assets.campaign.stages.closure import ClosureEstimateSettings
from lens_assets.selection.closure import ClosureResult, closure, closure_verdict
from lens_assets.selection.closure_stamps import ClosureJob
from lens_assets.selection.grid import OUTSIDE
from lens_assets.selection.rates import LEVELS, BetaPrior
from lens_assets.selection.transport import (
    CELL_LEVELS,
    DETECTABILITY_LEVELS,
    Transport,
    detectabilities,
    doubly_robust,
    injection_covariates,
    lens_covariates,
    weighted_prediction,
    with_cells,
)
from lens_assets.survey.coadds import OK

HEADLINE = "detectability"
ESTIMATORS = {
    "as_drawn": "pass rate of all injections, which were chosen to be like the lenses",
    "cells": "injections of the same cell of the published grid: Einstein radius, seeing and depth",
    "density_ratio": "all injections, weighted by what is left of the density of true lenses over theirs",
    "doubly_robust": "predicted detectability, corrected by the weighted residuals of the injections",
    HEADLINE: "injections of the same predicted detectability and cell, counted as k of n",
}
ALONG = {
    "theta_e_arcsec": "Einstein radius [arcsec]",
    "psfsize_r": "PSF FWHM, r [arcsec]",
    "psfdepth_r_mag": "5-sigma depth, r [AB mag]",
    "source_mag_r": "source r, unlensed [AB mag]",
    "source_radius_arcsec": "source half-light radius [arcsec]",
    "source_offset": "source offset over Einstein radius",
    "host_mag_r": "host r [AB mag]",
    "host_radius_arcsec": "host half-light radius [arcsec]",
    "host_g_minus_r": "host g - r [mag]",
}
"""What bias is looked at along: strata of equally many true lenses."""
STRATA_ALONG = 6
_GROUPS = pd.DataFrame(
    columns=[
        "centre", "n_lenses", "true_recall", "predicted_recall", "bias", "standard_error",
        *(f"{side}_{round(100 * level)}" for level in LEVELS for side in ("lower", "upper")),
    ],
    dtype=np.float64,
)  # fmt: skip


@dataclass(frozen=True)
class Populations:
    """True lenses and injections that may be compared, with covariates; `funnel` counts what was left at each step."""

    lenses: pd.DataFrame
    trials: pd.DataFrame
    funnel: pd.DataFrame


@dataclass(frozen=True)
class Comparison:
    """One detector at one threshold; see `compare`."""

    result: ClosureResult
    estimators: pd.DataFrame
    along: pd.DataFrame
    calibration: pd.DataFrame
    verdict: str
    reason: str


def comparable_lenses(lenses: pd.DataFrame, job: ClosureJob) -> pd.DataFrame:
    """Return the scanned lenses in the grid and inside the ranges of the injections' prior, with covariates."""
    prior = job.settings.prior
    rows = _in_grid(with_cells(lens_covariates(lenses.loc[lenses["status"] == OK]), job.grid))
    inside = pd.Series(True, index=rows.index)
    for column, limits in (
        ("source_mag_r", prior.mag_r), ("source_radius_arcsec", prior.half_light_radius_arcsec),
        ("source_axis_ratio", prior.axis_ratio), ("source_offset", prior.beta_over_theta_e),
    ):  # fmt: skip
        inside &= rows[column].between(limits.minimum, limits.maximum)
    return rows.loc[inside].reset_index(drop=True)


def comparable(lenses: pd.DataFrame, injections: pd.DataFrame, job: ClosureJob) -> Populations:
    """Return the lenses that injections can speak for: scanned, in the grid, inside the prior's ranges."""
    steps = [("true lenses drawn", len(lenses)), ("scanned, with a good stamp", int((lenses["status"] == OK).sum()))]
    inside = with_cells(lens_covariates(lenses.loc[lenses["status"] == OK]), job.grid)
    steps.append(("inside the grid", len(_in_grid(inside))))
    rows = comparable_lenses(lenses, job)
    steps.append(("inside the injections' ranges", len(rows)))
    trials = _in_grid(with_cells(injection_covariates(injections.loc[injections["status"] == 0]), job.grid))
    steps += [("injections chosen", len(injections)), ("injections rendered and scored", len(trials))]
    return Populations(rows, trials, pd.DataFrame(steps, columns=["step", "rows"]))


def _in_grid(rows: pd.DataFrame) -> pd.DataFrame:
    outside = rows[["theta_bin", "psf_bin", "depth_bin"]].eq(OUTSIDE).any(axis=1)
    return rows.loc[~outside].reset_index(drop=True)


def compare(
    populations: Populations,
    detector: str,
    cut: float,
    weights: np.ndarray,
    settings: ClosureEstimateSettings,
    prior: BetaPrior,
    seed: int,
) -> Comparison:
    """Compare predicted with true recall of a detector at a cut; `weights` is `density_ratio` of the populations."""
    score = f"score_{detector}"
    lenses = populations.lenses.assign(passed=populations.lenses[score] >= cut)
    trials = populations.trials.assign(passed=populations.trials[score] >= cut)
    transport = Transport(*detectabilities(lenses, trials, settings.folds, seed), weights)
    lenses = lenses.assign(detectability=transport.lens_detectability)
    trials = trials.assign(detectability=transport.trial_detectability)
    for rows in (lenses, trials):
        rows["detectability_bin"] = np.minimum(
            np.floor(rows["detectability"] * settings.detectability_bins), settings.detectability_bins - 1
        )
    result = closure(lenses, trials, DETECTABILITY_LEVELS, prior, seed, settings.minimum_trials, "galaxy_id")
    verdict, reason = closure_verdict(result, settings.minimum_lenses, settings.maximum_bias, settings.significance)
    return Comparison(
        result=result,
        estimators=_estimators(lenses, trials, transport, result, prior, seed, settings.minimum_trials),
        along=bias_along(result.lenses, result.strata),
        calibration=_calibration(result.lenses, result.strata, settings.detectability_bins),
        verdict=verdict,
        reason=reason,
    )


def _estimators(
    lenses: pd.DataFrame,
    trials: pd.DataFrame,
    transport: Transport,
    result: ClosureResult,
    prior: BetaPrior,
    seed: int,
    minimum_trials: int,
) -> pd.DataFrame:
    true = float(lenses["passed"].mean())
    noise = float(np.sqrt(true * (1.0 - true) / len(lenses)))
    rows = []
    for name, weights in (("as_drawn", np.ones(len(trials))), ("density_ratio", transport.weights)):
        rate, error, effective = weighted_prediction(trials, weights)
        rows.append((name, rate - true, float(np.hypot(error, noise)), effective))
    cells = closure(lenses, trials, CELL_LEVELS, prior, seed, minimum_trials, "galaxy_id")
    rows.insert(1, ("cells", cells.bias, cells.standard_error, float("nan")))
    rows.append(("doubly_robust", *doubly_robust(lenses, trials, transport), float("nan")))
    rows.append((HEADLINE, result.bias, result.standard_error, float("nan")))
    table = pd.DataFrame(rows, columns=["estimator", "bias", "standard_error", "n_eff"])
    return table.assign(meaning=table["estimator"].map(ESTIMATORS))


def bias_along(lenses: pd.DataFrame, strata: pd.DataFrame) -> pd.DataFrame:
    """Return the bias in strata of equally many lenses along each of ALONG, with its 68 and 95% limits.

    The limits hold the counting noise of both sides, for strata by themselves.
    """
    parts = [_GROUPS.assign(variable="")]
    for column in ALONG if len(lenses) else ():
        edges = np.quantile(lenses[column], np.linspace(0.0, 1.0, STRATA_ALONG + 1)[1:-1])
        table = _groups(lenses, strata, np.searchsorted(edges, lenses[column], side="right"), column)
        parts.append(table.assign(variable=column))
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def _calibration(lenses: pd.DataFrame, strata: pd.DataFrame, bins: int) -> pd.DataFrame:
    """Return true against predicted recall in bins of detectability."""
    groups = np.minimum((lenses["detectability"] * min(bins, 10)).astype(int), min(bins, 10) - 1)
    return _groups(lenses, strata, groups.to_numpy(), "detectability")


def _groups(lenses: pd.DataFrame, strata: pd.DataFrame, group: np.ndarray, column: str) -> pd.DataFrame:
    if lenses.empty:
        return _GROUPS
    variance = strata.set_index("stratum")["variance"]
    rows = []
    for number in np.unique(group):
        held = lenses.loc[group == number]
        share = held["stratum"].value_counts() / len(held)
        predicted = held["stratum_k"] / held["stratum_n"]
        true = float(held["passed"].mean())
        noise = float((predicted * (1.0 - predicted)).sum()) / len(held) ** 2
        error = float(np.sqrt((share**2 * variance.reindex(share.index)).sum() + noise))
        row = {
            "centre": float(held[column].median()),
            "n_lenses": len(held),
            "true_recall": true,
            "predicted_recall": float(predicted.mean()),
            "bias": float(predicted.mean()) - true,
            "standard_error": error,
        }
        for level in LEVELS:
            reach = float(norm.ppf(0.5 + level / 2.0)) * error
            row |= {
                f"lower_{round(100 * level)}": row["bias"] - reach,
                f"upper_{round(100 * level)}": row["bias"] + reach,
            }
        rows.append(row)
    return pd.DataFrame(rows)
