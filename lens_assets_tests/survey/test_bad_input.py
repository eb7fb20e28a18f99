"""What a survey folder may hold instead of sweeps: each is set aside by name with the reason, and the rest goes on."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from lens_assets.sky import healpix
from lens_assets.survey.sources import Region
from lens_assets.survey.tiles import parse_sweep_name
from lens_assets_tests.survey.reference import reference_file
from lens_assets_tests.survey.sweep_files import files_of, ingest, sweep_rows, write_sweep

GOOD, BAD = "sweep-000m005-005p000.fits", "sweep-005m005-010p000.fits"
REGION = Region(4, int(healpix.pixel_of(4, 4.9, -2.0)[0]), 60.0)


def without(rows, *names):
    return rows[[name for name in rows.dtype.names if name not in names]].copy()


def with_type(rows, name, dtype):
    changed = np.zeros(len(rows), [(item, dtype if item == name else rows.dtype[item]) for item in rows.dtype.names])
    for item in rows.dtype.names:
        changed[item] = rows[item] if item != name else np.zeros(len(rows), dtype)
    return changed


def rows(count=300):
    return sweep_rows(np.linspace(5.1, 9.9, count), np.full(count, -2.0), np.arange(1000, 1000 + count))


def cut_gzip(folder):
    content = write_sweep(folder, BAD, rows()).read_bytes()
    (folder / BAD).unlink()
    (folder / f"{BAD}.gz").write_bytes(gzip.compress(content)[:-400])


FAULTS = {
    "missing_columns": (
        lambda folder: write_sweep(folder, BAD, without(rows(), "SERSIC", "MASKBITS")),
        "lacks 2 columns, named here with the first release that has them: SERSIC (DR9), MASKBITS (DR7). "
        "Expected a DR9 or DR10 sweep",
    ),
    "wrong_type": (
        lambda folder: write_sweep(folder, BAD, with_type(rows(), "NOBS_Z", "f4")),
        "column NOBS_Z is float32; expected int16",
    ),
    "not_fits": (lambda folder: (folder / BAD).write_text("404"), "begins with b'404'; expected 'SIMPLE  ='"),
    "empty": (lambda folder: (folder / BAD).touch(), "has no bytes; expected a FITS file"),
    "folder": (lambda folder: (folder / BAD).mkdir(), "is a folder; expected a FITS file"),
    "truncated": (cut_gzip, "the gzip stream is cut or damaged"),
    "no_table": (
        lambda folder: (folder / BAD).write_bytes(write_sweep(folder, "whole.fits", rows()).read_bytes()[:2880]),
        "has no binary table, or is cut before its end; expected a sweep catalog",
    ),
    "missing": (lambda folder: (folder / BAD).symlink_to(folder / "gone.fits"), "No such file"),
}


@pytest.mark.parametrize("reason", list(FAULTS))
def test_a_file_that_cannot_be_used_is_set_aside_with_the_reason(tmp_path, reason):
    put, message = FAULTS[reason]
    write_sweep(tmp_path, GOOD, sweep_rows(np.full(10, 4.9), np.full(10, -2.0)))
    put(tmp_path)
    (tmp_path / "README.txt").write_text("not a sweep")
    names = [tile.name for tile in files_of(tmp_path).sweep_tiles()]
    assert len(names) == 2  # the text is passed over
    result = ingest(tmp_path, names, REGION)
    good, bad = result.accounts.to_dict("records")
    assert (bad["status"], bad["reason"], bad["rows_read"], bad["kept"]) == ("quarantined", reason, 0, 0)
    assert message in bad["detail"]
    assert (good["status"], good["kept"], result.sources.num_rows) == ("ok", 10, 10)


@pytest.mark.parametrize("release", ["dr3", "dr7", "dr8"])
def test_real_files_of_older_releases_are_refused_by_what_they_lack(tmp_path, release):
    source = reference_file(f"sweeps/{release}/sweep-310m005-320p000.fits")
    shutil.copy(source, tmp_path)
    pixel = int(healpix.pixel_of(4, 315.0, -2.0)[0])
    (account,) = ingest(tmp_path, [source.name], Region(4, pixel, 60.0)).accounts.to_dict("records")
    assert (account["status"], account["reason"]) == ("quarantined", "missing_columns")
    for column in ("SERSIC (DR9)", "SHAPE_R (DR9)", "PSFSIZE_Z (DR9)", "FITBITS (DR9)"):
        assert column in account["detail"]
    assert ("MASKBITS (DR7)" in account["detail"]) == (release == "dr3")
    assert ("REF_CAT (DR8)" in account["detail"]) == (release != "dr8")
    assert "FLUX_I" not in account["detail"]


def test_a_real_row_of_dr9_becomes_a_source(tmp_path):
    name = "sweep-105p055-110p060.fits"
    shutil.copy(reference_file("sweeps/dr9/tractor-1054p567.fits"), tmp_path / name)
    pixel = int(healpix.pixel_of(4, 105.4, 56.7)[0])
    result = ingest(tmp_path, [name], Region(4, pixel, 60.0))
    (row,) = result.sources.to_pylist()
    assert (row["galaxy_id"], row["type"], row["brickname"]) == ("9011_607466_2657", "REX", "1054p567")
    assert row["flux_i"] is None
    assert row["mag_r"] == pytest.approx(22.5 - 2.5 * np.log10(5.947273), abs=1e-6)
    assert (row["healpix_64"], row["healpix_128"]) == tuple(
        int(healpix.pixel_of(nside, row["ra"], row["dec"])[0]) for nside in (64, 128)
    )
    assert parse_sweep_name(name).contains([row["ra"]], [row["dec"]]).all()
    assert result.accounts[["rows_read", "kept", "not_primary"]].to_numpy().tolist() == [[1, 1, 0]]


def test_a_real_table_of_another_kind_is_refused(tmp_path):
    shutil.copy(reference_file("sweeps/targets.fits"), tmp_path / BAD)
    (account,) = ingest(tmp_path, [BAD], REGION).accounts.to_dict("records")
    assert (account["status"], account["reason"]) == ("quarantined", "missing_columns")


def test_integers_that_the_file_stores_with_an_offset_are_read_as_numbers(tmp_path):
    plain = sweep_rows(np.full(20, 4.9), np.full(20, -2.0))
    plain["NOBS_R"] = np.arange(20)
    shifted = with_type(plain, "NOBS_R", "u2")
    shifted["NOBS_R"] = plain["NOBS_R"]
    flags = np.zeros(20, [*shifted.dtype.descr, ("BRICK_PRIMARY", "?")])
    for name in shifted.dtype.names:
        flags[name] = shifted[name]
    flags["BRICK_PRIMARY"] = np.arange(20) % 2 == 0
    found = []
    for content in (plain[::2], flags):
        write_sweep(tmp_path, GOOD, content)
        found.append(ingest(tmp_path, [GOOD], REGION).sources.drop_columns(["row_index"]))
    assert found[0].equals(found[1])
    assert found[0].num_rows == 10


def test_the_folder_of_the_tests_is_left_as_it_was(tmp_path):
    path = write_sweep(tmp_path, GOOD, sweep_rows(np.full(10, 4.9), np.full(10, -2.0)))
    before = path.read_bytes()
    ingest(tmp_path, [GOOD], REGION)
    assert [item.name for item in Path(tmp_path).iterdir()] == [GOOD]
    assert path.read_bytes() == before
