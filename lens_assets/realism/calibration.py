"""The one campaign-wide shift of the source magnitudes, fitted to the calibration half of the anchors.

A shift is one number for all hosts: anything that depended on a host's depth or seeing, or rejected injections by
their signal-to-noise, would flatten the very dependence that completeness is to measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.injection import InjectionSettings
from lens_assets.campaign.stages.realism import RealismSettings
from lens_assets.lensing.injection import SIGMA_COLUMNS, render_injections
from lens_assets.lensing.noise import added_noise, inferred_gain
from lens_assets.lensing.status import InjectionStatus
from lens_assets.realism.comparisons import weighted_quantiles
from lens_assets.realism.examine import PSF_COLUMNS, measure_stamps
from lens_assets.realism.matching import match, with_matching_columns
from lens_assets.realism.observables import is_visible

BOOTSTRAPS = 500
FINE_STEP_MAG = 0.01

TABLE_COLUMNS = {
    "magnitude_shift_mag": "added to the source magnitude of every injection of the campaign [mag]",
    "lower_mag": "lower end of the shift's 95% interval (anchors resampled) [mag]",
    "upper_mag": "upper end of the shift's 95% interval [mag]",
    "mode": "fitted to anchors, arc_snr_<name of the targets>, pinned, or not_fitted when the anchors are too few",
    "at_limit": "whether the fit ended at the edge of the searched range",
    "n_anchors": "visible anchors of the calibration half",
    "n_draws": "injections rendered",
}


ALL_ANCHORS = "all"
GROUPS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    ALL_ANCHORS: lambda anchors: pd.Series(True, index=anchors.index),
    "without_tier_b": lambda anchors: anchors["tier"] != "B",
    "without_candidates": lambda anchors: anchors["confirmation"] == "confirmed",
}
"""Anchors that the shift is fitted to: the campaign's are all, the others show how much it hangs on candidates."""


@dataclass(frozen=True)
class BrightnessFit:
    """The frozen shift with its interval, and the curve it comes from (one row a trial shift)."""

    shift_mag: float
    lower_mag: float
    upper_mag: float
    mode: str
    at_limit: bool
    n_anchors: int
    n_draws: int
    curve: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """Return the one row of `TABLE_COLUMNS`."""
        values = (
            self.shift_mag, self.lower_mag, self.upper_mag, self.mode, self.at_limit, self.n_anchors, self.n_draws,
        )  # fmt: skip
        return pd.DataFrame([dict(zip(TABLE_COLUMNS, values, strict=True))]).astype({"mode": "str"})


def unfitted(mode: str, shift_mag: float, n_anchors: int) -> BrightnessFit:
    """Return a shift that no fit stands behind: pinned by the campaign, or the prior as it is."""
    curve = pd.DataFrame({"magnitude_shift_mag": [shift_mag], "objective": [np.nan], "visible": [np.nan]})
    return BrightnessFit(shift_mag, shift_mag, shift_mag, mode, False, n_anchors, 0, curve)


def fit_brightness(
    anchors: pd.DataFrame,
    rows: pd.DataFrame,
    host_stamps: NDArray[np.float32],
    injection: InjectionSettings,
    realism: RealismSettings,
    progress: Callable[[int, int], None] | None = None,
) -> BrightnessFit:
    """Fit the shift at which visible injections have the arc signal-to-noise quantiles of the visible anchors.

    Light is linear, so arcs are rendered once without shift and scaled; every trial adds its own photon noise and
    passes through the same measurement, detectability gate and weighting as the comparison does.

    Args:
        anchors: the calibration half, with observables and conditions.
        rows: injections drawn at shift 0 (`draw_parameters`).
        host_stamps: (N, 3, H, W) of their hosts.
    """
    return fit_groups({"": anchors}, rows, host_stamps, injection, realism, progress)[""]


def fit_groups(
    groups: Mapping[str, pd.DataFrame],
    rows: pd.DataFrame,
    host_stamps: NDArray[np.float32],
    injection: InjectionSettings,
    realism: RealismSettings,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, BrightnessFit]:
    """Return the fit to each group of anchors; all see the same trial injections. Arguments as `fit_brightness`.

    A group with fewer visible anchors than `calibration.minimum_anchors` is not fitted.
    """
    visible = {name: group[is_visible(group, realism.detectability)] for name, group in groups.items()}
    seen = {
        name: with_matching_columns(group)
        for name, group in visible.items()
        if len(group) >= realism.calibration.minimum_anchors
    }
    few = {name: unfitted("not_fitted", 0.0, len(group)) for name, group in visible.items() if name not in seen}
    if not seen:
        return few
    alone = measure_stamps(host_stamps, rows[list(PSF_COLUMNS)].to_numpy(np.float64), realism)
    clean = ~is_visible(alone, realism.detectability)
    rows, host_stamps = rows[clean].reset_index(drop=True), host_stamps[clean]
    rendered = render_injections(rows, host_stamps, injection)
    good = rendered.truth["status"].to_numpy() == int(InjectionStatus.OK)
    trial = _Trial(rows[good].reset_index(drop=True), host_stamps[good], rendered.arcs[good], injection, realism)
    limits = injection.brightness.fitted_shift_mag
    steps = round((limits.maximum - limits.minimum) / realism.calibration.step_mag)
    shifts = np.linspace(limits.minimum, limits.maximum, max(steps, 1) + 1)
    curves: dict[str, list[NDArray[np.float64]]] = {name: [] for name in seen}
    shares = []
    for index, shift in enumerate(shifts):
        shown, share = trial.visible(float(shift))
        shares.append(share)
        for name, group in seen.items():
            curves[name].append(trial.log_quantiles(shown, group))
        if progress is not None:
            progress(index + 1, len(shifts))
    return few | {
        name: _solve(
            group["arc_snr"].to_numpy(np.float64), shifts, np.asarray(curves[name]), shares, int(good.sum()), realism
        )
        for name, group in seen.items()
    }


@dataclass(frozen=True)
class _Trial:
    """Hosts and unshifted noiseless arcs of the trial injections."""

    rows: pd.DataFrame
    hosts: NDArray[np.float32]
    arcs: NDArray[np.float32]
    injection: InjectionSettings
    realism: RealismSettings

    def visible(self, shift_mag: float) -> tuple[pd.DataFrame, float]:
        """Return the visible injections at a shift, measured, and their share of all."""
        stamps = self._stamps(10.0 ** (-0.4 * shift_mag))
        fwhm = self.rows[list(PSF_COLUMNS)].to_numpy(np.float64)
        measured = measure_stamps(stamps, fwhm, self.realism)
        frame = pd.concat([self.rows.drop(columns=[c for c in measured if c in self.rows]), measured], axis=1)
        shown = with_matching_columns(frame[is_visible(frame, self.realism.detectability)])
        return shown, len(shown) / max(len(frame), 1)

    def log_quantiles(self, shown: pd.DataFrame, seen: pd.DataFrame) -> NDArray[np.float64]:
        """Return quantiles of log arc_snr of visible injections, weighted to the visible anchors."""
        wanted = self.realism.calibration.quantiles
        if len(shown) < len(wanted):
            return np.full(len(wanted), np.nan)
        weights = match(seen, shown, self.realism.reweighting).weights
        return weighted_quantiles(np.log(shown["arc_snr"].to_numpy(np.float64)), weights, wanted)

    def _stamps(self, factor: float) -> NDArray[np.float32]:
        sigma = self.rows[list(SIGMA_COLUMNS)].to_numpy(np.float64)
        gain = inferred_gain(sigma, self.injection.noise.sky_brightness)
        stamps = self.hosts.copy()
        for index, identifier in enumerate(self.rows["injection_id"].astype(str)):
            arc = self.arcs[index] * np.float32(factor)
            noise = added_noise(arc, gain[index], sigma[index], self.injection.noise, self.injection.seed, identifier)
            stamps[index] += np.where(self.hosts[index] != 0.0, arc + noise, 0.0).astype(np.float32)
        return stamps


def _solve(
    snr: NDArray[np.float64],
    shifts: NDArray[np.float64],
    curves: NDArray[np.float64],
    visible: list[float],
    draws: int,
    realism: RealismSettings,
) -> BrightnessFit:
    """Return the shift of least squared distance of the log quantiles, with its interval over resampled anchors."""
    wanted = realism.calibration.quantiles
    usable = np.isfinite(curves).all(axis=1)
    if usable.sum() < 2:
        return unfitted("not_fitted", 0.0, len(snr))
    fine = np.arange(shifts[usable][0], shifts[usable][-1] + FINE_STEP_MAG / 2, FINE_STEP_MAG)
    smooth = np.stack([np.interp(fine, shifts[usable], curve) for curve in curves[usable].T], axis=1)
    observed = weighted_quantiles(np.log(snr), np.ones(len(snr)), wanted)
    random = np.random.Generator(np.random.Philox(key=realism.calibration.seed))
    counts = random.multinomial(len(snr), np.full(len(snr), 1 / len(snr)), size=BOOTSTRAPS)
    resampled = weighted_quantiles(np.log(snr), counts.astype(np.float64), wanted)
    best = _nearest(smooth, observed[None])[0]
    spread = fine[_nearest(smooth, resampled)]
    curve = pd.DataFrame(
        {
            "magnitude_shift_mag": shifts,
            "objective": np.square(curves - observed).mean(axis=1),
            "visible": visible,
            **{f"log_snr_q{100 * q:g}": curves[:, k] for k, q in enumerate(wanted)},
            **{f"anchor_log_snr_q{100 * q:g}": observed[k] for k, q in enumerate(wanted)},
        }
    )
    lower, upper = np.quantile(spread, [0.025, 0.975])
    return BrightnessFit(
        round(float(fine[best]), 4),
        round(float(lower), 4),
        round(float(upper), 4),
        "fitted",
        bool(best in (0, len(fine) - 1)),
        len(snr),
        draws,
        curve,
    )


def _nearest(curve: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each target (T, Q) the row of the curve (F, Q) at the least mean squared distance."""
    distance = np.square(curve[None] - targets[:, None]).mean(axis=2)
    return np.asarray(distance.argmin(axis=1), dtype=np.int64)
