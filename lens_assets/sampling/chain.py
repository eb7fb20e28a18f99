"""The whole sampling chain over a survey: from the Parquet of its sky partitions to the sample of every design.

What the lineage does partition by partition and keeps in full, for rows that are too many to keep: the same models and
the same columns made in Python, but of the pool only what a design may draw is written, so that memory holds a
few partitions and the disk a fraction of the survey. Rows, and so digests, are those of the lineage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from queue import SimpleQueue

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lens_assets.campaign.stages.negatives import NegativesSettings
from lens_assets.campaign.stages.sampling import SamplingSettings
from lens_assets.lake.parquet import STREAM_COMPRESSION
from lens_assets.sampling.models import columns_read, load_project
from lens_assets.sampling.neighbourhood import in_ascending_order, source_neighbourhood
from lens_assets.sampling.pool import count_bins_table, pool_parameters
from lens_assets.sampling.sql import SourceData, connect, filesystem, run, select
from lens_assets.sampling.stratified import Sample, draw_all

CANDIDATES, REACHABLE, SWEEP = "negative_candidates", "stg_reachable_sources", "sweep_sources"
PARTITIONS_A_RUN = 4
"""Partitions whose models are run together: planning them takes as long as running them over one partition's rows."""

_NEIGHBOUR_COLUMNS = ["galaxy_id", "ra", "dec", "mag_z", "in_margin"]
_FEW_VALUES = (
    "pool", "confuser_category", "pool_without_maskbits", "confuser_category_without_maskbits",
    "brickname", "type", "type_bin", "sky_partition", "split",
)  # fmt: skip
"""Texts that repeat from row to row, worth a dictionary in Parquet."""


@dataclass(frozen=True)
class Surroundings:
    """What the sources of every partition are compared with."""

    lenses: pd.DataFrame
    contaminants: pd.DataFrame
    split_cells: pd.DataFrame


def sample_survey(
    partitions: Iterable[str],
    surroundings: Surroundings,
    positives: pd.DataFrame | pa.Table,
    negatives: NegativesSettings,
    sampling: SamplingSettings,
    folder: Path,
    workers: int = 2,
) -> Sample:
    """Return the sample of every design from the `sweep_sources` files of the partitions.

    `folder` takes the candidates, one Parquet file a group of partitions that are run together, and temporary files.
    """
    with ExitStack() as opened, ThreadPoolExecutor(workers) as pool:
        databases: SimpleQueue[duckdb.DuckDBPyConnection] = SimpleQueue()
        for _ in range(workers):
            databases.put(opened.enter_context(connect(threads=1, temporary_folder=folder / "temporary")))

        def write(paths: Sequence[str]) -> list[str]:
            database = databases.get()
            try:
                return write_candidates(paths, surroundings, negatives, folder, database)
            finally:
                databases.put(database)

        candidates = [path for written in pool.map(write, batched(partitions, workers)) for path in written]
    return draw_all(
        sampling, candidates, positives, surroundings.split_cells, negatives.nobs_z_bins, folder / "temporary"
    )


def batched(partitions: Iterable[str], workers: int) -> list[list[str]]:
    """Return the partitions in the groups in which their models are run: few partitions are shared out first."""
    files = list(partitions)
    size = max(1, min(PARTITIONS_A_RUN, len(files) // (2 * workers)))
    return [files[start : start + size] for start in range(0, len(files), size)]


def write_candidates(
    paths: Sequence[str],
    surroundings: Surroundings,
    settings: NegativesSettings,
    folder: Path,
    database: duckdb.DuckDBPyConnection,
) -> list[str]:
    """Write the candidates of some partitions, one file for all that repeat no galaxy_id, and return the files."""
    alone, together = [], []
    for path in paths:
        positions = read_positions(path)
        if has_repeated_ids(positions):
            alone.append(_Run(path, [path], neighbourhood_of(positions, surroundings, settings)))
            continue
        rows = reachable_sources(path, settings, database)
        together.append(_Run(path, rows, neighbourhood_of(positions, surroundings, settings, rows["galaxy_id"])))
    runs = [*alone, _joined(together)] if together else alone
    return [_write(part, surroundings.split_cells, settings, folder, database) for part in runs]


@dataclass(frozen=True)
class _Run:
    """What the models make candidates from, named by the first of its partitions."""

    path: str
    sources: pa.Table | list[str]
    neighbourhood: pd.DataFrame


def _joined(runs: Sequence[_Run]) -> _Run:
    sources = pa.concat_tables([part.sources for part in runs])
    return _Run(runs[0].path, sources, pd.concat([part.neighbourhood for part in runs], ignore_index=True))


def _write(
    made_from: _Run,
    split_cells: pd.DataFrame,
    settings: NegativesSettings,
    folder: Path,
    database: duckdb.DuckDBPyConnection,
) -> str:
    sources: dict[str, SourceData] = {
        SWEEP: made_from.sources,
        "source_neighbourhood": made_from.neighbourhood,
        "split_cells": split_cells,
        "nobs_z_bins": count_bins_table(settings.nobs_z_bins),
    }
    made = run(load_project(), [CANDIDATES], sources, pool_parameters(settings), connection=database)
    target = folder / f"{CANDIDATES}-{Path(made_from.path).stem}.parquet"
    options = {"compression": STREAM_COMPRESSION, "use_dictionary": list(_FEW_VALUES), "write_statistics": False}
    pq.write_table(made.tables[CANDIDATES], target, **options)
    return str(target)


def reachable_sources(path: str, settings: NegativesSettings, database: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the own rows of a partition that some pool may hold; columns that no candidate is made from are null."""
    project = load_project()
    source, read = project.sources[SWEEP], _columns_of_candidates()
    narrow = replace(source, columns={name: source.columns[name] for name in read})
    seen = replace(project, sources={**project.sources, SWEEP: narrow})
    rows = select(seen, REACHABLE, {SWEEP: [path]}, pool_parameters(settings), database)
    for name in source.columns:
        if name not in read:
            rows = rows.append_column(name, pa.nulls(len(rows)))
    return rows


@cache
def _columns_of_candidates() -> tuple[str, ...]:
    return columns_read(load_project(), CANDIDATES, SWEEP)


def candidate_neighbourhood(path: str, surroundings: Surroundings, settings: NegativesSettings) -> pd.DataFrame:
    """Return what the surroundings say of the partition's own sources that are bright enough for any pool."""
    return neighbourhood_of(read_positions(path), surroundings, settings)


def read_positions(path: str) -> pd.DataFrame:
    """Return of every row of a partition, margin included, what its neighbourhood is made from.

    Texts stay in Arrow: only those of few rows are ever looked at one by one.
    """
    files, inside = filesystem(path)
    table = pq.read_table(inside, columns=_NEIGHBOUR_COLUMNS, filesystem=files, use_threads=False)
    table = table.set_column(0, "galaxy_id", table["galaxy_id"].cast(pa.string()))
    return table.to_pandas(types_mapper={pa.string(): pd.ArrowDtype(pa.string())}.get, ignore_metadata=True)


def neighbourhood_of(
    positions: pd.DataFrame,
    surroundings: Surroundings,
    settings: NegativesSettings,
    reachable: pa.ChunkedArray | None = None,
) -> pd.DataFrame:
    """Return the neighbourhood of the own sources, of `read_positions`, that are bright enough for any pool.

    Only of those whose galaxy_id is `reachable`, where that is known.
    """
    wanted = positions["mag_z"].to_numpy(float) < settings.filters.mag_z_max
    wanted &= ~positions["in_margin"].to_numpy(bool)
    if reachable is not None:
        rows = np.flatnonzero(wanted)
        wanted[rows] = pc.is_in(pa.array(positions["galaxy_id"].iloc[rows]), value_set=reachable)
    return source_neighbourhood(positions, surroundings.lenses, surroundings.contaminants, settings, wanted)


def has_repeated_ids(positions: pd.DataFrame) -> bool:
    """Say whether two own rows of `read_positions` have one galaxy_id; cheap where rows are sorted by it."""
    ids = positions["galaxy_id"]
    margin = positions["in_margin"].to_numpy(bool)
    if margin.any():
        ids = ids[~margin]
    return not in_ascending_order(ids) and not ids.is_unique


def neighbourhood_table(neighbourhood: pd.DataFrame) -> pa.Table:
    """Return a neighbourhood with the types that `sources.yml` declares, whatever it holds."""
    types = {"varchar": pa.string(), "double": pa.float64(), "bigint": pa.int64()}
    columns = load_project().sources["source_neighbourhood"].columns
    schema = pa.schema([(name, types[kind]) for name, (kind, _) in columns.items()])
    return pa.Table.from_pandas(neighbourhood[schema.names], schema=schema, preserve_index=False)
