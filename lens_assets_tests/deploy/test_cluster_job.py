"""The Spark job, started by spark-submit through Dagster Pipes on this machine, draws what the lineage draws."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
from pyspark import cloudpickle

from lens_assets.automation.cluster import KEY, cluster_assets, spec_of
from lens_assets.cluster import job, tasks
from lens_assets.cluster.spec import JobError, JobSpec
from lens_assets.cluster.storage import put
from lens_assets.lake.lake import table_digest
from lens_assets.resources.lake import LakeResource
from lens_assets_tests.deploy.sky import lake_with_catalogs, make_sample


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("LENS_CLUSTER", "local[2]")
    monkeypatch.setenv("LENS_CLUSTER_OUTPUT", str(tmp_path / "cluster"))
    return str(tmp_path / "cluster")


def launch(definition: dg.AssetsDefinition, root: str) -> dict:
    """Materialise the asset of the job and return the metadata that the job reported."""
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([definition], instance=instance, resources={"lake": LakeResource(root=root)})
        [event] = done.asset_materializations_for_node(definition.node_def.name)
        assert event.asset_key == KEY
        return {name: entry.value for name, entry in event.metadata.items()} | {
            "version": event.tags["dagster/data_version"]
        }


@pytest.mark.timeout(1800)
def test_the_job_draws_what_the_lineage_draws_and_goes_on_where_it_stopped(cluster: str) -> None:
    lineage, lake = lake_with_catalogs()
    [definition] = cluster_assets(lineage)
    spec = spec_of(lineage, lake)
    done_before = tasks.ingest("hp04-070", spec.to_json(), f"{spec.root}/sweep_sources")
    written = Path(spec.root, "sweep_sources", "hp04-070.parquet")
    before = written.stat().st_mtime_ns
    half_written = Path(spec.root, "pool", "negative_candidates", "part-0.parquet")
    half_written.parent.mkdir(parents=True)
    half_written.write_bytes(b"PAR1 and then the machine died")
    first = launch(definition, lake.root)
    assert written.stat().st_mtime_ns == before, "what was ingested is not ingested again"
    assert json.loads(done_before)
    make_sample(lineage, lake)
    here, there = lake.arrow("stratified_sample"), pq.read_table(f"{first['root']}/stratified_sample.parquet")
    assert {"A", "B", "N1", "N2"} <= set(here["tier"].to_pylist())
    assert there["galaxy_id"].to_pylist() == here["galaxy_id"].to_pylist()
    assert table_digest(there.cast(here.schema)) == table_digest(here)
    assert first["rows_stratified_sample"] == here.num_rows
    for key in lineage.campaign.survey.sky_partitions:
        assert pq.read_table(Path(spec.root, "sweep_sources", f"{key}.parquet")).equals(
            lake.arrow("sweep_sources", key)
        )
    again = launch(definition, lake.root)
    assert again["version"] == first["version"]


def test_without_spark_the_job_draws_what_the_lineage_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LENS_CLUSTER", "duckdb")
    monkeypatch.setenv("LENS_CLUSTER_OUTPUT", str(tmp_path / "here"))
    lineage, lake = lake_with_catalogs()
    [definition] = cluster_assets(lineage)
    found = launch(definition, lake.root)
    make_sample(lineage, lake)
    there = pq.read_table(f"{found['root']}/stratified_sample.parquet")
    assert table_digest(there) == table_digest(lake.arrow("stratified_sample"))
    remote = spec_of(lineage, lake)
    with pytest.raises(JobError, match="is not a folder; DuckDB writes on this machine"):
        job._sample_here(replace(remote, output="s3://bucket/out", region="eu-central-1"), [], None, None)  # type: ignore[arg-type]


def test_what_executors_run_arrives_whole_in_a_fresh_process(tmp_path: Path) -> None:
    """Spark pickles functions with cloudpickle; a process that has imported nothing runs them."""
    from functools import partial

    lineage, lake = lake_with_catalogs()
    spec = spec_of(lineage, lake)
    folder = str(tmp_path / "sources")
    work = partial(tasks.ingest, spec=spec.to_json(), folder=folder)
    pickled = tmp_path / "task.pickle"
    pickled.write_bytes(cloudpickle.dumps(work))
    code = (
        "import sys, pickle; work = pickle.loads(open(sys.argv[1], 'rb').read()); "
        "assert 'lens_assets.survey' not in sys.modules; print(work('hp04-070'))"
    )
    command = [sys.executable, "-c", code, str(pickled)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    [west, east] = json.loads(found.stdout)
    assert west["status"] == east["status"] == "ok"
    assert pq.read_metadata(f"{folder}/hp04-070.parquet").num_rows == west["kept"] + east["kept"] > 1000
    assert not [name for name in vars(tasks) if not name.startswith("__") and name not in ("annotations", *_FUNCTIONS)]


_FUNCTIONS = ("ingest", "cells", "neighbourhood")


def test_a_partition_without_its_accounts_is_ingested_again(tmp_path: Path) -> None:
    lineage, lake = lake_with_catalogs()
    spec, folder = spec_of(lineage, lake), str(tmp_path)
    put(f"{folder}/hp04-070.parquet", b"half a table")
    tasks.ingest("hp04-070", spec.to_json(), folder)
    assert pq.read_metadata(f"{folder}/hp04-070.parquet").num_rows > 1000


def test_other_settings_write_elsewhere_and_s3_needs_a_region(cluster: str) -> None:
    lineage, lake = lake_with_catalogs()
    spec = spec_of(lineage, lake)
    assert JobSpec.from_json(spec.to_json()) == spec
    content = json.loads(spec.to_json())
    content["settings"]["sampling"]["seed"] += 1
    assert JobSpec(**content).root != spec.root
    with pytest.raises(JobError, match="s3://bucket/out is on S3 and no region is named"):
        JobSpec(**{**content, "output": "s3://bucket/out"})
    del content["catalogs"]["lens_catalog"]
    with pytest.raises(JobError, match="the job lacks lens_catalog"):
        JobSpec(**content)


def test_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    lineage, _ = lake_with_catalogs()
    monkeypatch.delenv("LENS_CLUSTER", raising=False)
    assert cluster_assets(lineage) == []
    monkeypatch.setenv("LENS_CLUSTER", "yarn")
    with pytest.raises(ValueError, match="LENS_CLUSTER = 'yarn'; expected emr, or duckdb"):
        cluster_assets(lineage)
