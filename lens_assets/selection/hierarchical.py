"""A hierarchical model of C over the grid: cells borrow from cells of like Einstein radius and like conditions.

A cell's rate scatters as Beta(mu phi, (1 - mu) phi) about logit mu = a + u[theta_E] + v[PSF, depth], a marginal in
Einstein radius times an effect of conditions; its count is then Beta-binomial. phi says how far cells stray from the
surface, and with it how much a cell that is little sampled is drawn to its group. It has the marginal likelihood of the
counts, effects integrated out by Laplace's method (empirical Bayes: Gelman et al., Bayesian Data Analysis, 3rd ed.,
ch. 5; Tierney & Kadane 1986, JASA 81, 82); at its joint maximum with the effects it would come out too large, since
these follow the scatter of the cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import digamma, expit, gammaln

FloatArray = NDArray[np.float64]
Objective = Callable[[FloatArray], tuple[float, FloatArray]]

EFFECT_SIGMA = 2.0
"""Normal prior of the effects on the logit; wide, so that it only keeps all-or-nothing groups finite."""
LOG_PHI_MEAN, LOG_PHI_SIGMA = float(np.log(30.0)), 1.5
"""Log-normal prior of phi: a group counts as 30 trials, within a factor of 20 (95%)."""
_LOG_PHI = np.linspace(LOG_PHI_MEAN - 3.0 * LOG_PHI_SIGMA, LOG_PHI_MEAN + 3.0 * LOG_PHI_SIGMA, 19)
_EDGE = 1e-9
_STEP = 1e-4


@dataclass(frozen=True)
class HierarchicalFit:
    """For each value of ln phi its posterior weight, the mode of the effects (a, u, v), and their covariance."""

    weights: FloatArray
    modes: FloatArray
    covariances: FloatArray
    thetas: int

    @property
    def phi(self) -> float:
        """How many trials a cell's group counts as: the posterior median."""
        return float(np.exp(np.interp(0.5, np.cumsum(self.weights) - 0.5 * self.weights, _LOG_PHI)))

    def draws(self, k: FloatArray, n: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return draws of every cell's rate given its own k of n, shape (count, theta_E, conditions).

        The uncertainty of effects and phi is in them. A cell without trials has the scatter of its group.
        """
        chosen = np.sort(rng.choice(len(self.weights), size=count, p=self.weights))
        effects = np.concatenate(
            [
                rng.multivariate_normal(self.modes[node], self.covariances[node], size=int(uses), method="eigh")
                for node, uses in enumerate(np.bincount(chosen, minlength=len(self.weights)))
            ]
        )
        phi = np.exp(_LOG_PHI[chosen])[:, None, None]
        mu = _surface(effects, self.thetas)
        return np.asarray(rng.beta(k + mu * phi, n - k + (1.0 - mu) * phi))


def fit_hierarchical(k: FloatArray, n: FloatArray) -> HierarchicalFit:
    """Fit the model to counts k of n, both of shape (theta_E, conditions); n may be 0."""
    hits, trials = np.asarray(k, np.float64), np.asarray(n, np.float64)
    at = np.zeros(1 + sum(hits.shape))
    overall = (hits.sum() + 0.5) / (trials.sum() + 1.0)
    at[0] = np.log(overall / (1.0 - overall))
    evidence, modes, covariances = [], [], []
    for log_phi in _LOG_PHI:
        objective = partial(_negative_log_posterior, log_phi=float(log_phi), k=hits, n=trials)
        best = minimize(objective, at, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-12})
        at = np.asarray(best.x, np.float64)
        hessian = _hessian(objective, at)
        prior = -0.5 * ((log_phi - LOG_PHI_MEAN) / LOG_PHI_SIGMA) ** 2
        evidence.append(prior - float(best.fun) - 0.5 * float(np.linalg.slogdet(hessian)[1]))
        modes.append(at)
        covariances.append(np.linalg.inv(hessian))
    weights = np.exp(np.asarray(evidence) - max(evidence))
    return HierarchicalFit(weights / weights.sum(), np.asarray(modes), np.asarray(covariances), hits.shape[0])


def _surface(effects: FloatArray, thetas: int) -> FloatArray:
    """Return mu, shape (..., theta_E, conditions), of effects (..., 1 + theta_E + conditions), off 0 and 1."""
    constant, u, v = effects[..., 0], effects[..., 1 : 1 + thetas], effects[..., 1 + thetas :]
    surface = expit(constant[..., None, None] + u[..., :, None] + v[..., None, :])
    return np.asarray(np.clip(surface, _EDGE, 1.0 - _EDGE))


def _negative_log_posterior(
    effects: FloatArray, log_phi: float, k: FloatArray, n: FloatArray
) -> tuple[float, FloatArray]:
    """Return minus the log of Beta-binomial likelihood times the effects' prior, and its gradient in the effects.

    What depends neither on the effects nor on phi is left out.
    """
    mu, phi = _surface(effects, k.shape[0]), np.exp(log_phi)
    alpha, beta = mu * phi, (1.0 - mu) * phi
    value = (
        gammaln(k + alpha) - gammaln(alpha) + gammaln(n - k + beta) - gammaln(beta) + gammaln(phi) - gammaln(n + phi)
    ).sum()
    slope = digamma(k + alpha) - digamma(alpha) - digamma(n - k + beta) + digamma(beta)
    by_logit = phi * mu * (1.0 - mu) * slope
    shrunk = effects[1:]
    value -= 0.5 * (shrunk**2).sum() / EFFECT_SIGMA**2
    by_effect = np.concatenate([by_logit.sum(axis=1), by_logit.sum(axis=0)]) - shrunk / EFFECT_SIGMA**2
    return -float(value), -np.concatenate([[by_logit.sum()], by_effect])


def _hessian(objective: Objective, at: FloatArray) -> FloatArray:
    """Return the matrix of second derivatives from central differences of the gradient, kept positive definite."""
    columns = []
    for number in range(len(at)):
        step = np.zeros(len(at))
        step[number] = _STEP
        columns.append((objective(at + step)[1] - objective(at - step)[1]) / (2.0 * _STEP))
    matrix = np.asarray(columns)
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return np.asarray(vectors * np.maximum(values, 1e-3) @ vectors.T)
