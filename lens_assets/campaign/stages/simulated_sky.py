"""Settings of the simulated sky of a demo campaign: its size, its galaxies, its lenses and its pixels.

The lens population here is deliberately of another functional form than the priors of the injection stage, and is
drawn by other code, so that the closure test compares two independent descriptions.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lens_assets.campaign.base import Settings, setting


class SkyLayoutSettings(Settings):
    """Where the bricks lie and how large they are."""

    n_bricks: int = setting("bricks written", "bricks", ge=1, le=2000)
    brick_pixels: int = setting("side of a brick image", "px", ge=200, le=3600)
    sky_partitions: Annotated[tuple[str, ...], Field(min_length=1)] = setting("nside-4 NESTED pixels, hp04-<pixel>")
    dec_min_deg: float = setting("southern limit of brick centres", "deg", ge=-60, le=32)
    dec_max_deg: float = setting("northern limit of brick centres", "deg", ge=-60, le=32)
    block_edge_bricks: int = setting("bricks placed across a sweep block edge", "bricks", ge=0)
    partition_edge_bricks: int = setting("bricks placed across a sky partition edge", "bricks", ge=0)
    sweep_overlap_deg: float = setting("sources this close to a block edge are in both files", "deg", ge=0, le=0.2)
    incomplete_bricks: int = setting("bricks with an area of zero coverage in a band", "bricks", ge=0)

    @model_validator(mode="after")
    def _counts_fit(self) -> SkyLayoutSettings:
        special = max(self.block_edge_bricks + self.partition_edge_bricks, self.incomplete_bricks)
        if special > self.n_bricks:
            raise ValueError(
                f"layout.n_bricks is {self.n_bricks} but {special} bricks are asked for at edges or without full "
                "coverage (block_edge_bricks + partition_edge_bricks, incomplete_bricks); expected no more than n_bricks"  # noqa: E501
            )
        if self.dec_min_deg >= self.dec_max_deg:
            raise ValueError(
                f"layout.dec_min_deg is {self.dec_min_deg} and layout.dec_max_deg {self.dec_max_deg}; "
                "expected dec_min_deg < dec_max_deg"
            )
        return self


class PopulationSettings(Settings):
    """Systems of every kind in one brick of `reference_pixels` pixels a side; counts scale with the area."""

    reference_pixels: int = setting("brick side that the counts below refer to", "px", ge=200, le=3600)
    lens: int = setting("strong lenses", "systems", ge=0)
    massive_early_type: int = setting("ordinary galaxies like the lens hosts", "galaxies", ge=0)
    early_type: int = setting("fainter early types", "galaxies", ge=0)
    disk: int = setting("smooth disk galaxies", "galaxies", ge=0)
    spiral: int = setting("face-on galaxies with spiral arms", "galaxies", ge=0)
    ring: int = setting("red galaxies with a blue ring", "galaxies", ge=0)
    merger: int = setting("galaxies with close neighbours or tails", "systems", ge=0)
    edge_on: int = setting("edge-on disks", "galaxies", ge=0)
    blue_clumpy: int = setting("blue irregular clumpy galaxies", "galaxies", ge=0)
    pointy_core: int = setting("galaxies with an unresolved nucleus", "galaxies", ge=0)
    faint: int = setting("faint background galaxies", "galaxies", ge=0)
    star: int = setting("stars of r 15 to 23", "stars", ge=0)
    bright_star_fraction: float = setting("chance of a bricks's having a bright star", "", ge=0, le=1)
    minimum_separation_arcsec: float = setting("between systems brighter than z 20", "arcsec", ge=0, le=10)
    edge_fraction: float = setting("share of bright systems too near the brick edge for a stamp", "", ge=0, le=0.5)


class LensPopulationSettings(Settings):
    """The lenses of the sky: log-normal radii, normal source magnitudes, gamma colours and sizes."""

    theta_e_median_arcsec: float = setting("median Einstein radius", "arcsec", gt=0.2, le=3)
    theta_e_sigma_ln: float = setting("scatter of ln theta_E", "", gt=0, le=1)
    theta_e_min_arcsec: float = setting("smallest Einstein radius", "arcsec", gt=0.1, le=3)
    theta_e_max_arcsec: float = setting("largest Einstein radius", "arcsec", gt=0.2, le=5)
    source_mag_r_mean: float = setting("mean unlensed r magnitude of sources", "AB mag", ge=18, le=28)
    source_mag_r_sigma: float = setting("its scatter", "mag", gt=0, le=3)
    source_g_minus_r_shape: float = setting("shape of the gamma law of the observed g-r", "", gt=0, le=20)
    source_g_minus_r_scale: float = setting("scale of that law", "mag", gt=0, le=2)
    source_g_minus_r_floor: float = setting("bluest observed g-r", "mag", ge=-1, le=2)
    source_r_minus_z_mean: float = setting("mean observed r-z at the mean g-r", "mag", ge=-1, le=3)
    source_r_minus_z_sigma: float = setting("scatter of r-z at fixed g-r", "mag", gt=0, le=1)
    source_radius_shape: float = setting("shape of the gamma law of source half-light radii", "", gt=0, le=20)
    source_radius_scale_arcsec: float = setting("scale of that law", "arcsec", gt=0, le=1)
    source_offset_sigma: float = setting("scatter per axis of the source position in units of theta_E", "", gt=0, le=1)
    source_offset_max: float = setting("largest source offset in units of theta_E", "", gt=0, le=1)
    clump_fraction: float = setting("share of source light in star-forming clumps", "", ge=0, le=0.9)
    shear_sigma: float = setting("scatter of each component of the external shear", "", ge=0, le=0.2)
    mass_angle_scatter_deg: float = setting("scatter of mass about light position angles", "deg", ge=0, le=90)
    hidden_fraction: float = setting("share of lenses with a source too faint or too close to see", "", ge=0, le=1)
    published_fraction: float = setting("share of lenses in the published catalog", "", ge=0, le=1)

    @model_validator(mode="after")
    def _radii_are_ordered(self) -> LensPopulationSettings:
        if not self.theta_e_min_arcsec < self.theta_e_median_arcsec < self.theta_e_max_arcsec:
            raise ValueError(
                "lenses.theta_e_min_arcsec, theta_e_median_arcsec and theta_e_max_arcsec are "
                f"{self.theta_e_min_arcsec}, {self.theta_e_median_arcsec} and {self.theta_e_max_arcsec}; "
                "expected them in rising order"
            )
        return self


class PixelSettings(Settings):
    """How light becomes coadd pixels."""

    psf_moffat_beta: float = setting("exponent of the Moffat PSF", "", gt=1.1, le=10)
    psf_gradient: float = setting("largest relative change of the PSF width over a brick", "", ge=0, le=0.2)
    noise_correlation: float = setting("correlation of neighbouring noise pixels", "", ge=0, le=0.4)
    ray_oversampling: int = setting("rays per pixel side of the ray shooter", "", ge=1, le=16)
    lens_stamp_pixels: int = setting("side of the area where a lens's arcs are drawn", "px", ge=32, le=128)
    quantisation_nanomaggy: float = setting("step of the lossy compression", "nmgy", gt=0, le=0.01)


class SimulatedSkySettings(Settings):
    """Everything that determines the simulated survey."""

    seed: int = setting("seed of every random number of the sky", "", ge=0)
    workers: int = setting("processes that write bricks; results do not depend on it", "", ge=1, le=64)
    release: Literal[10000, 10002] = setting("RELEASE of most bricks")
    layout: SkyLayoutSettings = setting("where the bricks lie")
    population: PopulationSettings = setting("what a brick holds")
    lenses: LensPopulationSettings = setting("the lens population")
    pixels: PixelSettings = setting("from light to pixels")
