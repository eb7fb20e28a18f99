"""An interrupted partition goes on where it stopped, and what it then holds is what it would have held."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lens_assets.sky import healpix
from lens_assets.survey import sources
from lens_assets.survey.ingest import ingest_partition
from lens_assets.survey.sources import Region
from lens_assets.survey.staging import Staging
from lens_assets.survey.tiles import parse_sweep_name
from lens_assets_tests.survey.sweep_files import files_of, sweep_name, sweep_rows, write_sweep

REGION = Region(4, int(healpix.pixel_of(4, 2.5, 2.5)[0]), 60.0)
NAMES = [sweep_name(5 * number, 0, 5 * number + 5, 5) for number in range(4)]
CHUNK_ROWS = 1000


class Watched:
    """A folder of sweeps that notes which files are opened."""

    def __init__(self, folder: Path) -> None:
        self.files, self.opened = files_of(folder), []

    def sweep_identity(self, tile):
        return self.files.sweep_identity(tile)

    def local_sweep(self, tile):
        self.opened.append(tile.name)
        return self.files.local_sweep(tile)


@pytest.fixture
def survey(tmp_path):
    rng = np.random.default_rng(11)
    folder = tmp_path / "sweeps"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        first = number * 2500
        rows = sweep_rows(rng.uniform(0, 5, 2500) + 5 * number, rng.uniform(0, 5, 2500), np.arange(first, first + 2500))
        write_sweep(folder, name, rows)
    return folder


def ingest(source, staging, work, region=REGION, version="1"):
    work.mkdir(exist_ok=True)
    tiles = [parse_sweep_name(name) for name in NAMES]
    return ingest_partition(tiles, source, region, CHUNK_ROWS, Staging(staging, version), work)


def killed_while_reading(folder: Path, staging: Path, work: Path, tile: str) -> None:
    """Ingest as `ingest` does, but die by SIGKILL after the first chunk of a tile."""
    read_sweep = sources.read_sweep

    def read(path, chunk_rows):
        for chunk in read_sweep(path, chunk_rows):
            yield chunk
            if path.name == tile:
                os.kill(os.getpid(), signal.SIGKILL)

    sources.read_sweep = read
    ingest(files_of(folder), staging, work)


def test_after_a_kill_finished_files_are_not_opened_again_and_the_bytes_are_the_same(survey, tmp_path):
    staging = tmp_path / "staging"
    script = (
        "import sys; from pathlib import Path; from lens_assets_tests.survey.test_resume import killed_while_reading;"
        "killed_while_reading(*map(Path, sys.argv[1:4]), sys.argv[4])"
    )
    arguments = [str(survey), str(staging), str(tmp_path / "killed"), NAMES[2]]
    killed = subprocess.run([sys.executable, "-c", script, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(staging.iterdir())) == 3  # two whole files and the half of the third
    watched = Watched(survey)
    resumed = ingest(watched, staging, tmp_path / "resumed")
    assert watched.opened == NAMES[2:]
    whole = ingest(Watched(survey), tmp_path / "other", tmp_path / "whole")
    assert resumed.path.read_bytes() == whole.path.read_bytes()
    assert resumed.accounts.equals(whole.accounts)
    assert resumed.sources.num_rows > 1000
    assert sorted(path.suffix for path in staging.iterdir()) == [".parquet"] * 4


def test_a_fault_in_one_file_keeps_the_others(survey, tmp_path):
    whole = (survey / NAMES[1]).read_bytes()
    (survey / NAMES[1]).write_bytes(whole[:-3000])
    first = ingest(Watched(survey), tmp_path / "staging", tmp_path / "first")
    assert first.accounts["reason"].tolist() == ["", "truncated", "", ""]
    (survey / NAMES[1]).write_bytes(whole)
    watched = Watched(survey)
    second = ingest(watched, tmp_path / "staging", tmp_path / "second")
    assert watched.opened == [NAMES[1]]
    assert second.accounts["status"].tolist() == ["ok"] * 4


@pytest.mark.parametrize("change", ["file", "version", "margin", "limit", "extinction"])
def test_what_was_kept_serves_only_the_same_files_settings_and_code(survey, tmp_path, change):
    ingest(Watched(survey), tmp_path / "staging", tmp_path / "first")
    region, version, expected = REGION, "1", NAMES
    if change == "file":
        rows = sweep_rows(np.array([1.0]), np.array([1.0]))
        write_sweep(survey, NAMES[0], rows)
        expected = NAMES[:1]
    elif change == "version":
        version = "2"
    else:
        region = {
            "margin": Region(4, REGION.pixel, 30.0),
            "limit": Region(4, REGION.pixel, 60.0, 21.0),
            "extinction": Region(4, REGION.pixel, 60.0, None, True),
        }[change]
    watched = Watched(survey)
    ingest(watched, tmp_path / "staging", tmp_path / "second", region, version)
    assert watched.opened == expected
    assert len(list((tmp_path / "staging").iterdir())) == 4
