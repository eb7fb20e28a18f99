"""A progress display for the terminal: which asset runs, how far it is, how much of the campaign is done."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from lens_assets.automation.driver import Wave, listen

if TYPE_CHECKING:
    from lens_assets.assets.execution import Lineage


class CampaignProgress:
    """Shows two bars on a terminal; elsewhere one line an asset, so that logs stay readable."""

    def __init__(self, lineage: Lineage) -> None:
        self._total = len(lineage.assets)
        self._interactive = sys.stdout.isatty()
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(),
            disable=not self._interactive,
        )
        self._campaign = self._bars.add_task("campaign", total=self._total)
        self._current = self._bars.add_task("", total=None)
        self._asset = ""
        self._since = time.monotonic()
        self._started: set[str] = set()

    def __enter__(self) -> CampaignProgress:
        listen(self._listen)
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish_asset()
        elif self._asset:
            self._bars.console.print(f"  {self._asset:28s} stopped", highlight=False)
        self._bars.stop()

    def announce(self, wave: Wave, names: tuple[str, ...]) -> None:
        """Show that a wave begins, and count what is already in order."""
        self._finish_asset()
        self._asset = ""
        kept = len(wave.names) - len(names)
        self._bars.advance(self._campaign, kept)
        if kept and not self._interactive:
            print(f"  {kept} of {', '.join(wave.names)} in order", flush=True)  # noqa: T201

    def _listen(self, asset: str, description: str, done: int, total: int) -> None:
        if asset != self._asset:
            self._finish_asset()
            self._asset, self._since = asset, time.monotonic()
        text = f"{asset}: {description}" if description else asset
        self._bars.update(self._current, description=text, completed=done, total=total or None)

    def _finish_asset(self) -> None:
        if not self._asset:
            return
        self._bars.advance(self._campaign)
        seconds = time.monotonic() - self._since
        if not self._interactive:
            print(f"  {self._asset:28s} {seconds:6.1f} s", flush=True)  # noqa: T201
