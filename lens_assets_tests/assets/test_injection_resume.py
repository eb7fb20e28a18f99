"""A condition killed among its batches loses the one being rendered, and ends as if it never was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lens_assets.environment import PROJECT_ROOT
from lens_assets.imaging.stamps import write_stamps
from lens_assets.lake.lake import Lake
from lens_assets.lensing.checkpoints import resumed_batches
from lens_assets_tests.assets.killed_rendering import BATCH, KILLED, MOMENTS, STORED, WHOLE
from lens_assets_tests.assets.test_injection import SHARD, cutouts, host_stamps, plan_of, small_campaign
from lens_assets_tests.lensing.test_injection import with_
from lens_assets_tests.support import store

HALVES = 5  # of batches of ten, of the 24 injections of the sharp condition


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    root, campaign = tmp_path_factory.mktemp("killed"), small_campaign()
    lake = Lake(root / WHOLE, campaign.name)
    store(lake, "injection_plan", plan_of(campaign).table)
    stamps = root / "stamps.arrow"
    write_stamps(stamps, [str(row) for row in range(len(host_stamps()))], host_stamps())
    for key in campaign.survey.sky_partitions:
        here = key == SHARD
        store(lake, "cutouts", cutouts() if here else cutouts()[:0], key, {"stamps.arrow": stamps} if here else {})
    assert set(STORED) == {path.name for path in (root / WHOLE).iterdir() if not path.name.startswith("_")}
    subprocess.run(
        [sys.executable, "-m", "lens_assets_tests.assets.killed_rendering", str(root), str(root / "report.json")],
        env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "LENS_WORKERS": "2"},
        check=True,
    )
    report: list[dict[str, Any]] = json.loads((root / "report.json").read_text())
    assert not Lake(root / KILLED, campaign.name).staging("injection_batches", "psf1.20_depth24.25").exists()
    return report


def test_every_kill_struck(seen):
    assert [attempt["status"] for attempt in seen] == [0, *[-signal.SIGKILL] * len(MOMENTS), 0]


def test_each_kill_loses_at_most_one_batch(seen):
    whole, *attempts = seen
    assert len(whole["rendered"]) == HALVES
    before = 0
    for attempt in attempts[:-1]:
        assert len(attempt["rendered"]) - (attempt["kept"] - before) in (0, 1, 2), attempt
        before = attempt["kept"]
    assert 0 < before < HALVES
    assert len(attempts[-1]["rendered"]) == HALVES - before


def test_the_digests_are_those_of_an_uninterrupted_run(seen):
    assert seen[-1]["result"] == seen[0]["result"]


@pytest.fixture
def kept(tmp_path: Path):
    campaign = small_campaign()
    settings = with_(campaign.injection, renderer={"batch_stamps": BATCH})
    rows = plan_of(campaign).table.query("purpose == 'pilot'").iloc[:BATCH].reset_index(drop=True)
    hosts = host_stamps()

    def batches(rows: pd.DataFrame = rows, settings=settings, version="1", scale=1.0):
        read = lambda paths: scale * hosts[[int(path.split("#")[1]) for path in paths]]  # noqa: E731
        found = list(resumed_batches(rows, read, settings, tmp_path, version))
        return found, sorted(path.name for path in tmp_path.iterdir())

    return batches


def test_a_kept_batch_is_that_of_its_rows_hosts_settings_and_code(kept):
    _, names = kept()
    assert len(kept()[1]) == len(names) == 2
    assert len(kept(version="2")[1]) == 4
    assert len(kept(scale=2.0)[1]) == 6


def test_an_unreadable_batch_is_rendered_again(kept, tmp_path):
    first, names = kept()
    (tmp_path / names[0]).write_bytes(b"")
    again, _ = kept()
    for (truth, stamps), (truth_again, stamps_again) in zip(first, again, strict=True):
        assert truth.equals(truth_again)
        assert stamps.tobytes() == stamps_again.tobytes()
