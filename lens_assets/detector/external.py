"""Finders that were not trained here, as detectors: one known by its scores, one given as a TorchScript file.

Neither shows what it looks at: features are not available, and asking for them raises FeaturesUnavailableError.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lens_assets.campaign.preprocessing import PreprocessingSettings
from lens_assets.detector.determinism import deterministic, device
from lens_assets.detector.exchange import SCORE, STAMP_ID, stamp_ids
from lens_assets.detector.frozen import DETECTOR_FILE, EXTERNAL, FORMAT_VERSION, DetectorError
from lens_assets.imaging.preprocessing import preprocess, preprocessing_digest

SCORES_FILE = "scores.parquet"
MODEL_FILE = "model.pt"


class UnscoredStampsError(ValueError):
    """Stamps for which an external finder has given no score."""


class FeaturesUnavailableError(ValueError):
    """An external finder gives scores and nothing of its inside."""


class _WithoutFeatures:
    name: str

    def features(self, stamps: NDArray[np.floating]) -> NDArray[np.float32]:
        """Raise FeaturesUnavailableError."""
        raise FeaturesUnavailableError(f"detector {self.name} is external: it gives scores, not features")

    def layer_features(self, stamps: NDArray[np.floating]) -> dict[str, NDArray[np.float32]]:
        """Raise FeaturesUnavailableError."""
        raise FeaturesUnavailableError(f"detector {self.name} is external: it gives scores, not features")


@dataclass(frozen=True)
class ScoredFinder(_WithoutFeatures):
    """A finder known by its scores of exported stamps, indexed by stamp id."""

    name: str
    scores: pd.Series

    @property
    def digest(self) -> str:
        """SHA-256 over stamp ids and scores."""
        ordered = self.scores.sort_index()
        digest = hashlib.sha256("\n".join(map(str, ordered.index)).encode())
        digest.update(ordered.to_numpy("<f8").tobytes())
        return digest.hexdigest()

    @property
    def preprocessing_digest(self) -> str:
        """SHA-256 of the statement that the finder preprocesses by itself."""
        return hashlib.sha256(b"preprocessed by the external finder").hexdigest()

    def score(self, stamps: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores (N,) that came back for these stamps; UnscoredStampsError if any did not."""
        names = stamp_ids(stamps)
        found = self.scores.reindex(names).to_numpy(np.float64)
        missing = np.flatnonzero(np.isnan(found))
        if len(missing):
            raise UnscoredStampsError(
                f"detector {self.name} has no score for {len(missing)} of {len(names)} stamps, {names[missing[0]]} "
                "among them: export the stamps (lens-assets export-stamps), have them scored and name the file in "
                f"external.yaml under finders.{self.name}.files"
            )
        return found

    def known(self, stamps: NDArray[np.floating]) -> pd.Series:
        """Return the scores of those of the stamps that have one, indexed by stamp id."""
        names = pd.Index(stamp_ids(stamps), name=STAMP_ID)
        return self.scores.reindex(names.unique()).dropna()


@dataclass(frozen=True)
class ScriptedFinder(_WithoutFeatures):
    """A TorchScript model with its preprocessing; `content` is the file's bytes."""

    name: str
    module: torch.jit.ScriptModule
    content: bytes
    preprocessing: PreprocessingSettings
    output: Literal["probability", "logit"]
    batch_size: int

    @property
    def digest(self) -> str:
        """SHA-256 over the file, preprocessing and how its output is read."""
        digest = hashlib.sha256(self.content)
        digest.update(f"|{self.preprocessing_digest}|{self.output}|{self.batch_size}".encode())
        return digest.hexdigest()

    @property
    def preprocessing_digest(self) -> str:
        """Digest of the preprocessing."""
        return preprocessing_digest(self.preprocessing)

    def score(self, stamps: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return scores (N,) in [0, 1]; batches have one fixed size, so that no result depends on N."""
        side, where = self.preprocessing.stamp_pixels, device()
        module = self.module.to(where)
        scores = np.empty(len(stamps), dtype=np.float64)
        with deterministic(), torch.inference_mode():
            for start in range(0, len(stamps), self.batch_size):
                chunk = np.asarray(stamps[start : start + self.batch_size])
                batch = np.zeros((self.batch_size, 3, side, side), dtype=np.float32)
                batch[: len(chunk)] = preprocess(chunk, self.preprocessing)
                result = module(torch.from_numpy(batch).to(where))
                scores[start : start + len(chunk)] = self._probabilities(result)[: len(chunk)]
        return scores

    def _probabilities(self, result: Any) -> NDArray[np.float64]:
        if not isinstance(result, torch.Tensor) or result.numel() != self.batch_size:
            shape = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
            raise DetectorError(
                f"detector {self.name}: the model returned {shape} for {self.batch_size} stamps; expected one number a "
                "stamp, (N,) or (N, 1)"
            )
        values = result.reshape(-1).double().cpu().numpy()
        if self.output == "logit":
            values = 1.0 / (1.0 + np.exp(-np.clip(values, -700.0, 700.0)))
        if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()):
            raise DetectorError(
                f"detector {self.name}: the model returned values from {values.min()} to {values.max()}; expected "
                "finite probabilities in [0, 1], or `output: logit`"
            )
        return np.asarray(values)


ExternalFinder = ScoredFinder | ScriptedFinder


def scripted_finder(
    name: str,
    content: bytes,
    preprocessing: PreprocessingSettings,
    output: Literal["probability", "logit"],
    batch_size: int,
) -> ScriptedFinder:
    """Return the finder of a TorchScript file's bytes; DetectorError if they are not one."""
    import io

    try:
        module = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        detail = f"the model file is not TorchScript ({first}); expected a file written by torch.jit.save"
        raise DetectorError(f"detector {name}: {detail}") from error
    return ScriptedFinder(name, module, content, preprocessing, output, batch_size)


def save_external(finder: ExternalFinder) -> dict[str, bytes]:
    """Return the files of a stored external detector by name; equal finders give equal bytes."""
    content: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "kind": EXTERNAL,
        "name": finder.name,
        "digest": finder.digest,
    }
    if isinstance(finder, ScriptedFinder):
        content |= {
            "preprocessing": finder.preprocessing.model_dump(mode="json"),
            "output": finder.output,
            "batch_size": finder.batch_size,
        }
        files = {MODEL_FILE: finder.content}
    else:
        import io

        buffer = io.BytesIO()
        finder.scores.sort_index().rename(SCORE).rename_axis(STAMP_ID).reset_index().to_parquet(buffer, index=False)
        files = {SCORES_FILE: buffer.getvalue()}
    description = json.dumps(content, indent=1, sort_keys=True) + "\n"
    return {DETECTOR_FILE: description.encode(), **files}


def load_external(folder: Path, content: Mapping[str, Any]) -> ExternalFinder:
    """Return the external detector stored in a folder; DetectorError if its digest is not what it says."""
    finder: ExternalFinder
    if (folder / MODEL_FILE).exists():
        preprocessing = PreprocessingSettings.model_validate_json(json.dumps(content["preprocessing"]))
        finder = scripted_finder(
            content["name"],
            (folder / MODEL_FILE).read_bytes(),
            preprocessing,
            content["output"],
            int(content["batch_size"]),
        )
    else:
        table = pd.read_parquet(folder / SCORES_FILE)
        finder = ScoredFinder(content["name"], table.set_index(STAMP_ID)[SCORE])
    if finder.digest != content["digest"]:
        raise DetectorError(
            f"{folder / DETECTOR_FILE} says digest {content['digest']}, its files give {finder.digest}: "
            "the files were changed; freeze the detector again"
        )
    return finder
