"""FITS to Parquet: a sweep file through the project's ingest and through astropy, each in a process of its own.

Run with `python -m benchmarks ingest`, or `python benchmarks/ingest.py --gigabytes 2 --rounds 3`. The peer reads the
file with `Table.read`, keeps the needed columns and writes them as they are; the project also checks every row, derives
columns and places each source on the sky, and in the last row sorts and removes duplicates too. Rounds alternate, the
file is in the page cache for all, and both have the malloc variables. Seconds of the processor are shown beside those
of the clock, since only they mean something on a machine that others use.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "268435456", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
NAME = "sweep-010m005-015p000.fits"
BLOCK_ROWS = 100_000
CHUNK_ROWS = 100_000
PEER = "astropy Table.read to Parquet"
METHODS = (PEER, "one file, chunks", "whole partition")


def write_file(path: Path, gigabytes: float) -> int:
    """Write a sweep file of about that size with the survey's columns; return the number of rows."""
    import fitsio

    from lens_assets.survey.schemas import SWEEP_COLUMNS

    stream = np.random.default_rng(1)
    dtype = np.dtype([(column.name, column.dtype) for column in SWEEP_COLUMNS])
    rows = round(gigabytes * 1e9 / dtype.itemsize)
    block = np.zeros(BLOCK_ROWS, dtype)
    for name in dtype.names:
        if dtype[name].base.kind == "f":
            block[name] = stream.lognormal(1.0, 1.0, block[name].shape)
    for name in ("SHAPE_E1", "SHAPE_E2", "MW_TRANSMISSION_G", "MW_TRANSMISSION_R", "MW_TRANSMISSION_Z"):
        block[name] = stream.uniform(0.0, 0.7, BLOCK_ROWS)
    block["TYPE"] = stream.choice([b"PSF", b"REX", b"EXP", b"DEV", b"SER"], BLOCK_ROWS)
    block["RELEASE"], block["OBJID"] = 10000, np.arange(BLOCK_ROWS)
    for band in "GRZ":
        block[f"NOBS_{band}"] = stream.integers(1, 14, BLOCK_ROWS)
    with fitsio.FITS(str(path), "rw", clobber=True) as opened:
        for number, start in enumerate(range(0, rows, BLOCK_ROWS)):
            part = block[: min(BLOCK_ROWS, rows - start)]
            part["BRICKID"], part["BRICKNAME"] = number + 1, f"{number:04d}m025".encode()
            part["RA"], part["DEC"] = stream.uniform(10, 15, len(part)), stream.uniform(-5, 0, len(part))
            if number:
                opened[-1].append(part)
            else:
                opened.write(part)
    return rows


def astropy_peer(path: Path, folder: Path) -> None:
    from astropy.table import Table

    from lens_assets.survey.schemas import NEEDED_COLUMNS

    Table.read(path)[list(NEEDED_COLUMNS)].write(folder / "peer.parquet")


def one_file(path: Path, folder: Path) -> None:
    from lens_assets.survey.sources import Region
    from lens_assets.survey.staging import stage_tile
    from lens_assets.survey.tiles import parse_sweep_name

    tile = parse_sweep_name(path.name)
    assert tile is not None
    account = stage_tile(folder / "staged.parquet", tile, _files(path).local_sweep, Region(1, 4, 60.0), CHUNK_ROWS)
    assert account.kept > 0.9 * account.rows_read, account


def whole_partition(path: Path, folder: Path) -> None:
    from lens_assets.survey.ingest import ingest_partition
    from lens_assets.survey.sources import Region
    from lens_assets.survey.staging import Staging

    files, staging = _files(path), Staging(folder / "staging", "benchmark")
    ingest_partition(files.sweep_tiles(), files, Region(1, 4, 60.0), CHUNK_ROWS, staging, folder)


def _files(path: Path):
    from lens_assets.survey.files import SurveyFiles

    return SurveyFiles(str(path.parent), ".", "coadd", "bricks.fits")


_RUN: dict[str, Callable[[Path, Path], None]] = dict(
    zip(METHODS, (astropy_peer, one_file, whole_partition), strict=True)
)


def measured(method: str, path: Path) -> dict[str, float]:
    """Run a method in a new process; return its seconds and its peak memory in MiB, imports apart."""
    command = [sys.executable, "-m", "benchmarks.ingest", "--child", method, "--file", str(path)]
    environment = os.environ | MALLOC | ONE_THREAD
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def child(method: str, path: Path) -> None:
    import astropy.table
    import duckdb
    import pyarrow.parquet

    import lens_assets.survey.ingest

    del astropy.table, duckdb, pyarrow.parquet, lens_assets.survey.ingest
    before = psutil.Process().memory_info().rss
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        start, busy = time.perf_counter(), time.process_time()
        _RUN[method](path, Path(folder))
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "busy": busy, "peak": peak / 2**20, "imports": before / 2**20}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child")
    parser.add_argument("--file", type=Path)
    options, _ = parser.parse_known_args()
    if options.child:
        child(options.child, options.file)
        return
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        path = Path(folder) / NAME
        rows = write_file(path, options.gigabytes)
        size = path.stat().st_size
        print(f"{rows:,} rows, {size / 1e9:.2f} GB, {size / rows:.0f} bytes a row, {options.rounds} rounds")
        results: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
        for _ in range(options.rounds):
            for method in METHODS:
                results[method].append(measured(method, path))
    middle = {
        kind: {name: statistics.median(item[kind] for item in found) for name, found in results.items()}
        for kind in ("seconds", "busy", "peak")
    }
    print(f"{'method':30s} clock s  x faster  processor s  x less  peak MiB  share of peak  imports MiB")
    for name in METHODS:
        clock, busy, peak = (middle[kind] for kind in ("seconds", "busy", "peak"))
        print(
            f"{name:30s} {clock[name]:7.2f} {clock[PEER] / clock[name]:9.1f} {busy[name]:12.2f} "
            f"{busy[PEER] / busy[name]:7.1f} {peak[name]:9.0f} {peak[name] / peak[PEER]:14.2f} "
            f"{results[name][0]['imports']:12.0f}"
        )


if __name__ == "__main__":
    main()
