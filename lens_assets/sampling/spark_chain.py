"""The sampling chain of `chain.py` on Spark: geometry on the executors, one sky partition a task, then the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lens_assets.campaign.stages.negatives import NegativesSettings
from lens_assets.campaign.stages.sampling import SamplingSettings
from lens_assets.sampling.chain import CANDIDATES, Surroundings, candidate_neighbourhood, neighbourhood_table
from lens_assets.sampling.models import Parameter, Project, load_project
from lens_assets.sampling.pool import count_bins_table, pool_parameters
from lens_assets.sampling.spark import run_and_collect, run_on_spark
from lens_assets.sampling.sql import Results, SourceData, filesystem
from lens_assets.sampling.stratified import Sample, draw_all

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def sample_survey_on_spark(
    spark: SparkSession,
    partitions: Sequence[str],
    surroundings: Surroundings,
    positives: pd.DataFrame | pa.Table,
    negatives: NegativesSettings,
    sampling: SamplingSettings,
    folder: str,
) -> Sample:
    """Return what `sample_survey` returns; `folder` is a path or URI that the driver and all executors reach."""
    neighbourhoods = write_neighbourhoods(spark, partitions, surroundings, negatives, f"{folder}/neighbourhood")
    candidates = write_candidates_on_spark(
        spark, partitions, neighbourhoods, surroundings.split_cells, negatives, f"{folder}/pool"
    )
    return draw_on_spark(
        spark, candidates, surroundings.split_cells, positives, negatives, sampling, f"{folder}/designs"
    )


def write_neighbourhoods(
    spark: SparkSession,
    partitions: Sequence[str],
    surroundings: Surroundings,
    settings: NegativesSettings,
    folder: str,
) -> list[str]:
    """Write what the surroundings say of each partition's sources, on the executors; return the files."""
    write = partial(write_neighbourhood, surroundings=surroundings, settings=settings, folder=folder)
    return list(spark.sparkContext.parallelize(partitions, len(partitions)).map(write).collect())


def write_neighbourhood(path: str, surroundings: Surroundings, settings: NegativesSettings, folder: str) -> str:
    """Write the neighbourhood of one partition and return its file."""
    table = neighbourhood_table(candidate_neighbourhood(path, surroundings, settings))
    target = f"{folder}/{path.rpartition('/')[2]}"
    files, inside = filesystem(target)
    files.create_dir(inside.rpartition("/")[0], recursive=True)
    pq.write_table(table, inside, filesystem=files)
    return target


def write_candidates_on_spark(
    spark: SparkSession,
    partitions: Sequence[str],
    neighbourhoods: Sequence[str],
    split_cells: pd.DataFrame,
    settings: NegativesSettings,
    folder: str,
) -> list[str]:
    """Run the models of the pool over all partitions at once and return the files of the candidates."""
    sources: dict[str, SourceData] = {
        "sweep_sources": list(partitions),
        "source_neighbourhood": list(neighbourhoods),
        "split_cells": split_cells,
        "nobs_z_bins": count_bins_table(settings.nobs_z_bins),
    }
    made = run_on_spark(spark, load_project(), [CANDIDATES], sources, pool_parameters(settings), folder)
    return made.files(CANDIDATES)


def draw_on_spark(
    spark: SparkSession,
    candidates: Sequence[str],
    split_cells: pd.DataFrame,
    positives: pd.DataFrame | pa.Table,
    negatives: NegativesSettings,
    sampling: SamplingSettings,
    folder: str,
) -> Sample:
    """Draw every design from the candidates."""

    def runner(
        project: Project, targets: Sequence[str], sources: Mapping[str, SourceData], given: Mapping[str, Parameter]
    ) -> Results:
        return run_and_collect(spark, project, targets, sources, given, f"{folder}/{given['design']}")

    return draw_all(sampling, list(candidates), positives, split_cells, negatives.nobs_z_bins, runner=runner)
