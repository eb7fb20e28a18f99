"""The campaign that is killed again and again runs beside the other tests of this package, which leave a core free."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lens_assets_tests.end_to_end.miniature import Place, write_campaign


@dataclass(frozen=True)
class Killed:
    """A campaign that is being killed and resumed in a process of its own."""

    place: Place
    process: subprocess.Popen[bytes]

    def report(self) -> dict[str, Any]:
        """Wait for the end and return what was seen."""
        status = self.process.wait()
        log = self.place.root / "children.log"
        said = "".join(path.read_text() for path in (self.place.root / "kills.log", log) if path.exists())
        assert status == 0, said[-8000:]
        content: dict[str, Any] = json.loads((self.place.root / "report.json").read_text())
        return content


@pytest.fixture(scope="session")
def killed(finished: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    place = write_campaign(tmp_path_factory.mktemp("killed"))
    arguments = [str(place.root), str(finished.lake), str(place.root / "report.json")]
    with (place.root / "kills.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lens_assets_tests.end_to_end.kills", *arguments],
            env=place.process_environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        yield Killed(place, process)
        process.kill()
        process.wait()


@pytest.fixture(scope="session", autouse=True)
def _kills_begin_early(request: pytest.FixtureRequest) -> None:
    """Start the killed campaign before the first test of this package, if its own tests were asked for."""
    if any(item.path.name == "test_kills.py" for item in request.session.items):
        request.getfixturevalue("killed")
