"""Randomness as a counter: every number is a function of (seed, stable id, purpose) and of nothing else.

Results therefore do not depend on row order, partition layout, batch size, worker count or engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_TWO_TO_53 = float(1 << 53)


def _digest(seed: int, identifier: str, purpose: str) -> bytes:
    return hashlib.sha256(f"{seed}|{purpose}|{identifier}".encode()).digest()


def uniform(seed: int, identifiers: Sequence[str], purpose: str) -> NDArray[np.float64]:
    """Return one uniform number in [0, 1) per identifier, shape (N,).

    The first 53 bits of SHA-256(seed, purpose, identifier) fill the mantissa of a double.
    """
    values = [int.from_bytes(_digest(seed, str(name), purpose)[:7], "big") >> 3 for name in identifiers]
    return np.asarray(values, dtype=np.float64) / _TWO_TO_53


def generator(seed: int, identifier: str, purpose: str) -> np.random.Generator:
    """Return a generator whose stream belongs to one object and one purpose (Philox, keyed by SHA-256)."""
    key = int.from_bytes(_digest(seed, identifier, purpose)[:16], "big")
    return np.random.Generator(np.random.Philox(key=key))
