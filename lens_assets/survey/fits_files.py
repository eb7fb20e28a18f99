"""Open FITS files that may be anything: what is not whole is named with a reason before a number of it is used."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fitsio

FITS_MAGIC = b"SIMPLE  ="
GZIP_MAGIC = b"\x1f\x8b"


class UnreadableFileError(ValueError):
    """A file that cannot be used; `reason` is a short code, the message names the file and what was expected."""

    def __init__(self, path: str | Path, reason: str, detail: str) -> None:
        super().__init__(f"{path}: {detail}")
        self.path = str(path)
        self.reason = reason
        self.detail = detail


@contextmanager
def open_fits(path: Path) -> Iterator[fitsio.FITS]:
    """Yield an open FITS file whose extensions are all there; UnreadableFileError otherwise.

    A gzip file is unpacked into a temporary file first, since a cut one would otherwise be read in part.
    """
    require_fits(path)
    with _unpacked(path) as plain:
        try:
            opened = fitsio.FITS(str(plain))
        except (OSError, ValueError, RuntimeError) as error:
            detail = f"the FITS headers cannot be read ({first_line(error)})"
            raise UnreadableFileError(path, "corrupt", detail) from error
        try:
            _require_whole(path, plain, opened)
            yield opened
        finally:
            opened.close()


def require_fits(path: Path) -> None:
    """Raise UnreadableFileError for what is not FITS: a missing file, a folder, an empty file, another format."""
    if path.is_dir():
        raise UnreadableFileError(path, "folder", "is a folder; expected a FITS file")
    if not path.exists():
        raise UnreadableFileError(path, "missing", "no such file")
    with path.open("rb") as stream:
        start = stream.read(len(FITS_MAGIC))
    if not start:
        raise UnreadableFileError(path, "empty", "has no bytes; expected a FITS file")
    if not start.startswith((FITS_MAGIC, GZIP_MAGIC)):
        raise UnreadableFileError(path, "not_fits", f"begins with {start!r}; expected {FITS_MAGIC.decode()!r}")


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP_MAGIC
    if not packed:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="unpacked-") as folder:
        plain = Path(folder) / "unpacked.fits"
        try:
            with gzip.open(path, "rb") as incoming, plain.open("wb") as outgoing:
                shutil.copyfileobj(incoming, outgoing, 1 << 22)
        except (EOFError, OSError, zlib.error) as error:
            raise UnreadableFileError(path, "truncated", f"the gzip stream is cut or damaged ({error})") from error
        require_fits(plain)
        yield plain


def _require_whole(path: Path, plain: Path, opened: fitsio.FITS) -> None:
    size = plain.stat().st_size
    try:
        ends = [hdu.get_offsets()["data_end"] for hdu in opened]
    except (OSError, ValueError, RuntimeError) as error:
        raise UnreadableFileError(path, "corrupt", f"an extension cannot be read ({first_line(error)})") from error
    if ends and size < max(ends):
        raise UnreadableFileError(path, "truncated", f"holds {size} bytes; its headers promise {max(ends)}")


def first_line(error: Exception) -> str:
    """Return the first line of an error's text; cfitsio appends its whole history."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
