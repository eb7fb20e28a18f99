"""Carry what injections measured over to another population of lenses, whose truth is known.

The covariates are drawn parameters and catalogue truth only, never something that a renderer measured: a fault of the
injections' renderer must not enter both sides and cancel. Detectability, the chance that an object passes given its
covariates, is fitted to injections in folds by host and predicted out of fold; lenses are then predicted by the
injections of equal detectability (a prognostic score, Hansen 2008, Biometrika 95, 481), counted as k of n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gamma, gammaincinv
from sklearn.ensemble import HistGradientBoostingClassifier

from lens_assets.campaign.stages.selection_function import GridSettings
from lens_assets.selection.grid import bin_index
from lens_assets.sky.randomness import uniform
from lens_assets.statistics.distributions import effective_number
from lens_assets.survey.units import BANDS, flux_to_mag

FloatArray = NDArray[np.float64]

DETECTABILITY_LEVELS = (
    ("detectability_bin", "theta_bin", "psf_bin", "depth_bin"),
    ("detectability_bin", "theta_bin"),
    ("detectability_bin",),
)
"""Strata from fine to coarse: predicted detectability and the published cell."""

CELL_LEVELS = (("theta_bin", "psf_bin", "depth_bin"), ("theta_bin",))
"""What a reader of C(theta_E, PSF, depth) alone can do: the published cell of each lens."""

COVARIATES = (
    "theta_e_arcsec", "source_offset", "source_mag_r", "source_g_minus_r", "source_r_minus_z", "source_radius_arcsec",
    "source_sersic_index", "source_axis_ratio", "lens_axis_ratio", "shear", "psfsize_r", "psfdepth_r_mag",
    "host_mag_r", "host_g_minus_r", "host_r_minus_z", "host_radius_arcsec", "host_sersic_index", "host_axis_ratio",
    "magnified_mag_r", "margin", "surface_brightness", "width_over_psf", "contrast_g_minus_r", "contrast_r_minus_z",
    *(f"contrast_{band}" for band in BANDS), *(f"ring_contrast_{band}" for band in BANDS),
)  # fmt: skip
_WEIGHT_CAP = 100.0
"""Largest density ratio: rarer injections would each speak for more lenses than they can."""


def lens_covariates(lenses: pd.DataFrame) -> pd.DataFrame:
    """Return the lenses with COVARIATES; source positions are about the lens, as the simulated sky draws them."""
    return _derived(
        lenses.assign(
            source_offset=np.hypot(lenses["source_x_arcsec"], lenses["source_y_arcsec"]) / lenses["theta_e_arcsec"]
        )
    )


def injection_covariates(injections: pd.DataFrame) -> pd.DataFrame:
    """Return the injections with COVARIATES; `true_*` are those of the host."""
    x = injections["source_x_arcsec"] - injections["lens_x_arcsec"]
    y = injections["source_y_arcsec"] - injections["lens_y_arcsec"]
    return _derived(
        injections.assign(
            source_offset=np.hypot(x, y) / injections["theta_e_arcsec"],
            source_radius_arcsec=injections["source_half_light_radius_arcsec"],
        )
    )


def _derived(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with what detection depends on, made of drawn parameters: brightness and colour of arc and host.

    Ring contrasts compare surface brightness, in mag, of the arcs and of the host at the Einstein radius.
    """
    host = {band: flux_to_mag(rows[f"true_flux_{band}"].to_numpy(np.float64)) for band in BANDS}
    theta_e, offset, radius = rows["theta_e_arcsec"], rows["source_offset"], rows["source_radius_arcsec"]
    # Two images of an isothermal lens magnify 2 theta_E / beta in all; a source's own size blunts the peak.
    magnification = 2.0 / np.sqrt(offset**2 + (0.7 * radius / theta_e) ** 2)
    bright_r = rows["source_mag_r"] - 2.5 * np.log10(magnification)
    arc = {"g": bright_r + rows["source_g_minus_r"], "r": bright_r, "z": bright_r - rows["source_r_minus_z"]}
    spread = 2.5 * np.log10(4.0 * np.pi * theta_e * np.hypot(radius, 0.6 * rows["psfsize_r"]))
    at_ring = -2.5 * np.log10(_sersic_share(rows, np.maximum(theta_e, 0.5 * rows["psfsize_r"])))
    return rows.assign(
        shear=np.hypot(rows["shear_g1"], rows["shear_g2"]),
        host_mag_r=host["r"],
        host_g_minus_r=host["g"] - host["r"],
        host_r_minus_z=host["r"] - host["z"],
        host_radius_arcsec=rows["true_radius_arcsec"],
        host_sersic_index=rows["true_sersic_index"],
        host_axis_ratio=rows["true_axis_ratio"],
        magnified_mag_r=bright_r,
        margin=rows["psfdepth_r_mag"] - bright_r,
        surface_brightness=bright_r + spread,
        width_over_psf=theta_e / rows["psfsize_r"],
        contrast_g_minus_r=host["g"] - host["r"] - rows["source_g_minus_r"],
        contrast_r_minus_z=host["r"] - host["z"] - rows["source_r_minus_z"],
        **{f"contrast_{band}": arc[band] - host[band] for band in BANDS},
        **{f"ring_contrast_{band}": arc[band] + spread - host[band] - at_ring for band in BANDS},
    )


def _sersic_share(rows: pd.DataFrame, radius_arcsec: pd.Series) -> FloatArray:
    """Return the host's surface brightness over its flux [arcsec^-2] at a radius (Graham & Driver 2005, eqs. 1 to 4).

    `true_radius_arcsec` is along the major axis. A profile fainter than 1e-6 arcsec^-2 counts as that.
    """
    n = np.clip(rows["true_sersic_index"].to_numpy(np.float64), 0.3, 8.0)
    scale = np.maximum((rows["true_radius_arcsec"] * np.sqrt(rows["true_axis_ratio"])).to_numpy(np.float64), 0.05)
    b = gammaincinv(2.0 * n, 0.5)
    total = 2.0 * np.pi * n * scale**2 * gamma(2.0 * n) * b ** (-2.0 * n)
    share = np.exp(-b * (radius_arcsec.to_numpy(np.float64) / scale) ** (1.0 / n)) / total
    return np.asarray(np.maximum(share, 1e-6))


def with_cells(rows: pd.DataFrame, grid: GridSettings) -> pd.DataFrame:
    """Return the rows with theta_bin, psf_bin and depth_bin of the grid; OUTSIDE beyond it."""
    return rows.assign(
        theta_bin=bin_index(rows["theta_e_arcsec"], grid.theta_e_edges_arcsec),
        psf_bin=bin_index(rows["psfsize_r"], grid.psf_fwhm_edges_arcsec),
        depth_bin=bin_index(rows["psfdepth_r_mag"], grid.depth_edges_mag),
    )


@dataclass(frozen=True)
class Transport:
    """Out-of-fold predictions for lenses (L,) and injections (N,): detectability, and weights of the injections.

    `weights` are density ratios of lenses over injections, up to a factor.
    """

    lens_detectability: FloatArray
    trial_detectability: FloatArray
    weights: FloatArray


def density_ratio(lenses: pd.DataFrame, trials: pd.DataFrame, folds: int, seed: int) -> FloatArray:
    """Return for each injection the density of lenses over that of injections at its covariates, out of fold.

    p / (1 - p) of a classifier that tells lenses from injections (Bickel, Brueckner & Scheffer 2009, JMLR 10, 2137).
    """
    both = pd.concat([lenses[list(COVARIATES)], trials[list(COVARIATES)]], ignore_index=True)
    label = np.repeat([1, 0], [len(lenses), len(trials)])
    fold = np.concatenate([_folds(lenses, folds, seed), _folds(trials, folds, seed)])
    probability = _out_of_fold(both, label, fold, folds, np.ones(len(both), dtype=bool), seed)[len(lenses) :]
    probability = np.clip(probability, 1e-6, 1.0 - 1e-6)
    ratio = probability / (1.0 - probability) * (len(trials) / len(lenses))
    return np.asarray(np.minimum(ratio, _WEIGHT_CAP))


def detectabilities(lenses: pd.DataFrame, trials: pd.DataFrame, folds: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Return the predicted chance to pass of lenses and injections, from models that saw neither the row nor its host.

    Only injections are fitted to (column `passed`). Each lens takes the model of one fold, so that both sides carry
    the same error of prediction.
    """
    both = pd.concat([lenses[list(COVARIATES)], trials[list(COVARIATES)]], ignore_index=True)
    label = np.concatenate([np.zeros(len(lenses), dtype=int), trials["passed"].to_numpy(dtype=int)])
    fold = np.concatenate([_folds(lenses, folds, seed), _folds(trials, folds, seed)])
    fitted = np.repeat([False, True], [len(lenses), len(trials)])
    predicted = _out_of_fold(both, label, fold, folds, fitted, seed)
    return predicted[: len(lenses)], predicted[len(lenses) :]


def _folds(rows: pd.DataFrame, folds: int, seed: int) -> NDArray[np.int64]:
    place = uniform(seed, rows["galaxy_id"].astype(str).tolist(), "closure-fold")
    return np.asarray(np.floor(place * folds), dtype=np.int64)


def _out_of_fold(
    covariates: pd.DataFrame,
    label: NDArray[np.int64],
    fold: NDArray[np.int64],
    folds: int,
    fitted: NDArray[np.bool_],
    seed: int,
) -> FloatArray:
    values, predicted = covariates.to_numpy(np.float64), np.empty(len(covariates))
    for number in range(folds):
        here, train = fold == number, fitted & (fold != number)
        if not here.any():
            continue
        if len(np.unique(label[train])) < 2:
            predicted[here] = label[train].mean() if train.any() else 0.5
            continue
        model = HistGradientBoostingClassifier(
            learning_rate=0.06, max_iter=150, max_leaf_nodes=16, min_samples_leaf=40, l2_regularization=1.0,
            early_stopping=False, random_state=seed % 2**32,
        )  # fmt: skip
        predicted[here] = model.fit(values[train], label[train]).predict_proba(values[here])[:, 1]
    return predicted


def weighted_prediction(trials: pd.DataFrame, weights: FloatArray) -> tuple[float, float, float]:
    """Return (weighted pass rate, its standard error over hosts, effective number of injections)."""
    passed = trials["passed"].to_numpy(np.float64)
    rate = float(weights @ passed / weights.sum())
    return rate, _cluster_error(passed - rate, weights, trials), effective_number(weights)


def doubly_robust(lenses: pd.DataFrame, trials: pd.DataFrame, transport: Transport) -> tuple[float, float]:
    """Return (predicted minus true recall, its standard error) of the augmented weighted estimator.

    The prediction is the mean detectability of the lenses plus the weighted mean residual of the injections, right if
    either the detectability or the weights are (Robins, Rotnitzky & Zhao 1994, JASA 89, 846; carried to another
    population: Dahabreh et al. 2020, Stat. Med. 39, 1999).
    """
    gap = transport.lens_detectability - lenses["passed"].to_numpy(np.float64)
    residual = trials["passed"].to_numpy(np.float64) - transport.trial_detectability
    mean = float(transport.weights @ residual / transport.weights.sum())
    error = _cluster_error(residual - mean, transport.weights, trials)
    return float(gap.mean()) + mean, float(np.hypot(gap.std(ddof=1) / np.sqrt(len(gap)), error))


def _cluster_error(residual: FloatArray, weights: FloatArray, trials: pd.DataFrame) -> float:
    """Return the standard error of a weighted mean whose residuals are shared within hosts (linearisation)."""
    by_host = pd.Series(weights * residual).groupby(trials["galaxy_id"].to_numpy()).sum()
    return float(np.sqrt((by_host**2).sum()) / weights.sum())
