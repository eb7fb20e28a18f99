"""Settings of the evaluation: intervals, thresholds, and the detectors that are frozen and audited."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from lens_assets.campaign.base import Settings, setting

Combiner = Literal["best_on_validation", "mean_probability", "mean_logit", "stacking"]
Share = Annotated[float, Field(gt=0, lt=1)]


class BootstrapSettings(Settings):
    """The bootstrap of metrics; whole split cells are drawn."""

    seed: int = setting("seed of the resampling", ge=0)
    resamples: int = setting("number of resamples", ge=50, le=100_000)


class ThresholdSettings(Settings):
    """Cuts on the score. FPR-defined ones come from validation negatives."""

    fixed: tuple[Share, ...] = setting("score cuts given as such")
    fpr_targets: tuple[Share, ...] = setting("false-positive rates that define cuts", min_length=1)
    minimum_above: int = setting("fewer validation negatives above a cut make it insufficient", "object", ge=1)
    audit: str = setting("name of the threshold that is audited, fixed_<cut> or fpr_<target>")
    top_shares: tuple[Share, ...] = Field(
        default=(), description="shares at the top of the deployment sample that define cuts of frozen detectors"
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Every threshold name of a frozen detector: fixed ones first, then by false-positive rate, then by share."""
        return (*self._measured, *(top_name(share) for share in self.top_shares))

    @property
    def _measured(self) -> tuple[str, ...]:
        return (*(fixed_name(cut) for cut in self.fixed), *(fpr_name(target) for target in self.fpr_targets))

    @model_validator(mode="after")
    def _audit_is_known(self) -> ThresholdSettings:
        if self.audit not in self._measured:
            raise ValueError(f"audit is {self.audit!r}; expected one of {', '.join(self._measured)}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"fixed, fpr_targets or top_shares repeat a value: {', '.join(self.names)}")
        return self


class DetectorSettings(Settings):
    """A detector to be frozen: experiments and how their outputs become one score."""

    kind: Literal["trained"] = Field(default="trained", description="trained: by experiments of this campaign")
    members: tuple[str, ...] = setting("experiments by name", min_length=1)
    combiner: Combiner = setting(
        "best_on_validation keeps the member with the best validation AUC; the others combine all members"
    )

    @model_validator(mode="after")
    def _members_differ(self) -> DetectorSettings:
        if len(set(self.members)) != len(self.members):
            raise ValueError(f"members {', '.join(self.members)} name an experiment twice")
        if len(self.members) == 1 and self.combiner != "best_on_validation":
            raise ValueError(f"combiner {self.combiner} with one member; expected best_on_validation")
        return self


class ExternalDetectorSettings(Settings):
    """A finder that was not trained here; `external.yaml` says where its scores or its model are."""

    kind: Literal["external"] = setting("external: trained elsewhere")
    validation_design: str = setting(
        "sampling design whose validation negatives define its thresholds", pattern=r"^[a-z][a-z0-9_]*$"
    )
    description: str = setting("what it is, of which version and by whom; printed on the product", min_length=1)


def _kind(content: Any) -> str:
    kind = content.get("kind", "trained") if isinstance(content, dict) else getattr(content, "kind", "trained")
    return str(kind)


AnyDetectorSettings = Annotated[
    Annotated[DetectorSettings, Tag("trained")] | Annotated[ExternalDetectorSettings, Tag("external")],
    Discriminator(_kind),
]


class EvaluationSettings(Settings):
    """How detectors are measured, and which of them are frozen."""

    interval_level: float = setting("probability that intervals enclose", gt=0.5, lt=1)
    bootstrap: BootstrapSettings = setting("bootstrap of metrics")
    thresholds: ThresholdSettings = setting("cuts on the score")
    reliability_bins: int = setting("bins of score for calibration", "bin", ge=2, le=100)
    minimum_subset: int = setting("subsets with fewer objects are reported as insufficient", "object", ge=1)
    deployment_design: str = setting(
        "sampling design that resembles the survey's candidates", pattern=r"^[a-z][a-z0-9_]*$"
    )
    detectors: dict[str, AnyDetectorSettings] = setting("detectors by name, in the order of audit", min_length=1)
    primary_detector: str = setting("the detector whose numbers are the headline and the champion of the registry")

    @model_validator(mode="after")
    def _primary_is_known(self) -> EvaluationSettings:
        if self.primary_detector not in self.detectors:
            known = ", ".join(self.detectors)
            raise ValueError(f"primary_detector is {self.primary_detector!r}; expected one of detectors: {known}")
        return self


def fixed_name(cut: float) -> str:
    """Return the name of a threshold given as a score."""
    return f"fixed_{cut:g}"


def fpr_name(target: float) -> str:
    """Return the name of the threshold defined by a false-positive rate; never in powers of ten: fpr_0.0001."""
    return f"fpr_{target:.10f}".rstrip("0")


def top_name(share: float) -> str:
    """Return the name of the threshold above which that share of the deployment sample lies: top_0.0001."""
    return f"top_{share:.10f}".rstrip("0")
