"""Dagster's own daemon on a miniature, `python -m <this module>`: it looks every second, not every thirty."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from lens_assets.environment import PROJECT_ROOT
from lens_assets_tests.end_to_end.miniature import Place

if TYPE_CHECKING:
    import dagster as dg

Found = TypeVar("Found")
PATIENCE_SECONDS = 180.0


@contextmanager
def running_daemon(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon in a process of its own and stop it, and what it started, at the end."""
    with (place.root / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=place.process_environment(),
            cwd=PROJECT_ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(place: Place, wanted: str, look: Callable[[], Found | None]) -> Found:
    """Look until something is found; fail with the daemon's log if it does not come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.3)
    log = (place.root / "daemon.log").read_text(encoding="utf-8", errors="replace")
    raise AssertionError(f"waited {PATIENCE_SECONDS:.0f} s for {wanted}; the daemon said:\n{log[-6000:]}")


def ticks(instance: dg.DagsterInstance, sensor: str) -> list[Any]:
    """Return every look that a sensor has taken so far."""
    states = [state for state in instance.all_instigator_state() if state.instigator_name == sensor]
    return [tick for state in states for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id)]


if __name__ == "__main__":
    from dagster._daemon import controller, sensor
    from dagster._daemon.cli import create_dagster_daemon_cli

    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
    sensor.MIN_INTERVAL_LOOP_TIME = 1
    create_dagster_daemon_cli()(["run", "-m", "lens_assets_tests.end_to_end.quick_definitions"])
