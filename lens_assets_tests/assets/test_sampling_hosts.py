"""The parent samples of hosts as assets: flags follow magnitudes and settings, regions follow the galaxies."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest

from lens_assets.assets.sampling_hosts import legacy_sample, lrg_regions, lrg_sources
from lens_assets.campaign.campaign import Campaign, load_campaign
from lens_assets.campaign.stages.host_selection import VARIANTS
from lens_assets.checks.great_expectations import validate
from lens_assets.checks.suites.sampling_hosts import SUITES
from lens_assets.lake.lake import Lake
from lens_assets_tests.sampling import synthetic
from lens_assets_tests.sampling.test_two_engines import declared
from lens_assets_tests.support import run_asset, store


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return load_campaign("demo")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return synthetic.sources(2500, 61).drop_duplicates("galaxy_id", ignore_index=True)


def run_both(campaign: Campaign, rows: pd.DataFrame, folder: str):  # type: ignore[no-untyped-def]
    """Return the products of both assets, all sources lying in the campaign's first partition; the lake holds them."""
    first, *others = campaign.survey.sky_partitions
    sources = declared("sweep_sources", rows)
    flagged = run_asset(lrg_sources, campaign, {"sweep_sources": {first: sources}}, partition=first)
    lake = Lake(folder, campaign.name)
    store(lake, "lrg_sources", flagged.table, first, tables=flagged.tables)
    for key in others:
        none = {name: table.iloc[:0] for name, table in flagged.tables.items()}
        store(lake, "lrg_sources", flagged.table.slice(0, 0), key, tables=none)
    regions = run_asset(lrg_regions, campaign, lake=lake)
    store(lake, "lrg_regions", regions.table, tables=regions.tables)
    return flagged, regions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def products(campaign: Campaign, rows: pd.DataFrame, folder: str):  # type: ignore[no-untyped-def]
    return run_both(campaign, rows, folder)


def run_legacy(campaign: Campaign, rows: pd.DataFrame, folder: str, lenses: int = 5):  # type: ignore[no-untyped-def]
    """Return the product of the legacy design over what a lake holds of the other two assets."""
    positives = synthetic.positives(rows, lenses, synthetic.cells_of(rows))
    return run_asset(legacy_sample, campaign, {"positives": positives}, lake=Lake(folder, campaign.name))


def with_legacy(campaign: Campaign, **changes: object) -> Campaign:
    """Return a campaign whose legacy design has some settings replaced, or that has none of it."""
    sampling = campaign.sampling
    legacy = {name: item.model_copy(update=changes) for name, item in sampling.legacy.items()} if changes else {}
    changed = sampling.model_copy(update={"designs": {**sampling.drawn, **legacy}})
    return replace(campaign, stages={**campaign.stages, "sampling": changed})


@pytest.fixture(scope="module")
def tasks(campaign, rows, products, folder):  # type: ignore[no-untyped-def]
    return run_legacy(campaign, rows, folder)


def test_the_legacy_tasks_follow_hosts_regions_lenses_and_settings(campaign, rows, products, tasks, folder) -> None:  # type: ignore[no-untyped-def]
    flagged, _ = products
    table = tasks.table
    assert set(table["galaxy_id"]) <= set(flagged.tables["lrg_parent_v3_color_relaxed"]["galaxy_id"])
    assert table["is_control"].any() and not table["is_control"].all()
    assert set(table["replicate"]) == {0, 1}
    assert tasks.summary["selection_sets"] == 4
    assert tasks.summary["galaxies_short"] == tasks.tables["strata"]["shortfall"].sum()
    assert tasks.column_lineage["theta_e_arcsec"] == [("sql/legacy_sample", "theta_e_arcsec")]
    one_region = run_legacy(with_legacy(campaign, regions_per_ranking=1), rows, folder).table
    assert one_region["region_id"].nunique() < table["region_id"].nunique()
    all_lenses = run_legacy(campaign, rows, folder, lenses=1500).table
    assert len(all_lenses) < len(table)


def test_a_campaign_without_a_legacy_design_has_no_tasks(campaign, rows, products, tasks, folder) -> None:  # type: ignore[no-untyped-def]
    none = run_legacy(with_legacy(campaign), rows, folder)
    assert len(none.table) == 0
    assert list(none.table.columns) == list(tasks.table.columns)


def test_parent_samples_are_nested_as_their_limits_are(products) -> None:  # type: ignore[no-untyped-def]
    flagged, _ = products
    ids = {name: set(flagged.tables[f"lrg_parent_{name}"]["galaxy_id"]) for name in VARIANTS}
    for inner, outer in pairwise(VARIANTS):
        assert ids[inner] <= ids[outer], (inner, outer)
    assert [flagged.summary[f"lrg_{name}"] for name in VARIANTS] == [len(ids[name]) for name in VARIANTS]
    assert flagged.summary["sources"] == flagged.table.num_rows > len(ids[VARIANTS[-1]]) > 0


def test_brighter_sources_and_wider_limits_make_more_hosts(campaign, rows, products, tmp_path) -> None:  # type: ignore[no-untyped-def]
    flagged, regions = products
    brighter, more = run_both(campaign, rows.assign(mag_z=rows["mag_z"] - 1.0), str(tmp_path / "a"))
    assert brighter.summary["lrg_v1_pure_massive"] > flagged.summary["lrg_v1_pure_massive"]
    assert more.summary["lrg_v1_pure_massive"] == brighter.summary["lrg_v1_pure_massive"]
    variants = campaign.host_selection.variants
    relaxed = variants.v1_pure_massive.model_copy(update={"z_minus_w1_min": 0.0})
    hosts = campaign.host_selection.model_copy(
        update={"variants": variants.model_copy(update={"v1_pure_massive": relaxed})}
    )
    wider = replace(campaign, stages={**campaign.stages, "host_selection": hosts})
    assert (
        run_both(wider, rows, str(tmp_path / "b"))[0].summary["lrg_v1_pure_massive"]
        > flagged.summary["lrg_v1_pure_massive"]
    )
    assert set(regions.figures) == {"map", "rankings"}


def test_regions_count_the_galaxies_of_their_cells(products) -> None:  # type: ignore[no-untyped-def]
    flagged, regions = products
    dense = regions.tables["dense_cells"]
    parents = flagged.tables["lrg_parent_v3_color_relaxed"]
    rows = regions.table[regions.table["variant"] == "v3_color_relaxed"].set_index("region_id")
    cells = dense[dense["variant"] == "v3_color_relaxed"]
    by_region = parents.merge(cells[["healpix_128", "region_id"]], on="healpix_128").groupby("region_id").size()
    assert rows["n_lrg"].sort_index().to_dict() == by_region.sort_index().to_dict()
    assert regions.summary["lrg_v3_color_relaxed"] == len(parents)


def test_an_empty_partition_has_no_hosts(campaign, rows) -> None:  # type: ignore[no-untyped-def]
    key = campaign.survey.sky_partitions[0]
    product = run_asset(lrg_sources, campaign, {"sweep_sources": {key: declared("sweep_sources", rows.iloc[:0])}}, key)
    assert product.summary == {"sources": 0} | {f"lrg_{name}": 0 for name in VARIANTS}


@pytest.mark.parametrize("name", list(SUITES))
def test_suites_pass_and_name_each_corruption(name, products, tasks, campaign) -> None:  # type: ignore[no-untyped-def]
    flagged, regions = products
    tables = {"lrg_sources": flagged.table.to_pandas(), "lrg_regions": regions.table, "legacy_sample": tasks.table}
    table = tables[name]
    suite = SUITES[name]
    assert [item for item in validate(table, suite, campaign) if not item.passed] == []
    for label, corrupt in suite.corruptions.items():
        expectation, _, column = label.partition(":")
        failed = {
            (item.expectation, item.column)
            for item in validate(corrupt(table.copy()), suite, campaign)
            if not item.passed
        }
        assert (expectation, column) in failed, label
