"""How far C moves under other priors: paired batches on the same hosts and draws, and the verdict on stability."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lens_assets.campaign.stages.injection import InjectionSettings
from lens_assets.campaign.stages.selection_function import SensitivityVariant
from lens_assets.sky.randomness import generator, uniform
from lens_assets.statistics.bootstrap import cluster_bootstrap_rate
from lens_assets.survey.units import axis_ratio

BASELINE = "published_prior"


def subsample(plan: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return `count` rows of a plan, chosen by a counter on the injection id, in the plan's order."""
    ranks = pd.Series(uniform(seed, list(plan["injection_id"]), "sensitivity-subsample"), index=plan.index)
    return plan.loc[ranks.rank(method="first") <= count].reset_index(drop=True)


def altered_plan(plan: pd.DataFrame, variant: SensitivityVariant) -> pd.DataFrame:
    """Return the plan with a variant's changes to the source and lens; hosts and all other draws stay the same.

    The axis ratio of the host is its Tractor b/a, kept in [0.5, 0.99], since mass is rounder than light; hosts
    without a shape keep their draw. PSF and gain are changed in the renderer's settings, see `altered_settings`.
    """
    altered = plan.copy()
    altered["source_mag_r"] += variant.source_mag_shift
    altered["source_g_minus_r"] += variant.colour_shift
    altered["source_r_minus_z"] += variant.colour_shift
    altered["source_half_light_radius_arcsec"] *= variant.size_factor
    if variant.axis_ratio_from_host:
        ratio = pd.Series(axis_ratio(plan["shape_e1"], plan["shape_e2"]), index=plan.index).clip(0.5, 0.99)
        altered["lens_axis_ratio"] = ratio.where(ratio.notna() & (plan["shape_r"] > 0), plan["lens_axis_ratio"])
    if variant.singular_sphere:
        altered = altered.assign(lens_axis_ratio=1.0, shear_g1=0.0, shear_g2=0.0)
    altered["lens_density_slope"] += variant.density_slope_shift
    for axis in ("x", "y") if variant.source_offset_factor != 1.0 else ():
        centre = altered[f"lens_{axis}_arcsec"]
        offset = altered[f"source_{axis}_arcsec"] - centre
        altered[f"source_{axis}_arcsec"] = centre + variant.source_offset_factor * offset
    return altered if variant.source_light == "as_published" else _with_light(altered, variant.source_light)


def _with_light(plan: pd.DataFrame, family: str) -> pd.DataFrame:
    """Return the plan with the sources of a family: same magnitude, size and shape, without clumps."""
    smooth = plan.assign(source_clumps=0, source_clump_flux_fraction=0.0)
    index = {"exponential": 1.0, "de_vaucouleurs": 4.0}.get(family)
    return smooth if index is None else smooth.assign(source_sersic_index=index)


def altered_settings(settings: InjectionSettings, variant: SensitivityVariant) -> InjectionSettings:
    """Return the injection settings with a variant's PSF, gain and inner images; factors multiply what they were."""
    published = settings.renderer
    renderer = published.model_copy(
        update={
            "psf_fwhm_scale": published.psf_fwhm_scale * variant.psf_factor,
            "psf_moffat_beta": variant.psf_moffat_beta or published.psf_moffat_beta,
            "inner_images": published.inner_images if variant.inner_images == "as_published" else variant.inner_images,
        }
    )
    noise = settings.noise.model_copy(update={"gain_scale": settings.noise.gain_scale * variant.gain_factor})
    return settings.model_copy(update={"renderer": renderer, "noise": noise})


def shift_row(
    variant: str,
    baseline: pd.DataFrame,
    altered: pd.DataFrame,
    maximum_shift: float,
    resamples: int,
    seed: int,
) -> dict[str, object]:
    """Return one variant's completeness and its paired shift against the published prior.

    Both tables have injection_id, galaxy_id and `detected`. The interval of the shift resamples hosts, which keeps
    the pairing.
    """
    pairs = baseline[["injection_id", "galaxy_id", "detected"]].merge(
        altered[["injection_id", "detected"]], on="injection_id", suffixes=("", "_altered")
    )
    difference = pairs["detected_altered"].astype(float) - pairs["detected"].astype(float)
    rng = generator(seed, variant, "sensitivity-bootstrap")
    estimate = cluster_bootstrap_rate(difference, pairs["galaxy_id"], rng, resamples=resamples)
    return {
        "variant": variant,
        "n": len(pairs),
        "n_hosts": int(pairs["galaxy_id"].nunique()),
        "baseline_completeness": float(pairs["detected"].mean()),
        "completeness": float(pairs["detected_altered"].mean()),
        "shift": estimate.value,
        "shift_lower_95": estimate.lower,
        "shift_upper_95": estimate.upper,
        "verdict": stability(estimate.value, estimate.lower, estimate.upper, maximum_shift),
    }


def unscored_row(variant: str) -> dict[str, object]:
    """Return the row of a variant whose stamps a finder has not scored."""
    nan = float("nan")
    names = ("baseline_completeness", "completeness", "shift", "shift_lower_95", "shift_upper_95")
    return {"variant": variant, "n": 0, "n_hosts": 0, **dict.fromkeys(names, nan), "verdict": "NOT-EVALUATED"}


def stability(shift: float, lower: float, upper: float, maximum_shift: float) -> str:
    """Return UNSTABLE where the shift is larger than allowed, NOT-EVALUATED without an interval, STABLE else."""
    if not np.isfinite([shift, lower, upper]).all():
        return "NOT-EVALUATED"
    return "UNSTABLE" if abs(shift) > maximum_shift else "STABLE"
