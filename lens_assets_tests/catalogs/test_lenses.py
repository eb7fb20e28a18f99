"""The catalog of lenses: the installed package's rows, and roles, families and duplicates of made-up ones."""

import pandas as pd
import pytest

from lens_assets.catalogs.lenses import build_lens_catalog, read_lens_list
from lens_assets.catalogs.reading import installed_lenscat
from lens_assets.catalogs.spectroscopic import build_spectroscopic_catalog
from lens_assets_tests.catalogs.settings import catalog_settings, lens_source

SLACS = "Auger et al. (2009) - arXiv:0911.2471 | Bolton et al. (2008) - arXiv:0805.1931"


@pytest.fixture(scope="module")
def lenscat():
    settings = catalog_settings()
    return build_lens_catalog([read_lens_list(settings.lenses[0], installed_lenscat())], settings)


def catalog(tmp_path, rows, **changes):
    frame = pd.DataFrame(rows, columns=["name", "RA", "DEC", "zlens", "type", "grading", "ref"])
    frame.to_csv(tmp_path / "lenses.csv", index=False)
    source = lens_source()
    settings = catalog_settings(lenses=[source.model_dump()], **changes)
    return build_lens_catalog([read_lens_list(source, tmp_path / "lenses.csv")], settings).set_index("name")


def test_the_installed_catalog_is_read_whole(lenscat):
    assert len(lenscat) == 32_838
    assert lenscat["lens_id"].is_unique
    positives = lenscat[lenscat["role"] == "positive"]
    assert len(positives) == 5_104
    assert positives["tier"].value_counts().to_dict() == {"B": 4_669, "A": 435}
    assert positives["name"].str.contains("DESI").all()
    assert lenscat["duplicate_of"].notna().sum() == 107


def test_families_of_the_installed_catalog(lenscat):
    counts = lenscat[lenscat["role"] == "evaluation_only"]["family"].value_counts().to_dict()
    assert counts == {"SILO": 490, "SLACS": 65, "SuGOHI": 63, "BELLS": 12, "SL2S": 7, "BELLS GALLERY": 4}
    members = lenscat["family"].value_counts().to_dict()
    assert (members["SLACS"], members["BELLS"], members["BELLS GALLERY"]) == (129, 44, 179)
    held = lenscat[lenscat["role"] == "evaluation_only"]
    assert set(held["confirmation"]) == {"confirmed"}
    assert set(held["type"]) == {"galaxy"}


def test_clusters_only_exclude(lenscat):
    other = lenscat[(lenscat["type"] == "cluster") & ~lenscat["name"].str.contains("DESI")]
    assert (other["role"] == "exclude_only").all()
    assert other["tier"].isna().all()


def test_every_row_leads_to_a_canonical_one(lenscat):
    duplicates = lenscat[lenscat["duplicate_of"].notna()]
    canonical = lenscat.set_index("lens_id").loc[duplicates["duplicate_of"]]
    assert canonical["duplicate_of"].isna().all()


def test_a_searched_lens_is_a_positive_whatever_else_names_it(tmp_path):
    lenses = catalog(
        tmp_path,
        [
            ("DESI-010.0000+05.0000", 10.0, 5.0, "0.3", "galaxy", "confident", SLACS),
            ("SDSSJ0100+0500", 15.0, 5.0, "0.3", "galaxy", "confident", SLACS),
            ("SDSSJ0200+0500", 30.0, 5.0, "0.3", "galaxy", "probable", SLACS),
            ("A 521", 40.0, 5.0, "0.2", "cluster", "confident", "Gioia et al. (1990)"),
        ],
    )
    assert lenses["role"].to_dict() == {
        "DESI-010.0000+05.0000": "positive",
        "SDSSJ0100+0500": "evaluation_only",
        "SDSSJ0200+0500": "exclude_only",
        "A 521": "exclude_only",
    }
    assert lenses["confirmation"].tolist() == ["confirmed", "confirmed", "silver", "candidate"]


def test_entries_of_one_system_share_names_and_family(tmp_path):
    step = 1.5 / 3600
    rows = [
        ("SDSSJ1", 10.0, 5.0, "", "galaxy", "confident", SLACS),
        ("DESI-010.0000+05.0000", 10.0, 5.0 + step, "0.3", "galaxy", "probable", "Huang et al. (2020)"),
        ("J3", 10.0, 5.0 + 5 * step, "", "galaxy", "probable", ""),
    ]
    for order in (rows, rows[::-1]):
        lenses = catalog(tmp_path, order)
        canonical = lenses.loc["DESI-010.0000+05.0000"]
        assert lenses["duplicate_of"].fillna("").to_dict() == {
            "SDSSJ1": canonical["lens_id"], "DESI-010.0000+05.0000": "", "J3": "",
        }  # fmt: skip
        assert (canonical["family"], canonical["confirmation"]) == ("SLACS", "confirmed")
        assert canonical["aliases"] == "SDSSJ1"
        assert (canonical["tier"], canonical["weight"]) == ("A", 1.0), "the literature confirms it"


def test_the_duplicate_radius_decides(tmp_path):
    rows = [
        ("a", 10.0, 5.0, "", "galaxy", "probable", ""),
        ("b", 10.0, 5.0 + 2 / 3600, "", "galaxy", "probable", ""),
    ]
    assert catalog(tmp_path, rows)["duplicate_of"].notna().sum() == 1
    assert catalog(tmp_path, rows, duplicate_radius_arcsec=1.0)["duplicate_of"].notna().sum() == 0


def test_confirmed_lenses_weigh_one_whatever_tier_a_does(tmp_path):
    rows = [
        ("DESI-010.0000+05.0000", 10.0, 5.0, "0.3", "galaxy", "confident", SLACS),
        ("DESI-020.0000+05.0000", 20.0, 5.0, "0.3", "galaxy", "confident", "Huang et al. (2020)"),
        ("DESI-030.0000+05.0000", 30.0, 5.0, "0.3", "galaxy", "probable", "Huang et al. (2020)"),
    ]
    tiers = [
        {"grading": "confident", "tier": "A", "weight": 0.9},
        {"grading": "probable", "tier": "B", "weight": 0.3},
    ]
    lenses = catalog(tmp_path, rows, tiers=tiers)
    assert lenses["weight"].tolist() == [1.0, 0.9, 0.3]
    assert lenses["tier"].tolist() == ["A", "A", "B"]


def test_a_family_that_trains_gives_positives_and_is_not_held_by_its_own_spectra(tmp_path):
    rows = [
        ("SDSSJ0100+0500", 15.0, 5.0, "0.3", "galaxy", "confident", SLACS),
        ("SDSSJ0200+0500", 30.0, 5.0, "0.3", "galaxy", "probable", SLACS),
    ]
    held = catalog(tmp_path, rows)
    assert held["role"].tolist() == ["evaluation_only", "exclude_only"]
    assert set(build_spectroscopic_catalog(held.reset_index(), [], catalog_settings())["use"]) == {"evaluation"}
    families = catalog_settings().model_dump(mode="json")["families"]
    families[0]["use"] = "training"
    trained = catalog(tmp_path, rows, families=families)
    assert trained["role"].tolist() == ["positive", "exclude_only"]
    assert (trained["tier"].iloc[0], trained["weight"].iloc[0]) == ("A", 1.0)
    systems = build_spectroscopic_catalog(trained.reset_index(), [], catalog_settings(families=families))
    assert systems.set_index("name")["use"].to_dict() == {"SDSSJ0100+0500": "training", "SDSSJ0200+0500": "evaluation"}
