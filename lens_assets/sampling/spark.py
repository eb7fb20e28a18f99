"""Runs the same SQL models on Spark, translated by SQLGlot: what `sql.run` does, for rows that fill a cluster.

Every model that is materialised, and every target, is written as Parquet under one folder that all executors see, and
read back: nothing is computed twice, and results are files, not the memory of the driver. Spark hands out no
types of its own: results have those that DuckDB gives the same model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from sqlglot import exp

from lens_assets.sampling.models import ColumnTest, Model, ModelError, Parameter, Project, SingularTest, Source
from lens_assets.sampling.sql import (
    SHOWN_ROWS,
    Results,
    SomeColumns,
    SourceData,
    declared_columns,
    failing_rows,
    filesystem,
    refuse_failures,
    refuse_rows,
    required_inputs,
    result_schema,
    schema_of,
    singular_tests,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DIALECT = "spark"


@dataclass
class SparkResults:
    """What a run wrote: the Parquet folder of every target, its schema, and the rows of what was materialised."""

    folders: dict[str, str]
    schemas: dict[str, pa.Schema]
    row_counts: dict[str, int] = field(default_factory=dict)

    def files(self, name: str) -> list[str]:
        """Return the Parquet files of a target, as another run takes them."""
        return written_files(self.folders[name])

    def table(self, name: str) -> pa.Table:
        """Read the table of a target into this process, in the types that DuckDB gives it."""
        return read_folder(self.folders[name]).cast(self.schemas[name])


def run_on_spark(
    spark: SparkSession,
    project: Project,
    targets: Sequence[str],
    sources: Mapping[str, SourceData],
    parameters: Mapping[str, Parameter],
    folder: str,
) -> SparkResults:
    """Run models on Spark over frames, Arrow tables or Parquet files, and write the targets under `folder`.

    The semantics are those of `sql.run`: sources are cast to their declared types, `sources` may hold models made
    before, tests beside targets and materialised models are run, and singular tests (ModelTestError). `folder` is a
    path or a URI that the driver and all executors reach; it holds one folder a table and must not hold them before.
    """
    session = spark.newSession()
    session.conf.set("spark.sql.ansi.enabled", "true")
    for name in required_inputs(project, targets, sources):
        frame = _read(session, sources[name], f"{folder}/given_{name}")
        _declare(session, name, project.sources.get(name), frame)
    given = {name: schema_of(data) for name, data in sources.items()}
    schemas = {name: result_schema(project, parameters, name, given) for name in targets}
    results = SparkResults({}, schemas)
    for name in project.upstream(targets, sources):
        model = project.models[name]
        kept = name in targets or model.materialised
        _create(session, model, parameters, f"{folder}/{name}" if kept else None)
        if kept:
            results.row_counts[name] = _examine(session, project, name)
        if name in targets:
            results.folders[name] = f"{folder}/{name}"
    made = set(results.row_counts)
    for test in singular_tests(project, made, {*made, *project.inputs(targets, sources)}):
        refuse_rows(test, _rows_returned(session, test, parameters))
    return results


def run_and_collect(
    spark: SparkSession,
    project: Project,
    targets: Sequence[str],
    sources: Mapping[str, SourceData],
    parameters: Mapping[str, Parameter],
    folder: str,
) -> Results:
    """Run models on Spark and bring the targets into this process, as `sql.run` returns them."""
    written = run_on_spark(spark, project, targets, sources, parameters, folder)
    return Results({name: written.table(name) for name in targets}, written.row_counts)


def written_files(folder: str) -> list[str]:
    """Return the Parquet files of a folder that Spark wrote, sorted."""
    files, path = filesystem(folder)
    found = files.get_file_info(pafs.FileSelector(path))
    return sorted(f"{folder}/{info.base_name}" for info in found if info.extension == "parquet")


def read_folder(folder: str) -> pa.Table:
    """Read a folder of Parquet files that Spark wrote; ModelError where a write did not finish."""
    files, path = filesystem(folder)
    if not finished(folder):
        raise ModelError(f"{folder}: Spark has not finished writing it (no _SUCCESS in it); run the job again")
    return pads.dataset(path, filesystem=files, format="parquet").to_table()


def finished(folder: str) -> bool:
    """Say whether Spark committed a write to a folder: it puts `_SUCCESS` there last."""
    files, path = filesystem(folder)
    return bool(files.get_file_info(f"{path}/_SUCCESS").type == pafs.FileType.File)


def _read(session: SparkSession, data: SourceData, path: str) -> DataFrame:
    if isinstance(data, SomeColumns):
        return _read(session, data.data, path).select(*data.names)
    if isinstance(data, pd.DataFrame):
        data = pa.Table.from_pandas(data, preserve_index=False)
    if not isinstance(data, pa.Table):
        return session.read.parquet(*data)
    files, inside = filesystem(path)
    files.create_dir(inside, recursive=True)
    pq.write_table(data.replace_schema_metadata(None), f"{inside}/table.parquet", filesystem=files)
    return session.read.parquet(path)


def _declare(session: SparkSession, name: str, source: Source | None, frame: DataFrame) -> None:
    if source is not None:
        frame = frame.selectExpr(*declared_columns(source, frame.columns, DIALECT))
    frame.createOrReplaceTempView(name)


def _create(session: SparkSession, model: Model, parameters: Mapping[str, Parameter], folder: str | None) -> None:
    from pyspark.errors import PySparkException

    try:
        frame = session.sql(model.compiled(parameters, DIALECT))
        if folder is not None:
            frame.write.parquet(folder)
            frame = session.read.parquet(folder)
        frame.createOrReplaceTempView(model.name)
    except PySparkException as error:
        raise ModelError(f"{model.path}, on Spark: {error}") from error


def _examine(session: SparkSession, project: Project, model: str) -> int:
    """Return the rows of a model; ModelTestError where they break the tests beside it. One query for everything."""
    tests = [test for test in project.models[model].tests if _can_run(session, test)]
    rows = exp.select(exp.Count(this=exp.Star())).from_(model)
    counts = exp.select(rows.subquery(), *(failing_rows(test).subquery() for test in tests))
    [found] = session.sql(counts.sql(DIALECT)).collect()
    failures = [f"{test}: {bad} rows fail" for test, bad in zip(tests, found[1:], strict=True) if bad]
    refuse_failures(project, model, failures)
    return int(found[0])


def _rows_returned(session: SparkSession, test: SingularTest, parameters: Mapping[str, Parameter]) -> pd.DataFrame:
    from pyspark.errors import PySparkException

    try:
        found = session.sql(test.compiled(parameters, DIALECT)).limit(SHOWN_ROWS + 1).collect()
    except PySparkException as error:
        raise ModelError(f"{test.path}, on Spark: {error}") from error
    return pd.DataFrame([row.asDict() for row in found])


def _can_run(session: SparkSession, test: ColumnTest) -> bool:
    return test.kind != "relationships" or session.catalog.tableExists(test.to.partition(".")[0])
