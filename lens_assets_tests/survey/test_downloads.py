"""Remote surveys: a public HTTP tree and an S3 mirror give what a folder gives, or say what went wrong."""

from __future__ import annotations

import logging
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from lens_assets.survey import downloads
from lens_assets.survey.downloads import Cache, TransferError, describe, fetch, list_names, local_copy
from lens_assets.survey.files import SurveyFiles, SurveyRootError
from lens_assets.survey.ingest import ingest_partition
from lens_assets.survey.sources import Region
from lens_assets.survey.staging import Staging
from lens_assets.survey.tiles import parse_sweep_name
from lens_assets_tests.survey.sweep_files import sweep_rows, write_sweep

LAYOUT = ("south/sweep/10.1", "south/coadd", "south/survey-bricks-dr10-south.fits.gz")
WEST, EAST = "sweep-000m005-005p000.fits", "sweep-005m005-010p000.fits"
REGION = Region(4, 70, 60.0)


class Server(SimpleHTTPRequestHandler):
    """Serves a folder; `faults` maps a file name to how many answers to its GET are bad, and in which way."""

    faults: dict[str, tuple[int, str]]
    requests: list[str]

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        type(self).requests.append(name)
        left, kind = type(self).faults.get(name, (0, ""))
        if not left:
            return super().do_GET()
        type(self).faults[name] = (left - 1, kind)
        if kind == "busy":
            return self.send_error(503)
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        if kind == "cut":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True
        return None


@pytest.fixture
def release(tmp_path):
    folder = tmp_path / "release" / LAYOUT[0]
    folder.mkdir(parents=True)
    write_sweep(folder, WEST, sweep_rows(np.linspace(1, 4, 200), np.full(200, -2.0)))
    write_sweep(folder, EAST, sweep_rows(np.linspace(6, 9, 200), np.full(200, -2.0), np.arange(200, 400)))
    (folder / "dr10.1.sha256sum").write_text("")
    return tmp_path / "release"


@pytest.fixture
def http(release, monkeypatch):
    monkeypatch.setattr(downloads, "FIRST_PAUSE_SECONDS", 0.01)
    handler = type("Handler", (Server,), {"faults": {}, "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(release)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()


def scratch(tmp_path, name="scratch"):
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    return folder


def ingest(files, tmp_path, name):
    work = scratch(tmp_path, name)
    return ingest_partition(files.sweep_tiles(), files, REGION, 1000, Staging(work / "staging", "test"), work)


def test_a_public_tree_gives_what_the_folder_gives(release, http, tmp_path):
    url, handler = http
    remote = SurveyFiles(url, *LAYOUT, scratch(tmp_path))
    assert [tile.name for tile in remote.sweep_tiles()] == [WEST, EAST]
    found = ingest(remote, tmp_path, "remote")
    assert found.path.read_bytes() == ingest(SurveyFiles(str(release), *LAYOUT), tmp_path, "local").path.read_bytes()
    assert not list(remote.scratch.iterdir())
    assert handler.requests.count(WEST) == 1


@pytest.mark.parametrize("kind", ["busy", "cut", "cut without a length"])
def test_a_failed_transfer_is_tried_again_and_never_read_in_half(http, release, tmp_path, kind):
    url, handler = http
    handler.faults[WEST] = (2, kind)
    target = scratch(tmp_path) / "copy.fits"
    fetch(describe(f"{url}/{LAYOUT[0]}/{WEST}"), target)
    assert target.read_bytes() == (release / LAYOUT[0] / WEST).read_bytes()
    assert handler.requests.count(WEST) == 3


def test_a_server_that_never_gives_a_file_whole_sets_it_aside_and_the_rest_goes_on(http, tmp_path):
    url, handler = http
    handler.faults[WEST] = (99, "cut")
    result = ingest(SurveyFiles(url, *LAYOUT, scratch(tmp_path)), tmp_path, "work")
    accounts = result.accounts.set_index("sweep_file")
    assert accounts.loc[WEST, ["status", "reason"]].tolist() == ["quarantined", "unreachable"]
    assert f"{url}/{LAYOUT[0]}/{WEST}: 4 attempts failed" in accounts.loc[WEST, "detail"]
    assert accounts.loc[EAST, "rows_read"] == 200
    assert not list(scratch(tmp_path).iterdir())


def test_a_file_that_is_not_there_is_missing_at_once(http, tmp_path):
    url, handler = http
    files = SurveyFiles(url, *LAYOUT, scratch(tmp_path))
    gone = parse_sweep_name("sweep-010m005-015p000.fits")
    work = scratch(tmp_path, "work")
    result = ingest_partition([gone], files, REGION, 1000, Staging(work / "staging", "test"), work)
    assert result.accounts[["status", "reason"]].to_numpy().tolist() == [["quarantined", "missing"]]
    assert gone.name in result.accounts["detail"].item()
    assert handler.requests.count(gone.name) <= 1


def test_a_tree_that_is_not_there_names_the_setting(http, tmp_path):
    url, _ = http
    with pytest.raises(SurveyRootError, match=r"survey\.root and survey\.sweep_folder"):
        SurveyFiles(f"{url}/nowhere", *LAYOUT, scratch(tmp_path)).sweep_tiles()


def test_the_cache_serves_the_next_reader_within_its_bound(http, release, tmp_path):
    url, handler = http
    size = (release / LAYOUT[0] / WEST).stat().st_size
    cache = Cache(tmp_path / "cache", int(1.5 * size))
    west, east = (describe(f"{url}/{LAYOUT[0]}/{name}") for name in (WEST, EAST))
    for _ in range(2):
        with local_copy(west, scratch(tmp_path), cache) as copy:
            assert copy.stat().st_size == size
    assert handler.requests.count(WEST) == 1
    with local_copy(west, scratch(tmp_path), cache) as held:
        with local_copy(east, scratch(tmp_path), cache):
            assert [path.name.split("-", 1)[1] for path in cache.folder.iterdir()] == [EAST]
        assert held.read_bytes() == (release / LAYOUT[0] / WEST).read_bytes()  # dropped from the cache, still whole
    assert not list(scratch(tmp_path).iterdir())
    with local_copy(west, scratch(tmp_path), Cache(tmp_path / "none", 0)) as copy:
        assert copy.exists()
    assert not (tmp_path / "none").exists()


def test_a_changed_file_is_fetched_anew(http, release, tmp_path):
    url, handler = http
    cache = Cache(tmp_path / "cache", 10**9)
    for rows in (200, 100):
        write_sweep(release / LAYOUT[0], WEST, sweep_rows(np.linspace(1, 4, rows), np.full(rows, -2.0)))
        with local_copy(describe(f"{url}/{LAYOUT[0]}/{WEST}"), scratch(tmp_path), cache) as copy:
            assert copy.read_bytes() == (release / LAYOUT[0] / WEST).read_bytes()
    assert handler.requests.count(WEST) == 2


@pytest.fixture
def bucket(release, monkeypatch):
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(downloads, "FIRST_PAUSE_SECONDS", 0.01)
    client = boto3.client("s3")
    client.create_bucket(Bucket="mirror")
    for name in (WEST, EAST):
        client.upload_file(str(release / LAYOUT[0] / name), "mirror", f"dr10/{LAYOUT[0]}/{name}")
    yield client
    server.stop()


def test_a_mirror_on_s3_gives_what_the_folder_gives(bucket, release, tmp_path):
    remote = SurveyFiles("s3://mirror/dr10", *LAYOUT, scratch(tmp_path))
    assert list_names(f"s3://mirror/dr10/{LAYOUT[0]}") == [WEST, EAST]
    found = ingest(remote, tmp_path, "remote")
    assert found.path.read_bytes() == ingest(SurveyFiles(str(release), *LAYOUT), tmp_path, "local").path.read_bytes()


def test_an_unreadable_object_on_s3_is_set_aside_by_name(bucket, release, tmp_path):
    key = f"dr10/{LAYOUT[0]}/{WEST}"
    bucket.put_object(Bucket="mirror", Key=key, Body=b"x" * 3000, StorageClass="GLACIER")  # GET is refused: archived
    remote = SurveyFiles("s3://mirror/dr10", *LAYOUT, scratch(tmp_path))
    accounts = ingest(remote, tmp_path, "work").accounts.set_index("sweep_file")
    assert accounts.loc[WEST, ["status", "reason"]].tolist() == ["quarantined", "unreachable"]
    assert f"s3://mirror/{key}" in accounts.loc[WEST, "detail"]
    assert accounts.loc[EAST, "status"] == "ok"


def test_a_bucket_that_is_not_there_names_the_setting(bucket, tmp_path):
    with pytest.raises(SurveyRootError, match=r"survey\.root"):
        SurveyFiles("s3://nobody/dr10", *LAYOUT, scratch(tmp_path)).sweep_tiles()


def test_only_what_may_pass_is_tried_again(monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "FIRST_PAUSE_SECONDS", 0.0)
    tried = []

    class Refusing:
        def get_file(self, url, target):
            tried.append(url)
            raise PermissionError(13, "Access Denied", url)

    monkeypatch.setattr(downloads, "_opened", lambda url: Refusing())
    with pytest.raises(PermissionError):
        fetch(downloads.RemoteFile("s3://mirror/a.fits", 1, ""), tmp_path / "a")
    assert len(tried) == 1
    assert issubclass(TransferError, OSError)
