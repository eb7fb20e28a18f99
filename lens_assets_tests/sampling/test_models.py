"""The SQL models as files: documented, ordered, bound to typed parameters, and translatable to Spark."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import sqlglot
from sqlglot import exp

from lens_assets.campaign.campaign import load_campaign
from lens_assets.sampling.legacy import NO_LEGACY
from lens_assets.sampling.lrg import lrg_parameters
from lens_assets.sampling.models import (
    LAYERS,
    MARTS,
    ModelError,
    Parameter,
    bind,
    column_descriptions,
    column_lineage,
    load_project,
)
from lens_assets.sampling.pool import pool_parameters
from lens_assets.sampling.sql import ModelTestError, column_types, run
from lens_assets.sampling.stratified import design_parameters
from lens_assets_tests.sampling import synthetic

PROJECT = load_project()


@pytest.fixture(scope="module")
def parameters() -> dict[str, Parameter]:
    """Parameters of every model, from the demo's settings."""
    sampling = synthetic.sampling_settings()
    design = design_parameters("baseline", sampling.drawn["baseline"], sampling.seed)
    hosts = lrg_parameters(load_campaign("demo").host_selection)
    return {**pool_parameters(synthetic.negatives_settings()), **hosts, **design, **NO_LEGACY}


@pytest.fixture(scope="module")
def types(parameters: dict[str, Parameter]) -> dict[str, dict[str, str]]:
    """Column types of every model."""
    return column_types(PROJECT, parameters)


def test_upstream_models_come_first() -> None:
    order = list(PROJECT.models)
    for name, model in PROJECT.models.items():
        assert all(order.index(above) < order.index(name) for above in model.references if above in PROJECT.models)


def test_layers_only_read_downwards_but_for_marts_that_are_stored() -> None:
    stored = {"negative_pool", "stratified_sample", "lrg_sources", "lrg_cells", "lrg_regions"}
    for model in PROJECT.models.values():
        for above in set(model.references) & set(PROJECT.models) - stored:
            assert LAYERS.index(PROJECT.models[above].layer) <= LAYERS.index(model.layer), (model.name, above)


def test_every_column_of_every_model_is_documented(types: dict[str, dict[str, str]]) -> None:
    described = column_descriptions(PROJECT, types)
    missing = {name: [key for key, text in texts.items() if not text] for name, texts in described.items()}
    assert {name: columns for name, columns in missing.items() if columns} == {}


def test_no_yaml_documents_or_tests_a_column_that_is_not_there(types: dict[str, dict[str, str]]) -> None:
    for name, model in PROJECT.models.items():
        assert set(model.columns) <= set(types[name]), name
        assert {test.column for test in model.tests} <= set(types[name]), name


def test_stages_named_in_the_yaml_give_exactly_the_parameters_used() -> None:
    sampling = synthetic.sampling_settings()
    of_stage = {
        "negatives": set(pool_parameters(synthetic.negatives_settings())),
        "sampling": {*design_parameters("baseline", sampling.drawn["baseline"], sampling.seed), *NO_LEGACY},
        "host_selection": set(lrg_parameters(load_campaign("demo").host_selection)),
    }
    assert sum(map(len, of_stage.values())) == len(set().union(*of_stage.values())), "no name in two stages"
    used: set[str] = set()
    for model in PROJECT.models.values():
        given = set().union(*(of_stage[stage] for stage in model.settings))
        assert set(model.parameters) <= given, model.name
        assert bool(model.settings) == bool(model.parameters), model.name
        used |= set(model.parameters)
    assert used == set().union(*of_stage.values()), "no setting without effect"


def test_every_model_translates_to_spark(parameters: dict[str, Parameter]) -> None:
    for model in PROJECT.models.values():
        translated = model.compiled(parameters, "spark")
        tree = sqlglot.parse_one(translated, read="spark")
        assert not list(tree.find_all(exp.Placeholder, exp.Parameter)), model.name
    assert "SHA2(" in PROJECT.models["int_sample_candidates"].compiled(parameters, "spark")


def test_lineage_of_columns_crosses_ctes(parameters: dict[str, Parameter], types: dict[str, dict[str, str]]) -> None:
    filters = column_lineage(PROJECT, parameters, "int_negative_filters", types)
    assert filters["pass_mag_z"] == [("stg_sweep_sources", "mag_z")]
    assert ("stg_sweep_sources", "nobs_g") in filters["pass_nobs"]
    pool = column_lineage(PROJECT, parameters, "negative_pool", types)
    assert pool["confuser_category"] == [("int_negative_pools", "confuser_category")]
    pools = column_lineage(PROJECT, parameters, "int_negative_pools", types)
    assert ("int_confuser_classes", "unmasked_category") in pools["confuser_category"]


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        (20.0, "CAST(20.0 AS DOUBLE)"),
        (None, "CAST(NULL AS DOUBLE)"),
        (3, "3"),
        (True, "TRUE"),
        ("it's; drop table x --", "'it''s; drop table x --'"),
    ],
)
def test_parameters_become_typed_literals(value: Parameter, literal: str) -> None:
    tree = sqlglot.parse_one("select $limit as x", read="duckdb")
    assert bind(tree, {"limit": value}).sql("duckdb") == f"SELECT {literal} AS x"


def test_lists_of_parameters() -> None:
    tree = sqlglot.parse_one("select type in $types as x from t", read="duckdb")
    assert bind(tree, {"types": ("SER", "D'EV")}).sql("duckdb") == "SELECT type IN ('SER', 'D''EV') AS x FROM t"
    assert bind(tree, {"types": ()}).sql("duckdb") == "SELECT FALSE AS x FROM t"
    with pytest.raises(ModelError, match="expected a tuple"):
        bind(tree, {"types": "SER"})


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ModelError, match=r"parameter \$limit was not given; known: other"):
        bind(sqlglot.parse_one("select $limit", read="duckdb"), {"other": 1})


def project_of(folder: Path, **models: tuple[str, str]) -> Path:
    """Write models (SQL, YAML) into a folder's marts, with one source."""
    for layer in LAYERS:
        (folder / layer).mkdir(parents=True)
    (folder / "sources.yml").write_text("numbers:\n  description: n\n  columns:\n    n: [bigint, a number]\n")
    for name, (sql, documentation) in models.items():
        (folder / MARTS / f"{name}.sql").write_text(sql)
        (folder / MARTS / f"{name}.yml").write_text(documentation)
    return folder


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = project_of(tmp_path, a=("-- a\nselect n from numbers", "columns: {n: x}"))
    for suffix in ("sql", "yml"):
        text = (folder / MARTS / f"a.{suffix}").read_text()
        (folder / "staging" / f"a.{suffix}").write_text(text)
    with pytest.raises(ModelError, match=r"marts/a\.sql: a model of this name is there already, .*staging/a\.sql"):
        load_project(folder)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"a": ("-- a\nselect n from nowhere", "columns: {}")}, r"a\.sql: reads nowhere"),
        (
            {"a": ("-- a\nselect n from b", "columns: {}"), "b": ("-- b\nselect n from a", "columns: {}")},
            "circle: a, b",
        ),
        ({"a": ("select n from numbers", "columns: {}")}, "expected a header comment"),
        ({"a": ("-- a\nselect n from; numbers", "columns: {}")}, r"a\.sql"),
        ({"a": ("-- a\nselect n from numbers", "columns: {n: {tests: [odd]}}")}, "has the test 'odd'"),
        ({"a": ("-- a\nselect n from numbers", "colums: {n: x}")}, r"a\.yml: the model has colums; expected only"),
        ({"a": ("-- a\nselect n from numbers", "materialised: table")}, r"a\.yml: the model has materialised"),
        ({"a": ("-- a\nselect n from numbers", "columns: {n: {test: [unique]}}")}, r"a\.yml: column n has test;"),
        ({"a": ("-- a\nselect n from numbers", "columns: [n]")}, r"a\.yml: columns holds \['n'\]"),
        ({"a": ("-- a\nselect n from numbers", "")}, r"a\.yml: holds None; expected a mapping"),
        ({"a": ("-- a\nselect n from numbers", "columns: {n: [")}, r"a\.yml: is no YAML"),
    ],
)
def test_a_broken_model_is_named(tmp_path: Path, models: dict[str, tuple[str, str]], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_project(project_of(tmp_path / "sql", **models))


@pytest.mark.parametrize(
    ("test", "numbers", "passes"),
    [
        ("unique", [1, 2, None, None], True),
        ("unique", [1, 1], False),
        ("not_null", [1, 2], True),
        ("not_null", [1, None], False),
        ("{accepted_values: [1, 2]}", [1, 2, None], True),
        ("{accepted_values: [1, 2]}", [1, 3], False),
        ("{relationships: numbers.n}", [1, 2, None], True),
    ],
)
def test_tests_beside_a_model_run(tmp_path: Path, test: str, numbers: list[int | None], passes: bool) -> None:
    folder = project_of(tmp_path / "sql", a=("-- a\nselect n from numbers", f"columns: {{n: {{tests: [{test}]}}}}"))
    project = load_project(folder)
    data = pd.DataFrame({"n": pd.array(numbers, dtype="Int64")})
    if passes:
        assert run(project, ["a"], {"numbers": data}, {}).row_counts == {"a": len(numbers)}
        return
    with pytest.raises(ModelTestError, match=r"a\.n .* 1 rows fail"):
        run(project, ["a"], {"numbers": data}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("numbers:\n  descripton: n\n  columns:\n    n: [bigint, a number]\n", "table numbers has descripton"),
        ("numbers:\n  description: n\n  columns:\n    n: bigint\n", r"numbers\.n has 'bigint'; expected \[type"),
        ("numbers:\n  columns:\n    n: [bigint, a number]\n", "lacks columns or a description"),
        ("numbers: 3\n", "table numbers holds 3"),
    ],
)
def test_a_table_of_sources_that_is_misspelt_is_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = project_of(tmp_path / "sql", a=("-- a\nselect n from numbers", "columns: {}"))
    (folder / "sources.yml").write_text(text)
    with pytest.raises(ModelError, match=rf"sources\.yml: .*{message}"):
        load_project(folder)


def test_a_test_beside_a_view_is_refused_since_it_would_never_run(tmp_path: Path) -> None:
    folder = project_of(tmp_path / "sql", a=("-- a\nselect n from numbers", "columns: {n: {tests: [unique]}}"))
    for suffix in ("sql", "yml"):
        (folder / MARTS / f"a.{suffix}").rename(folder / "staging" / f"a.{suffix}")
    with pytest.raises(ModelError, match=r"a\.yml: a\.n unique would never run"):
        load_project(folder)
    (folder / "staging" / "a.yml").write_text("materialized: table\ncolumns: {n: {tests: [unique]}}")
    load_project.cache_clear()
    assert load_project(folder).models["a"].tests


def test_a_relationship_to_a_table_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    models = {"a": ("-- a\nselect n from numbers", "columns: {n: {tests: [{relationships: letters.n}]}}")}
    with pytest.raises(ModelError, match="reads letters, itself or in a test beside it"):
        load_project(project_of(tmp_path / "sql", **models))


def test_relationships_name_orphans(tmp_path: Path) -> None:
    models = {
        "a": ("-- a\nselect n + 1 as n from numbers", "columns: {n: {tests: [{relationships: numbers.n}]}}"),
    }
    project = load_project(project_of(tmp_path / "sql", **models))
    with pytest.raises(ModelTestError, match=r"a\.n relationships: 1 rows fail \(3\)"):
        run(project, ["a"], {"numbers": pd.DataFrame({"n": [1, 2]})}, {})
    with_null = pd.DataFrame({"n": pd.array([1, 2, None], dtype="Int64")})
    with pytest.raises(ModelTestError, match=r"a\.n relationships: 1 rows fail \(3\)"):
        run(project, ["a"], {"numbers": with_null}, {})


@pytest.mark.parametrize(
    ("documentation", "message"),
    [
        ("materialized: tabel\ncolumns: {}", "materialized is 'tabel'; expected table"),
        ("settings: [negativs]\ncolumns: {}", "settings name negativs; expected some of catalogs, survey, negatives"),
        ("columns: {}\ncolumns: {n: x}", "key written twice: columns"),
    ],
)
def test_what_a_model_says_of_itself_is_checked(tmp_path: Path, documentation: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_project(project_of(tmp_path / "sql", a=("-- a\nselect n from numbers", documentation)))


def test_a_table_without_a_declared_column_is_named(tmp_path: Path) -> None:
    project = load_project(project_of(tmp_path / "sql", a=("-- a\nselect n from numbers", "columns: {}")))
    with pytest.raises(ModelError, match="table numbers lacks the columns n"):
        run(project, ["a"], {"numbers": pd.DataFrame({"m": [1]})}, {})
    with pytest.raises(ModelError, match="read numbers, which was not given"):
        run(project, ["a"], {}, {})
