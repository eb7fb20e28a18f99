"""Spectroscopic systems: their status, their use, and the candidates they coincide with."""

import json

import pandas as pd
import pytest

from lens_assets.campaign.stages.catalogs import SpectroscopicSource
from lens_assets.catalogs.lenses import build_lens_catalog, read_lens_list
from lens_assets.catalogs.reading import CatalogError, installed_lenscat
from lens_assets.catalogs.spectroscopic import build_spectroscopic_catalog, read_spectroscopic_list
from lens_assets_tests.catalogs.settings import catalog_settings
from lens_assets_tests.survey.reference import reference_file

LIST = {
    "name": "spectra", "origin": "file", "path": "spectra.csv", "sha256": "", "name_column": "TARGETID",
    "ra_column": "TARGET_RA", "dec_column": "TARGET_DEC", "confirmation_column": "", "confirmation": "silver",
}  # fmt: skip


def spectroscopic(**changes):
    return SpectroscopicSource.model_validate_json(json.dumps(LIST | changes))


@pytest.fixture(scope="module")
def lenses():
    settings = catalog_settings()
    return build_lens_catalog([read_lens_list(settings.lenses[0], installed_lenscat())], settings)


def test_candidates_that_spectra_confirm_are_for_evaluation_unless_the_campaign_says_otherwise(lenses):
    kept = build_spectroscopic_catalog(lenses, [], catalog_settings())
    assert set(kept["use"]) == {"evaluation"}
    freed = build_spectroscopic_catalog(lenses, [], catalog_settings(spectroscopic_matched_use="training"))
    matched = freed["matched_lens_id"].notna()
    assert set(freed.loc[matched, "use"]) == {"training"}
    assert set(freed.loc[~matched, "use"]) == {"evaluation"}
    assert matched.sum() == kept["matched_lens_id"].notna().sum() == 27
    roles = lenses.set_index("lens_id")["role"]
    assert set(roles[freed.loc[matched, "matched_lens_id"]]) == {"positive"}, (
        "no switch trains on what a role holds back"
    )
    assert kept["separation_arcsec"].max() <= 5.0
    assert set(kept["confirmation"]) == {"confirmed", "silver"}


def test_a_real_list_of_spectra_with_free_text(lenses):
    listed = read_spectroscopic_list(spectroscopic(), reference_file("catalogs/desi_two_redshift.csv"))
    assert len(listed) == 173
    assert listed["name"].iloc[0] == "39627640566454340"  # an int64 that a float would round
    together = build_spectroscopic_catalog(lenses, [listed], catalog_settings())
    own = together[together["source_catalog"] == "spectra"]
    assert together["spec_id"].is_unique
    assert own["matched_lens_id"].isna().all()  # none is known within 5 arcsec
    assert set(own["confirmation"]) == {"silver"}


def test_a_wrong_status_is_named(tmp_path):
    path = tmp_path / "spectra.csv"
    pd.DataFrame({"n": ["a"], "ra": [1.0], "dec": [2.0], "status": ["perhaps"]}).to_csv(path, index=False)
    source = spectroscopic(
        name_column="n", ra_column="ra", dec_column="dec", confirmation_column="status", confirmation=""
    )
    with pytest.raises(CatalogError, match=r"row 1, column status.*confirmed or silver"):
        read_spectroscopic_list(source, path)
