"""The suites of catalogs, survey and positives pass on good tables and name each corruption."""

from __future__ import annotations

import pytest

from lens_assets.assets.catalogs import contaminant_catalog, lens_catalog, spectroscopic_catalog
from lens_assets.assets.survey import sweep_sources
from lens_assets.campaign.campaign import load_campaign
from lens_assets.checks.great_expectations import validate
from lens_assets.checks.suites import catalogs, sampling_positives, survey
from lens_assets_tests.assets.lens_survey import PARTITION, survey_lake
from lens_assets_tests.assets.test_catalogs import run_positives, with_catalogs, with_sources
from lens_assets_tests.support import run_asset, store

SUITES = catalogs.SUITES | survey.SUITES | sampling_positives.SUITES


@pytest.fixture(scope="module")
def campaign():
    return with_catalogs(load_campaign("demo"))


@pytest.fixture(scope="module")
def tables(campaign):
    lake = survey_lake(campaign)
    lenses = run_asset(lens_catalog, campaign, lake=lake).table
    store(lake, "lens_catalog", lenses)
    sources = run_asset(sweep_sources, campaign, partition=PARTITION, lake=lake)
    return {
        "lens_catalog": lenses,
        "spectroscopic_catalog": run_asset(spectroscopic_catalog, campaign, lake=lake).table,
        "contaminant_catalog": run_asset(contaminant_catalog, campaign, lake=with_sources(campaign)).table,
        "sweep_sources": sources.table.to_pandas(),
        "sweep_files_tolerated": sources.tables["files"],
        "sweep_files_all_read": sources.tables["files"],
        "sweep_bricks_covered": sources.tables["bricks"],
        "positives": run_positives(campaign).table,
    }


@pytest.mark.parametrize("name", list(SUITES))
def test_a_good_table_passes_and_each_corruption_is_named(name, tables, campaign):
    suite = SUITES[name]
    assert [item for item in validate(tables[name], suite, campaign) if not item.passed] == []
    for label, corrupt in suite.corruptions.items():
        expectation, _, column = label.partition(":")
        outcomes = validate(corrupt(tables[name].copy()), suite, campaign)
        failed = {(item.expectation, item.column) for item in outcomes if not item.passed}
        assert (expectation, column) in failed, (label, failed)


@pytest.mark.parametrize("name", [name for name in SUITES if name != "lens_catalog"])
def test_an_empty_table_passes(name, tables, campaign):
    assert [item for item in validate(tables[name].head(0), SUITES[name], campaign) if not item.passed] == []


def test_unreadable_files_warn_within_the_tolerance_and_fail_beyond():
    assert survey.SUITES["sweep_files_all_read"].severity == "WARN"
    assert not survey.SUITES["sweep_files_all_read"].blocking
    assert survey.SUITES["sweep_files_tolerated"].severity == "ERROR"
    assert survey.SUITES["sweep_files_tolerated"].blocking
