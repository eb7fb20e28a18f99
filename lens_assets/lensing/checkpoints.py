"""Finished parts of an interrupted rendering, kept so that the next attempt does not render them again.

Half a batch is one stamp file that holds its stamps and their truth. Its name is a digest of all that it depends on:
rows, host stamps, settings and the version of the code. It is written under another name and renamed when it is whole,
so that it can be trusted wherever it stands, a kill at any moment included.
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
from lens_assets.lensing.injection import HostReader, Progress, half_batches, render_rows, rendering_workers
from lens_assets.workers import in_order

Batch = tuple[pd.DataFrame, NDArray[np.float32]]
"""Truth rows and injected stamps (n, 3, H, W) of half a batch."""


def resumed_batches(
    plan_rows: pd.DataFrame,
    read_hosts: HostReader,
    settings: InjectionSettings,
    folder: Path,
    version: str,
    progress: Progress | None = None,
) -> Iterator[Batch]:
    """Yield what `render_batches` does, each part kept in `folder` from the moment it is rendered.

    What the folder has is not rendered again. At most one batch is being rendered at any moment, in two halves; an
    interruption loses that and no more. `version` names the code that renders. The folder is left to be removed once
    the whole is stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("*.part"):
        left.unlink()

    def finish(part: slice) -> Path:
        rows = plan_rows.iloc[part]
        hosts = read_hosts(rows["host_cutout_path"].astype(str).tolist())
        path = folder / f"{_identity(rows, hosts, settings, version)}.arrow"
        if not _is_whole(path):
            rendered = render_rows(rows, hosts, settings)
            _keep(path, rendered.truth, rendered.stamps)
        return path

    parts = half_batches(len(plan_rows), settings)
    for part, path in zip(parts, in_order(finish, parts, rendering_workers(settings)), strict=True):
        # Read back even when it has just been rendered, so that an interruption leaves no trace in any type.
        yield _kept(path)
        if progress is not None:
            progress(part.stop, len(plan_rows))


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


def _kept(path: Path) -> Batch:
    stamps, columns = read_stamps(path), read_stamp_columns(path)
    # Taken, not mapped: the file goes while the truth is still in use.
    return columns.drop_columns(["id"]).take(pa.array(range(len(stamps)))).to_pandas(), stamps


def _is_whole(path: Path) -> bool:
    """Say whether there is a kept batch that can be read: a power cut may leave an empty file."""
    try:
        read_stamp_columns(path)
    except StampError:
        return False
    return True
