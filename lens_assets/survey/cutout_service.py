"""Import cutouts that others made: FITS answers of the survey's viewer, and NPZ files of earlier campaigns.

The viewer's traps (https://www.legacysurvey.org/viewer, `map/cutouts.py`): an unknown band letter returns every band
of the layer, missing coverage is exactly 0 and never NaN, an unknown layer answers with a line of text, and other
pixel scales than the survey's are resampled. Each is refused here by name. Cutouts from the viewer are resampled a
second time, so they must not stand beside stamps cut from coadds in one training set.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lens_assets.survey.fits_files import FITS_MAGIC, UnreadableFileError, first_line, open_fits
from lens_assets.survey.units import BANDS, PIXEL_SCALE_ARCSEC

PIXEL_SCALE_TOLERANCE = 1e-3
"""Relative; the viewer writes CD = 0.262/3600 with all digits."""


class CutoutRefusedError(ValueError):
    """A cutout that must not be used; `reason` is a short code, the message names the file and what was expected."""

    def __init__(self, path: Path, reason: str, detail: str) -> None:
        super().__init__(f"{path}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class ImportedCutout:
    """One cutout: pixels (3, size, size) float32 in nanomaggies per pixel, g, r, z, and what its source says of it."""

    stamp: NDArray[np.float32]
    zero_fraction: dict[str, float]
    metadata: dict[str, Any]


def read_viewer_cutout(path: Path, size: int, max_zero_fraction: float) -> ImportedCutout:
    """Read a FITS answer of the viewer's `fits-cutout`; CutoutRefusedError unless it is grz, whole, and to scale.

    `size` is the side in pixels, `max_zero_fraction` the share of exact zeros tolerated in each band.
    """
    cube, header = _read_cube(path)
    bands = str(header.get("BANDS", "")).strip()
    if bands != "".join(BANDS):
        detail = f"BANDS is {bands!r}, expected 'grz'; an unknown band letter makes the viewer return all bands"
        raise CutoutRefusedError(path, "wrong_bands", detail)
    if cube.shape != (len(BANDS), size, size):
        raise CutoutRefusedError(path, "wrong_shape", f"shape {cube.shape}, expected {(len(BANDS), size, size)}")
    metadata = {
        "survey": str(header.get("SURVEY", "")).strip(),
        "version": str(header.get("VERSION", "")).strip(),
        "ra": float(header["CRVAL1"]),
        "dec": float(header["CRVAL2"]),
    }
    accepted = _accepted(path, cube, metadata, max_zero_fraction)
    _require_pixel_scale(path, _pixel_scale_arcsec(path, header))
    return accepted


def read_npz_cutout(path: Path, size: int, max_zero_fraction: float) -> ImportedCutout:
    """Read an NPZ cutout: array `cutout` (size, size, 3) in g, r, z with `meta_*` scalars, without unpickling."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        detail = f"cannot be read ({first_line(error)}); expected an NPZ file without objects"
        raise CutoutRefusedError(path, "unreadable", detail) from error
    if "cutout" not in values:
        held = ", ".join(sorted(values)) or "nothing"
        raise CutoutRefusedError(path, "no_cutout", f"holds {held}; expected an array named cutout")
    pixels = values["cutout"]
    if pixels.shape != (size, size, len(BANDS)):
        detail = f"cutout has shape {pixels.shape}, expected {(size, size, len(BANDS))} (rows, columns, bands)"
        raise CutoutRefusedError(path, "wrong_shape", detail)
    metadata = {name.removeprefix("meta_"): values[name].item() for name in sorted(values) if name.startswith("meta_")}
    bands = metadata.get("bands_requested", "grz")
    if bands != "".join(BANDS):
        raise CutoutRefusedError(path, "wrong_bands", f"bands_requested is {bands!r}, expected 'grz'")
    _require_pixel_scale(path, float(metadata.get("pixel_scale", PIXEL_SCALE_ARCSEC)))
    return _accepted(path, np.moveaxis(pixels, -1, 0), metadata, max_zero_fraction)


def _read_cube(path: Path) -> tuple[NDArray, dict[str, Any]]:
    try:
        with open_fits(path) as opened:
            primary = opened[0]
            if not primary.has_data():
                raise CutoutRefusedError(path, "no_image", "the primary extension holds no image")
            cube, header = primary.read(), dict(primary.read_header())
    except UnreadableFileError as error:
        raise CutoutRefusedError(path, *_explain(path, error)) from error
    except OSError as error:
        raise CutoutRefusedError(path, "corrupt", f"the image cannot be read ({first_line(error)})") from error
    return np.asarray(cube), header


def _explain(path: Path, error: UnreadableFileError) -> tuple[str, str]:
    if error.reason != "not_fits":
        return error.reason, error.detail
    with path.open("rb") as stream:
        text = stream.read(200).decode("utf-8", errors="replace").strip()
    reason = "no_such_layer" if "no such layer" in text.lower() else "not_fits"
    return reason, f"the service answered {text[:80]!r}; expected a FITS file ({FITS_MAGIC.decode()!r})"


def _pixel_scale_arcsec(path: Path, header: dict[str, Any]) -> float:
    try:
        matrix = [[float(header[f"CD{i}_{j}"]) for j in (1, 2)] for i in (1, 2)]
    except KeyError as error:
        raise CutoutRefusedError(path, "no_wcs", f"lacks {error.args[0]}; expected a CD matrix") from error
    return float(np.sqrt(abs(np.linalg.det(matrix))) * 3600.0)


def _require_pixel_scale(path: Path, scale_arcsec: float) -> None:
    if abs(scale_arcsec / PIXEL_SCALE_ARCSEC - 1.0) > PIXEL_SCALE_TOLERANCE:
        detail = f"pixels of {scale_arcsec:.4f} arcsec, expected {PIXEL_SCALE_ARCSEC}"
        raise CutoutRefusedError(path, "wrong_pixel_scale", detail)


def _accepted(path: Path, cube: NDArray, metadata: dict[str, Any], max_zero_fraction: float) -> ImportedCutout:
    stamp = np.ascontiguousarray(cube, dtype=np.float32)
    if not np.isfinite(stamp).all():
        bad = int((~np.isfinite(stamp)).sum())
        raise CutoutRefusedError(path, "not_finite", f"{bad} pixels are not finite; expected none")
    zeros = {band: float(np.mean(plane == 0.0)) for band, plane in zip(BANDS, stamp, strict=True)}
    over = {band: share for band, share in zeros.items() if share > max_zero_fraction}
    if over:
        listed = ", ".join(f"{band} {share:.1%}" for band, share in over.items())
        detail = f"exact zeros, which mark missing coverage: {listed}; at most {max_zero_fraction:.1%} is accepted"
        raise CutoutRefusedError(path, "zero_filled", detail)
    return ImportedCutout(stamp, zeros, metadata)
