"""Copies of remote files: whole or not at all, tried again when a transfer fails, kept within a bound for later.

The root is an s3:// or https:// prefix, or anything else fsspec knows. S3 goes through pyarrow, as the lake does.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec

from lens_assets.lake.lake import open_filesystem

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0
"""Pause before the second attempt; it doubles with each."""

SILENCE_SECONDS = 120.0
"""A connection that brings nothing for so long is given up; a slow one that goes on is not."""

_PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError)


class TransferError(OSError):
    """A remote file could not be fetched whole; the message names it and what was tried."""


@dataclass(frozen=True)
class RemoteFile:
    """What a server says of a file: its size in bytes (None where it does not say) and a tag that changes with it."""

    url: str
    size: int | None
    tag: str


@dataclass(frozen=True)
class Cache:
    """A folder of downloaded files and how many bytes it may hold; those used longest ago leave first."""

    folder: Path
    limit_bytes: int


@lru_cache(maxsize=4)
def _filesystem(root: str, endpoint: str | None) -> fsspec.AbstractFileSystem:
    del endpoint  # part of the key: another endpoint is another file system
    if root.startswith("s3://"):
        from fsspec.implementations.arrow import ArrowFSWrapper

        return ArrowFSWrapper(open_filesystem(root)[0])
    options: dict[str, Any] = {}
    if root.startswith(("http://", "https://")):
        import aiohttp

        # The default gives up after five minutes in all, which is less than a sweep file takes.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=60.0, sock_read=SILENCE_SECONDS)
        options["client_kwargs"] = {"timeout": timeout}
    return fsspec.filesystem(fsspec.utils.get_protocol(root), **options)


def _opened(url: str) -> fsspec.AbstractFileSystem:
    root = "://".join((url.partition("://")[0], url.partition("://")[2].partition("/")[0]))
    return _filesystem(root, os.environ.get("AWS_ENDPOINT_URL"))


def list_names(folder_url: str) -> list[str]:
    """Return the names of the files and folders in a remote folder, sorted; OSError where it cannot be listed."""
    entries = _retried(folder_url, lambda: _opened(folder_url).ls(f"{folder_url.rstrip('/')}/", detail=False))
    return sorted({str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries})


def describe(url: str) -> RemoteFile:
    """Return what the server says of a file; FileNotFoundError where it has none."""
    info = _retried(url, lambda: _opened(url).info(url))
    if info.get("type") == "directory":
        raise IsADirectoryError(errno.EISDIR, "is a folder; expected a file", url)
    tag = next((str(info[key]) for key in ("ETag", "mtime", "created", "Last-Modified") if info.get(key)), "")
    return RemoteFile(url, info.get("size"), tag)


@contextmanager
def local_copy(file: RemoteFile, scratch: Path, cache: Cache | None = None) -> Iterator[Path]:
    """Yield a local path of a remote file; FileNotFoundError or TransferError where it cannot be had whole.

    Without a cache the copy is removed afterwards.
    """
    key = hashlib.sha256(f"{file.url} {file.size} {file.tag}".encode()).hexdigest()[:24]
    scratch.mkdir(parents=True, exist_ok=True)
    copy = scratch / f"{key}-{file.url.rsplit('/', 1)[-1]}"
    try:
        if cache is None or not _link(cache.folder / copy.name, copy):
            fetch(file, copy)
            if cache is not None:
                _keep(copy, cache)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def fetch(file: RemoteFile, target: Path) -> None:
    """Copy a remote file; the target appears when all its bytes are there."""
    part = target.with_name(f"{target.name}.part")

    def attempt() -> None:
        _opened(file.url).get_file(file.url, str(part))
        held = part.stat().st_size
        if file.size is not None and held != file.size:
            raise TransferError(f"brought {held} of {file.size} bytes")

    try:
        _retried(file.url, attempt)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _retried(url: str, action: Any) -> Any:
    """Return what the action returns, tried again where another attempt may help."""
    import aiohttp

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except _PERMANENT:
            raise
        except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            if attempt == ATTEMPTS:
                raise TransferError(
                    f"{url}: {ATTEMPTS} attempts failed, the last with: {error or type(error).__name__}. Check the "
                    "network and that the server holds the file whole, then run again"
                ) from error
            time.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
    return None


def _link(cached: Path, copy: Path) -> bool:
    """Give a cached file a second name, under which it stays when the cache drops it; False where it is not there."""
    try:
        os.link(cached, copy)
    except FileNotFoundError:
        return False
    os.utime(copy)
    return True


def _keep(copy: Path, cache: Cache) -> None:
    """Put a file into the cache, and take out those used longest ago until it is within its limit."""
    size = copy.stat().st_size
    if size > cache.limit_bytes:
        return
    cache.folder.mkdir(parents=True, exist_ok=True)
    held = sorted((path.stat().st_mtime_ns, path) for path in cache.folder.iterdir())
    total = sum(path.stat().st_size for _, path in held) + size
    for _, path in held:
        if total <= cache.limit_bytes:
            break
        total -= path.stat().st_size
        path.unlink(missing_ok=True)
    os.link(copy, cache.folder / copy.name)
