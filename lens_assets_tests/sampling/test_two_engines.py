"""The same models on DuckDB and, translated by SQLGlot, on Spark give the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lens_assets.campaign.stages.sampling import StratifiedDesign
from lens_assets.sampling.models import Parameter, load_project
from lens_assets.sampling.pool import count_bins_table, pool_parameters
from lens_assets.sampling.sql import SourceData, empty_source, run
from lens_assets.sampling.stratified import condition_bins_table, design_parameters
from lens_assets_tests.sampling import synthetic

PROJECT = load_project()


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """A local Spark session."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("two-engines")
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.codegen.wholeStage": "false",
    }
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


def on_spark(
    spark: Any,
    targets: Sequence[str],
    sources: dict[str, pa.Table],
    parameters: dict[str, Parameter],
    folder: Path,
) -> dict[str, pd.DataFrame]:
    """Run models on Spark over Parquet copies of the sources."""
    for name, table in sources.items():
        pq.write_table(table, folder / f"{name}.parquet")
        spark.read.parquet(str(folder / f"{name}.parquet")).createOrReplaceTempView(name)
    found = {}
    for name in PROJECT.upstream(targets, sources):
        made = str(folder / f"made_{name}")
        spark.sql(PROJECT.models[name].compiled(parameters, "spark")).write.parquet(made)
        spark.read.parquet(made).createOrReplaceTempView(name)
        if name in targets:
            found[name] = pq.read_table(made).to_pandas()
    return found


def declared(name: str, frame: pd.DataFrame) -> pa.Table:
    """Return a frame with the types that `sources.yml` declares."""
    schema = empty_source(PROJECT.sources[name]).schema
    return pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)


def assert_same_rows(first: pd.DataFrame, second: pd.DataFrame, keys: list[str]) -> None:
    """Compare two tables exactly, whatever their order of rows and nullable dtypes."""
    assert list(first.columns) == list(second.columns)
    left, right = (frame.sort_values(keys).reset_index(drop=True) for frame in (first, second))
    for column in left.columns:
        one, two = left[column], right[column]
        assert (one.isna() == two.isna()).all(), column
        there = one.notna()
        assert one[there].astype(object).tolist() == two[there].astype(object).tolist(), column


def test_pool_and_sample_are_the_same(spark: Any, tmp_path: Path) -> None:
    sources = synthetic.sources(1200, 51)
    cells = synthetic.cells_of(sources)
    lenses = synthetic.positives(sources, 60, cells)
    rules, sampling = synthetic.negatives_settings(), synthetic.sampling_settings()
    design = sampling.designs["baseline"]
    assert isinstance(design, StratifiedDesign)
    parameters = {**pool_parameters(rules), **design_parameters("baseline", design, sampling.seed)}
    given = {
        "sweep_sources": declared("sweep_sources", sources),
        "source_neighbourhood": declared("source_neighbourhood", synthetic.neighbourhood(sources, 51)),
        "split_cells": declared("split_cells", cells),
        "positives": declared("positives", lenses),
        "nobs_z_bins": declared("nobs_z_bins", count_bins_table(design.nobs_z_bins)),
        "condition_bins": declared("condition_bins", condition_bins_table(design)),
    }
    targets = ["negative_pool", "stratified_sample", "sample_strata"]
    on_duckdb: dict[str, SourceData] = dict(given)
    local = {name: table.to_pandas() for name, table in run(PROJECT, targets, on_duckdb, parameters).tables.items()}
    cluster = on_spark(spark, targets, given, parameters, tmp_path)
    assert_same_rows(local["negative_pool"], cluster["negative_pool"], ["galaxy_id", "row_index"])
    assert_same_rows(local["stratified_sample"], cluster["stratified_sample"], ["galaxy_id"])
    assert_same_rows(local["sample_strata"], cluster["sample_strata"], ["split", "stratum"])
