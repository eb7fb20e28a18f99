"""The survey root: local folders and remote prefixes give the same tiles, files and errors."""

import fsspec
import numpy as np
import pytest

from lens_assets.survey.coadds import read_stamps_from_brick
from lens_assets.survey.files import SurveyFiles, SurveyRootError
from lens_assets.survey.ingest import ingest_partition
from lens_assets.survey.sources import Region
from lens_assets.survey.staging import Staging
from lens_assets.survey.tiles import parse_sweep_name
from lens_assets_tests.survey.sweep_files import sweep_rows, write_sweep

NAME = "sweep-000m005-005p000.fits"
LAYOUT = ("south/sweep/10.1", "south/coadd", "south/survey-bricks-dr10-south.fits.gz")


@pytest.fixture
def local(tmp_path):
    folder = tmp_path / "root with spaces" / "south/sweep/10.1"
    folder.mkdir(parents=True)
    write_sweep(folder, NAME, sweep_rows(np.linspace(1, 4, 20), np.full(20, -2.0)))
    (folder / "sweep-notes.txt").write_text("not a sweep")
    (folder / "dr10.1.sha256sum").write_text("")
    return SurveyFiles(str(tmp_path / "root with spaces"), *LAYOUT)


@pytest.fixture
def remote(local, tmp_path):
    memory = fsspec.filesystem("memory")
    for path in ("notes.txt", NAME):
        memory.pipe_file(f"/survey/{LAYOUT[0]}/{path}", b"")
    content = next(iter(tmp_path.rglob(NAME))).read_bytes()
    memory.pipe_file(f"/survey/{LAYOUT[0]}/{NAME}", content)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    yield SurveyFiles("memory://survey", *LAYOUT, scratch)
    memory.rm("/survey", recursive=True)


def ingested(files, region, scratch):
    scratch.mkdir()
    return ingest_partition(files.sweep_tiles(), files, region, 1000, Staging(scratch / "staging", "test"), scratch)


def test_only_sweep_files_are_tiles(local, remote):
    assert local.sweep_tiles() == remote.sweep_tiles() == (parse_sweep_name(NAME),)
    assert local.is_local and not remote.is_local


def test_a_remote_sweep_is_read_as_a_local_one_and_its_copy_removed(local, remote, tmp_path):
    region = Region(4, 70, 60.0)
    results = [ingested(files, region, tmp_path / str(files.is_local)) for files in (local, remote)]
    assert results[0].sources.equals(results[1].sources)
    assert results[0].accounts["rows_read"].tolist() == results[1].accounts["rows_read"].tolist() == [20]
    assert not list(remote.scratch.iterdir())


def test_a_remote_brick_that_is_not_there_is_a_status(remote):
    result = read_stamps_from_brick(remote, "0001m005", [0.1], [-0.5], 101)
    assert result.status.tolist() == ["missing_brick"]


def test_a_tile_that_vanishes_is_quarantined(local, tmp_path):
    gone = parse_sweep_name("sweep-005m005-010p000.fits")
    scratch = tmp_path / "work"
    scratch.mkdir()
    staging = Staging(scratch / "staging", "test")
    result = ingest_partition([gone], local, Region(4, 70, 60.0), 1000, staging, scratch)
    assert result.accounts[["status", "reason"]].to_numpy().tolist() == [["quarantined", "missing"]]


def test_a_folder_without_a_sweep_says_what_it_holds(tmp_path):
    files = SurveyFiles(str(tmp_path), "sweeps", "coadd", "bricks.fits")
    (tmp_path / "sweeps").mkdir()
    with pytest.raises(SurveyRootError, match=r"is empty; expected files .*survey\.root and survey\.sweep_folder"):
        files.sweep_tiles()
    (tmp_path / "sweeps" / "mysweep.fits").touch()
    with pytest.raises(SurveyRootError, match=r"holds mysweep\.fits; expected files"):
        files.sweep_tiles()


def test_a_root_that_is_not_there_is_explained(tmp_path):
    with pytest.raises(SurveyRootError, match=r"survey\.root and survey\.sweep_folder"):
        SurveyFiles(str(tmp_path / "nowhere"), *LAYOUT).sweep_tiles()


def test_a_remote_root_needs_a_scratch_folder(remote):
    bare = SurveyFiles(remote.root, *LAYOUT)
    with pytest.raises(SurveyRootError, match="scratch"), bare.local_sweep(parse_sweep_name(NAME)):
        pass


def test_paths_of_the_release():
    files = SurveyFiles("root", *LAYOUT)
    assert files.coadd_path("1126p222", "image", "r") == (
        "south/coadd/112/1126p222/legacysurvey-1126p222-image-r.fits.fz"
    )
    assert files.coadd_path("1126p222", "maskbits").endswith("legacysurvey-1126p222-maskbits.fits.fz")
