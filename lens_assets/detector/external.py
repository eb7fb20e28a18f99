"""Finders that were not trained here, as detectors: known by their scores, or given as a TorchScript or ONNX file.

None shows what it looks at: features are not available, and asking for them raises FeaturesUnavailableError.
"""

from __future__ import annotations

import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lens_assets.campaign.preprocessing import PreprocessingSettings
from lens_assets.campaign.stages.external import Format, Output
from lens_assets.detector.determinism import deterministic, device
from lens_assets.detector.errors import DetectorError
from lens_assets.detector.exchange import SCORE, STAMP_ID, stamp_ids
from lens_assets.detector.frozen import DETECTOR_FILE, EXTERNAL, FORMAT_VERSION
from lens_assets.imaging.preprocessing import preprocess, preprocessing_digest

SCORES_FILE = "scores.parquet"


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
class _ModelFinder(_WithoutFeatures, ABC):
    """A model with its preprocessing; `content` is the file's bytes."""

    name: str
    content: bytes
    preprocessing: PreprocessingSettings
    output: Output
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
        side = self.preprocessing.stamp_pixels
        scores = np.empty(len(stamps), dtype=np.float64)
        for start in range(0, len(stamps), self.batch_size):
            chunk = np.asarray(stamps[start : start + self.batch_size])
            batch = np.zeros((self.batch_size, 3, side, side), dtype=np.float32)
            batch[: len(chunk)] = preprocess(chunk, self.preprocessing)
            scores[start : start + len(chunk)] = self._probabilities(self._run(batch))[: len(chunk)]
        return scores

    @abstractmethod
    def _run(self, batch: NDArray[np.float32]) -> Any:
        """Return what the model gives for a batch (batch_size, 3, side, side)."""

    def _probabilities(self, result: Any) -> NDArray[np.float64]:
        values = np.asarray(result, dtype=np.float64) if isinstance(result, np.ndarray) else np.empty(0)
        if values.size != self.batch_size:
            shape = values.shape if isinstance(result, np.ndarray) else type(result).__name__
            raise DetectorError(
                f"detector {self.name}: the model returned {shape} for {self.batch_size} stamps; expected one number a "
                "stamp, (N,) or (N, 1)"
            )
        values = values.reshape(-1)
        if self.output == "logit":
            values = 1.0 / (1.0 + np.exp(-np.clip(values, -700.0, 700.0)))
        if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()):
            raise DetectorError(
                f"detector {self.name}: the model returned values from {values.min()} to {values.max()}; expected "
                "finite probabilities in [0, 1], or `output: logit`"
            )
        return values


@dataclass(frozen=True)
class ScriptedFinder(_ModelFinder):
    """A TorchScript model."""

    module: torch.jit.ScriptModule

    def _run(self, batch: NDArray[np.float32]) -> Any:
        where = device()
        with deterministic(), torch.inference_mode():
            try:
                result = self.module.to(where)(torch.from_numpy(batch).to(where))
            except RuntimeError as error:
                last = str(error).strip().splitlines()[-1]
                raise DetectorError(
                    f"detector {self.name}: the model does not take stamps of shape {batch.shape} ({last}); state the "
                    "stamp_pixels it was made for under preprocessing"
                ) from error
        return result.double().cpu().numpy() if isinstance(result, torch.Tensor) else result


@dataclass(frozen=True)
class OnnxFinder(_ModelFinder):
    """An ONNX model, run by onnxruntime on one thread of the processor."""

    session: Any

    def _run(self, batch: NDArray[np.float32]) -> Any:
        (result,) = self.session.run(None, {self.session.get_inputs()[0].name: batch})
        return result


ExternalFinder = ScoredFinder | ScriptedFinder | OnnxFinder


def scripted_finder(
    name: str, content: bytes, preprocessing: PreprocessingSettings, output: Output, batch_size: int
) -> ScriptedFinder:
    """Return the finder of a TorchScript file's bytes; DetectorError if they are not one."""
    try:
        module = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        detail = f"the model file is not TorchScript ({first}); expected a file written by torch.jit.save"
        raise DetectorError(f"detector {name}: {detail}") from error
    return ScriptedFinder(name, content, preprocessing, output, batch_size, module)


def onnx_finder(
    name: str, content: bytes, preprocessing: PreprocessingSettings, output: Output, batch_size: int
) -> OnnxFinder:
    """Return the finder of an ONNX file's bytes.

    DetectorError if onnxruntime is not installed, the bytes are not an ONNX model, or it is not one from stamps
    (N, 3, h, w) of float32 to one number each.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DetectorError(
            f"detector {name} is an ONNX file, which needs onnxruntime: install the extra, "
            "pip install --constraint constraints.txt 'lens_assets[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    # One thread, so that sums have one order.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base of their own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DetectorError(
            f"detector {name}: the model file is not an ONNX model that onnxruntime {onnxruntime.__version__} runs "
            f"({first}); expected one file with its weights inside"
        ) from error
    _require_stamps(name, session, (batch_size, 3, preprocessing.stamp_pixels, preprocessing.stamp_pixels))
    return OnnxFinder(name, content, preprocessing, output, batch_size, session)


def _require_stamps(name: str, session: Any, wanted: tuple[int, ...]) -> None:
    """Raise DetectorError unless a model takes one float32 array of the shape and returns one array."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    fits = len(inputs) == len(outputs) == 1 and inputs[0].type == "tensor(float)" and len(inputs[0].shape) == 4
    # A dimension is a number, or a name or None where any length will do.
    if fits and all(
        found == size for found, size in zip(inputs[0].shape, wanted, strict=True) if isinstance(found, int)
    ):
        return
    shown = ", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
    raise DetectorError(
        f"detector {name}: the model has {len(outputs)} outputs and takes {shown}; expected one output, and one input "
        f"tensor(float) {list(wanted)}: batch_size (or any), bands g, r, z, and preprocessing.stamp_pixels twice"
    )


MODELS: dict[Format, tuple[str, Callable[..., ScriptedFinder | OnnxFinder]]] = {
    "torchscript": ("model.pt", scripted_finder),
    "onnx": ("model.onnx", onnx_finder),
}
"""By format of a model: the name of its stored file, and what makes the finder of its bytes."""


def save_external(finder: ExternalFinder) -> dict[str, bytes]:
    """Return the files of a stored external detector by name; equal finders give equal bytes."""
    content: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "kind": EXTERNAL,
        "name": finder.name,
        "digest": finder.digest,
    }
    if isinstance(finder, ScoredFinder):
        buffer = io.BytesIO()
        finder.scores.sort_index().rename(SCORE).rename_axis(STAMP_ID).reset_index().to_parquet(buffer, index=False)
        files = {SCORES_FILE: buffer.getvalue()}
    else:
        content |= {
            "preprocessing": finder.preprocessing.model_dump(mode="json"),
            "output": finder.output,
            "batch_size": finder.batch_size,
        }
        name, _ = MODELS["onnx" if isinstance(finder, OnnxFinder) else "torchscript"]
        files = {name: finder.content}
    description = json.dumps(content, indent=1, sort_keys=True) + "\n"
    return {DETECTOR_FILE: description.encode(), **files}


def load_external(folder: Path, content: Mapping[str, Any]) -> ExternalFinder:
    """Return the external detector stored in a folder; DetectorError if its digest is not what it says."""
    finder: ExternalFinder
    model = next(((folder / name, make) for name, make in MODELS.values() if (folder / name).exists()), None)
    if model is not None:
        path, make = model
        preprocessing = PreprocessingSettings.model_validate_json(json.dumps(content["preprocessing"]))
        parts = content["output"], int(content["batch_size"])
        finder = make(content["name"], path.read_bytes(), preprocessing, *parts)
    else:
        table = pd.read_parquet(folder / SCORES_FILE)
        finder = ScoredFinder(content["name"], table.set_index(STAMP_ID)[SCORE])
    if finder.digest != content["digest"]:
        raise DetectorError(
            f"{folder / DETECTOR_FILE} says digest {content['digest']}, its files give {finder.digest}: "
            "the files were changed; freeze the detector again"
        )
    return finder
