"""Settings of external finders: where the scores or the model of a finder that is not trained here are.

The stage is optional; a campaign that audits no such finder has no `external.yaml`. Relative paths start at the
campaign's folder.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lens_assets.campaign.base import Settings, setting
from lens_assets.campaign.preprocessing import PreprocessingSettings

_SHA256 = r"^[0-9a-f]{64}$"
Output = Literal["probability", "logit"]
Format = Literal["torchscript", "onnx"]


class ScoreFileSettings(Settings):
    """One file of scores that came back: CSV or Parquet with the columns stamp_id and score."""

    path: str = setting("CSV or Parquet file with stamp_id and score", min_length=1)
    sha256: str = setting("checksum the file must have", pattern=_SHA256)


class ScoredFinderSettings(Settings):
    """A finder known by its scores of exported stamps."""

    source: Literal["scores"] = setting("scores: exported stamps were scored elsewhere")
    output: Output = setting("what a score is: a probability in [0, 1], or a logit")
    files: tuple[ScoreFileSettings, ...] = setting("files of scores, in any order; more may be added later")


class ModelFinderSettings(Settings):
    """A finder given as a TorchScript or ONNX file, scored here through the stated preprocessing."""

    source: Format = setting("torchscript: a file written by torch.jit.save; onnx: one ONNX file, weights inside")
    output: Output = setting("what the model returns: probabilities in [0, 1], or logits")
    path: str = setting("the model's file; it maps (N, 3, h, w) to (N,) or (N, 1)", min_length=1)
    sha256: str = setting("checksum the file must have", pattern=_SHA256)
    batch_size: int = setting("stamps scored together, the last batch filled up", ge=1, le=65_536)
    preprocessing: PreprocessingSettings = setting("what the model sees of a stamp in nanomaggies")


FinderSettings = Annotated[ScoredFinderSettings | ModelFinderSettings, Field(discriminator="source")]


class ExternalSettings(Settings):
    """The stage `external`: one entry for every detector of kind external."""

    finders: dict[str, FinderSettings] = setting("finders by the name of their detector", min_length=1)
