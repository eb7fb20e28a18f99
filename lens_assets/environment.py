"""The process environment: where state lives and how many threads a worker takes. Imported before anything heavy."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]
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

    State (Dagster's instance and MLflow's store) is kept apart for each campaign, beside its lake.
    """
    if campaign:
        os.environ["LENS_CAMPAIGN"] = campaign
    name = Path(os.environ.get("LENS_CAMPAIGN") or "demo").name
    state = Path(os.environ.setdefault(STATE_VARIABLE, str(PROJECT_ROOT / ".lens" / "state" / name)))
    os.environ.setdefault(LAKE_VARIABLE, str(PROJECT_ROOT / ".lens" / name))
    os.environ.setdefault("DAGSTER_HOME", str(PROJECT_ROOT))
    for variable, value in _WORKER_DEFAULTS.items():
        os.environ.setdefault(variable, value)
    state.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault(MLFLOW_VARIABLE, f"sqlite:///{state / 'mlflow.db'}")
