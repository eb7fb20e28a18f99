"""sweep_sources: its numbers follow the files it reads."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from lens_assets.assets.execution import Lineage, materialise
from lens_assets.assets.survey import sweep_sources
from lens_assets.campaign.campaign import load_campaign
from lens_assets.checks.great_expectations import _result, validate
from lens_assets.checks.suites.survey import SUITES
from lens_assets.lake.lake import Lake
from lens_assets.resources.tracking import Tracking
from lens_assets.sky import healpix
from lens_assets.survey.files import SurveyRootError
from lens_assets.survey.sources import SOURCE_SCHEMA
from lens_assets_tests.assets.lens_survey import EAST, PARTITION, WEST, survey_lake, tiny_rows
from lens_assets_tests.support import run_asset


@pytest.fixture(scope="module")
def campaign():
    return load_campaign("demo")


@pytest.fixture(scope="module")
def product(campaign):
    return run_asset(sweep_sources, campaign, partition=PARTITION, lake=survey_lake(campaign))


def test_a_partition_holds_its_sources_and_accounts_for_all_rows(product):
    rows = tiny_rows()
    own = healpix.pixel_of(4, rows["RA"], rows["DEC"]) == healpix.parse_partition_key(PARTITION)[1]
    assert product.summary["sources"] == own.sum()
    files = product.tables["files"]
    assert product.summary["rows_read"] == len(rows) == files["rows_read"].sum()
    assert files["sweep_file"].is_monotonic_increasing
    assert set(product.figures) == {"sources"}


def test_brighter_flux_in_the_file_is_a_brighter_magnitude_in_the_table(campaign, product):
    rows = tiny_rows()
    rows["FLUX_R"] *= 10.0
    brighter = run_asset(sweep_sources, campaign, partition=PARTITION, lake=survey_lake(campaign, rows))
    change = brighter.table["mag_r"].to_numpy() - product.table["mag_r"].to_numpy()
    np.testing.assert_allclose(change, -2.5, atol=1e-6)
    np.testing.assert_array_equal(brighter.table["mag_z"].to_numpy(), product.table["mag_z"].to_numpy())


def test_a_cut_file_is_quarantined_and_the_checks_say_so(campaign, product):
    cut = run_asset(sweep_sources, campaign, partition=PARTITION, lake=survey_lake(campaign, damage=EAST))
    assert cut.summary["files_quarantined"] == 1
    assert 0 < cut.table.num_rows < product.table.num_rows
    files = cut.tables["files"]
    assert files.set_index("sweep_file").loc[EAST, "reason"] == "truncated"
    for name in ("sweep_files_tolerated", "sweep_files_all_read"):
        assert not all(item.passed for item in validate(files, SUITES[name], campaign))
        assert all(item.passed for item in validate(product.tables["files"], SUITES[name], campaign))


def test_a_check_that_fails_names_rows_that_a_person_can_find(campaign, product):
    table = product.table.to_pandas()
    row = table.index[5]
    table.loc[row, "psfsize_r"] = -9.0
    outcomes = validate(table, SUITES["sweep_sources"], campaign)
    (failed,) = (item for item in outcomes if not item.passed)
    at = table.loc[row]
    place = f"galaxy_id {at['galaxy_id']}, brickname {at['brickname']}, sweep_file {at['sweep_file']}"
    assert failed.examples == f"psfsize_r -9.0 of {place}, row_index {at['row_index']}"
    files = [f"sweep-{number}.fits: cut" for number in range(9)]
    shown = _result({"hp04-070": [failed]}, SUITES["sweep_sources"], {"hp04-070": files})
    assert failed.examples in shown.description
    assert shown.description.splitlines()[-1] == "and 3 more; all are in the table"


def test_an_empty_pixel_is_an_empty_table_with_its_schema(campaign):
    empty = run_asset(sweep_sources, campaign, partition="hp04-016", lake=survey_lake(campaign))
    assert empty.table.num_rows == 0
    assert empty.table.schema.equals(SOURCE_SCHEMA)
    assert empty.summary["files"] == 0


def test_running_twice_gives_the_same_bytes(campaign, product):
    again = run_asset(sweep_sources, campaign, partition=PARTITION, lake=survey_lake(campaign))
    assert again.table.equals(product.table)


def test_a_tile_that_the_mirror_lacks_shows_as_bricks_without_sources(campaign, product):
    assert product.summary["bricks_without_sources"] == 0
    rows = tiny_rows()
    rows["BRICKNAME"][rows["RA"] < 10.0] = b"0002m005"
    lake = survey_lake(campaign, rows, lacks=WEST)
    bare = run_asset(sweep_sources, campaign, partition=PARTITION, lake=lake)
    assert (bare.summary["bricks"], bare.summary["bricks_without_sources"]) == (2, 1)
    suite = SUITES["sweep_bricks_covered"]
    assert not all(item.passed for item in validate(bare.tables["bricks"], suite, campaign))
    assert suite.explain(bare.tables["bricks"]) == [
        "no source in 1 of 2 bricks of the release: 0002m005; is a sweep file missing?"
    ]


def test_a_table_of_bricks_that_is_not_there_names_the_setting(campaign):
    lake = survey_lake(campaign, lacks=campaign.survey.bricks_table)
    with pytest.raises(SurveyRootError, match=r"check survey\.bricks_table"):
        run_asset(sweep_sources, campaign, partition=PARTITION, lake=lake)


def test_sources_without_a_magnitude_are_counted_in_each_band(campaign):
    rows = tiny_rows()
    rows["FLUX_G"][:3], rows["FLUX_W1"][:5] = 0.0, -1.0
    counted = run_asset(sweep_sources, campaign, partition=PARTITION, lake=survey_lake(campaign, rows)).summary
    found = {band: counted[f"without_mag_{band}"] for band in ("g", "r", "z", "w1")}
    assert found == {"g": 3, "r": 0, "z": 0, "w1": 5}


def mirrored(campaign, built, folder):
    """Return the lineage of a campaign that reads a copy of the survey in a folder, a lake for it, and that folder."""
    root = folder / "release"
    shutil.copytree(built.folder("simulated_survey"), root)
    settings = campaign.survey.model_copy(update={"source": "folder", "root": str(root)})
    folder_campaign = dataclasses.replace(campaign, stages={**campaign.stages, "survey": settings})
    return Lineage(folder_campaign, {"sweep_sources": sweep_sources}), Lake(folder / "lake", campaign.name), root


def test_another_version_of_a_sweep_file_is_noticed(campaign, tmp_path):
    lineage, lake, root = mirrored(campaign, survey_lake(campaign), tmp_path)

    def run():
        return materialise(lineage, lake, sweep_sources, PARTITION, tracking=Tracking.disabled())

    assert run()[0].provenance.upstream.keys() == {f"file/{EAST}", f"file/{WEST}"}
    assert run()[1] is False
    path = root / "south/sweep/10.1" / EAST
    path.write_bytes(path.read_bytes())
    assert not lineage.is_current(lake, sweep_sources, PARTITION)
    assert run()[1] is True
    (root / "south/sweep/10.1" / WEST).unlink()
    assert run()[0].summary["files"] == 1


def test_a_mended_file_is_taken_up_by_the_next_run_and_the_others_are_not_read_again(campaign, tmp_path):
    built = survey_lake(campaign)
    lineage, lake, root = mirrored(campaign, built, tmp_path)
    staging = lake.staging("sweep_sources", PARTITION)

    def run():
        return materialise(lineage, lake, sweep_sources, PARTITION, tracking=Tracking.disabled())

    path = root / "south/sweep/10.1" / EAST
    whole = path.read_bytes()
    path.write_bytes(whole[:-4000])
    record, computed = run()
    assert (computed, record.provisional, record.summary["files_quarantined"]) == (True, True, 1)
    (kept,) = staging.iterdir()
    changed = kept.stat().st_mtime_ns
    assert run()[1]  # made anew while a file is set aside
    path.write_bytes(whole)
    assert (kept.exists(), kept.stat().st_mtime_ns) == (True, changed)
    record, computed = run()
    assert (computed, record.provisional, record.summary["files_quarantined"]) == (True, False, 0)
    assert not staging.exists()
    assert run()[1] is False
    assert record.rows == len(run_asset(sweep_sources, campaign, partition=PARTITION, lake=built).table)
