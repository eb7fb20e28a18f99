"""Materialise a whole campaign through Dagster in one process, resuming where an earlier attempt stopped.

Dagster runs hold one kind of partition, so the lineage is cut into waves of assets that share one; each wave is a
run with its asset checks. An asset is left out of its wave when the lake holds exactly what would be made and the
Dagster instance shows it, so a second run is quick and an interrupted one goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import dagster as dg
import psutil
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster_shared.error import SerializableErrorInfo

from lens_assets.assets import dagster_bridge
from lens_assets.assets.execution import Lineage
from lens_assets.assets.framework import LensAsset, NoGo
from lens_assets.automation.sensors import DATA_VERSION_TAG, observations
from lens_assets.checks.great_expectations import blocking_checks
from lens_assets.lake.lake import Lake

PID_TAG = "lens_assets/driver_pid"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
GATES = ("realism_gate", "release_gate")
LAST = "audit_report"
_INTERRUPTIONS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


@dataclass(frozen=True)
class Wave:
    """Assets of one partitioning scheme that run together, inputs first."""

    scheme: str | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a campaign: the assets that were made, and those that stopped it, if any."""

    ran: tuple[str, ...]
    failed: tuple[str, ...]
    message: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything is materialised and no gate stopped the campaign."""
        return not self.failed


def waves(lineage: Lineage) -> list[Wave]:
    """Cut the lineage into waves. A gate closes its wave, and the audit report is a wave of its own.

    The report is run even after a NO-GO, since it is the page that says why.
    """
    remaining = [name for name in lineage.topological() if name != LAST]
    done: set[str] = set()
    found: list[Wave] = []
    while remaining:
        scheme = lineage.assets[_first_ready(lineage, remaining, done)].partitions
        names: list[str] = []
        for name in list(remaining):
            asset = lineage.assets[name]
            ready = set(lineage.inputs(asset)) <= done | set(names)
            if asset.partitions != scheme or not ready:
                continue
            names.append(name)
            remaining.remove(name)
            if name in GATES:
                break
        done |= set(names)
        found.append(Wave(scheme, tuple(names)))
    return [*found, *([Wave(None, (LAST,))] if LAST in lineage.assets else [])]


def _first_ready(lineage: Lineage, remaining: list[str], done: set[str]) -> str:
    return next(name for name in remaining if set(lineage.inputs(lineage.assets[name])) <= done)


def materialise_campaign(
    definitions: dg.Definitions,
    lineage: Lineage,
    lake: Lake,
    instance: dg.DagsterInstance,
    announce: Callable[[Wave, tuple[str, ...]], None],
    only: Iterable[str] | None = None,
) -> Outcome:
    """Run every wave of a campaign; stop below a gate that does not say GO, but render the audit report."""
    close_orphaned_runs(instance)
    lake.tidy()
    observe_settings(lineage, instance)
    wanted = set(only) if only is not None else set(lineage.assets)
    ran: list[str] = []
    failed: list[str] = []
    message = ""
    for wave in waves(lineage):
        if failed and wave.names != (LAST,):
            continue
        names = _to_run(lineage, lake, instance, wave, wanted)
        announce(wave, names)
        if not names:
            continue
        result = _execute(definitions, lineage, instance, wave, names)
        if _was_interrupted(result):
            raise KeyboardInterrupt
        made = {_name(event.asset_key) for event in result.get_asset_materialization_events() if event.asset_key}
        ran += [name for name in names if name in made]
        if not result.success:
            stopped, message_here = _failure(result)
            failed += stopped
            message = message or message_here
    return Outcome(tuple(ran), tuple(failed), message)


def _to_run(
    lineage: Lineage, lake: Lake, instance: dg.DagsterInstance, wave: Wave, wanted: set[str]
) -> tuple[str, ...]:
    """Return the assets of a wave that are not in order, and those below them in the same wave."""
    chosen: list[str] = []
    for name in wave.names:
        asset = lineage.assets[name]
        below = bool(set(lineage.inputs(asset)) & set(chosen))
        if name in wanted and (below or not in_order(lineage, lake, instance, asset)):
            chosen.append(name)
    return tuple(chosen)


def in_order(lineage: Lineage, lake: Lake, instance: dg.DagsterInstance, asset: LensAsset) -> bool:
    """Say whether every partition is current in the lake, shown with its digest by Dagster, and passed its checks."""
    if not all(lineage.is_current(lake, asset, key) for key in lineage.keys(asset)):
        return False
    if asset.name in GATES and instance.get_latest_materialization_event(_key(asset.name)) is None:
        return False
    if not all(_shown(instance, lake, asset.name, key) for key in lineage.keys(asset)):
        return False
    checks = [dg.AssetCheckKey(_key(asset.name), name) for name in blocking_checks(asset.name)]
    return _checks_passed(instance, checks, lineage.keys(asset))


def _checks_passed(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], partitions: Sequence[str | None]
) -> bool:
    """Say whether the latest run of every check on every partition passed; what was never run, or killed, did not."""
    if not checks:
        return True
    found = {
        (info.check_key, info.partition_key): info.latest_execution_status
        for info in instance.event_log_storage.get_asset_check_partition_info(checks)
    }
    passed = AssetCheckExecutionRecordStatus.SUCCEEDED
    return all(found.get((check, partition)) is passed for check in checks for partition in partitions)


def _shown(instance: dg.DagsterInstance, lake: Lake, name: str, key: str | None) -> bool:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(_key(name), asset_partitions=[key] if key else None), limit=1
    ).records
    if not records or records[0].asset_materialization is None:
        return False
    shown = records[0].asset_materialization.metadata.get("digest")
    return shown is not None and shown.value == lake.require(name, key).digest


def _key(name: str) -> dg.AssetKey:
    return dg.AssetKey(name.split("/"))


def _name(key: dg.AssetKey) -> str:
    return "/".join(key.path)


def _execute(
    definitions: dg.Definitions, lineage: Lineage, instance: dg.DagsterInstance, wave: Wave, names: tuple[str, ...]
) -> dg.ExecuteInProcessResult:
    keys = [key for key in lineage.keys(lineage.assets[names[0]]) if key is not None]
    tags = {PID_TAG: str(os.getpid())}
    if keys:
        tags |= {RANGE_START_TAG: keys[0], RANGE_END_TAG: keys[-1]}
    return dg.materialize(
        [*(definitions.assets or ()), *(definitions.asset_checks or ())],  # type: ignore[list-item]
        selection=dg.AssetSelection.assets(*(_key(name) for name in names)),
        resources=dict(definitions.resources or {}),
        instance=instance,
        tags=tags,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )


def _failure(result: dg.ExecuteInProcessResult) -> tuple[list[str], str]:
    failures = [event for event in result.all_events if event.is_step_failure]
    names = [event.step_key or "" for event in failures]
    errors = [event.step_failure_data.error for event in failures if event.step_failure_data.error is not None]
    details = [_root_cause(error).strip() for error in errors if error.cls_name != "DagsterAssetCheckFailedError"]
    checks = [
        f"{evaluation.asset_key.to_user_string()}: {evaluation.description}"
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed and evaluation.blocking and not _said(evaluation.description, details)
    ]
    return names or ["run"], "\n".join([*details, *checks])


def _said(description: str | None, details: Sequence[str]) -> bool:
    """Say whether an error already tells what a check found, as that of a gate does."""
    return description is not None and any(description in detail for detail in details)


def _root_cause(error: SerializableErrorInfo) -> str:
    """Return the message of the first error of a chain that is not Dagster's: what went wrong, not that a step failed.

    Errors of this package name what to do; what they were raised from would say less.
    """
    while error.cause is not None and (error.cls_name or "").startswith(("Dagster", "Failure")):
        error = error.cause
    own = NoGo.__name__
    return error.message.removeprefix(f"{NoGo.__module__}.{own}: ") if error.cls_name == own else error.message


def _was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Say whether Ctrl-C ended a run; Dagster takes the signal and reports a failed step or a cancelled run."""
    if result.dagster_run.status is dg.DagsterRunStatus.CANCELED:
        return True
    return any(error.cls_name in _INTERRUPTIONS for error in (*_step_errors(result), *_run_errors(result)))


def _step_errors(result: dg.ExecuteInProcessResult) -> list[SerializableErrorInfo]:
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return [error for error in errors if error is not None]


def _run_errors(result: dg.ExecuteInProcessResult) -> list[SerializableErrorInfo]:
    """Return what ended the run itself, between its steps: a signal, or a fault of Dagster."""
    errors = [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
    return [error for error in errors if error is not None]


def observe_settings(lineage: Lineage, instance: dg.DagsterInstance) -> None:
    """Report the digest of each YAML that differs from what the instance last saw."""
    campaign = lineage.campaign
    changed = []
    for observation in observations(campaign, sorted(campaign.contents)):
        records = instance.fetch_observations(
            dg.AssetRecordsFilter(
                observation.asset_key, asset_partitions=[observation.partition] if observation.partition else None
            ),
            limit=1,
        ).records
        last = records[0].asset_observation if records else None
        if last is None or last.tags.get(DATA_VERSION_TAG) != observation.tags[DATA_VERSION_TAG]:
            changed.append(observation)
    for observation in changed:
        instance.report_runless_asset_event(observation)


def close_orphaned_runs(instance: dg.DagsterInstance) -> None:
    """Mark as failed the runs of drivers that were killed, so that the UI does not show them as running."""
    started = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED]))
    for run in started:
        pid = run.tags.get(PID_TAG)
        if pid is not None and int(pid) != os.getpid() and not psutil.pid_exists(int(pid)):
            instance.report_run_failed(run, "the process that drove this run was killed")
    _free_slots_of_ended_runs(instance)


def _free_slots_of_ended_runs(instance: dg.DagsterInstance) -> None:
    """Give back the pool slots of runs that are over: without a daemon nobody does, and steps would wait for ever."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for key in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(key)
        for run_id in info.active_run_ids | info.pending_run_ids | info.assigned_run_ids:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                storage.free_concurrency_slots_for_run(run_id)


def listen(listener: Callable[[str, str, int, int], None]) -> None:
    """Send progress of every asset of this process to a listener."""
    dagster_bridge.progress_listeners.append(listener)
