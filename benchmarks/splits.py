"""Splits of rows from a digest table per cell against hashing every row, and against pandas, rounds interleaved.

Run with `python -m benchmarks splits` or `python -m benchmarks.splits --rows 10000000`. The answers are compared
before anything is timed.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import time

from benchmarks._interleaved import interleaved_seconds, ratio, with_settled_environment

CELLS, SEED = 12 * 128**2, 42
FRACTIONS = {"train": 0.70, "val": 0.15, "test": 0.15}
PEER = "hashing every row"


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


def main() -> None:
    """Print nanoseconds a row and the ratio to hashing every row; the time to make the table of the whole sky apart."""
    with_settled_environment()
    import numpy as np

    from lens_assets.sky.splits import cell_uniform, digest_table, split_of_uniform

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options, _ = parser.parse_known_args()
    start = time.process_time()
    table = digest_table(np.arange(CELLS), SEED)
    made = time.process_time() - start
    cells = np.random.default_rng(0).integers(0, CELLS, options.rows)
    few = cells[:200_000]
    expected = hashed_per_row(few)
    for answer in (table.of(few), cell_uniform(few, SEED), mapped_by_pandas(few)):
        if not np.array_equal(answer, expected):
            raise SystemExit("the methods do not agree")
    methods = {
        PEER: lambda: hashed_per_row(cells),
        "pandas map of distinct cells": lambda: mapped_by_pandas(cells),
        "cell_uniform, table made anew": lambda: cell_uniform(cells, SEED),
        "digest table, looked up": lambda: table.of(cells),
        "digest table, names of splits too": lambda: split_of_uniform(table.of(cells), FRACTIONS),
    }
    seconds = interleaved_seconds(methods, options.rounds)
    print(f"{options.rows} rows; the table of all {CELLS} cells takes {made:.3f} s once")
    print(f"{'method':34s}  ns/row   x {PEER}")
    for name, times in seconds.items():
        print(f"{name:34s} {1e9 * statistics.median(times) / options.rows:7.1f} {ratio(seconds, PEER, name)}")


if __name__ == "__main__":
    main()
