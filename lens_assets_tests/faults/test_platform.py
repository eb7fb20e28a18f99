"""What a user can run into: typos, a foreign lake, a used port, damaged files, a full disk, Ctrl-C."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest
import yaml

from lens_assets.assets.execution import Lineage
from lens_assets.automation.driver import Outcome, materialise_campaign
from lens_assets.campaign.campaign import load_campaign
from lens_assets.cli import main
from lens_assets.definitions import build_defs, build_lineage
from lens_assets.environment import exclusive_run, prepare
from lens_assets.lake.lake import Lake
from lens_assets_tests.end_to_end.command_line import digests, run_command
from lens_assets_tests.end_to_end.daemon import wait_for
from lens_assets_tests.end_to_end.kills import damage, left_over
from lens_assets_tests.end_to_end.miniature import PARTITIONS, Place, opened_instance, write_campaign

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A campaign that has not been run."""
    return write_campaign(tmp_path)


@pytest.fixture
def copy(finished: Place, tmp_path: Path) -> Place:
    """A campaign that has been run."""
    return finished.copy_to(tmp_path)


def replace_line(place: Place, file: str, key: str, line: str) -> None:
    path = place.campaign / file
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [index for index, text in enumerate(lines) if text.strip().startswith(f"{key}:")]
    lines[found[0]] = line
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# -- settings -------------------------------------------------------------------------------------


def command(place: Place, *arguments: str) -> int:
    """Run the command line in this process; what it changes of the environment is put back."""
    with mock.patch.dict("os.environ", place.environment()):
        return main(list(arguments))


@pytest.mark.parametrize(
    ("file", "key", "line", "said"),
    [
        ("splits.yaml", "seed", "sede: 463", ["splits.yaml", "sede", "463", "known keys here", "seed"]),
        ("splits.yaml", "cell_nside", "cell_nside: many", ["splits.yaml", "cell_nside", '"many"', "expected"]),
        ("cutouts.yaml", "stamp_pixels", "stamp_pixels: -5", ["cutouts.yaml", "stamp_pixels", "-5", "pixel"]),
        ("cutouts.yaml", "layer", "layer: [unclosed", ["cutouts.yaml", "valid YAML"]),
        ("experiments/second.yaml", "role", "role: champion", ["second.yaml", "role", '"champion"', "candidate"]),
    ],
)
@pytest.mark.parametrize("name", ["validate", "run", "digests"])
def test_a_typo_is_refused_with_file_key_value_and_what_was_expected(
    place: Place,
    file: str,
    key: str,
    line: str,
    said: list[str],
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replace_line(place, file, key, line)
    assert command(place, name) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: campaign miniature cannot be used")
    assert [word for word in said if word not in printed] == []
    assert not place.lake.exists()


# -- the lake -------------------------------------------------------------------------------------


def stamps_of(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_lake_of_another_campaign_is_refused_and_untouched(
    finished: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "another_one"
    shutil.copytree(finished.campaign, other)
    before = stamps_of(finished.lake)
    environment = {"LENS_CAMPAIGN": str(other), "LENS_STATE_DIR": str(tmp_path / "state")}
    with mock.patch.dict("os.environ", finished.environment() | environment):
        assert main(["run"]) == 2
    printed = capsys.readouterr().err
    assert "was written by campaign 'miniature', not 'another_one'" in printed
    assert "set LENS_LAKE to another folder or prefix, or LENS_CAMPAIGN to miniature" in printed
    assert stamps_of(finished.lake) == before


def test_a_full_disk_leaves_what_was_there_and_says_so(copy: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests(copy)
    copy.edit("report", {"title": "Another title"})
    store = Lake._store

    def full(lake: Lake, path: str, name: str, content: Path | bytes) -> Any:
        if "/audit_report/" in path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(b"<html")
            raise OSError(errno.ENOSPC, "No space left on device")
        return store(lake, path, name, content)

    monkeypatch.setattr(Lake, "_store", full)
    outcome = drive(copy)
    assert outcome.failed == ("audit_report",)
    assert "audit_report could not be written" in outcome.message
    assert "the disk is full" in outcome.message
    assert "What was there before is unchanged" in outcome.message
    assert damage(copy.lake) == []
    assert digests(copy)["audit_report"] == before["audit_report"]
    monkeypatch.setattr(Lake, "_store", store)
    assert drive(copy).complete
    assert digests(copy)["audit_report"] != before["audit_report"]
    assert left_over(copy.lake) == []


def drive(place: Place, only: tuple[str, ...] | None = None) -> Outcome:
    lineage = build_lineage(load_campaign(place.campaign))
    with opened_instance(place) as instance:
        lake = Lake(place.lake, lineage.campaign.name)
        return materialise_campaign(build_defs(place.campaign), lineage, lake, instance, lambda wave, names: None, only)


# -- the survey's files ---------------------------------------------------------------------------


@pytest.fixture
def survey(finished: Place, place: Place) -> tuple[Place, Path]:
    """A campaign whose survey is a folder: the files that the finished miniature's sky was written to."""
    lineage: Lineage = build_lineage(load_campaign(finished.campaign))
    lake = Lake(finished.lake, lineage.campaign.name)
    root = place.root / "survey"
    shutil.copytree(lake.folder("simulated_survey"), root)
    for name in ("simulated_sky", "closure"):
        (place.campaign / f"{name}.yaml").unlink()
    place.edit("survey", {"source": "folder", "root": str(root)})
    catalogs = yaml.safe_load((place.campaign / "catalogs.yaml").read_text(encoding="utf-8"))
    catalogs["lenses"] = [item for item in catalogs["lenses"] if item["origin"] != "simulated"]
    catalogs["spectroscopic"] = catalogs["contaminants"] = []
    (place.campaign / "catalogs.yaml").write_text(yaml.safe_dump(catalogs), encoding="utf-8")
    place.edit("selection_function", {"closure.relied_on_campaign": "demo"})
    return place, root


def sweeps_by_partition(lake: Lake) -> dict[str, list[str]]:
    return {key: lake.table("sweep_sources", key, name="files.parquet")["sweep_file"].tolist() for key in PARTITIONS}


def test_a_damaged_sweep_is_set_aside_named_and_counted_and_the_rest_goes_on(
    survey: tuple[Place, Path], finished: Place
) -> None:
    place, root = survey
    good = Lake(finished.lake, "miniature")
    shared = sweeps_by_partition(good)
    partition, files = max(shared.items(), key=lambda item: len(set(item[1])))
    assert len(set(files)) >= 2, shared
    name = Path(sorted(files)[0]).name
    path = next(root.rglob(name))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for tolerance, stops in ((0.9, False), (0.0, True)):
        place.edit("survey", {"max_quarantined_fraction": tolerance})
        outcome = drive(place, only=("sweep_sources",))
        assert bool(outcome.failed) is stops, outcome
        lake = Lake(place.lake, "miniature")
        accounts = lake.table("sweep_sources", partition, name="files.parquet").set_index("sweep_file")
        bad = accounts[accounts["status"] != "ok"]
        assert [Path(str(item)).name for item in bad.index] == [name]
        assert bad["reason"].str.len().gt(0).all()
        assert lake.require("sweep_sources", partition).summary["files_quarantined"] == 1
        sources = lake.table("sweep_sources", partition)
        assert len(sources) > 0
        assert not sources["sweep_file"].str.contains(name).any()
        assert severities(place) == ({"WARN"} if not stops else {"WARN", "ERROR"})
        if stops:
            assert "sweep_sources" in outcome.message
            assert f"{name}: quarantined, {bad['reason'].item()}: {bad['detail'].item()}" in outcome.message
    for other in set(PARTITIONS) - {key for key, held in shared.items() if any(name in item for item in held)}:
        assert lake.require("sweep_sources", other).digest == good.require("sweep_sources", other).digest


def severities(place: Place) -> set[str]:
    """Return the severities of the failed checks of the latest run."""
    with opened_instance(place) as instance:
        run = instance.get_runs(limit=1)[0]
        events = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
        evaluations = [record.event_log_entry.dagster_event.asset_check_evaluation_data for record in events]
    return {evaluation.severity.value for evaluation in evaluations if not evaluation.passed}


# -- the terminal ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("flag", "name"), [("--port", "Dagster"), ("--mlflow-port", "MLflow")])
def test_a_port_in_use_is_named_with_the_way_out(
    copy: Place, flag: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken, socket.socket() as free:
        for each in (taken, free):
            each.bind(("127.0.0.1", 0))
        taken.listen()
        port, spare = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        other = "--mlflow-port" if flag == "--port" else "--port"
        assert command(copy, "ui", flag, str(port), other, str(spare)) == 2
    printed = capsys.readouterr().err
    assert f"port {port} for {name} is in use" in printed
    assert f"{flag} {port + 1}" in printed


def test_one_port_for_both_interfaces_is_refused(copy: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(copy, "ui", "--port", "5000", "--mlflow-port", "5000") == 2
    assert "--port and --mlflow-port are both 5000" in capsys.readouterr().err


def test_a_second_run_on_the_same_folders_is_refused_by_name(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.dict("os.environ", place.environment()):
        prepare()
        with exclusive_run():
            assert main(["run"]) == 2
        with exclusive_run():
            pass
    printed = capsys.readouterr().err
    assert f"is in use by process {os.getpid()}" in printed
    assert "LENS_LAKE and LENS_STATE_DIR" in printed
    assert not any(place.lake.rglob("*.parquet"))


def test_campaigns_of_one_name_in_two_folders_share_nothing(tmp_path: Path) -> None:
    places = set()
    for parent in ("here", "there"):
        (tmp_path / parent / "mine").mkdir(parents=True)
        with mock.patch.dict("os.environ", {"LENS_STATE_DIR": str(tmp_path / "state")}):
            os.environ.pop("LENS_LAKE", None)
            prepare(str(tmp_path / parent / "mine"))
            places.add(os.environ["LENS_LAKE"])
    assert len(places) == 2


def test_a_campaign_that_does_not_exist_leaves_no_folder(tmp_path: Path) -> None:
    with mock.patch.dict("os.environ", {"LENS_STATE_DIR": str(tmp_path / "state")}):
        assert main(["--campaign", "nope", "validate"]) == 2
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_a_run_with_130_and_the_next_one_goes_on(copy: Place) -> None:
    copy.edit("report", {"title": "Another title"})
    with opened_instance(copy) as instance:
        before = {run.run_id for run in instance.get_runs()}

        def started() -> list[dg.DagsterRun]:
            runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            return [run for run in runs if run.run_id not in before]

        process = subprocess.Popen(
            [sys.executable, "-m", "lens_assets_tests.end_to_end.command_line", "run"],
            env=copy.process_environment(),
            cwd=copy.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        (copy.root / "daemon.log").write_text("", encoding="utf-8")
        wait_for(copy, "a run to start", started)
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=120)
        assert process.returncode == 130, said + complained
        assert "interrupted; what is finished is kept: run the same command again to go on" in complained
        assert "Traceback" not in complained
        assert damage(copy.lake) == []
        again = run_command(copy, "run")
        assert again.returncode == 0, again.stdout + again.stderr
        states = {run.status for run in instance.get_runs() if run.run_id not in before}
        assert states <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE}
    release = Lake(copy.lake, "miniature").folder("selection_function_product") / "release" / "release.json"
    assert json.loads(release.read_text())["title"]
    assert left_over(copy.lake) == []


@pytest.mark.parametrize("variable", ["LENS_LAKE", "LENS_STATE_DIR"])
def test_a_place_that_cannot_be_written_is_named(
    variable: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    places = {"LENS_LAKE": str(tmp_path / "lake"), "LENS_STATE_DIR": str(tmp_path / "state")}
    places[variable] = str(tmp_path / "file" / "below")
    with mock.patch.dict("os.environ", places | {"DAGSTER_HOME": str(tmp_path)}):
        assert main(["--campaign", "demo", "run"]) == 2
    assert f"{variable} is {places[variable]}" in capsys.readouterr().err
