"""Redshift text, ids, names and systems."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.catalogs.identity import (
    canonical_of_groups,
    joined_aliases,
    lens_ids,
    parse_redshift,
    primary_name,
    split_names,
)


@pytest.mark.parametrize(
    ("text", "redshift"),
    [
        ("0.49", 0.49), ("0.49 | 0.49", 0.49), ("0.42 | nan", 0.42), ("nan | 0.367", 0.367), ("0.3?", 0.3),
        ("~0.4", 0.4), ("0.406+/-0.021", 0.406), ("0.55 (phot)", 0.55), (".5", 0.5), ("not measured | 0.61", 0.61),
    ],
)  # fmt: skip
def test_redshifts_are_read_from_text(text, redshift):
    assert parse_redshift(text) == redshift


@pytest.mark.parametrize("text", ["not measured", "-", "L", "measured", "", "nan", "-99", "0", "0.0", "99", "observed"])
def test_words_and_sentinels_are_no_redshift(text):
    assert math.isnan(parse_redshift(text))


@given(st.floats(0.001, 9.99))
def test_any_plain_number_is_read(value):
    assert parse_redshift(f"{value:.6f}") == pytest.approx(value, abs=1e-6)


@given(st.floats(0, 359.9999), st.floats(-89.9, 89.9))
def test_an_id_is_the_position_to_a_tenth_of_an_arcsecond(ra, dec):
    (text,) = lens_ids("list", [ra], [dec], ["x"])
    catalog, _, position = text.partition(":")
    assert catalog == "list"
    written_ra, written_dec = float(position[:9]), float(position[9:])
    assert abs(written_dec - dec) * 3600 <= 0.07
    assert min(abs(written_ra - ra), 360 - abs(written_ra - ra)) * 3600 <= 0.07
    assert lens_ids("list", [ra + 1e-9], [dec], ["x"])[0][-9:] == text[-9:]


def test_entries_at_one_place_are_numbered_by_name_not_by_row():
    first = lens_ids("list", [10.0, 10.0, 11.0], [1.0, 1.0, 1.0], ["b", "a", "c"])
    second = lens_ids("list", [10.0, 10.0, 11.0], [1.0, 1.0, 1.0], ["a", "b", "c"])
    assert first == [second[1], second[0], second[2]]
    assert len(set(first)) == 3


def test_ids_at_the_meridian_and_equator():
    assert lens_ids("l", [359.999999, 0.0], [-0.000001, 0.0], ["a", "a"])[0] == "l:000.00000+00.00000"


def test_names_and_aliases():
    import re

    text = "SDSS J1 | - | DESI-165.4754-06.0423 | SDSS J1 | 9.0"
    assert split_names(text) == ["SDSS J1", "DESI-165.4754-06.0423", "9.0"]
    assert primary_name(text, re.compile("DESI")) == "DESI-165.4754-06.0423"
    assert primary_name("- | -", None) == ""
    assert joined_aliases([text, "X | SDSS J1"], "SDSS J1") == "9.0 | DESI-165.4754-06.0423 | X"


@given(st.permutations(range(5)))
def test_the_canonical_entry_does_not_depend_on_row_order(order):
    step = 2.0 / 3600
    ra, rank = np.array([10, 10 + step, 10 + 2 * step, 20, 20 + step]), np.array([3, 1, 0, 4, 2])
    canonical = canonical_of_groups(ra, np.zeros(5), rank, 3.0)
    assert canonical.tolist() == [2, 2, 2, 4, 4]
    order = np.array(order)
    shuffled = canonical_of_groups(ra[order], np.zeros(5), rank[order], 3.0)
    assert (rank[order][shuffled] == rank[canonical][order]).all()


def test_no_entries_have_no_canonical():
    assert canonical_of_groups([], [], np.zeros(0, dtype=np.int64), 3.0).shape == (0,)
