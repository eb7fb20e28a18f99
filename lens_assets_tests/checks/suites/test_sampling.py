"""The suites of the sampling group pass on good tables and name each corruption."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from lens_assets.campaign.campaign import Campaign, load_campaign
from lens_assets.checks.great_expectations import validate
from lens_assets.checks.suites.sampling import SUITES
from lens_assets.sampling.parity import parity_report
from lens_assets.sampling.pool import build_negative_pool
from lens_assets.sampling.stratified import draw_all
from lens_assets_tests.sampling import synthetic


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    """The demo campaign."""
    return load_campaign("demo")


@pytest.fixture(scope="module")
def tables(campaign: Campaign) -> dict[str, pd.DataFrame]:
    """Return a good table for every suite."""
    sources = synthetic.sources(1500, 41, clean=True).assign(sky_partition=campaign.survey.sky_partitions[0])
    cells = synthetic.cells_of(sources).assign(sky_partition=campaign.survey.sky_partitions[0])
    around = synthetic.neighbourhood(sources, 1)
    arrow = pa.Table.from_pandas(sources, preserve_index=False)
    pool = build_negative_pool(arrow, around, cells, campaign.negatives).tables["negative_pool"]
    report = parity_report(pool, campaign.negatives)
    lenses = synthetic.positives(sources, 60, cells)
    sample = draw_all(campaign.sampling, pool, lenses, cells, campaign.negatives.nobs_z_bins)
    return {
        "split_cells": cells,
        "negative_pool": pool.to_pandas(),
        "parity_report": report.tables["parity_cascade"],
        "parity_report_confusers": report.tables["parity_confusers"],
        "stratified_sample": sample.rows,
    }


@pytest.mark.parametrize("name", list(SUITES))
def test_a_good_table_passes_and_each_corruption_is_named(
    name: str, tables: dict[str, pd.DataFrame], campaign: Campaign
) -> None:
    suite = SUITES[name]
    assert [item for item in validate(tables[name], suite, campaign) if not item.passed] == []
    assert suite.corruptions
    for label, corrupt in suite.corruptions.items():
        expectation, _, column = label.partition(":")
        outcomes = validate(corrupt(tables[name].copy()), suite, campaign)
        failed = {(item.expectation, item.column) for item in outcomes if not item.passed}
        assert (expectation, column) in failed, (label, failed)
