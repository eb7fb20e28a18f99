"""The sampling assets: each answers to its inputs as the science says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lens_assets.assets.framework import Product
from lens_assets.assets.sampling import SQL_MODELS, negative_pool, parity_report, split_cells, stratified_sample
from lens_assets.campaign.campaign import Campaign, load_campaign
from lens_assets.definitions import build_lineage
from lens_assets.sampling.parity import EmptyPoolError
from lens_assets_tests.sampling import synthetic
from lens_assets_tests.support import run_asset


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    """The demo campaign."""
    return load_campaign("demo")


@pytest.fixture(scope="module")
def sources(campaign: Campaign) -> dict[str, pd.DataFrame]:
    """Sources of each sky partition; all in the first but for a few."""
    keys = campaign.survey.sky_partitions
    frame = synthetic.sources(1500, 31, clean=True)
    halves = {keys[0]: frame.iloc[:1400], keys[1]: frame.iloc[1400:]}
    return {key: halves.get(key, frame.iloc[:0]).assign(sky_partition=key) for key in keys}


def catalogs(**replaced: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the catalogs that the pool reads, empty but for what is given."""
    positions = pd.DataFrame({"ra": pd.Series(dtype=float), "dec": pd.Series(dtype=float)})
    contaminants = positions.assign(contaminant_id="", galaxy_id="", category="", source_catalog="", use="")
    contaminants["matched"] = pd.Series(dtype=bool)
    empty = {
        "lens_catalog": positions.assign(lens_id=pd.Series(dtype=str)),
        "spectroscopic_catalog": positions.assign(spec_id=pd.Series(dtype=str)),
        "contaminant_catalog": contaminants,
    }
    return {**empty, **replaced}


def make_pool(campaign: Campaign, sources: dict[str, pd.DataFrame], **replaced: pd.DataFrame) -> Product:
    """Run the pool of the first partition."""
    key = campaign.survey.sky_partitions[0]
    cells = synthetic.cells_of(pd.concat(sources.values(), ignore_index=True))
    inputs = {"sweep_sources": sources, "split_cells": cells, **catalogs(**replaced)}
    return run_asset(negative_pool, campaign, inputs, partition=key)


@pytest.fixture(scope="module")
def pool(campaign: Campaign, sources: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The pool without any catalog."""
    return make_pool(campaign, sources).table.to_pandas()  # type: ignore[union-attr]


def test_cells_are_those_of_own_sources(campaign: Campaign, sources: dict[str, pd.DataFrame]) -> None:
    product = run_asset(split_cells, campaign, {"sweep_sources": sources})
    frame = pd.concat(sources.values())
    assert set(product.table["healpix_128"]) == set(frame.loc[~frame["in_margin"], "healpix_128"])
    keys = dict(zip(frame["healpix_128"], frame["sky_partition"], strict=True))
    assert all(
        keys[cell] == key for cell, key in product.table[["healpix_128", "sky_partition"]].itertuples(index=False)
    )
    assert product.summary["cells"] == len(product.table)


def test_more_sky_adds_cells_and_changes_no_split(campaign: Campaign, sources: dict[str, pd.DataFrame]) -> None:
    key = campaign.survey.sky_partitions[0]
    fewer = {name: frame.iloc[:300] if name == key else frame for name, frame in sources.items()}
    small = run_asset(split_cells, campaign, {"sweep_sources": fewer}).table.set_index("healpix_128")
    large = run_asset(split_cells, campaign, {"sweep_sources": sources}).table.set_index("healpix_128")
    assert len(small) < len(large)
    assert large.loc[small.index, "split"].equals(small["split"])


def with_splits(campaign: Campaign, **changes: object) -> Campaign:
    """Return the campaign with other settings of the splits."""
    from dataclasses import replace

    from lens_assets.campaign.stages.splits import SplitsSettings

    content = campaign.contents["splits"] | changes
    settings = SplitsSettings.model_validate_json(json.dumps(content))
    return replace(campaign, stages={**campaign.stages, "splits": settings})


def test_seventy_thirty_and_contiguous_blocks_are_settings(
    campaign: Campaign, sources: dict[str, pd.DataFrame]
) -> None:
    two = with_splits(campaign, fractions={"train": 0.7, "val": 0.3, "test": 0.0})
    product = run_asset(split_cells, two, {"sweep_sources": sources})
    assert set(product.table["split"]) == {"train", "val"} and product.summary["cells_test"] == 0
    blocks = run_asset(split_cells, with_splits(campaign, hash_nside=16), {"sweep_sources": sources}).table
    by_block = blocks.groupby(blocks["healpix_128"] // 64)["split"].nunique()
    assert (by_block == 1).all() and by_block.size < len(blocks)
    assert (run_asset(split_cells, campaign, {"sweep_sources": sources}).table["u"] != blocks["u"]).any()


def test_a_source_without_a_place_on_the_sky_stops_the_splits(
    campaign: Campaign, sources: dict[str, pd.DataFrame]
) -> None:
    key = campaign.survey.sky_partitions[0]
    frame = sources[key].copy()
    frame.loc[frame.index[3], ["ra", "healpix_128"]] = [np.nan, -1]
    with pytest.raises(ValueError, match=r"1 rows have no HEALPix cell.*find out why its position is missing"):
        run_asset(split_cells, campaign, {"sweep_sources": {**sources, key: frame.assign(in_margin=False)}})


def test_a_new_lens_of_any_catalog_removes_its_neighbours(
    campaign: Campaign, sources: dict[str, pd.DataFrame], pool: pd.DataFrame
) -> None:
    target = pool[pool["is_candidate"]].iloc[0]
    for catalog, key in (("lens_catalog", "lens_id"), ("spectroscopic_catalog", "spec_id")):
        lens = pd.DataFrame({key: ["system"], "ra": [target["ra"]], "dec": [target["dec"] + 8.0 / 3600.0]})
        product = make_pool(campaign, sources, **{catalog: lens})
        after = product.table.to_pandas().set_index("galaxy_id")  # type: ignore[union-attr]
        assert not after.loc[target["galaxy_id"], "is_candidate"]
        assert after.loc[target["galaxy_id"], "exclusion_separation_arcsec"] == pytest.approx(8.0, abs=1e-6)
        assert product.summary["near_a_lens"] >= 1
        listed = product.tables["near_lenses"].set_index("galaxy_id").loc[target["galaxy_id"]]
        assert listed[["system_id", "catalog"]].tolist() == ["system", catalog]
        assert listed["separation_arcsec"] == pytest.approx(8.0, abs=1e-6)


def test_a_curated_contaminant_names_its_source(
    campaign: Campaign, sources: dict[str, pd.DataFrame], pool: pd.DataFrame
) -> None:
    target = pool[pool["pool"] == "N1"].iloc[0]
    listed = pd.DataFrame(
        {
            "contaminant_id": ["c1"], "galaxy_id": [None], "ra": [target["ra"]], "dec": [target["dec"]],
            "category": ["ring"], "source_catalog": ["list"], "use": ["contaminant"], "matched": [True],
        }
    )  # fmt: skip
    after = make_pool(campaign, sources, contaminant_catalog=listed).table.to_pandas().set_index("galaxy_id")  # type: ignore[union-attr]
    assert after.loc[target["galaxy_id"], ["pool", "confuser_category", "recipe"]].tolist() == [
        "N2",
        "ring",
        "extension",
    ]


def test_a_reviewed_lens_and_its_neighbours_are_no_negatives(
    campaign: Campaign, sources: dict[str, pd.DataFrame], pool: pd.DataFrame
) -> None:
    target = pool[pool["pool"] == "N1"].iloc[0]
    listed = pd.DataFrame(
        {
            "contaminant_id": ["r1"], "galaxy_id": [target["galaxy_id"]], "ra": [target["ra"]], "dec": [target["dec"]],
            "category": ["lens"], "source_catalog": ["review"], "use": ["exclude"], "matched": [True],
        }
    )  # fmt: skip
    product = make_pool(campaign, sources, contaminant_catalog=listed)
    after = product.table.to_pandas().set_index("galaxy_id")  # type: ignore[union-attr]
    row = after.loc[target["galaxy_id"]]
    assert pd.isna(row["pool"]) and not row["is_candidate"] and row["first_failed_filter"] == "exclusion"
    assert pd.isna(row["contaminant_category"]) and product.summary["curated_contaminants"] == 0


def test_a_partition_without_sources_is_an_empty_table(campaign: Campaign, sources: dict[str, pd.DataFrame]) -> None:
    key = campaign.survey.sky_partitions[-1]
    cells = synthetic.cells_of(sources[campaign.survey.sky_partitions[0]])
    inputs = {"sweep_sources": sources, "split_cells": cells, **catalogs()}
    full = run_asset(negative_pool, campaign, inputs, partition=campaign.survey.sky_partitions[0])
    empty = run_asset(negative_pool, campaign, inputs, partition=key)
    assert empty.table.num_rows == 0  # type: ignore[union-attr]
    assert empty.table.schema == full.table.schema  # type: ignore[union-attr]


def test_report_follows_the_pool(campaign: Campaign, pool: pd.DataFrame) -> None:
    keys = campaign.survey.sky_partitions
    whole = {keys[0]: pool, **dict.fromkeys(keys[1:], pool.iloc[:0])}
    product = run_asset(parity_report, campaign, {"negative_pool": whole})
    assert product.column_lineage["rows_left"] == [("sql/parity_cascade", "rows_left")]
    assert product.summary["sources"] == len(pool)
    assert product.summary["candidates"] == pool["is_candidate"].sum()
    assert set(product.figures) == {"alternative_first", "breakdown", "cascade", "confusers"}
    half = run_asset(parity_report, campaign, {"negative_pool": {**whole, keys[0]: pool.iloc[::2]}})
    assert half.summary["sources"] == len(pool.iloc[::2])


def test_sample_follows_lenses_and_pool(
    campaign: Campaign, sources: dict[str, pd.DataFrame], pool: pd.DataFrame
) -> None:
    keys = campaign.survey.sky_partitions
    cells = synthetic.cells_of(pd.concat(sources.values(), ignore_index=True))
    lenses = synthetic.positives(sources[keys[0]], 40, cells)
    pools = {keys[0]: pool, **dict.fromkeys(keys[1:], pool.iloc[:0])}
    inputs = {"negative_pool": pools, "positives": lenses, "split_cells": cells}
    product = run_asset(stratified_sample, campaign, inputs)
    baseline = product.table[product.table["design"] == "baseline"]
    assert set(product.table["design"]) == set(campaign.sampling.drawn)
    fewer = run_asset(stratified_sample, campaign, {**inputs, "positives": lenses.iloc[20:]})
    smaller = fewer.table[fewer.table["design"] == "baseline"]
    assert (smaller["label"] == 0).sum() < (baseline["label"] == 0).sum()
    short = product.tables["shortfalls"].query("shortfall > 0")
    assert product.summary["strata_short"] == (short["pool"] == "N1").sum()
    for pool, key in (("N1", "n1_short"), ("N2", "n2_short"), ("any", "random_rows_short")):
        assert product.summary[key] == short.loc[short["pool"] == pool, "shortfall"].sum()
    deployment = campaign.sampling.drawn["deployment"]
    wanted = deployment.rows_train + deployment.rows_val + deployment.rows_test
    assert product.summary["random_rows_short"] == wanted - (product.table["design"] == "deployment").sum() > 0
    assert np.isfinite(product.table["sampling_weight"]).all()


def test_a_pool_that_is_empty_stops_the_sample_with_the_cascade(
    campaign: Campaign, sources: dict[str, pd.DataFrame], pool: pd.DataFrame
) -> None:
    keys = campaign.survey.sky_partitions
    cells = synthetic.cells_of(pd.concat(sources.values(), ignore_index=True))
    faint = pool.assign(pool=None, is_candidate=False, confuser_category=None, pass_mag_z=False)
    pools = {keys[0]: faint, **dict.fromkeys(keys[1:], pool.iloc[:0])}
    inputs = {
        "negative_pool": pools,
        "positives": synthetic.positives(sources[keys[0]], 40, cells),
        "split_cells": cells,
    }
    for asset in (parity_report, stratified_sample):
        with pytest.raises(EmptyPoolError, match=r"(?s)what each removes:.*mag_z +published"):
            run_asset(asset, campaign, {name: inputs[name] for name in asset.inputs if name in inputs})


def test_exp_lenses_are_kept_in_strata_of_their_own(
    campaign: Campaign, sources: dict[str, pd.DataFrame], pool: pd.DataFrame
) -> None:
    keys = campaign.survey.sky_partitions
    cells = synthetic.cells_of(pd.concat(sources.values(), ignore_index=True))
    lenses = synthetic.positives(sources[keys[0]], 60, cells).assign(evaluation_only=False)
    expected = lenses[lenses["matched"] & (lenses["type"] == "EXP")]
    pools = {keys[0]: pool, **dict.fromkeys(keys[1:], pool.iloc[:0])}
    inputs = {"negative_pool": pools, "positives": lenses, "split_cells": cells}
    product = run_asset(stratified_sample, campaign, inputs)
    baseline = product.table[product.table["design"] == "baseline"]
    kept = baseline[(baseline["label"] == 1) & (baseline["type"] == "EXP")]
    assert set(kept["galaxy_id"]) == set(expected["galaxy_id"]) and len(kept) > 3
    assert kept["stratum"].str.startswith("EXP|").all()
    others = baseline[(baseline["label"] == 1) & (baseline["type"] != "EXP")]
    assert not set(others["stratum"]) & set(kept["stratum"])


def test_every_model_is_an_asset_that_knows_what_it_reads(campaign: Campaign) -> None:
    by_name = {asset.name: asset for asset in SQL_MODELS}
    assert by_name["sql/negative_pool"].inputs == ("sql/int_negative_pools",)
    assert by_name["sql/negative_pool"].settings == ("negatives",)
    assert set(by_name["sql/stratified_sample"].settings) == {"negatives", "sampling"}
    product = run_asset(by_name["sql/int_negative_filters"], campaign)
    assert b"20.0" in product.files["model.sql"]  # type: ignore[operator]
    lineage = json.loads(product.files["column_lineage.json"])  # type: ignore[arg-type]
    assert lineage["pass_mag_z"] == [["sql/stg_sweep_sources", "mag_z"]]
    staged = run_asset(by_name["sql/stg_sweep_sources"], campaign)
    assert json.loads(staged.files["column_lineage.json"])["ra"] == [["sweep_sources", "ra"]]  # type: ignore[arg-type]
    assert "candidates_pass_every_filter.sql" in run_asset(by_name["sql/negative_pool"], campaign).markdown


def test_lineage_of_columns_names_assets_that_exist(campaign: Campaign) -> None:
    lineage = build_lineage(campaign)
    known = {*lineage.assets, *(f"settings/{name}" for name in campaign.contents)}
    for asset in SQL_MODELS:
        reads = run_asset(asset, campaign).column_lineage
        assert {name for pairs in reads.values() for name, _ in pairs} <= known, asset.name
    staged = run_asset(next(item for item in SQL_MODELS if item.name == "sql/stg_sweep_sources"), campaign)
    assert ("lens_catalog", "ra") in staged.column_lineage["exclusion_separation_arcsec"]
    assert ("settings/negatives", "nobs_z_bins") in staged.column_lineage["nobs_z_bin"]


def test_the_ui_shows_where_each_column_comes_from(campaign: Campaign, tmp_path: Path) -> None:
    import dagster as dg

    from lens_assets.assets.dagster_bridge import asset_definition
    from lens_assets.resources.lake import LakeResource
    from lens_assets.resources.tracking import TrackingResource

    lineage = build_lineage(campaign)
    chain = [lineage.assets[f"sql/{name}"] for name in ("stg_sweep_sources", "int_negative_filters")]
    result = dg.materialize(
        [asset_definition(lineage, asset, lambda: lineage, None) for asset in chain],
        resources={"lake": LakeResource(root=str(tmp_path)), "tracking": TrackingResource(enabled=False)},
    )
    [shown] = result.asset_materializations_for_node("sql__int_negative_filters")
    columns = shown.metadata["dagster/column_lineage"].value
    assert isinstance(columns, dg.TableColumnLineage)
    [dep] = columns.deps_by_column["pass_mag_z"]
    assert (dep.asset_key, dep.column_name) == (dg.AssetKey(["sql", "stg_sweep_sources"]), "mag_z")
    schema = shown.metadata["dagster/column_schema"].value
    assert isinstance(schema, dg.TableSchema)
    assert {column.name for column in schema.columns} == set(columns.deps_by_column)
    described = {column.name: column.description or "" for column in schema.columns}
    assert described["pass_mag_z"].endswith("(from `sql/stg_sweep_sources.mag_z`)")
    assert described["pass_mag_z"].startswith("brighter than the limit in z")
    assert all(described.values())


def test_a_definition_changes_with_a_threshold_upstream(campaign: Campaign) -> None:
    from dataclasses import replace

    negatives = campaign.negatives.model_copy(
        update={"filters": campaign.negatives.filters.model_copy(update={"mag_z_max": 19.0})}
    )
    brighter = replace(campaign, stages={**campaign.stages, "negatives": negatives})
    asset = next(item for item in SQL_MODELS if item.name == "sql/int_confuser_classes")
    before, after = run_asset(asset, campaign), run_asset(asset, brighter)
    assert before.files["model.sql"] == after.files["model.sql"], "its own text has no such threshold"
    assert before.files["chain.sha256"] != after.files["chain.sha256"], "what it reads has"
