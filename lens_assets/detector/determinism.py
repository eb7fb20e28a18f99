"""What makes torch repeat itself: threads, algorithms and generator are set, and put back afterwards."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def device() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def deterministic(threads: int | None = None) -> Iterator[None]:
    """Run torch with deterministic algorithms in full float32, and on `threads` CPU threads if given.

    https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state())
    tf32 = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark)
    try:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        if threads is not None:
            torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.set_rng_state(before[2])
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = tf32[:2]
        torch.backends.cudnn.benchmark = tf32[2]


def seed_torch(seed: int, purpose: str) -> None:
    """Seed torch's generators for one purpose, by SHA-256 of both."""
    digest = hashlib.sha256(f"{seed}|{purpose}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
