"""Settings of what is measured on stamps, and of the two audits of the training set: split proof and shortcuts."""

from __future__ import annotations

from pydantic import model_validator

from lens_assets.campaign.base import Settings, setting


class RegionSettings(Settings):
    """Regions of a stamp: radii about the target, bounds included."""

    core_radius_px: float = setting("core: radius up to this", "pixel", gt=0)
    annulus_inner_px: float = setting("arc annulus: inner radius", "pixel", gt=0)
    annulus_outer_px: float = setting("arc annulus: outer radius", "pixel", gt=0)
    outer_inner_px: float = setting("outer annulus: inner radius", "pixel", gt=0)
    outer_outer_px: float = setting("outer annulus: outer radius", "pixel", gt=0)
    sky_inner_px: float = setting("sky annulus: inner radius", "pixel", gt=0)
    sky_outer_px: float = setting("sky annulus: outer radius", "pixel", gt=0)
    central_pixels: int = setting("side of the central square of central_nan_frac", "pixel", ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> RegionSettings:
        for inner, outer in (
            ("annulus_inner_px", "annulus_outer_px"),
            ("outer_inner_px", "outer_outer_px"),
            ("sky_inner_px", "sky_outer_px"),
            ("annulus_outer_px", "sky_inner_px"),
        ):
            if getattr(self, inner) >= getattr(self, outer):
                raise ValueError(
                    f"regions.{inner} is {getattr(self, inner)}, expected less than {outer} = {getattr(self, outer)}"
                )
        return self


class QualitySettings(Settings):
    """What a stamp must satisfy to be used."""

    max_missing_fraction: float = setting("missing pixels of any band, whole stamp", "fraction", ge=0, le=1)
    max_central_missing_fraction: float = setting("missing pixels, central square", "fraction", ge=0, le=1)
    max_core_missing_fraction: float = setting("missing pixels of any band in the core", "fraction", ge=0, le=1)
    clip_sigma: float = setting("clip_frac_r counts pixels farther than this from the sky", "sky sigma", gt=0)


class VisibilitySettings(Settings):
    """How the visibility of an arc is measured, and from which value on it counts as visible."""

    inner_px: float = setting("inner radius searched for arcs", "pixel", gt=0)
    outer_px: float = setting("outer radius searched for arcs", "pixel", gt=0)
    smoothing_sigma_px: float = setting("Gaussian smoothing before the threshold", "pixel", gt=0)
    threshold_sigma: float = setting("smoothed blue residual counted as arc", "sigma", gt=0)
    visible_snr: float = setting("arc_visibility from which an arc is visible", "signal-to-noise", gt=0)
    family_min_members: int = setting("families with fewer stamps are not judged", "stamps", ge=1)
    family_min_visible_fraction: float = setting("of families below only visible stamps train", "fraction", ge=0, le=1)


class SplitProofSettings(Settings):
    """What separates the splits, and how alike they must be."""

    buffer_arcsec: float = setting("stamps of different splits keep at least this distance", "arcsec", ge=0, le=600)
    max_effect_size: float = setting("|Cohen d| or Cramer V between splits above this warns", ge=0, le=5)


class ShortcutSettings(Settings):
    """When one feature alone separates the classes suspiciously well."""

    seed: int = setting("seed of the bootstrap", ge=0)
    resamples: int = setting("bootstrap resamples of split cells", ge=50, le=10_000)
    yellow_auc: float = setting("lower 68% bound of the AUC above this: yellow", ge=0.5, le=1)
    red_auc: float = setting("lower 68% bound of the AUC above this: red", ge=0.5, le=1)
    expected_physics: dict[str, str] = setting("features that may separate the classes, each with the reason")

    @model_validator(mode="after")
    def _ordered(self) -> ShortcutSettings:
        if self.yellow_auc > self.red_auc:
            raise ValueError(f"shortcuts.yellow_auc {self.yellow_auc} exceeds red_auc {self.red_auc}")
        return self


class FeaturesSettings(Settings):
    """Measurements on stamps, and the audits of the training set."""

    regions: RegionSettings = setting("regions of a stamp")
    quality: QualitySettings = setting("limits of quality_ok")
    visibility: VisibilitySettings = setting("visibility of arcs")
    split_proof: SplitProofSettings = setting("separation and balance of the splits")
    shortcuts: ShortcutSettings = setting("audit of single features")
