"""How a job is submitted: Spark settings sized to the instance type, and what EMR is asked to start."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

MOST_CORES_PER_EXECUTOR = 5
"""More cores wait for one JVM's collector; fewer hold more copies of what is broadcast."""

YARN_SHARE = 0.75
"""Of a node's memory, what EMR gives YARN at least; the rest is the system's and the daemons'."""

PYTHON_GIB_PER_CORE = 1.5
"""Outside the JVM: a Python worker ingesting or matching one sky partition, in bounded memory (DuckDB 768 MB)."""

LEAST_HEAP_GIB = 1.0
_GIB_PER_VCPU = {"c": 2, "m": 4, "r": 8}
_INSTANCE = re.compile(r"^(?P<family>[cmr])\d[a-z-]*\.(?P<times>\d*)(?P<size>large|xlarge)$")
_VCPU = {"large": 2, "xlarge": 4}


@dataclass(frozen=True)
class NodeSize:
    """What a worker node has."""

    vcpus: int
    memory_gib: float


def node_size(instance_type: str) -> NodeSize:
    """Return the size of an instance of the c, m or r family: 2, 4 and 8 GiB a vCPU, 4 vCPU an xlarge.

    Source: https://aws.amazon.com/ec2/instance-types/. ValueError names another type.
    """
    match = _INSTANCE.match(instance_type)
    if not match or (match["size"] == "large" and match["times"]):
        raise ValueError(
            f"instance type {instance_type!r} is not known; expected one of the c, m or r families such as r6i.4xlarge"
        )
    vcpus = _VCPU[match["size"]] * int(match["times"] or 1)
    return NodeSize(vcpus, vcpus * _GIB_PER_VCPU[match["family"]])


def executor_settings(node: NodeSize, nodes: int) -> dict[str, str]:
    """Return the Spark settings of executors that fill the worker nodes: count, cores, heap and memory beside it.

    A node keeps one core and a quarter of its memory for itself. Each task is a Python worker, so memory beside the
    heap is sized by cores. ValueError where a node is too small for one executor, or no node is asked for.
    """
    if nodes < 1:
        raise ValueError(f"{nodes} worker nodes; expected at least 1")
    usable = max(1, node.vcpus - 1)
    per_node = math.ceil(usable / MOST_CORES_PER_EXECUTOR)
    cores = usable // per_node
    container = node.memory_gib * YARN_SHARE / per_node
    beside = cores * PYTHON_GIB_PER_CORE
    heap = container - beside
    if heap < LEAST_HEAP_GIB:
        raise ValueError(
            f"a node of {node.vcpus} vCPU and {node.memory_gib:g} GiB leaves {heap:.1f} GiB of heap an executor; "
            f"expected at least {LEAST_HEAP_GIB:g}: take a family with more memory a core (r), or a larger size"
        )
    executors = per_node * nodes
    return {
        "spark.dynamicAllocation.enabled": "false",
        "spark.executor.instances": str(executors),
        "spark.executor.cores": str(cores),
        "spark.executor.memory": f"{int(heap * 1024)}m",
        "spark.executor.memoryOverhead": f"{int(beside * 1024)}m",
        "spark.sql.shuffle.partitions": str(executors * cores * 2),
        "spark.task.maxFailures": "4",
    }


@dataclass(frozen=True)
class ClusterSettings:
    """What EMR is asked for; see `deploy/emr/cluster.yaml`, where each is explained."""

    name: str
    region: str
    release: str
    worker_type: str
    workers: int
    leader_type: str
    subnet: str
    instance_profile: str
    service_role: str
    log_uri: str
    code_uri: str
    message_bucket: str

    def __post_init__(self) -> None:
        """Raise ValueError where a setting is empty: nothing is left to a default of the account."""
        empty = [name for name, value in vars(self).items() if value in ("", None)]
        if empty:
            raise ValueError(f"deploy/emr/cluster.yaml leaves {', '.join(empty)} empty; expected a value for each")


def run_job_flow(settings: ClusterSettings) -> dict[str, Any]:
    """Return the parameters of EMR's RunJobFlow: a cluster that bootstraps, runs the one step and ends.

    https://docs.aws.amazon.com/emr/latest/APIReference/API_RunJobFlow.html
    """
    conf = executor_settings(node_size(settings.worker_type), settings.workers)
    places = {"AWS_REGION": settings.region, "LENS_PIPES_MESSAGES": "s3"}
    for name, value in places.items():
        conf |= {f"spark.executorEnv.{name}": value, f"spark.yarn.appMasterEnv.{name}": value}
    arguments = [part for name, value in sorted(conf.items()) for part in ("--conf", f"{name}={value}")]
    command = ["spark-submit", "--master", "yarn", "--deploy-mode", "cluster", *arguments]
    return {
        "Name": settings.name,
        "ReleaseLabel": settings.release,
        "LogUri": settings.log_uri,
        "Applications": [{"Name": "Spark"}],
        "JobFlowRole": settings.instance_profile,
        "ServiceRole": settings.service_role,
        "VisibleToAllUsers": True,
        "Configurations": [_python_of_the_package()],
        "BootstrapActions": [
            {
                "Name": "lens_assets with its pinned packages",
                "ScriptBootstrapAction": {
                    "Path": f"{settings.code_uri}/bootstrap.sh",
                    "Args": [settings.code_uri, settings.region],
                },
            }
        ],
        "Instances": {
            "Ec2SubnetId": settings.subnet,
            "KeepJobFlowAliveWhenNoSteps": False,
            "TerminationProtected": False,
            "InstanceGroups": [
                {"InstanceRole": "MASTER", "InstanceType": settings.leader_type, "InstanceCount": 1},
                {"InstanceRole": "CORE", "InstanceType": settings.worker_type, "InstanceCount": settings.workers},
            ],
        },
        "Steps": [
            {
                "Name": "sample the survey",
                "ActionOnFailure": "TERMINATE_CLUSTER",
                "HadoopJarStep": {"Jar": "command-runner.jar", "Args": [*command, f"{settings.code_uri}/job.py"]},
            }
        ],
    }


def _python_of_the_package() -> dict[str, Any]:
    """Return the classification that makes driver and executors use the interpreter that bootstrap.sh made."""
    python = "/opt/lens-assets/bin/python"
    return {
        "Classification": "spark-defaults",
        "Properties": {
            "spark.pyspark.python": python,
            "spark.pyspark.driver.python": python,
            "spark.yarn.appMasterEnv.PYSPARK_PYTHON": python,
            "spark.executorEnv.PYSPARK_PYTHON": python,
        },
    }


def local_submit(master: str, script: str, warehouse: str) -> list[str]:
    """Return the command that runs the job on this machine, e.g. with master `local[2]`."""
    conf = {
        "spark.driver.memory": "2g",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": warehouse,
    }
    arguments = [part for name, value in sorted(conf.items()) for part in ("--conf", f"{name}={value}")]
    return ["spark-submit", "--master", master, *arguments, script]
