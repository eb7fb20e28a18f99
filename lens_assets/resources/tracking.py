"""MLflow, seen from the lineage: runs that are counted once, models in a registry, one champion.

Nothing that MLflow holds enters a digest: it is where people compare, not where numbers come from.
MLflow 3: https://mlflow.org/docs/latest/ml/tracking
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    from matplotlib.figure import Figure
    from mlflow.tracking import MlflowClient

STATE_VARIABLE = "LENS_STATE_DIR"
DEFAULT_STATE_FOLDER = Path(".lens") / "state"
CONTENT_TAG = "lens_assets/content"
REPLACED_TAG = "lens_assets/replaced_by"
DIGEST_TAG = "lens_assets/digest"
CHAMPION = "champion"
# Tags that tell two computations of the same content apart; they are not part of what is computed.
_VOLATILE_TAGS = frozenset({"dagster/run_id"})
_LONGEST_PARAM = 500


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level with dotted names, the form in which parameters are compared."""
    flat: dict[str, Any] = {}
    for name, value in content.items():
        key = f"{prefix}{name}"
        flat |= flatten(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return flat


@dataclass(frozen=True)
class TrackedRun:
    """One open MLflow run, or nothing where tracking is disabled: then every call does nothing."""

    client: MlflowClient | None
    run_id: str

    def metric(self, name: str, value: float, step: int = 0) -> None:
        """Record one value of a metric."""
        if self.client is not None:
            self.client.log_metric(self.run_id, name, float(value), step=step)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record several metrics at one step; NaN is left out."""
        for name, value in values.items():
            if value == value:
                self.metric(name, value, step)

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters; nested ones are flattened with dots."""
        if self.client is None:
            return
        from mlflow.entities import Param

        flat = {name: str(value)[:_LONGEST_PARAM] for name, value in flatten(values).items()}
        names = sorted(flat)
        for start in range(0, len(names), 90):
            chunk = [Param(name, flat[name]) for name in names[start : start + 90]]
            self.client.log_batch(self.run_id, params=chunk)

    def tag(self, name: str, value: str) -> None:
        """Set a tag."""
        if self.client is not None:
            self.client.set_tag(self.run_id, name, value)

    def figure(self, figure: Figure, name: str) -> None:
        """Keep a figure as `<name>.png`."""
        if self.client is not None:
            self.client.log_figure(self.run_id, figure, f"figures/{name}.png")

    def table(self, frame: pd.DataFrame, name: str) -> None:
        """Keep a table as `<name>.csv`."""
        if self.client is not None:
            self.client.log_text(self.run_id, frame.to_csv(index=False), f"tables/{name}.csv")

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep a file."""
        if self.client is not None:
            self.client.log_artifact(self.run_id, str(path), folder or None)

    def model(
        self,
        module: torch.nn.Module,
        example: np.ndarray,
        registered_name: str,
        digest: str,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Log a torch module with its signature and register it once per digest; return the version, "" if disabled.

        `example` is a batch the module accepts, float32 (N, ...); the signature is inferred from it.
        """
        if self.client is None:
            return ""
        import mlflow
        import torch
        from mlflow.models import infer_signature

        module = module.eval()
        with torch.inference_mode():
            output = module(torch.from_numpy(example)).numpy()
        with _quiet():
            logged = mlflow.pytorch.log_model(
                module,
                name=registered_name,
                input_example=example,
                signature=infer_signature(example, output),
                pip_requirements=[f"torch=={torch.__version__.split('+')[0]}"],
            )
        known = _versions(self.client, registered_name, digest)
        if known:
            return str(known[-1].version)
        with _quiet():
            wanted = {DIGEST_TAG: digest, **(tags or {})}
            version = mlflow.register_model(logged.model_uri, registered_name, tags=wanted)
        return str(version.version)


class Tracking:
    """Where runs are tracked: an MLflow backend by its URI, or nothing if `uri` is empty.

    `artifacts` is the folder of figures and models of a local backend.
    """

    def __init__(self, uri: str = "", artifacts: Path | None = None, campaign: str = "") -> None:
        self.uri = uri
        self.artifacts = artifacts
        self.campaign = campaign

    @classmethod
    def disabled(cls) -> Tracking:
        """Return tracking that records nothing."""
        return cls()

    @classmethod
    def local(cls, state_folder: Path, campaign: str) -> Tracking:
        """Return tracking in SQLite and files under a folder, which is made."""
        folder = Path(state_folder).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{folder / 'mlflow.db'}", folder / "mlflow_artifacts", campaign)

    @property
    def enabled(self) -> bool:
        """Say whether runs are recorded."""
        return bool(self.uri)

    @contextlib.contextmanager
    def start(
        self,
        experiment: str,
        name: str,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Iterator[TrackedRun]:
        """Open a run; it ends FINISHED, or FAILED with the error.

        A run is identified by what it computes: experiment, name, tags (without run ids) and parameters. Earlier
        runs of the same content, left open by a killed process or finished before a recomputation, are marked as
        replaced and set aside, so that each content is counted once.
        """
        if not self.enabled:
            yield TrackedRun(None, "")
            return
        client, experiment_id = self._open(experiment)
        content = _content_key(experiment, name, tags or {}, params or {})
        import mlflow

        with mlflow.start_run(
            experiment_id=experiment_id, run_name=name, tags={**(tags or {}), CONTENT_TAG: content}
        ) as active:
            run = TrackedRun(client, active.info.run_id)
            _set_aside(client, experiment_id, content, run.run_id)
            run.params(params or {})
            yield run

    def set_champion(self, registered_name: str, digest: str) -> str:
        """Point the alias `champion` at the version with this digest; return the version, "" if disabled."""
        if not self.enabled:
            return ""
        client = self._client()
        versions = _versions(client, registered_name, digest)
        if not versions:
            raise LookupError(
                f"no version of the registered model {registered_name} has digest {digest}; "
                "materialise its trained_model again with tracking on"
            )
        version = str(versions[-1].version)
        client.set_registered_model_alias(registered_name, CHAMPION, version)
        return version

    def registered(self, registered_name: str, digest: str) -> bool:
        """Say whether the registry holds a version with this digest."""
        return self.enabled and bool(_versions(self._client(), registered_name, digest))

    def _client(self) -> MlflowClient:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        import mlflow
        from mlflow.tracking import MlflowClient

        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        with self._lock(), _quiet():
            client = MlflowClient(self.uri, self.uri)
            client.search_experiments(max_results=1)  # the first contact creates the tables
        return client

    def _open(self, experiment: str) -> tuple[MlflowClient, str]:
        client = self._client()
        full_name = f"{self.campaign}/{experiment}" if self.campaign else experiment
        with self._lock():
            found = client.get_experiment_by_name(full_name)
            if found is not None:
                return client, str(found.experiment_id)
            location = self.artifacts.as_uri() + f"/{full_name}" if self.artifacts is not None else None
            return client, str(client.create_experiment(full_name, artifact_location=location))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one process at a time create tables or experiments of a local backend."""
        if self.artifacts is None:
            yield
            return
        self.artifacts.mkdir(parents=True, exist_ok=True)
        with (self.artifacts / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


class TrackingResource(dg.ConfigurableResource):
    """Opens tracking: an MLflow URI, else SQLite under `LENS_STATE_DIR`, else under `.lens/state`."""

    uri: str = ""
    enabled: bool = True

    def create(self, campaign_name: str) -> Tracking:
        """Return the tracking of a campaign."""
        if not self.enabled:
            return Tracking.disabled()
        if self.uri:
            return Tracking(self.uri, campaign=campaign_name)
        return Tracking.local(state_folder(), campaign_name)


def state_folder() -> Path:
    """Return the folder of what runs remember between themselves: `LENS_STATE_DIR`, else `.lens/state`."""
    return Path(os.environ.get(STATE_VARIABLE) or DEFAULT_STATE_FOLDER)


def _content_key(experiment: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> str:
    kept = {tag: value for tag, value in tags.items() if tag not in _VOLATILE_TAGS}
    content = [experiment, name, kept, flatten(params)]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _set_aside(client: MlflowClient, experiment_id: str, content: str, new_run_id: str) -> None:
    """Mark earlier runs of the same content as replaced: open ones as FAILED, and all as deleted."""
    earlier = client.search_runs([experiment_id], f"tags.`{CONTENT_TAG}` = '{content}'")
    for run in earlier:
        if run.info.run_id == new_run_id:
            continue
        client.set_tag(run.info.run_id, REPLACED_TAG, new_run_id)
        if run.info.status in ("RUNNING", "SCHEDULED"):
            client.set_terminated(run.info.run_id, status="FAILED")
        client.delete_run(run.info.run_id)


def _versions(client: MlflowClient, registered_name: str, digest: str) -> Sequence[Any]:
    found = client.search_model_versions(f"name = '{registered_name}'")
    same = [version for version in found if version.tags.get(DIGEST_TAG) == digest]
    return sorted(same, key=lambda version: int(version.version))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's and the exporter's informational output out of the log of the asset."""
    import logging
    import warnings

    loggers = [logging.getLogger(name) for name in ("mlflow", "torch.export", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
