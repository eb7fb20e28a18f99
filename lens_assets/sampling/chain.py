"""The whole sampling chain over a survey: from the Parquet of its sky partitions to the sample of every design.

What the lineage does partition by partition and keeps in full, for rows that are too many to keep: the same models and
the same columns made in Python, but of the pool only what a design may draw is written, so that memory holds two
partitions and the disk a fraction of the survey. Rows, and so digests, are those of the lineage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lens_assets.campaign.stages.negatives import NegativesSettings
from lens_assets.campaign.stages.sampling import SamplingSettings
from lens_assets.sampling.models import load_project
from lens_assets.sampling.neighbourhood import source_neighbourhood
from lens_assets.sampling.pool import count_bins_table, pool_parameters
from lens_assets.sampling.sql import filesystem, run
from lens_assets.sampling.stratified import Sample, draw_all

CANDIDATES = "negative_candidates"
_NEIGHBOUR_COLUMNS = ["galaxy_id", "ra", "dec", "mag_z", "in_margin"]


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
    neighbourhood = candidate_neighbourhood(path, surroundings, settings)
    made = run(
        load_project(),
        [CANDIDATES],
        {
            "sweep_sources": [path],
            "source_neighbourhood": neighbourhood,
            "split_cells": surroundings.split_cells,
            "nobs_z_bins": count_bins_table(settings.nobs_z_bins),
        },
        pool_parameters(settings),
        threads=1,
        temporary_folder=folder / "temporary",
    )
    table = made.tables[CANDIDATES]
    target = folder / f"{CANDIDATES}-{Path(path).stem}.parquet"
    pq.write_table(table, target, compression="lz4", use_dictionary=_texts(table.schema))
    return str(target)


def candidate_neighbourhood(path: str, surroundings: Surroundings, settings: NegativesSettings) -> pd.DataFrame:
    """Return what the surroundings say of the partition's own sources that are bright enough for any pool."""
    files, inside = filesystem(path)
    sources = pq.read_table(inside, columns=_NEIGHBOUR_COLUMNS, filesystem=files).to_pandas()
    bright = sources["mag_z"].to_numpy(float) < settings.filters.mag_z_max
    own = ~sources["in_margin"].to_numpy(bool)
    return source_neighbourhood(
        sources, surroundings.lenses, surroundings.contaminants, settings, np.asarray(bright & own)
    )


def neighbourhood_table(neighbourhood: pd.DataFrame) -> pa.Table:
    """Return a neighbourhood with the types that `sources.yml` declares, whatever it holds."""
    types = {"varchar": pa.string(), "double": pa.float64(), "bigint": pa.int64()}
    columns = load_project().sources["source_neighbourhood"].columns
    schema = pa.schema([(name, types[kind]) for name, (kind, _) in columns.items()])
    return pa.Table.from_pandas(neighbourhood[schema.names], schema=schema, preserve_index=False)


def _texts(schema: pa.Schema) -> Sequence[str]:
    return [field.name for field in schema if pa.types.is_string(field.type)]
