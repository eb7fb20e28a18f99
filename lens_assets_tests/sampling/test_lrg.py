"""Luminous red galaxies: flags against numpy and against others' flags on real rows; regions against a real table."""

from __future__ import annotations

import healpy
import numpy as np
import pandas as pd
import pytest

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.host_selection import VARIANTS
from lens_assets.sampling.lrg import PARENT_MODELS, RANKINGS, flag_sources, lrg_parameters, rank_regions
from lens_assets.sampling.models import load_project
from lens_assets.sampling.sql import run
from lens_assets.sky import healpix
from lens_assets.survey.units import flux_to_mag
from lens_assets_tests.sampling import synthetic
from lens_assets_tests.survey.reference import reference_file

SETTINGS = load_campaign("dr10").host_selection
PUBLISHED = {
    "v1_pure_massive": (20.0, 0.5, 1.6),
    "v2_baseline_dr10": (20.4, 0.4, 1.6),
    "v3_color_relaxed": (20.4, 0.4, 0.8),
    "v4_mag_relaxed": (21.0, 0.4, 0.8),
    "v5_very_relaxed": (21.5, 0.3, 0.8),
}


def independent_flags(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the flags by the published limits, with numpy; NaN compares false."""
    z, rz, zw = (frame[name].to_numpy(float) for name in ("mag_z", "r_minus_z", "z_minus_w1"))
    with np.errstate(invalid="ignore"):
        return {name: (z < a) & (rz > b) & (zw > c) for name, (a, b, c) in PUBLISHED.items()}


@pytest.mark.parametrize("campaign", ["demo", "dr10"])
def test_both_campaigns_state_the_published_limits(campaign: str) -> None:
    variants = load_campaign(campaign).host_selection.variants
    stated = {name: tuple(value for _, value in getattr(variants, name)) for name in VARIANTS}
    assert stated == PUBLISHED


def test_flags_and_parents_of_rows_with_nulls_nan_and_ties() -> None:
    rows = synthetic.sources(4000, 7)
    rng = np.random.default_rng(1)
    rows["mag_z"] = rng.uniform(18.5, 22.0, len(rows))
    rows["r_minus_z"], rows["z_minus_w1"] = rng.uniform(0.1, 1.2, len(rows)), rng.uniform(0.5, 2.2, len(rows))
    rows.loc[:40, "z_minus_w1"] = np.nan
    rows.loc[41:80, "mag_z"] = None
    rows.loc[81:90, ["mag_z", "r_minus_z", "z_minus_w1"]] = [20.0, 0.5, 1.6]  # on every limit of v1: outside
    rows = rows.drop_duplicates("galaxy_id")
    tables = flag_sources(arrow(rows), SETTINGS)
    own = rows[~rows["in_margin"]].sort_values("galaxy_id").reset_index(drop=True)
    flagged = tables["lrg_sources"].to_pandas()
    assert flagged["galaxy_id"].tolist() == own["galaxy_id"].tolist()
    for name, expected in independent_flags(own).items():
        assert 0 < expected.sum() < len(own)
        assert flagged[f"lrg_{name}"].to_numpy(bool).tolist() == expected.tolist(), name
        parents = tables[PARENT_MODELS[name]].to_pandas()
        assert parents["galaxy_id"].tolist() == own.loc[expected, "galaxy_id"].tolist()
    assert not flagged.loc[flagged["mag_z"] == 20.0, "lrg_v1_pure_massive"].any()


def arrow(frame: pd.DataFrame):  # type: ignore[no-untyped-def]
    """Return rows as the table that the models read."""
    from lens_assets_tests.sampling.test_two_engines import declared

    return declared("sweep_sources", frame)


@pytest.fixture(scope="module")
def real_rows() -> pd.DataFrame:
    """Real DR10 rows, magnitudes made here from the fluxes, with the flags that others gave them."""
    rows = pd.read_parquet(reference_file("catalogs/dr10_lrg_density.parquet"))
    mags = {band: flux_to_mag(rows[f"FLUX_{band.upper()}"].to_numpy(float)) for band in ("g", "r", "z", "w1")}
    pixel = healpix.pixel_of(128, rows["RA"], rows["DEC"])
    frame = synthetic.sources(len(rows), 3).drop(columns=["mag_g", "mag_r", "mag_z"])
    return frame.assign(
        galaxy_id=[f"10000_{number}_1" for number in range(len(rows))],
        in_margin=False,
        brickname=rows["BRICKNAME"].to_numpy(),
        ra=rows["RA"].to_numpy(),
        dec=rows["DEC"].to_numpy(),
        type=rows["TYPE"].to_numpy(),
        healpix_128=pixel,
        **{f"mag_{band}": mags[band] for band in "grz"},
        r_minus_z=mags["r"] - mags["z"],
        z_minus_w1=mags["z"] - mags["w1"],
        **{f"given_v{number}": rows[f"is_lrg_v{number}"].to_numpy() for number in range(1, 6)},
    )


def test_the_five_flags_of_real_rows_are_those_that_others_gave(real_rows: pd.DataFrame) -> None:
    flagged = flag_sources(arrow(real_rows), SETTINGS)["lrg_sources"].to_pandas().set_index("galaxy_id")
    given = real_rows.set_index("galaxy_id").loc[flagged.index]
    totals = {}
    for number, variant in enumerate(VARIANTS, start=1):
        assert (flagged[f"lrg_{variant}"].to_numpy(bool) == given[f"given_v{number}"].to_numpy()).all(), variant
        totals[variant] = int(flagged[f"lrg_{variant}"].sum())
    assert list(totals.values()) == [486, 738, 1509, 1509, 1509]


def test_baseline_counts_of_real_bricks_are_those_of_the_whole_survey(real_rows: pd.DataFrame) -> None:
    flagged = flag_sources(arrow(real_rows), SETTINGS)["lrg_sources"].to_pandas()
    counted = flagged.groupby("brickname")["lrg_v2_baseline_dr10"].sum()
    listed = pd.read_csv(reference_file("survey/dr10_lrg_counts_per_brick.csv.gz")).set_index("brickname")["lrg_count"]
    same = counted == listed.loc[counted.index]
    assert same.sum() == 5
    # At declination +-87 the parent list of this one brick was cut to a box of right ascension: 13 of 59 are left.
    assert counted[~same].to_dict() == {"1597m870": 13}
    assert listed["1597m870"] == 59


def test_regions_of_a_real_table_come_out_with_their_numbers_and_ranks() -> None:
    bricks = pd.read_csv(reference_file("survey/dr10_region_bricks_v3.csv"))
    table = pd.read_csv(reference_file("survey/dr10_regions_v3.csv")).set_index("region_id").sort_index()
    conditions = table.loc[bricks["region_id"], ["median_psf_r_arcsec", "median_psfdepth_r", "median_ebv"]].to_numpy()
    density, members = [], []
    for variant in VARIANTS:
        frame = pd.DataFrame(
            {
                "healpix_128": np.arange(len(bricks)), "variant": variant, "n_sources": bricks["n_gal"],
                "area_deg2": bricks["area_deg2"], "psfsize_r_arcsec": conditions[:, 0],
                "psfdepth_r_mag": conditions[:, 1], "ebv": conditions[:, 2], "n_lrg": bricks[f"n_lrg_{variant}"],
                "is_dense": True,
            }
        )  # fmt: skip
        density.append(frame.assign(density_per_deg2=frame["n_lrg"] / frame["area_deg2"]))
        members.append(frame[["variant", "healpix_128"]].assign(region_id=bricks["region_id"]))
    given = {"int_lrg_cell_density": pd.concat(density), "lrg_region_cells": pd.concat(members)}
    made = run(load_project(), ["lrg_regions"], given, lrg_parameters(SETTINGS)).tables["lrg_regions"].to_pandas()
    for variant, rows in made.groupby("variant"):
        rows = rows.set_index("region_id").sort_index()
        assert rows["n_lrg"].tolist() == table[f"total_n_lrg_{variant}"].tolist()
        assert rows["n_sources"].tolist() == table["total_n_gal"].tolist()
        np.testing.assert_allclose(rows["area_deg2"], table["total_area_deg2"], rtol=1e-12)
        np.testing.assert_allclose(rows["density_per_deg2"], table[f"mean_lrg_density_{variant}"], rtol=1e-12)
        np.testing.assert_allclose(rows["score_psf_weighted"], weighted_density(table, variant), rtol=1e-9)
        expected = table[f"mean_lrg_density_{variant}"] * np.sqrt(table["total_area_deg2"])
        np.testing.assert_allclose(rows["score_area_weighted"], expected, rtol=1e-12)
    given_ranks = pd.read_parquet(reference_file("catalogs/dr10_lrg_density.parquet"))
    given_ranks = given_ranks.drop_duplicates("region_id").set_index("region_id")["phase3_region_rank"]
    ranks = made[made["variant"] == "v3_color_relaxed"].set_index("region_id")["rank_density"]
    assert ranks.loc[given_ranks.index].tolist() == given_ranks.tolist()


def weighted_density(table: pd.DataFrame, variant: str) -> np.ndarray:
    """Return density times the weights of PSF, depth and dust, with numpy; a condition of zero was not measured."""
    low, high = np.percentile(table["median_psfdepth_r"], [10, 90])
    psf = np.clip(np.exp(-(table["median_psf_r_arcsec"] - 1.25) / 0.15), 0, 1)
    depth = np.clip((table["median_psfdepth_r"] - low) / (high - low), 0, 1)
    return (table[f"mean_lrg_density_{variant}"] * psf * depth * np.exp(-8.0 * table["median_ebv"])).to_numpy()


def cells_table(pixels: np.ndarray, **columns: object) -> pd.DataFrame:
    base = {
        "healpix_128": pixels, "sky_partition": "hp04-000", "n_sources": 1000, "area_deg2": 0.2,
        "psfsize_r_arcsec": 1.3, "psfdepth_r_mag": 24.4, "ebv": 0.03, **{f"n_lrg_{name}": 0 for name in VARIANTS},
    }  # fmt: skip
    return pd.DataFrame(base | columns)


def test_touching_dense_cells_are_one_region_and_ranks_follow_their_score() -> None:
    start = 70_000
    ring = healpy.get_all_neighbours(128, start, nest=True)
    far = np.arange(100_000, 100_400)
    pixels = np.concatenate([[start], ring, far])
    counts = np.concatenate([[50], np.full(len(ring), 40), np.zeros(len(far), int)])
    counts[len(ring) + 1 + 200] = 90  # alone, and densest
    cells = cells_table(pixels, n_lrg_v3_color_relaxed=counts)
    settings = SETTINGS.model_copy(update={"regions": SETTINGS.regions.model_copy(update={"dense_share": 0.05})})
    regions, dense = rank_regions(cells, settings)
    assert set(regions["variant"]) == {"v3_color_relaxed"}, "cells without any are never dense"
    lone, together = regions.iloc[0], regions.iloc[1]
    assert (lone["n_cells"], together["n_cells"]) == (1, 1 + len(ring))
    assert lone["rank_density"] == 1 and together["rank_n_lrg"] == 1 and together["rank_area_weighted"] == 1
    assert together["region_id"] == min([start, *ring])
    assert together["density_per_deg2"] == pytest.approx((50 + 40 * len(ring)) / (0.2 * (1 + len(ring))))
    ra, dec = healpix.pixel_centres(128, [start])
    assert (together["ra"], together["dec"]) == (pytest.approx(ra[0], abs=0.1), pytest.approx(dec[0], abs=0.1))
    assert len(dense) == 2 + len(ring)
    for name in RANKINGS:
        assert sorted(regions[f"rank_{name}"]) == [1, 2]


def test_a_region_does_not_end_where_a_base_pixel_does() -> None:
    edge = 128 * 128 - 1  # the last cell of base pixel 0 has neighbours in other base pixels
    neighbours = healpy.get_all_neighbours(128, edge, nest=True)
    across = int(next(pixel for pixel in neighbours if pixel >= 128 * 128))
    regions, _ = rank_regions(cells_table(np.array([edge, across]), n_lrg_v1_pure_massive=5), load_all_dense())
    assert regions["n_cells"].tolist() == [2]


def load_all_dense():  # type: ignore[no-untyped-def]
    return SETTINGS.model_copy(update={"regions": SETTINGS.regions.model_copy(update={"dense_share": 1.0})})


def test_no_cells_make_no_regions() -> None:
    regions, dense = rank_regions(cells_table(np.zeros(0, dtype=np.int64)), SETTINGS)
    assert len(regions) == len(dense) == 0
    assert "rank_psf_weighted" in regions


def placed_rows(ra: np.ndarray, dec: np.ndarray) -> pd.DataFrame:
    rows = synthetic.sources(len(ra), 5).assign(ra=ra, dec=dec, in_margin=False)
    rows["galaxy_id"] = [f"10000_1_{number}" for number in range(len(rows))]
    return rows.assign(healpix_128=healpix.pixel_of(128, ra, dec))


@pytest.mark.parametrize("dec_range", [(-90, 90), (85, 90), (-90, -85), (41.5, 42.1), (-42.1, -41.5), (-1, 1)])
@pytest.mark.parametrize("ra_range", [(0, 360), (359.9, 360.1), (89.9, 90.1)])
def test_the_covered_area_counts_the_pixels_of_healpy(ra_range, dec_range) -> None:
    rng = np.random.default_rng(0)
    low, high = np.sin(np.radians(dec_range))
    rows = placed_rows(rng.uniform(*ra_range, 4000) % 360.0, np.degrees(np.arcsin(rng.uniform(low, high, 4000))))
    cells = flag_sources(arrow(rows), SETTINGS)["lrg_cells"].to_pandas().set_index("healpix_128")
    rows["pixel"] = healpix.pixel_of(4096, rows["ra"], rows["dec"])
    expected = rows.groupby("healpix_128")["pixel"].nunique() * healpy.nside2pixarea(4096, degrees=True)
    np.testing.assert_allclose(cells["area_deg2"], expected.loc[cells.index], rtol=1e-12)


def test_a_filled_cell_covers_its_area_and_a_filled_square_about_its_own() -> None:
    rng = np.random.default_rng(0)
    side = 1.0
    width = side / np.cos(np.radians(30.0 + side / 2))
    rows = placed_rows(40.0 + rng.uniform(0, width, 60_000), 30.0 + rng.uniform(0, side, 60_000))
    cells = flag_sources(arrow(rows), SETTINGS)["lrg_cells"].to_pandas()
    assert cells["n_sources"].sum() == len(rows)
    assert cells["area_deg2"].sum() == pytest.approx(side**2, rel=0.05)
    assert cells["area_deg2"].max() == pytest.approx(healpy.nside2pixarea(128, degrees=True), rel=1e-3)
    one = cells.iloc[0]
    here = rows[rows["healpix_128"] == one["healpix_128"]]
    assert one["psfsize_r_arcsec"] == pytest.approx(np.nanmedian(here["psfsize_r"].astype(float)))
