"""Digests by which settings, products and files are known again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def content_digest(content: Any) -> str:
    """Return the SHA-256 (hexadecimal) of content as JSON with sorted keys; TypeError for what JSON does not hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hexadecimal) of a file's bytes; OSError where it cannot be read."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
