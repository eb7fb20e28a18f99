"""Closure: whether the measured pass rate of injections, carried over to true lenses, predicts their true recall.

A true lens has no image without its arc, so both sides count what passes the threshold with the arc in place; the
host-only cut of the completeness table is not applied here. Injections are carried over by post-stratification
(Holt & Smith 1979): a true lens is predicted by the injections of its own stratum, the finest of the stated levels
that holds enough of them. What a level leaves out is averaged over the injections' population.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from lens_assets.campaign.stages.selection_function import GridSettings
from lens_assets.selection.grid import OUTSIDE, bin_index
from lens_assets.selection.rates import LEVELS, BetaPrior
from lens_assets.sky.randomness import uniform

MINIMUM_STRATUM_TRIALS = 20

LEVELS_OF_STRATA = (
    ("theta_bin", "margin_bin", "contrast_bin", "colour_bin"),
    ("theta_pair", "margin_bin", "contrast_bin", "colour_bin"),
    ("theta_pair", "margin_bin", "colour_bin"),
    ("theta_pair", "margin_pair", "colour_bin"),
    ("margin_pair", "colour_bin"),
)
"""Strata from fine to coarse: Einstein radius, brightness of the arc against the depth and the host, host colour.

The host's colour is in every level: a finder trained on lenses, most of which are red, finds arcs around blue hosts
several times less often, and injections have hosts of every colour.
"""

AVERAGED_OVER = "source size, shape, position and colour; host type and shape; seeing"
CLOSURE_COLUMNS = {
    "detector": "frozen detector",
    "threshold": "name of the detection threshold",
    "n_lenses": "true lenses predicted",
    "n_unmatched": "true lenses inside the grid that no stratum of injections can predict",
    "true_recall": "share of the true lenses at or above the threshold",
    "predicted_recall": "the same, predicted by injections of their strata",
    "bias": "predicted minus true recall",
    "standard_error": "standard error of the bias: counting noise of both sides",
    "verdict": "PASS, FAIL or NOT-EVALUATED",
    "reason": "why",
    "campaign": "simulated campaign whose lenses these are",
    "audited": "whether this is the threshold that the campaign audits",
}
"""Columns of a closure report, and what a release adds to them."""
_COLOUR_BIN_MAG = 0.4


@dataclass(frozen=True)
class ClosureResult:
    """Predicted against true recall.

    `bias` is predicted minus true; its standard error holds the counting noise of both sides. `coverage` has one row
    a level: how many strata of true lenses fell into the predictive interval, and the p-value of that count. `lenses`
    are those that were predicted, with the stratum that did it.
    """

    n_lenses: int
    n_unmatched: int
    true_recall: float
    predicted_recall: float
    bias: float
    standard_error: float
    coverage: pd.DataFrame
    strata: pd.DataFrame
    lenses: pd.DataFrame

    def numbers(self) -> dict[str, float]:
        """Return the scalars as columns of a report."""
        names = ("n_lenses", "n_unmatched", "true_recall", "predicted_recall", "bias", "standard_error")
        return {name: getattr(self, name) for name in names}


def with_strata(frame: pd.DataFrame, grid: GridSettings) -> pd.DataFrame:
    """Return the rows inside the grid with the columns that `LEVELS_OF_STRATA` names.

    Needs theta_e_arcsec, psfsize_r (arcsec), psfdepth_r_mag, arc_mag_r (lensed), host_mag_g and host_mag_r. The margin
    is depth minus arc magnitude, the contrast arc minus host magnitude, both in bins of one magnitude; the host's
    g - r is in bins of 0.4 mag.
    """
    strata = frame.assign(
        theta_bin=bin_index(frame["theta_e_arcsec"], grid.theta_e_edges_arcsec),
        psf_bin=bin_index(frame["psfsize_r"], grid.psf_fwhm_edges_arcsec),
        depth_bin=bin_index(frame["psfdepth_r_mag"], grid.depth_edges_mag),
        margin_bin=np.floor(frame["psfdepth_r_mag"] - frame["arc_mag_r"]),
        contrast_bin=np.floor(frame["arc_mag_r"] - frame["host_mag_r"]),
        colour_bin=np.floor((frame["host_mag_g"] - frame["host_mag_r"]) / _COLOUR_BIN_MAG),
    )
    strata["theta_pair"], strata["margin_pair"] = strata["theta_bin"] // 2, strata["margin_bin"] // 2
    outside = strata[["theta_bin", "psf_bin", "depth_bin"]].eq(OUTSIDE).any(axis=1)
    complete = np.isfinite(strata[["margin_bin", "contrast_bin", "colour_bin"]]).all(axis=1)
    return strata.loc[~outside & complete].reset_index(drop=True)


def predict_by_stratum(
    lenses: pd.DataFrame, trials: pd.DataFrame, levels: Sequence[Sequence[str]], minimum_trials: int
) -> pd.DataFrame:
    """Return `lenses` with columns stratum, level, stratum_k, stratum_n: who predicts each lens.

    `levels` lists the stratifying columns of both tables, finest first. `trials` has a boolean column `passed`.
    Lenses that even the coarsest level cannot predict keep level -1 and zero counts.
    """
    result = lenses.reset_index(drop=True).assign(stratum="", level=-1, stratum_k=0, stratum_n=0)
    for number, columns in enumerate(levels):
        counts = trials.groupby(list(columns))["passed"].agg(["sum", "count"])
        matched = counts.reindex(_keys(result, columns)).fillna(0).to_numpy(dtype=np.int64)
        take = (result["level"].to_numpy() < 0) & (matched[:, 1] >= minimum_trials)
        result.loc[take, "level"] = number
        result.loc[take, "stratum_k"] = matched[take, 0]
        result.loc[take, "stratum_n"] = matched[take, 1]
        result.loc[take, "stratum"] = np.asarray(_names(number, result, columns), dtype=object)[take]
    return result


def closure(
    lenses: pd.DataFrame,
    trials: pd.DataFrame,
    levels: Sequence[Sequence[str]],
    prior: BetaPrior,
    seed: int,
    minimum_trials: int = MINIMUM_STRATUM_TRIALS,
    cluster: str | None = None,
) -> ClosureResult:
    """Compare the recall of true lenses (boolean column `passed`) with what the trials predict for them.

    `cluster` names the column of the trials whose equal values share a fate, such as the host; the standard error is
    then the larger of that of independent trials and that of independent clusters.
    """
    predicted = predict_by_stratum(lenses, trials, levels, minimum_trials)
    matched = predicted.loc[predicted["level"] >= 0]
    n_unmatched = len(predicted) - len(matched)
    if matched.empty:
        empty = pd.DataFrame(columns=["level", "n_strata", "n_covered", "coverage", "p_value"])
        nan = float("nan")
        return ClosureResult(0, n_unmatched, nan, nan, nan, nan, empty, _strata(matched), matched)
    strata = _strata(matched)
    rate = strata["k"] / strata["n"]
    share = strata["n_lenses"] / len(matched)
    true_recall, predicted_recall = float(matched["passed"].mean()), float((share * rate).sum())
    strata["variance"] = _posterior_variance(strata["k"], strata["n"], prior)
    measured_variance = float((share**2 * strata["variance"]).sum())
    if cluster is not None:
        measured_variance = max(measured_variance, _cluster_variance(strata, share, trials, levels, cluster))
    smooth = (strata["k"] + prior[0]) / (strata["n"] + sum(prior))
    lens_variance = (strata["n_lenses"] * smooth * (1.0 - smooth)).sum() / len(matched) ** 2
    return ClosureResult(
        n_lenses=len(matched),
        n_unmatched=n_unmatched,
        true_recall=true_recall,
        predicted_recall=predicted_recall,
        bias=predicted_recall - true_recall,
        standard_error=float(np.sqrt(measured_variance + lens_variance)),
        coverage=coverage_table(strata, prior, seed),
        strata=strata,
        lenses=matched.reset_index(drop=True),
    )


def _cluster_variance(
    strata: pd.DataFrame, share: pd.Series, trials: pd.DataFrame, levels: Sequence[Sequence[str]], cluster: str
) -> float:
    """Return the variance of the predicted recall if trials of one cluster pass or fail together (linearisation)."""
    known = strata.assign(weight=share / strata["n"], rate=strata["k"] / strata["n"]).set_index("stratum")
    influence = np.zeros(len(trials))
    for number, columns in enumerate(levels):
        found = known[["weight", "rate"]].reindex(_names(number, trials, columns))
        residual = trials["passed"].to_numpy(np.float64) - found["rate"].to_numpy()
        influence += np.nan_to_num(found["weight"].to_numpy() * residual)
    return float((pd.Series(influence).groupby(trials[cluster].to_numpy()).sum() ** 2).sum())


def _names(number: int, rows: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Return the name of the stratum of each row at a level."""
    return [f"{number}:{key}" for key in _keys(rows, columns)]


def _keys(rows: pd.DataFrame, columns: Sequence[str]) -> pd.Index:
    return pd.MultiIndex.from_frame(rows[list(columns)]) if len(columns) > 1 else pd.Index(rows[columns[0]])


def _strata(matched: pd.DataFrame) -> pd.DataFrame:
    return (
        matched.groupby("stratum", sort=True)
        .agg(
            level=("level", "first"),
            k=("stratum_k", "first"),
            n=("stratum_n", "first"),
            n_lenses=("passed", "size"),
            n_passed=("passed", "sum"),
        )
        .reset_index()
    )


def _posterior_variance(k: pd.Series, n: pd.Series, prior: BetaPrior) -> pd.Series:
    return pd.Series(stats.beta.var(k + prior[0], n - k + prior[1]), index=k.index)


def coverage_table(strata: pd.DataFrame, prior: BetaPrior, seed: int) -> pd.DataFrame:
    """Test whether predictive intervals hold as many strata of true lenses as they say.

    Given k of n injections, the number of passing lenses among n_lenses is Beta-binomial. Its randomised probability
    integral transform is uniform if the prediction is right (Czado, Gneiting & Held 2009), so the central interval
    of level L holds it with probability exactly L, and the count of covered strata is binomial.
    """
    alpha, beta = strata["k"] + prior[0], strata["n"] - strata["k"] + prior[1]
    size, count = strata["n_lenses"], strata["n_passed"]
    below = stats.betabinom.cdf(count - 1, size, alpha, beta)
    at = stats.betabinom.pmf(count, size, alpha, beta)
    transform = below + uniform(seed, list(strata["stratum"]), "closure-pit") * at
    rows = []
    for level in LEVELS:
        covered = int((np.abs(transform - 0.5) < level / 2.0).sum())
        test = stats.binomtest(covered, len(strata), level)
        rows.append(
            {
                "level": level,
                "n_strata": len(strata),
                "n_covered": covered,
                "coverage": covered / len(strata),
                "p_value": float(test.pvalue),
            }
        )
    return pd.DataFrame(rows)


def closure_verdict(
    result: ClosureResult, minimum_lenses: int, maximum_bias: float, significance: float
) -> tuple[str, str]:
    """Return (PASS, FAIL or NOT-EVALUATED, why).

    Closure cannot be confirmed with too few lenses, with a minority of them predicted, with a standard error above the
    tolerance, or at a cut that nothing or everything passes on both sides: NOT-EVALUATED.
    """
    if result.n_lenses < minimum_lenses:
        return "NOT-EVALUATED", f"{result.n_lenses} true lenses inside the grid, expected at least {minimum_lenses}"
    if result.n_unmatched > result.n_lenses:
        total = result.n_lenses + result.n_unmatched
        return "NOT-EVALUATED", f"injections predict only {result.n_lenses} of {total} lenses"
    if result.true_recall in (0.0, 1.0) and result.predicted_recall == result.true_recall:
        share = "none" if result.true_recall == 0.0 else "all"
        return "NOT-EVALUATED", f"{share} of {result.n_lenses} lenses and of their injections pass: nothing is tested"
    words = f"bias {result.bias:+.3f} +- {result.standard_error:.3f} on {result.n_lenses} lenses"
    if result.standard_error > maximum_bias:
        return "NOT-EVALUATED", f"{words}: too uncertain to test |bias| <= {maximum_bias}"
    if abs(result.bias) > maximum_bias:
        return "FAIL", f"{words}, expected |bias| <= {maximum_bias}"
    short = result.coverage.loc[
        (result.coverage["p_value"] < significance) & (result.coverage["coverage"] < result.coverage["level"])
    ]
    if len(short):
        row = short.iloc[0]
        return "FAIL", (
            f"{words}; the {row['level']:.0%} intervals hold {row['n_covered']:.0f} of {row['n_strata']:.0f} strata "
            f"(p = {row['p_value']:.2g}, expected above {significance})"
        )
    return "PASS", f"{words}, within {maximum_bias}; intervals cover as they say"
