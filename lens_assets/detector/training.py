"""Train a network from a recipe: the same recipe, stamps and machine give the same bytes, interrupted or not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lens_assets.campaign.stages.experiments import ExperimentSettings, TrainingSettings
from lens_assets.detector.data import LabelledStamps, augment, epoch_order, hide_cores, masked_share, targets
from lens_assets.detector.determinism import deterministic, device, seed_torch
from lens_assets.detector.frozen import Member, network_with
from lens_assets.detector.models import StampNetwork, build_network, contiguous_state, parameter_count
from lens_assets.imaging.preprocessing import preprocess, preprocessing_digest
from lens_assets.statistics.bootstrap import roc_auc

_RECIPE_VERSION = 1  # raised when the same recipe would train differently: old checkpoints are then not resumed


@dataclass(frozen=True)
class EpochRecord:
    """What one pass over the training stamps gave; losses are weighted means of binary cross-entropy."""

    epoch: int
    learning_rate: float
    training_loss: float
    validation_loss: float
    validation_auc: float


@dataclass(frozen=True)
class TrainedDetector:
    """The network of the best epoch, with the history of all epochs (epochs count from 1)."""

    member: Member
    history: tuple[EpochRecord, ...]
    best_epoch: int
    n_parameters: int


def train(
    name: str,
    settings: ExperimentSettings,
    training: LabelledStamps,
    validation: LabelledStamps,
    data_digest: str = "",
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    on_batch: Callable[[int, int], None] | None = None,
) -> TrainedDetector:
    """Train by a recipe and keep the epoch with the best validation AUC (of equals, the one with the least loss).

    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with linear warm-up and cosine decay, weighted binary
    cross-entropy. `data_digest` identifies the stamps; with `checkpoint` a state is kept after every epoch and a
    later call with the same recipe and data resumes from it, ending with the same bytes. `on_epoch` is called for
    every epoch, those resumed included; `on_batch` with the steps done and their total.

    ValueError if a class is missing from the training or validation stamps.
    """
    for part, stamps in (("training", training), ("validation", validation)):
        if min(stamps.classes()) == 0:
            positives, negatives = stamps.classes()
            raise ValueError(
                f"experiment {name}: {part} has {positives} positives and {negatives} negatives; expected both "
                "classes: look at the split and the sampling design it trains on"
            )
    recipe = settings.training
    with deterministic(recipe.threads):
        state = _State.start(settings, _fingerprint(settings, training, validation, data_digest), checkpoint)
        for record in state.history:
            _report(on_epoch, record)
        for epoch in range(len(state.history) + 1, recipe.epochs + 1):
            loss, rate = _train_epoch(state, settings, training, epoch, on_batch)
            record = _validate(name, state.network, settings, validation, epoch, loss, rate)
            state.keep(record)
            if checkpoint is not None:
                state.save(checkpoint)
            _report(on_epoch, record)
        network = network_with(settings.architecture, state.best)
        member = Member(name, settings.architecture, settings.preprocessing, settings.scoring.batch_size, network)
    return TrainedDetector(member, tuple(state.history), state.best_epoch, parameter_count(network))


def training_summary(trained: TrainedDetector) -> dict[str, Any]:
    """Return the course of a training as plain values for `detector.json`."""
    return {
        "best_epoch": trained.best_epoch,
        "validation_auc": trained.history[trained.best_epoch - 1].validation_auc,
        "n_parameters": trained.n_parameters,
        "history": [dataclasses.asdict(record) for record in trained.history],
    }


def learning_rate(recipe: TrainingSettings, progress_epochs: float) -> float:
    """Return the rate after `progress_epochs`: a linear rise over the warm-up, then half a cosine down to zero."""
    if progress_epochs < recipe.warmup_epochs:
        return recipe.learning_rate * progress_epochs / recipe.warmup_epochs
    share = (progress_epochs - recipe.warmup_epochs) / (recipe.epochs - recipe.warmup_epochs)
    return recipe.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))


def _report(on_epoch: Callable[[EpochRecord], None] | None, record: EpochRecord) -> None:
    if on_epoch is not None:
        on_epoch(record)


class _State:
    """Everything that an epoch starts from. Randomness is drawn from counters, so none of it is state."""

    def __init__(self, settings: ExperimentSettings, fingerprint: str) -> None:
        seed_torch(settings.training.seed, "weights")
        self.fingerprint = fingerprint
        self.network = build_network(settings.architecture).to(device())
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=settings.training.learning_rate,
            weight_decay=settings.training.weight_decay,
        )
        self.history: list[EpochRecord] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch = 0

    @classmethod
    def start(cls, settings: ExperimentSettings, fingerprint: str, checkpoint: Path | None) -> _State:
        """Return the state of the checkpoint if it belongs to this training, else a fresh one."""
        state = cls(settings, fingerprint)
        stored = _read_checkpoint(checkpoint) if checkpoint is not None else None
        if stored is None or stored["fingerprint"] != fingerprint:
            return state
        state.network.load_state_dict(stored["network"])
        state.optimizer.load_state_dict(stored["optimizer"])
        state.history = [EpochRecord(**record) for record in stored["history"]]
        state.best, state.best_epoch = stored["best"], int(stored["best_epoch"])
        return state

    def keep(self, record: EpochRecord) -> None:
        """Append an epoch, and keep its weights if it is the best so far."""
        best = _merit(self.history[self.best_epoch - 1]) if self.history else (-math.inf, -math.inf)
        self.history.append(record)
        if _merit(record) > best:
            self.best, self.best_epoch = contiguous_state(self.network), record.epoch

    def save(self, checkpoint: Path) -> None:
        """Write the state in one step: a reader sees the previous epoch's or this one's, never half of one."""
        content = {
            "fingerprint": self.fingerprint,
            "network": contiguous_state(self.network),
            "optimizer": self.optimizer.state_dict(),
            "history": [dataclasses.asdict(record) for record in self.history],
            "best": self.best,
            "best_epoch": self.best_epoch,
        }
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = checkpoint.with_suffix(".partial")  # one name, so that a killed writer leaves one at most
        torch.save(content, partial)
        partial.replace(checkpoint)


def _merit(record: EpochRecord) -> tuple[float, float]:
    """Order epochs by validation AUC; a small validation sample ties often, and then the loss decides."""
    return record.validation_auc, -record.validation_loss


def _read_checkpoint(checkpoint: Path) -> dict[str, Any] | None:
    """Return a stored state, or None where there is none that can be read: training then starts afresh."""
    try:
        content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        return None
    return content if isinstance(content, dict) and "fingerprint" in content else None


def _fingerprint(
    settings: ExperimentSettings, training: LabelledStamps, validation: LabelledStamps, data_digest: str
) -> str:
    """Return a digest of everything that decides the result, so that a checkpoint resumes only its own training."""
    digest = hashlib.sha256(f"{_RECIPE_VERSION}|{data_digest}|{torch.__version__}|{device().type}|".encode())
    digest.update(json.dumps(settings.model_dump(mode="json"), sort_keys=True).encode())
    digest.update(preprocessing_digest(settings.preprocessing).encode())
    for stamps in (training, validation):
        digest.update("|".join(map(str, stamps.galaxy_ids)).encode())
        digest.update("|".join(map(str, stamps.tiers)).encode())
        digest.update(np.asarray(stamps.labels, np.float32).tobytes())
        digest.update(np.asarray(stamps.weights, np.float32).tobytes())
    return digest.hexdigest()


def _train_epoch(
    state: _State,
    settings: ExperimentSettings,
    training: LabelledStamps,
    epoch: int,
    on_batch: Callable[[int, int], None] | None,
) -> tuple[float, float]:
    """Pass once over the training stamps; return the weighted mean loss and the last learning rate."""
    recipe = settings.training
    seed_torch(recipe.seed, f"dropout/{epoch}")
    order = epoch_order(training.galaxy_ids, recipe.seed, epoch)
    wanted, mass = targets(training, recipe.tier_b_label_smoothing), _loss_weights(training, recipe)
    batches = _batches(order, recipe.batch_size)
    state.network.train()
    total, rate = 0.0, 0.0
    for step, rows in enumerate(batches):
        rate = learning_rate(recipe, epoch - 1 + (step + 1) / len(batches))
        stamps = _augmented(training, rows, settings, epoch)
        total += _step(state, recipe, stamps, wanted[rows], mass[rows], rate) * len(rows)
        if on_batch is not None:
            on_batch((epoch - 1) * len(batches) + step + 1, recipe.epochs * len(batches))
    return total / len(order), rate


def _loss_weights(stamps: LabelledStamps, recipe: TrainingSettings) -> NDArray[np.float32]:
    """Return the factor of each row in the loss, with mean 1: sample_weight, times positive_weight for lenses."""
    mass = np.asarray(stamps.weights, np.float64) * np.where(stamps.labels == 1, recipe.positive_weight, 1.0)
    return (mass / mass.mean()).astype(np.float32)


def _batches(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Cut an order into batches; a last batch of one joins the one before, since its variance is undefined."""
    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    return [order[start:end] for start, end in zip(starts, [*starts[1:], len(order)], strict=True)]


def _augmented(
    training: LabelledStamps, rows: NDArray[np.int64], settings: ExperimentSettings, epoch: int
) -> NDArray[np.float32]:
    ids = [training.galaxy_ids[row] for row in rows]
    recipe, masking = settings.training, settings.augmentation.core_masking
    seen = preprocess(
        augment(training.read(rows), ids, recipe.seed, epoch, settings.augmentation), settings.preprocessing
    )
    if masking is None:
        return seen
    share = masked_share(masking, epoch, recipe.epochs)
    return hide_cores(seen, ids, recipe.seed, epoch, share, masking.radius_px)


def _step(
    state: _State,
    recipe: TrainingSettings,
    stamps: NDArray[np.float32],
    wanted: NDArray[np.float32],
    mass: NDArray[np.float32],
    rate: float,
) -> float:
    where = device()
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    images = torch.from_numpy(stamps).to(where, memory_format=torch.channels_last)
    with torch.autocast(where.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        logits = state.network(images)
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits.float(), torch.from_numpy(wanted).to(where), reduction="none"
    )
    loss = (losses * torch.from_numpy(mass).to(where)).mean()
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(state.network.parameters(), recipe.gradient_norm)
    state.optimizer.step()
    return float(loss.detach())


def _validate(
    name: str,
    network: StampNetwork,
    settings: ExperimentSettings,
    validation: LabelledStamps,
    epoch: int,
    training_loss: float,
    rate: float,
) -> EpochRecord:
    """Score the validation stamps exactly as the frozen detector will, and measure."""
    copy = network_with(settings.architecture, contiguous_state(network))
    member = Member(name, settings.architecture, settings.preprocessing, settings.scoring.batch_size, copy)
    size = settings.scoring.batch_size * 8
    starts = range(0, len(validation), size)
    chunks = [np.arange(start, min(start + size, len(validation))) for start in starts]
    scores = np.concatenate([member.probabilities(validation.read(rows)) for rows in chunks])
    clipped = np.clip(scores, 1e-6, 1.0 - 1e-6)
    losses = -np.where(validation.labels == 1, np.log(clipped), np.log1p(-clipped))
    mass = _loss_weights(validation, settings.training)
    return EpochRecord(
        epoch=epoch,
        learning_rate=rate,
        training_loss=training_loss,
        validation_loss=float(np.average(losses, weights=mass)),
        validation_auc=roc_auc(scores, validation.labels),
    )
