"""Other priors on the same hosts and draws: what each changes in the plan and in the renderer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lens_assets.campaign.stages.injection import InjectionSettings
from lens_assets.campaign.stages.selection_function import SensitivityVariant
from lens_assets.sky.randomness import uniform
from lens_assets.survey.units import axis_ratio

BASELINE = "published_prior"


def subsample(plan: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return `count` rows of a plan, chosen by a counter on the injection id, in the plan's order."""
    ranks = pd.Series(uniform(seed, list(plan["injection_id"]), "sensitivity-subsample"), index=plan.index)
    return plan.loc[ranks.rank(method="first") <= count].reset_index(drop=True)


def magnitude_variant(name: str, shift_mag: float) -> SensitivityVariant:
    """Return the variant that only adds to the source magnitudes."""
    return SensitivityVariant(
        name=name,
        source_mag_shift=shift_mag,
        colour_shift=0.0,
        size_factor=1.0,
        psf_factor=1.0,
        gain_factor=1.0,
        axis_ratio_from_host=False,
    )


def shifts_magnitudes_alone(variant: SensitivityVariant) -> bool:
    """Return whether a variant changes nothing but the source magnitudes."""
    return variant == magnitude_variant(variant.name, variant.source_mag_shift)


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
    if variant.shapes_exchanged:
        altered = _with_exchanged_shapes(altered)
    if variant.singular_sphere:
        altered = altered.assign(lens_axis_ratio=1.0, shear_g1=0.0, shear_g2=0.0)
    altered["lens_density_slope"] += variant.density_slope_shift
    for axis in ("x", "y") if variant.source_offset_factor != 1.0 else ():
        centre = altered[f"lens_{axis}_arcsec"]
        offset = altered[f"source_{axis}_arcsec"] - centre
        altered[f"source_{axis}_arcsec"] = centre + variant.source_offset_factor * offset
    return altered if variant.source_light == "as_published" else _with_light(altered, variant.source_light)


def _with_exchanged_shapes(plan: pd.DataFrame) -> pd.DataFrame:
    """Return the plan with each injection's lens shape taken from the next one in the order of a hash of the ids.

    Axis ratios and angles keep their distributions and their pairing, and lose what ties them to the host.
    """
    order = np.argsort(uniform(0, list(plan["injection_id"]), "sensitivity-shapes"), kind="stable")
    shapes = plan[["lens_axis_ratio", "lens_angle_deg"]].to_numpy()
    exchanged = np.empty_like(shapes)
    exchanged[order] = shapes[np.roll(order, 1)]
    return plan.assign(lens_axis_ratio=exchanged[:, 0], lens_angle_deg=exchanged[:, 1])


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
