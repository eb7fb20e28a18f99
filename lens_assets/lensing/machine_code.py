"""Loops compiled to machine code, which other threads run beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Return a function of numbers and arrays compiled at its first call, and kept on disk between processes.

    What is kept is known by the file of the function alone: it must use no constant of another module.
    """
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # No folder may be written to: compiled anew by every process.
        return numba.njit(nogil=True, error_model="numpy")(function)
