"""Real DR10 photometry through every rule whose columns it has, and real negatives against the known lenses."""

from __future__ import annotations

import hashlib

import astropy.units as u
import healpy
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord

from lens_assets.catalogs.reading import installed_lenscat
from lens_assets.sampling.neighbourhood import nearest_separation_arcsec, source_neighbourhood, sources_near_lenses
from lens_assets.sampling.pool import build_negative_pool
from lens_assets.sky.healpix import pixel_of
from lens_assets.survey.units import flux_to_mag
from lens_assets_tests.sampling import synthetic
from lens_assets_tests.survey.reference import reference_file


@pytest.fixture(scope="module")
def photometry() -> pd.DataFrame:
    """The 1,509 DR10 rows as published."""
    return pd.read_parquet(reference_file("catalogs/dr10_lrg_density.parquet"))


@pytest.fixture(scope="module")
def lenses() -> pd.DataFrame:
    """Positions of every system of lenscat."""
    table = pd.read_csv(installed_lenscat())
    positions = pd.DataFrame({"ra": table["RA [deg]"].astype(float), "dec": table["DEC [deg]"].astype(float)})
    names = table["name"] + "#" + table.index.astype(str)  # some names stand twice
    return positions.assign(system_id=names, catalog="lenscat")


def as_sources(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as `sweep_sources`; what the file lacks is null or passes."""
    frame = synthetic.sources(len(rows), 1, clean=True)
    frame["in_margin"] = False
    for column in ("shape_r", "ellipticity", "sersic", "fracflux_r", "g_minus_r", "mag_g", "mag_r", "mag_z"):
        frame[column] = np.nan
    frame["maskbits"] = np.int32(0)
    frame["ra"], frame["dec"] = rows["RA"].to_numpy(), rows["DEC"].to_numpy()
    frame["type"], frame["brickname"] = rows["TYPE"].str.strip().to_numpy(), rows["BRICKNAME"].to_numpy()
    for band in ("g", "r", "z", "w1"):
        frame[f"flux_{band}"] = rows[f"FLUX_{band.upper()}"].to_numpy()
    for band in "grz":
        frame[f"mag_{band}"] = flux_to_mag(frame[f"flux_{band}"])
    frame["g_minus_r"] = frame["mag_g"] - frame["mag_r"]
    frame["healpix_128"] = pixel_of(128, frame["ra"], frame["dec"])
    return frame


def test_real_photometry_matches_numpy(photometry: pd.DataFrame) -> None:
    rules = synthetic.negatives_settings()
    sources = as_sources(photometry)
    nothing = synthetic.neighbourhood(sources, 1).iloc[:0]
    table = pa.Table.from_pandas(sources, preserve_index=False)
    results = build_negative_pool(table, nothing, synthetic.cells_of(sources), rules)
    pool = results.tables["negative_pool"].to_pandas().set_index("row_index").sort_index()

    flux_r, flux_z = (photometry[f"FLUX_{band}"].to_numpy(float) for band in "RZ")
    flux_g = photometry["FLUX_G"].to_numpy(float)
    kind, dec = photometry["TYPE"].str.strip().to_numpy(), photometry["DEC"].to_numpy()
    np.testing.assert_array_equal(pool["pass_footprint"], (dec > -18.0) & (dec < 32.0))
    np.testing.assert_array_equal(pool["pass_type"], np.isin(kind, ["SER", "DEV", "REX"]))
    np.testing.assert_array_equal(pool["pass_mag_z"], flux_z > 10.0)  # z < 20 is more than 10 nanomaggies
    np.testing.assert_array_equal(pool["n2_ring_proxy"], (kind == "DEV") & (flux_r >= 5.0))
    blue = (flux_g > 0) & (flux_g >= flux_r * 10 ** (-0.16)) & (flux_r >= 10**0.8)  # g-r <= 0.4, r <= 20.5
    np.testing.assert_array_equal(pool["n2_blue_clumpy_proxy"], blue)
    assert 0 < pool["pass_mag_z"].sum() < len(pool)
    assert pool["n2_ring_proxy"].any()
    assert not pool["n2_large_galaxy_proxy"].any(), "a size that is missing matches nothing"


def test_every_rule_whose_columns_the_rows_have_matches_numpy(photometry: pd.DataFrame, lenses: pd.DataFrame) -> None:
    """Coordinates, exclusion about real lenses, similar neighbours, uniqueness, colours, splits, and the pools."""
    rules = synthetic.negatives_settings()
    sources = as_sources(photometry)
    twice = pd.concat([sources, sources.iloc[:25].assign(row_index=sources["row_index"].iloc[:25] + 10_000)])
    sources = twice.reset_index(drop=True)
    planted = sources.iloc[[100, 700, 1200]]
    near = pd.DataFrame({"ra": planted["ra"], "dec": planted["dec"] + np.array([2.0, 7.0, 10.9]) / 3600.0})
    catalog = pd.concat([lenses[["ra", "dec"]], near], ignore_index=True)
    contaminants = pd.DataFrame(columns=["contaminant_id", "galaxy_id", "ra", "dec", "category"])
    around = source_neighbourhood(sources, catalog, contaminants, rules)
    cells = synthetic.cells_of(sources)
    table = pa.Table.from_pandas(sources, preserve_index=False)
    pool = build_negative_pool(table, around, cells, rules).tables["negative_pool"].to_pandas()
    pool = pool.set_index("row_index").loc[sources["row_index"]].reset_index()

    here = SkyCoord(sources["ra"].to_numpy(), sources["dec"].to_numpy(), unit="deg")
    there = SkyCoord(catalog["ra"].to_numpy(), catalog["dec"].to_numpy(), unit="deg")
    _, apart, _ = here.match_to_catalog_sky(there)
    outside = apart.arcsec > 11.0
    np.testing.assert_array_equal(pool["pass_exclusion"], outside)
    assert 3 <= (~outside).sum() < 60

    flux = {band: sources[f"flux_{band}"].to_numpy(float) for band in "grz"}
    blue_of_spirals = (flux["g"] > 0) & (flux["g"] >= flux["r"] * 10 ** (-0.28))  # g - r <= 0.7
    assert blue_of_spirals.any()
    assert not pool["n2_spiral_proxy"].any(), "no size, no spiral"
    unique = ~sources["galaxy_id"].duplicated().to_numpy()
    np.testing.assert_array_equal(pool["pass_unique"], unique)
    assert (~unique).sum() == 25

    single = SkyCoord(sources["ra"].to_numpy()[unique], sources["dec"].to_numpy()[unique], unit="deg")
    one, two, separation, _ = single.search_around_sky(single, 6.0 * u.arcsec)
    magnitude = 22.5 - 2.5 * np.log10(np.where(flux["z"] > 0, flux["z"], np.nan))[unique]
    with np.errstate(invalid="ignore"):
        similar = (one != two) & (separation.arcsec >= 3.0) & (np.abs(magnitude[one] - magnitude[two]) <= 2.0)
    merging = np.zeros(unique.sum(), dtype=bool)
    merging[one[similar]] = True
    np.testing.assert_array_equal(pool.loc[unique, "n2_merger_neighbour_proxy"], merging)

    kind, dec = sources["type"].to_numpy(), sources["dec"].to_numpy()
    ordinary = (dec > -18.0) & (dec < 32.0) & (flux["z"] > 10.0) & outside & unique
    ring = (kind == "DEV") & (flux["r"] >= 5.0)
    blue = (flux["g"] > 0) & (flux["g"] >= flux["r"] * 10 ** (-0.16)) & (flux["r"] >= 10**0.8)
    merged = np.zeros(len(sources), dtype=bool)
    merged[np.flatnonzero(unique)[merging]] = True
    confuser = ordinary & np.isin(kind, ["SER", "DEV", "REX", "EXP"]) & (ring | blue | merged)
    expected = np.select(
        [confuser, ordinary & np.isin(kind, ["SER", "DEV", "REX"]), ordinary & (kind == "EXP")], ["N2", "N1", "N1b"], ""
    )
    np.testing.assert_array_equal(pool["pool"].fillna("").to_numpy(str), expected)
    assert set(expected) == {"", "N1", "N1b", "N2"}

    theta, phi = np.radians(90.0 - dec), np.radians(sources["ra"].to_numpy())
    pixels = healpy.ang2pix(128, theta, phi, nest=True)
    draws = [int.from_bytes(hashlib.sha256(f"{pixel}_42".encode()).digest()[:4], "big") / 2**32 for pixel in pixels]
    split = np.select([np.array(draws) < 0.5, np.array(draws) < 0.7], ["train", "val"], "test")
    np.testing.assert_array_equal(pool["split"].to_numpy(str), split)


def test_published_magnitudes_are_those_of_the_fluxes(photometry: pd.DataFrame) -> None:
    for band in "grz":
        ours = flux_to_mag(photometry[f"FLUX_{band.upper()}"])
        theirs = photometry[f"{band}_mag"].to_numpy(float)
        good = np.isfinite(theirs)
        np.testing.assert_allclose(ours[good], theirs[good], atol=1e-5)
        assert np.isnan(ours[photometry[f"FLUX_{band.upper()}"] <= 0]).all()


def test_known_lenses_in_a_published_negative_list_are_found(lenses: pd.DataFrame) -> None:
    negatives = pd.read_parquet(reference_file("catalogs/negatives_by_brick_a.parquet"))
    separation = nearest_separation_arcsec(negatives["RA"], negatives["DEC"], lenses["ra"], lenses["dec"], 11.0)
    within_five = separation <= 5.0
    assert within_five.sum() == 58
    sources = negatives.rename(columns={"row_id": "galaxy_id", "RA": "ra", "DEC": "dec"})
    listed = sources_near_lenses(sources, lenses, 5.0)
    assert len(listed) == 58
    assert listed["galaxy_id"].tolist() == sources.loc[np.argsort(separation)[:58], "galaxy_id"].tolist()
    assert listed["separation_arcsec"].is_monotonic_increasing
    named = lenses.set_index("system_id").loc[listed["system_id"], ["ra", "dec"]]
    apart = SkyCoord(named["ra"].to_numpy(), named["dec"].to_numpy(), unit="deg").separation(
        SkyCoord(listed["ra"].to_numpy(), listed["dec"].to_numpy(), unit="deg")
    )
    np.testing.assert_allclose(apart.arcsec, listed["separation_arcsec"], atol=1e-6)
    here = SkyCoord(negatives["RA"].to_numpy(), negatives["DEC"].to_numpy(), unit="deg")
    there = SkyCoord(lenses["ra"].to_numpy(), lenses["dec"].to_numpy(), unit="deg")
    _, nearest, _ = here.match_to_catalog_sky(there)
    np.testing.assert_array_equal(np.isfinite(separation), nearest.arcsec <= 11.0)


def test_a_clean_negative_list_loses_nothing_within_five_arcsec(lenses: pd.DataFrame) -> None:
    negatives = pd.read_parquet(reference_file("catalogs/desi_negatives.parquet"))
    separation = nearest_separation_arcsec(negatives["RA"], negatives["DEC"], lenses["ra"], lenses["dec"], 5.0)
    assert not np.isfinite(separation).any()
    sources = negatives.rename(columns={"TARGETID": "galaxy_id", "RA": "ra", "DEC": "dec"})
    assert len(sources_near_lenses(sources, lenses, 5.0)) == 0
