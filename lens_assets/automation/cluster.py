"""The sample of a whole survey from a Spark cluster, launched through Dagster Pipes.

`LENS_CLUSTER` is the switch: unset, there is no such asset; `duckdb` runs the job on this machine without Spark,
`local[2]` with spark-submit; `emr` starts the cluster of `deploy/emr/cluster.yaml` (or of the file that
`LENS_EMR_SETTINGS` names). https://docs.dagster.io/guides/build/external-pipelines
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from lens_assets.environment import PROJECT_ROOT
from lens_assets.resources.lake import LakeResource

if TYPE_CHECKING:
    from lens_assets.assets.execution import Lineage
    from lens_assets.cluster.spec import JobSpec
    from lens_assets.cluster.submit import ClusterSettings
    from lens_assets.lake.lake import Lake

CLUSTER_VARIABLE = "LENS_CLUSTER"
OUTPUT_VARIABLE = "LENS_CLUSTER_OUTPUT"
SETTINGS_VARIABLE = "LENS_EMR_SETTINGS"
EMR, DUCKDB = "emr", "duckdb"
EMR_FOLDER = PROJECT_ROOT / "deploy" / "emr"
KEY = dg.AssetKey(["cluster", "stratified_sample"])
_LOCAL = "local["


def cluster_assets(lineage: "Lineage") -> list[dg.AssetsDefinition]:
    """Return the asset of the Spark job where `LENS_CLUSTER` names a cluster, else nothing."""
    cluster = os.environ.get(CLUSTER_VARIABLE, "")
    if not cluster:
        return []
    if cluster not in (EMR, DUCKDB) and not cluster.startswith(_LOCAL):
        raise ValueError(
            f"{CLUSTER_VARIABLE} = {cluster!r}; expected {EMR}, or {DUCKDB} or local[<cores>] for this machine"
        )
    return [_sample_on_cluster(lineage, cluster)]


def _sample_on_cluster(lineage: "Lineage", cluster: str) -> dg.AssetsDefinition:
    from lens_assets.cluster.spec import CATALOGS, JOB_VERSION

    inputs = [name for name in (*CATALOGS, "simulated_survey") if name in lineage.assets]

    @dg.asset(
        key=KEY,
        group_name="cluster",
        owners=["team:sampling"],
        kinds={"spark", "parquet"},
        code_version=JOB_VERSION,
        deps=[dg.AssetKey(name) for name in inputs],
        pool="spark",
        description=(
            "The sample of every design, from the sweep files to the draw on Spark: the same models, and the same "
            "rows, as the lineage's own. The metadata says where it was written."
        ),
    )
    def sample_on_cluster(context: dg.AssetExecutionContext, lake: LakeResource) -> Any:
        spec = spec_of(lineage, lake.open(lineage.campaign))
        launch = _on_emr if cluster == EMR else _on_this_machine
        return launch(context, spec, cluster)

    return sample_on_cluster


def spec_of(lineage: "Lineage", lake: "Lake") -> "JobSpec":
    """Return the job of a campaign over what its lake holds."""
    import pyarrow as pa

    from lens_assets.catalogs.contaminants import read_entries
    from lens_assets.catalogs.reading import list_path
    from lens_assets.cluster.spec import CATALOGS, ENTRIES, job_spec
    from lens_assets.cluster.storage import put_table
    from lens_assets.lake.lake import table_digest

    campaign = lineage.campaign
    simulated = campaign.survey.source == "simulated"
    root = str(lake.folder("simulated_survey")) if simulated else campaign.survey.root
    digests = {name: lake.digest(name) for name in (*CATALOGS, *(("simulated_survey",) if simulated else ()))}
    output = os.environ.get(OUTPUT_VARIABLE) or f"{lake.root.rstrip('/')}-cluster"
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    locate = partial(
        list_path, campaign_folder=campaign.folder, simulated_file=lambda name: lake.file("simulated_survey", name)
    )
    entries = pa.Table.from_pandas(read_entries(campaign.catalogs, locate), preserve_index=False)
    digests[ENTRIES] = table_digest(entries.drop_columns("place"))  # where a file lies on this machine changes nothing
    given = {name: lake.table_path(name) for name in CATALOGS}
    given[ENTRIES] = f"{output.rstrip('/')}/{ENTRIES}/{digests[ENTRIES][:16]}.parquet"
    put_table(given[ENTRIES], entries)
    return job_spec(campaign, root, given, output, region, digests)


def _on_this_machine(context: dg.AssetExecutionContext, spec: "JobSpec", master: str) -> Any:
    command = _command(spec, master)
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    if master != DUCKDB:
        # Spark's own scripts look for its home with a command that breaks where the path has a space.
        environment.setdefault("SPARK_HOME", _spark_home())
    client = dg.PipesSubprocessClient()
    run = client.run(command=command, context=context, extras={"spec": spec.to_json()}, env=environment)
    return run.get_materialize_result()


def _spark_home() -> str:
    """Return the folder of the installed pyspark, without importing it."""
    found = importlib.util.find_spec("pyspark")
    if found is None or not found.submodule_search_locations:
        raise dg.Failure("pyspark was not found; install the package with its spark extra", allow_retries=False)
    return next(iter(found.submodule_search_locations))


def _command(spec: "JobSpec", master: str) -> list[str]:
    """Return what starts the job on this machine."""
    from lens_assets.cluster.submit import local_submit

    script = str(EMR_FOLDER / "job.py")
    if master == DUCKDB:
        return [sys.executable, script, "--engine", DUCKDB]
    [name, *rest] = local_submit(master, script, f"{spec.output}/warehouse")
    submit = Path(sys.executable).with_name(name)
    found = str(submit) if submit.exists() else shutil.which(name)
    if found is None:
        raise dg.Failure(f"{name} was not found; install the package with its spark extra", allow_retries=False)
    return [found, *rest]


def _on_emr(context: dg.AssetExecutionContext, spec: "JobSpec", _: str) -> Any:
    import boto3
    from dagster_aws.pipes import PipesEMRClient, PipesS3MessageReader

    from lens_assets.cluster.submit import run_job_flow

    settings = emr_settings()
    client = PipesEMRClient(
        client=boto3.client("emr", region_name=settings.region),
        message_reader=PipesS3MessageReader(
            bucket=settings.message_bucket,
            client=boto3.client("s3", region_name=settings.region),
            include_stdio_in_messages=True,
        ),
    )
    parameters: Any = run_job_flow(settings)
    run = client.run(context=context, run_job_flow_params=parameters, extras={"spec": spec.to_json()})
    return run.get_materialize_result()


def emr_settings(path: Path | None = None) -> "ClusterSettings":
    """Read the settings of the EMR cluster; ValueError names the file and what is wrong in it."""
    import yaml

    from lens_assets.cluster.submit import ClusterSettings

    path = path or Path(os.environ.get(SETTINGS_VARIABLE) or EMR_FOLDER / "cluster.yaml")
    content: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        return ClusterSettings(**content)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
