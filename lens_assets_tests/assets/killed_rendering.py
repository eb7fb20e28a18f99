"""Render a condition in children that are killed within it, one after the other, on one lake.

`python -m <this module> <folder with the plan and the hosts> <report.json>` forks each child from one process.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any
from unittest import mock

from lens_assets.assets import injection as assets
from lens_assets.assets.execution import Lineage, materialise
from lens_assets.lake.lake import Lake
from lens_assets.lensing import checkpoints
from lens_assets.resources.tracking import Tracking
from lens_assets_tests.assets.test_injection import SHARP, small_campaign

BATCH = 10
WHOLE, KILLED = "whole", "killed"


@dataclass(frozen=True)
class Moment:
    """Which call of a function of `checkpoints` dies, counted from one, and whether before or after its work."""

    event: str
    call: int


MOMENTS = (Moment("rendering", 2), Moment("half written", 1), Moment("kept", 2))


def lineage_of_batches() -> Lineage:
    """Return the lineage of the demo's batches, in small ones, without the gate above them."""
    demo = small_campaign()
    settings = demo.injection.model_copy(
        update={"renderer": demo.injection.renderer.model_copy(update={"batch_stamps": BATCH})}
    )
    campaign = replace(demo, stages={**demo.stages, "injection": settings})
    asset = replace(assets.injection_batches, behind=None, inputs=tuple(STORED))
    known = {name: replace(asset, name=name, inputs=(), partitions=kind) for name, kind in STORED.items()}
    return Lineage(campaign, {**known, asset.name: asset})


STORED = {"injection_plan": None, "cutouts": "sky"}


def _die_at(moment: Moment | None, log: Path) -> list[Any]:
    """Return patches that log every half batch rendered and kill the process at its moment."""
    calls = {"rendering": 0, "half written": 0, "kept": 0}

    def now(event: str, before_dying: Callable[[], object] = lambda: None) -> None:
        with lock:
            calls[event] += 1
            mine = moment == Moment(event, calls[event])
        if mine:
            before_dying()
            os.kill(os.getpid(), signal.SIGKILL)

    real_render, real_keep, real_write = checkpoints.render_rows, checkpoints._keep, checkpoints.write_stamps
    lock = Lock()

    def rendering(*arguments: Any) -> Any:
        with log.open("a") as stream:
            stream.write(f"{arguments[0]['injection_id'].iloc[0]}\n")
        result = real_render(*arguments)
        now("rendering")
        return result

    def writing(path: Path, *arguments: Any) -> None:
        real_write(path, *arguments)
        now("half written", lambda: os.truncate(path, path.stat().st_size // 2))

    def keeping(*arguments: Any) -> None:
        real_keep(*arguments)
        now("kept")

    return [
        mock.patch.object(checkpoints, "render_rows", rendering),
        mock.patch.object(checkpoints, "write_stamps", writing),
        mock.patch.object(checkpoints, "_keep", keeping),
    ]


def _child(lineage: Lineage, moment: Moment | None, lake: Lake, log: Path) -> int:
    """Render the sharp condition in a fork; return its exit status or minus the signal."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    code = 1
    try:
        for patch in _die_at(moment, log):
            patch.start()
        asset = lineage.assets["injection_batches"]
        record, _ = materialise(lineage, lake, asset, SHARP, tracking=Tracking.disabled())
        files = {entry.name: entry.sha256 for entry in record.files}
        log.with_suffix(".json").write_text(json.dumps({"digest": record.digest, "files": files}))
        code = 0
    finally:
        os._exit(code)


def main_of_process(root: Path, report: Path) -> None:
    """Render once without interruption and once with all of them, and write what was seen."""
    for name in ("matplotlib.pyplot", "lens_assets.figures.injection"):
        importlib.import_module(name)
    shutil.copytree(root / WHOLE, root / KILLED)
    lineage, seen = lineage_of_batches(), []
    for name, moment in [(WHOLE, None), *((KILLED, moment) for moment in MOMENTS), (KILLED, None)]:
        lake, log = Lake(root / name, lineage.campaign.name), root / f"{len(seen)}.log"
        status = _child(lineage, moment, lake, log)
        staged = lake.staging("injection_batches", SHARP)
        seen.append(
            {
                "moment": asdict(moment) if moment else None,
                "status": status,
                "rendered": log.read_text().split(),
                "kept": len(list(staged.glob("*.arrow"))),
                "result": json.loads(log.with_suffix(".json").read_text()) if not status else None,
            }
        )
    report.write_text(json.dumps(seen, indent=1))


if __name__ == "__main__":
    main_of_process(*map(Path, sys.argv[1:3]))
