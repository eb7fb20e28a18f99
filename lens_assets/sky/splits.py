"""Which split a piece of sky belongs to: a pure function of its HEALPix cell and a seed. Regions and folds too.

The published rule: `u = uint32_be(sha256(f"{cell}_{seed}")[:4]) / 2**32`, and u is compared with the cumulative
fractions of the splits, walked in the declared order. A cell goes whole into one split, with every object in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import healpy
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lens_assets.sky.healpix import coarser

_TWO_TO_32 = float(1 << 32)
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class DigestTable:
    """u of every cell up to the highest one hashed, NaN for cells that were not; looked up by cell number."""

    values: FloatArray

    def of(self, cells: ArrayLike) -> FloatArray:
        """Return u in [0, 1) of each cell, shape of the input.

        Raises ValueError where a cell is null, NaN, negative, not a whole number or not in the table.
        """
        wanted = _whole_cells(cells)
        if wanted.size and wanted.max() >= len(self.values):
            raise ValueError(
                f"cell {wanted.max()} is not in the table of digests, which ends at {len(self.values) - 1}"
            )
        u = self.values[wanted]
        if np.isnan(u).any():
            raise ValueError(f"cell {wanted[np.isnan(u)][0]} is not in the table of digests")
        return u


def digest_table(cells: ArrayLike, seed: int) -> DigestTable:
    """Return the table of u of the given cells, each hashed once; the whole sky at nside 128 takes 1.5 MB."""
    distinct = _distinct(_whole_cells(cells))
    digests = [hashlib.sha256(f"{cell}_{seed}".encode()).digest() for cell in distinct.tolist()]
    values = np.full(int(distinct[-1]) + 1 if len(distinct) else 0, np.nan)
    values[distinct] = np.asarray([int.from_bytes(digest[:4], "big") for digest in digests]) / _TWO_TO_32
    return DigestTable(values)


def cell_uniform(cells: ArrayLike, seed: int) -> FloatArray:
    """Return u in [0, 1) of each cell, shape of the input; each distinct cell is hashed once.

    Raises ValueError where a cell is null, NaN, negative or not a whole number: such a row has no split.
    """
    return digest_table(cells, seed).of(cells)


def _distinct(values: IntArray) -> IntArray:
    """Return the distinct cells in rising order, without sorting the rows."""
    seen = np.zeros(int(values.max(initial=-1)) + 1, dtype=bool)
    seen[values] = True
    return np.flatnonzero(seen)


def split_of_uniform(u: ArrayLike, fractions: Mapping[str, float]) -> NDArray[np.str_]:
    """Return the split of each u, walking the cumulative fractions in the order of the mapping.

    The last split with a positive fraction also takes what rounding of the sum leaves.
    """
    names = [name for name, fraction in fractions.items() if fraction > 0]
    edges = np.cumsum([fractions[name] for name in names])
    if not names or abs(edges[-1] - 1.0) > 1e-9:
        raise ValueError(f"split fractions {dict(fractions)} sum to {sum(fractions.values())}; expected 1")
    index = np.searchsorted(edges[:-1], np.asarray(u, dtype=np.float64), side="right")
    return np.asarray(names)[index]


def split_of_cells(
    cells: ArrayLike, seed: int, fractions: Mapping[str, float], nside: int, hash_nside: int
) -> tuple[FloatArray, NDArray[np.str_]]:
    """Return (u, split) of each cell; the hashed pixel is the cell's parent at `hash_nside`.

    `hash_nside` equal to `nside` is the published rule; a smaller one makes contiguous blocks.
    """
    values = _whole_cells(cells)
    u = cell_uniform(coarser(values, nside, hash_nside), seed)
    return u, split_of_uniform(u, fractions)


def contiguous_regions(cells: ArrayLike, nside: int, block_nside: int) -> IntArray:
    """Return the region of each distinct footprint cell: touching cells within one coarse pixel.

    Cells touch along an edge or at a corner. A region is named by its smallest cell, so that adding sky elsewhere
    never renames it.
    """
    return connected_cells(cells, nside, coarser(_whole_cells(cells), nside, block_nside))


def connected_cells(cells: ArrayLike, nside: int, blocks: IntArray | None = None) -> IntArray:
    """Return the smallest cell of the connected group that each distinct NESTED cell belongs to, shape (N,).

    Cells touch along an edge or at a corner; with `blocks`, shape (N,), only cells of one block are joined.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    values = _whole_cells(cells)
    if len(np.unique(values)) != len(values):
        raise ValueError("a footprint cell is listed twice; expected distinct cells")
    if len(values) == 0:
        return values
    order = np.argsort(values)
    ranked = values[order]
    block = np.zeros_like(ranked) if blocks is None else blocks[order]
    neighbours = healpy.get_all_neighbours(nside, ranked, nest=True)
    position = np.searchsorted(ranked, neighbours).clip(0, len(ranked) - 1)
    touches = (ranked[position] == neighbours) & (block[position] == block[None, :])
    rows = np.broadcast_to(np.arange(len(ranked)), neighbours.shape)[touches]
    graph = coo_array((np.ones(len(rows), bool), (rows, position[touches])), shape=(len(ranked),) * 2)
    _, label = connected_components(graph, directed=False)
    smallest = pd.Series(ranked).groupby(label).transform("min").to_numpy()
    groups = np.empty_like(values)
    groups[order] = smallest
    return groups


def region_folds(regions: ArrayLike, folds: int, seed: int) -> dict[int, int]:
    """Return the fold of every region: largest first into the emptiest fold, ties by hash, so folds are balanced."""
    names, sizes = np.unique(np.asarray(regions, dtype=np.int64), return_counts=True)
    order: list[int] = np.lexsort((cell_uniform(names, seed), -sizes)).tolist() if len(names) else []
    filled = [0] * folds
    fold_of: dict[int, int] = {}
    for index in order:
        fold = int(np.argmin(filled))
        fold_of[int(names[index])] = fold
        filled[fold] += int(sizes[index])
    return fold_of


def split_table(
    cells: Sequence[int] | IntArray,
    *,
    nside: int,
    seed: int,
    fractions: Mapping[str, float],
    hash_nside: int,
    region_nside: int,
    folds: int,
) -> pd.DataFrame:
    """Return one row a footprint cell: healpix_128, u, split, region_id, fold; sorted by cell."""
    distinct = np.unique(_whole_cells(cells))
    u, split = split_of_cells(distinct, seed, fractions, nside, hash_nside)
    regions = contiguous_regions(distinct, nside, region_nside)
    fold_of = region_folds(regions, folds, seed)
    return pd.DataFrame(
        {
            "healpix_128": distinct,
            "u": u,
            "split": split.astype(object),
            "region_id": regions,
            "fold": np.asarray([fold_of[int(region)] for region in regions], dtype=np.int64),
        }
    )


def _whole_cells(cells: ArrayLike) -> IntArray:
    values = np.asarray(pd.array(cells) if not isinstance(cells, np.ndarray) else cells)
    if np.issubdtype(values.dtype, np.signedinteger) and values.min(initial=0) >= 0:
        return values.astype(np.int64, copy=False)
    missing = pd.isna(values)
    number = np.where(missing, -1, values).astype(np.float64)
    bad = (number < 0) | (number != np.floor(number))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"{int(bad.sum())} rows have no HEALPix cell, the first is row {row} ({values[row]!r}); expected a whole "
            "pixel number. A row without a cell has no split: find out why its position is missing"
        )
    return values.astype(np.int64)
