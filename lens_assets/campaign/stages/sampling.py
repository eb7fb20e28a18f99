"""Settings of the sampling designs: named samples of one pool that live side by side."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lens_assets.campaign.base import Settings, setting
from lens_assets.campaign.stages.negatives import CountBin, check_contiguous


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
    condition_edges: tuple[float, ...] = setting("inner edges of those strata", "arcsec or AB mag")

    @model_validator(mode="after")
    def _bins_are_ordered(self) -> StratifiedDesign:
        check_contiguous(self.nobs_z_bins, "nobs_z_bins")
        if (self.condition == "none") != (not self.condition_edges):
            raise ValueError(
                f"condition = {self.condition} with condition_edges = {list(self.condition_edges)}; expected edges "
                "exactly where a condition is named"
            )
        if list(self.condition_edges) != sorted(set(self.condition_edges)):
            raise ValueError(f"condition_edges = {list(self.condition_edges)}; expected rising values")
        return self


class RandomDesign(Settings):
    """A simple random sample of the scan population in each split, with known weights."""

    kind: Literal["random"] = setting("random: every candidate has the same chance")
    purpose: str = setting("what the design is for", min_length=1)
    rows_train: int = setting("rows drawn in train", "rows", ge=0)
    rows_val: int = setting("rows drawn in val", "rows", ge=0)
    rows_test: int = setting("rows drawn in test", "rows", ge=0)
    include_exp: bool = setting("count EXP sources (pool N1b) in the scan population: an extension")


Design = Annotated[StratifiedDesign | RandomDesign, Field(discriminator="kind")]


class SamplingSettings(Settings):
    """Designs share one hash order, so that they overlap as far as they can and fewer stamps are cut."""

    seed: int = setting("seed of the hash that orders the draws", ge=0, le=2**31 - 1)
    designs: dict[str, Design] = setting("named designs; baseline is required", min_length=1)

    @model_validator(mode="after")
    def _named_well(self) -> SamplingSettings:
        wrong = [name for name in self.designs if not name.isidentifier() or name != name.lower()]
        if wrong or "baseline" not in self.designs:
            raise ValueError(
                f"sampling.designs names {', '.join(self.designs)}; expected lower-case names like with_exp, "
                "baseline among them"
            )
        return self
