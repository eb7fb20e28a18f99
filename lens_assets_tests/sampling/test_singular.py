"""Singular SQL tests: the runner runs them, names what they return, and each shipped one catches what it is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from lens_assets.campaign.stages.sampling import StratifiedDesign
from lens_assets.sampling.legacy import NO_LEGACY
from lens_assets.sampling.models import ModelError, Parameter, load_project
from lens_assets.sampling.parity import parity_report
from lens_assets.sampling.pool import build_negative_pool, count_bins_table, pool_parameters
from lens_assets.sampling.sql import ModelTestError, run, singular_tests
from lens_assets.sampling.stratified import condition_bins_table, design_parameters
from lens_assets_tests.sampling import synthetic
from lens_assets_tests.sampling.test_models import project_of

PROJECT = load_project()


def parameters() -> dict[str, Parameter]:
    """Parameters of every model, from the demo's settings."""
    sampling = synthetic.sampling_settings()
    design = design_parameters("baseline", sampling.drawn["baseline"], sampling.seed)
    return {**pool_parameters(synthetic.negatives_settings()), **design, **NO_LEGACY}


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Good tables that the singular tests read."""
    rules, sampling = synthetic.negatives_settings(), synthetic.sampling_settings()
    sources = synthetic.sources(1500, 71)
    cells = synthetic.cells_of(sources)
    arrow = pa.Table.from_pandas(sources, preserve_index=False)
    pool = build_negative_pool(arrow, synthetic.neighbourhood(sources, 71), cells, rules).tables["negative_pool"]
    design = sampling.drawn["baseline"]
    assert isinstance(design, StratifiedDesign)
    lenses = synthetic.positives(sources, 60, cells)
    results = run(
        PROJECT,
        ["stratified_sample", "int_stratum_quotas", "int_draw_limits"],
        {
            "negative_pool": pool,
            "positives": lenses,
            "split_cells": cells,
            "nobs_z_bins": count_bins_table(design.nobs_z_bins),
            "condition_bins": condition_bins_table(design),
        },
        parameters(),
    )
    made = {name: table.to_pandas() for name, table in results.tables.items()}
    cascade = parity_report(pool, rules).tables["parity_cascade"]
    tasks = pd.DataFrame(
        {
            "task_id": ["a", "b", "c"], "selection_set": "set", "legacy_split": "train",
            "brickname": ["b1", "b2", "b1"], "galaxy_id": ["host", "other", "host"],
            "is_control": [False, True, True], "control_kind": [None, "unpaired", "paired"],
            "configuration_id": ["0001", None, None], "theta_e_arcsec": [0.6, 0.0, 0.0],
        }
    )  # fmt: skip
    pools = {"negative_pool": pool.to_pandas(), "parity_cascade": cascade, "positives": lenses, "legacy_sample": tasks}
    return {**made, **pools}


def rows_returned(name: str, tables: dict[str, pd.DataFrame]) -> int:
    """Run one shipped singular test over tables given by hand."""
    test = PROJECT.tests[name]
    with duckdb.connect() as connection:
        for table in test.references:
            connection.from_arrow(pa.Table.from_pandas(tables[table], preserve_index=False)).create_view(table)
        return len(connection.sql(test.compiled(parameters())).fetchall())


def no_filter_passed(pool: pd.DataFrame) -> pd.DataFrame:
    return pool.assign(pass_mag_z=False)


def masked_ordinary_negative(pool: pd.DataFrame) -> pd.DataFrame:
    return pool.assign(pass_maskbits=pool["pass_maskbits"] & (pool["pool"] != "N1"))


def category_lost(pool: pd.DataFrame) -> pd.DataFrame:
    return pool.assign(confuser_category=None)


def rows_vanish(cascade: pd.DataFrame) -> pd.DataFrame:
    return cascade.assign(rows_in=cascade["rows_in"].where(cascade["filter"] != "nobs", 0))


def one_n1_too_few(sample: pd.DataFrame) -> pd.DataFrame:
    return sample.drop(index=sample.index[sample["pool"] == "N1"][0])


def one_n2_too_many(sample: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([sample, sample[sample["pool"] == "N2"].head(1)], ignore_index=True)


def lens_drawn(sample: pd.DataFrame) -> pd.DataFrame:
    return sample.assign(label=0)


def weights_lost(sample: pd.DataFrame) -> pd.DataFrame:
    return sample.assign(sampling_weight=sample["sampling_weight"] * 2.0)


def brick_in_two_splits(tasks: pd.DataFrame) -> pd.DataFrame:
    return tasks.assign(legacy_split=["train", "train", "val"])


def control_with_an_arc(tasks: pd.DataFrame) -> pd.DataFrame:
    return tasks.assign(theta_e_arcsec=0.6)


def injected_unpaired_control(tasks: pd.DataFrame) -> pd.DataFrame:
    return tasks.assign(galaxy_id="host")


CORRUPTIONS: list[tuple[str, str, Callable[[pd.DataFrame], pd.DataFrame]]] = [
    ("candidates_pass_every_filter", "negative_pool", no_filter_passed),
    ("candidates_pass_every_filter", "negative_pool", masked_ordinary_negative),
    ("confusers_have_a_category", "negative_pool", category_lost),
    ("cascade_adds_up", "parity_cascade", rows_vanish),
    ("quotas_are_drawn", "stratified_sample", one_n1_too_few),
    ("quotas_are_drawn", "stratified_sample", one_n2_too_many),
    ("lenses_are_never_negatives", "stratified_sample", lens_drawn),
    ("weights_are_inverse_probabilities", "stratified_sample", weights_lost),
    ("legacy_splits_share_no_brick", "legacy_sample", brick_in_two_splits),
    ("legacy_controls_carry_no_arc", "legacy_sample", control_with_an_arc),
    ("legacy_controls_carry_no_arc", "legacy_sample", injected_unpaired_control),
]


@pytest.mark.parametrize(("name", "table", "corrupt"), CORRUPTIONS)
def test_each_test_passes_on_good_rows_and_returns_bad_ones(
    name: str, table: str, corrupt: Callable[[pd.DataFrame], pd.DataFrame], tables: dict[str, pd.DataFrame]
) -> None:
    assert rows_returned(name, tables) == 0
    assert rows_returned(name, {**tables, table: corrupt(tables[table])}) > 0


def test_every_shipped_test_is_shown_to_catch_something() -> None:
    assert {name for name, _, _ in CORRUPTIONS} == set(PROJECT.tests)


def test_every_shipped_test_translates_to_spark() -> None:
    for test in PROJECT.tests.values():
        assert "$" not in test.compiled(parameters(), "spark"), test.name


def with_tests(folder: Path, **texts: str) -> Path:
    """Write a project of one model with singular tests."""
    project_of(folder, a=("-- a\nselect n from numbers", "columns: {}"))
    (folder / "tests").mkdir()
    for name, text in texts.items():
        (folder / "tests" / f"{name}.sql").write_text(text)
    return folder


def test_the_runner_names_the_test_and_shows_its_rows(tmp_path: Path) -> None:
    folder = with_tests(tmp_path / "sql", small="-- numbers are small\nselect n from a where n > $limit")
    project = load_project(folder)
    data = pd.DataFrame({"n": [1, 2, 77]})
    assert run(project, ["a"], {"numbers": data}, {"limit": 100}).row_counts == {"a": 3}
    with pytest.raises(ModelTestError, match=r"(?s)small\.sql returns rows .*numbers are small\n +n\n ?77"):
        run(project, ["a"], {"numbers": data}, {"limit": 5})
    many = pd.DataFrame({"n": range(100, 120)})
    with pytest.raises(ModelTestError, match="and more than 5 rows"):
        run(project, ["a"], {"numbers": many}, {"limit": 5})


def test_a_test_runs_where_all_it_reads_is_there_and_something_of_it_was_made() -> None:
    def names(made: set[str], there: set[str]) -> set[str]:
        return {test.name for test in singular_tests(PROJECT, made, there)}

    assert names({"negative_pool"}, {"negative_pool"}) == {"candidates_pass_every_filter", "confusers_have_a_category"}
    assert names({"stratified_sample"}, {"stratified_sample", "negative_pool"}) == set(), "quotas were not kept"
    sample = {"stratified_sample", "int_stratum_quotas"}
    assert "lenses_are_never_negatives" in names(sample, sample | {"positives"})
    assert "candidates_pass_every_filter" not in names(sample, sample | {"negative_pool"}), "given, not made"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("select n from a", "expected a header comment that says what must hold"),
        ("-- no model\nselect n from numbers", r"reads numbers; expected models"),
        ("-- unknown\nselect n from a inner join b on a.n = b.n", "reads a, b; expected models"),
        ("-- broken\nselect n from a; select 1", "expected one SELECT"),
    ],
)
def test_a_broken_test_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_project(with_tests(tmp_path / "sql", odd=text))
