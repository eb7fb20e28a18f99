"""An edited YAML requests exactly what it makes stale, through the sensor and the condition, and with a real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lens_assets.assets.execution import Lineage
from lens_assets.campaign.campaign import load_campaign
from lens_assets.definitions import build_defs, build_lineage
from lens_assets.lake.lake import Lake
from lens_assets_tests.end_to_end.daemon import running_daemon, ticks, wait_for
from lens_assets_tests.end_to_end.miniature import Place, opened_instance

pytestmark = pytest.mark.end_to_end

Partition = tuple[str, str | None]


@dataclass
class Automation:
    """The sensor and the conditions of a finished campaign, ticked by hand; nothing that is requested is run."""

    place: Place
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    sensor_cursor: str = ""
    condition_cursor: Any = None
    reasons: list[str] = field(default_factory=list)

    def tick(self) -> set[Partition]:
        """Look at the files, report what changed, evaluate the conditions; return what is requested."""
        sensor = self.definitions.get_repository_def().get_sensor_def("settings_watch")
        with dg.build_sensor_context(instance=self.instance, cursor=self.sensor_cursor) as context:
            found = sensor(context)
        if isinstance(found, dg.SkipReason):
            self.reasons.append(found.skip_message or "")
        else:
            for event in found.asset_events:
                self.instance.report_runless_asset_event(event)
            self.sensor_cursor = found.cursor
        result = dg.evaluate_automation_conditions(
            defs=self.definitions, instance=self.instance, cursor=self.condition_cursor
        )
        self.condition_cursor = result.cursor
        return {
            (item.key.to_user_string(), key)
            for item in result.results
            if isinstance(item.key, dg.AssetKey) and not item.true_subset.is_empty
            for key in keys_of(item.true_subset)
        }


def keys_of(subset: Any) -> list[str | None]:
    return sorted(subset.expensively_compute_partition_keys()) if subset.is_partitioned else [None]


@pytest.fixture
def place(finished: Place, tmp_path: Path) -> Place:
    return finished.copy_to(tmp_path)


@pytest.fixture
def automation(place: Place) -> Iterator[Automation]:
    with opened_instance(place) as instance:
        ready = Automation(place, instance, build_defs(place.campaign))
        assert ready.tick() == set()  # the first look only takes note
        yield ready


def stale_and_below(place: Place) -> tuple[set[Partition], set[Partition]]:
    """Return what the lake shows to be stale, and with it everything that is made from it, by following the inputs."""
    lineage: Lineage = build_lineage(load_campaign(place.campaign))
    lake = Lake(place.lake, lineage.campaign.name)
    pairs = [(name, key) for name in lineage.topological() for key in lineage.keys(lineage.assets[name])]
    stale = {(name, key) for name, key in pairs if not lineage.is_current(lake, lineage.assets[name], key)}
    below = set(stale)
    for name, key in pairs:
        for above in lineage.inputs(lineage.assets[name]):
            same = lineage.assets[above].partitions == lineage.assets[name].partitions
            if any(item == above and (not same or other == key) for item, other in below):
                below.add((name, key))
    return stale, below


def edit_text(place: Place, file: str, old: str, new: str) -> None:
    path = place.campaign / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_nothing_changed_requests_nothing(automation: Automation) -> None:
    assert automation.tick() == set()
    assert automation.reasons[-1] == "no settings changed"


def test_a_comment_requests_nothing(automation: Automation) -> None:
    edit_text(automation.place, "experiments/second.yaml", "title:", "# a remark\ntitle:")
    edit_text(automation.place, "splits.yaml", "seed:", "# another\nseed:")
    assert automation.tick() == set()
    assert automation.reasons[-1] == "no settings changed"


def test_an_experiment_requests_only_its_own_partitions(automation: Automation) -> None:
    automation.place.edit("experiments/second", {"training.learning_rate": 0.002})
    requested = automation.tick()
    stale, below = stale_and_below(automation.place)
    for name in ("trained_model", "scores", "evaluation_report"):
        assert {key for item, key in requested if item == name} <= {"second"}
    assert ("trained_model", "second") in requested
    assert stale <= requested <= below
    assert automation.tick() == set()


@pytest.mark.parametrize(
    ("stage", "change", "first"),
    [
        ("report", {"title": "Another title"}, "audit_report"),
        ("sampling", {"seed": 43}, "stratified_sample"),
    ],
)
def test_a_stage_requests_what_it_makes_stale_and_nothing_beside(
    automation: Automation, stage: str, change: dict[str, object], first: str
) -> None:
    automation.place.edit(stage, change)
    requested = automation.tick()
    stale, below = stale_and_below(automation.place)
    assert first in {name for name, _ in requested}
    assert stale <= requested <= below
    assert automation.tick() == set()


def test_a_file_with_a_typo_is_reported_and_changes_nothing(automation: Automation) -> None:
    edit_text(automation.place, "splits.yaml", "seed:", "sede:")
    assert automation.tick() == set()
    assert "sede" in automation.reasons[-1]
    assert "splits.yaml" in automation.reasons[-1]


def test_a_daemon_requests_the_edited_experiment_alone(place: Place) -> None:
    """A comment first, which is looked at and requests nothing; then a value."""
    with opened_instance(place) as instance:
        before = {run.run_id for run in instance.get_runs()}
        with running_daemon(place):
            wait_for(place, "a second tick of the automation", lambda: len(ticks(instance, "stale_assets")) > 1)
            wait_for(place, "a first tick of the sensor", lambda: ticks(instance, "settings_watch"))
            edit_text(place, "experiments/second.yaml", "title:", "# a remark\ntitle:")
            looked = len(ticks(instance, "settings_watch"))
            wait_for(place, "another look", lambda: len(ticks(instance, "settings_watch")) > looked + 1)
            assert {run.run_id for run in instance.get_runs()} == before
            assert instance.get_backfills() == []
            place.edit("experiments/second", {"training.learning_rate": 0.002})
            requested = wait_for(place, "a request", lambda: requested_partitions(instance, before))
    assert ("trained_model", "second") in requested
    assert requested <= stale_and_below(place)[1]


def requested_partitions(instance: dg.DagsterInstance, before: set[str]) -> set[Partition] | None:
    """Return what runs and backfills ask for beyond those of before."""
    found: set[Partition] = set()
    for backfill in instance.get_backfills():
        data = backfill.asset_backfill_data
        if data is not None:
            found |= {(key.to_user_string(), None) for key in data.target_subset.non_partitioned_asset_keys}
            for key, subset in data.target_subset.partitions_subsets_by_asset_key.items():
                found |= {(key.to_user_string(), partition) for partition in subset.get_partition_keys()}
    for run in instance.get_runs():
        if run.run_id not in before and "dagster/backfill" not in run.tags:
            partition = run.tags.get("dagster/partition")
            found |= {(key.to_user_string(), partition) for key in run.asset_selection or ()}
    return found or None
