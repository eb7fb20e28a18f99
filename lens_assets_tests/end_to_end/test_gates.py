"""Nothing passes the realism gate: not the same run, a later one, a backfill, a daemon, nor a GO for other inputs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from lens_assets.assets.execution import GateClosed, Lineage, materialise
from lens_assets.automation.driver import RANGE_END_TAG, RANGE_START_TAG, Outcome, materialise_campaign
from lens_assets.campaign.campaign import load_campaign
from lens_assets.definitions import build_defs, build_lineage
from lens_assets.lake.lake import Lake
from lens_assets.resources.tracking import Tracking
from lens_assets_tests.end_to_end.daemon import running_daemon, ticks, wait_for
from lens_assets_tests.end_to_end.miniature import Place, opened_instance

pytestmark = pytest.mark.end_to_end

TIGHTENED = {"tolerances.colour_median_mag": 1.0e-6}


def open_place(place: Place) -> tuple[Lineage, Lake]:
    lineage = build_lineage(load_campaign(place.campaign))
    return lineage, Lake(place.lake, lineage.campaign.name)


def drive(place: Place) -> Outcome:
    """Run what is not current, as the command line does."""
    lineage, lake = open_place(place)
    with opened_instance(place) as instance:
        return materialise_campaign(build_defs(place.campaign), lineage, lake, instance, lambda wave, names: None)


def run_alone(place: Place, name: str) -> dg.ExecuteInProcessResult:
    """Materialise one asset, all its partitions, in a run of its own."""
    lineage, _ = open_place(place)
    keys = [key for key in lineage.keys(lineage.assets[name]) if key is not None]
    tags = {RANGE_START_TAG: keys[0], RANGE_END_TAG: keys[-1]} if keys else {}
    definitions = build_defs(place.campaign)
    with opened_instance(place) as instance:
        return dg.materialize(
            [*(definitions.assets or ()), *(definitions.asset_checks or ())],
            selection=dg.AssetSelection.assets(name),
            resources=dict(definitions.resources or {}),
            instance=instance,
            tags=tags,
            raise_on_error=False,
        )


def why(result: dg.ExecuteInProcessResult) -> str:
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return " ".join(failure.error.to_string() for failure in failures if failure.error)


def bytes_below(place: Place) -> list[str]:
    """Return every file in the lake of an asset that needs what lies below the realism gate."""
    lineage, _ = open_place(place)
    names = lineage.gated_below("realism_gate")
    assert {"injection_batches", "injection_scores", "completeness_table", "selection_function_product"} <= set(names)
    return [str(path) for name in names for path in Path(place.lake, name).rglob("*")]


def verdict(place: Place) -> dict[str, object]:
    _, lake = open_place(place)
    return json.loads(lake.file("realism_gate", "verdict.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def refused(finished: Place, tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Outcome]:
    """The finished campaign after one threshold was tightened and the campaign run again: NO-GO."""
    place = finished.copy_to(tmp_path_factory.mktemp("refused"))
    assert len(bytes_below(place)) > 50
    place.edit("realism", TIGHTENED)
    return place, drive(place)


def test_the_run_with_the_no_go_stops_there_and_names_the_observable(refused: tuple[Place, Outcome]) -> None:
    place, outcome = refused
    assert outcome.failed == ("realism_gate",)
    assert "NO-GO" in outcome.message
    assert "arc_g_minus_r" in outcome.message
    assert "injection.source.g_minus_r" in outcome.message
    below = open_place(place)[0].gated_below("realism_gate")
    assert not set(outcome.ran) & set(below)
    assert verdict(place)["decision"] == "NO-GO"
    page = open_place(place)[1].file("audit_report", "report.html").read_text(encoding="utf-8")
    assert "NO-GO" in page


def test_after_a_no_go_no_byte_is_left_below(refused: tuple[Place, Outcome]) -> None:
    assert bytes_below(refused[0]) == []


@pytest.mark.parametrize("name", ["injection_batches", "completeness_table"])
def test_a_later_run_of_what_is_below_is_refused(refused: tuple[Place, Outcome], name: str) -> None:
    place, _ = refused
    result = run_alone(place, name)
    assert not result.success
    assert "is behind realism_gate, whose verdict is NO-GO" in why(result)
    assert bytes_below(place) == []


def test_everything_that_is_behind_a_gate_refuses_by_itself(refused: tuple[Place, Outcome]) -> None:
    lineage, lake = open_place(refused[0])
    behind = [asset for asset in lineage.assets.values() if asset.behind]
    assert {"injection_batches", "completeness_table", "release_gate", "selection_function_product"} <= {
        asset.name for asset in behind
    }
    for asset in behind:
        for key in lineage.keys(asset):
            with pytest.raises(GateClosed):
                materialise(lineage, lake, asset, key, tracking=Tracking.disabled())


def test_driving_the_campaign_again_is_refused_again(refused: tuple[Place, Outcome]) -> None:
    again = drive(refused[0])
    assert again.failed == ("realism_gate",)
    assert bytes_below(refused[0]) == []


def test_neither_a_backfill_nor_the_automation_of_a_daemon_gets_past(refused: tuple[Place, Outcome]) -> None:
    """A backfill of everything partitioned below, and an edit that makes the audit and the released product stale."""
    place, _ = refused
    wanted = [dg.AssetKey(name) for name in ("injection_batches", "completeness_table")]
    with opened_instance(place) as instance:
        graph = build_defs(place.campaign).resolve_asset_graph()
        for key in wanted:
            instance.add_backfill(whole_backfill(instance, graph, key))
        before = {run.run_id for run in instance.get_runs()}
        with running_daemon(place):
            wait_for(place, "a second look of the automation", lambda: len(ticks(instance, "stale_assets")) > 1)
            wait_for(place, "a first look at the settings", lambda: ticks(instance, "settings_watch"))
            place.edit("report", {"title": "Another title"})
            wait_for(place, "a run by the automation", lambda: requested(instance, before, "detectability_report"))
            ended = wait_for(place, "the end of the backfills", lambda: ended_backfills(instance, wanted))
            looks = len(ticks(instance, "stale_assets"))
            wait_for(place, "further looks", lambda: len(ticks(instance, "stale_assets")) > looks + 2)
            wait_for(place, "the end of the runs", lambda: not instance.get_runs(unfinished()))
        assert set(ended.values()) == {BulkActionStatus.COMPLETED_FAILED}
        launched = {run.tags.get("dagster/backfill") for run in instance.get_runs() if run.run_id not in before}
        assert launched >= {key.to_user_string() for key in wanted}
        # A refused gate is asked once more after its failure, not for ever.
        assert len(requested(instance, before, "realism_gate")) <= 1
    assert bytes_below(place) == []
    assert verdict(place)["decision"] == "NO-GO"


def whole_backfill(instance: dg.DagsterInstance, graph: Any, key: dg.AssetKey) -> PartitionBackfill:
    return PartitionBackfill.from_asset_partitions(
        backfill_id=key.to_user_string(),
        asset_graph=graph,
        partition_names=None,
        asset_selection=[key],
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        all_partitions=True,
        title=None,
        description=None,
        run_config=None,
    )


def requested(instance: dg.DagsterInstance, before: set[str], name: str) -> list[dg.DagsterRun]:
    """Return the runs that ask for an asset, beyond those of before."""
    runs = [run for run in instance.get_runs() if run.run_id not in before]
    return [run for run in runs if dg.AssetKey(name) in (run.asset_selection or ())]


def unfinished() -> dg.RunsFilter:
    status = dg.DagsterRunStatus
    return dg.RunsFilter(statuses=[status.QUEUED, status.NOT_STARTED, status.STARTING, status.STARTED])


def ended_backfills(instance: dg.DagsterInstance, keys: list[dg.AssetKey]) -> dict[str, BulkActionStatus] | None:
    found = {key.to_user_string(): instance.get_backfill(key.to_user_string()) for key in keys}
    states = {name: backfill.status for name, backfill in found.items() if backfill is not None}
    open_states = (BulkActionStatus.REQUESTED, BulkActionStatus.FAILING, BulkActionStatus.CANCELING)
    return None if any(state in open_states for state in states.values()) else states


@pytest.fixture
def edited(finished: Place, tmp_path: Path) -> Iterator[Place]:
    """The finished campaign, GO, with an upstream setting changed afterwards."""
    place = finished.copy_to(tmp_path)
    with mock.patch.dict("os.environ", place.environment()):
        yield place


def test_a_go_for_other_settings_does_not_pass(edited: Place) -> None:
    edited.edit("injection", {"lens.shear_sigma": 0.06})
    result = run_alone(edited, "completeness_table")
    assert not result.success
    assert "whose GO was given for other inputs" in why(result)
    assert "injection_plan" in why(result)
    assert verdict(edited)["decision"] == "GO"


def test_a_grid_edited_after_the_injections_were_made_is_refused_as_stale(edited: Place) -> None:
    """More cells would otherwise be judged with injections that were planned for the old ones."""
    grids = list(load_campaign(edited.campaign).contents["selection_function"]["grids"])
    grids[0] = grids[0] | {"depth_mag": {"start": 23.9, "step": 0.9, "count": 2}}
    edited.edit("selection_function", {"grids": grids})
    lineage, lake = open_place(edited)
    for name, key in (("completeness_table", "baseline"), ("selection_function_product", None)):
        with pytest.raises(GateClosed, match=r"GO was given for other inputs; no longer current: .*injection_plan"):
            materialise(lineage, lake, lineage.assets[name], key, tracking=Tracking.disabled(), recompute=True)


def test_a_go_for_other_tables_does_not_pass(edited: Place) -> None:
    """The settings are as they were, but an input was made again and came out different."""
    lineage, lake = open_place(edited)
    calibration = lake.require("brightness_calibration")
    table = lake.arrow("brightness_calibration").to_pandas()
    import pyarrow as pa

    lake.write(
        "brightness_calibration",
        None,
        calibration.provenance,
        table=pa.Table.from_pandas(table.assign(magnitude_shift_mag=0.25), preserve_index=False),
        files={
            "figures/presentation.json": lake.file("brightness_calibration", "figures/presentation.json").read_bytes()
        },
    )
    asset = lineage.assets["completeness_table"]
    with pytest.raises(GateClosed, match=r"GO was given for other inputs; no longer current: injection_plan, "):
        materialise(lineage, lake, asset, "baseline", tracking=Tracking.disabled(), recompute=True)


def test_a_changed_verdict_file_alone_opens_nothing(refused: tuple[Place, Outcome], tmp_path: Path) -> None:
    """Somebody writes GO over the NO-GO by hand: the stored file is no longer what its sidecar says."""
    place = refused[0].copy_to(tmp_path)
    lineage, lake = open_place(place)
    path = lake.file("realism_gate", "verdict.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"decision": "GO"}), encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"expected \d+ bytes|NO-GO"):
        materialise(
            lineage, lake, lineage.assets["injection_batches"], "psf1.40_depth23.90", tracking=Tracking.disabled()
        )
