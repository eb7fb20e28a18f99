"""Settings of the sampling designs: named samples of one pool that live side by side."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lens_assets.campaign.base import Settings, setting
from lens_assets.campaign.stages.host_selection import VariantName
from lens_assets.campaign.stages.negatives import CountBin, check_contiguous


def check_rising(edges: tuple[float, ...], key: str) -> None:
    """Raise ValueError unless the edges rise."""
    if list(edges) != sorted(set(edges)):
        raise ValueError(f"{key} = {list(edges)}; expected rising values")


class StratifiedDesign(Settings):
    """Positives, and negatives matched to them in number within each stratum and split."""

    kind: Literal["stratified"] = setting("stratified: negatives follow the positives")
    purpose: str = setting("what the design is for", min_length=1)
    negatives_per_positive: float = setting("target in each stratum and split", "ratio", gt=0, le=10_000)
    n2_fraction: float = setting("share of confusers among the negatives", "fraction", ge=0, lt=1)
    positives: Literal["all", "confirmed"] = setting("lenses used: all, or without candidates")
    include_exp: bool = setting("draw EXP sources (pool N1b) as N1: an extension")
    without_maskbits: bool = setting("leave the mask filter out: an ablation")
    ebv_max: float | None = setting("exclusive upper E(B-V); null: off", "mag", gt=0)
    nobs_z_bins: tuple[CountBin, ...] = setting("strata in the exposure count in z", "exposures", min_length=1)
    condition: Literal["none", "psfsize_r", "psfdepth_r_mag"] = setting("further strata in seeing or depth")
    condition_edges: tuple[float, ...] | Annotated[int, Field(ge=2, le=20)] = setting(
        "inner edges of those strata; a number: so many strata, which hold equal shares of the lenses",
        "arcsec or AB mag",
    )

    @model_validator(mode="after")
    def _bins_are_ordered(self) -> StratifiedDesign:
        check_contiguous(self.nobs_z_bins, "nobs_z_bins")
        edges = self.condition_edges
        if (self.condition == "none") != (not edges):
            raise ValueError(
                f"condition = {self.condition} with condition_edges = {edges}; expected edges exactly where a "
                "condition is named"
            )
        if not isinstance(edges, int):
            check_rising(edges, "condition_edges")
        return self


class RandomDesign(Settings):
    """A simple random sample of the scan population in each split, with known weights."""

    kind: Literal["random"] = setting("random: every candidate has the same chance")
    purpose: str = setting("what the design is for", min_length=1)
    rows_train: int = setting("rows drawn in train", "rows", ge=0)
    rows_val: int = setting("rows drawn in val", "rows", ge=0)
    rows_test: int = setting("rows drawn in test", "rows", ge=0)
    include_exp: bool = setting("count EXP sources (pool N1b) in the scan population: an extension")


Values = tuple[Annotated[float, Field(ge=0, le=30)], ...]


class ConfigurationGrid(Settings):
    """Values of an arc's parameters; their combinations are the configurations."""

    theta_e_arcsec: tuple[Annotated[float, Field(gt=0, le=5)], ...] = setting("Einstein radii", "arcsec", min_length=1)
    source_delta_mag: Values = setting("source fainter than its host by", "mag", min_length=1)
    source_half_light_radius_arcsec: Values = setting("half-light radii of the source", "arcsec", min_length=1)
    source_ellipticity: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = setting(
        "ellipticities of the source", min_length=1
    )
    shear: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = setting("external shears", min_length=1)


class LegacyDesign(Settings):
    """Luminous red galaxies in equal numbers of each bin of PSF and depth, half of them controls; splits by brick.

    A selection set is one ranking of the regions and one variant of the selection. The rows are tasks of their own
    (asset legacy_sample), since their splits are not those of the campaign.
    """

    kind: Literal["legacy"] = setting("legacy: hosts and controls of the earlier pipeline")
    purpose: str = setting("what the design is for", min_length=1)
    variants: tuple[VariantName, ...] = setting("variants of the selection of luminous red galaxies", min_length=1)
    rankings: tuple[Literal["density", "n_lrg", "area_weighted", "psf_weighted"], ...] = setting(
        "rankings of the regions", min_length=1
    )
    regions_per_ranking: int = setting("regions of each ranking and variant, the first ranks", "regions", ge=1)
    without_lenses: bool = setting("leave the sources of lenses out")
    rows_per_set_and_split: int = setting("galaxies of each selection set and split", "rows", ge=1, le=10_000_000)
    bins_per_axis: int = setting("bins in PSF and in depth", "bins", ge=1, le=20)
    psf_edges_arcsec: tuple[float, ...] = setting("inner edges in r PSF; []: quantiles", "arcsec")
    depth_edges_mag: tuple[float, ...] = setting("inner edges in r depth; []: quantiles", "AB mag")
    control_fraction: float = setting("share of the galaxies that are controls", "fraction", ge=0, le=1)
    replicates: int = setting("rows of each galaxy", "rows", ge=1, le=100)
    unpaired_replicates: int = setting("of a control's replicates, those that show a galaxy without any arc", ge=0)
    configurations: ConfigurationGrid = setting("grid of which each galaxy has one combination")
    seed: int = setting("seed of the draw and of the splits", ge=0, le=2**31 - 1)
    configuration_seed_offset: int = setting("added to the seed to choose configurations", ge=0, le=1_000_000)
    control_seed_offset: int = setting("added to the seed to choose controls", ge=0, le=1_000_000)
    fraction_train: float = setting("share of bricks in train", "fraction", ge=0, le=1)
    fraction_val: float = setting("share of bricks in val", "fraction", ge=0, le=1)
    fraction_test: float = setting("share of bricks in test", "fraction", ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> LegacyDesign:
        total = self.fraction_train + self.fraction_val + self.fraction_test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"fraction_train + fraction_val + fraction_test = {total:g}; expected 1")
        for key in ("psf_edges_arcsec", "depth_edges_mag"):
            edges = getattr(self, key)
            check_rising(edges, key)
            if edges and len(edges) != self.bins_per_axis - 1:
                raise ValueError(
                    f"{key} has {len(edges)} inner edges with bins_per_axis = {self.bins_per_axis}; expected "
                    f"{self.bins_per_axis - 1}, or [] for quantiles"
                )
        if self.unpaired_replicates > self.replicates:
            raise ValueError(f"unpaired_replicates = {self.unpaired_replicates} exceeds replicates = {self.replicates}")
        return self


Design = Annotated[StratifiedDesign | RandomDesign | LegacyDesign, Field(discriminator="kind")]


class SamplingSettings(Settings):
    """Designs share one hash order, so that they overlap as far as they can and fewer stamps are cut."""

    seed: int = setting("seed of the hash that orders the draws", ge=0, le=2**31 - 1)
    designs: dict[str, Design] = setting("named designs; baseline is required", min_length=1)

    @property
    def drawn(self) -> dict[str, StratifiedDesign | RandomDesign]:
        """The designs whose rows are in the training sample."""
        return {name: item for name, item in self.designs.items() if not isinstance(item, LegacyDesign)}

    @property
    def legacy(self) -> dict[str, LegacyDesign]:
        """The legacy designs, whose rows are tasks of their own."""
        return {name: item for name, item in self.designs.items() if isinstance(item, LegacyDesign)}

    @model_validator(mode="after")
    def _named_well(self) -> SamplingSettings:
        wrong = [name for name in self.designs if not name.isidentifier() or name != name.lower()]
        if wrong or not isinstance(self.designs.get("baseline"), StratifiedDesign):
            raise ValueError(
                f"sampling.designs names {', '.join(self.designs)}; expected lower-case names like with_exp, "
                "baseline among them and of the kind stratified"
            )
        return self
