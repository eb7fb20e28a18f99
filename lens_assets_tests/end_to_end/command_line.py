"""The command line as a user runs it, with SQLite in a hurry: `python -m <this module> run`."""

from __future__ import annotations

import subprocess
import sys

from lens_assets_tests.end_to_end.miniature import Place, hurry_sqlite


def run_command(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `lens-assets` on a miniature in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", __name__, *arguments],
        env=place.process_environment(),
        cwd=place.root,
        capture_output=True,
        text=True,
        check=False,
    )


def digests(place: Place) -> dict[str, str]:
    """Return what `lens-assets digests` prints: rows and digest of every stored partition."""
    result = run_command(place, "digests")
    assert result.returncode == 0, result.stderr
    lines = [line.split("\t", 1) for line in result.stdout.splitlines()]
    return {line[0]: line[1] for line in lines}


if __name__ == "__main__":
    from lens_assets.cli import main

    hurry_sqlite()
    sys.exit(main())
