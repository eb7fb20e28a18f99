"""A frozen detector: weights and preprocessing under one digest, applied the same way wherever it is applied.

A trained model is a frozen detector with one member; an ensemble has several and a combiner. On disk it is a folder
with `detector.json` and one weights file a member.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lens_assets.campaign.stages.experiments import ArchitectureSettings
from lens_assets.detector.determinism import deterministic, device
from lens_assets.detector.ensembles import SINGLE, Combiner, combine
from lens_assets.detector.errors import DetectorError
from lens_assets.detector.models import StampNetwork, build_network, contiguous_state
from lens_assets.digests import content_digest
from lens_assets.imaging.preprocessing import PreprocessingSettings, preprocess, preprocessing_digest
from lens_assets.workers import in_order, worker_count

DETECTOR_FILE = "detector.json"
FORMAT_VERSION = 1
EXTERNAL = "external"
"""The `kind` in `detector.json` of a finder that was not trained here."""
# Below this, a score depends on the machine's arithmetic more than on the stamp.
SCORE_DECIMALS = 6


class Detector(Protocol):
    """What the rest of the platform knows of a detector. Stamps are (N, 3, H, W) in nanomaggies, as cut."""

    @property
    def name(self) -> str:
        """Name of the detector."""

    @property
    def digest(self) -> str:
        """SHA-256 over weights, architecture, preprocessing and combiner."""

    def score(self, stamps: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return scores (N,) in [0, 1], rounded to 1e-6."""

    def features(self, stamps: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return penultimate features (N, F); those of several members stand side by side."""

    def layer_features(self, stamps: NDArray[np.floating]) -> dict[str, NDArray[np.float32]]:
        """Return the features after each stage by name, (N, channels) each."""


@dataclass(frozen=True)
class Member:
    """One trained network with what it must see. `network` is in evaluation mode, in float32."""

    name: str
    architecture: ArchitectureSettings
    preprocessing: PreprocessingSettings
    batch_size: int
    network: StampNetwork

    @property
    def weights_digest(self) -> str:
        """SHA-256 over names, shapes, types and bytes of the weights."""
        digest = hashlib.sha256()
        for name, value in sorted(contiguous_state(self.network).items()):
            array = value.numpy()
            digest.update(f"{name}|{array.dtype}|{array.shape}|".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def probabilities(self, stamps: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the probability of being a lens (N,), rounded to 1e-6; stamps in nanomaggies."""
        (logits,) = self._apply(stamps, lambda batch: [self.network(batch)])
        probability = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
        return np.round(probability, SCORE_DECIMALS)

    def pooled(self, stamps: NDArray[np.floating]) -> list[NDArray[np.float32]]:
        """Return the features after each stage, (N, channels) each."""
        return self._apply(stamps, self.network.pooled)

    def _apply(
        self, stamps: NDArray[np.floating], function: Callable[[Tensor], list[Tensor]]
    ) -> list[NDArray[np.float32]]:
        """Apply a function in batches of one fixed size, the last one filled up, so that no result depends on N.

        Cores share the batches, each of which is computed on one thread.
        """
        where = device()
        network = self.network.to(where)
        side = self.preprocessing.stamp_pixels

        def one_batch(start: int) -> list[NDArray[np.float32]]:
            torch.set_num_threads(1)
            chunk = np.asarray(stamps[start : start + self.batch_size])
            batch = np.zeros((self.batch_size, 3, side, side), dtype=np.float32)
            if len(chunk):
                batch[: len(chunk)] = preprocess(chunk, self.preprocessing)
            with torch.inference_mode():
                outputs = function(torch.from_numpy(batch).to(where, memory_format=torch.channels_last))
            return [output.float().cpu().numpy()[: len(chunk)] for output in outputs]

        workers = worker_count() if where.type == "cpu" else 1
        with deterministic():
            parts = list(in_order(one_batch, range(0, max(len(stamps), 1), self.batch_size), workers))
        network.to("cpu")
        return [np.concatenate(column) for column in zip(*parts, strict=True)]


@dataclass(frozen=True)
class FrozenDetector:
    """Members and how they become one score; see `Detector`."""

    name: str
    members: tuple[Member, ...]
    combiner: Combiner

    @property
    def digest(self) -> str:
        """SHA-256 over weights, architecture, preprocessing and combiner."""
        content = {
            "format": FORMAT_VERSION,
            "decimals": SCORE_DECIMALS,
            "combiner": self.combiner.content(),
            "members": [
                {
                    "weights": member.weights_digest,
                    "architecture": member.architecture.model_dump(mode="json"),
                    "preprocessing": preprocessing_digest(member.preprocessing),
                    "batch_size": member.batch_size,
                }
                for member in self.members
            ],
        }
        return content_digest(content)

    @property
    def preprocessing_digest(self) -> str:
        """Digest of the preprocessing; of all of them, if members differ."""
        digests = sorted({preprocessing_digest(member.preprocessing) for member in self.members})
        return digests[0] if len(digests) == 1 else hashlib.sha256("|".join(digests).encode()).hexdigest()

    def score(self, stamps: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return scores (N,) in [0, 1], rounded to 1e-6."""
        columns = [member.probabilities(stamps) for member in self.members]
        return np.round(combine(np.stack(columns, axis=1), self.combiner), SCORE_DECIMALS)

    def features(self, stamps: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return penultimate features (N, F); those of several members stand side by side."""
        return np.concatenate([member.pooled(stamps)[-1] for member in self.members], axis=1)

    def layer_features(self, stamps: NDArray[np.floating]) -> dict[str, NDArray[np.float32]]:
        """Return the features after each stage, named `stage<i>`, or `<member>/stage<i>` for several members."""
        named: dict[str, NDArray[np.float32]] = {}
        for member in self.members:
            prefix = f"{member.name}/" if len(self.members) > 1 else ""
            named |= {f"{prefix}stage{i}": values for i, values in enumerate(member.pooled(stamps), start=1)}
        return named


def single(member: Member, name: str | None = None) -> FrozenDetector:
    """Return a detector of one member."""
    return FrozenDetector(name or member.name, (member,), SINGLE)


def save_detector(folder: Path, detector: FrozenDetector, summary: Mapping[str, Any] | None = None) -> dict[str, Path]:
    """Write a detector into a folder; return its files by name. Equal detectors give equal bytes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    entries = []
    for member in detector.members:
        name = "weights.pt" if len(detector.members) == 1 else f"weights_{member.name}.pt"
        files[name] = folder / name
        torch.save(contiguous_state(member.network), files[name])
        entries.append(
            {
                "name": member.name,
                "weights": name,
                "weights_digest": member.weights_digest,
                "architecture": member.architecture.model_dump(mode="json"),
                "preprocessing": member.preprocessing.model_dump(mode="json"),
                "preprocessing_digest": preprocessing_digest(member.preprocessing),
                "batch_size": member.batch_size,
            }
        )
    content = {
        "format": FORMAT_VERSION,
        "name": detector.name,
        "digest": detector.digest,
        "combiner": detector.combiner.content(),
        "members": entries,
        "summary": dict(summary or {}),
    }
    files[DETECTOR_FILE] = folder / DETECTOR_FILE
    files[DETECTOR_FILE].write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return files


def load_detector(folder: Path) -> Detector:
    """Return the detector stored in a folder; DetectorError if its files or its digest are not what they say."""
    content = detector_description(folder)
    if content.get("kind") == EXTERNAL:
        from lens_assets.detector.external import load_external

        return load_external(Path(folder), content)
    return load_frozen_detector(folder)


def load_frozen_detector(folder: Path) -> FrozenDetector:
    """Return a stored detector that was trained here, with its networks; DetectorError as `load_detector`."""
    path = Path(folder) / DETECTOR_FILE
    content = detector_description(folder)
    members = tuple(_load_member(Path(folder), entry) for entry in content["members"])
    detector = FrozenDetector(content["name"], members, Combiner.from_content(content["combiner"]))
    if detector.digest != content["digest"]:
        raise DetectorError(
            f"{path} says digest {content['digest']}, its weights and preprocessing give {detector.digest}: "
            "the files were changed or this version preprocesses differently; freeze the detector again"
        )
    return detector


def detector_description(folder: Path) -> dict[str, Any]:
    """Return the content of `detector.json`, with the training summary, without loading weights."""
    path = Path(folder) / DETECTOR_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DetectorError(f"{path} cannot be read ({error}); expected a stored detector") from error
    if content.get("format") != FORMAT_VERSION:
        raise DetectorError(f"{path} has format {content.get('format')}; this version reads {FORMAT_VERSION}")
    return content


def _load_member(folder: Path, entry: Mapping[str, Any]) -> Member:
    architecture = ArchitectureSettings.model_validate_json(json.dumps(entry["architecture"]))
    preprocessing = PreprocessingSettings.model_validate_json(json.dumps(entry["preprocessing"]))
    path = folder / entry["weights"]
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = network_with(architecture, state)
    except Exception as error:
        raise DetectorError(f"{path} does not hold the weights of {entry['name']} ({error})") from error
    return Member(entry["name"], architecture, preprocessing, int(entry["batch_size"]), network)


def network_with(architecture: ArchitectureSettings, state: Mapping[str, Tensor]) -> StampNetwork:
    """Return a network with these weights, in evaluation mode."""
    with deterministic():
        network = build_network(architecture)
    network.load_state_dict(dict(state))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)


def score_in_chunks(
    detector: Detector,
    read: Callable[[Sequence[str]], NDArray[np.floating]],
    cutout_paths: Sequence[str],
    chunk: int = 1024,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Return the scores of stamps named by their paths, reading `chunk` of them at a time."""
    scores = np.empty(len(cutout_paths), dtype=np.float64)
    for start in range(0, len(cutout_paths), chunk):
        paths = list(cutout_paths[start : start + chunk])
        scores[start : start + len(paths)] = detector.score(read(paths))
        if progress is not None:
            progress(start + len(paths), len(cutout_paths))
    return scores
