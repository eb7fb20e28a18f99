"""Fair pairs: one core, malloc settled for every side, rounds interleaved, ratios taken within a round."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping

from benchmarks.__main__ import ENVIRONMENT


def with_settled_environment() -> None:
    """Start again with malloc and thread variables set, since both are read only at start.

    glibc returns large temporaries to the system after every call, which slows numpy code threefold and flatters any
    ratio to it.
    """
    if all(os.environ.get(name) == value for name, value in ENVIRONMENT.items()):
        return
    os.execve(sys.executable, sys.orig_argv, os.environ | ENVIRONMENT)  # noqa: S606


def interleaved_seconds(methods: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the processor seconds of every method in every round; methods take turns within a round.

    Processor time of this one thread, so that a busy machine does not count waiting as work.
    """
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, method in methods.items():
            start = time.process_time()
            method()
            seconds[name].append(time.process_time() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], peer: str, name: str) -> str:
    """Return the median over rounds of the peer's time over the method's, with the smallest and largest."""
    ratios = [theirs / ours for theirs, ours in zip(seconds[peer], seconds[name], strict=True)]
    return f"{statistics.median(ratios):6.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
