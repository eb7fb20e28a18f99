"""Training learns, repeats itself to the byte, resumes, and chooses on validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lens_assets.detector import training as training_module
from lens_assets.detector.data import LabelledStamps
from lens_assets.detector.frozen import save_detector, single
from lens_assets.detector.training import EpochRecord, TrainedDetector, learning_rate, train, training_summary
from lens_assets.statistics.bootstrap import roc_auc
from lens_assets_tests.detector.conftest import labelled, recipe, sky

SHORT = recipe(training={"epochs": 3})


def _bytes(trained: TrainedDetector, folder: Path) -> dict[str, bytes]:
    files = save_detector(folder, single(trained.member), training_summary(trained))
    return {name: path.read_bytes() for name, path in files.items()}


@pytest.fixture(scope="module")
def trained(training_stamps: LabelledStamps, validation_stamps: LabelledStamps) -> TrainedDetector:
    return train("short", SHORT, training_stamps, validation_stamps)


def test_it_learns_rings(training_stamps: LabelledStamps, validation_stamps: LabelledStamps) -> None:
    result = train("long", recipe(), training_stamps, validation_stamps)
    stamps, labels = sky(200, 77)
    assert roc_auc(result.member.probabilities(stamps), labels) > 0.95


def test_a_detector_that_sees_the_core_only_learns_little(
    training_stamps: LabelledStamps, validation_stamps: LabelledStamps
) -> None:
    content = recipe().model_dump()
    content["role"] = "diagnostic"
    content["preprocessing"]["mask"] = "core_only"
    result = train("core", type(SHORT).model_validate(content), training_stamps, validation_stamps)
    assert max(record.validation_auc for record in result.history) < 0.75


def test_scheduled_masking_hides_cores_from_training_alone(
    training_stamps: LabelledStamps, validation_stamps: LabelledStamps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training pass sees fewer and fewer stamps without a core; validation sees every core."""
    masking = {"radius_px": 3.0, "first_share": 0.9, "last_share": 0.0}
    shares: list[float] = []
    step = training_module._step

    def watched(state, recipe, stamps, *rest):  # type: ignore[no-untyped-def]
        shares.append(float((np.abs(stamps[:, :, 11:14, 11:14]).sum(axis=(1, 2, 3)) == 0).mean()))
        return step(state, recipe, stamps, *rest)

    monkeypatch.setattr(training_module, "_step", watched)
    settings = recipe(training={"epochs": 3}, augmentation={"core_masking": masking})
    result = train("masked", settings, training_stamps, validation_stamps)
    by_epoch = np.asarray(shares).reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(by_epoch, [0.9, 0.45, 0.0], atol=0.06)
    assert (
        result.member.weights_digest != train("short", SHORT, training_stamps, validation_stamps).member.weights_digest
    )


def test_twice_gives_the_same_bytes(
    trained: TrainedDetector,
    training_stamps: LabelledStamps,
    validation_stamps: LabelledStamps,
    tmp_path: Path,
) -> None:
    torch.manual_seed(12345)
    again = train("short", SHORT, training_stamps, validation_stamps)
    assert _bytes(trained, tmp_path / "a") == _bytes(again, tmp_path / "b")


def test_the_order_of_rows_is_of_no_consequence(
    trained: TrainedDetector, training_stamps: LabelledStamps, validation_stamps: LabelledStamps
) -> None:
    turned = np.arange(len(training_stamps))[::-1]
    backwards = LabelledStamps(
        [training_stamps.galaxy_ids[row] for row in turned],
        training_stamps.labels[turned],
        training_stamps.weights[turned],
        [training_stamps.tiers[row] for row in turned],
        lambda rows: training_stamps.read(turned[rows]),
    )
    again = train("short", SHORT, backwards, validation_stamps)
    assert again.member.weights_digest == trained.member.weights_digest


def test_the_loss_sees_smoothed_targets_and_lower_weights_of_tier_b_alone(
    training_stamps: LabelledStamps, validation_stamps: LabelledStamps, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiers = np.asarray(training_stamps.tiers)
    weights = np.where(tiers == "B", 0.5, 1.0).astype(np.float32)
    stamps = LabelledStamps(
        training_stamps.galaxy_ids, training_stamps.labels, weights, training_stamps.tiers, training_stamps.read
    )
    seen: list[tuple[float, float]] = []
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits

    def listening(logits: torch.Tensor, wanted: torch.Tensor, reduction: str) -> torch.Tensor:
        seen.extend(np.round(wanted.numpy().astype(float), 6).tolist())
        return cross_entropy(logits, wanted, reduction=reduction)

    monkeypatch.setattr(training_module.nn.functional, "binary_cross_entropy_with_logits", listening)
    one = recipe(training={"epochs": 1, "warmup_epochs": 0.0, "tier_b_label_smoothing": 0.15})
    smoothed = train("smoothed", one, stamps, validation_stamps)
    expected = {1.0: int((tiers == "A").sum()), 0.85: int((tiers == "B").sum()), 0.0: int((tiers == "N1").sum())}
    assert {value: seen.count(value) for value in set(seen)} == expected
    mass = training_module._loss_weights(stamps, one.training)
    assert set(np.round(mass / mass[tiers == "A"][0], 6)[tiers == "B"]) == {0.5}
    plain = train("plain", recipe(training={"epochs": 1, "warmup_epochs": 0.0, "tier_b_label_smoothing": 0.0}),
                  stamps, validation_stamps)  # fmt: skip
    assert plain.member.weights_digest != smoothed.member.weights_digest


class Killed(BaseException):
    """Stands for a process that dies."""


@pytest.mark.parametrize("dies_after", [1, 2])
def test_a_killed_training_resumes_to_the_same_bytes(
    dies_after: int,
    trained: TrainedDetector,
    training_stamps: LabelledStamps,
    validation_stamps: LabelledStamps,
    tmp_path: Path,
) -> None:
    checkpoint = tmp_path / "state.pt"

    def die(record: EpochRecord) -> None:
        if record.epoch == dies_after:
            raise Killed

    with pytest.raises(Killed):
        train("short", SHORT, training_stamps, validation_stamps, "data", checkpoint, die)
    reported: list[int] = []
    steps: list[int] = []
    resumed = train(
        "short",
        SHORT,
        training_stamps,
        validation_stamps,
        "data",
        checkpoint,
        on_epoch=lambda record: reported.append(record.epoch),
        on_batch=lambda done, total: steps.append(done),
    )
    assert reported == [1, 2, 3]
    assert len(steps) == (3 - dies_after) * 10
    assert _bytes(resumed, tmp_path / "a") == _bytes(trained, tmp_path / "b")


@pytest.mark.parametrize("damage", ["other data", "truncated"])
def test_a_checkpoint_of_something_else_is_not_resumed(
    damage: str,
    trained: TrainedDetector,
    training_stamps: LabelledStamps,
    validation_stamps: LabelledStamps,
    tmp_path: Path,
) -> None:
    checkpoint = tmp_path / "state.pt"
    train("short", SHORT, training_stamps, validation_stamps, "data", checkpoint)
    digest = "data"
    if damage == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    else:
        digest = "other"
    steps: list[int] = []
    again = train(
        "short",
        SHORT,
        training_stamps,
        validation_stamps,
        digest,
        checkpoint,
        on_batch=lambda done, total: steps.append(done),
    )
    assert len(steps) == 30
    assert again.member.weights_digest == trained.member.weights_digest


def test_the_kept_epoch_is_the_best_on_validation_and_is_what_was_measured(
    trained: TrainedDetector, validation_stamps: LabelledStamps
) -> None:
    aucs = [record.validation_auc for record in trained.history]
    assert aucs[trained.best_epoch - 1] == max(aucs)
    scores = trained.member.probabilities(validation_stamps.read(np.arange(len(validation_stamps))))
    assert roc_auc(scores, validation_stamps.labels) == max(aucs)


def test_weights_decide_what_is_learned(validation_stamps: LabelledStamps) -> None:
    stamps, labels = sky(160, 1)
    wrong = labelled(np.concatenate([stamps, stamps]), np.concatenate([labels, 1 - labels]), "w")
    weights = np.concatenate([np.ones(160), np.zeros(160)]).astype(np.float32)
    weighted = LabelledStamps(wrong.galaxy_ids, wrong.labels, weights, wrong.tiers, wrong.read)
    unweighted = train("u", SHORT, wrong, validation_stamps)
    heeded = train("w", SHORT, weighted, validation_stamps)
    assert heeded.history[-1].training_loss < unweighted.history[-1].training_loss - 0.05


def test_the_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(recipe().training, progress) for progress in (0.0, 0.5, 1.0, 3.5, 6.0)]
    peak = recipe().training.learning_rate
    assert rates == pytest.approx([0.0, peak / 2, peak, peak / 2, 0.0])


def test_a_missing_class_is_named(training_stamps: LabelledStamps, validation_stamps: LabelledStamps) -> None:
    stamps, labels = sky(20, 3)
    only = labelled(stamps, np.zeros_like(labels), "n")
    with pytest.raises(ValueError, match="validation has 0 positives and 20 negatives"):
        train("short", SHORT, training_stamps, only)


def test_threads_and_generator_are_put_back(training_stamps: LabelledStamps, validation_stamps: LabelledStamps) -> None:
    torch.manual_seed(4)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    train("one", recipe(training={"epochs": 2}), training_stamps, validation_stamps)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()
