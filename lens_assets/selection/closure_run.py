"""Closure at scale, the run: batches in a few processes, each kept on disk, so that an interrupted run goes on.

Every batch is written under another name first and moved into place, so that a killed process leaves no half of one;
what it was working on is all that is lost.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from lens_assets.selection.closure_scale import comparable_lenses
from lens_assets.selection.closure_stamps import ClosureJob, host_unit, injection_unit, lens_unit, plan_injections

Progress = Callable[[str, int, int], None]
Work = Callable[[], None]


@dataclass(frozen=True)
class Workspace:
    """The folder of one job's batches. Its name holds the job's digest, so that no other job's batches are in it."""

    root: Path

    def table(self, unit: str, number: int) -> Path:
        """Return where a batch's table stands once it is whole."""
        return self.root / f"{unit}-{number:05d}.parquet"

    def stamps(self, shard: str) -> Path:
        """Return where the stamps of a batch of hosts stand."""
        return self.root / f"{shard}.arrow"

    def read(self, unit: str, count: int) -> pd.DataFrame:
        """Return the rows of all batches of a unit, in order."""
        return pd.concat([pd.read_parquet(self.table(unit, number)) for number in range(count)], ignore_index=True)


def measure(job: ClosureJob, root: Path, progress: Progress) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (true lenses, injections) of a job with truth and scores, from batches under `root`.

    What an earlier run of the same job finished is read, not made again. The result depends on the job alone.
    """
    space = Workspace(root)
    root.mkdir(parents=True, exist_ok=True)
    settings, size = job.settings, job.settings.batch_fields
    lenses, hosts = -(-settings.lenses // size), -(-settings.hosts // size)
    _all(job, space, "lenses", [partial(_lenses, job, space, number) for number in range(lenses)], progress)
    _all(job, space, "hosts", [partial(_hosts, job, space, number) for number in range(hosts)], progress)
    drawn = space.read("lenses", lenses)
    plan = _plan(job, space, drawn, hosts, progress)
    pieces = range(0, len(plan), settings.batch_injections)
    work = [
        partial(_injections, job, space, number, plan.iloc[start : start + settings.batch_injections])
        for number, start in enumerate(pieces)
    ]
    _all(job, space, "injections", work, progress)
    return drawn, space.read("injections", len(pieces))


def _plan(job: ClosureJob, space: Workspace, lenses: pd.DataFrame, hosts: int, progress: Progress) -> pd.DataFrame:
    """Return the plan of the injections, made once: a resumed run goes on with the same rows."""
    path = space.table("plan", 0)
    if not path.exists():
        progress("plan", 0, 1)
        _keep(plan_injections(job, space.read("hosts", hosts), comparable_lenses(lenses, job)), path)
    progress("plan", 1, 1)
    return pd.read_parquet(path)


def _all(job: ClosureJob, space: Workspace, unit: str, work: Sequence[Work], progress: Progress) -> None:
    missing = [item for number, item in enumerate(work) if not space.table(unit, number).exists()]
    done = len(work) - len(missing)
    progress(unit, done, len(work))
    for _ in _run(missing, job.settings.workers):
        done += 1
        progress(unit, done, len(work))


def _run(work: Sequence[Work], workers: int) -> Iterator[None]:
    if workers == 1 or len(work) < 2:
        for item in work:
            item()
            yield
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=min(workers, len(work)), mp_context=context) as pool:
        pending: list[Future[None]] = [pool.submit(item) for item in work]
        try:
            for finished in as_completed(pending):
                finished.result()
                yield
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _numbers(job: ClosureJob, batch: int, total: int) -> range:
    return range(batch * job.settings.batch_fields, min((batch + 1) * job.settings.batch_fields, total))


def _lenses(job: ClosureJob, space: Workspace, number: int) -> None:
    _keep(lens_unit(job, _numbers(job, number, job.settings.lenses)), space.table("lenses", number))


def _hosts(job: ClosureJob, space: Workspace, number: int) -> None:
    shard = f"hosts-{number:05d}"
    unfinished = space.stamps(shard).with_suffix(f".{os.getpid()}.part")
    table = host_unit(job, _numbers(job, number, job.settings.hosts), shard, unfinished)
    unfinished.replace(space.stamps(shard))
    _keep(table, space.table("hosts", number))


def _injections(job: ClosureJob, space: Workspace, number: int, rows: pd.DataFrame) -> None:
    _keep(injection_unit(job, rows, space.stamps), space.table("injections", number))


def _keep(table: pd.DataFrame, path: Path) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    table.to_parquet(unfinished, index=False)
    unfinished.replace(path)
