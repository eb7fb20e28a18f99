"""Run a campaign in children that are killed at chosen moments, one after the other, on one lake.

`python -m <this module> <folder of a miniature> <lake of a finished one> <report.json>` imports everything once and
forks each child from there, so that a dozen interruptions cost little more than one campaign.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from lens_assets_tests.end_to_end.miniature import Place, hurry_sqlite

SEED = 20260117
KILLS = int(os.environ.get("LENS_TEST_KILLS", "12"))
"""How often the campaign is killed; the moments beyond `CHOSEN` are drawn."""

HEAVY = ("mlflow.pytorch", "great_expectations", "duckdb", "galsim", "sklearn.linear_model", "matplotlib.pyplot",
         "healpy", "astropy.coordinates", "sqlglot.lineage", "scipy.stats", "pyspark", "lens_assets.detector.training",
         "lens_assets.realism.examine", "lens_assets.simulated.survey")  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """What is being made, as asset or asset/partition, and what of it has just happened when the process dies."""

    target: str
    event: str


# Always among them: the sky half written, a checkpoint half written, a model being logged and registered, the
# gates judging and writing their verdicts, and the report that closes the campaign.
CHOSEN = (
    Moment("simulated_survey", "progress"),
    Moment("trained_model/baseline", "checkpoint"),
    Moment("trained_model/baseline", "model log"),
    Moment("trained_model/second", "model registered"),
    Moment("realism_gate", "judged"),
    Moment("realism_gate", "half a file"),
    Moment("release_gate", "judged"),
    Moment("release_gate", "record"),
)
DRAWN_EVENTS = ("start", "computed", "half a file", "record staged", "record", "shown")


def moments(targets: list[str], seed: int = SEED, count: int = KILLS) -> list[Moment]:
    """Return the moments in the order in which a campaign reaches them; `targets` is what it makes, in order."""
    draw = random.Random(seed)  # noqa: S311 - reproducible, not secret
    free = [name for name in targets if name not in {moment.target for moment in CHOSEN}]
    drawn = [Moment(name, draw.choice(DRAWN_EVENTS)) for name in draw.sample(free, count - len(CHOSEN))]
    order = {name: position for position, name in enumerate(targets)}
    return sorted([*CHOSEN, *drawn], key=lambda moment: order[moment.target])


class Killer:
    """Watches what a driver does and kills the process at its moment."""

    def __init__(self, moment: Moment | None) -> None:
        self.moment = moment
        self.target = ""

    def now(self, event: str) -> None:
        """Die if this is the moment."""
        if self.moment == Moment(self.target, event):
            os.kill(os.getpid(), signal.SIGKILL)

    def hooks(self) -> list[Any]:
        """Return the patches that tell this object what happens; each calls through."""
        import mlflow

        from lens_assets.assets import dagster_bridge
        from lens_assets.assets.framework import AssetRun, LensAsset
        from lens_assets.detector import training
        from lens_assets.lake.lake import Lake
        from lens_assets.realism import verdict
        from lens_assets.selection import release

        return [
            mock.patch.object(dagster_bridge, "materialise", self._materialise(dagster_bridge.materialise)),
            mock.patch.object(LensAsset, "__call__", self._around(LensAsset.__call__, "start", "computed")),
            mock.patch.object(AssetRun, "report_progress", self._around(AssetRun.report_progress, "", "progress")),
            mock.patch.object(Lake, "_store", self._half_a_file(Lake._store)),
            mock.patch.object(Lake, "_put", self._put(Lake._put)),
            mock.patch.object(training.torch, "save", self._around(training.torch.save, "", "checkpoint")),
            mock.patch.object(mlflow.pytorch, "log_model", self._around(mlflow.pytorch.log_model, "", "model log")),
            mock.patch.object(mlflow, "register_model", self._around(mlflow.register_model, "", "model registered")),
            mock.patch.object(verdict, "judge", self._around(verdict.judge, "", "judged")),
            mock.patch.object(release, "judge_release", self._around(release.judge_release, "", "judged")),
        ]

    def _around(self, function: Callable[..., Any], before: str, after: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.now(before)
            result = function(*arguments, **options)
            self.now(after)
            return result

        return wrapped

    def _materialise(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(lineage: Any, lake: Any, asset: Any, key: str | None, **options: Any) -> Any:
            self.target = f"{asset.name}/{key}" if key else asset.name
            result = function(lineage, lake, asset, key, **options)
            self.now("shown")
            return result

        return wrapped

    def _half_a_file(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(lake: Any, path: str, name: str, content: Path | bytes) -> Any:
            if self.moment == Moment(self.target, "half a file"):
                whole = content if isinstance(content, bytes) else content.read_bytes()
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).write_bytes(whole[: len(whole) // 2])
                self.now("half a file")
            return function(lake, path, name, content)

        return wrapped

    def _put(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(lake: Any, path: str, content: bytes) -> Any:
            replace = Path.replace

            def staged(this: Path, target: Path | str) -> Path:
                self.now("record staged")
                return replace(this, target)

            with mock.patch.object(Path, "replace", staged):
                result = function(lake, path, content)
            self.now("record")
            return result

        return wrapped


def damage(lake: Path) -> list[str]:
    """Return what a reader of a lake could trip over: files that a sidecar names and that are absent or differ."""
    found = []
    for path in sorted(lake.rglob("_record.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        for entry in record["files"]:
            stored = path.parent / record["generation"] / entry["name"]
            if not stored.is_file() or hashlib.sha256(stored.read_bytes()).hexdigest() != entry["sha256"]:
                found.append(str(stored))
    return found


def left_over(lake: Path) -> list[str]:
    """Return what no reader looks at: scratch, staged files, generations that no sidecar names."""
    wanted = {lake / "_lake.json"}
    for path in lake.rglob("_record.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        wanted |= {path, *(path.parent / record["generation"] / entry["name"] for entry in record["files"])}
    files = {path for path in lake.rglob("*") if path.is_file()} | set(lake.glob("_scratch/*"))
    return sorted(str(path.relative_to(lake)) for path in files - wanted)


def made_in_order(lake: Path) -> list[str]:
    """Return what a finished campaign made, as asset or asset/partition, in the order in which it became visible."""
    records = sorted(lake.rglob("_record.json"), key=lambda path: path.stat().st_mtime_ns)
    names = [str(path.parent.relative_to(lake)) for path in records]
    return [name.removesuffix("/all") for name in names]


def _child(moment: Moment | None, log: Path) -> int:
    """Run the command line in a fork, to be killed at a moment; return its exit status or minus the signal."""
    process = os.fork()
    if process:
        status = os.waitpid(process, 0)[1]
        return os.waitstatus_to_exitcode(status)
    code = 70
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        from lens_assets.cli import main

        for hook in Killer(moment).hooks():
            hook.start()
        code = main(["run"])
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def main_of_process(root: Path, finished_lake: Path, report: Path) -> None:
    """Kill `KILLS` children, let the last one finish, and write what was seen."""
    place = Place(root)
    os.environ.update(place.environment())
    hurry_sqlite()
    for name in ("lens_assets.cli", "lens_assets.definitions", "lens_assets.automation.driver", *HEAVY):
        importlib.import_module(name)
    seen = []
    for moment in moments(made_in_order(finished_lake)):
        status = _child(moment, root / "children.log")
        damaged = damage(place.lake) if place.lake.exists() else []
        seen.append({**asdict(moment), "status": status, "damaged": damaged})
    last = _child(None, root / "children.log")
    report.write_text(json.dumps({"kills": seen, "last": last, "left_over": left_over(place.lake)}, indent=1))


if __name__ == "__main__":
    main_of_process(*map(Path, sys.argv[1:4]))
