"""The verdict on stability: how far C moves under every alternative, judged together, and the bands this leaves.

The rule, for each alternative, with intervals that hold for all of them at once (`sensitivity.confidence`):
UNSTABLE where |shift| exceeds what the campaign allows (`sensitivity.maximum_shift`) and the interval excludes 0;
NOT-EVALUATED where the interval's half width exceeds what is allowed, since the batch is then too small to see such a
shift; STABLE else. So any prior without effect is called UNSTABLE with the probability that the level leaves at most,
whatever the number of alternatives, and so is a shift of twice what is allowed called STABLE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.selection_function import GridSettings, IntervalSettings, SensitivitySettings
from lens_assets.selection.completeness import detected_at
from lens_assets.selection.grid import bin_index
from lens_assets.selection.regions import RegionTest
from lens_assets.selection.sensitivity import BASELINE
from lens_assets.sky.randomness import generator
from lens_assets.statistics.intervals import beta_interval
from lens_assets.statistics.simultaneous import simultaneous_means

LEAST_MAGNITUDE_SHIFT = 0.1
"""Smaller shifts say little of dC/dmag [mag]."""
STABLE, UNSTABLE, NOT_EVALUATED = "STABLE", "UNSTABLE", "NOT-EVALUATED"
PRIOR, CALIBRATION, REGIONS, DETECTOR = "prior", "calibration", "sky_regions", "detector"
RULE = (
    "UNSTABLE: |shift| above the limit and its joint interval excludes 0; NOT-EVALUATED: joint half width above the "
    "limit; STABLE: else"
)
COLUMNS = {
    "detector": "frozen detector",
    "threshold": "name of the detection threshold",
    "kind": "prior or calibration (own batches), sky_regions or detector (the campaign's injections)",
    "variant": "the alternative",
    "n": "injections; of own batches the same hosts and draws as the published prior",
    "n_hosts": "distinct hosts",
    "baseline_completeness": "mean completeness of these injections as published",
    "completeness": "mean completeness under the alternative",
    "shift": "difference, paired; of sky regions the largest excess of a group over like conditions",
    "shift_lower_95": "lower limit; all of a kind hold at once, hosts resampled",
    "shift_upper_95": "upper limit likewise",
    "p_value": "of the homogeneity of sky regions, corrected for the number of detectors (Holm)",
    "maximum_shift": "largest |shift| that is stable",
    "verdict": "STABLE, UNSTABLE or NOT-EVALUATED",
}
BAND_COLUMNS = {
    "detector": "frozen detector",
    "theta_e_arcsec": "centre of the Einstein-radius bin; missing: all bins [arcsec]",
    "n": "injections of the published prior",
    "completeness": "mean completeness under the published prior",
    "statistical_lower_95": "lower 95% limit of it, Beta posterior",
    "statistical_upper_95": "upper 95% limit of it",
    "lowest": "least mean completeness of all alternative priors",
    "lowest_variant": "the prior that gives it",
    "highest": "largest mean completeness of all alternative priors",
    "highest_variant": "the prior that gives it",
}


@dataclass(frozen=True)
class Batches:
    """Who is detected: `plan` has injection_id, galaxy_id and theta_e_arcsec; `detected` maps (detector, variant).

    `detected[detector, variant]` has shape (N,) in the plan's order, 1 or 0, NaN where the draw failed; the published
    prior is variant `BASELINE`. A detector that has not scored the batches has no entry.
    """

    plan: pd.DataFrame
    detected: Mapping[tuple[str, str], NDArray[np.float64]]

    def shift(self, detector: str, variant: str) -> NDArray[np.float64]:
        """Return the change of each injection, NaN where either draw failed."""
        return self.detected[detector, variant] - self.detected[detector, BASELINE]


def calibration_name(anchors: str) -> str:
    """Return the name of the variant whose brightness is calibrated on a group of anchors."""
    return f"calibrated_{anchors}"


def prior_rows(
    batches: Batches,
    detectors: Sequence[str],
    kinds: Mapping[str, str],
    settings: SensitivitySettings,
    intervals: IntervalSettings,
    seed: int,
    magnitudes: Mapping[str, float] = MappingProxyType({}),
    magnitude_errors: Mapping[str, float] = MappingProxyType({}),
) -> list[dict[str, object]]:
    """Return one row a (detector, variant), all judged as one family; `kinds` maps variants to their kind.

    A calibration is itself measured, on few anchors: `magnitude_errors` holds the half width of the 95% interval of a
    variant's shift of magnitude [mag], which widens its interval of C by the steepest dC/dmag of the variants that only
    shift magnitudes (`magnitudes` [mag]).
    """
    judged = [(name, variant) for name in detectors for variant in kinds if (name, variant) in batches.detected]
    slopes = {name: _slope(batches, name, magnitudes) for name in detectors}
    rng = generator(seed, "priors", "sensitivity-bootstrap")
    changes = [batches.shift(*pair) for pair in judged]
    columns = np.stack(changes, axis=1) if changes else np.zeros((len(batches.plan), 0))
    joint = simultaneous_means(
        columns, batches.plan["galaxy_id"], rng, intervals.bootstrap_resamples, settings.confidence
    )
    rows = []
    for name in detectors:
        for variant, kind in kinds.items():
            common = {"detector": name, "kind": kind, "variant": variant}
            if (name, variant) not in judged:
                rows.append(common | not_evaluated(settings.maximum_shift))
                continue
            number = judged.index((name, variant))
            used = np.isfinite(changes[number])
            half = np.hypot(joint.half_widths[number], slopes[name] * magnitude_errors.get(variant, 0.0))
            rows.append(
                common
                | _shift_columns(joint.means[number], float(half), settings.maximum_shift)
                | {
                    "n": int(joint.n[number]),
                    "n_hosts": int(joint.n_clusters[number]),
                    "baseline_completeness": _mean(batches.detected[name, BASELINE][used]),
                    "completeness": _mean(batches.detected[name, variant][used]),
                }
            )
    return rows


def detector_rows(
    trials: Mapping[str, pd.DataFrame],
    cuts: Mapping[str, float],
    primary: str,
    settings: SensitivitySettings,
    intervals: IntervalSettings,
    seed: int,
) -> list[dict[str, object]]:
    """Return one row for each other detector: the paired shift of C of the campaign's injections from the primary.

    Each is taken at its own threshold of the audited kind. C is published for every detector, so that these rows say
    how much the choice matters; they do not decide a release.
    """
    others = [name for name in trials if name != primary]
    base = trials[primary].set_index("injection_id")
    found = {name: _by_injection(trials[name], cuts[name]).reindex(base.index) for name in (primary, *others)}
    columns = [found[name].to_numpy() - found[primary].to_numpy() for name in others]
    if not others:
        return []
    rng = generator(seed, "detectors", "sensitivity-bootstrap")
    joint = simultaneous_means(
        np.stack(columns, axis=1), base["galaxy_id"], rng, intervals.bootstrap_resamples, settings.confidence
    )
    return [
        {"detector": name, "kind": DETECTOR, "variant": f"instead_of_{primary}"}
        | _shift_columns(joint.means[number], joint.half_widths[number], settings.maximum_shift)
        | {
            "n": int(joint.n[number]),
            "n_hosts": int(joint.n_clusters[number]),
            "baseline_completeness": _mean(found[primary].to_numpy()[np.isfinite(columns[number])]),
            "completeness": _mean(found[name].to_numpy()[np.isfinite(columns[number])]),
        }
        for number, name in enumerate(others)
    ]


def region_row(
    detector: str, found: RegionTest, p_value: float, settings: SensitivitySettings, minimum_p: float
) -> dict[str, object]:
    """Return the row of a detector's sky regions: UNSTABLE where the corrected p-value is below `minimum_p`."""
    groups = found.groups
    extreme = groups.loc[groups["excess"].abs().idxmax()] if groups["excess"].notna().any() else None
    verdict = NOT_EVALUATED if not np.isfinite(p_value) else UNSTABLE if p_value < minimum_p else STABLE
    nan = float("nan")
    return {
        "detector": detector,
        "kind": REGIONS,
        "variant": REGIONS,
        "n": int(groups["n"].sum()),
        "n_hosts": int(groups["n_hosts"].sum()),
        "baseline_completeness": float(np.average(groups["completeness"], weights=groups["n"])) if len(groups) else nan,
        "completeness": nan if extreme is None else float(extreme["completeness"]),
        "shift": nan if extreme is None else float(extreme["excess"]),
        "shift_lower_95": nan if extreme is None else float(extreme["excess_lower_95"]),
        "shift_upper_95": nan if extreme is None else float(extreme["excess_upper_95"]),
        "p_value": p_value,
        "maximum_shift": settings.maximum_shift,
        "verdict": verdict,
    }


def bands(
    batches: Batches, detectors: Sequence[str], variants: Sequence[str], grid: GridSettings, intervals: IntervalSettings
) -> pd.DataFrame:
    """Return the band of C over all variants beside the statistical interval, all together and by Einstein radius."""
    bins = bin_index(batches.plan["theta_e_arcsec"], grid.theta_e_edges_arcsec)
    strata = [(float("nan"), np.ones(len(bins), bool))]
    strata += [(centre, np.asarray(bins == number)) for number, centre in enumerate(grid.theta_e_arcsec.centres)]
    rows = []
    for name in (name for name in detectors if (name, BASELINE) in batches.detected):
        for theta, chosen in strata:
            scored = [item for item in (BASELINE, *variants) if (name, item) in batches.detected]
            rates = {item: _mean(batches.detected[name, item][chosen]) for item in scored}
            base = batches.detected[name, BASELINE][chosen]
            k, n = int(np.nansum(base)), int(np.isfinite(base).sum())
            lower, upper = beta_interval(k, n, 0.95, (intervals.prior_alpha, intervals.prior_beta))
            known = {item: rate for item, rate in rates.items() if np.isfinite(rate)}
            lowest, highest = (
                (min(known, key=known.__getitem__), max(known, key=known.__getitem__)) if known else ("", "")
            )
            rows.append(
                {
                    "detector": name,
                    "theta_e_arcsec": theta,
                    "n": n,
                    "completeness": rates[BASELINE],
                    "statistical_lower_95": float(lower),
                    "statistical_upper_95": float(upper),
                    "lowest": known.get(lowest, float("nan")),
                    "lowest_variant": lowest,
                    "highest": known.get(highest, float("nan")),
                    "highest_variant": highest,
                }
            )
    return pd.DataFrame(rows, columns=list(BAND_COLUMNS))


def stability(shift: float, half_width: float, maximum_shift: float) -> str:
    """Return the verdict on one shift by the rule of this module."""
    if not np.isfinite([shift, half_width]).all():
        return NOT_EVALUATED
    if abs(shift) > maximum_shift and abs(shift) > half_width:
        return UNSTABLE
    return NOT_EVALUATED if half_width > maximum_shift else STABLE


def decides(report: pd.DataFrame) -> pd.Series:
    """Return which rows decide: not other detectors, nor calibrations on too few anchors to be evaluated."""
    unfitted = (report["kind"] == CALIBRATION) & (report["verdict"] == NOT_EVALUATED)
    return (report["kind"] != DETECTOR) & ~unfitted


def overall(report: pd.DataFrame, accepted: Sequence[str] = ()) -> str:
    """Return the verdict on all rows that decide, but for accepted variants."""
    verdicts = set(report.loc[decides(report) & ~report["variant"].isin(accepted), "verdict"])
    return UNSTABLE if UNSTABLE in verdicts else NOT_EVALUATED if NOT_EVALUATED in verdicts else STABLE


def not_evaluated(maximum_shift: float) -> dict[str, object]:
    """Return the numbers of an alternative that no stamps were scored for."""
    names = ("baseline_completeness", "completeness", "shift", "shift_lower_95", "shift_upper_95")
    missing = dict.fromkeys(names, float("nan"))
    return {"n": 0, "n_hosts": 0, **missing, "maximum_shift": maximum_shift, "verdict": NOT_EVALUATED}


def _slope(batches: Batches, detector: str, magnitudes: Mapping[str, float]) -> float:
    """Return the largest |shift of C| per magnitude among variants of at least a tenth of a magnitude; else 0."""
    slopes = [
        abs(_mean(batches.shift(detector, name)) / shift)
        for name, shift in magnitudes.items()
        if abs(shift) >= LEAST_MAGNITUDE_SHIFT and (detector, name) in batches.detected
    ]
    return max(slopes, default=0.0)


def _shift_columns(shift: float, half_width: float, maximum_shift: float) -> dict[str, object]:
    return {
        "shift": float(shift),
        "shift_lower_95": float(shift - half_width),
        "shift_upper_95": float(shift + half_width),
        "maximum_shift": maximum_shift,
        "verdict": stability(float(shift), float(half_width), maximum_shift),
    }


def _by_injection(trials: pd.DataFrame, cut: float) -> pd.Series:
    return detected_at(trials, cut).astype(np.float64).set_axis(trials["injection_id"])


def _mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
