"""Splits against known digests, the published rule written a second time, and what must hold on any sky."""

from __future__ import annotations

import hashlib

import healpy
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_assets.sky.healpix import pixel_of
from lens_assets.sky.splits import (
    cell_uniform,
    connected_cells,
    contiguous_regions,
    digest_table,
    region_folds,
    split_of_cells,
    split_of_uniform,
    split_table,
)

PUBLISHED = {"train": 0.70, "val": 0.15, "test": 0.15}
CELLS = st.lists(st.integers(0, 12 * 128**2 - 1), min_size=1, max_size=60, unique=True)

# First four bytes of `printf '<cell>_42' | sha256sum`, made outside Python.
KNOWN_DIGESTS = {0: "859b5a68", 1: "5cf1c8e0", 100000: "13685aa8", 196607: "7f7f0418"}


def test_known_digests() -> None:
    expected = [int(digest, 16) / 2**32 for digest in KNOWN_DIGESTS.values()]
    assert cell_uniform(list(KNOWN_DIGESTS), 42).tolist() == expected


def test_thresholds_are_walked_in_the_declared_order() -> None:
    u = [0.0, 0.699999, 0.70, 0.849999, 0.85, 0.999999]
    assert split_of_uniform(u, PUBLISHED).tolist() == ["train", "train", "val", "val", "test", "test"]
    alphabetical = {name: PUBLISHED[name] for name in sorted(PUBLISHED)}
    assert split_of_uniform([0.5], alphabetical).tolist() == ["train"]
    assert split_of_uniform([0.1], alphabetical).tolist() == ["test"], "the order of the mapping is the rule"


def test_parity_mode_has_no_test_split() -> None:
    _, split = split_of_cells(np.arange(2000), 42, {"train": 0.7, "val": 0.3, "test": 0.0}, 128, 128)
    assert set(split) == {"train", "val"}
    assert abs((split == "train").mean() - 0.7) < 0.03


def test_whole_sky_matches_the_rule_written_again() -> None:
    cells = np.random.default_rng(1).integers(0, 12 * 128**2, 3000)
    u, split = split_of_cells(cells, 42, PUBLISHED, 128, 128)
    for cell, value, name in zip(cells.tolist(), u, split, strict=True):
        number = int.from_bytes(hashlib.sha256(f"{cell}_42".encode()).digest()[:4], "big") / 2**32
        assert value == number
        assert name == ("train" if number < 0.70 else "val" if number < 0.85 else "test")


@pytest.mark.parametrize("bad", [[1.0, np.nan], pd.array([1, None], dtype="Int64"), [None, 3], [-1, 2], [1.5]])
def test_a_row_without_cell_is_an_error(bad: object) -> None:
    with pytest.raises(ValueError, match="no HEALPix cell"):
        cell_uniform(bad, 42)  # type: ignore[arg-type]


def test_fractions_must_sum_to_one() -> None:
    with pytest.raises(ValueError, match="sum to 0.9"):
        split_of_uniform([0.5], {"train": 0.6, "val": 0.2, "test": 0.1})


@settings(max_examples=40, deadline=None)
@given(cells=CELLS, seed=st.integers(0, 1000))
def test_split_depends_on_nothing_but_the_cell(cells: list[int], seed: int) -> None:
    u, split = split_of_cells(cells, seed, PUBLISHED, 128, 128)
    backwards_u, backwards = split_of_cells(cells[::-1], seed, PUBLISHED, 128, 128)
    assert u.tolist() == backwards_u[::-1].tolist()
    assert split.tolist() == backwards[::-1].tolist()
    assert split_of_cells(cells[:1], seed, PUBLISHED, 128, 128)[1][0] == split[0]


@settings(max_examples=20, deadline=None)
@given(cells=CELLS)
def test_blocks_share_a_split(cells: list[int]) -> None:
    _, split = split_of_cells(cells, 42, PUBLISHED, 128, 16)
    by_block: dict[int, set[str]] = {}
    for cell, name in zip(cells, split, strict=True):
        by_block.setdefault(cell >> 6, set()).add(str(name))
    assert all(len(names) == 1 for names in by_block.values())


@settings(max_examples=30, deadline=None)
@given(cells=CELLS)
def test_regions_are_what_a_walk_over_neighbours_finds(cells: list[int]) -> None:
    regions = contiguous_regions(cells, 128, 16)
    for cell, region in zip(cells, regions.tolist(), strict=True):
        assert region == min(_walk(cell, set(cells)))


def _walk(start: int, footprint: set[int]) -> set[int]:
    found, queue = {start}, [start]
    while queue:
        for neighbour in healpy.get_all_neighbours(128, queue.pop(), nest=True).tolist():
            if neighbour in footprint and neighbour not in found and neighbour >> 6 == start >> 6:
                found.add(neighbour)
                queue.append(neighbour)
    return found


def test_regions_do_not_change_when_sky_is_added_elsewhere() -> None:
    here, there = [0, 1, 2, 3, 70], [100_000, 100_001]
    before = dict(zip(here, contiguous_regions(here, 128, 16).tolist(), strict=True))
    after = dict(zip(here + there, contiguous_regions(here + there, 128, 16).tolist(), strict=True))
    assert {cell: after[cell] for cell in here} == before


def test_folds_are_balanced_and_keep_regions_whole() -> None:
    table = split_table(
        np.arange(5000, 9000), nside=128, seed=42, fractions=PUBLISHED, hash_nside=128, region_nside=32, folds=5
    )
    assert table.groupby("region_id")["fold"].nunique().max() == 1
    sizes = table["fold"].value_counts()
    assert len(sizes) == 5
    assert sizes.max() - sizes.min() <= table.groupby("region_id").size().max()
    assert region_folds([], 3, 42) == {}


def test_real_sky_fractions_are_near_their_targets() -> None:
    table = split_table(
        np.arange(0, 196_608, 3), nside=128, seed=42, fractions=PUBLISHED, hash_nside=128, region_nside=16, folds=5
    )
    share = table["split"].value_counts(normalize=True)
    assert all(abs(share[name] - fraction) < 0.01 for name, fraction in PUBLISHED.items())


def test_regions_may_cross_blocks_when_none_are_given() -> None:
    corner = 63
    neighbours = healpy.get_all_neighbours(128, corner, nest=True)
    across = next(int(cell) for cell in neighbours if cell > corner)
    assert len(set(contiguous_regions([corner, across], 128, 16).tolist())) == 2
    assert connected_cells([corner, across], 128).tolist() == [corner, corner]
    assert connected_cells([], 128).tolist() == []
    with pytest.raises(ValueError, match="listed twice"):
        connected_cells([1, 1], 128)


def test_the_published_cell_of_a_position_is_healpys() -> None:
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 500), np.degrees(np.arcsin(rng.uniform(-1, 1, 500)))
    expected = healpy.ang2pix(128, np.radians(90.0 - dec), np.radians(ra), nest=True)
    assert pixel_of(128, ra, dec).tolist() == expected.tolist()
    assert pixel_of(128, [np.nan, 10.0, 10.0], [0.0, 90.5, np.nan]).tolist() == [-1, -1, -1]
    with pytest.raises(ValueError, match="2 rows have no HEALPix cell, the first is row 0"):
        cell_uniform(pixel_of(128, [np.nan, 10.0, 20.0], [0.0, 91.0, 0.0]), 42)


def test_the_table_of_digests_holds_what_it_hashed_and_refuses_the_rest() -> None:
    table = digest_table([3, 7, 7], 42)
    assert table.of(np.array([[7, 3]])).tolist() == [cell_uniform([7, 3], 42).tolist()]
    with pytest.raises(ValueError, match="cell 5 is not in the table"):
        table.of([3, 5])
    with pytest.raises(ValueError, match="cell 9 is not in the table of digests, which ends at 7"):
        table.of([9])
    with pytest.raises(ValueError, match="no HEALPix cell"):
        table.of(np.array([3, -1]))
    assert cell_uniform(np.zeros(0, dtype=np.int64), 42).tolist() == []
