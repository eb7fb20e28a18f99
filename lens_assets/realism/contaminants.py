"""Contaminants: how often the detector takes one for a lens, and whether arcs put onto them are found like others.

Rings, spirals and mergers are what a search sees most of beside lenses. Their false-positive rate says whether the
injections are judged at a threshold that a search could live with; arcs on contaminants are rare in anchors, so that
only injections say what becomes of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from lens_assets.campaign.stages.realism import RealismSettings
from lens_assets.realism.battery import ALL, FAIL, NOT_EVALUATED, PASS, WARN, row
from lens_assets.sky.randomness import uniform
from lens_assets.statistics.intervals import wilson_interval

FALSE_POSITIVES, ARCS = "contaminant_fpr", "arcs_on_contaminants"


def is_contaminant(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which galaxies are of a confuser class, (N,)."""
    category = table["confuser_category"]
    return (category.notna() & (category.astype("object") != "")).to_numpy(bool)


def chosen_rows(table: pd.DataFrame, identifier: str, settings: RealismSettings) -> NDArray[np.int64]:
    """Return positions of the rows to score: at most so many contaminants and so many others, by the hash of ids."""
    u = uniform(settings.distributions.seed, table[identifier].astype(str).tolist(), "contaminants")
    contaminant, most = is_contaminant(table), settings.contaminants.maximum_stamps
    parts = [np.flatnonzero(group) for group in (contaminant, ~contaminant)]
    return np.sort(np.concatenate([part[np.argsort(u[part], kind="stable")[:most]] for part in parts]))


def contaminant_rows(
    untouched: pd.DataFrame, injected: pd.DataFrame, strata: Sequence[tuple[str, float]], settings: RealismSettings
) -> list[dict[str, object]]:
    """Return the rows of both questions, of all stamps and of halves in each condition.

    Args:
        untouched: scored negatives of the test split: confuser_category, the conditions and `passed`.
        injected: scored visible injections likewise; `passed` where host + arc passes and the host alone does not.
        strata: (condition column, value at which it is halved).
    """
    rows = []
    for name, table, make in ((FALSE_POSITIVES, untouched, _false_positives), (ARCS, injected, _arcs)):
        for stratum, chosen in _strata(table, strata):
            item = make(table[chosen], settings)
            decides = settings.contaminants.gates and (stratum == ALL or settings.strata.gates)
            verdict = WARN if item["verdict"] == FAIL and not decides else item["verdict"]
            rows.append(row(name, **item | {"stratum": stratum, "gates": decides, "verdict": verdict}))  # type: ignore[arg-type]
    return rows


def unscored_rows(reason: str) -> list[dict[str, object]]:
    """Return the rows of an external finder that has not scored these stamps."""
    return [row(name, NOT_EVALUATED, gates=False, requirement=reason) for name in (FALSE_POSITIVES, ARCS)]


def _strata(table: pd.DataFrame, strata: Sequence[tuple[str, float]]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    yield ALL, np.ones(len(table), bool)
    for column, value in strata:
        below = table[column].to_numpy(np.float64) < value
        yield f"{column} < {value:.2f}", below
        yield f"{column} >= {value:.2f}", ~below


def _false_positives(table: pd.DataFrame, settings: RealismSettings) -> dict[str, object]:
    contaminant, passed = is_contaminant(table), table["passed"].to_numpy(bool)
    k, n = int(passed[contaminant].sum()), int(contaminant.sum())
    common = {"n_anchors": n, "n_injections": 0.0, "statistic": "share of contaminants above the audited threshold"}
    if n < settings.anchors.minimum_group:
        return common | _too_few(settings)
    lower, upper = (float(np.asarray(limit)) for limit in wilson_interval(k, n, 0.95))
    limit = settings.contaminants.maximum_fpr
    others = passed[~contaminant]
    return common | {
        "value": k / n,
        "lower": lower,
        "upper": upper,
        "anchor_value": float(others.mean()) if len(others) else np.nan,
        "requirement": f"at most {limit:g} (95% interval); anchor_value: other negatives",
        "verdict": FAIL if lower > limit else PASS,
    }


def _arcs(table: pd.DataFrame, settings: RealismSettings) -> dict[str, object]:
    contaminant, passed = is_contaminant(table), table["passed"].to_numpy(np.float64)
    hosts = table["galaxy_id"].astype(str).to_numpy()
    groups = [(passed[mask], hosts[mask]) for mask in (contaminant, ~contaminant)]
    common = {
        "n_anchors": 0,
        "n_injections": float(len(groups[0][0])),
        "statistic": "share of visible arcs found on contaminants minus on other hosts",
    }
    if min(len(np.unique(names)) for _, names in groups) < settings.anchors.minimum_group:
        return common | _too_few(settings)
    (first, error_first), (second, error_second) = (_rate_by_host(*group) for group in groups)
    error = norm.isf(0.025) * float(np.hypot(error_first, error_second))
    difference, limit = first - second, settings.contaminants.maximum_difference
    return common | {
        "value": difference,
        "lower": difference - error,
        "upper": difference + error,
        "anchor_value": second,
        "injection_value": first,
        "requirement": f"within {limit:g} (95% interval); anchor_value: other hosts, injection_value: contaminants",
        "verdict": FAIL if difference - error > limit or difference + error < -limit else PASS,
    }


def _too_few(settings: RealismSettings) -> dict[str, object]:
    asked = f"at least {settings.anchors.minimum_group} contaminants"
    return {"verdict": NOT_EVALUATED, "requirement": asked}


def _rate_by_host(passed: NDArray[np.float64], hosts: NDArray[np.str_]) -> tuple[float, float]:
    """Return a rate and its standard error, with hosts as what is independent (ratio estimator, Cochran 1977, 6.4)."""
    _, member = np.unique(hosts, return_inverse=True)
    found, tried = np.bincount(member, passed), np.bincount(member).astype(np.float64)
    rate, count = float(found.sum() / tried.sum()), len(tried)
    residual = found - rate * tried
    return rate, float(np.sqrt(count / (count - 1) * np.square(residual).sum()) / tried.sum())
