"""Work shared among the cores of one process.

Threads serve: torch and numpy let go of the interpreter while they compute, and nothing has to be copied. What is
computed must not depend on who computes it; results come in the order of the work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

WORKERS_VARIABLE = "LENS_WORKERS"
"""How many cores rendering and scoring use; all that the process may run on where it is not set."""

Item = TypeVar("Item")
Share = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]


def worker_count() -> int:
    """Return how many threads share the work of this process; ValueError if the variable is not a number above 0."""
    stated = os.environ.get(WORKERS_VARIABLE)
    if not stated:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not stated.isdecimal() or int(stated) < 1:
        raise ValueError(f"{WORKERS_VARIABLE} is {stated!r}; expected a number of threads, 1 or more")
    return int(stated)


@contextmanager
def sharing(workers: int) -> Iterator[Share]:
    """Give a function that applies another to every item on `workers` threads and returns the results in order."""
    if workers == 1:
        yield lambda function, items: [function(item) for item in items]
        return
    with ThreadPoolExecutor(workers) as pool:
        yield lambda function, items: list(pool.map(function, items))
