"""Executors fill the nodes they are sized to, and what EMR is asked for is a request EMR understands."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber

from lens_assets.automation.cluster import EMR_FOLDER, _spark_home, emr_settings
from lens_assets.cluster.submit import (
    PYTHON_GIB_PER_CORE,
    YARN_SHARE,
    ClusterSettings,
    NodeSize,
    executor_settings,
    node_size,
    run_job_flow,
)

SETTINGS = ClusterSettings(
    name="test", region="eu-central-1", release="emr-7.12.0", worker_type="r6i.4xlarge", workers=3,
    leader_type="m6i.xlarge", subnet="subnet-1", instance_profile="profile", service_role="role",
    log_uri="s3://logs/here", code_uri="s3://code/here", message_bucket="messages",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "vcpus", "gib"),
    [("m6i.xlarge", 4, 16), ("r5.4xlarge", 16, 128), ("c7g.8xlarge", 32, 64), ("m5.large", 2, 8)],
)  # fmt: skip
def test_sizes_of_instances(name: str, vcpus: int, gib: float) -> None:
    assert node_size(name) == NodeSize(vcpus, gib)


@pytest.mark.parametrize("name", ["p4d.24xlarge", "m5", "4xlarge", "m5.2large", "t3.micro", ""])
def test_other_instances_are_named(name: str) -> None:
    with pytest.raises(ValueError, match="expected one of the c, m or r families"):
        node_size(name)


@pytest.mark.parametrize("times", [1, 2, 4, 8, 12, 16, 24])
@pytest.mark.parametrize("family", ["m6i", "r6i"])
def test_executors_fill_a_node_and_no_more(times: int, family: str) -> None:
    node = node_size(f"{family}.{times}xlarge")
    conf = executor_settings(node, 5)
    per_node, cores = int(conf["spark.executor.instances"]) // 5, int(conf["spark.executor.cores"])
    heap, beside = (int(conf[f"spark.executor.{name}"][:-1]) / 1024 for name in ("memory", "memoryOverhead"))
    assert per_node * 5 == int(conf["spark.executor.instances"])
    assert 0.75 * (node.vcpus - 1) <= per_node * cores <= node.vcpus - 1
    assert 0.98 * node.memory_gib * YARN_SHARE <= per_node * (heap + beside) <= node.memory_gib * YARN_SHARE
    assert beside >= cores * PYTHON_GIB_PER_CORE - 0.01
    assert cores <= 5


def test_a_node_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a node of 16 vCPU and 32 GiB leaves .* take a family with more memory"):
        executor_settings(node_size("c5.4xlarge"), 2)
    with pytest.raises(ValueError, match="0 worker nodes"):
        executor_settings(node_size("r5.xlarge"), 0)


def test_emr_accepts_the_request() -> None:
    """The stub checks the parameters against the service model that boto3 carries."""
    client = boto3.client("emr", region_name=SETTINGS.region, aws_access_key_id="x", aws_secret_access_key="x")
    request = run_job_flow(SETTINGS)
    with Stubber(client) as stub:
        stub.add_response("run_job_flow", {"JobFlowId": "j-1"}, request)
        client.run_job_flow(**request)
    [step] = request["Steps"]
    arguments = step["HadoopJarStep"]["Args"]
    assert arguments[:5] == ["spark-submit", "--master", "yarn", "--deploy-mode", "cluster"]
    assert arguments[-1] == "s3://code/here/job.py"
    assert "spark.executorEnv.AWS_REGION=eu-central-1" in arguments
    assert "spark.yarn.appMasterEnv.AWS_REGION=eu-central-1" in arguments
    assert "spark.executor.instances=9" in arguments
    [bootstrap] = request["BootstrapActions"]
    assert bootstrap["ScriptBootstrapAction"]["Args"] == ["s3://code/here", "eu-central-1"]


def test_nothing_is_left_to_a_default_of_the_account() -> None:
    with pytest.raises(ValueError, match="leaves region, subnet empty"):
        replace(SETTINGS, region="", subnet="")
    with pytest.raises(ValueError, match=r"cluster\.yaml: .*leaves region, release, subnet, log_uri, code_uri"):
        emr_settings()


def test_the_archive_holds_what_a_node_needs(tmp_path: Path) -> None:
    archive = tmp_path / "made" / "lens-assets.tar.gz"
    subprocess.run(["sh", str(EMR_FOLDER / "package.sh"), str(archive)], check=True)
    with tarfile.open(archive) as content:
        content.extractall(tmp_path, filter="data")
    assert (tmp_path / "constraints.txt").is_file()
    code = (
        "import lens_assets.cluster.job; from lens_assets.sampling.models import MODELS_FOLDER, load_project; "
        "assert 'negative_candidates' in load_project().models; print(MODELS_FOLDER)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
                           capture_output=True, text=True, check=False)  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.strip()) == tmp_path / "dbt_like_sql"


@pytest.mark.parametrize("script", ["bootstrap.sh", "package.sh"])
def test_scripts_are_shell(script: str) -> None:
    subprocess.run(["sh", "-n", str(EMR_FOLDER / script)], check=True)
    assert "set -eu" in (EMR_FOLDER / script).read_text(encoding="utf-8")


def test_the_home_of_spark_is_where_its_scripts_are() -> None:
    assert (Path(_spark_home()) / "bin" / "spark-submit").is_file()
