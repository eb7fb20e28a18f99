"""What an executor does: one sky partition a call. Only texts come in, and every import is inside a function.

A function that Spark pickles with the modules it captured reaches executors with None in their place where a module
cannot be pickled. Functions of a module are pickled by name instead: executors import this module afresh.
"""

from __future__ import annotations


def ingest(key: str, spec: str, folder: str) -> str:
    """Ingest one partition from the sweep files and return the JSON of its accounts; done before, it is read back.

    The accounts are written last and make the partition visible.
    """
    import json
    import tempfile
    from pathlib import Path

    from lens_assets.cluster.spec import JOB_VERSION, JobSpec
    from lens_assets.cluster.storage import exists, put, put_file, read_json
    from lens_assets.sky.healpix import parse_partition_key
    from lens_assets.survey.files import SurveyFiles
    from lens_assets.survey.ingest import ingest_partition
    from lens_assets.survey.sources import Region
    from lens_assets.survey.staging import Staging

    done = f"{folder}/{key}.json"
    if exists(done):
        return json.dumps(read_json(done))
    job = JobSpec.from_json(spec)
    settings = job.survey
    nside, pixel = parse_partition_key(key)
    region = Region(nside, pixel, settings.margin_arcsec, settings.faintest_mag_z, settings.extinction_corrected)
    with tempfile.TemporaryDirectory(prefix="lens-assets-") as name:
        scratch = Path(name)
        files = SurveyFiles(
            job.survey_root, settings.sweep_folder, settings.coadd_folder, settings.bricks_table, scratch
        )
        tiles = files.tiles_of_partition(nside, pixel, settings.margin_arcsec)
        staging = Staging(scratch / "staging", JOB_VERSION)
        made = ingest_partition(tiles, files, region, settings.chunk_rows, staging, scratch)
        put_file(f"{folder}/{key}.parquet", made.path)
        accounts = made.accounts.to_json(orient="records")
    put(done, accounts.encode())
    return str(accounts)


def cells(path: str) -> list[int]:
    """Return the split cells that hold a partition's own sources."""
    import pyarrow.compute as pc

    from lens_assets.cluster.storage import read_table

    table = read_table(path).select(["healpix_128", "in_margin"])
    return list(table.filter(pc.invert(table["in_margin"]))["healpix_128"].unique().to_pylist())


def neighbourhood(path: str, spec: str, surroundings: str, folder: str) -> str:
    """Write what lenses, contaminants and neighbours say of a partition's sources, unless it is there; return the file.

    `surroundings` is the prefix under which the job wrote the tables of positions.
    """
    from lens_assets.cluster.spec import JobSpec
    from lens_assets.cluster.storage import exists, put_table, read_table
    from lens_assets.sampling.chain import Surroundings, candidate_neighbourhood, neighbourhood_table

    target = f"{folder}/{path.rpartition('/')[2]}"
    if not exists(target):
        lenses, contaminants, split_cells = (
            read_table(f"{surroundings}/{name}.parquet").to_pandas() for name in ("lenses", "contaminants", "cells")
        )
        around = Surroundings(lenses, contaminants, split_cells)
        put_table(target, neighbourhood_table(candidate_neighbourhood(path, around, JobSpec.from_json(spec).negatives)))
    return target
