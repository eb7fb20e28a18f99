"""Separations, neighbours and contaminants against astropy and against a loop over all pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_assets.sampling.neighbourhood import (
    contaminant_categories,
    known_systems,
    nearest_separation_arcsec,
    similar_neighbours,
    source_neighbourhood,
)
from lens_assets_tests.sampling import synthetic

ARCSEC = 1.0 / 3600.0


def crowd(count: int, seed: int, ra: float, dec: float, width_arcsec: float) -> pd.DataFrame:
    """Return sources crowded into a small field, so that many pairs are within a few arcsec."""
    rng = np.random.default_rng(seed)
    width = width_arcsec * ARCSEC
    return pd.DataFrame(
        {
            "galaxy_id": [f"10000_1_{index}" for index in range(count)],
            "ra": (ra + rng.uniform(-width, width, count) / np.cos(np.radians(dec))) % 360.0,
            "dec": dec + rng.uniform(-width, width, count),
            "mag_z": np.where(rng.random(count) < 0.1, np.nan, rng.uniform(17.0, 22.0, count)),
        }
    )


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000), ra=st.sampled_from([0.0, 180.0, 359.9999]), dec=st.sampled_from([-17.9, 0.0, 31.9, 89.0])
)
def test_nearest_separation_agrees_with_astropy(seed: int, ra: float, dec: float) -> None:
    sources, lenses = crowd(60, seed, ra, dec, 60.0), crowd(20, seed + 1, ra, dec, 60.0)
    found = nearest_separation_arcsec(sources["ra"], sources["dec"], lenses["ra"], lenses["dec"], 11.0)
    here = SkyCoord(sources["ra"].to_numpy(), sources["dec"].to_numpy(), unit="deg")
    there = SkyCoord(lenses["ra"].to_numpy(), lenses["dec"].to_numpy(), unit="deg")
    _, expected, _ = here.match_to_catalog_sky(there)
    within = expected.arcsec <= 11.0
    assert (np.isfinite(found) == within).all()
    np.testing.assert_allclose(found[within], expected.arcsec[within], atol=1e-6)


def test_what_has_no_position_matches_nothing() -> None:
    found = nearest_separation_arcsec([10.0, np.nan], [0.0, 0.0], [10.0, np.nan], [0.0, np.nan], 11.0)
    assert found[0] == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(found[1])
    assert np.isnan(nearest_separation_arcsec([10.0], [0.0], [], [], 11.0)).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), dec=st.sampled_from([0.0, 30.0]))
def test_similar_neighbours_match_a_loop_over_pairs(seed: int, dec: float) -> None:
    sources = crowd(40, seed, 150.0, dec, 20.0)
    rule = synthetic.negatives_settings().confusers.merger
    positions = SkyCoord(sources["ra"].to_numpy(), sources["dec"].to_numpy(), unit="deg")
    expected = np.zeros(len(sources), dtype=int)
    for index, (position, mag) in enumerate(zip(positions, sources["mag_z"], strict=True)):
        separation = position.separation(positions).arcsec
        near = (separation >= rule.separation_min_arcsec) & (separation <= rule.separation_max_arcsec)
        expected[index] = int((near & (np.abs(sources["mag_z"] - mag) <= rule.delta_mag_z_max)).sum())
    assert similar_neighbours(sources, rule).tolist() == expected.tolist()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), ra=st.sampled_from([0.0, 150.0]), dec=st.sampled_from([-89.999, 0.0, 30.0]))
def test_counts_of_asked_sources_are_those_of_all(seed: int, ra: float, dec: float) -> None:
    sources = crowd(60, seed, ra, dec, 20.0)
    rule = synthetic.negatives_settings().confusers.merger
    asked = (sources["mag_z"].to_numpy() < 19.0) & (np.random.default_rng(seed).random(60) < 0.5)
    found = similar_neighbours(sources, rule, asked)
    assert found[asked].tolist() == similar_neighbours(sources, rule)[asked].tolist()
    assert not similar_neighbours(sources, rule, np.zeros(60, dtype=bool)).any()


def test_two_rows_of_one_source_are_not_neighbours() -> None:
    rule = synthetic.negatives_settings().confusers.merger
    twins = pd.DataFrame(
        {"galaxy_id": ["a", "a", "b"], "ra": [10.0, 10.0 + 4 * ARCSEC, 10.0 + 60 * ARCSEC], "dec": 0.0, "mag_z": 18.0}
    )
    assert similar_neighbours(twins, rule).tolist() == [0, 0, 0]


def test_contaminants_by_id_and_by_position() -> None:
    sources = pd.DataFrame({"galaxy_id": ["a", "b", "c"], "ra": [10.0, 10.1, 10.2], "dec": 0.0})
    listed = pd.DataFrame(
        {
            "contaminant_id": ["3", "1", "2", "4"],
            "galaxy_id": ["c", None, None, "elsewhere"],
            "ra": [np.nan, 10.0 + 1.0 * ARCSEC, 10.0 + 0.5 * ARCSEC, 10.1],
            "dec": [np.nan, 0.0, 0.0, 0.0],
            "category": ["ring", "spiral", "merger", "ring"],
        }
    )
    assert contaminant_categories(sources, listed, 1.5) == {"a": "spiral", "c": "ring"}
    assert contaminant_categories(sources, listed.iloc[:0], 1.5) == {}


def test_a_margin_makes_neighbours_independent_of_the_partition() -> None:
    rules = synthetic.negatives_settings()
    sources = crowd(120, 3, 150.0, 0.0, 40.0)
    nothing = pd.DataFrame({"ra": [], "dec": []})
    none = pd.DataFrame(columns=["contaminant_id", "galaxy_id", "ra", "dec", "category"])
    whole = source_neighbourhood(sources, nothing, none, rules).set_index("galaxy_id")["similar_neighbours"]
    left = sources["ra"] < 150.0
    for own in (left, ~left):
        edge = own | (np.abs(sources["ra"] - 150.0) < 10 * ARCSEC)
        part = source_neighbourhood(sources[edge].reset_index(drop=True), nothing, none, rules)
        part = part[part["galaxy_id"].isin(sources.loc[own, "galaxy_id"])]
        expected = whole[whole.index.isin(sources.loc[own, "galaxy_id"])]
        assert part.set_index("galaxy_id")["similar_neighbours"].sort_index().equals(expected.sort_index())


def test_reviewed_lenses_keep_negatives_away_whether_or_not_they_match_a_source() -> None:
    contaminants = pd.DataFrame(
        {
            "contaminant_id": ["matched", "unmatched", "nowhere", "ring"],
            "ra": [10.0, 20.0, np.nan, 30.0],
            "dec": [1.0, 2.0, np.nan, 3.0],
            "use": ["exclude", "exclude", "exclude", "contaminant"],
            "matched": [True, False, False, True],
        }
    )
    lenses = pd.DataFrame({"lens_id": ["l"], "ra": [40.0], "dec": [4.0]})
    spectra = pd.DataFrame({"spec_id": ["s"], "ra": [50.0], "dec": [5.0]})
    systems = known_systems(lenses, spectra, contaminants)
    assert systems["system_id"].tolist() == ["l", "s", "matched", "unmatched"]
    near = nearest_separation_arcsec([20.0], [2.0 + 5.0 * ARCSEC], systems["ra"], systems["dec"], 11.0)
    assert near[0] == pytest.approx(5.0, abs=1e-6)
