"""Members and their combinations side by side: fitted on the validation split, measured on the test split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from lens_assets.campaign.stages.evaluation import EvaluationSettings
from lens_assets.detector.ensembles import (
    SINGLE,
    Combiner,
    aligned_scores,
    best_member,
    combine,
    diversity,
    fit_combiner,
)
from lens_assets.detector.evaluation import auc_difference, auc_row, threshold_table
from lens_assets.detector.frozen import SCORE_DECIMALS
from lens_assets.statistics.bootstrap import roc_auc
from lens_assets.statistics.calibration import brier_score, expected_calibration_error
from lens_assets.statistics.intervals import beta_interval

COMBINERS = ("mean_probability", "mean_logit", "stacking")


def compare(
    scored: Mapping[str, pd.DataFrame], candidates: Sequence[str], settings: EvaluationSettings
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the report, the diversity of members and the stacking coefficients.

    `scored` maps every experiment to galaxy_id, split, label, score, healpix_128, evaluation_only; `candidates` are
    those that may be combined. Only objects that all experiments scored enter.
    """
    joined = aligned_scores(scored)
    validation = joined[(joined["split"] == "val") & ~joined["evaluation_only"]]
    test = joined[joined["split"] == "test"]
    best = best_member({name: validation[name] for name in candidates}, validation["label"])
    rows, cuts = [], {}
    for name, kind, members, combiner in _entries(scored, candidates, validation):
        row = _measure(members, combiner, validation, test, test[best], settings)
        cuts[name] = float(row["threshold"])  # type: ignore[arg-type]
        rows.append({"name": name, "kind": kind, "members": ",".join(members), **row})
    differences = diversity({name: test[name] for name in candidates}, test["label"], cuts)
    return pd.DataFrame(rows), differences, _stacking_table(candidates, validation)


def _entries(
    scored: Mapping[str, pd.DataFrame], candidates: Sequence[str], validation: pd.DataFrame
) -> Iterator[tuple[str, str, tuple[str, ...], Combiner]]:
    for name in scored:
        yield name, "member" if name in candidates else "diagnostic", (name,), SINGLE
    if len(candidates) < 2:
        return
    probabilities = validation[list(candidates)].to_numpy()
    for kind in COMBINERS:
        yield kind, "combiner", tuple(candidates), fit_combiner(kind, probabilities, validation["label"])


def _measure(
    members: tuple[str, ...],
    combiner: Combiner,
    validation: pd.DataFrame,
    test: pd.DataFrame,
    reference: pd.Series,
    settings: EvaluationSettings,
) -> dict[str, object]:
    validation, test = (
        rows.assign(score=np.round(combine(rows[list(members)].to_numpy(), combiner), SCORE_DECIMALS))
        for rows in (validation, test)
    )
    thresholds = threshold_table(validation, settings).set_index("name")
    cut = float(thresholds.loc[settings.thresholds.audit, "threshold"])
    auc = auc_row(test, settings, "all", "all")
    paired = auc_difference(test, test.assign(score=reference), settings, "to best member")
    positives, negatives = test[test["label"] == 1], test[test["label"] == 0]
    k, n = int((positives["score"] >= cut).sum()), len(positives)
    lower, upper = beta_interval(k, n, settings.interval_level)
    recalibrated = _recalibrated(validation, test)
    return {
        "validation_auc": roc_auc(validation["score"], validation["label"]),
        "auc": auc["value"],
        "auc_lower": auc["lower"],
        "auc_upper": auc["upper"],
        "auc_minus_best_member": paired["value"],
        "difference_lower": paired["lower"],
        "difference_upper": paired["upper"],
        "threshold": cut,
        "threshold_sufficient": bool(thresholds.loc[settings.thresholds.audit, "sufficient"]),
        "recall_k": k,
        "recall_n": n,
        "recall": k / n if n else float("nan"),
        "recall_lower": float(lower),
        "recall_upper": float(upper),
        "fpr": float((negatives["score"] >= cut).mean()),
        "ece": expected_calibration_error(test["score"], test["label"], settings.reliability_bins),
        "ece_recalibrated": expected_calibration_error(recalibrated, test["label"], settings.reliability_bins),
        "brier": brier_score(test["score"], test["label"]),
    }


def _recalibrated(validation: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Return test scores after Platt's logistic recalibration (Platt 1999), fitted on validation."""
    platt = fit_combiner("stacking", validation[["score"]].to_numpy(), validation["label"])
    return combine(test[["score"]].to_numpy(), platt)


def _stacking_table(candidates: Sequence[str], validation: pd.DataFrame) -> pd.DataFrame:
    """Return the weight of each candidate's log-odds in the stacked score, and the intercept."""
    if len(candidates) < 2:
        return pd.DataFrame({"member": [], "coefficient": []})
    stacked = fit_combiner("stacking", validation[list(candidates)].to_numpy(), validation["label"])
    members = [*candidates, "(intercept)"]
    return pd.DataFrame({"member": members, "coefficient": [*stacked.coefficients, stacked.intercept]})
