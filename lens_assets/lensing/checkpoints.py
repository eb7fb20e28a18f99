"""Finished batches of an interrupted rendering, kept so that the next attempt does not render them again.

A batch is one stamp file that holds its stamps and their truth. Its name is a digest of all that it depends on: rows,
host stamps, settings and the version of the code. It is written under another name and renamed when it is whole, so
that it can be trusted wherever it stands, a kill at any moment included.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lens_assets.campaign.stages.injection import InjectionSettings
from lens_assets.imaging.stamps import StampError, read_stamp_columns, read_stamps, write_stamps
from lens_assets.lensing.injection import HostReader, Progress, batch_renderer

Batch = tuple[pd.DataFrame, NDArray[np.float32]]
"""Truth rows and injected stamps (n, 3, H, W) of a batch."""


def resumed_batches(
    plan_rows: pd.DataFrame,
    read_hosts: HostReader,
    settings: InjectionSettings,
    folder: Path,
    version: str,
    progress: Progress | None = None,
) -> Iterator[Batch]:
    """Yield batches as `render_batches` does, each kept in `folder` from the moment it is rendered.

    What the folder has is not rendered again; an interruption at any moment loses the batch being rendered and no
    other. `version` names the code that renders. The folder is left to be removed once the whole is stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("*.part"):
        left.unlink()
    size = settings.renderer.batch_stamps
    with batch_renderer(settings) as render:
        for start in range(0, len(plan_rows), size):
            rows = plan_rows.iloc[start : start + size]
            hosts = read_hosts(rows["host_cutout_path"].astype(str).tolist())
            path = folder / f"{_identity(rows, hosts, settings, version)}.arrow"
            if _kept(path) is None:
                rendered = render(rows, hosts)
                _keep(path, rendered.truth, rendered.stamps)
            # Read back even when it has just been rendered, so that an interruption leaves no trace in any type.
            batch = _kept(path)
            if batch is None:
                raise StampError(f"{path} cannot be read back; is the disk sound?")
            yield batch
            if progress is not None:
                progress(min(start + size, len(plan_rows)), len(plan_rows))


def _identity(rows: pd.DataFrame, hosts: NDArray[np.float32], settings: InjectionSettings, version: str) -> str:
    digest = hashlib.sha256(f"{version}|{settings.model_dump_json()}|".encode())
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    digest.update(sink.getvalue())
    digest.update(hosts.tobytes())
    return digest.hexdigest()[:32]


def _keep(path: Path, truth: pd.DataFrame, stamps: NDArray[np.float32]) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    columns = {str(name): truth[name] for name in truth}
    write_stamps(part, truth["injection_id"].astype(str).tolist(), stamps, columns)
    part.replace(path)


def _kept(path: Path) -> Batch | None:
    """Return a kept batch, or None where there is none that can be read: a power cut may leave an empty file."""
    try:
        stamps, columns = read_stamps(path), read_stamp_columns(path)
    except StampError:
        return None
    # Taken, not mapped: the file goes while the truth is still in use.
    return columns.drop_columns(["id"]).take(pa.array(range(len(stamps)))).to_pandas(), stamps
