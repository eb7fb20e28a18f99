"""The whole sampling chain over a survey: from the Parquet of its sky partitions to the sample of every design.

What the lineage does partition by partition and keeps in full, for rows that are too many to keep: the same models and
the same columns made in Python, but of the pool only what a design may draw is written, so that memory holds two
partitions and the disk a fraction of the survey. Rows, and so digests, are those of the lineage.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lens_assets.campaign.stages.negatives import NegativesSettings
from lens_assets.campaign.stages.sampling import SamplingSettings
from lens_assets.sampling.models import columns_read, load_project
from lens_assets.sampling.neighbourhood import in_ascending_order, source_neighbourhood
from lens_assets.sampling.pool import count_bins_table, pool_parameters
from lens_assets.sampling.sql import filesystem, run, select
from lens_assets.sampling.stratified import Sample, draw_all

CANDIDATES, REACHABLE, SWEEP = "negative_candidates", "stg_reachable_sources", "sweep_sources"
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
    """Return the sample of every design from the `sweep_sources` files of the partitions, two at a time.

    `folder` takes the candidates, one Parquet a partition, and temporary files.
    """
    write = partial(write_candidates, surroundings=surroundings, settings=negatives, folder=folder)
    with ThreadPoolExecutor(workers) as pool:
        candidates = list(pool.map(write, partitions))
    return draw_all(
        sampling, candidates, positives, surroundings.split_cells, negatives.nobs_z_bins, folder / "temporary"
    )


def write_candidates(path: str, surroundings: Surroundings, settings: NegativesSettings, folder: Path) -> str:
    """Write the candidates of one partition and return their file."""
    project, parameters = load_project(), pool_parameters(settings)
    positions = read_positions(path)
    sources: pa.Table | list[str] = [path]
    reachable = None
    if not has_repeated_ids(positions):
        sources = reachable_sources(path, settings)
        reachable = sources["galaxy_id"]
    neighbourhood = neighbourhood_of(positions, surroundings, settings, reachable)
    del positions
    made = run(
        project,
        [CANDIDATES],
        {
            SWEEP: sources,
            "source_neighbourhood": neighbourhood,
            "split_cells": surroundings.split_cells,
            "nobs_z_bins": count_bins_table(settings.nobs_z_bins),
        },
        parameters,
        threads=1,
        temporary_folder=folder / "temporary",
    )
    target = folder / f"{CANDIDATES}-{Path(path).stem}.parquet"
    pq.write_table(made.tables[CANDIDATES], target, compression="lz4", use_dictionary=list(_FEW_VALUES))
    return str(target)


def reachable_sources(path: str, settings: NegativesSettings) -> pa.Table:
    """Return the own rows of a partition that some pool may hold; columns that no candidate is made from are null."""
    project = load_project()
    source, read = project.sources[SWEEP], _columns_of_candidates()
    narrow = replace(source, columns={name: source.columns[name] for name in read})
    seen = replace(project, sources={**project.sources, SWEEP: narrow})
    rows = select(seen, REACHABLE, {SWEEP: [path]}, pool_parameters(settings), threads=1)
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
        wanted &= np.asarray(pc.is_in(pa.array(positions["galaxy_id"]), value_set=reachable))
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
