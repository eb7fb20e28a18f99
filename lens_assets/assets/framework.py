"""What an asset of the lineage is: a declared function from stored inputs and settings to a product.

This module knows neither Dagster nor the lake's layout: `execution.py` runs assets, `dagster_bridge.py` shows
them to Dagster. Asset modules hold thin functions decorated with `lens_asset`.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure

    from lens_assets.campaign.campaign import Campaign
    from lens_assets.lake.lake import Lake
    from lens_assets.lake.record import Record
    from lens_assets.resources.tracking import Tracking

Item = TypeVar("Item")
ProgressListener = Callable[[str, str, int, int], None]
PROGRESS_LOG_SECONDS = 10.0


@dataclass(frozen=True)
class Product:
    """What an asset makes for one partition.

    `table` is the asset's table, sorted by a stable key, or a Parquet file under `AssetRun.scratch` for a table larger
    than memory; `files` are further files (bytes, or paths under `AssetRun.scratch`, which are moved); `tables` are
    small side tables, stored as `<name>.parquet` and shown; `figures` are shown and stored but are in no digest;
    `summary` holds scalars that are shown and plotted over time; `columns` describes table columns with their units;
    `column_lineage` says for a column which columns of which inputs it is computed from; `column_types` are the
    columns of an asset that defines a table and stores none.
    """

    table: pd.DataFrame | pa.Table | Path | None = None
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    summary: Mapping[str, int | float | str | bool] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    column_lineage: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    column_types: Mapping[str, str] = field(default_factory=dict)
    markdown: str = ""
    provisional: bool = False


class NoGo(Exception):
    """Raised by a gate whose decision is not GO; carries the product with the verdict, which is stored first."""

    def __init__(self, product: Product, message: str) -> None:
        super().__init__(message)
        self.product = product


@dataclass(frozen=True)
class LensAsset:
    """The declaration of one asset; `function` computes one partition."""

    name: str
    function: Callable[[AssetRun], Product]
    group: str
    team: str
    kinds: frozenset[str]
    inputs: tuple[str, ...]
    optional_inputs: tuple[str, ...]
    settings: tuple[str, ...]
    partitions: str | None
    code_version: str
    pool: str | None
    behind: str | None
    simulated_only: bool
    outside: Callable[[Campaign, str | None], Mapping[str, str]] | None

    @property
    def description(self) -> str:
        """The docstring of the function."""
        return inspect.cleandoc(self.function.__doc__ or "")

    def __call__(self, run: AssetRun) -> Product:
        """Compute one partition without storing it."""
        return self.function(run)


def lens_asset(
    *,
    group: str,
    team: str,
    code_version: str,
    kinds: Iterable[str] = (),
    inputs: Sequence[str] = (),
    optional_inputs: Sequence[str] = (),
    settings: Sequence[str] = (),
    partitions: str | None = None,
    pool: str | None = None,
    behind: str | None = None,
    simulated_only: bool = False,
    outside: Callable[[Campaign, str | None], Mapping[str, str]] | None = None,
    name: str | None = None,
) -> Callable[[Callable[[AssetRun], Product]], LensAsset]:
    """Declare an asset of the lineage; the function's name is its key.

    `optional_inputs` may be absent. `settings` names the stages it reads; "experiments" means the partition's own
    file. `behind` names the gate that must say GO for exactly these inputs; it is an input too.
    `simulated_only` assets exist only in campaigns whose survey is simulated. `outside` returns, for a partition, the
    files outside the lake that it is made from, each with a text that changes when the file does; they count as inputs.
    """

    def declare(function: Callable[[AssetRun], Product]) -> LensAsset:
        return LensAsset(
            name=name or function.__name__,
            function=function,
            group=group,
            team=team,
            kinds=frozenset(kinds),
            inputs=(*inputs, behind) if behind and behind not in inputs else tuple(inputs),
            optional_inputs=tuple(optional_inputs),
            settings=tuple(settings),
            partitions=partitions,
            code_version=code_version,
            pool=pool,
            behind=behind,
            simulated_only=simulated_only,
            outside=outside,
        )

    return declare


class UndeclaredInputError(RuntimeError):
    """An asset read something it does not declare, which would be missing from its lineage."""


@dataclass
class AssetRun:
    """What an asset function sees: its settings, its inputs and the tools to report."""

    asset: LensAsset
    campaign: Campaign
    lake: Lake
    partition: str | None
    schemes: Mapping[str, str | None]
    scratch: Path
    tracking: Tracking
    run_id: str = ""
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("lens_assets"))
    listener: ProgressListener | None = None
    upstream: Mapping[str, str] = field(default_factory=dict)
    _last_logged: float = field(default_factory=time.monotonic, init=False)

    def partition_keys_of(self, scheme: str) -> list[str]:
        """Return the keys of a partitioning scheme of the campaign."""
        from lens_assets.partitions import partition_keys

        return partition_keys(self.campaign, scheme)

    def table(self, asset: str, partition: str | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read an input as a DataFrame.

        All its partitions are read, unless one is given or the input is partitioned as this asset is.
        """
        return self.arrow(asset, partition, columns).to_pandas()

    def arrow(self, asset: str, partition: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Read an input as an Arrow table; see `table`."""
        import pyarrow as pa

        keys = self._keys(asset, partition)
        tables = [self.lake.arrow(asset, key, columns) for key in keys]
        return pa.concat_tables(tables, promote_options="permissive") if len(tables) != 1 else tables[0]

    def side_table(self, asset: str, name: str, partition: str | None = None) -> pd.DataFrame:
        """Read a side table (`Product.tables`) of an input; every partition of it, as in `table`."""
        import pandas as pd

        keys = self._keys(asset, partition)
        frames = [self.lake.table(asset, key, name=f"{name}.parquet") for key in keys]
        return pd.concat(frames, ignore_index=True) if len(frames) != 1 else frames[0]

    def parquet_paths(self, asset: str, partition: str | None = None) -> list[str]:
        """Return the Parquet files of an input, for DuckDB or Spark."""
        return [self.lake.table_path(asset, key) for key in self._keys(asset, partition)]

    def file(self, asset: str, name: str, partition: str | None = None) -> Path:
        """Return a local path of a file of an input."""
        return self.lake.file(asset, name, self._one_key(asset, partition))

    def folder(self, asset: str, partition: str | None = None) -> Path:
        """Return a local folder with the files of an input."""
        return self.lake.folder(asset, self._one_key(asset, partition))

    def record(self, asset: str, partition: str | None = None) -> Record:
        """Return the sidecar of an input."""
        return self.lake.require(asset, self._one_key(asset, partition))

    def exists(self, asset: str, partition: str | None = None) -> bool:
        """Say whether an optional input has been written; without a partition, whether all its partitions have."""
        keys = self._keys(asset, partition)
        return all(self.lake.record(asset, key) is not None for key in keys)

    @property
    def staging(self) -> Path:
        """A folder that outlives an interrupted run of this partition and is removed once the partition is whole."""
        return self.lake.staging(self.asset.name, self.partition)

    def progress(self, items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
        """Yield the items and report how many are done."""
        count = total if total is not None else len(items) if isinstance(items, Sequence) else 0
        for done, item in enumerate(items):
            self.report_progress(description, done, count)
            yield item
        self.report_progress(description, count, count)

    def report_progress(self, description: str, done: int, total: int) -> None:
        """Report progress of work that is not a loop here; logs at most every ten seconds."""
        if self.listener is not None:
            self.listener(self.asset.name, description, done, total)
        now = time.monotonic()
        if now - self._last_logged > PROGRESS_LOG_SECONDS:
            self._last_logged = now
            self.log.info("%s: %s of %s", description, done, total or "?")

    def provenance_tags(self) -> dict[str, str]:
        """Return the tags that tie a tracked run to this materialisation: run id, settings and input digests."""
        tags = {f"input/{name}": digest[:16] for name, digest in self.upstream.items()}
        for stage in self.asset.settings:
            names = [f"experiments/{name}" for name in self._experiments()] if stage == "experiments" else [stage]
            tags |= {
                f"settings/{item}": self.campaign.settings_digest(item)[:16]
                for item in names
                if item in self.campaign.contents
            }
        return tags | {
            "campaign": self.campaign.name,
            "asset": self.asset.name,
            "partition": self.partition or "",
            "code_version": self.asset.code_version,
            "dagster/run_id": self.run_id,
        }

    def _experiments(self) -> list[str]:
        return [str(self.partition)] if self.asset.partitions == "experiment" else list(self.campaign.experiments)

    def _keys(self, asset: str, partition: str | None) -> list[str | None]:
        if asset not in (*self.asset.inputs, *self.asset.optional_inputs):
            declared = ", ".join((*self.asset.inputs, *self.asset.optional_inputs)) or "none"
            raise UndeclaredInputError(f"{self.asset.name} reads {asset} but declares only: {declared}")
        scheme = self.schemes[asset]
        if scheme is None:
            return [None]
        if partition is not None:
            return [partition]
        if scheme == self.asset.partitions:
            return [self.partition]
        return list(self.partition_keys_of(scheme))

    def _one_key(self, asset: str, partition: str | None) -> str | None:
        keys = self._keys(asset, partition)
        if len(keys) != 1:
            raise ValueError(f"{asset} has {len(keys)} partitions; name one of {', '.join(map(str, keys))}")
        return keys[0]
