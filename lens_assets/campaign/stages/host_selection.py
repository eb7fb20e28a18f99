"""Settings of the parent samples: luminous red galaxies as lens hosts, and the regions of the sky rich in them."""

from __future__ import annotations

from typing import Literal

from lens_assets.campaign.base import Settings, setting

VARIANTS = ("v1_pure_massive", "v2_baseline_dr10", "v3_color_relaxed", "v4_mag_relaxed", "v5_very_relaxed")
"""The variants of the selection, from the purest to the most complete."""

VariantName = Literal["v1_pure_massive", "v2_baseline_dr10", "v3_color_relaxed", "v4_mag_relaxed", "v5_very_relaxed"]


class LrgVariant(Settings):
    """A source is selected where z, r - z and z - W1 are all measured and within these limits."""

    mag_z_max: float = setting("exclusive faint limit in z", "AB mag", ge=14, le=25)
    r_minus_z_min: float = setting("exclusive blue limit of r - z", "mag", ge=-1, le=3)
    z_minus_w1_min: float = setting("exclusive blue limit of z - W1", "mag", ge=-2, le=4)


class LrgVariants(Settings):
    """The five variants of the selection."""

    v1_pure_massive: LrgVariant = setting("bright and red")
    v2_baseline_dr10: LrgVariant = setting("the baseline on DR10")
    v3_color_relaxed: LrgVariant = setting("less red in z - W1")
    v4_mag_relaxed: LrgVariant = setting("fainter too")
    v5_very_relaxed: LrgVariant = setting("fainter still and less red")


class RegionSettings(Settings):
    """Connected regions of dense cells, their quality limits, and the weights of their ranking."""

    dense_share: float = setting("share of the cells, densest first, that are joined into regions", gt=0, le=1)
    map_variant: VariantName = setting("variant that the map shows")
    ebv_max: float = setting("regions above are marked as poor", "mag", gt=0)
    psfsize_r_max_arcsec: float = setting("regions above are marked as poor", "arcsec", gt=0)
    psfdepth_r_min_mag: float = setting("regions below are marked as poor", "AB mag", ge=15, le=30)
    psf_reference_arcsec: float = setting("PSF FWHM up to which the PSF weight is 1", "arcsec", gt=0)
    psf_scale_arcsec: float = setting("the PSF weight falls by e over this", "arcsec", gt=0)
    ebv_factor: float = setting("the dust weight is exp(-factor E(B-V))", "1/mag", ge=0)


class HostSelectionSettings(Settings):
    """Luminous red galaxies: thresholds of the variants, and regions of the sky ranked by them."""

    variants: LrgVariants = setting("thresholds of each variant")
    regions: RegionSettings = setting("regions rich in luminous red galaxies")
