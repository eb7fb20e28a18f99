"""The job itself: stages in order, each left alone where it is finished; and `main`, which spark-submit starts.

Sweep files are ingested on the executors, one sky partition a task; splits and positives are made on the driver, as
the lineage makes them; filters, classes, strata and draws are the SQL models, translated for Spark.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lens_assets.cluster import tasks
from lens_assets.cluster.spec import ENTRIES, GIVEN, JobError, JobSpec
from lens_assets.cluster.storage import exists, put, put_table, read_json, read_table, remove_folder
from lens_assets.lake.lake import table_digest
from lens_assets.lake.record import combined_digest
from lens_assets.sampling.spark_chain import draw_on_spark, write_candidates_on_spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lens_assets.sampling.stratified import Sample

Report = Callable[[str], None]
SAMPLE_TABLES = ("stratified_sample", "strata", "confusers")
RESULT = "result.json"
_WORKERS_HERE = 2


def run_job(spark: SparkSession | None, spec: JobSpec, report: Report) -> dict[str, Any]:
    """Run what is not finished of a job and return its result: rows, digests of the tables, and where they are.

    A job that was killed goes on where it stopped; what was half written is removed, never read. Without Spark, DuckDB
    and the threads of this process do it all, and the output must be a folder.
    """
    root = spec.root
    if spec.region:
        os.environ["AWS_REGION"] = spec.region
    if exists(f"{root}/{RESULT}"):
        report(f"{root} is finished; nothing to do")
        return dict(read_json(f"{root}/{RESULT}"))
    partitions = _ingest(spark, spec, report)
    cells = _split_cells(spark, spec, partitions)
    positives = _positives(spec, partitions, cells)
    draw = _sample_here if spark is None else partial(_sample_on_spark, spark)
    sample = draw(spec, partitions, cells, positives)
    report("the designs are drawn")
    digests, rows = {}, {}
    for name, frame in zip(SAMPLE_TABLES, (sample.rows, sample.strata, sample.confusers), strict=True):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        put_table(f"{root}/{name}.parquet", table)
        digests[name], rows[name] = table_digest(table), table.num_rows
    result = {"root": root, "rows": rows, "digests": digests, "digest": combined_digest(digests)}
    put(f"{root}/{RESULT}", json.dumps(result, indent=1).encode())
    return result


def _ingest(spark: SparkSession | None, spec: JobSpec, report: Report) -> list[str]:
    """Ingest every partition on the executors; JobError where too many files could not be read."""
    folder, settings = f"{spec.root}/sweep_sources", spec.survey
    work = partial(tasks.ingest, spec=spec.to_json(), folder=folder)
    keys = settings.sky_partitions
    accounts = [row for text in _on_executors(spark, keys, work) for row in json.loads(text)]
    files = {row["sweep_file"]: row for row in accounts}
    bad = {name: row for name, row in files.items() if row["status"] != "ok"}
    report(f"{len(keys)} partitions from {len(files)} sweep files, {len(bad)} of them quarantined")
    if not files or len(bad) > settings.max_quarantined_fraction * len(files):
        shown = "; ".join(f"{name}: {row['reason']} {row['detail']}" for name, row in list(bad.items())[:5])
        raise JobError(
            f"{len(bad)} of {len(files)} sweep files under {spec.survey_root} cannot be used, more than "
            f"survey.max_quarantined_fraction = {settings.max_quarantined_fraction}: {shown or 'none was found'}. "
            f"Mend them, remove {folder} and run the job again"
        )
    return [f"{folder}/{key}.parquet" for key in keys]


def _split_cells(spark: SparkSession | None, spec: JobSpec, partitions: Sequence[str]) -> pd.DataFrame:
    from lens_assets.sky.healpix import coarser, parse_partition_key, partition_keys_of
    from lens_assets.sky.splits import split_table

    path = f"{spec.root}/cells.parquet"
    if not exists(path):
        settings = spec.splits
        held = [cell for cells in _on_executors(spark, partitions, tasks.cells) for cell in cells]
        table = split_table(
            np.asarray(held, dtype=np.int64),
            nside=settings.cell_nside,
            seed=settings.seed,
            fractions=settings.ordered_fractions,
            hash_nside=settings.hash_nside,
            region_nside=settings.region_nside,
            folds=settings.folds,
        )
        nside, _ = parse_partition_key(spec.survey.sky_partitions[0])
        owner = coarser(table["healpix_128"], settings.cell_nside, nside)
        table["sky_partition"] = partition_keys_of(nside, owner)
        put_table(path, pa.Table.from_pandas(table, preserve_index=False))
    return read_table(path).to_pandas()


def _positives(spec: JobSpec, partitions: Sequence[str], cells: pd.DataFrame) -> pd.DataFrame:
    """Match the lists to what was ingested, and write the positions that sources are compared with."""
    from lens_assets.catalogs.contaminants import match_to_survey
    from lens_assets.catalogs.positives import match_positives, sources_near, usable_lenses
    from lens_assets.sampling.neighbourhood import known_systems, usable_contaminants

    given = {name: read_table(spec.catalogs[name]).to_pandas() for name in GIVEN}
    lenses, spectroscopic = given["lens_catalog"], given["spectroscopic_catalog"]
    settings, radius = spec.catalog_rules, spec.negatives.contaminant_match_radius_arcsec
    contaminants = match_to_survey(given[ENTRIES], partitions, settings, radius)
    systems = known_systems(lenses, spectroscopic, contaminants)
    put_table(f"{spec.root}/lenses.parquet", pa.Table.from_pandas(systems, preserve_index=False))
    usable_entries = usable_contaminants(contaminants)
    put_table(f"{spec.root}/contaminants.parquet", pa.Table.from_pandas(usable_entries, preserve_index=False))
    usable = usable_lenses(lenses, spectroscopic)
    near = sources_near(partitions, usable["ra"].to_numpy(), usable["dec"].to_numpy(), settings.coverage_radius_arcsec)
    return match_positives(usable, near, cells, settings)


def _sample_here(spec: JobSpec, partitions: Sequence[str], cells: pd.DataFrame, positives: pd.DataFrame) -> Sample:
    from lens_assets.sampling.chain import Surroundings, sample_survey

    if "://" in spec.root:
        raise JobError(f"{spec.output} is not a folder; DuckDB writes on this machine: set LENS_CLUSTER_OUTPUT")
    lenses, contaminants = (
        read_table(f"{spec.root}/{name}.parquet").to_pandas() for name in ("lenses", "contaminants")
    )
    folder = f"{spec.root}/pool"
    remove_folder(folder)
    Path(folder).mkdir(parents=True)
    return sample_survey(
        partitions, Surroundings(lenses, contaminants, cells), positives, spec.negatives, spec.sampling, Path(folder)
    )


def _sample_on_spark(
    spark: SparkSession, spec: JobSpec, partitions: Sequence[str], cells: pd.DataFrame, positives: pd.DataFrame
) -> Sample:
    neighbourhoods = _neighbourhoods(spark, spec, partitions)
    candidates = _candidates(spark, spec, partitions, neighbourhoods, cells)
    folder = f"{spec.root}/designs"
    remove_folder(folder)
    return draw_on_spark(spark, candidates, cells, positives, spec.negatives, spec.sampling, folder)


def _neighbourhoods(spark: SparkSession, spec: JobSpec, partitions: Sequence[str]) -> list[str]:
    folder = f"{spec.root}/neighbourhood"
    work = partial(tasks.neighbourhood, spec=spec.to_json(), surroundings=spec.root, folder=folder)
    return _on_executors(spark, partitions, work)


def _candidates(
    spark: SparkSession, spec: JobSpec, partitions: Sequence[str], neighbourhoods: Sequence[str], cells: pd.DataFrame
) -> list[str]:
    """Write the candidates, or find them written: the list of their files comes last, after the tests beside models."""
    folder, done = f"{spec.root}/pool", f"{spec.root}/pool.json"
    if not exists(done):
        remove_folder(folder)
        files = write_candidates_on_spark(spark, partitions, neighbourhoods, cells, spec.negatives, folder)
        put(done, json.dumps(files).encode())
    return list(read_json(done))


def _on_executors(spark: SparkSession | None, items: Sequence[str], work: Callable[[str], Any]) -> list[Any]:
    if spark is None:
        with ThreadPoolExecutor(_WORKERS_HERE) as pool:
            return list(pool.map(work, items))
    return list(spark.sparkContext.parallelize(items, len(items)).map(work).collect())


def _session() -> SparkSession:
    from pyspark.sql import SparkSession

    return SparkSession.builder.appName("lens-assets-sampling").getOrCreate()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job of a spec: a file, or what Dagster sends through Pipes when it started this process."""
    from dagster_pipes import PipesContext, PipesS3MessageWriter, open_dagster_pipes

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, help="JSON of the job; without it, Dagster's message holds it")
    parser.add_argument("--engine", choices=("spark", "duckdb"), default="spark", help="duckdb: this process alone")
    options = parser.parse_args(arguments)
    spark = _session() if options.engine == "spark" else None
    try:
        if options.spec is not None:
            result = run_job(spark, JobSpec.from_json(options.spec.read_text(encoding="utf-8")), _say)
            _say(json.dumps(result))
            return 0
        region = os.environ.get("AWS_REGION", "")
        writer = None
        if os.environ.get("LENS_PIPES_MESSAGES") == "s3":
            import boto3

            writer = PipesS3MessageWriter(client=boto3.client("s3", region_name=region))
        with open_dagster_pipes(message_writer=writer):
            pipes = PipesContext.get()
            spec = JobSpec.from_json(pipes.extras["spec"])
            result = run_job(spark, spec, pipes.log.info)
            metadata = {"root": result["root"], **{f"rows_{name}": count for name, count in result["rows"].items()}}
            pipes.report_asset_materialization(metadata=metadata, data_version=result["digest"])
    finally:
        if spark is not None:
            spark.stop()
    return 0
