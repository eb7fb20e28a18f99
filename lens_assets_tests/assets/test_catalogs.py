"""The catalogs group and the positives: their numbers follow the lists, the switch and the survey."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from lens_assets.assets.catalogs import contaminant_catalog, lens_catalog, spectroscopic_catalog
from lens_assets.assets.sampling_positives import positives
from lens_assets.assets.survey import sweep_sources
from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.catalogs import CatalogsSettings
from lens_assets.sky import healpix
from lens_assets_tests.assets.lens_survey import LENSES, PARTITION, REVIEWED, survey_lake, tiny_rows
from lens_assets_tests.support import run_asset, store


def with_catalogs(campaign, **changes):
    """Return the campaign with only the simulated lists, and other catalog settings."""
    content = dict(campaign.contents["catalogs"])
    content["lenses"] = [item for item in content["lenses"] if item["origin"] == "simulated"]
    settings = CatalogsSettings.model_validate_json(json.dumps(content | changes))
    return dataclasses.replace(campaign, stages={**campaign.stages, "catalogs": settings})


@pytest.fixture(scope="module")
def campaign():
    return with_catalogs(load_campaign("demo"))


@pytest.fixture(scope="module")
def lenses(campaign):
    return run_asset(lens_catalog, campaign, lake=survey_lake(campaign)).table


def test_the_demo_reads_its_own_list_and_the_installed_one():
    demo = load_campaign("demo")
    product = run_asset(lens_catalog, demo, lake=survey_lake(demo))
    assert product.summary["entries"] == 32_838 + len(LENSES)
    assert product.summary["positives"] == 5_104 + 3
    assert product.summary["positives_tier_a"] == 435 + 1
    assert product.summary["family_slacs"] == 129 + 1
    assert product.tables["counts"]["entries"].sum() == product.summary["entries"]


def test_one_more_lens_in_the_list_is_one_more_positive(campaign, lenses):
    more = pd.concat([LENSES, LENSES.iloc[:1].assign(name="DESI-011.0000+01.0000", RA=11.0)])
    product = run_asset(lens_catalog, campaign, lake=survey_lake(campaign, lenses=more))
    assert product.summary["positives"] == (lenses["role"] == "positive").sum() + 1


def test_a_regraded_lens_changes_its_tier_and_weight(campaign, lenses):
    regraded = LENSES.assign(grading="probable")
    table = run_asset(lens_catalog, campaign, lake=survey_lake(campaign, lenses=regraded)).table
    assert (lenses["tier"] == "A").sum() == 2
    assert not (table["tier"] == "A").any()
    assert set(table["weight"].dropna()) == {0.5}


def test_the_switch_decides_what_spectra_do_to_imaging_candidates(campaign, lenses):
    lake = survey_lake(campaign)
    store(lake, "lens_catalog", lenses)
    held = run_asset(spectroscopic_catalog, campaign, lake=lake)
    assert held.summary["systems"] == 2  # the list's, and the family member's
    assert held.summary["matched_positives"] == 1
    assert set(held.table["use"]) == {"evaluation"}
    freed = run_asset(spectroscopic_catalog, with_catalogs(campaign, spectroscopic_matched_use="training"), lake=lake)
    matched = freed.table["matched_lens_id"].notna()
    assert set(freed.table.loc[matched, "use"]) == {"training"}
    assert set(freed.table.loc[~matched, "use"]) == {"evaluation"}  # the family member is held by its role


def with_sources(campaign, **lists):
    """Return a lake with the tiny survey ingested, every other partition being empty."""
    lake = survey_lake(campaign, **lists)
    table = run_asset(sweep_sources, campaign, partition=PARTITION, lake=lake).table
    for key in campaign.survey.sky_partitions:
        store(lake, "sweep_sources", table if key == PARTITION else table.slice(0, 0), key)
    return lake


def test_contaminants_follow_their_list_and_the_survey(campaign):
    product = run_asset(contaminant_catalog, campaign, lake=with_sources(campaign))
    counts = {"contaminants": 1, "lists": 1, "reviews": 0, "matched": 1, "reviewed_lenses": 0}
    assert product.summary == counts | {"category_ring": 1}
    assert product.table["separation_arcsec"].iloc[0] == pytest.approx(0.0, abs=1e-3)
    none = run_asset(contaminant_catalog, with_catalogs(campaign, contaminants=[]), lake=with_sources(campaign))
    assert none.summary == dict.fromkeys(counts, 0)
    moved = pd.concat([REVIEWED, REVIEWED.assign(DEC=40.0), REVIEWED.assign(DEC=1.001)])
    three = run_asset(contaminant_catalog, campaign, lake=with_sources(campaign, reviewed=moved))
    assert three.table["contaminant_id"].is_unique
    assert three.summary["unmatched_outside_footprint"] == three.summary["unmatched_no_source_in_radius"] == 1


def test_labels_of_reviewers_come_back(campaign, tmp_path):
    lake = with_sources(campaign)
    ids = lake.table("sweep_sources", PARTITION)["galaxy_id"].tolist()
    path = tmp_path / "labels.csv"
    pd.DataFrame({"galaxy_id": ids[:2], "label": ["lens", "spiral"], "reviewer": "ada"}).to_csv(path, index=False)
    review = {
        "name": "night_one", "origin": "file", "path": str(path), "sha256": "", "galaxy_id_column": "galaxy_id",
        "ra_column": "", "dec_column": "", "label_column": "label", "reviewer_column": "reviewer",
    }  # fmt: skip
    product = run_asset(contaminant_catalog, with_catalogs(campaign, reviews=[review]), lake=lake)
    assert product.summary["reviewed_lenses"] == 1 and product.summary["reviews"] == 1
    assert product.tables["reviewed_lenses"]["galaxy_id"].tolist() == ids[:1]
    uses = product.table.set_index("galaxy_id")["use"]
    assert (uses[ids[0]], uses[ids[1]]) == ("exclude", "contaminant")


def run_positives(campaign, rows=None, **changes):
    """Run the group on the tiny survey, every other partition of the campaign being empty."""
    campaign = with_catalogs(campaign, **changes)
    lake = survey_lake(campaign, rows)
    store(lake, "lens_catalog", run_asset(lens_catalog, campaign, lake=lake).table)
    store(lake, "spectroscopic_catalog", run_asset(spectroscopic_catalog, campaign, lake=lake).table)
    empty = None
    for key in campaign.survey.sky_partitions:
        if key == PARTITION or empty is None:
            table = run_asset(sweep_sources, campaign, partition=key, lake=lake).table
            empty = table.slice(0, 0)
        store(lake, "sweep_sources", table if key == PARTITION else empty, key)
    pixel = healpix.parse_partition_key(PARTITION)[1]
    cells = np.arange(pixel * 1024, (pixel + 1) * 1024)
    frame = {"healpix_128": cells, "u": 0.1, "split": "test", "region_id": 3, "fold": 1, "sky_partition": PARTITION}
    store(lake, "split_cells", pd.DataFrame(frame))
    return run_asset(positives, campaign, lake=lake)


def test_lenses_are_matched_and_held_back_by_role_and_spectrum(campaign):
    product = run_positives(campaign)
    table = product.table.set_index("lens_name")
    assert product.summary["matched"] == 3
    assert product.summary["unmatched_outside_footprint"] == 1
    assert table["evaluation_only"].to_dict() == {
        "DESI-010.5000+01.0000": False,
        "DESI-010.6000+01.0000": True,  # a spectrum lies within 5 arcsec
        "SDSSJ1": True,  # a family of the literature
        "DESI-200.0000+01.0000": False,
    }
    assert set(table["split"].dropna()) == {"test"}


def test_a_source_moved_away_is_no_longer_matched(campaign):
    rows = tiny_rows()
    rows["DEC"][rows["RA"] == 10.5] += 2.0 / 3600
    moved = run_positives(campaign, rows)
    assert moved.summary["matched"] == 2
    assert moved.summary["unmatched_no_source_in_radius"] == 1
    wider = run_positives(campaign, rows, match_radius_arcsec=3.0)
    assert wider.summary["matched"] == 3
    assert wider.table["separation_arcsec"].max() == pytest.approx(2.0, abs=1e-6)


def test_a_masked_source_is_not_a_positive(campaign):
    rows = tiny_rows()
    rows["MASKBITS"] = 1 << 1
    assert run_positives(campaign, rows).summary["unmatched_masked"] == 3
