"""Helpers of the tests: run one asset function on tables given by hand, without Dagster and without a lake on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lens_assets.assets.execution import Lineage
from lens_assets.assets.framework import AssetRun, LensAsset, Product
from lens_assets.campaign.campaign import Campaign
from lens_assets.lake.lake import Lake
from lens_assets.lake.record import Provenance

_FOLDERS = tempfile.TemporaryDirectory(prefix="lens-assets-tests-")
HAND_MADE = Provenance(code_version="by hand", settings={}, upstream={})


def new_folder() -> Path:
    """Return an empty folder that goes when the tests end."""
    return Path(tempfile.mkdtemp(dir=_FOLDERS.name))


def store(
    lake: Lake,
    asset: str,
    table: pd.DataFrame | pa.Table | None,
    partition: str | None = None,
    files: Mapping[str, bytes | Path] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> None:
    """Put a table and files into a lake as if `asset` had made them."""
    from lens_assets.assets.execution import parquet_bytes

    arrow = pa.Table.from_pandas(table, preserve_index=False) if isinstance(table, pd.DataFrame) else table
    side = {f"{name}.parquet": parquet_bytes(frame) for name, frame in (tables or {}).items()}
    lake.write(asset, partition, HAND_MADE, table=arrow, files={**(files or {}), **side})


def run_asset(
    asset: LensAsset,
    campaign: Campaign,
    inputs: Mapping[str, Any] | None = None,
    partition: str | None = None,
    lake: Lake | None = None,
) -> Product:
    """Compute one partition of an asset from tables by name; `inputs` values are frames or {partition: frame}.

    A table that the asset left as a Parquet file is read.

    A lake may be given instead, or in addition, when files are needed too.
    """
    from lens_assets.definitions import load_assets
    from lens_assets.resources.tracking import Tracking

    lake = lake or Lake(str(new_folder()), campaign.name)
    for name, value in (inputs or {}).items():
        for key, frame in value.items() if isinstance(value, Mapping) else [(None, value)]:
            store(lake, name, frame, key)
    lineage = Lineage(campaign, load_assets())
    run = AssetRun(
        asset=asset,
        campaign=campaign,
        lake=lake,
        partition=partition,
        schemes=lineage.schemes,
        scratch=lake.scratch(),
        tracking=Tracking.disabled(),
    )
    product = asset(run)
    return replace(product, table=pq.read_table(product.table)) if isinstance(product.table, Path) else product
