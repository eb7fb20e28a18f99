"""The same models on DuckDB and, translated by SQLGlot, on Spark give the same tables, to the byte of their digests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.sampling import RandomDesign, StratifiedDesign
from lens_assets.lake.lake import table_digest
from lens_assets.sampling.alternatives import columns_before_classes
from lens_assets.sampling.legacy import bins_table, configurations_table, legacy_parameters
from lens_assets.sampling.lrg import PARENT_MODELS, cell_areas, flag_sources, lrg_parameters, rank_regions
from lens_assets.sampling.models import ModelError, load_project
from lens_assets.sampling.pool import count_bins_table, pool_parameters
from lens_assets.sampling.spark import SparkResults, finished, read_folder, run_on_spark
from lens_assets.sampling.sql import ModelTestError, SomeColumns, SourceData, empty_source, run
from lens_assets.sampling.stratified import condition_bins_table, design_parameters
from lens_assets_tests.sampling import synthetic
from lens_assets_tests.sampling.test_singular import with_tests

PROJECT = load_project()
SURVEY = load_campaign("dr10").sampling.drawn
EVERYTHING = {"include_exp": True, "without_maskbits": True, "ebv_max": 0.25}
DESIGNS = {
    "baseline": SURVEY["baseline"],
    "conditions": SURVEY["psf_strata"].model_copy(update=EVERYTHING),
    "confirmed": SURVEY["without_candidates"].model_copy(update={"nobs_z_bins": SURVEY["fine_nobs"].nobs_z_bins}),
    "few": RandomDesign(kind="random", purpose="test", rows_train=20, rows_val=9, rows_test=7, include_exp=True),
}
KEYS = {
    "negative_pool": ["galaxy_id", "sweep_file", "row_index"],
    "stratified_sample": ["galaxy_id"],
    "sample_strata": ["split", "stratum"],
    "legacy_sample": ["task_id"],
    "legacy_strata": ["selection_set", "legacy_split", "psf_bin", "depth_bin"],
    "parity_cascade": ["ordinal"],
    "parity_breakdown": ["dimension", "value", "ordinal"],
    "parity_bands": ["dimension", "value", "band"],
    "parity_confusers": ["category"],
    "parity_alternative": ["category", "category_alternative"],
}


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """A local Spark session."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("two-engines")
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.adaptive.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="module")
def sky() -> dict[str, pa.Table]:
    """Sources with nulls, NaN, negative flux, values on thresholds, repeated and unicode ids; cells; lenses."""
    sources = synthetic.sources(1500, 51)
    sources.loc[sources.index[40:60], "galaxy_id"] = sources["galaxy_id"].iloc[20:40].to_numpy()
    cells = synthetic.cells_of(sources)
    tables = {
        "sweep_sources": sources,
        "source_neighbourhood": synthetic.neighbourhood(sources, 51),
        "split_cells": cells,
        "positives": synthetic.positives(sources, 60, cells),
    }
    return {name: declared(name, frame) for name, frame in tables.items()}


def declared(name: str, frame: pd.DataFrame) -> pa.Table:
    """Return a frame with the types that `sources.yml` declares, NaN kept as NaN."""
    schema = empty_source(PROJECT.sources[name]).schema
    arrays = []
    for field in schema:
        values = frame[field.name].to_numpy()
        keep_nan = pa.types.is_floating(field.type) and name == "sweep_sources"
        arrays.append(pa.array(values, type=field.type, from_pandas=not keep_nan))
    return pa.Table.from_arrays(arrays, schema=schema)


def digest(name: str, table: pa.Table) -> str:
    return table_digest(table.sort_by([(key, "ascending") for key in KEYS[name]]).combine_chunks())


@pytest.fixture(scope="module")
def pool(sky: dict[str, pa.Table]) -> pa.Table:
    """The negative pool that DuckDB makes."""
    return run(PROJECT, ["negative_pool"], pool_sources(sky), pool_parameters(rules())).tables["negative_pool"]


def rules() -> Any:
    return load_campaign("dr10").negatives


def pool_sources(sky: dict[str, pa.Table]) -> dict[str, SourceData]:
    return {**sky, "nobs_z_bins": declared("nobs_z_bins", count_bins_table(rules().nobs_z_bins))}


def test_the_negative_pool_is_the_same(spark: Any, sky: dict[str, pa.Table], pool: pa.Table, tmp_path: Path) -> None:
    values = sky["sweep_sources"]["mag_z"].to_numpy()
    assert (values != values).any(), "NaN reaches the engines as NaN"
    made = run_on_spark(spark, PROJECT, ["negative_pool"], pool_sources(sky), pool_parameters(rules()), str(tmp_path))
    table = made.table("negative_pool")
    assert table.schema == pool.schema
    assert digest("negative_pool", table) == digest("negative_pool", pool)
    assert made.row_counts["negative_pool"] == pool.num_rows
    assert len(set(pool["pool"].to_pylist())) == 4
    assert not all(pool["pass_unique"].to_pylist())


@pytest.mark.parametrize("name", sorted(DESIGNS))
def test_the_sample_of_every_design_is_the_same(
    spark: Any, sky: dict[str, pa.Table], pool: pa.Table, tmp_path: Path, name: str
) -> None:
    design = DESIGNS[name]
    targets = ["stratified_sample", "sample_strata"]
    bins = design.nobs_z_bins if isinstance(design, StratifiedDesign) else rules().nobs_z_bins
    given: dict[str, SourceData] = {
        "negative_pool": pool,
        "positives": sky["positives"],
        "split_cells": sky["split_cells"],
        "nobs_z_bins": declared("nobs_z_bins", count_bins_table(bins)),
        "condition_bins": declared("condition_bins", condition_bins_table(design)),
    }
    parameters = design_parameters(name, design, 42)
    if isinstance(design, StratifiedDesign):
        parameters |= {"negatives_per_positive": 1.5}
    local = run(PROJECT, targets, given, parameters).tables
    made = run_on_spark(spark, PROJECT, targets, given, parameters, str(tmp_path))
    assert local["stratified_sample"].num_rows > 10
    for target in targets:
        table = made.table(target)
        assert table.schema == local[target].schema
        assert digest(target, table) == digest(target, local[target]), target


def test_parent_samples_and_regions_of_hosts_are_the_same(spark: Any, tmp_path: Path) -> None:
    parameters = lrg_parameters(load_campaign("demo").host_selection)
    sources = synthetic.sources(1500, 52).drop_duplicates("galaxy_id")
    given: dict[str, SourceData] = {"sweep_sources": declared("sweep_sources", sources)}
    given["lrg_cell_areas"] = cell_areas(declared("sweep_sources", sources))
    cells = run(PROJECT, ["int_lrg_cell_density"], given, parameters).tables["int_lrg_cell_density"].to_pandas()
    members = cells.loc[cells["is_dense"], ["variant", "healpix_128"]]
    given["lrg_region_cells"] = declared("lrg_region_cells", members.assign(region_id=members["healpix_128"] // 4))
    targets = ["lrg_sources", *PARENT_MODELS.values(), "lrg_cells", "int_lrg_cell_density", "lrg_regions"]
    local = run(PROJECT, targets, given, parameters).tables
    made = run_on_spark(spark, PROJECT, targets, given, parameters, str(tmp_path))
    assert local["lrg_regions"].num_rows > 20
    for target in targets:
        order = [
            name for name in ("variant", "region_id", "healpix_128", "galaxy_id") if name in local[target].schema.names
        ]
        first, second = (
            table.to_pandas().sort_values(order, ignore_index=True) for table in (local[target], made.table(target))
        )
        assert made.table(target).schema == local[target].schema, target
        pd.testing.assert_frame_equal(first, second, rtol=1e-12, check_dtype=False, obj=target)


def test_the_parity_tables_are_the_same(spark: Any, pool: pa.Table, tmp_path: Path) -> None:
    targets = [name for name in KEYS if name.startswith("parity_")]
    first = rules().model_copy(update={"confusers": rules().alternatives["first"].confusers})
    given = {"negative_pool": pool, "int_negative_filters": SomeColumns(pool, columns_before_classes(rules()))}
    local = run(PROJECT, targets, given, pool_parameters(first))
    made = run_on_spark(spark, PROJECT, targets, given, pool_parameters(first), str(tmp_path))
    for name in targets:
        assert local.tables[name].num_rows > 1
        assert digest(name, made.table(name)) == digest(name, local.tables[name]), name


def test_the_legacy_tasks_are_the_same(spark: Any, sky: dict[str, pa.Table], tmp_path: Path) -> None:
    survey = load_campaign("dr10")
    rows = sky["sweep_sources"].to_pandas().drop_duplicates("galaxy_id")
    rng = np.random.default_rng(3)
    rows["mag_z"], rows["z_minus_w1"] = rng.uniform(18.5, 21.0, len(rows)), rng.uniform(0.9, 2.2, len(rows))
    rows["r_minus_z"] = rng.uniform(0.45, 1.2, len(rows))
    rows["brickname"] = [f"{int(4 * ra)}p" if ra == ra else "none" for ra in rows["ra"]]
    flagged = flag_sources(pa.Table.from_pandas(rows, preserve_index=False), survey.host_selection)
    regions, dense = rank_regions(flagged["lrg_cells"].to_pandas(), survey.host_selection)
    design = survey.sampling.legacy["legacy"].model_copy(update={"rows_per_set_and_split": 100})
    given: dict[str, SourceData] = {
        "lrg_sources": flagged["lrg_sources"],
        "lrg_regions": pa.Table.from_pandas(regions, preserve_index=False),
        "lrg_region_cells": dense[["variant", "healpix_128", "region_id"]],
        "positives": sky["positives"],
        "legacy_bins": bins_table(design, flagged["lrg_sources"]),
        "legacy_configurations": configurations_table(design),
        "legacy_replicates": pd.DataFrame({"replicate": [0, 1]}),
    }
    targets, parameters = ["legacy_sample", "legacy_strata"], legacy_parameters("legacy", design)
    local = run(PROJECT, targets, given, parameters)
    made = run_on_spark(spark, PROJECT, targets, given, parameters, str(tmp_path))
    assert set(local.tables["legacy_sample"]["control_kind"].to_pylist()) == {None, "paired", "unpaired"}
    for name in targets:
        assert digest(name, made.table(name)) == digest(name, local.tables[name]), name


def test_singular_tests_run_on_spark(spark: Any, tmp_path: Path) -> None:
    project = load_project(with_tests(tmp_path / "sql", small="-- numbers are small\nselect n from a where n > $limit"))
    numbers: dict[str, SourceData] = {"numbers": pd.DataFrame({"n": [1, 2, 77]})}
    run_on_spark(spark, project, ["a"], numbers, {"limit": 100}, str(tmp_path / "good"))
    with pytest.raises(ModelTestError, match=r"(?s)small\.sql returns rows .*numbers are small.*77"):
        run_on_spark(spark, project, ["a"], numbers, {"limit": 5}, str(tmp_path / "bad"))


def test_tests_beside_models_run_on_spark(spark: Any, sky: dict[str, pa.Table], tmp_path: Path) -> None:
    nowhere = pool_sources(sky) | {"split_cells": sky["split_cells"].slice(0, 1)}
    with pytest.raises(ModelTestError, match=r"negative_pool\.split not_null: \d+ rows fail"):
        run_on_spark(spark, PROJECT, ["negative_pool"], nowhere, pool_parameters(rules()), str(tmp_path))


def test_what_is_missing_is_named(spark: Any, sky: dict[str, pa.Table], tmp_path: Path) -> None:
    parameters = pool_parameters(rules())
    with pytest.raises(ModelError, match="read split_cells, which was not given"):
        few = {name: data for name, data in pool_sources(sky).items() if name != "split_cells"}
        run_on_spark(spark, PROJECT, ["negative_pool"], few, parameters, str(tmp_path / "a"))
    with pytest.raises(ModelError, match="table sweep_sources lacks the columns dec"):
        less = pool_sources(sky) | {"sweep_sources": sky["sweep_sources"].drop_columns(["dec"])}
        run_on_spark(spark, PROJECT, ["negative_pool"], less, parameters, str(tmp_path / "b"))


def test_a_half_written_table_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "part-0.parquet").write_bytes(b"PAR1")
    assert not finished(str(tmp_path))
    with pytest.raises(ModelError, match="has not finished writing"):
        read_folder(str(tmp_path))
    with pytest.raises(ModelError, match="has not finished writing"):
        SparkResults({"negative_pool": str(tmp_path)}, {}).table("negative_pool")
