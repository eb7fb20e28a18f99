"""A frozen detector: one score a stamp wherever and with whatever it is scored, and a digest that tells it apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lens_assets.campaign.stages.evaluation import DetectorSettings
from lens_assets.detector.data import LabelledStamps
from lens_assets.detector.ensembles import Combiner
from lens_assets.detector.errors import DetectorError
from lens_assets.detector.freezing import DetectorModule, freeze
from lens_assets.detector.frozen import (
    DETECTOR_FILE,
    FrozenDetector,
    Member,
    load_detector,
    save_detector,
    score_in_chunks,
    single,
)
from lens_assets.detector.training import train
from lens_assets.imaging.preprocessing import preprocess
from lens_assets_tests.detector.conftest import recipe, sky


@pytest.fixture(scope="module")
def members(training_stamps: LabelledStamps, validation_stamps: LabelledStamps) -> tuple[Member, Member]:
    recipes = [recipe(training={"epochs": 2, "seed": seed}) for seed in (1, 2)]
    first, second = (
        train(f"m{index}", one, training_stamps, validation_stamps).member for index, one in enumerate(recipes)
    )
    return first, second


@pytest.fixture(scope="module")
def stamps() -> np.ndarray:
    return sky(75, 9)[0]


def test_a_score_is_the_network_on_the_one_preprocessing(members: tuple[Member, Member], stamps: np.ndarray) -> None:
    member = members[0]
    with torch.inference_mode():
        logits = member.network(torch.from_numpy(preprocess(stamps, member.preprocessing)))
    np.testing.assert_allclose(single(member).score(stamps), torch.sigmoid(logits).numpy(), atol=2e-6)


def test_training_and_scoring_preprocess_alike(
    members: tuple[Member, Member], validation_stamps: LabelledStamps
) -> None:
    settings = recipe()
    assert members[0].preprocessing == settings.preprocessing
    assert members[0].batch_size == settings.scoring.batch_size


def test_scores_do_not_depend_on_company(members: tuple[Member, Member], stamps: np.ndarray) -> None:
    detector = FrozenDetector("pair", members, Combiner("mean_logit"))
    together = detector.score(stamps)
    alone = np.concatenate([detector.score(stamps[row : row + 1]) for row in range(0, len(stamps), 7)])
    np.testing.assert_array_equal(together[::7], alone)
    np.testing.assert_array_equal(detector.score(stamps[::-1])[::-1], together)


def test_scores_do_not_depend_on_threads(members: tuple[Member, Member], stamps: np.ndarray) -> None:
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(single(members[0]).score(stamps))
    torch.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])


def test_nothing_scores_to_nothing(members: tuple[Member, Member], stamps: np.ndarray) -> None:
    detector = single(members[0])
    assert detector.score(stamps[:0]).shape == (0,)
    assert detector.features(stamps[:0]).shape[0] == 0


def test_features_are_the_last_layer_and_give_the_score(members: tuple[Member, Member], stamps: np.ndarray) -> None:
    detector = single(members[0])
    head = members[0].network.head
    logits = detector.features(stamps) @ head.weight.numpy()[0] + head.bias.numpy()[0]
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), detector.score(stamps), atol=1e-5)
    layers = detector.layer_features(stamps)
    np.testing.assert_array_equal(layers["stage3"], detector.features(stamps))
    pair = FrozenDetector("pair", members, Combiner("mean_probability"))
    assert pair.features(stamps).shape[1] == 2 * detector.features(stamps).shape[1]
    assert set(pair.layer_features(stamps)) == {f"m{i}/stage{j}" for i in (0, 1) for j in (1, 2, 3)}


@pytest.mark.parametrize(
    "combiner", [Combiner("mean_probability"), Combiner("mean_logit"), Combiner("stacking", (0.7, 0.5), -0.1)]
)
def test_an_ensemble_survives_storage(
    combiner: Combiner, members: tuple[Member, Member], stamps: np.ndarray, tmp_path: Path
) -> None:
    detector = FrozenDetector("pair", members, combiner)
    files = save_detector(tmp_path / "a", detector, {"note": 1})
    assert sorted(files) == ["detector.json", "weights_m0.pt", "weights_m1.pt"]
    loaded = load_detector(tmp_path / "a")
    assert loaded.digest == detector.digest
    np.testing.assert_array_equal(loaded.score(stamps), detector.score(stamps))
    again = save_detector(tmp_path / "b", loaded, {"note": 1})
    assert {name: path.read_bytes() for name, path in again.items()} == {
        name: path.read_bytes() for name, path in files.items()
    }


def test_the_digest_covers_weights_preprocessing_and_combiner(members: tuple[Member, Member]) -> None:
    first, second = members
    clipped = replace(first, preprocessing=first.preprocessing.model_copy(update={"clip": 40.0}))
    detectors = [
        single(first),
        single(second),
        single(clipped),
        FrozenDetector("x", members, Combiner("mean_logit")),
        FrozenDetector("x", members, Combiner("mean_probability")),
        FrozenDetector("x", members, Combiner("stacking", (0.5, 0.5), 0.0)),
    ]
    assert len({detector.digest for detector in detectors}) == len(detectors)
    assert single(first, "another name").digest == single(first).digest


def test_changed_weights_are_noticed(members: tuple[Member, Member], tmp_path: Path) -> None:
    save_detector(tmp_path, single(members[0]))
    state = torch.load(tmp_path / "weights.pt", weights_only=True)
    state["head.bias"] += 1e-3
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(DetectorError, match="the files were changed"):
        load_detector(tmp_path)


def test_damaged_files_are_named(members: tuple[Member, Member], tmp_path: Path) -> None:
    save_detector(tmp_path, single(members[0]))
    (tmp_path / "weights.pt").write_bytes(b"not weights")
    with pytest.raises(DetectorError, match=r"weights\.pt does not hold the weights of m0"):
        load_detector(tmp_path)
    content = json.loads((tmp_path / DETECTOR_FILE).read_text())
    (tmp_path / DETECTOR_FILE).write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(DetectorError, match="format 99"):
        load_detector(tmp_path)
    with pytest.raises(DetectorError, match="expected a stored detector"):
        load_detector(tmp_path / "nowhere")


def test_chunks_are_read_by_name_and_scored_in_order(members: tuple[Member, Member], stamps: np.ndarray) -> None:
    detector = single(members[0])
    paths = [f"s#{row}" for row in range(len(stamps))]
    done: list[int] = []
    found = score_in_chunks(
        detector,
        lambda names: stamps[[int(name.split("#")[1]) for name in names]],
        paths[::-1],
        chunk=20,
        progress=lambda at, total: done.append(at),
    )
    np.testing.assert_array_equal(found[::-1], detector.score(stamps))
    assert done == [20, 40, 60, 75]


@pytest.mark.parametrize(
    "combiner", [Combiner("mean_probability"), Combiner("mean_logit"), Combiner("stacking", (0.7, 0.5), -0.1)]
)
def test_the_registry_module_gives_the_same_scores(
    combiner: Combiner, members: tuple[Member, Member], stamps: np.ndarray
) -> None:
    detector = FrozenDetector("pair", members, combiner)
    module = DetectorModule(detector).eval()
    inputs = torch.from_numpy(preprocess(stamps, members[0].preprocessing))
    with torch.inference_mode():
        np.testing.assert_allclose(module(inputs).numpy(), detector.score(stamps), atol=3e-6)


def test_choices_refuse_the_test_split(members: tuple[Member, Member], validation_stamps: LabelledStamps) -> None:
    import pandas as pd

    stamps = validation_stamps.read(np.arange(len(validation_stamps)))
    frames = {
        member.name: pd.DataFrame(
            {
                "galaxy_id": validation_stamps.galaxy_ids,
                "split": "val",
                "label": validation_stamps.labels,
                "score": member.probabilities(stamps),
            }
        )
        for member in members
    }
    by_name = {member.name: member for member in members}
    settings = DetectorSettings(members=("m0", "m1"), combiner="best_on_validation")
    chosen = freeze("best", settings, by_name, frames)
    from lens_assets.statistics.bootstrap import roc_auc

    aucs = {name: roc_auc(frame["score"], frame["label"]) for name, frame in frames.items()}
    assert chosen.members[0].name == max(aucs, key=lambda name: aucs[name])
    frames["m1"].loc[3, "split"] = "test"
    with pytest.raises(ValueError, match="expected validation only"):
        freeze("best", settings, by_name, frames)


def test_scores_do_not_depend_on_how_many_threads_share_the_batches(members, stamps, monkeypatch):
    small = [single(replace(members[0], batch_size=16)) for _ in range(2)]
    scores = []
    for detector, workers in zip(small, ("1", "3"), strict=True):
        monkeypatch.setenv("LENS_WORKERS", workers)
        scores.append(detector.score(stamps).tobytes())
    assert scores[0] == scores[1]
