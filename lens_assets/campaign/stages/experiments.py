"""Settings of one experiment: a training recipe, from preprocessing to the epoch that is kept."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from lens_assets.campaign.base import Settings, setting
from lens_assets.campaign.preprocessing import PreprocessingSettings

Family = Literal["bottleneck_resnet", "resnet18", "efficientnet_v2_s"]

EFFICIENTNET_V2_S_WIDTH = 24
PUBLISHED_RESNET18_STRIDE = 4
"""A 7x7 convolution of stride 2 and a max-pool of stride 2 (He et al. 2016, arXiv:1512.03385, table 1)."""
SMOOTHING_RANGE = (0.05, 0.2)
"""Range of the label smoothing of tier B where it is not off: targets from 0.8 to 0.95."""


class ArchitectureSettings(Settings):
    """A network that maps a stamp of three bands to one logit."""

    family: Family = setting("bottleneck_resnet, resnet18 or efficientnet_v2_s")
    width: int = setting("channels of the first stage; later stages follow from it", "channel", ge=8, le=256)
    stem_stride: Literal[1, 2, 4] = setting(
        "stride of the stem; 1 keeps arcs of small stamps sharp, 4 is resnet18 as published, pooling included", "pixel"
    )
    dropout: float = setting("share of pooled features dropped in training", ge=0, lt=1)

    @model_validator(mode="after")
    def _published_shapes(self) -> ArchitectureSettings:
        if self.family == "efficientnet_v2_s" and self.width != EFFICIENTNET_V2_S_WIDTH:
            raise ValueError(f"width {self.width}: efficientnet_v2_s has its published width {EFFICIENTNET_V2_S_WIDTH}")
        if self.stem_stride == PUBLISHED_RESNET18_STRIDE and self.family != "resnet18":
            raise ValueError(f"stem_stride {self.stem_stride} is a stem of resnet18; {self.family} takes 1 or 2")
        return self


class CoreMaskingSettings(Settings):
    """Scheduled masking: the core is hidden from a share of the training stamps, which changes linearly by epoch.

    Stamps are scored with their core, so that the share has to end below the whole.
    """

    radius_px: float = setting("radius of what is hidden, from the centre of the crop", "pixel", gt=0)
    first_share: float = setting("share of stamps without their core in the first epoch", "fraction", ge=0, le=1)
    last_share: float = setting("share of stamps without their core in the last epoch", "fraction", ge=0, lt=1)


class AugmentationSettings(Settings):
    """Changes of a training stamp, drawn anew for each (seed, epoch, galaxy)."""

    dihedral: bool = setting("turn by quarter circles and mirror: a lens has no preferred orientation")
    max_shift_px: int = setting("largest shift along each axis, integer pixels", "pixel", ge=0, le=8)
    core_masking: CoreMaskingSettings | None = setting("the core is hidden from some training stamps; null: from none")


class TrainingSettings(Settings):
    """How weights are found. The epoch with the best validation AUC is kept."""

    design: str = setting("sampling design that is trained on", pattern=r"^[a-z][a-z0-9_]*$")
    seed: int = setting("seed of initial weights, order, augmentation and dropout", ge=0)
    epochs: int = setting("passes over the training stamps", "epoch", ge=1, le=1000)
    batch_size: int = setting("stamps of one gradient step", "stamp", ge=2, le=4096)
    learning_rate: float = setting("peak learning rate of AdamW", gt=0, lt=1)
    weight_decay: float = setting("decoupled weight decay of AdamW", ge=0, lt=1)
    warmup_epochs: float = setting("linear rise to the peak rate, before the cosine fall to zero", "epoch", ge=0)
    positive_weight: float = setting("factor on the loss of positives, times each row's sample_weight", gt=0)
    held_out_fold: int | None = setting("spatial fold trained without and validated on; null: the split val", ge=0)
    tier_b_label_smoothing: float = setting("how far the target of a tier-B lens lies below 1: 0, or 0.05 to 0.2", ge=0)
    gradient_norm: float = setting("gradients are scaled down to this norm", gt=0)
    precision: Literal["float32", "bfloat16"] = setting("arithmetic of the training pass; scoring is always float32")
    threads: int = setting("CPU threads; part of the recipe, since sums depend on it", "thread", ge=1, le=256)

    @model_validator(mode="after")
    def _smoothing_in_range(self) -> TrainingSettings:
        low, high = SMOOTHING_RANGE
        if self.tier_b_label_smoothing and not low <= self.tier_b_label_smoothing <= high:
            raise ValueError(
                f"tier_b_label_smoothing {self.tier_b_label_smoothing} makes the target of a tier-B lens "
                f"{1.0 - self.tier_b_label_smoothing:g}; expected 0 (off), or {low} to {high}: a target of "
                f"{1.0 - high:g} to {1.0 - low:g}"
            )
        return self

    @model_validator(mode="after")
    def _warmup_ends(self) -> TrainingSettings:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} must be shorter than epochs {self.epochs}")
        return self


class ScoringSettings(Settings):
    """How a trained network is applied."""

    batch_size: int = setting("stamps scored at once; fixed, so that a score depends on its stamp only", "stamp", ge=1)


class ExperimentSettings(Settings):
    """One training recipe; its file name is its name."""

    title: str = setting("what is tried, in a few words", min_length=1)
    role: Literal["candidate", "diagnostic"] = setting("may it be audited, or does it only test a hypothesis")
    architecture: ArchitectureSettings = setting("the network")
    preprocessing: PreprocessingSettings = setting("what the network sees of a stamp")
    augmentation: AugmentationSettings = setting("changes of training stamps")
    training: TrainingSettings = setting("how weights are found")
    scoring: ScoringSettings = setting("how the network is applied")

    @model_validator(mode="after")
    def _masks_are_diagnostic(self) -> ExperimentSettings:
        masked = self.preprocessing.mask in ("core_only", "annulus_only")
        if masked and self.role == "candidate":
            raise ValueError(
                f"role candidate with preprocessing.mask {self.preprocessing.mask}: a detector that sees part of "
                "the stamp is a diagnostic; expected role diagnostic or mask none"
            )
        margin = (self.preprocessing.input_pixels - self.preprocessing.stamp_pixels) // 2
        if self.augmentation.max_shift_px > margin:
            raise ValueError(
                f"augmentation.max_shift_px {self.augmentation.max_shift_px} exceeds the margin of {margin} px "
                "between input_pixels and stamp_pixels: shifted stamps would show wrapped pixels"
            )
        return self

    @model_validator(mode="after")
    def _something_is_left(self) -> ExperimentSettings:
        masking, half = self.augmentation.core_masking, self.preprocessing.stamp_pixels / 2
        if masking is not None and masking.radius_px >= half:
            raise ValueError(
                f"augmentation.core_masking.radius_px {masking.radius_px} hides the whole crop; expected less than "
                f"{half:g}, half of preprocessing.stamp_pixels"
            )
        return self
