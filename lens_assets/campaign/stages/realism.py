"""Settings of the realism battery: what is measured, what is compared, and what makes the gate say NO-GO.

The thresholds belong to the science, not to a campaign: the shipped campaigns hold the same ones.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from lens_assets.campaign.base import Settings, setting


class ApertureSettings(Settings):
    """Where on a stamp arcs and sky are measured; radii from the target."""

    arc_inner_arcsec: float = setting("inner radius of the arc annulus", "arcsec", ge=0.5, le=5)
    arc_outer_arcsec: float = setting("outer radius of the arc annulus", "arcsec", gt=1, le=10)
    sky_inner_arcsec: float = setting("inner radius of the sky annulus", "arcsec", gt=2, le=12)
    sky_outer_arcsec: float = setting("outer radius of the sky annulus", "arcsec", gt=3, le=13)
    arc_pixel_threshold_sigma: float = setting(
        "smoothed significance of an arc pixel", "sigma of the smoothed sky", gt=1, le=10
    )
    minimum_arc_pixels: int = setting("smaller connected groups are no arc", "pixel", ge=3, le=200)
    minimum_blue_excess_mag: float = setting("groups less blue than their host by this in g-r are no arc", "mag", ge=-2)
    minimum_inside_share: float = setting("share of a group's pixels inside the annulus, else no arc", ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> ApertureSettings:
        radii = (self.arc_inner_arcsec, self.arc_outer_arcsec, self.sky_inner_arcsec, self.sky_outer_arcsec)
        if not radii[0] < radii[1] <= radii[2] < radii[3]:
            raise ValueError(
                f"arc_inner_arcsec < arc_outer_arcsec <= sky_inner_arcsec < sky_outer_arcsec expected, got {radii}"
            )
        return self


class DetectabilitySettings(Settings):
    """The gate that both anchors and injections pass before they are compared: an arc that can be seen."""

    minimum_arc_snr: float = setting("smallest signal-to-noise of the blue residual in its arc pixels", gt=0, le=50)


class AnchorSettings(Settings):
    """Which lenses judge the injections."""

    splits: tuple[Literal["val", "test"], ...] = setting("splits whose lenses are held out", min_length=1)
    seed: int = setting("seed that halves the anchors into calibration and gate", ge=0)
    calibration_fraction: float = setting("share of anchors that tunes; the rest judges", "fraction", gt=0.1, lt=0.9)
    minimum_group: int = setting("fewer anchors in a compared group are NOT-EVALUATED", ge=10)


class ReweightingSettings(Settings):
    """Injections are weighted to the anchors' arc radii, hosts and conditions before they are compared."""

    covariates: tuple[str, ...] = setting("columns in which the two are made alike", min_length=1)
    squared: tuple[str, ...] = setting("covariates whose squares are made alike too, for spreads that differ")
    ridge: float = setting("penalty of the logistic density ratio, in standardised covariates", gt=0)
    maximum_weight_ratio: float = setting("largest weight over the mean weight", gt=1)
    minimum_effective: float = setting("effective injections below which there is no GO", ge=10)

    @model_validator(mode="after")
    def _known(self) -> ReweightingSettings:
        unknown = sorted(set(self.squared) - set(self.covariates))
        if unknown:
            raise ValueError(f"squared: expected names of covariates {list(self.covariates)}, got {unknown}")
        return self


class ToleranceSettings(Settings):
    """Rules on point estimates."""

    snr_quantiles: tuple[float, ...] = setting("quantiles of the arc signal-to-noise compared", min_length=1)
    snr_ratio_lower: float = setting("smallest injections / anchors ratio of each quantile", gt=0, lt=1)
    snr_ratio_upper: float = setting("largest injections / anchors ratio of each quantile", gt=1)
    colour_median_mag: float = setting("largest |difference| of the median arc colours", "mag", gt=0)


class DistributionSettings(Settings):
    """Weighted Kolmogorov-Smirnov comparisons with one family-wise false-alarm rate."""

    observables: tuple[str, ...] = setting("observables whose distributions are compared", min_length=1)
    distance_margin: float = setting("distance of two distributions that is no matter of realism", ge=0, lt=0.5)
    family_wise_error: float = setting("false-alarm rate of the whole battery on a perfect simulator", gt=0, lt=0.5)
    resamples: int = setting("bootstrap resamples and permutations of each test", ge=500)
    seed: int = setting("seed of the resampling", ge=0)


class BackgroundSettings(Settings):
    """Sky pixels of injected stamps against untouched stamps of other objects in like conditions."""

    pixels_per_stamp: int = setting("source-masked sky pixels taken of each stamp and band", ge=10, le=1000)
    spacing_px: int = setting("spacing of the pixels, beyond the noise correlation length", "pixel", ge=2, le=20)
    mask_sigma: float = setting("smoothed significance of pixels masked as sources", "sigma", gt=1)
    maximum_pairs: int = setting("pairs of hosts in like conditions, one shown injected, the other untouched", ge=30)


class ProbeSettings(Settings):
    """Linear probes: what a logistic regression can tell apart."""

    folds: int = setting("cross-validation folds, grouped by host", ge=2, le=20)
    components: int = setting("principal components given to the regression", ge=2, le=512)
    maximum_feature_auc_excess: float = setting(
        "detector-feature AUC above the real-against-real control", "AUC", ge=0, le=0.5
    )
    maximum_frechet_ratio: float = setting("Frechet distance over that of the real-against-real control", gt=1)
    minimum_annulus_auc: float = setting("annulus-only pixels must tell injected from untouched stamps", "AUC", ge=0.5)
    maximum_core_auc: float = setting("core-only pixels must not, where the null level is 0.5", "AUC", ge=0.5)
    maximum_radial_auc: float = setting("radial profiles must not, where the null level is 0.5", "AUC", ge=0.5)
    null_draws: int = setting("draws of noise on which the null level of these two is measured", ge=3, le=200)
    core_radius_px: int = setting("radius of the core", "pixel", ge=1, le=20)
    maximum_stamps: int = setting("stamps of each class given to a probe", ge=50)
    gates: tuple[Literal["features", "frechet", "annulus", "core", "radial"], ...] = setting(
        "probes that decide; the others are reported as warnings"
    )


class ContaminantSettings(Settings):
    """Contaminants at the audited threshold, alone and with arcs on them."""

    maximum_fpr: float = setting("largest share of contaminants above the audited threshold", "fraction", gt=0, le=1)
    maximum_difference: float = setting(
        "largest |difference| of the share of visible arcs found on contaminants and on other hosts", gt=0, le=1
    )
    maximum_stamps: int = setting("stamps of contaminants, and of others, that are scored", ge=50)
    gates: bool = setting("whether they decide; otherwise they warn")


class StrataSettings(Settings):
    """The same comparisons in halves of seeing and depth."""

    columns: tuple[str, ...] = setting("columns split at the anchors' median")
    gates: bool = setting("whether a failure in a stratum decides; otherwise it warns")


class CalibrationSettings(Settings):
    """The fit of the one campaign-wide source magnitude shift."""

    draws: int = setting("injections rendered at each trial shift", ge=50)
    minimum_anchors: int = setting("fewer visible anchors of the calibration half fit nothing", ge=5)
    step_mag: float = setting("distance of trial shifts; the optimum is interpolated", "mag", gt=0, le=2)
    quantiles: tuple[float, ...] = setting("quantiles of log arc signal-to-noise that are matched", min_length=1)
    seed: int = setting("seed of the trial draws", ge=0)


class PanelSettings(Settings):
    """Blinded grading of mixed stamps by people."""

    required: bool = setting("whether the gate waits for the graders' answers")
    stamps: int = setting("stamps on the page, half of them anchors", ge=10, le=500)
    seed: int = setting("seed of choice and order", ge=0)
    answers_csv: str = setting("path of the returned grading form, relative to the campaign; empty while none")
    answers_sha256: str = setting("SHA-256 of that file, so that other answers are another verdict; empty while none")
    confidence: float = setting("level of the interval of the accuracy, which must contain 0.5", gt=0.5, lt=1)


class RealismSettings(Settings):
    """The stage `realism`."""

    apertures: ApertureSettings = setting("where arcs and sky are measured")
    detectability: DetectabilitySettings = setting("what counts as a visible arc")
    anchors: AnchorSettings = setting("who judges")
    reweighting: ReweightingSettings = setting("how injections are made alike")
    tolerances: ToleranceSettings = setting("rules on point estimates")
    distributions: DistributionSettings = setting("comparisons of distributions")
    background: BackgroundSettings = setting("comparison of sky pixels")
    probes: ProbeSettings = setting("linear probes")
    contaminants: ContaminantSettings = setting("contaminants at the audited threshold")
    strata: StrataSettings = setting("comparisons by conditions")
    calibration: CalibrationSettings = setting("fit of the source magnitudes")
    panel: PanelSettings = setting("blinded panel")
