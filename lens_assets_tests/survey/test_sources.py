"""One sweep file for one region, as any worker may read it."""

from __future__ import annotations

import errno
import pickle
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.sky import healpix
from lens_assets.survey import units
from lens_assets.survey.accounts import FileAccount
from lens_assets.survey.sources import (
    OUTSIDE_ITS_TILE,
    PREFERENCE,
    SOURCE_SCHEMA,
    TILE_SCHEMA,
    OpenTile,
    Region,
    derived_columns,
    read_tile,
)
from lens_assets.survey.tiles import SweepTile, parse_sweep_name
from lens_assets_tests.survey.sweep_files import files_of, ingest, sweep_rows, write_sweep

NAMES = ["sweep-000m005-005p000.fits", "sweep-005m005-010p000.fits"]
TILES = [parse_sweep_name(name) for name in NAMES]
PIXEL = int(healpix.pixel_of(4, 4.9, -2.0)[0])
REGION = Region(4, PIXEL, 60.0)


def ingest_one(tile: SweepTile, open_tile: OpenTile, region: Region, chunk_rows: int) -> tuple[pa.Table, FileAccount]:
    batches: list[pa.RecordBatch] = []
    account = read_tile(tile, open_tile, region, chunk_rows, batches.append)
    return pa.Table.from_batches(batches if account.is_ok else [], TILE_SCHEMA), account


def test_what_workers_read_file_by_file_is_the_partition(tmp_path):
    rng = np.random.default_rng(5)
    rows = sweep_rows(rng.uniform(0, 10, 3000), rng.uniform(-5, 0, 3000))
    for name, here in zip(NAMES, (rows["RA"] < 5.05, rows["RA"] > 4.95), strict=True):
        write_sweep(tmp_path, name, rows[here])
    arguments = pickle.loads(pickle.dumps((TILES, files_of(tmp_path).local_sweep, REGION)))  # noqa: S301  # our own
    parts = [ingest_one(tile, arguments[1], arguments[2], 500) for tile in arguments[0]]
    assert all(table.schema.equals(TILE_SCHEMA) for table, _ in parts)
    together = pa.concat_tables([table for table, _ in parts]).to_pandas()
    once = together.sort_values(["galaxy_id", *PREFERENCE]).drop_duplicates("galaxy_id")
    expected = ingest(tmp_path, NAMES, REGION)
    found = pa.Table.from_pandas(once.drop(columns=OUTSIDE_ITS_TILE), SOURCE_SCHEMA, preserve_index=False)
    assert found.equals(expected.sources)
    assert [account.rows_read for _, account in parts] == expected.accounts["rows_read"].tolist()
    assert sum(account.kept for _, account in parts) - len(once) == expected.accounts["duplicate"].sum() > 0


def test_a_file_that_cannot_be_used_gives_no_rows_and_the_reason(tmp_path):
    whole = write_sweep(tmp_path, NAMES[0], sweep_rows(np.full(500, 4.9), np.full(500, -2.0)))
    whole.write_bytes(whole.read_bytes()[:-3000])
    table, account = ingest_one(TILES[0], files_of(tmp_path).local_sweep, REGION, 100)
    assert table.num_rows == 0
    assert (account.status, account.reason, account.rows_read) == ("quarantined", "truncated", 0)


def test_a_full_disk_is_not_the_fault_of_a_file():
    @contextmanager
    def no_room(tile):
        raise OSError(errno.ENOSPC, "No space left on device")
        yield

    with pytest.raises(OSError, match="No space left"):
        ingest_one(TILES[0], no_room, REGION, 100)


def test_malformed_rows_are_described_by_what_was_expected_and_the_first_row(tmp_path):
    rows = sweep_rows(np.full(9, 4.9), np.full(9, -2.0))
    rows["RA"][1], rows["DEC"][2], rows["DEC"][3] = np.nan, 90.5, -90.5
    rows["TYPE"][4], rows["FLUX_R"][5], rows["OBJID"][6] = b"COM", np.inf, -1
    rows["BRICKNAME"][7] = b"\xff001m005"
    write_sweep(tmp_path, NAMES[0], rows)
    (account,) = ingest(tmp_path, NAMES[:1], REGION, chunk_rows=2).accounts.to_dict("records")
    assert (account["malformed"], account["kept"], account["status"]) == (7, 2, "ok")
    assert account["detail"].split("; ") == [
        "row 1: RA not in [0, 360) or DEC not in [-90, 90]",
        "row 4: TYPE none of PSF, REX, DEV, EXP, SER, DUP",
        "row 5: FLUX not finite in one of g, r, z",
        "row 6: RELEASE or BRICKID not above 0, or OBJID below 0",
        "row 7: BRICKNAME, TYPE or REF_CAT not text, or BRICKNAME empty",
    ]


def test_a_file_without_rows_is_a_file_that_was_read(tmp_path):
    write_sweep(tmp_path, NAMES[0], sweep_rows(np.array([]), np.array([])))
    result = ingest(tmp_path, NAMES[:1], REGION)
    assert result.accounts[["status", "rows_read", "kept"]].to_numpy().tolist() == [["ok", 0, 0]]


def test_rows_of_other_bricks_are_counted_and_left_out_even_where_they_are_malformed(tmp_path):
    rows = sweep_rows(np.full(3, 4.9), np.full(3, -2.0))
    wide = np.zeros(3, dtype=[*rows.dtype.descr, ("BRICK_PRIMARY", "?")])
    for name in rows.dtype.names:
        wide[name] = rows[name]
    wide["BRICK_PRIMARY"], wide["DEC"][1] = [True, False, True], np.nan
    write_sweep(tmp_path, NAMES[0], wide)
    account = ingest(tmp_path, NAMES[:1], REGION).accounts.iloc[0]
    assert account[["not_primary", "malformed", "kept", "detail"]].tolist() == [1, 0, 2, ""]


def test_correcting_for_dust_brightens_by_the_transmission_and_changes_no_flux(tmp_path):
    rows = sweep_rows(np.full(2, 4.9), np.full(2, -2.0))
    rows["MW_TRANSMISSION_G"], rows["MW_TRANSMISSION_W1"] = 0.5, [0.8, 0.0]
    write_sweep(tmp_path, NAMES[0], rows)
    observed = ingest(tmp_path, NAMES[:1], REGION).sources.to_pandas()
    corrected = ingest(tmp_path, NAMES[:1], Region(4, PIXEL, 60.0, None, True)).sources.to_pandas()
    np.testing.assert_allclose(corrected["mag_g"] - observed["mag_g"], 2.5 * np.log10(0.5), atol=1e-6)
    np.testing.assert_allclose(corrected["mag_r"] - observed["mag_r"], 2.5 * np.log10(0.9), atol=1e-6)
    assert corrected["mag_w1"].iloc[0] - observed["mag_w1"].iloc[0] == pytest.approx(2.5 * np.log10(0.8), abs=1e-6)
    assert np.isnan(corrected["mag_w1"].iloc[1]) and not np.isnan(observed["mag_w1"].iloc[1])
    np.testing.assert_allclose(corrected["g_minus_r"], corrected["mag_g"] - corrected["mag_r"])
    unchanged = [name for name in observed if name.startswith(("flux", "psfdepth", "galdepth"))]
    assert observed[unchanged].equals(corrected[unchanged])


def test_the_faint_limit_is_in_the_magnitude_of_the_table(tmp_path):
    rows = sweep_rows(np.full(1, 4.9), np.full(1, -2.0))
    rows["FLUX_Z"], rows["MW_TRANSMISSION_Z"] = units.mag_to_flux(21.1), 0.8  # 21.1 observed, 20.86 corrected
    write_sweep(tmp_path, NAMES[0], rows)
    kept = [ingest(tmp_path, NAMES[:1], Region(4, PIXEL, 60.0, 21.0, dust)).sources.num_rows for dust in (False, True)]
    assert kept == [0, 1]


@given(st.lists(st.tuples(st.floats(0, 359.999), st.floats(-90, 90)), min_size=1, max_size=50))
def test_pixels_of_every_resolution_follow_from_fine_ones(positions):
    ra, dec = np.array(positions).T
    fine = healpix.pixel_of(healpix.FINE_NSIDE, ra, dec)
    for nside in (1, 2, 4, 8, 16, 64, 128):
        np.testing.assert_array_equal(
            healpix.coarser(fine, healpix.FINE_NSIDE, nside), healpix.pixel_of(nside, ra, dec)
        )


def test_depths_and_shapes_have_known_answers():
    columns = {f"flux_{band}": np.array([1.0, 0.0, -1.0]) for band in ("g", "r", "z", "w1")}
    columns |= {f"{kind}_{band}": np.array([25.0, 0.0, np.nan]) for kind in ("psfdepth", "galdepth") for band in "grz"}
    columns |= {"shape_e1": np.array([0.0, 0.3, 1.0]), "shape_e2": np.array([0.0, 0.4, 0.0])}
    derived = derived_columns(columns)
    np.testing.assert_allclose(derived["mag_g"], [22.5, np.nan, np.nan])
    np.testing.assert_allclose(derived["psfdepth_r_mag"], [22.5, np.nan, np.nan])  # 5 / sqrt(25) is one nanomaggy
    np.testing.assert_allclose(derived["ellipticity"], [0.0, 0.5, 1.0])
    np.testing.assert_allclose(derived["axis_ratio"], [1.0, 1.0 / 3.0, np.nan])
