from __future__ import annotations

import logging
from collections.abc import Iterator

import boto3
import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer

from lens_assets.lake.lake import Lake, LakeError
from lens_assets.lake.record import Provenance

ONE = Provenance(code_version="1", settings={}, upstream={})


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def root(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    settings = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="lake")
    return "s3://lake/campaign"


def test_a_lake_on_s3_reads_writes_lists_and_retires(root: str) -> None:
    lake = Lake(root, "demo")
    table = pa.table({"galaxy_id": ["a", "b"]})
    lake.write("cutouts", "hp04-001", ONE, table=table, files={"stamps.arrow": b"pixels"})
    again = Lake(root, "demo")
    assert again.arrow("cutouts", "hp04-001").equals(table)
    assert again.file("cutouts", "stamps.arrow", "hp04-001").read_bytes() == b"pixels"
    assert again.partitions("cutouts") == ["hp04-001"]
    assert again.is_current("cutouts", "hp04-001", ONE)
    assert again.table_path("cutouts", "hp04-001").startswith("s3://lake/campaign/cutouts/hp04-001/")
    again.retire("cutouts")
    assert again.record("cutouts", "hp04-001") is None


def test_a_file_from_scratch_reaches_s3(root: str) -> None:
    lake = Lake(root, "demo")
    source = lake.scratch() / "weights.pt"
    source.write_bytes(b"weights")
    lake.write("trained_model", "baseline", ONE, table=None, files={"weights.pt": source})
    assert lake.file("trained_model", "weights.pt", "baseline").read_bytes() == b"weights"
    assert lake.folder("trained_model", "baseline").joinpath("weights.pt").exists()


def test_another_campaigns_prefix_is_refused(root: str) -> None:
    Lake(root, "demo")
    with pytest.raises(LakeError, match="written by campaign 'demo'"):
        Lake(root, "dr10")
