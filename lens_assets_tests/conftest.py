"""Settings of all tests: no deadlines, since these measure results and never time, and plots without a screen.

The finished miniature campaign is here because tests of several packages look at it or copy it.
Run in several processes, tests of one file stay together and share their fixtures, as do all tests of the campaign.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from lens_assets_tests.end_to_end.miniature import Place

os.environ.setdefault("MPLBACKEND", "Agg")
settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("project")

CAMPAIGN = "finished campaign"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A miniature campaign that the command line has run from the first asset to the last; copy it to change it."""
    from lens_assets_tests.end_to_end.command_line import run_command
    from lens_assets_tests.end_to_end.miniature import write_campaign

    place = write_campaign(Path(tmp_path_factory.mktemp("finished")))
    result = run_command(place, "run")
    assert result.returncode == 0, result.stdout + result.stderr
    return place


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        of_campaign = "finished" in getattr(item, "fixturenames", ()) or item.path.parent.name == "end_to_end"
        group = CAMPAIGN if of_campaign else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group").args[0] != CAMPAIGN)
