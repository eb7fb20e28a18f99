"""Settings of the selection function: the grid, its statistics, and what sensitivity, closure and release ask.

Grid values are bin centres. Bins are half-open, [lower, upper), and contiguous. Einstein radii are drawn within their
bin; PSF and depth are the host's own, in the r band: PSFSIZE_r (FWHM) and PSFDEPTH_r as the AB magnitude of a
5-sigma point source, 22.5 - 2.5 log10(5 / sqrt(psfdepth_r)).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lens_assets.campaign.base import Settings, setting
from lens_assets.campaign.stages.injection import MOFFAT_BETAS
from lens_assets.digests import content_digest

CONDITION_BAND = "r"
DEPTH_DEFINITION = "psfdepth_r as 5-sigma point-source AB magnitude"
_DECIMALS = 6


class AxisSettings(Settings):
    """A regular axis of bins, given by its centres."""

    start: float = setting("centre of the first bin", "unit of the axis")
    step: float = setting("width of a bin and distance between centres", "unit of the axis", ge=0.01)
    count: int = setting("number of bins", ge=1, le=200)

    @property
    def centres(self) -> tuple[float, ...]:
        """Bin centres, length `count`."""
        return tuple(round(self.start + index * self.step, _DECIMALS) for index in range(self.count))

    @property
    def edges(self) -> tuple[float, ...]:
        """Bin edges, length `count` + 1."""
        return tuple(round(self.start + (index - 0.5) * self.step, _DECIMALS) for index in range(self.count + 1))


class GridSettings(Settings):
    """One (theta_E, PSF, depth) grid. Its digest identifies it; only products of one digest may be compared."""

    name: str = setting("name of the grid", pattern=r"^[a-z][a-z0-9_]*$")
    theta_e_arcsec: AxisSettings = setting("Einstein radius bins", "arcsec")
    psf_fwhm_arcsec: AxisSettings = setting("r-band PSF FWHM bins", "arcsec")
    depth_mag: AxisSettings = setting("r-band 5-sigma point-source depth bins", "AB mag")
    injections_per_cell: int = setting("injections in each (theta_E, PSF, depth) cell", ge=1, le=100_000)

    @property
    def theta_e_edges_arcsec(self) -> tuple[float, ...]:
        """Edges of the Einstein radius bins in arcsec."""
        return self.theta_e_arcsec.edges

    @property
    def psf_fwhm_edges_arcsec(self) -> tuple[float, ...]:
        """Edges of the PSF FWHM bins in arcsec."""
        return self.psf_fwhm_arcsec.edges

    @property
    def depth_edges_mag(self) -> tuple[float, ...]:
        """Edges of the depth bins in AB mag."""
        return self.depth_mag.edges

    @property
    def digest(self) -> str:
        """SHA-256 of the axes with band and depth definition.

        The number of injections a cell is not part of it: more injections measure the same quantity better.
        """
        content = {
            "band": CONDITION_BAND,
            "depth": DEPTH_DEFINITION,
            "theta_e_edges_arcsec": self.theta_e_edges_arcsec,
            "psf_fwhm_edges_arcsec": self.psf_fwhm_edges_arcsec,
            "depth_edges_mag": self.depth_edges_mag,
        }
        return content_digest(content)

    @model_validator(mode="after")
    def _physical(self) -> GridSettings:
        if self.theta_e_edges_arcsec[0] <= 0 or self.psf_fwhm_edges_arcsec[0] <= 0:
            raise ValueError(
                "theta_e_arcsec and psf_fwhm_arcsec: expected a lower edge (start - step / 2) above 0 arcsec, "
                f"got {self.theta_e_edges_arcsec[0]} and {self.psf_fwhm_edges_arcsec[0]}; raise start or lower step"
            )
        for key, axis in (("psf_fwhm_arcsec", self.psf_fwhm_arcsec), ("depth_mag", self.depth_mag)):
            if any(round(centre, 2) != centre for centre in axis.centres):
                raise ValueError(
                    f"{key}: expected bin centres with at most two decimals, since they name the condition "
                    f"partitions, got {axis.centres}"
                )
        return self


class IntervalSettings(Settings):
    """How rates become intervals."""

    prior_alpha: float = setting("alpha of the Beta prior (0.5 with beta 0.5 is Jeffreys)", gt=0, le=10)
    prior_beta: float = setting("beta of the Beta prior", gt=0, le=10)
    bootstrap_resamples: int = setting("resamples of the host- and cell-cluster bootstraps", ge=50, le=100_000)
    minimum_trials: int = setting("a grid cell with fewer injections is not supported", ge=1)
    minimum_hosts: int = setting("a grid cell with fewer distinct hosts is not supported", ge=1)
    maximum_merged_cells: int = setting("most adjacent cells in a group of the merged table; 1: none merged", ge=1)


class RandomsSettings(Settings):
    """One file of the survey's randoms, which are uniform on the sky."""

    path: str = setting("FITS file laid out as randoms-*.fits; a relative path starts at the campaign's folder")
    sha256: str = setting("checksum the file must have", pattern=r"^[0-9a-f]{64}$")


class ReferenceSettings(Settings):
    """The point of the grid at which one number is quoted, at the audited threshold."""

    theta_e_arcsec: float = setting("Einstein radius of the quoted number", "arcsec", gt=0)
    psf_fwhm_arcsec: float = setting("median r-band PSF FWHM of the footprint", "arcsec", gt=0)
    depth_mag: float = setting("median r-band 5-sigma depth of the footprint", "AB mag", gt=15, lt=30)


class SensitivityVariant(Settings):
    """One alternative to the injection prior; zero shifts and unit factors are the published prior."""

    name: str = setting("name of the variant", pattern=r"^[a-z][a-z0-9_]*$")
    source_mag_shift: float = setting("added to the source magnitude in all bands", "mag", ge=-3, le=3)
    colour_shift: float = setting("added to source g-r and to source r-z", "mag", ge=-2, le=2)
    size_factor: float = setting("multiplies the source half-light radius", gt=0, le=5)
    psf_factor: float = setting("multiplies the PSF FWHM of the rendered arcs", gt=0.2, le=3)
    gain_factor: float = setting("multiplies the gain of the arcs' shot noise", gt=0, le=1000)
    axis_ratio_from_host: bool = setting("whether the lens axis ratio follows the host's measured shape")
    shapes_exchanged: bool = Field(
        default=False, description="lens axis ratios and angles of other injections, so that they follow no host"
    )
    density_slope_shift: float = Field(default=0.0, ge=-0.5, le=0.5, description="added to the slope of the mass")
    singular_sphere: bool = Field(default=False, description="round lenses without external shear (SIS at slope 2)")
    source_offset_factor: float = Field(
        default=1.0, ge=0, le=3, description="multiplies the source's offset from the lens (beta over theta_E)"
    )
    psf_moffat_beta: float | None = Field(default=None, description="exponent of the Moffat PSF; null: as published")
    inner_images: Literal["as_published", "included", "suppressed"] = Field(
        default="as_published", description="whether demagnified images near the lens centre are drawn"
    )
    source_light: Literal["as_published", "smooth", "exponential", "de_vaucouleurs"] = Field(
        default="as_published", description="smooth: no clumps; the others: no clumps and Sersic index 1 or 4"
    )

    @model_validator(mode="after")
    def _renderable(self) -> SensitivityVariant:
        if self.psf_moffat_beta is not None and self.psf_moffat_beta not in MOFFAT_BETAS:
            raise ValueError(f"psf_moffat_beta: expected one of {MOFFAT_BETAS} or null, got {self.psf_moffat_beta}")
        if self.axis_ratio_from_host + self.singular_sphere + self.shapes_exchanged > 1:
            raise ValueError("axis_ratio_from_host, singular_sphere and shapes_exchanged: expected at most one of them")
        return self


class SensitivitySettings(Settings):
    """Own small batches under alternate priors, rendered on the same hosts and draws."""

    injections: int = setting("injections of each variant", ge=20, le=200_000)
    maximum_shift: float = setting("largest shift of the mean completeness that is stable", "fraction", gt=0, le=1)
    confidence: float = setting(
        "probability that the intervals of all alternatives of a kind hold at once", gt=0.5, lt=1
    )
    region_groups: int = setting("groups of neighbouring sky regions whose completeness is compared", ge=2, le=100)
    variants: tuple[SensitivityVariant, ...] = setting("the alternate priors")


class RemedySettings(Settings):
    """One remedied detector beside its counterpart, equal to it in everything else."""

    detector: str = setting("detector of evaluation.yaml that is trained with the remedy")
    instead_of: str = setting("detector of evaluation.yaml that is trained without it")

    @model_validator(mode="after")
    def _two(self) -> RemedySettings:
        if self.detector == self.instead_of:
            raise ValueError(f"detector and instead_of: expected two detectors, got {self.detector} twice")
        return self


class FailureSettings(Settings):
    """What is tried against the causes of misses."""

    remedies: tuple[RemedySettings, ...] = setting("pairs of detectors whose shift of C is measured; none: no remedy")


class ClosureSettings(Settings):
    """Measured completeness against an independent population of true lenses."""

    minimum_lenses: int = setting("fewer true lenses inside the grid are NOT-EVALUATED", ge=1)
    maximum_bias: float = setting("largest allowed |bias| of the predicted recall", "fraction", gt=0, le=1)
    significance: float = setting("two-sided p-value below which bias or coverage fails", gt=0, lt=0.5)
    relied_on_campaign: str = setting("simulated campaign whose closure counts, empty where this one has truth")
    relied_on_report: str = setting("closure.parquet of that campaign's release; empty while it is not at hand")
    relied_on_sha256: str = setting(
        "checksum that file must have; empty while there is none", pattern=r"^([0-9a-f]{64})?$"
    )

    @model_validator(mode="after")
    def _report_of_a_campaign(self) -> ClosureSettings:
        if bool(self.relied_on_report) != bool(self.relied_on_sha256):
            raise ValueError("relied_on_report and relied_on_sha256: expected both or neither")
        if self.relied_on_report and not self.relied_on_campaign:
            raise ValueError("relied_on_report: expected relied_on_campaign, whose closure the file holds")
        return self


class ReleaseSettings(Settings):
    """What the second gate asks."""

    region_p_value: float = setting("smallest p-value of the homogeneity of sky regions that is stable", gt=0, lt=0.5)
    realism_subsample: int = setting("injections of the full run on which realism is re-checked", ge=100)
    maximum_artefact_share: float = setting(
        "largest share of artefacts at the top of the deployment list", "fraction", ge=0, le=1
    )
    accepted_unstable_variants: tuple[str, ...] = setting("variants whose shift is published and does not block")
    acceptance_reason: str = setting("written reason for accepted variants; printed on the product")

    @model_validator(mode="after")
    def _reasoned(self) -> ReleaseSettings:
        if self.accepted_unstable_variants and not self.acceptance_reason.strip():
            raise ValueError(
                "acceptance_reason: expected a written reason, since accepted_unstable_variants is not empty"
            )
        return self


class SelectionFunctionSettings(Settings):
    """The stage `selection_function`."""

    seed: int = setting("seed of every bootstrap and small batch of this stage", ge=0)
    grids: tuple[GridSettings, ...] = setting("the named grids", min_length=1)
    audited_grid: str = setting("name of the grid this campaign fills")
    denominator: Literal["all_draws", "multiply_imaged"] = setting(
        "what a trial is: every draw of the source-position prior, or only those with two or more images"
    )
    intervals: IntervalSettings = setting("statistics of rates")
    randoms: tuple[RandomsSettings, ...] = setting(
        "randoms that weight the conditions by area; none: catalogued sources stand in for area"
    )
    models: tuple[Literal["monotone", "hierarchical"], ...] = setting(
        "labelled models beside the counts; none: no smoothing"
    )
    reference: ReferenceSettings = setting("the quoted point")
    sensitivity: SensitivitySettings = setting("alternate priors")
    failures: FailureSettings = setting("remedies of failures")
    closure: ClosureSettings = setting("closure against truth")
    release: ReleaseSettings = setting("the release gate")

    @property
    def grid(self) -> GridSettings:
        """The audited grid."""
        return next(grid for grid in self.grids if grid.name == self.audited_grid)

    @model_validator(mode="after")
    def _named(self) -> SelectionFunctionSettings:
        names = [grid.name for grid in self.grids]
        if len(set(names)) != len(names):
            raise ValueError(f"grids: expected different names, got {names}")
        if self.audited_grid not in names:
            raise ValueError(f"audited_grid: expected one of {names}, got {self.audited_grid!r}")
        if len(set(self.models)) != len(self.models):
            raise ValueError(f"models: expected different names, got {list(self.models)}")
        variants = [variant.name for variant in self.sensitivity.variants]
        if len(set(variants)) != len(variants):
            raise ValueError(f"sensitivity.variants: expected different names, got {variants}")
        unknown = sorted(set(self.release.accepted_unstable_variants) - set(variants))
        if unknown:
            raise ValueError(f"release.accepted_unstable_variants: expected names of {variants}, got {unknown}")
        self._reference_inside()
        return self

    def _reference_inside(self) -> None:
        grid = self.grid
        axes = (
            ("theta_e_arcsec", self.reference.theta_e_arcsec, grid.theta_e_edges_arcsec),
            ("psf_fwhm_arcsec", self.reference.psf_fwhm_arcsec, grid.psf_fwhm_edges_arcsec),
            ("depth_mag", self.reference.depth_mag, grid.depth_edges_mag),
        )
        for key, value, edges in axes:
            if not edges[0] <= value < edges[-1]:
                raise ValueError(
                    f"reference.{key}: expected a value in [{edges[0]}, {edges[-1]}) of grid {grid.name}, got {value}"
                )
