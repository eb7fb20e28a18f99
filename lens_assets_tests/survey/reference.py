"""Where the reference data is: real survey files named by the variable LENS_REFERENCE_DATA."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "LENS_REFERENCE_DATA"


def reference_file(relative: str) -> Path:
    """Return a file of the reference data; skip the test loudly where the variable is not set."""
    root = os.environ.get(VARIABLE)
    if not root:
        pytest.skip(f"{VARIABLE} is not set: this test reads the real file {relative}")
    path = Path(root) / relative
    assert path.exists(), f"{VARIABLE} is {root}, which has no {relative}"
    return path
