"""A campaign killed a dozen times, during a table write, a model log and a gate among them, ends as if it never was."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from lens_assets_tests.end_to_end.command_line import digests
from lens_assets_tests.end_to_end.conftest import Killed
from lens_assets_tests.end_to_end.kills import CHOSEN, KILLS
from lens_assets_tests.end_to_end.miniature import Place, opened_instance

# It ends some minutes after the others on a busy machine.
pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def place(killed: Killed) -> Place:
    return killed.place


@pytest.fixture(scope="module")
def report(killed: Killed) -> dict[str, Any]:
    return killed.report()


def test_every_kill_struck_and_the_last_run_finished(report: dict[str, Any], place: Place) -> None:
    assert len(report["kills"]) == KILLS
    struck = [(item["target"], item["event"]) for item in report["kills"] if item["status"] == -signal.SIGKILL]
    assert len(struck) == KILLS, report["kills"]
    assert {(moment.target, moment.event) for moment in CHOSEN} <= set(struck)
    assert report["last"] == 0, (place.root / "children.log").read_text()[-4000:]


def test_what_a_reader_could_see_was_whole_after_every_kill(report: dict[str, Any]) -> None:
    assert [item["damaged"] for item in report["kills"]] == [[]] * KILLS


def test_the_digests_are_those_of_an_uninterrupted_run(report: dict[str, Any], place: Place, finished: Place) -> None:
    assert digests(place) == digests(finished)


def test_nothing_is_left_over(report: dict[str, Any], place: Place) -> None:
    assert report["left_over"] == []
    assert list((place.state / "checkpoints").rglob("*.p*")) == []


def test_every_run_has_ended_and_every_model_is_tracked_once(report: dict[str, Any], place: Place) -> None:
    import dagster as dg
    import mlflow

    with opened_instance(place) as instance:
        runs = instance.get_runs()
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
    uri = f"sqlite:///{place.state / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri, uri)
    for experiment, count in (("training", 2), ("evaluation", 2), ("freezing", 2), ("selection_function", 2)):
        found = client.get_experiment_by_name(f"miniature/{experiment}")
        tracked = client.search_runs([found.experiment_id])
        assert [run.info.status for run in tracked] == ["FINISHED"] * count
    for model, versions in (("miniature-baseline", 1), ("miniature-second", 1), ("miniature-finder", 2)):
        assert len(client.search_model_versions(f"name = '{model}'")) == versions
    champion = client.get_model_version_by_alias("miniature-finder", "champion")
    assert champion.tags["detector"] == "baseline"


def test_the_log_of_a_killed_run_says_so(report: dict[str, Any], place: Place) -> None:
    import dagster as dg

    with opened_instance(place) as instance:
        failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        reasons = {
            record.event_log_entry.user_message or record.event_log_entry.message
            for run in failed
            for record in instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.PIPELINE_FAILURE).records
        }
    assert all("killed" in reason for reason in reasons), reasons


def test_the_lake_of_the_killed_campaign_answers(report: dict[str, Any], place: Place) -> None:
    page = next(Path(place.lake, "audit_report").rglob("report.html")).read_text(encoding="utf-8")
    assert "GO" in page
