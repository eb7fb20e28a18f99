"""Digests are what `sha256sum` prints, and settings are known again whatever their order."""

import hashlib
from pathlib import Path

import pytest

from lens_assets.digests import content_digest, file_digest


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-4, the worked example of SHA-256.
    assert file_digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_order_of_keys_does_not_count_and_values_do() -> None:
    assert content_digest({"a": 1, "b": [2.5, None]}) == content_digest({"b": [2.5, None], "a": 1})
    assert content_digest({"a": 1}) != content_digest({"a": 2})
    assert content_digest([]) == hashlib.sha256(b"[]").hexdigest()


def test_what_json_does_not_hold_is_refused() -> None:
    with pytest.raises(TypeError):
        content_digest({"a": object()})
