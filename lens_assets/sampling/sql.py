"""Runs SQL models in DuckDB over frames, Arrow tables or Parquet files, with the tests that stand beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import duckdb
import pandas as pd
import pyarrow as pa
from sqlglot import exp

from lens_assets.sampling.models import (
    DIALECT,
    SOURCES_FILE,
    ColumnTest,
    Model,
    ModelError,
    Parameter,
    Project,
    Source,
)

SourceData: TypeAlias = pd.DataFrame | pa.Table | Sequence[str]


class ModelTestError(AssertionError):
    """Rows of a model break a test that stands beside it."""


@dataclass
class Results:
    """What a run made: the tables of its targets, and the row count of every model it materialised."""

    tables: dict[str, pa.Table]
    row_counts: dict[str, int] = field(default_factory=dict)


def run(
    project: Project,
    targets: Sequence[str],
    sources: Mapping[str, SourceData],
    parameters: Mapping[str, Parameter],
    *,
    threads: int = 2,
    memory_limit: str = "2GB",
    temporary_folder: Path | None = None,
) -> Results:
    """Run models in DuckDB over frames, Arrow tables or Parquet files, and return the targets' tables.

    `sources` may hold models too, made before: then they are read and not run. Tests beside the targets and beside
    materialised models are run too; ModelTestError names what they found.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "memory_limit": memory_limit,
        "preserve_insertion_order": False,
    }
    if temporary_folder is not None:
        config["temp_directory"] = str(temporary_folder)
    with duckdb.connect(config=config) as connection:
        for name in project.inputs(targets, sources):
            if name not in sources:
                raise ModelError(f"models {', '.join(targets)} read {name}, which was not given")
            _register(connection, name, project.sources.get(name), sources[name])
        results = Results({})
        for name in project.upstream(targets, sources):
            _create(connection, project.models[name], parameters, table=name in targets)
            if name in targets or project.models[name].materialised:
                results.row_counts[name] = len(connection.table(name))
                _raise_failures(connection, project, name)
        results.tables = {name: connection.table(name).to_arrow_table() for name in targets}
        return results


def column_types(
    project: Project, parameters: Mapping[str, Parameter], models: Sequence[str] = ()
) -> dict[str, dict[str, str]]:
    """Return the DuckDB type of every column of the models (default all), from a run over empty tables."""
    wanted = project.upstream(models or project.models)
    with duckdb.connect() as connection:
        for name in project.inputs(wanted):
            _register(connection, name, project.sources[name], empty_source(project.sources[name]))
        found = {}
        for name in wanted:
            _create(connection, project.models[name], parameters, table=False)
            relation = connection.table(name)
            found[name] = dict(zip(relation.columns, map(str, relation.types), strict=True))
        return found


def empty_source(source: Source) -> pa.Table:
    """Return a table without rows and with the declared columns of a source."""
    with duckdb.connect() as connection:
        columns = [
            exp.alias_(exp.cast(exp.null(), kind, dialect=DIALECT), name, quoted=True)
            for name, (kind, _) in source.columns.items()
        ]
        return connection.sql(exp.select(*columns).limit(0).sql(DIALECT)).to_arrow_table()


def failed_tests(connection: duckdb.DuckDBPyConnection, project: Project, model: str) -> list[str]:
    """Return a line for each test beside a model that its rows in the connection break, with the number of rows."""
    failures = []
    for test in project.models[model].tests:
        if test.kind == "relationships" and not _exists(connection, test.to.partition(".")[0]):
            continue
        [(bad,)] = connection.sql(_failing_rows(test).sql(DIALECT)).fetchall()
        if bad:
            failures.append(f"{test}: {bad} rows fail")
    return failures


def _failing_rows(test: ColumnTest) -> exp.Select:
    column = exp.column(test.column, quoted=True)
    rows = exp.select(exp.Count(this=exp.Star())).from_(test.model)
    if test.kind == "not_null":
        return rows.where(column.is_(exp.null()))
    if test.kind == "accepted_values":
        return rows.where(exp.not_(column.isin(*test.values)))
    if test.kind == "unique":
        repeated = exp.select(column).from_(test.model).where(exp.not_(column.is_(exp.null())))
        repeated = repeated.group_by(column).having(exp.GT(this=exp.Count(this=exp.Star()), expression=exp.convert(1)))
        return exp.select(exp.Count(this=exp.Star())).from_(repeated.subquery("repeated"))
    table, _, key = test.to.partition(".")
    present = exp.select(exp.column(key, quoted=True)).from_(table)
    return rows.where(exp.and_(exp.not_(column.is_(exp.null())), exp.not_(column.isin(query=present))))


def _raise_failures(connection: duckdb.DuckDBPyConnection, project: Project, model: str) -> None:
    failures = failed_tests(connection, project, model)
    if failures:
        path = project.models[model].path.with_suffix(".yml")
        raise ModelTestError(f"{model} breaks its tests in {path}: {'; '.join(failures)}. Look at its inputs")


def _exists(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    try:
        connection.table(table)
    except duckdb.CatalogException:
        return False
    return True


def _register(connection: duckdb.DuckDBPyConnection, name: str, source: Source | None, data: SourceData) -> None:
    if isinstance(data, pd.DataFrame):
        data = pa.Table.from_pandas(data, preserve_index=False)
    relation = connection.from_arrow(data) if isinstance(data, pa.Table) else connection.read_parquet(list(data))
    if source is None:
        relation.create_view(name)
        return
    missing = [column for column in source.columns if column not in relation.columns]
    if missing:
        raise ModelError(f"table {name} lacks the columns {', '.join(missing)}; {SOURCES_FILE} says what they are")
    declared = [
        exp.alias_(exp.cast(exp.column(column, quoted=True), kind, dialect=DIALECT), column, quoted=True).sql(DIALECT)
        for column, (kind, _) in source.columns.items()
    ]
    relation.project(", ".join(declared)).create_view(name)


def _create(
    connection: duckdb.DuckDBPyConnection, model: Model, parameters: Mapping[str, Parameter], *, table: bool
) -> None:
    try:
        relation = connection.sql(model.compiled(parameters))
        if table or model.materialised:
            relation.create(model.name)
        else:
            relation.create_view(model.name)
    except duckdb.Error as error:
        raise ModelError(f"{model.path}: {error}") from error
