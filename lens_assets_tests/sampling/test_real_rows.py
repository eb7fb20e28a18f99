"""Real DR10 photometry through every rule whose columns it has, and real negatives against the known lenses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord

from lens_assets.catalogs.reading import installed_lenscat
from lens_assets.sampling.neighbourhood import nearest_separation_arcsec
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
    return pd.DataFrame({"ra": table["RA [deg]"].astype(float), "dec": table["DEC [deg]"].astype(float)})


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
    here = SkyCoord(negatives["RA"].to_numpy(), negatives["DEC"].to_numpy(), unit="deg")
    there = SkyCoord(lenses["ra"].to_numpy(), lenses["dec"].to_numpy(), unit="deg")
    _, nearest, _ = here.match_to_catalog_sky(there)
    np.testing.assert_array_equal(np.isfinite(separation), nearest.arcsec <= 11.0)


def test_a_clean_negative_list_loses_nothing_within_five_arcsec(lenses: pd.DataFrame) -> None:
    negatives = pd.read_parquet(reference_file("catalogs/desi_negatives.parquet"))
    separation = nearest_separation_arcsec(negatives["RA"], negatives["DEC"], lenses["ra"], lenses["dec"], 5.0)
    assert not np.isfinite(separation).any()
