"""The sampling chain from sweep Parquet to the sample of the baseline: DuckDB, pandas and PySpark, in one run.

Filters, all eight confuser classes, exclusion about 32,838 positions, splits, strata and the draw, over synthetic
`sweep_sources` with the survey's columns, density and partitions. `duckdb` and `pyspark` are `sample_survey` and
`sample_survey_on_spark` of the package, what the asset `cluster/stratified_sample` runs on either engine: the models,
neighbourhoods and draws of the lineage, but of the pool only what a design may draw is written. `asset` is the step of
the lineage that this leaves out, measured apart: the negative pool with every source and every flag, one partition
after another. `pandas` is an independent vectorised implementation over the whole table. Each engine is a process of
its own, two threads, the malloc variables set for all; peak memory is of that process and its children together;
processor seconds (imports included) mean something on a machine that others use. The digest is SHA-256 over the
sorted ids drawn.

    python -m benchmarks sampling_chain --rows 10000000
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "268435456", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
ENGINES = ("duckdb", "pandas", "pyspark", "asset")
SEED = 42
_SAMPLING_INTERVAL_S = 0.05


def main(arguments: list[str] | None = None) -> None:
    """Print one line an engine and size; with `--engine`, be the child process that runs one.

    Ends with a status other than 0 where two engines do not draw the same ids.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 3_000_000])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "lens-assets-sampling-chain")
    options = parser.parse_args(arguments)
    if options.engine:
        _run_engine(options.engine, options.rows[0], options.folder)
        return
    from benchmarks._synthetic_sweeps import SURVEY_ROWS, make_sky

    head = (
        ("rows", 10),
        ("engine", 8),
        ("s", 7),
        ("M rows/s", 9),
        ("cpu s", 7),
        ("MiB", 6),
        ("114 M s", 8),
        ("x duckdb", 9),
    )
    print(" ".join(f"{name:>{width}}" for name, width in head), " ids  digest")
    differing, totals = [], []
    for rows in options.rows:
        sky = make_sky(options.folder / str(rows), rows)
        count = sum(1 for _ in sky.partitions)
        found: dict[str, dict] = {}
        for engine in options.engines:
            found[engine] = result = _child(engine, rows, options.folder)
            base = found.get("duckdb", {}).get("seconds")
            seconds, own = result["seconds"], result["rows"]
            ratio = seconds / base if base else float("nan")
            print(
                f"{own:>10} {engine:>8} {seconds:7.2f} {own / seconds / 1e6:9.2f} {result['cpu_s']:7.1f} "
                f"{result['peak_mib']:6.0f} {seconds / own * SURVEY_ROWS:8.0f} {ratio:9.1f}  "
                f"{result['ids']}  {result['digest'][:12]}",
                flush=True,
            )
        totals.append(found)
        digests = {result["digest"] for engine, result in found.items() if engine != "asset"}
        print(f"{count} partitions; id digests {'DIFFER' if len(digests) > 1 else 'equal'}", flush=True)
        if len(digests) > 1:
            differing.append(rows)
    for line in _projections(totals, SURVEY_ROWS):
        print(line, flush=True)
    if differing:
        raise SystemExit(f"engines drew other ids from the same sources, of sizes {', '.join(map(str, differing))}")


def _projections(totals: list[dict[str, dict]], rows: int) -> list[str]:
    """Return for each engine the seconds of the survey from its two largest sizes: what starting costs counts once."""
    lines = []
    for engine in totals[-1] if len(totals) > 1 else ():
        small, large = (found[engine] for found in totals[-2:])
        slope = (large["seconds"] - small["seconds"]) / (large["rows"] - small["rows"])
        seconds = large["seconds"] + slope * (rows - large["rows"])
        lines.append(f"{engine}: {seconds:.0f} s for {rows / 1e6:.0f} M rows at the growth of the two largest sizes")
    return lines


def _child(engine: str, rows: int, folder: Path) -> dict:
    """Run one engine in a process of its own and return what it printed, with its peak memory."""
    command = [sys.executable, "-m", "benchmarks.sampling_chain", "--engine", engine]
    command += ["--rows", str(rows), "--folder", str(folder)]
    with subprocess.Popen(command, env=os.environ | MALLOC | THREADS, stdout=subprocess.PIPE, text=True) as process:
        peak = _Watch(process.pid)
        output, _ = process.communicate()
        peak.stop()
    if process.returncode:
        raise SystemExit(f"{engine} over {rows} rows ended with status {process.returncode}; see above")
    return {**json.loads(output.strip().splitlines()[-1]), "peak_mib": peak.mib, "cpu_s": peak.cpu_s}


class _Watch:
    """The largest resident memory of a process with its children, and their processor time, imports included."""

    def __init__(self, pid: int) -> None:
        self.mib, self.cpu_s = 0.0, 0.0
        self._pid, self._done = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        while not self._done.wait(_SAMPLING_INTERVAL_S):
            try:
                process = psutil.Process(self._pid)
                family = [process, *process.children(recursive=True)]
                self.mib = max(self.mib, sum(item.memory_info().rss for item in family) / 2**20)
                self.cpu_s = max(self.cpu_s, sum(sum(item.cpu_times()[:2]) for item in family))
            except psutil.Error:
                continue


def _run_engine(engine: str, rows: int, folder: Path) -> None:
    import pandas as pd
    import pyarrow.parquet as pq

    from benchmarks._synthetic_sweeps import make_sky
    from lens_assets.campaign.campaign import load_campaign

    sky = make_sky(folder / str(rows), rows)
    campaign = load_campaign("dr10")
    baseline = campaign.sampling.designs["baseline"]
    sampling = campaign.sampling.model_copy(update={"designs": {"baseline": baseline}, "seed": SEED})
    files = [sky.sources(key) for key in sky.partitions]
    tables = {name: pd.read_parquet(sky.table(name)) for name in ("lenses", "contaminants", "split_cells", "positives")}
    own = sum(pq.ParquetFile(path).metadata.num_rows for path in files)
    runner = {"duckdb": _duckdb, "pandas": _pandas, "pyspark": _pyspark, "asset": _asset}[engine]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        seconds, ids = runner(files, tables, campaign.negatives, sampling, Path(scratch))
    listed = sorted(ids)
    digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()
    print(json.dumps({"seconds": seconds, "rows": own, "ids": len(listed), "digest": digest}))


def _duckdb(files, tables, negatives, sampling, scratch) -> tuple[float, Iterable[str]]:
    from lens_assets.sampling.chain import Surroundings, sample_survey

    around = Surroundings(tables["lenses"], tables["contaminants"], tables["split_cells"])
    start = time.perf_counter()
    sample = sample_survey(map(str, files), around, tables["positives"], negatives, sampling, scratch)
    return time.perf_counter() - start, _negatives(sample.rows)


def _pyspark(files, tables, negatives, sampling, scratch) -> tuple[float, Iterable[str]]:
    """Spark's own start is not counted; warm-up of its code is."""
    from pyspark.sql import SparkSession

    from lens_assets.sampling.chain import Surroundings
    from lens_assets.sampling.spark_chain import sample_survey_on_spark

    builder = SparkSession.builder.master("local[2]").config("spark.driver.memory", "4g")
    builder = builder.config("spark.ui.showConsoleProgress", "false").config("spark.ui.enabled", "false")
    spark = builder.config("spark.sql.shuffle.partitions", "4").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    around = Surroundings(tables["lenses"], tables["contaminants"], tables["split_cells"])
    start = time.perf_counter()
    sample = sample_survey_on_spark(
        spark, [str(path) for path in files], around, tables["positives"], negatives, sampling, str(scratch)
    )
    seconds = time.perf_counter() - start
    spark.stop()
    return seconds, _negatives(sample.rows)


def _pandas(files, tables, negatives, sampling, scratch) -> tuple[float, Iterable[str]]:
    from benchmarks._pandas_chain import sample

    around = (tables["lenses"], tables["contaminants"], tables["split_cells"], tables["positives"])
    start = time.perf_counter()
    drawn = sample(files, *around, negatives, sampling.designs["baseline"], sampling.seed)
    return time.perf_counter() - start, drawn["galaxy_id"].tolist()


def _asset(files, tables, negatives, sampling, scratch) -> tuple[float, Iterable[str]]:
    """Every source with every flag, one partition after another, sorted and written as the lake does."""
    import pyarrow.parquet as pq

    from lens_assets.sampling.neighbourhood import source_neighbourhood
    from lens_assets.sampling.pool import SWEEP_COLUMNS, build_negative_pool

    start, pools = time.perf_counter(), []
    for path in files:
        sources = pq.read_table(path, columns=list(SWEEP_COLUMNS))
        near = sources.select(["galaxy_id", "ra", "dec", "mag_z"]).to_pandas()
        around = source_neighbourhood(near, tables["lenses"], tables["contaminants"], negatives)
        table = build_negative_pool(sources, around, tables["split_cells"], negatives, scratch).tables["negative_pool"]
        target = scratch / path.name
        pq.write_table(table, target, compression="zstd")
        pools.append(target)
    seconds = time.perf_counter() - start
    return seconds, [str(pq.ParquetFile(path).metadata.num_rows) for path in pools]


def _negatives(rows) -> list[str]:
    return rows.loc[rows["label"] == 0, "galaxy_id"].tolist()


if __name__ == "__main__":
    main()
