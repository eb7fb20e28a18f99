"""Work shared among the cores of one process.

Threads serve: torch and numpy let go of the interpreter while they compute, and nothing has to be copied. What is
computed must not depend on who computes it; results come in the order of the work.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

WORKERS_VARIABLE = "LENS_WORKERS"
"""How many cores rendering and scoring use; all that the process may run on where it is not set."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def worker_count() -> int:
    """Return how many threads share the work of this process; ValueError if the variable is not a number above 0."""
    stated = os.environ.get(WORKERS_VARIABLE)
    if not stated:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not stated.isdecimal() or int(stated) < 1:
        raise ValueError(f"{WORKERS_VARIABLE} is {stated!r}; expected a number of threads, 1 or more")
    return int(stated)


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield the results of a function of every item, in order; at most `workers` items are being worked on."""
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
