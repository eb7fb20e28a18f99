"""Sources in several files: copies are counted, contradictions stop the partition, the order of files is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lens_assets.sky import healpix
from lens_assets.survey.merging import ConflictingRowsError
from lens_assets.survey.sources import Region
from lens_assets_tests.survey.sweep_files import ingest, sweep_rows, write_sweep

NAMES = [f"sweep-{ra:03d}m005-{ra + 5:03d}p000.fits" for ra in (0, 5, 10)]
REGION = Region(1, int(healpix.pixel_of(1, 7.0, -2.0)[0]), 60.0)


def overlapping(folder, places):
    """Write each of 30 sources into the files that its number in `places` (bits) names."""
    ra, dec = np.linspace(0.1, 14.9, len(places)), np.linspace(-4.0, -1.0, len(places))
    rows = sweep_rows(ra, dec)
    for bit, name in enumerate(NAMES):
        write_sweep(folder, name, rows[(np.array(places) >> bit) & 1 == 1])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 7), min_size=30, max_size=30), st.permutations(NAMES))
def test_whichever_order_files_come_in_the_table_and_the_accounts_are_the_same(tmp_path, places, order):
    overlapping(tmp_path, places)
    straight, permuted = ingest(tmp_path, NAMES, REGION), ingest(tmp_path, order, REGION, chunk_rows=7)
    assert permuted.path.read_bytes() == straight.path.read_bytes()
    assert permuted.accounts.equals(straight.accounts)
    assert straight.sources.num_rows == 30
    copies = sum(place.bit_count() for place in places)
    assert straight.accounts["duplicate"].sum() == copies - 30
    assert straight.accounts["kept"].sum() == 30


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [("FLUX_R", 21.0, "flux_r (20.0 and 21.0)"), ("SERSIC", np.nan, "sersic (3.0 and None)"),
     ("TYPE", b"DEV", "type (SER and DEV)"), ("RA", 4.9999, "ra (4.9995 and 4.9999)")],
)  # fmt: skip
def test_rows_of_one_source_that_differ_are_named_with_files_rows_and_column(tmp_path, column, value, named):
    rows = sweep_rows(np.array([4.0, 4.9995]), np.array([-2.0, -2.0]))
    write_sweep(tmp_path, NAMES[0], rows)
    other = rows[1:].copy()
    other[column] = value
    write_sweep(tmp_path, NAMES[1], other)
    with pytest.raises(ConflictingRowsError) as caught:
        ingest(tmp_path, NAMES[::-1], REGION)
    text = str(caught.value)
    assert f"10000_7_1: {NAMES[0]} row 1 and {NAMES[1]} row 0 differ in {named}" in text
    assert "remove those of the older one and run again" in text


def test_a_source_twice_in_one_file_is_a_copy_or_a_contradiction_as_well(tmp_path):
    rows = sweep_rows(np.full(3, 4.0), np.full(3, -2.0), np.array([1, 1, 2]))
    write_sweep(tmp_path, NAMES[0], rows)
    assert ingest(tmp_path, NAMES[:1], REGION).accounts["duplicate"].tolist() == [1]
    rows["DEC"][1] += 0.1
    write_sweep(tmp_path, NAMES[0], rows)
    with pytest.raises(ConflictingRowsError, match=f"{NAMES[0]} row 0 and {NAMES[0]} row 1"):
        ingest(tmp_path, NAMES[:1], REGION)


def test_a_brick_that_was_reduced_again_has_other_identities(tmp_path):
    first = sweep_rows(np.array([4.0]), np.array([-2.0]))
    again = first.copy()
    again["RELEASE"], again["FLUX_R"] = 10002, 21.0
    write_sweep(tmp_path, NAMES[0], np.concatenate([first, again]))
    result = ingest(tmp_path, NAMES[:1], REGION)
    assert result.sources["galaxy_id"].to_pylist() == ["10000_7_0", "10002_7_0"]


def test_a_flood_of_contradictions_is_counted_and_the_first_are_shown(tmp_path):
    rows = sweep_rows(np.full(40, 4.0), np.full(40, -2.0))
    write_sweep(tmp_path, NAMES[0], rows)
    rows["FLUX_Z"] *= 2.0
    write_sweep(tmp_path, NAMES[1], rows)
    with pytest.raises(ConflictingRowsError) as caught:
        ingest(tmp_path, NAMES[:2], REGION)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("40 rows have the galaxy_id of another row")
    assert len(lines) == 7
    assert lines[-1] == "and 35 more"
    assert lines[1].endswith("differ in flux_z (30.0 and 60.0)")
