"""The process environment: where state lives and how many threads a worker takes. Imported before anything heavy."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]
CAMPAIGNS_FOLDER = PROJECT_ROOT / "deploy" / "campaigns"
STATE_VARIABLE = "LENS_STATE_DIR"
LAKE_VARIABLE = "LENS_LAKE"
MLFLOW_VARIABLE = "LENS_MLFLOW_URI"

# glibc returns large numpy and torch temporaries to the system on every call; keeping them makes renderers and
# torch 1.5 to 3 times faster. One thread a process keeps results the same and two processes from competing.
_WORKER_DEFAULTS = {
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MPLBACKEND": "Agg",
}


def prepare(campaign: str | None = None) -> None:
    """Set what is not set: the campaign, state folder, Dagster home and worker defaults; make the state folder.

    A campaign that does not exist gets no folder: loading it says so.

    State (Dagster's instance and MLflow's store) is kept apart for each campaign, beside its lake.
    """
    if campaign:
        os.environ["LENS_CAMPAIGN"] = campaign
    folder = located_campaign(os.environ.get("LENS_CAMPAIGN") or "demo")
    name = _storage_name(folder)
    state = Path(os.environ.setdefault(STATE_VARIABLE, str(PROJECT_ROOT / ".lens" / "state" / name)))
    os.environ.setdefault(LAKE_VARIABLE, str(PROJECT_ROOT / ".lens" / name))
    os.environ.setdefault("DAGSTER_HOME", str(PROJECT_ROOT))
    for variable, value in _WORKER_DEFAULTS.items():
        os.environ.setdefault(variable, value)
    if folder.is_dir():
        state.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault(MLFLOW_VARIABLE, f"sqlite:///{state / 'mlflow.db'}")


class InUseError(RuntimeError):
    """Another process runs the same campaign on the same state folder."""


@contextmanager
def exclusive_run() -> Iterator[None]:
    """Hold the state folder's lock; InUseError names the process that holds it.

    The lock is the kernel's, so that a killed process never leaves it behind.
    """
    path = Path(os.environ[STATE_VARIABLE]) / "run.lock"
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise InUseError(
                f"{path.parent} is in use by process {lock.read().strip() or '?'}, which runs this campaign; wait for "
                "it to end, stop it, or give this run folders of its own in LENS_LAKE and LENS_STATE_DIR"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def located_campaign(campaign: str) -> Path:
    """Return the folder that a campaign's name or path stands for, whether it exists or not."""
    named = CAMPAIGNS_FOLDER / campaign
    return named if named.is_dir() else Path(campaign).expanduser().resolve()


def _storage_name(folder: Path) -> str:
    """Return the name of the campaign's folders: a campaign given by path never shares those of another of its name."""
    if folder.parent == CAMPAIGNS_FOLDER:
        return folder.name
    return f"{folder.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
