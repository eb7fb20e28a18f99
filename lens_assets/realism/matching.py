"""Making injections and anchors alike in what is not under test: a weight an injection, by density ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from lens_assets.campaign.stages.realism import ReweightingSettings

EARLY_TYPES = ("DEV", "SER")
_NEWTON_STEPS = 30
_TOLERANCE = 1e-10
_CAP_STEPS = 200
_CAP_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Matching:
    """A fitted density ratio: the design matrices, its solution and the weights (mean 1) of the injections."""

    anchors: NDArray[np.float64]
    injections: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    weights: NDArray[np.float64]
    ridge: float
    maximum_ratio: float

    @property
    def effective(self) -> float:
        """Kish's effective sample size of the weights, (sum w)^2 / sum w^2."""
        return effective_size(self.weights)

    def resampled(
        self, anchor_counts: NDArray[np.floating], injection_counts: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return injection weights of one bootstrap resample, counts included: one Newton step from the solution."""
        step = _newton_step(
            self.anchors, self.injections, anchor_counts, injection_counts, self.coefficients, self.ridge
        )
        ratio = _ratio(self.injections, self.coefficients + step, injection_counts, self.maximum_ratio)
        return ratio * injection_counts


def effective_size(weights: NDArray[np.floating]) -> float:
    """Return (sum w)^2 / sum w^2 (Kish 1965); 0 for no weight."""
    square = float(np.square(weights).sum())
    return float(weights.sum() ** 2 / square) if square > 0 else 0.0


def with_matching_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with `type_early`: 1 for hosts fitted as DEV or SER, else 0."""
    return frame.assign(type_early=frame["type"].astype(str).str.strip().isin(EARLY_TYPES).astype(np.float64))


def match(anchors: pd.DataFrame, injections: pd.DataFrame, settings: ReweightingSettings) -> Matching:
    """Fit the density ratio of anchors over injections in the covariates.

    A ridge-penalised logistic regression with both classes at equal total weight; its odds are the density
    ratio (Bickel et al. 2007, ICML). Covariates are standardised by the anchors' median and spread, a missing
    value counts as the anchors' median.
    """
    first, second = _designs(anchors, injections, settings.covariates, settings.squared)
    ones = np.ones(len(first)), np.ones(len(second))
    coefficients = np.zeros(first.shape[1])
    for _ in range(_NEWTON_STEPS):
        step = _newton_step(first, second, *ones, coefficients, settings.ridge)
        coefficients = coefficients + step
        if np.abs(step).max() < _TOLERANCE:
            break
    weights = _ratio(second, coefficients, ones[1], settings.maximum_weight_ratio)
    return Matching(first, second, coefficients, weights, settings.ridge, settings.maximum_weight_ratio)


def _designs(
    anchors: pd.DataFrame, injections: pd.DataFrame, covariates: Sequence[str], squared: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    missing = [name for name in covariates if name not in anchors or name not in injections]
    if missing:
        raise ValueError(f"covariates {missing} are missing from anchors or injections")
    designs = []
    reference = anchors[list(covariates)].to_numpy(dtype=np.float64)
    centre = np.nanmedian(reference, axis=0)
    spread = np.nanstd(reference, axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    for frame in (anchors, injections):
        values = (frame[list(covariates)].to_numpy(dtype=np.float64) - centre) / spread
        values = np.clip(np.nan_to_num(values), -4.0, 4.0)
        squares = values[:, [list(covariates).index(name) for name in squared]] ** 2
        designs.append(np.column_stack([np.ones(len(values)), values, squares]))
    return designs[0], designs[1]


def _newton_step(
    anchors: NDArray[np.float64],
    injections: NDArray[np.float64],
    anchor_counts: NDArray[np.floating],
    injection_counts: NDArray[np.floating],
    coefficients: NDArray[np.float64],
    ridge: float,
) -> NDArray[np.float64]:
    """Return the Newton step of the penalised log-likelihood; the intercept is not penalised."""
    weight_a = anchor_counts / anchor_counts.sum()
    weight_i = injection_counts / injection_counts.sum()
    p_a, p_i = expit(anchors @ coefficients), expit(injections @ coefficients)
    penalty = np.full(len(coefficients), ridge / anchor_counts.sum())
    penalty[0] = 1e-9
    gradient = anchors.T @ (weight_a * (1 - p_a)) - injections.T @ (weight_i * p_i) - penalty * coefficients
    hessian = (anchors * (weight_a * p_a * (1 - p_a))[:, None]).T @ anchors
    hessian += (injections * (weight_i * p_i * (1 - p_i))[:, None]).T @ injections
    return np.linalg.solve(hessian + np.diag(penalty), gradient)


def _ratio(
    injections: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    counts: NDArray[np.floating],
    maximum_ratio: float,
) -> NDArray[np.float64]:
    """Return the odds with mean 1 over the counts, none above `maximum_ratio`.

    Capping lowers the mean that the cap refers to, so it is repeated until it holds of what is returned.
    """
    logit = injections @ coefficients
    odds = np.exp(np.clip(logit - logit.max(), -50.0, 0.0))
    odds /= np.average(odds, weights=counts)
    for _ in range(_CAP_STEPS):
        if odds.max() <= maximum_ratio * (1.0 + _CAP_TOLERANCE):
            break
        odds = np.minimum(odds, maximum_ratio)
        odds /= np.average(odds, weights=counts)
    return odds
