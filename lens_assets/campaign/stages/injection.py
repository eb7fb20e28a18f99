"""Settings of the injections: hosts, priors of lens and source, renderer and noise, and how the plan is filled.

Angles are degrees East of North; radii are product averages of the axes; magnitudes are AB.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from lens_assets.campaign.base import Settings, setting
from lens_assets.campaign.stages.host_selection import VariantName


class RangeSettings(Settings):
    """A uniform (or, where it says so, log-uniform) prior."""

    minimum: float = setting("lower end", "unit of the quantity")
    maximum: float = setting("upper end, not below the lower", "unit of the quantity")

    @model_validator(mode="after")
    def _ordered(self) -> RangeSettings:
        if self.maximum < self.minimum:
            raise ValueError(f"maximum: expected at least minimum {self.minimum}, got {self.maximum}")
        return self


class NormalSettings(Settings):
    """A normal prior."""

    mean: float = setting("mean", "unit of the quantity")
    sigma: float = setting("standard deviation", "unit of the quantity", gt=0)


class FileSettings(Settings):
    """A file that belongs to the campaign; empty where it is not used."""

    path: str = setting("place of the file; empty where it is not used")
    sha256: str = setting("SHA-256 the file must have; required with a path", pattern=r"^([0-9a-f]{64})?$")

    @model_validator(mode="after")
    def _pinned(self) -> FileSettings:
        if bool(self.path) != bool(self.sha256):
            raise ValueError("path, sha256: expected both or neither, so that another file is another campaign")
        return self


class LensPriorSettings(Settings):
    """The deflector. Its Einstein radius is uniform within the grid's bin and has no setting here."""

    density_slope: RangeSettings = setting("slope of the density, rho ~ r^-slope, uniform; 2 is isothermal")

    axis_ratio_mode: Literal["uniform", "host"] = setting("q uniform, or normal about the host's b/a and truncated")
    axis_ratio: RangeSettings = setting("range of the mass axis ratio q")
    axis_ratio_host_sigma: float = setting("scatter of q about the host's b/a in mode host", gt=0, le=1)
    angle_mode: Literal["uniform", "host"] = setting("position angle uniform, or normal about the host's")
    angle_host_sigma_deg: float = setting("scatter about the host's angle in mode host", "deg", gt=0, le=90)
    shear_sigma: float = setting("standard deviation of each component of the external shear", gt=0, le=0.3)
    centre_sigma_arcsec: float = setting(
        "standard deviation of the lens centre about the host, per axis", "arcsec", gt=0, le=1
    )


class SourcePositionSettings(Settings):
    """Where the source lies behind the lens, uniform per unit area of the source plane within the stated region."""

    mode: Literal["range", "caustic", "centred"] = setting(
        "range: ring of beta/theta_E; caustic: the multiply imaged region; centred: on the lens"
    )
    beta_over_theta_e: RangeSettings = setting("range of source offset over Einstein radius in mode range")

    @model_validator(mode="after")
    def _sensible(self) -> SourcePositionSettings:
        if self.beta_over_theta_e.minimum < 0 or self.beta_over_theta_e.maximum > 3:
            raise ValueError("beta_over_theta_e: expected 0 <= minimum and maximum <= 3")
        if self.mode == "range" and self.beta_over_theta_e.maximum <= self.beta_over_theta_e.minimum:
            raise ValueError("beta_over_theta_e: expected maximum > minimum in mode range")
        return self


class ClumpSettings(Settings):
    """Star-forming clumps: part of a source's light in small exponential knots within its half-light ellipse."""

    probability: float = setting("chance that a source is clumpy", ge=0, le=1)
    maximum_count: int = setting("largest number of clumps; uniform from 1", ge=1, le=8)
    flux_fraction: RangeSettings = setting("share of the source's flux in its clumps")
    radius_fraction: float = setting("half-light radius of a clump over the source's", gt=0.02, le=1)

    @model_validator(mode="after")
    def _fraction(self) -> ClumpSettings:
        if self.flux_fraction.minimum < 0 or self.flux_fraction.maximum > 1:
            raise ValueError("flux_fraction: expected a range within [0, 1]")
        return self


LARGEST_COLOUR_MAG = 5.0
"""No galaxy of the survey is redder or bluer than this between neighbouring bands."""


class SourcePriorSettings(Settings):
    """The source, unlensed and as observed (colours are observed, not rest frame)."""

    light: Literal["sersic", "bank"] = setting(
        "sersic: profiles and clumps; bank: pictures of real galaxies, resized to the drawn half-light radius"
    )
    bank: FileSettings = setting("bank of pictures, HDF5, for light: bank")

    mag_r: RangeSettings = setting("unlensed total r magnitude, before the calibrated shift", "AB mag")
    g_minus_r: NormalSettings = setting("observed g - r", "mag")
    r_minus_z: NormalSettings = setting("observed r - z", "mag")
    half_light_radius_arcsec: RangeSettings = setting("half-light radius, log-uniform", "arcsec")
    sersic_index: RangeSettings = setting("Sersic index")
    axis_ratio: RangeSettings = setting("axis ratio of the source")
    position: SourcePositionSettings = setting("source position")
    clumps: ClumpSettings = setting("clumps")

    @model_validator(mode="after")
    def _physical(self) -> SourcePriorSettings:
        limits = (
            ("mag_r", self.mag_r, 10.0, 32.0),
            ("half_light_radius_arcsec", self.half_light_radius_arcsec, 0.01, 3.0),
            ("sersic_index", self.sersic_index, 0.3, 6.0),
            ("axis_ratio", self.axis_ratio, 0.05, 1.0),
        )
        for name, prior, lowest, highest in limits:
            if prior.minimum < lowest or prior.maximum > highest:
                raise ValueError(
                    f"{name}: expected a range within [{lowest}, {highest}], got [{prior.minimum}, {prior.maximum}]"
                )
        for name, colour in (("g_minus_r", self.g_minus_r), ("r_minus_z", self.r_minus_z)):
            if abs(colour.mean) > LARGEST_COLOUR_MAG or colour.sigma > LARGEST_COLOUR_MAG:
                raise ValueError(
                    f"{name}: expected a mean within +-{LARGEST_COLOUR_MAG:g} mag and a sigma up to "
                    f"{LARGEST_COLOUR_MAG:g}, got {colour.mean} and {colour.sigma}"
                )
        if self.light == "bank" and not self.bank.path:
            raise ValueError("light: bank needs bank.path and bank.sha256")
        return self


ArcSnrTargets = Literal["faint", "legacy"]


LARGEST_SHIFT_MAG = 4.0


class BrightnessSettings(Settings):
    """How the one campaign-wide shift of the source magnitudes is set. It never depends on a host."""

    calibration: Literal["fitted", "arc_snr", "pinned"] = setting(
        "fitted to the calibration anchors or to targets of the arcs' signal-to-noise, or pinned to a value"
    )
    arc_snr_targets: ArcSnrTargets = setting(
        "for arc_snr: the named shares of arcs by signal-to-noise, realism.snr_targets.TARGETS"
    )
    pinned_shift_mag: float = setting(
        "shift of the source magnitudes when pinned", "mag", ge=-LARGEST_SHIFT_MAG, le=LARGEST_SHIFT_MAG
    )
    fitted_shift_mag: RangeSettings = setting("range searched when fitted", "mag")

    @model_validator(mode="after")
    def _searched(self) -> BrightnessSettings:
        limits = self.fitted_shift_mag
        if limits.minimum < -LARGEST_SHIFT_MAG or limits.maximum > LARGEST_SHIFT_MAG:
            raise ValueError(
                f"fitted_shift_mag: expected a range within +-{LARGEST_SHIFT_MAG:g} mag, "
                f"got [{limits.minimum}, {limits.maximum}]"
            )
        return self


MOFFAT_BETAS = (2.5, 3.5, 4.5)
"""Exponents whose transform is elementary, so that the renderer needs no sampled PSF."""


class RendererSettings(Settings):
    """How arcs become pixels."""

    stamp_pixels: int = setting("side of a stamp, odd", "px", ge=21, le=501)
    ray_tolerance: float = setting("integration error allowed in a cell, share of the unlensed flux", gt=0, le=1e-2)
    inner_images: Literal["included", "suppressed"] = setting(
        "whether demagnified images near the lens centre are drawn; suppressed studies what they do"
    )
    psf_profile: Literal["moffat", "images"] = setting("Moffat profiles, or one PSF image a band; FWHM from PSFSIZE")
    psf_images: FileSettings = setting("NPZ with images g, r, z and pixel_scale_arcsec, for psf_profile: images")
    psf_moffat_beta: float = setting("exponent of the Moffat PSF: 2.5, 3.5 or 4.5")
    psf_fwhm_scale: float = setting("multiplies each band's PSFSIZE; 1 unless a PSF error is studied", gt=0.2, le=3)
    psf_includes_pixel: bool = setting("PSFSIZE describes stars in pixels, so pixels are not convolved again")
    device: Literal["cpu", "cuda"] = setting("where arcs are rendered; bytes are the same on one device only")
    batch_stamps: int = setting("stamps rendered together; changes speed and memory, not bytes", ge=1, le=2048)

    @model_validator(mode="after")
    def _renderable(self) -> RendererSettings:
        if self.stamp_pixels % 2 == 0:
            raise ValueError(f"stamp_pixels: expected an odd number, got {self.stamp_pixels}")
        if self.psf_moffat_beta not in MOFFAT_BETAS:
            raise ValueError(f"psf_moffat_beta: expected one of {MOFFAT_BETAS}, got {self.psf_moffat_beta}")
        if self.psf_profile == "images" and not self.psf_images.path:
            raise ValueError("psf_profile: images needs psf_images.path and psf_images.sha256")
        return self


class SkyBrightnessSettings(Settings):
    """Night-sky brightness, from which the gain of a stamp is inferred."""

    g: float = setting("sky in g", "AB mag/arcsec^2", ge=15, le=25)
    r: float = setting("sky in r", "AB mag/arcsec^2", ge=15, le=25)
    z: float = setting("sky in z", "AB mag/arcsec^2", ge=15, le=25)


class NoiseSettings(Settings):
    """Noise added with the arcs; the host brings its own sky."""

    mode: Literal["none", "source_shot", "source_shot_and_sky"] = setting(
        "what is added: nothing, photon noise of the arcs, or also a second sky (for studies: counts the sky twice)"
    )
    pixel_correlation: float = setting(
        "correlation of neighbouring pixels' noise, from the coadd's resampling; photon noise has it too", ge=0, le=0.5
    )
    gain_scale: float = setting("multiplies the inferred gain; 1 unless a gain error is studied", gt=0, le=1000)
    sky_brightness: SkyBrightnessSettings = setting("sky brightness by band", "AB mag/arcsec^2")


class HostSettings(Settings):
    """Which galaxies receive arcs: test-split negatives of one sampling design, weighted back to its population."""

    design: str = setting("sampling design whose negatives are hosts", pattern=r"^[a-z][a-z0-9_]*$")
    parent: Literal["scan"] | VariantName = setting(
        "scan: the whole population; else what a variant of host_selection.yaml takes for luminous red galaxies"
    )
    types: tuple[Literal["SER", "DEV", "REX", "EXP"], ...] = setting("Tractor types allowed", min_length=1)
    mag_z: RangeSettings = setting("range of the host's z magnitude", "AB mag")
    maximum_uses_per_theta_e_bin: int = setting("most injections of one host in one (theta_E, PSF, depth) cell", ge=1)
    population: str = setting("whose population the weights describe; printed on the product", min_length=10)


class InjectionSettings(Settings):
    """The stage `injection`."""

    seed: int = setting("seed of every draw of this stage", ge=0)
    pilot_design: Literal["prior", "grid_small", "grid_wide"] = setting(
        "how the pilot is drawn: from the priors below, or every configuration of a legacy design alike"
    )
    pilot_injections: int = setting("injections of the pilot, over the host population", ge=1, le=1_000_000)
    hosts: HostSettings = setting("hosts")
    lens: LensPriorSettings = setting("prior of the deflector")
    source: SourcePriorSettings = setting("prior of the source")
    brightness: BrightnessSettings = setting("the campaign-wide magnitude shift")
    renderer: RendererSettings = setting("renderer")
    noise: NoiseSettings = setting("noise")

    @model_validator(mode="after")
    def _axis_ratio(self) -> InjectionSettings:
        if self.lens.axis_ratio.minimum < 0.2 or self.lens.axis_ratio.maximum > 1.0:
            raise ValueError("lens.axis_ratio: expected a range within [0.2, 1]")
        if self.lens.density_slope.minimum < 1.3 or self.lens.density_slope.maximum > 2.7:
            raise ValueError("lens.density_slope: expected a range within [1.3, 2.7]")
        if self.pilot_design != "prior" and self.brightness.calibration != "pinned":
            raise ValueError(
                f"pilot_design: {self.pilot_design} takes source magnitudes from the hosts, so no shift can be fitted "
                "to it; set brightness.calibration to pinned"
            )
        return self
