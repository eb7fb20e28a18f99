"""Settings of all tests: no deadlines, since these measure results and never time, and plots without a screen.

The finished miniature campaign is here because tests of several packages look at it or copy it.
Run in several processes, tests of one file stay together and share their fixtures, as do all tests of the campaign.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings

from lens_assets_tests.end_to_end.miniature import Place

os.environ.setdefault("MPLBACKEND", "Agg")
# Tests share the cores among processes already; those about threads state their own number.
os.environ.setdefault("LENS_WORKERS", "1")
settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("project")

if "PYTEST_XDIST_WORKER" in os.environ:
    # pyspark, which Great Expectations imports where it is installed, takes a process whose main module has no file
    # for one of its own doctests and ends it.
    with mock.patch.object(sys.modules["__main__"], "__file__", __file__, create=True):
        importlib.import_module("great_expectations")

CAMPAIGN = "finished campaign"
USERS_OF_THE_CAMPAIGN = ("end_to_end/", "automation/test_settings_watch.py", "faults/test_platform.py")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A miniature campaign that the command line has run from the first asset to the last; copy it to change it."""
    from lens_assets_tests.end_to_end.command_line import run_command
    from lens_assets_tests.end_to_end.miniature import write_campaign

    place = write_campaign(Path(tmp_path_factory.mktemp("finished")))
    result = run_command(place, "run")
    assert result.returncode == 0, result.stdout + result.stderr
    return place


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _share_of(item.nodeid) != CAMPAIGN)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _share_of(nodeid)

    return ByFile(config, log)


def _share_of(nodeid: str) -> str:
    """Return what goes to one process: a file, or all tests of the finished campaign, which take longest."""
    path = nodeid.partition("::")[0]
    return CAMPAIGN if any(part in path for part in USERS_OF_THE_CAMPAIGN) else path
