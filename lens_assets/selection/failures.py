"""Why lenses are missed: one hypothesis an experiment, each changes one thing on the same hosts and draws.

If what is changed is why arcs are missed, completeness rises when it is taken away; the shift is paired and its
interval resamples hosts. The vanishing lens is a control: what passes there is not found for being lensed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from lens_assets.campaign.stages.injection import InjectionSettings
from lens_assets.campaign.stages.selection_function import IntervalSettings
from lens_assets.imaging.host_subtraction import measure_ellipse, subtract_elliptical_profile
from lens_assets.selection.completeness import detected_at
from lens_assets.sky.randomness import generator
from lens_assets.statistics.bootstrap import cluster_bootstrap_rate
from lens_assets.statistics.intervals import beta_interval

Stamps = NDArray[np.float32]
AS_INJECTED = "as injected"
VANISHING_THETA_E_ARCSEC = 0.02
SHARPER, SMALLER, BRIGHTER_MAG = 0.5, 0.5, -1.0
SUPPORTED, NOT_SUPPORTED, OPPOSED, NOT_EVALUATED = "SUPPORTED", "NOT-SUPPORTED", "OPPOSED", "NOT-EVALUATED"
CONTROL = "CONTROL"


@dataclass(frozen=True)
class Experiment:
    """One change: to the plan, to how arcs are rendered, or to the hosts' stamps."""

    name: str
    hypothesis: str
    plan: Callable[[pd.DataFrame], pd.DataFrame] = lambda plan: plan
    settings: Callable[[InjectionSettings], InjectionSettings] = lambda settings: settings
    hosts: Callable[[Stamps], Stamps] = lambda hosts: hosts


def without_host(hosts: Stamps) -> Stamps:
    """Return host stamps minus their elliptical light profile: the arc then lies on companions and noise alone."""
    sky = np.median(hosts[:, :, :10, :].reshape(*hosts.shape[:2], -1), axis=-1)[:, :, None, None]
    axis_ratio, angle_deg = measure_ellipse(hosts - sky)
    return subtract_elliptical_profile(hosts, axis_ratio, angle_deg)


def vanishing(plan: pd.DataFrame) -> pd.DataFrame:
    """Return the plan with Einstein radii of 0.02 arcsec and the source at the same offset in units of it."""
    factor = VANISHING_THETA_E_ARCSEC / plan["theta_e_arcsec"]
    return plan.assign(
        theta_e_arcsec=VANISHING_THETA_E_ARCSEC,
        source_x_arcsec=plan["lens_x_arcsec"] + factor * (plan["source_x_arcsec"] - plan["lens_x_arcsec"]),
        source_y_arcsec=plan["lens_y_arcsec"] + factor * (plan["source_y_arcsec"] - plan["lens_y_arcsec"]),
    )


def _sharper(settings: InjectionSettings) -> InjectionSettings:
    scale = settings.renderer.psf_fwhm_scale * SHARPER
    return settings.model_copy(update={"renderer": settings.renderer.model_copy(update={"psf_fwhm_scale": scale})})


def _without_inner_images(settings: InjectionSettings) -> InjectionSettings:
    renderer = settings.renderer.model_copy(update={"inner_images": "suppressed"})
    return settings.model_copy(update={"renderer": renderer})


EXPERIMENTS = (
    Experiment("sharp_arcs", "the PSF blends arcs with the host: half its width on the arcs", settings=_sharper),
    Experiment("without_host", "the host's light hides the arc: its profile is subtracted", hosts=without_host),
    Experiment(
        "compact_sources",
        "surface brightness is too low: the same light from sources of half the size",
        plan=lambda plan: plan.assign(
            source_half_light_radius_arcsec=plan["source_half_light_radius_arcsec"] * SMALLER
        ),
    ),
    Experiment(
        "bright_sources",
        "arcs are too faint: sources are one magnitude brighter",
        plan=lambda plan: plan.assign(source_mag_r=plan["source_mag_r"] + BRIGHTER_MAG),
    ),
    Experiment(
        "without_inner_images",
        "images near the lens centre make arcs look unlike arcs: they are left out",
        settings=_without_inner_images,
    ),
    Experiment("vanishing_lens", "control: theta_E -> 0, an unlensed source on the host", plan=vanishing),
)


def effect_row(
    experiment: Experiment,
    baseline: pd.DataFrame,
    altered: pd.DataFrame,
    intervals: IntervalSettings,
    seed: int,
) -> dict[str, object]:
    """Return completeness without and with the change, the paired shift, and what it says of the hypothesis.

    Both tables have injection_id, galaxy_id and `detected`, of the same injections. `rescued` is the share of the
    missed that the change makes found. A hypothesis is SUPPORTED if the 95% interval of the shift lies above 0, OPPOSED
    if it lies below.
    """
    pairs = baseline.merge(altered[["injection_id", "detected"]], on="injection_id", suffixes=("", "_altered"))
    before, after = pairs["detected"].astype(bool), pairs["detected_altered"].astype(bool)
    rng = generator(seed, experiment.name, "failure-bootstrap")
    shift = cluster_bootstrap_rate(
        after.astype(float) - before.astype(float), pairs["galaxy_id"], rng, resamples=intervals.bootstrap_resamples
    )
    k, n = int(after.sum()), len(pairs)
    lower, upper = beta_interval(k, n, 0.95, (intervals.prior_alpha, intervals.prior_beta))
    missed = int((~before).sum())
    return {
        "experiment": experiment.name,
        "hypothesis": experiment.hypothesis,
        "n": n,
        "n_hosts": int(pairs["galaxy_id"].nunique()),
        "baseline_completeness": float(before.mean()) if n else float("nan"),
        "k": k,
        "completeness": k / n if n else float("nan"),
        "beta_lower_95": float(lower),
        "beta_upper_95": float(upper),
        "shift": shift.value,
        "shift_lower_95": shift.lower,
        "shift_upper_95": shift.upper,
        "rescued": float((after & ~before).sum() / missed) if missed else float("nan"),
        "verdict": CONTROL if experiment.plan is vanishing else hypothesis_verdict(shift.lower, shift.upper),
    }


def contrast_row(
    name: str,
    hypothesis: str,
    trials: pd.DataFrame,
    suspected: NDArray[np.bool_],
    threshold: float,
    intervals: IntervalSettings,
    seed: int,
) -> dict[str, object]:
    """Return a row on hosts that cannot be changed: completeness of the other hosts minus that of the suspected ones.

    Both are taken as the excess over the pooled rate of the trial's own cell, so that they compare at equal Einstein
    radius and conditions. The hosts of both groups differ, so that their errors, from resampling hosts, add in
    quadrature. `trials` has cell indices, galaxy_id and scores; `baseline_completeness` is that of the suspected hosts.
    """
    cell = ["theta_e_bin", "psf_bin", "depth_bin"]
    rows = trials.assign(detected=detected_at(trials, threshold).astype(float))
    excess = rows["detected"] - rows.groupby(cell)["detected"].transform("mean")
    parts = []
    for label, mask in (("suspected", suspected), ("other", ~suspected)):
        rng = generator(seed, f"{name}|{label}", "failure-bootstrap")
        hosts = rows.loc[mask, "galaxy_id"]
        parts.append(cluster_bootstrap_rate(excess[mask], hosts, rng, resamples=intervals.bootstrap_resamples))
    shift = parts[1].value - parts[0].value
    error = float(np.hypot(parts[0].standard_error, parts[1].standard_error))
    lower, upper = shift - norm.isf(0.025) * error, shift + norm.isf(0.025) * error
    k, n = int(rows.loc[~suspected, "detected"].sum()), int((~suspected).sum())
    limits = beta_interval(k, n, 0.95, (intervals.prior_alpha, intervals.prior_beta))
    return {
        "experiment": name,
        "hypothesis": hypothesis,
        "n": int(suspected.sum()),
        "n_hosts": int(rows.loc[suspected, "galaxy_id"].nunique()),
        "baseline_completeness": float(rows.loc[suspected, "detected"].mean()),
        "k": k,
        "completeness": k / n if n else float("nan"),
        "beta_lower_95": float(limits[0]),
        "beta_upper_95": float(limits[1]),
        "shift": shift,
        "shift_lower_95": lower,
        "shift_upper_95": upper,
        "rescued": float("nan"),
        "verdict": hypothesis_verdict(lower, upper),
    }


def unscored_row(experiment: Experiment) -> dict[str, object]:
    """Return the row of an experiment whose stamps an external finder has not scored."""
    nan = float("nan")
    rates = ("baseline_completeness", "completeness", "beta_lower_95", "beta_upper_95")
    shifts = ("shift", "shift_lower_95", "shift_upper_95", "rescued")
    return {
        "experiment": experiment.name,
        "hypothesis": experiment.hypothesis,
        "n": 0,
        "n_hosts": 0,
        "k": 0,
        **dict.fromkeys((*rates, *shifts), nan),
        "verdict": NOT_EVALUATED,
    }


def hypothesis_verdict(lower: float, upper: float) -> str:
    """Return what an interval of the shift says of a hypothesis."""
    if not np.isfinite([lower, upper]).all():
        return NOT_EVALUATED
    return SUPPORTED if lower > 0 else OPPOSED if upper < 0 else NOT_SUPPORTED


PROPERTIES: Mapping[str, Callable[[pd.DataFrame], pd.Series]] = {
    "theta_E over PSF FWHM": lambda rows: rows["theta_e_arcsec"] / rows["psfsize_r"],
    "arc minus host magnitude, r": lambda rows: rows["lensed_mag_r"] - rows["mag_r"],
    "arc S/N": lambda rows: rows["arc_snr"],
    "arc surface brightness, r [mag/arcsec2]": lambda rows: (
        rows["lensed_mag_r"] + 2.5 * np.log10(2.0 * np.pi * rows["theta_e_arcsec"] * rows["psfsize_r"])
    ),
    "arc minus host g - r": lambda rows: (
        (rows["lensed_mag_g"] - rows["lensed_mag_r"]) - (rows["mag_g"] - rows["mag_r"])
    ),
}
"""What a miss may depend on. Surface brightness spreads the arc over a ring as wide as the PSF."""
CLASSES = ("type", "confuser_category", "n_images")


def where_it_collapses(
    trials: pd.DataFrame, threshold: float, intervals: IntervalSettings, quantiles: int = 4
) -> pd.DataFrame:
    """Return C by quarters of each property and by each class: property, value, k, n, completeness, Beta limits.

    `trials` holds the injections with truth and scores. `lift` is the rate over that of all trials: where it is far
    below 1, completeness collapses.
    """
    rows = trials.assign(detected=detected_at(trials, threshold))
    overall = float(rows["detected"].mean()) if len(rows) else float("nan")
    found = []
    for name, measure in PROPERTIES.items():
        values = measure(rows)
        usable = rows.loc[np.isfinite(values)]
        if len(usable) < quantiles:
            continue
        binned = pd.qcut(values.loc[usable.index], quantiles, duplicates="drop")
        for interval, group in usable.groupby(binned, observed=True):
            found.append(_share(name, f"{interval.left:.3g} to {interval.right:.3g}", group, overall, intervals))
    for name in CLASSES:
        classes = rows[name].astype("object").where(rows[name].notna(), "none").astype(str)
        for value, group in rows.groupby(classes, sort=True):
            found.append(_share(name, str(value), group, overall, intervals))
    return pd.DataFrame(found)


def _share(
    name: str, value: str, group: pd.DataFrame, overall: float, intervals: IntervalSettings
) -> dict[str, object]:
    k, n = int(group["detected"].sum()), len(group)
    lower, upper = beta_interval(k, n, 0.95, (intervals.prior_alpha, intervals.prior_beta))
    return {
        "property": name,
        "value": value,
        "k": k,
        "n": n,
        "completeness": k / n,
        "beta_lower_95": float(lower),
        "beta_upper_95": float(upper),
        "lift": k / n / overall if overall > 0 else float("nan"),
    }


def surprising_misses(trials: pd.DataFrame, threshold: float, count: int) -> pd.DataFrame:
    """Return the missed injections with the highest arc signal-to-noise: a gallery of failures worth a look."""
    missed = trials.loc[(trials["injected_score"] < threshold) & np.isfinite(trials["arc_snr"])]
    return missed.sort_values(["arc_snr", "injection_id"], ascending=[False, True]).head(count)
