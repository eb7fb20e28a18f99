"""Splits of rows from a digest table per cell against hashing every row, and against pandas, in one process.

Run with `python -m benchmarks splits` or `python benchmarks/splits.py --rows 10000000`. Both sides see the same malloc
variables, which are read only at start. The answers are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Callable

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "268435456", "MALLOC_TRIM_THRESHOLD_": "1073741824", "OMP_NUM_THREADS": "1"}
NSIDE, SEED = 128, 42
FRACTIONS = {"train": 0.70, "val": 0.15, "test": 0.15}


def with_settled_environment() -> None:
    """Start again with the malloc variables set."""
    if any(os.environ.get(name) != value for name, value in MALLOC.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | MALLOC)  # noqa: S606


def hashed_per_row(cells: object) -> object:
    """Hash every row: the published rule as one would write it first."""
    import numpy as np

    u = [int.from_bytes(hashlib.sha256(f"{cell}_{SEED}".encode()).digest()[:4], "big") for cell in cells.tolist()]
    return np.asarray(u, dtype=np.float64) / 2**32


def mapped_by_pandas(cells: object) -> object:
    """Hash each distinct cell and map the rows with pandas."""
    import pandas as pd

    column = pd.Series(cells)
    distinct = column.unique()
    return column.map(pd.Series(hashed_per_row(distinct), index=distinct)).to_numpy()


def seconds(method: Callable[[], object], rounds: int) -> float:
    """Return the median time of a method."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        method()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print seconds, nanoseconds a row and the ratio to hashing every row; the table of the whole sky apart."""
    import numpy as np

    from lens_assets.sky.splits import cell_uniform, digest_table, split_of_uniform

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options, _ = parser.parse_known_args()
    cells = np.random.default_rng(0).integers(0, 12 * NSIDE**2, options.rows)
    table = digest_table(np.arange(12 * NSIDE**2), SEED)
    expected = hashed_per_row(cells[:200_000])
    for answer in (table.of(cells[:200_000]), cell_uniform(cells[:200_000], SEED), mapped_by_pandas(cells[:200_000])):
        if not np.array_equal(answer, expected):
            raise SystemExit("the methods do not agree")
    made = seconds(lambda: digest_table(np.arange(12 * NSIDE**2), SEED), options.rounds)
    timed = {
        "hashing every row": seconds(lambda: hashed_per_row(cells), 1),
        "pandas map of distinct cells": seconds(lambda: mapped_by_pandas(cells), options.rounds),
        "cell_uniform (table made anew)": seconds(lambda: cell_uniform(cells, SEED), options.rounds),
        "digest table, looked up": seconds(lambda: table.of(cells), options.rounds),
        "digest table, split names too": seconds(lambda: split_of_uniform(table.of(cells), FRACTIONS), options.rounds),
    }
    print(f"{options.rows} rows; table of all {12 * NSIDE**2} cells made once in {made:.3f} s")
    print(f"{'method':34s} seconds   ns/row   x hashing every row")
    for name, time_s in timed.items():
        print(f"{name:34s} {time_s:7.3f} {1e9 * time_s / options.rows:8.1f} {timed['hashing every row'] / time_s:8.1f}")


if __name__ == "__main__":
    with_settled_environment()
    main()
