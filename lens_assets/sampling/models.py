"""The SQL models of `dbt_like_sql/`: parsed once, ordered by what they reference, bound to typed parameters.

A model is one file with one SELECT. Its header comment is its description; the YAML of the same name beside it
documents the columns it introduces and states its tests. A file of `tests/` is a singular test: a SELECT over one or
more models that must return no row. Tables made outside SQL are declared in `sources.yml`.
Parameters are written `$name` and are bound as typed literals of the syntax tree, never as text, so that the same
model compiles for DuckDB and, translated by SQLGlot, for Spark. Nothing is run here: see `sql.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlglot
import yaml
from sqlglot import exp

from lens_assets.campaign.campaign import STAGES
from lens_assets.campaign.yaml_files import load_yaml

MODELS_FOLDER = Path(__file__).resolve().parents[2] / "dbt_like_sql"
MARTS = "marts"
LAYERS = ("staging", "intermediate", MARTS)
DIALECT = "duckdb"
TESTS_FOLDER = "tests"
SOURCES_FILE = "sources.yml"
EVERY_COLUMN = "*"
_MODEL_KEYS = ("settings", "materialized", "columns")
_COLUMN_KEYS = ("description", "tests")
_SOURCE_KEYS = ("description", "columns", "reads")

Parameter = bool | int | float | str | None | tuple[int, ...] | tuple[str, ...]


class ModelError(ValueError):
    """A model, its YAML or what it was given cannot be used; the message names the file."""


@dataclass(frozen=True)
class Source:
    """A table that SQL reads and something else makes: column -> (DuckDB type, description).

    `reads` names, for a table that is no asset itself, the (asset, column) pairs that each column is made from;
    settings are assets too, settings/<stage>.
    """

    name: str
    description: str
    columns: Mapping[str, tuple[str, str]]
    reads: Mapping[str, tuple[tuple[str, str], ...]]

    def made_from(self, column: str) -> tuple[tuple[str, str], ...]:
        """Return the (asset, column) pairs a column comes from: those declared, else the asset of the same name."""
        if not self.reads:
            return ((self.name, column),)
        return self.reads.get(column, self.reads.get(EVERY_COLUMN, ()))


@dataclass(frozen=True)
class ColumnTest:
    """A test of one column: unique, not_null, accepted_values or relationships."""

    model: str
    column: str
    kind: str
    values: tuple[str, ...] = ()
    to: str = ""

    def __str__(self) -> str:
        return f"{self.model}.{self.column} {self.kind}"


@dataclass(frozen=True)
class Model:
    """One SQL file: its tree, what it reads, what it documents."""

    name: str
    layer: str
    path: Path
    text: str
    description: str
    settings: tuple[str, ...]
    references: tuple[str, ...]
    parameters: tuple[str, ...]
    materialised: bool
    columns: Mapping[str, str]
    tests: tuple[ColumnTest, ...]

    def tree(self) -> exp.Expr:
        """The syntax tree; shared, so copy it before changing it."""
        return _parse(self.path, self.text)

    def compiled(self, parameters: Mapping[str, Parameter], dialect: str = DIALECT, *, pretty: bool = False) -> str:
        """Return the SQL with parameters bound, in the given dialect."""
        given = tuple((name, parameters[name]) for name in self.parameters if name in parameters)
        return _compiled(self.path, self.text, given, dialect, pretty)


@dataclass(frozen=True)
class SingularTest:
    """One file of `tests/`: a SELECT over models that returns the rows that should not be."""

    name: str
    path: Path
    text: str
    description: str
    references: tuple[str, ...]
    parameters: tuple[str, ...]

    def compiled(self, parameters: Mapping[str, Parameter], dialect: str = DIALECT) -> str:
        """Return the SQL with parameters bound, in the given dialect."""
        return bind(_parse(self.path, self.text), parameters, self.path).sql(dialect=dialect, comments=False)


@dataclass(frozen=True)
class Project:
    """All models, upstream first, the sources they start from, and the singular tests."""

    models: Mapping[str, Model]
    sources: Mapping[str, Source]
    tests: Mapping[str, SingularTest]

    def upstream(self, targets: Iterable[str], given: Iterable[str] = ()) -> list[str]:
        """Return the models that the targets need, themselves included, in the order to run them.

        What is `given` is there already: neither it nor what only it needs is run.
        """
        there, wanted = set(given), set[str]()
        stack = list(targets)
        while stack:
            name = stack.pop()
            if name in self.models and name not in wanted and name not in there:
                wanted.add(name)
                stack += self.models[name].references
        return [name for name in self.models if name in wanted]

    def inputs(self, targets: Iterable[str], given: Iterable[str] = ()) -> list[str]:
        """Return the sources, and the models given, that the targets read, directly or not."""
        run = self.upstream(targets, given)
        read = {name for model in run for name in self.models[model].references} - set(run)
        return [name for name in (*self.sources, *self.models) if name in read]


@lru_cache(maxsize=4)
def load_project(folder: Path = MODELS_FOLDER) -> Project:
    """Parse every model of a folder; ModelError names a file whose reference nothing satisfies, or a cycle."""
    sources = _load_sources(folder / SOURCES_FILE)
    paths = [path for layer in LAYERS for path in sorted((folder / layer).glob("*.sql"))]
    _require_own_names(paths)
    models = {path.stem: _load_model(path) for path in paths}
    for model in models.values():
        named = {*model.references, *(test.to.partition(".")[0] for test in model.tests if test.to)}
        unknown = sorted(named - set(models) - set(sources))
        if unknown:
            raise ModelError(
                f"{model.path}: reads {', '.join(unknown)}, itself or in a test beside it; expected a model of "
                f"{folder} or a table of {SOURCES_FILE}"
            )
    tests = {path.stem: _load_test(path) for path in sorted((folder / TESTS_FOLDER).glob("*.sql"))}
    for test in tests.values():
        if not set(test.references) & set(models) or set(test.references) - set(models) - set(sources):
            raise ModelError(
                f"{test.path}: reads {', '.join(test.references) or 'nothing'}; expected models of {folder}, at least "
                f"one, and tables of {SOURCES_FILE}"
            )
    return Project({name: models[name] for name in _ordered(models)}, sources, tests)


def bind(tree: exp.Expr, parameters: Mapping[str, Parameter], path: Path | str = "") -> exp.Expr:
    """Replace every `$name` of a tree by a typed literal; ModelError names a parameter that was not given."""

    def replace(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.In) and isinstance(node.args.get("field"), exp.Placeholder):
            return _bound_in(node, parameters, path)
        if isinstance(node, exp.Placeholder):
            return _literal(_value(node.name, parameters, path))
        return node

    return tree.transform(replace)


def inherited_descriptions(project: Project, model: str) -> dict[str, str]:
    """Return the description of every column a model introduces or could pass on from upstream."""
    found: dict[str, str] = {}
    for name in project.inputs([model]):
        found |= {column: text for column, (_, text) in project.sources[name].columns.items() if column not in found}
    for name in project.upstream([model]):
        found |= project.models[name].columns
    return found


def column_descriptions(project: Project, types: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return the description of every column of the models; one that is passed on keeps its upstream description."""
    found = {}
    for name, columns in types.items():
        texts = inherited_descriptions(project, name)
        found[name] = {column: texts.get(column, "") for column in columns}
    return found


def column_lineage(
    project: Project, parameters: Mapping[str, Parameter], model: str, types: Mapping[str, Mapping[str, str]]
) -> dict[str, list[tuple[str, str]]]:
    """Return for every column of a model the (model or source, column) pairs it is computed from, one step up."""
    from sqlglot.lineage import lineage

    schema: dict[str, Any] = {
        name: {key: kind for key, (kind, _) in item.columns.items()} for name, item in project.sources.items()
    }
    schema |= {name: dict(columns) for name, columns in types.items()}
    tree = bind(project.models[model].tree(), parameters, model)
    nodes = lineage(None, tree, schema=schema, dialect=DIALECT)
    found = {}
    for column in types[model]:
        leaves = [leaf for leaf in nodes[column].walk() if isinstance(leaf.expression, exp.Table)]
        pairs = {(leaf.expression.name, leaf.name.rpartition(".")[2].strip('"')) for leaf in leaves}
        found[column] = sorted(pair for pair in pairs if pair[0] in schema)
    return found


def columns_read(project: Project, target: str, source: str) -> tuple[str, ...]:
    """Return the columns of a source that a model is computed from or filtered by, itself or through those above it.

    Columns that models above hand on and nothing below reads are left out. In the order of the source.
    """
    from sqlglot.optimizer.pushdown_projections import pushdown_projections
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import traverse_scope

    whole = exp.select("*").from_(target)
    for name in project.upstream([target]):
        whole = whole.with_(name, as_=project.models[name].tree().copy())
    schema: dict[str, Any] = {
        name: {key: kind for key, (kind, _) in item.columns.items()} for name, item in project.sources.items()
    }
    tree = pushdown_projections(qualify(whole, schema=schema, dialect=DIALECT))
    read: set[str] = set()
    for scope in traverse_scope(tree):
        aliases = {
            alias for alias, item in scope.sources.items() if isinstance(item, exp.Table) and item.name == source
        }
        read |= {column.name for column in scope.columns if column.table in aliases}
    return tuple(column for column in project.sources[source].columns if column in read)


def _value(name: str, parameters: Mapping[str, Parameter], path: Path | str) -> Parameter:
    if name not in parameters:
        raise ModelError(f"{path}: parameter ${name} was not given; known: {', '.join(sorted(parameters))}")
    return parameters[name]


def _literal(value: Parameter) -> exp.Expr:
    """A typed literal: numbers with a fraction, and null, are doubles."""
    if value is None or isinstance(value, float):
        return exp.cast(exp.convert(value), "double")
    if isinstance(value, tuple):
        return exp.Tuple(expressions=[exp.convert(item) for item in value])
    return exp.convert(value)


def _bound_in(node: exp.In, parameters: Mapping[str, Parameter], path: Path | str) -> exp.Expr:
    value = _value(node.args["field"].name, parameters, path)
    if not isinstance(value, tuple):
        raise ModelError(
            f"{path}: parameter ${node.args['field'].name} stands after IN; expected a tuple, got {value!r}"
        )
    if not value:
        return exp.false()
    return exp.In(this=node.this, expressions=[exp.convert(item) for item in value])


@lru_cache(maxsize=256)
def _parse(path: Path, text: str) -> exp.Expr:
    try:
        trees = sqlglot.parse(text, read=DIALECT)
    except sqlglot.errors.SqlglotError as error:
        raise ModelError(f"{path}: {error}") from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise ModelError(f"{path}: expected one SELECT")
    return trees[0]


@lru_cache(maxsize=1024)
def _compiled(path: Path, text: str, given: tuple[tuple[str, Parameter], ...], dialect: str, pretty: bool) -> str:
    """Bind and write a model once, however many partitions it is run for."""
    return bind(_parse(path, text), dict(given), path).sql(dialect=dialect, pretty=pretty, comments=False)


def _header(text: str) -> str:
    """Return the comment a file begins with, on one line."""
    lines = itertools.takewhile(lambda line: line.startswith("--"), text.splitlines())
    return " ".join(line.removeprefix("--").strip() for line in lines)


def _reads(tree: exp.Expr) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tables and the parameters that a query names, sorted."""
    aliases = {cte.alias for cte in tree.find_all(exp.CTE)}
    tables = {table.name for table in tree.find_all(exp.Table)} - aliases - {""}
    return tuple(sorted(tables)), tuple(sorted({node.name for node in tree.find_all(exp.Placeholder)}))


def _load_test(path: Path) -> SingularTest:
    text = path.read_text(encoding="utf-8")
    description = _header(text)
    if not description:
        raise ModelError(f"{path}: expected a header comment that says what must hold")
    references, parameters = _reads(_parse(path, text))
    return SingularTest(path.stem, path, text, description, references, parameters)


def _load_model(path: Path) -> Model:
    text = path.read_text(encoding="utf-8")
    description = _header(text)
    tree = _parse(path, text)
    documented = path.with_suffix(".yml")
    if not description or not documented.is_file():
        raise ModelError(f"{path}: expected a header comment and its columns documented in {documented.name}")
    content = _read_yaml(documented)
    _require_known(documented, "the model", content, _MODEL_KEYS)
    references, parameters = _reads(tree)
    columns, tests = _column_docs(path, _mapping(documented, "columns", content.get("columns")))
    kind = content.get("materialized", "view")
    if kind not in ("view", "table"):
        raise ModelError(f"{documented}: materialized is {kind!r}; expected table, or nothing for a view")
    unknown = [stage for stage in content.get("settings") or () if stage not in STAGES]
    if unknown:
        raise ModelError(f"{documented}: settings name {', '.join(unknown)}; expected some of {', '.join(STAGES)}")
    materialised = kind == "table"
    if tests and not (materialised or path.parent.name == MARTS):
        raise ModelError(
            f"{documented}: {tests[0]} would never run, since this model is a view; expected tests beside marts and "
            "models with `materialized: table` alone"
        )
    return Model(
        name=path.stem,
        layer=path.parent.name,
        path=path,
        text=text,
        description=description,
        settings=tuple(content.get("settings") or ()),
        references=references,
        parameters=parameters,
        materialised=materialised,
        columns=columns,
        tests=tests,
    )


def _require_own_names(paths: Iterable[Path]) -> None:
    """Raise ModelError for two files of one name: references could not tell them apart."""
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise ModelError(f"{path}: a model of this name is there already, {seen[path.stem]}; rename one of them")
        seen[path.stem] = path


def _read_yaml(path: Path) -> Mapping[str, Any]:
    """Return the mapping of a YAML file; ModelError for a file that is broken, empty or no mapping."""
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: is no YAML: {error}") from error
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path}: holds {content!r}; expected a mapping of names to what is said of them")
    return content


def _mapping(path: Path, what: str, content: Any) -> Mapping[str, Any]:
    if not isinstance(content, Mapping | None):
        raise ModelError(f"{path}: {what} holds {content!r}; expected a mapping")
    return content or {}


def _require_known(path: Path, what: str, content: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = [str(key) for key in content if key not in known]
    if unknown:
        raise ModelError(f"{path}: {what} has {', '.join(unknown)}; expected only {', '.join(known)}")


def _column_docs(path: Path, content: Mapping[str, Any]) -> tuple[dict[str, str], tuple[ColumnTest, ...]]:
    columns, tests = {}, []
    for column, entry in content.items():
        entry = {"description": entry} if isinstance(entry, str) else entry
        entry = _mapping(path.with_suffix(".yml"), f"column {column}", entry)
        _require_known(path.with_suffix(".yml"), f"column {column}", entry, _COLUMN_KEYS)
        if "description" in entry:
            columns[column] = entry["description"]
        for test in entry.get("tests") or ():
            tests.append(_column_test(path, column, test))
    return columns, tuple(tests)


def _column_test(path: Path, column: str, test: str | Mapping[str, Any]) -> ColumnTest:
    if test in ("unique", "not_null"):
        return ColumnTest(path.stem, column, str(test))
    if isinstance(test, Mapping) and "accepted_values" in test:
        return ColumnTest(path.stem, column, "accepted_values", values=tuple(test["accepted_values"]))
    if isinstance(test, Mapping) and "relationships" in test:
        return ColumnTest(path.stem, column, "relationships", to=test["relationships"])
    raise ModelError(
        f"{path.with_suffix('.yml')}: {column} has the test {test!r}; expected unique, not_null, "
        "accepted_values: [..] or relationships: model.column"
    )


def _load_sources(path: Path) -> dict[str, Source]:
    return {name: _load_source(path, name, entry) for name, entry in _read_yaml(path).items()}


def _load_source(path: Path, name: str, entry: Any) -> Source:
    entry = _mapping(path, f"table {name}", entry)
    _require_known(path, f"table {name}", entry, _SOURCE_KEYS)
    columns = {}
    for column, said in _mapping(path, f"columns of table {name}", entry.get("columns")).items():
        if not isinstance(said, list) or len(said) != 2:
            raise ModelError(f"{path}: column {name}.{column} has {said!r}; expected [type, description]")
        columns[column] = (str(said[0]), str(said[1]))
    if not columns or not entry.get("description"):
        raise ModelError(f"{path}: table {name} lacks columns or a description; expected both")
    reads = {column: tuple(map(_asset_column, read)) for column, read in entry.get("reads", {}).items()}
    return Source(name, entry["description"], columns, reads)


def _asset_column(text: str) -> tuple[str, str]:
    asset, _, column = text.partition(".")
    return asset, column


def _ordered(models: Mapping[str, Model]) -> list[str]:
    order: list[str] = []
    while len(order) < len(models):
        ready = [
            name
            for name, model in models.items()
            if name not in order and all(item in order or item not in models for item in model.references)
        ]
        if not ready:
            stuck = ", ".join(name for name in models if name not in order)
            raise ModelError(f"models reference one another in a circle: {stuck}")
        order += ready
    return order
