"""From sweep files to a partition: every row accounted for, whichever order the files come in."""

import healpy
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lens_assets.sky import healpix
from lens_assets.survey.sources import SOURCE_SCHEMA, Region, derived_columns
from lens_assets_tests.survey import sweep_files
from lens_assets_tests.survey.reference import reference_file
from lens_assets_tests.survey.sweep_files import sweep_rows, write_sweep

WEST, EAST = "sweep-000m005-005p000.fits", "sweep-005m005-010p000.fits"
PIXEL = int(healpix.pixel_of(4, 4.9, -2.0)[0])
REGION = Region(4, PIXEL, 60.0)


def ingest(folder, names, region=REGION, chunk_rows=1000, **more):
    return sweep_files.ingest(folder, names, region, chunk_rows, **more)


@pytest.fixture
def survey(tmp_path):
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 10, 4000), rng.uniform(-5, 0, 4000)
    ra[:40] = rng.uniform(4.995, 5.005, 40)
    rows = sweep_rows(ra, dec)
    both = np.abs(ra - 5.0) < 0.01
    write_sweep(tmp_path, WEST, rows[(ra < 5) | both])
    write_sweep(tmp_path, EAST, rows[(ra >= 5) | both])
    return tmp_path, pd.DataFrame({"ra": ra, "dec": dec, "both": both})


def test_each_source_is_held_once_and_every_row_accounted_for(survey):
    folder, truth = survey
    result = ingest(folder, [WEST, EAST])
    sources, accounts = result.sources.to_pandas(), result.accounts.set_index("sweep_file")
    own = healpix.pixel_of(4, truth["ra"], truth["dec"]) == PIXEL
    assert sources["galaxy_id"].is_unique
    assert (~sources["in_margin"]).sum() == own.sum()
    counted = accounts[["not_primary", "malformed", "outside", "no_flux_z", "faint", "duplicate", "kept"]].sum(axis=1)
    assert (accounts["rows_read"] == counted).all()
    assert accounts["kept"].sum() == len(sources)
    in_region = own | healpix.within_margin(4, PIXEL, truth["ra"], truth["dec"], 60.0)
    assert accounts["duplicate"].sum() == (truth["both"] & in_region).sum()
    assert result.sources.schema.equals(SOURCE_SCHEMA)


def test_the_order_of_files_and_the_chunk_size_change_nothing(survey):
    folder, _ = survey
    first = ingest(folder, [WEST, EAST])
    second = ingest(folder, [EAST, WEST], chunk_rows=37)
    assert first.sources.equals(second.sources)
    pd.testing.assert_frame_equal(first.accounts, second.accounts)


def test_a_source_is_kept_from_the_file_whose_box_holds_it(survey):
    folder, _ = survey
    sources = ingest(folder, [WEST, EAST]).sources.to_pandas()
    assert (sources["sweep_file"] == np.where(sources["ra"] < 5.0, WEST, EAST)).all()


def test_margins_of_neighbours_meet(survey):
    folder, truth = survey
    around = healpy.get_all_neighbours(4, PIXEL, nest=True)
    neighbours = np.append(around[around >= 0], PIXEL)
    parts = [ingest(folder, [WEST, EAST], Region(4, int(p), 60.0)).sources.to_pandas() for p in neighbours]
    together = pd.concat(parts)
    own = together[~together["in_margin"]]
    assert own["galaxy_id"].is_unique
    assert set(together.loc[together["in_margin"], "galaxy_id"]) <= set(own["galaxy_id"]) | _outside(truth, neighbours)


def _outside(truth, pixels):
    outside = ~np.isin(healpix.pixel_of(4, truth["ra"], truth["dec"]), pixels)
    return {f"10000_7_{number}" for number in np.flatnonzero(outside)}


def test_damaged_rows_are_counted_and_left_out(tmp_path):
    rows = sweep_rows(np.full(6, 4.9), np.full(6, -2.0))
    rows["RA"][0], rows["DEC"][1], rows["TYPE"][2] = np.nan, 95.0, b"COM"
    rows["FLUX_R"][3], rows["OBJID"][4] = np.inf, -1
    write_sweep(tmp_path, WEST, rows)
    result = ingest(tmp_path, [WEST])
    assert result.sources.num_rows == 1
    assert result.accounts["malformed"].item() == 5


def test_an_unreadable_file_is_set_aside_by_name_and_the_rest_goes_on(survey):
    folder, _ = survey
    whole = ingest(folder, [WEST]).sources.num_rows
    bad = folder / EAST
    bad.write_bytes(bad.read_bytes()[:40_000])
    result = ingest(folder, [WEST, EAST])
    accounts = result.accounts.set_index("sweep_file")
    assert accounts.loc[EAST, ["status", "reason", "kept"]].tolist() == ["quarantined", "truncated", 0]
    assert str(bad) not in accounts.loc[EAST, "detail"]
    assert result.sources.num_rows == whole


def test_an_empty_region_makes_an_empty_table_with_all_columns(tmp_path):
    write_sweep(tmp_path, WEST, sweep_rows(np.array([0.5]), np.array([-4.0])))
    for names in ([], [WEST]):
        result = ingest(tmp_path, names, Region(4, 130, 60.0))
        assert result.sources.num_rows == 0
        assert result.sources.schema.equals(SOURCE_SCHEMA)


def test_the_faint_limit_is_counted(tmp_path):
    rows = sweep_rows(np.full(3, 4.9), np.full(3, -2.0))
    rows["FLUX_Z"] = [100.0, 1.0, -1.0]  # z = 17.5, 22.5, none
    write_sweep(tmp_path, WEST, rows)
    result = ingest(tmp_path, [WEST], Region(4, PIXEL, 60.0, 21.0))
    assert result.accounts[["kept", "faint", "no_flux_z", "unaccounted"]].to_numpy().tolist() == [[1, 1, 1, 0]]


def test_missing_values_are_null(tmp_path):
    rows = sweep_rows(np.array([4.9]), np.array([-2.0]))
    rows["FLUX_G"], rows["PSFDEPTH_Z"] = -1.0, 0.0
    names = [name for name in rows.dtype.names if not name.endswith("_I")]  # as DR9
    write_sweep(tmp_path, WEST, rows[names].copy())
    (row,) = ingest(tmp_path, [WEST]).sources.to_pylist()
    assert [row[name] for name in ("flux_i", "mag_g", "g_minus_r", "psfdepth_z_mag")] == [None] * 4
    assert row["mag_r"] == pytest.approx(22.5 - 2.5 * np.log10(20.0))
    assert row["axis_ratio"] == pytest.approx(0.8 / 1.2)
    assert row["healpix_64"] == row["healpix_128"] // 4
    assert row["sky_partition"] == f"hp04-{PIXEL:03d}"


def test_magnitudes_agree_with_those_of_real_dr10_rows():
    real = pd.read_parquet(reference_file("catalogs/dr10_lrg_density.parquet"))
    columns = {name.lower(): name for name in real.columns}
    frame = pd.DataFrame({f"flux_{band}": real[columns[f"flux_{band}"]] for band in ("g", "r", "z", "w1")})
    for name in ("shape_e1", "shape_e2", *(f"{d}_{b}" for d in ("psfdepth", "galdepth") for b in "grz")):
        frame[name] = np.nan
    derived = derived_columns(frame)
    mags = {name: columns[name] for name in columns if name.startswith(("mag_", "gmag", "rmag", "zmag"))}
    for name, original in mags.items():
        band = name.replace("mag_", "").replace("mag", "")
        if f"mag_{band}" in derived:
            known = np.isfinite(real[original].to_numpy()) & np.isfinite(derived[f"mag_{band}"])
            np.testing.assert_allclose(derived[f"mag_{band}"][known], real[original].to_numpy()[known], atol=1e-4)
    assert set(real[columns["type"]].str.strip()) <= {"PSF", "REX", "DEV", "EXP", "SER", "DUP"}
    assert np.isfinite(derived["mag_z"]).mean() > 0.99


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(6)))
def test_the_result_does_not_depend_on_the_order_of_rows_but_for_their_index(tmp_path, order):
    rows = sweep_rows(np.linspace(4.0, 4.9, 6), np.linspace(-3.0, -2.0, 6))
    write_sweep(tmp_path, WEST, rows)
    straight = ingest(tmp_path, [WEST]).sources.drop_columns(["row_index"])
    write_sweep(tmp_path, WEST, rows[list(order)])
    assert ingest(tmp_path, [WEST]).sources.drop_columns(["row_index"]).equals(straight)
