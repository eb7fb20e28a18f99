"""Metrics of a detector as tables: thresholds from validation, everything else from the test split, with intervals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lens_assets.campaign.stages.evaluation import EvaluationSettings, fixed_name, fpr_name, top_name
from lens_assets.sky.randomness import generator
from lens_assets.statistics.bootstrap import (
    bootstrap_auc,
    bootstrap_auc_difference,
    cluster_bootstrap_rate,
    delong_standard_error,
)
from lens_assets.statistics.calibration import brier_score, expected_calibration_error
from lens_assets.statistics.intervals import beta_interval
from lens_assets.statistics.thresholds import fpr_threshold

METRIC_COLUMNS = [
    "metric",
    "split",
    "subset",
    "value_of_subset",
    "threshold",
    "k",
    "n",
    "n_cells",
    "value",
    "lower",
    "upper",
    "cluster_lower",
    "cluster_upper",
    "sufficient",
]
# How positives and negatives are divided for recall and for the false-positive rate.
POSITIVE_SUBSETS = ("tier", "confirmation", "family", "visible", "stress_test", "type", "nobs_z_bin")
NEGATIVE_SUBSETS = ("pool", "confuser_category", "type", "nobs_z_bin")
ALL = "all"


def threshold_table(validation: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
    """Return one row per threshold, from validation objects.

    `validation` has columns split, label and score; a row of another split is refused, since a cut that has seen
    the test split cannot be measured on it. Columns: name, kind (fixed|fpr), target, threshold, threshold_lower,
    threshold_upper, n_negatives, n_above, fpr, fpr_lower, fpr_upper, sufficient.
    """
    _require_validation(validation)
    negatives = validation.loc[validation["label"] == 0, "score"].to_numpy(np.float64)
    rows = [_fixed_row(cut, negatives, settings) for cut in settings.thresholds.fixed]
    for target in settings.thresholds.fpr_targets:
        found = fpr_threshold(negatives, target, settings.interval_level, settings.thresholds.minimum_above)
        rows.append({"name": fpr_name(target), "kind": "fpr", **found.__dict__})
    columns = ["name", "kind", "target", "threshold", "threshold_lower", "threshold_upper", "n_negatives"]
    return pd.DataFrame(rows)[[*columns, "n_above", "fpr", "fpr_lower", "fpr_upper", "sufficient"]]


def top_threshold_rows(deployment: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
    """Return one row per share of the deployment sample that a candidate list may hold; columns as `threshold_table`.

    `deployment` holds split and score of the validation objects of the deployment design, which is a simple random
    sample of the scan population: the share above a cut is the list's share. `n_negatives` counts all of them.
    """
    _require_validation(deployment)
    rows = []
    for share in settings.thresholds.top_shares:
        scores = deployment["score"].to_numpy(np.float64)
        found = fpr_threshold(scores, share, settings.interval_level, settings.thresholds.minimum_above)
        rows.append({"name": top_name(share), "kind": "top", **found.__dict__})
    columns = ["name", "kind", "target", "threshold", "threshold_lower", "threshold_upper", "n_negatives"]
    return pd.DataFrame(rows, columns=[*columns, "n_above", "fpr", "fpr_lower", "fpr_upper", "sufficient"])


def _require_validation(rows: pd.DataFrame) -> None:
    others = sorted(set(rows["split"]) - {"val"})
    if others:
        raise ValueError(f"thresholds were given objects of split {', '.join(others)}; expected validation only")


def _fixed_row(cut: float, negatives: np.ndarray, settings: EvaluationSettings) -> dict[str, object]:
    n_above, n = int((negatives >= cut).sum()), len(negatives)
    lower, upper = beta_interval(n_above, n, settings.interval_level)
    return {
        "name": fixed_name(cut),
        "kind": "fixed",
        "target": float("nan"),
        "threshold": cut,
        "threshold_lower": cut,
        "threshold_upper": cut,
        "n_negatives": n,
        "n_above": n_above,
        "fpr": n_above / n if n else float("nan"),
        "fpr_lower": float(lower),
        "fpr_upper": float(upper),
        "sufficient": n_above >= settings.thresholds.minimum_above,
    }


def metric_table(
    scored: pd.DataFrame, thresholds: pd.DataFrame, settings: EvaluationSettings, split: str = "test"
) -> pd.DataFrame:
    """Return every metric of one split with its intervals, one row a metric, subset and threshold.

    `scored` has one row an object: galaxy_id, label, score, healpix_128, sampling_weight and the columns that divide
    it (`POSITIVE_SUBSETS`, `NEGATIVE_SUBSETS`); rows of other splits are ignored. Metrics: auc (all negatives, and
    against each pool), ece, brier, recall, fpr, fpr_population (each negative weighted by how many candidates it
    stands for), precision. lower/upper are the Beta interval of k/n (for AUC the cluster bootstrap), cluster_lower
    and cluster_upper come from resampling HEALPix cells. A row with fewer than `minimum_subset` objects is
    insufficient.
    """
    rows = scored[scored["split"] == split].sort_values("galaxy_id", kind="stable")
    positives, negatives = rows[rows["label"] == 1], rows[rows["label"] == 0]
    found = list(_ranking_rows(rows, positives, negatives, settings))
    for threshold in thresholds.itertuples():
        cut = (str(threshold.name), float(threshold.threshold))
        found += _rate_rows("recall", positives, POSITIVE_SUBSETS, cut, settings)
        found += _rate_rows("fpr", negatives, NEGATIVE_SUBSETS, cut, settings)
        found.append(_population_row(negatives, cut, settings))
        found.append(_precision_row(rows, cut, settings))
    table = pd.DataFrame(found)
    table["split"] = split
    return table.reindex(columns=METRIC_COLUMNS)


def _ranking_rows(
    rows: pd.DataFrame, positives: pd.DataFrame, negatives: pd.DataFrame, settings: EvaluationSettings
) -> Iterator[dict[str, object]]:
    yield auc_row(rows, settings, ALL, ALL)
    for pool, members in negatives.groupby("pool", observed=True):
        yield auc_row(pd.concat([positives, members]), settings, "pool", str(pool))
    for tier, members in positives.groupby("tier", observed=True):
        yield auc_row(pd.concat([members, negatives]), settings, "tier", str(tier))
    if len(rows) == 0:
        return
    error = expected_calibration_error(rows["score"], rows["label"], settings.reliability_bins)
    for metric, value in (("ece", error), ("brier", brier_score(rows["score"], rows["label"]))):
        yield _row(metric, ALL, ALL, "", None, len(rows), rows["healpix_128"].nunique(), value, settings)


def auc_row(rows: pd.DataFrame, settings: EvaluationSettings, subset: str, value_of_subset: str) -> dict[str, object]:
    """Return the AUC row of one set of objects; lower and upper resample cells."""
    rows = rows.sort_values("galaxy_id", kind="stable")
    draws = generator(settings.bootstrap.seed, f"{subset}={value_of_subset}", "auc")
    found = bootstrap_auc(
        rows["score"].to_numpy(),
        rows["label"].to_numpy(),
        draws,
        groups=rows["healpix_128"].to_numpy(),
        resamples=settings.bootstrap.resamples,
        level=settings.interval_level,
    )
    positives = int((rows["label"] == 1).sum())
    row = _row("auc", subset, value_of_subset, "", positives, len(rows), found.n_groups, found.value, settings)
    row["sufficient"] = min(positives, len(rows) - positives) >= settings.minimum_subset
    interval = {"lower": found.lower, "upper": found.upper}
    return row | interval | {f"cluster_{name}": value for name, value in interval.items()}


def auc_difference(
    first: pd.DataFrame, second: pd.DataFrame, settings: EvaluationSettings, name: str
) -> dict[str, float]:
    """Return AUC(first) - AUC(second) on the objects both scored, resampling cells: value, lower, upper, n."""
    both = first.merge(second[["galaxy_id", "score"]], on="galaxy_id", suffixes=("", "_second"))
    both = both.sort_values("galaxy_id", kind="stable")
    found = bootstrap_auc_difference(
        both["score"].to_numpy(),
        both["score_second"].to_numpy(),
        both["label"].to_numpy(),
        generator(settings.bootstrap.seed, name, "auc difference"),
        groups=both["healpix_128"].to_numpy(),
        resamples=settings.bootstrap.resamples,
        level=settings.interval_level,
    )
    return {"value": found.value, "lower": found.lower, "upper": found.upper, "n": len(both)}


class NoTestSplitError(ValueError):
    """Nothing is held out to measure on: the splits leave no part of the sky for the test split."""


NOTHING_HELD_OUT = (
    "no object is in the test split, as with splits.fractions.test = 0 (the published 70/30 mode): training, scores "
    "and thresholds stand on train and val, but evaluation_report, ensemble_report and injections into test hosts, "
    "with the audit behind them, cannot be made. Give splits.fractions.test a share to evaluate"
)


def require_test_split(splits: pd.Series) -> None:
    """Raise NoTestSplitError where no object is in the test split; `splits` holds the split of each."""
    if not (splits == "test").any():
        raise NoTestSplitError(NOTHING_HELD_OUT)


def delong_error(scored: pd.DataFrame, split: str = "test") -> float:
    """Return the analytic standard error of a split's AUC, which ignores clustering."""
    rows = scored[scored["split"] == split]
    return delong_standard_error(rows["score"].to_numpy(), rows["label"].to_numpy())


def _rate_rows(
    metric: str,
    rows: pd.DataFrame,
    subsets: tuple[str, ...],
    cut: tuple[str, float],
    settings: EvaluationSettings,
) -> list[dict[str, object]]:
    found = [_rate_row(metric, ALL, ALL, rows, cut, settings)]
    for subset in subsets:
        if subset not in rows:
            continue
        for value, members in rows.groupby(subset, observed=True, dropna=True):
            found.append(_rate_row(metric, subset, str(value), members, cut, settings))
    return found


def _rate_row(
    metric: str,
    subset: str,
    value_of_subset: str,
    rows: pd.DataFrame,
    cut: tuple[str, float],
    settings: EvaluationSettings,
    weights: np.ndarray | None = None,
) -> dict[str, object]:
    name, threshold = cut
    above = (rows["score"] >= threshold).to_numpy()
    draws = generator(settings.bootstrap.seed, f"{subset}={value_of_subset}|{name}", metric)
    cells = cluster_bootstrap_rate(
        above,
        rows["healpix_128"].to_numpy(),
        draws,
        weights=weights,
        resamples=settings.bootstrap.resamples,
        level=settings.interval_level,
    )
    k, n = int(above.sum()), len(rows)
    row = _row(metric, subset, value_of_subset, name, k, n, cells.n_groups, cells.value, settings)
    lower, upper = beta_interval(k, n, settings.interval_level)
    if weights is None:
        row |= {"lower": float(lower), "upper": float(upper)}
    return row | {"cluster_lower": cells.lower, "cluster_upper": cells.upper}


def _population_row(negatives: pd.DataFrame, cut: tuple[str, float], settings: EvaluationSettings) -> dict[str, object]:
    weights = negatives["sampling_weight"].fillna(1.0).to_numpy(np.float64)
    row = _rate_row("fpr_population", ALL, ALL, negatives, cut, settings, weights)
    return row | {"lower": row["cluster_lower"], "upper": row["cluster_upper"]}


def _precision_row(rows: pd.DataFrame, cut: tuple[str, float], settings: EvaluationSettings) -> dict[str, object]:
    """Return the share of lenses among detections of the sample; the sky's prevalence is far lower."""
    above = rows[rows["score"] >= cut[1]]
    k, n = int((above["label"] == 1).sum()), len(above)
    lower, upper = beta_interval(k, n, settings.interval_level)
    value = k / n if n else float("nan")
    row = _row("precision", ALL, ALL, cut[0], k, n, above["healpix_128"].nunique(), value, settings)
    return row | {"lower": float(lower), "upper": float(upper)}


def _row(
    metric: str,
    subset: str,
    value_of_subset: str,
    threshold: str,
    k: int | None,
    n: int,
    n_cells: int,
    value: float,
    settings: EvaluationSettings,
) -> dict[str, object]:
    return {
        "metric": metric,
        "subset": subset,
        "value_of_subset": value_of_subset,
        "threshold": threshold,
        "k": float("nan") if k is None else float(k),
        "n": n,
        "n_cells": n_cells,
        "value": float(value),
        "sufficient": n >= settings.minimum_subset,
    }


def value_of(metrics: pd.DataFrame, metric: str, threshold: str = "", subset: str = ALL) -> dict[str, float]:
    """Return value, lower and upper of one overall metric; KeyError if the table has no such row."""
    chosen = (metrics["metric"] == metric) & (metrics["threshold"] == threshold) & (metrics["subset"] == subset)
    rows = metrics[chosen]
    if len(rows) != 1:
        raise KeyError(f"{len(rows)} rows of metric {metric} at threshold {threshold!r}, subset {subset}; expected 1")
    return {name: float(rows.iloc[0][name]) for name in ("value", "lower", "upper")}
