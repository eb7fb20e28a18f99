"""Tracking counts each content once, survives kills and can be switched off."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from lens_assets.resources.tracking import CHAMPION, REPLACED_TAG, Tracking, TrackingResource, flatten

ALL_RUNS = 3  # mlflow.entities.ViewType.ALL
ACTIVE_RUNS = 1


def _runs(tracking: Tracking, view: int) -> list[Any]:
    client = tracking._client()
    named = [item for item in client.search_experiments() if item.name.startswith(f"{tracking.campaign}/")]
    experiments = [item.experiment_id for item in named]
    return list(client.search_runs(experiments, run_view_type=view))


def _log(tracking: Tracking, run_id: str = "1", rate: float = 0.1) -> str:
    tags = {"dagster/run_id": run_id, "settings/experiments": "abc"}
    with tracking.start("training", "baseline", tags, {"training": {"rate": rate}}) as run:
        run.metrics({"auc": 0.9, "missing": float("nan")}, step=1)
        return run.run_id


def _die_in_a_run(folder: str) -> None:
    with Tracking.local(Path(folder), "demo").start("training", "baseline", {"dagster/run_id": "0"}, {}) as run:
        run.metric("auc", 0.1)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tables made once; tests use experiments of different campaigns in it."""
    state = tmp_path_factory.mktemp("state")
    Tracking.local(state, "made")._client()
    return state


@pytest.fixture
def fresh(folder: Path, tmp_path: Path) -> Path:
    """Return a folder of its own whose tables are copied, since making them takes seconds."""
    shutil.copy(folder / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path


def test_a_run_holds_what_was_logged(folder: Path) -> None:
    tracking = Tracking.local(folder, "logged")
    with tracking.start("training", "baseline", {"a": "b"}, {"x": {"y": 1}, "z": [1, 2]}) as run:
        run.metric("auc", 0.9, 2)
        run.figure(Figure(), "roc")
    client = tracking._client()
    stored = client.get_run(run.run_id)
    assert stored.info.status == "FINISHED"
    assert stored.data.params == {"x.y": "1", "z": "[1, 2]"}
    assert stored.data.metrics == {"auc": 0.9}
    assert stored.data.tags["a"] == "b"
    assert [item.path for item in client.list_artifacts(run.run_id, "figures")] == ["figures/roc.png"]


def test_the_same_content_is_counted_once_and_other_content_beside_it(fresh: Path) -> None:
    tracking = Tracking.local(fresh, "once")
    first, second = _log(tracking, "1"), _log(tracking, "2")
    third = _log(tracking, "3", rate=0.2)
    assert {run.info.run_id for run in _runs(tracking, ACTIVE_RUNS)} == {second, third}
    replaced = {run.info.run_id: run.data.tags.get(REPLACED_TAG) for run in _runs(tracking, ALL_RUNS)}
    assert replaced[first] == second


def test_a_killed_run_is_marked_failed_when_its_content_is_run_again(fresh: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die_in_a_run, args=(str(fresh),))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    tracking = Tracking.local(fresh, "demo")
    assert [run.info.status for run in _runs(tracking, ACTIVE_RUNS)] == ["RUNNING"]
    with tracking.start("training", "baseline", {"dagster/run_id": "9"}, {}) as run:
        run.metric("auc", 0.9)
    states = {item.info.run_id: item.info.status for item in _runs(tracking, ALL_RUNS)}
    assert sorted(states.values()) == ["FAILED", "FINISHED"]
    assert [item.info.run_id for item in _runs(tracking, ACTIVE_RUNS)] == [run.run_id]


def test_an_error_ends_the_run_as_failed(folder: Path) -> None:
    tracking = Tracking.local(folder, "failing")
    with pytest.raises(ZeroDivisionError), tracking.start("training", "broken") as run:
        _ = 1 / 0
    assert tracking._client().get_run(run.run_id).info.status == "FAILED"


def test_a_model_is_registered_once_per_digest_and_the_champion_can_be_loaded(folder: Path) -> None:
    import mlflow

    tracking = Tracking.local(folder, "models")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.Flatten(), torch.nn.Linear(2 * 36, 1))
    example = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    versions = []
    for digest in ("one", "one", "two"):
        with tracking.start("freezing", digest) as run:
            versions.append(run.model(module, example, "finder", digest))
    assert versions == ["1", "1", "2"]
    assert tracking.registered("finder", "two") and not tracking.registered("finder", "three")
    assert tracking.set_champion("finder", "one") == "1"
    assert tracking.set_champion("finder", "two") == "2"
    loaded = mlflow.pytorch.load_model(f"models:/finder@{CHAMPION}")
    batch = torch.from_numpy(np.concatenate([example, example, example]))
    torch.testing.assert_close(loaded(batch), module(batch))
    signature = mlflow.models.get_model_info(f"models:/finder@{CHAMPION}").signature
    assert signature.inputs.inputs[0].shape == (-1, 3, 8, 8)
    with pytest.raises(LookupError, match="no version of the registered model finder has digest three"):
        tracking.set_champion("finder", "three")


def test_disabled_tracking_does_nothing() -> None:
    tracking = Tracking.disabled()
    with tracking.start("training", "baseline", {"a": "b"}, {"x": 1}) as run:
        run.metric("auc", 0.5)
        run.params({"x": 1})
        run.figure(Figure(), "roc")
        assert run.model(torch.nn.Linear(1, 1), np.zeros((1, 1), np.float32), "m", "d") == ""
    assert tracking.set_champion("m", "d") == ""


def test_the_resource_follows_the_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LENS_STATE_DIR", str(tmp_path / "with space"))
    assert TrackingResource().create("demo").uri == f"sqlite:///{tmp_path / 'with space' / 'mlflow.db'}"
    assert TrackingResource(uri="http://host:5000").create("demo").uri == "http://host:5000"
    assert not TrackingResource(enabled=False).create("demo").enabled


def test_settings_are_flattened_with_dots() -> None:
    assert flatten({"a": {"b": {"c": 1}}, "d": [1]}) == {"a.b.c": 1, "d": [1]}
