"""Runs SQL models in DuckDB over frames, Arrow tables or Parquet files, with the tests that stand beside them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from sqlglot import exp

from lens_assets.sampling.models import (
    DIALECT,
    SOURCES_FILE,
    ColumnTest,
    Model,
    ModelError,
    Parameter,
    Project,
    SingularTest,
    Source,
)

SHOWN_ROWS = 5
SHOWN_VALUES = 3
MEMORY_LIMIT = "2GB"


@dataclass(frozen=True)
class SomeColumns:
    """A table or Parquet files of which only some columns are seen, so that models may give the others anew."""

    data: pa.Table | Sequence[str]
    names: tuple[str, ...]


SourceData: TypeAlias = pd.DataFrame | pa.Table | Sequence[str] | SomeColumns


class ModelTestError(AssertionError):
    """Rows of a model break a test that stands beside it."""


@dataclass
class Results:
    """What a run made: the tables of its targets, and the row count of every model it materialised."""

    tables: dict[str, pa.Table]
    row_counts: dict[str, int] = field(default_factory=dict)


Runner: TypeAlias = Callable[
    [Project, Sequence[str], Mapping[str, SourceData], Mapping[str, Parameter]],
    Results,
]
"""An engine: project, targets, sources and parameters to results."""


def run(
    project: Project,
    targets: Sequence[str],
    sources: Mapping[str, SourceData],
    parameters: Mapping[str, Parameter],
    *,
    threads: int = 2,
    memory_limit: str = MEMORY_LIMIT,
    temporary_folder: Path | None = None,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> Results:
    """Run models in DuckDB over frames, Arrow tables or Parquet files, and return the targets' tables.

    A `connection` (of `connect`) serves many runs, one after another: opening one takes longer than a small run. What
    a run makes in it is gone afterwards. Without it the run opens one of its own, with the threads and memory given.

    `sources` may hold models too, made before: then they are read and not run. Tests beside the targets and beside
    materialised models are run too, and every singular test over tables made here; ModelTestError names what they
    found.
    """
    with _bench(connection, threads, memory_limit, temporary_folder) as database:
        _register_inputs(database, project, targets, sources)
        results = Results({})
        for name in project.upstream(targets, sources):
            _create(database, project.models[name], parameters, table=name in targets)
            if name in targets or project.models[name].materialised:
                results.row_counts[name] = len(database.table(name))
                refuse_failures(project, name, failed_tests(database, project, name))
        made = set(results.row_counts)
        for test in singular_tests(project, made, {*made, *project.inputs(targets, sources)}):
            refuse_rows(test, _rows_returned(database, test, parameters))
        results.tables = {name: database.table(name).to_arrow_table() for name in targets}
        return results


def select(
    project: Project,
    model: str,
    sources: Mapping[str, SourceData],
    parameters: Mapping[str, Parameter],
    connection: duckdb.DuckDBPyConnection,
) -> pa.Table:
    """Return the rows of one model over what it reads, as they are made: nothing is stored and no test is run."""
    with _scratch(connection):
        _register_inputs(connection, project, [model], sources)
        *above, last = project.upstream([model], sources)
        for name in above:
            _create(connection, project.models[name], parameters, table=False)
        return connection.sql(project.models[last].compiled(parameters)).to_arrow_table()


def connect(
    threads: int, memory_limit: str = MEMORY_LIMIT, temporary_folder: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a database in memory for `run` and `select`; it spills to the temporary folder."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "memory_limit": memory_limit,
        "preserve_insertion_order": False,
    }
    if temporary_folder is not None:
        config["temp_directory"] = str(temporary_folder)
    return duckdb.connect(config=config)


def required_inputs(project: Project, targets: Sequence[str], given: Iterable[str]) -> list[str]:
    """Return what the targets read from outside; ModelError names a table that was not given."""
    there = set(given)
    names = project.inputs(targets, there)
    for name in names:
        if name not in there:
            raise ModelError(f"models {', '.join(targets)} read {name}, which was not given")
    return names


def singular_tests(project: Project, made: Collection[str], there: Collection[str]) -> list[SingularTest]:
    """Return the singular tests that read a table `made` just now and nothing but tables that are `there`."""
    tests = project.tests.values()
    return [test for test in tests if set(test.references) & set(made) and set(test.references) <= set(there)]


def column_types(
    project: Project, parameters: Mapping[str, Parameter], models: Sequence[str] = ()
) -> dict[str, dict[str, str]]:
    """Return the DuckDB type of every column of the models (default all), from a run over empty tables."""
    with duckdb.connect() as connection:
        found = {}
        for name in _over_empty_tables(connection, project, parameters, models or list(project.models)):
            relation = connection.table(name)
            found[name] = dict(zip(relation.columns, map(str, relation.types), strict=True))
        return found


def result_schema(
    project: Project, parameters: Mapping[str, Parameter], model: str, given: Mapping[str, pa.Schema]
) -> pa.Schema:
    """Return the Arrow schema that DuckDB gives a model, from a run over empty tables; `given` as in `run`."""
    with duckdb.connect() as connection:
        _over_empty_tables(connection, project, parameters, [model], given)
        return connection.table(model).to_arrow_table().schema


def schema_of(data: SourceData) -> pa.Schema:
    """Return the Arrow schema of what a run is given."""
    if isinstance(data, SomeColumns):
        whole = schema_of(data.data)
        return pa.schema([whole.field(name) for name in data.names])
    if isinstance(data, pd.DataFrame):
        return pa.Schema.from_pandas(data, preserve_index=False)
    if isinstance(data, pa.Table):
        return data.schema
    files, path = filesystem(data[0])
    return pq.read_schema(path, filesystem=files)


def filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a path or URI (`s3://bucket/key`) and the path in it."""
    return pafs.FileSystem.from_uri(path) if "://" in path else (pafs.LocalFileSystem(), path)


def empty_source(source: Source) -> pa.Table:
    """Return a table without rows and with the declared columns of a source."""
    with duckdb.connect() as connection:
        columns = [
            exp.alias_(exp.cast(exp.null(), kind, dialect=DIALECT), name, quoted=True)
            for name, (kind, _) in source.columns.items()
        ]
        return connection.sql(exp.select(*columns).limit(0).sql(DIALECT)).to_arrow_table()


def declared_columns(source: Source, present: Sequence[str], dialect: str = DIALECT) -> tuple[str, ...]:
    """Return the columns of a source as SQL, each cast to its declared type; ModelError names those not `present`."""
    missing = [column for column in source.columns if column not in present]
    if missing:
        raise ModelError(
            f"table {source.name} lacks the columns {', '.join(missing)}; {SOURCES_FILE} says what they are"
        )
    return _cast_columns(tuple((column, kind) for column, (kind, _) in source.columns.items()), dialect)


@lru_cache(maxsize=64)
def _cast_columns(columns: tuple[tuple[str, str], ...], dialect: str) -> tuple[str, ...]:
    casts = (
        exp.alias_(exp.cast(exp.column(column, quoted=True), kind, dialect=DIALECT), column, quoted=True)
        for column, kind in columns
    )
    return tuple(cast.sql(dialect) for cast in casts)


def failed_tests(connection: duckdb.DuckDBPyConnection, project: Project, model: str) -> list[str]:
    """Return a line for each test beside a model that its rows in the connection break, with the number of rows."""
    failures = []
    for test in project.models[model].tests:
        if test.kind == "relationships" and not _exists(connection, test.to.partition(".")[0]):
            continue
        [(bad,)] = connection.sql(failing_rows(test).sql(DIALECT)).fetchall()
        if bad:
            shown = _values_shown(connection.sql(failing_values(test).sql(DIALECT)).fetchall())
            failures.append(f"{test}: {bad} rows fail{shown}")
    return failures


def failing_rows(test: ColumnTest) -> exp.Select:
    """Return the query that counts the rows of a model that break a test, for any engine."""
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
    known = exp.column(key, quoted=True)
    # Without the condition a single null key would let every row pass: NOT IN is then never true.
    present = exp.select(known).from_(table).where(exp.not_(known.copy().is_(exp.null())))
    return rows.where(exp.and_(exp.not_(column.is_(exp.null())), exp.not_(column.isin(query=present))))


def failing_values(test: ColumnTest) -> exp.Select:
    """Return the query of the first values in a column that break its test; a null that stands there has none."""
    column = exp.column(test.column, quoted=True)
    if test.kind == "unique":
        values = exp.select(column).from_(test.model).group_by(column)
        values = values.having(exp.GT(this=exp.Count(this=exp.Star()), expression=exp.convert(1)))
    else:
        values = exp.select(column).distinct().from_(test.model).where(failing_rows(test).args["where"].this)
    return values.order_by(column).limit(SHOWN_VALUES)


def _values_shown(rows: Sequence[tuple[object, ...]]) -> str:
    values = [str(value) for (value,) in rows if value is not None]
    return f" ({', '.join(values)}{', ...' if len(values) == SHOWN_VALUES else ''})" if values else ""


def refuse_rows(test: SingularTest, rows: pd.DataFrame) -> None:
    """Raise ModelTestError with what a singular test returned, unless that is nothing."""
    if len(rows):
        more = f" and more than {SHOWN_ROWS} rows" if len(rows) > SHOWN_ROWS else ""
        raise ModelTestError(
            f"{test.path} returns rows where it must return none: {test.description}\n"
            f"{rows.head(SHOWN_ROWS).to_string(index=False)}{more}"
        )


def refuse_failures(project: Project, model: str, failures: Sequence[str]) -> None:
    """Raise ModelTestError where a model breaks tests that stand beside it."""
    if failures:
        path = project.models[model].path.with_suffix(".yml")
        raise ModelTestError(f"{model} breaks its tests in {path}: {'; '.join(failures)}. Look at its inputs")


@contextmanager
def _bench(
    connection: duckdb.DuckDBPyConnection | None, threads: int, memory_limit: str, temporary_folder: Path | None
) -> Iterator[duckdb.DuckDBPyConnection]:
    if connection is not None:
        with _scratch(connection):
            yield connection
        return
    with connect(threads, memory_limit, temporary_folder) as own:
        yield own


@contextmanager
def _scratch(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Take back every view and table that is made inside."""
    connection.begin()
    try:
        yield
    finally:
        connection.rollback()


def _register_inputs(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    targets: Sequence[str],
    sources: Mapping[str, SourceData],
) -> None:
    for name in required_inputs(project, targets, sources):
        _register(connection, name, project.sources.get(name), sources[name])


def _over_empty_tables(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    parameters: Mapping[str, Parameter],
    models: Sequence[str],
    given: Mapping[str, pa.Schema] | None = None,
) -> list[str]:
    """Create the models, and those above them that are not given, over tables without rows; return their names."""
    there = given or {}
    wanted = project.upstream(models, there)
    for name in project.inputs(models, there):
        source = project.sources.get(name)
        _register(connection, name, source, empty_source(source) if source else there[name].empty_table())
    for name in wanted:
        _create(connection, project.models[name], parameters, table=False)
    return wanted


def _rows_returned(
    connection: duckdb.DuckDBPyConnection, test: SingularTest, parameters: Mapping[str, Parameter]
) -> pd.DataFrame:
    try:
        return connection.sql(test.compiled(parameters)).limit(SHOWN_ROWS + 1).to_df()
    except duckdb.Error as error:
        raise ModelError(f"{test.path}: {error}") from error


def _exists(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    try:
        connection.table(table)
    except duckdb.CatalogException:
        return False
    return True


def _register(connection: duckdb.DuckDBPyConnection, name: str, source: Source | None, data: SourceData) -> None:
    names = data.names if isinstance(data, SomeColumns) else ()
    data = data.data if isinstance(data, SomeColumns) else data
    if isinstance(data, pd.DataFrame):
        data = pa.Table.from_pandas(data, preserve_index=False)
    relation = connection.from_arrow(data) if isinstance(data, pa.Table) else connection.read_parquet(list(data))
    if names:
        relation = relation.select(*map(duckdb.ColumnExpression, names))
    if source is None:
        relation.create_view(name)
        return
    relation.project(", ".join(declared_columns(source, relation.columns))).create_view(name)


def _create(
    connection: duckdb.DuckDBPyConnection, model: Model, parameters: Mapping[str, Parameter], *, table: bool
) -> None:
    kind = "table" if table or model.materialised else "view"
    try:
        connection.execute(f"create {kind} {model.name} as {model.compiled(parameters)}")
    except duckdb.Error as error:
        raise ModelError(f"{model.path}: {error}") from error
