"""Real lists through the whole catalog and the match to real photometry, against astropy written a second time."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from astropy import units
from astropy.coordinates import SkyCoord

from lens_assets.campaign.stages.catalogs import SpectroscopicSource
from lens_assets.catalogs.lenses import build_lens_catalog, read_lens_list
from lens_assets.catalogs.positives import match_positives, usable_lenses
from lens_assets.catalogs.reading import installed_lenscat
from lens_assets.catalogs.spectroscopic import build_spectroscopic_catalog, read_spectroscopic_list
from lens_assets.sky.healpix import CELL_NSIDE, pixel_of
from lens_assets.survey.sources import SOURCE_SCHEMA
from lens_assets_tests.catalogs.settings import catalog_settings, lens_source
from lens_assets_tests.survey.reference import reference_file

GRADES = {"A": "confident", "B": "probable", "C": "probable"}
LISTS = ("huang2020", "huang2021", "storfer2024")
WITHIN_5_ARCSEC_OF_LENSCAT = {"huang2020": 341, "huang2021": 1309, "storfer2024": 1894}


def sky(frame: pd.DataFrame, ra: str = "ra", dec: str = "dec") -> SkyCoord:
    return SkyCoord(frame[ra].to_numpy(float) * units.deg, frame[dec].to_numpy(float) * units.deg)


def published(name: str):  # type: ignore[no-untyped-def]
    """Return the source of one published list: names, positions and letter grades."""
    columns = {"name": "name", "ra": "RA", "dec": "DEC", "z_lens": "", "type": "", "grading": "grade", "reference": ""}
    return lens_source(name=name, path=f"{name}.csv", columns=columns, grading_values=GRADES)


@pytest.fixture(scope="module")
def lists() -> dict[str, pd.DataFrame]:
    lenscat = catalog_settings().lenses[0]
    read = {name: read_lens_list(published(name), reference_file(f"catalogs/{name}.csv")) for name in LISTS}
    return {"lenscat": read_lens_list(lenscat, installed_lenscat()), **read}


@pytest.fixture(scope="module")
def catalog(lists: dict[str, pd.DataFrame]) -> pd.DataFrame:
    sources = [catalog_settings().lenses[0], *(published(name) for name in LISTS)]
    settings = catalog_settings(lenses=[source.model_dump(mode="json") for source in sources])
    return build_lens_catalog(list(lists.values()), settings)


def test_the_published_lists_are_found_again_in_lenscat(lists: dict[str, pd.DataFrame], catalog: pd.DataFrame) -> None:
    reference = sky(lists["lenscat"])
    canonical = catalog["duplicate_of"].fillna(catalog["lens_id"])
    for name in LISTS:
        index, separation, _ = sky(lists[name]).match_to_catalog_sky(reference)
        assert (separation.arcsec <= 5.0).sum() == WITHIN_5_ARCSEC_OF_LENSCAT[name]
        near = separation.arcsec <= 3.0  # the duplicate radius
        theirs = canonical[catalog["source_catalog"] == name].iloc[np.argsort(rows_of(catalog, name))]
        lenscats = canonical[catalog["source_catalog"] == "lenscat"].iloc[np.argsort(rows_of(catalog, "lenscat"))]
        assert (theirs.to_numpy()[near] == lenscats.to_numpy()[index[near]]).all(), "both entries are one system"
        assert (theirs.to_numpy()[~near] != lenscats.to_numpy()[index[~near]]).all()


def rows_of(catalog: pd.DataFrame, name: str) -> np.ndarray:
    return catalog.loc[catalog["source_catalog"] == name, "source_row"].to_numpy()


def test_letter_grades_become_tiers_and_weights(lists: dict[str, pd.DataFrame], catalog: pd.DataFrame) -> None:
    for name in LISTS:
        grades = pd.read_csv(reference_file(f"catalogs/{name}.csv"))["grade"]
        rows = catalog[catalog["source_catalog"] == name].sort_values("source_row")
        first = (grades == "A").to_numpy() | (rows["confirmation"] == "confirmed").to_numpy()
        assert rows["tier"].tolist() == np.where(first, "A", "B").tolist()
        assert rows["weight"].tolist() == np.where(first, 1.0, 0.5).tolist()
        assert 0 < (rows["confirmation"] == "confirmed").sum() < 10, "those that literature samples confirm"


@pytest.fixture(scope="module")
def photometry() -> pd.DataFrame:
    """Real Tractor sources of known lenses, as sweep sources; a mask and a star are put upon a few."""
    real = pd.read_csv(reference_file("catalogs/stein2021_training_lenses.tsv"), sep="\t")
    frame = pd.DataFrame({field.name: pd.Series(pd.NA, index=real.index, dtype="object") for field in SOURCE_SCHEMA})
    frame["galaxy_id"] = [f"9010_7_{number}" for number in range(len(real))]
    frame["ra"], frame["dec"], frame["type"] = real["ra"], real["dec"], real["source_type"]
    frame["maskbits"] = np.where(np.arange(len(real)) % 50 == 0, 1 << 12, 0)
    for band in "grz":
        frame[f"nobs_{band}"] = real[f"nobs_{band}"]
    frame["healpix_128"] = pixel_of(CELL_NSIDE, frame["ra"], frame["dec"])
    return frame


def test_the_match_to_real_photometry_is_astropys(catalog: pd.DataFrame, photometry: pd.DataFrame) -> None:
    settings = catalog_settings()
    none = pd.DataFrame({"matched_lens_id": pd.Series([], dtype="str"), "use": pd.Series([], dtype="str")})
    lenses = usable_lenses(catalog, none)
    whole_sky = {"healpix_128": np.arange(12 * CELL_NSIDE**2), "split": "train", "region_id": 1, "fold": 0}
    cells = pd.DataFrame(whole_sky | {"sky_partition": "hp04-000"})
    matches = match_positives(lenses, photometry, cells, settings).set_index("lens_id").loc[lenses["lens_id"]]

    index, separation, _ = sky(lenses).match_to_catalog_sky(sky(photometry))
    nearest, angle = photometry.iloc[index].reset_index(drop=True), separation.arcsec
    canonical = lenses["duplicate_of"].isna().to_numpy()
    found = canonical & (angle <= 1.0)
    masked = found & (nearest["maskbits"].to_numpy(int) != 0)
    reasons = matches["unmatched_reason"].fillna("").to_numpy()
    assert (reasons[~canonical] == "duplicate_entry").all()
    assert (reasons[masked] == "masked").all() and masked.sum() > 10
    usable = found & ~masked & (nearest["nobs_z"].to_numpy(int) >= 1)
    taken = reasons == "source_of_another_lens"
    assert (matches["matched"].to_numpy() == (usable & ~taken)).all()
    got = matches["matched"].to_numpy()
    assert (matches["galaxy_id"].to_numpy()[got] == nearest["galaxy_id"].to_numpy()[got]).all()
    np.testing.assert_allclose(matches["separation_arcsec"].to_numpy(float)[got], angle[got], atol=1e-6)
    outside = canonical & (angle > 60.0)
    assert (reasons[outside] == "outside_footprint").all()
    between = canonical & (angle > 1.0) & (angle <= 60.0)
    assert set(reasons[between]) == {"no_source_in_radius"}
    assert got.sum() > 1000
    assert np.median(angle[got]) < 0.2, "the published run found a median of 0.059 arcsec"


def test_slacs_systems_find_their_entries_and_follow_the_switch(catalog: pd.DataFrame, tmp_path) -> None:  # type: ignore[no-untyped-def]
    columns = ["name", "ra", "dec"]
    table = pd.read_csv(
        reference_file("catalogs/slacs_table.cat"), sep=r"\s+", comment="#", usecols=[0, 1, 2], names=columns
    )
    table.to_csv(tmp_path / "slacs.csv", index=False)
    source = SpectroscopicSource.model_validate_json(
        json.dumps(
            {
                "name": "slacs", "origin": "file", "path": "slacs.csv", "sha256": "", "name_column": "name",
                "ra_column": "ra", "dec_column": "dec", "confirmation_column": "", "confirmation": "confirmed",
            }
        )
    )  # fmt: skip
    listed = read_spectroscopic_list(source, tmp_path / "slacs.csv")
    assert len(listed) == 59
    entries = catalog[(catalog["role"] != "exclude_only") & catalog["duplicate_of"].isna()]
    index, separation, _ = sky(listed).match_to_catalog_sky(sky(entries))
    near = separation.arcsec <= 5.0
    assert near.sum() > 40 and (entries["family"].iloc[index[near]] == "SLACS").mean() > 0.9
    assert set(entries["role"].iloc[index[near]]) == {"evaluation_only"}, "no search of images named one a candidate"
    freed = build_spectroscopic_catalog(catalog, [listed], catalog_settings(spectroscopic_matched_use="training"))
    own = freed[freed["source_catalog"] == "slacs"]
    assert own["matched_lens_id"].isna().all() and set(own["use"]) == {"evaluation"}
    assert (freed["use"] == "training").sum() == freed["matched_lens_id"].notna().sum() == 27
    named = catalog.assign(
        role=catalog["role"].mask(catalog["lens_id"].isin(entries["lens_id"].iloc[index[near]]), "positive")
    )
    for use in ("evaluation", "training"):
        systems = build_spectroscopic_catalog(named, [listed], catalog_settings(spectroscopic_matched_use=use))
        own = systems[systems["source_catalog"] == "slacs"]
        assert own["matched_lens_id"].notna().sum() == near.sum()
        assert (own["use"].to_numpy() == np.where(own["matched_lens_id"].notna(), use, "evaluation")).all()
