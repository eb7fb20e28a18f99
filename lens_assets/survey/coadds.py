"""Cut stamps out of the coadds of a brick, with the conditions at each position.

A stamp is centred on the pixel nearest the source; nothing is resampled. What cannot be cut is a status, not an
exception: one damaged or missing file costs the stamps that need it and is named. Where the survey has no data the
image is exactly 0 and the inverse variance 0; such pixels are counted, since no NaN marks them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import fitsio
import numpy as np
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

from lens_assets.survey.files import COADD_PRODUCTS, SurveyFiles
from lens_assets.survey.fits_files import UnreadableFileError, first_line, open_fits
from lens_assets.survey.units import BANDS, PIXEL_SCALE_ARCSEC

OK = "ok"
MISSING_BRICK, MISSING_FILE, CORRUPT_FILE, OUTSIDE_IMAGE = (
    "missing_brick", "missing_file", "corrupt_file", "outside_image",
)  # fmt: skip
STATUSES = (OK, MISSING_BRICK, MISSING_FILE, CORRUPT_FILE, OUTSIDE_IMAGE)

FULL_READ_TILE_RATIO = 1.6
"""A tile read through a section costs this many times a tile of a full read (measured on 3600 x 3600 coadds)."""

_READ_ERRORS = (OSError, ValueError, RuntimeError)
FloatArray = NDArray[np.float32]
Windows = Callable[[str, str, NDArray[np.int64], NDArray[np.int64], int], NDArray]
"""Returns windows (N, side, side) of a (product, band) about (column, row)."""


@dataclass(frozen=True)
class BrickStamps:
    """The stamps of N positions in one brick; bands in the order g, r, z, first row south, first column east.

    Conditions are NaN, and `nexp` and `maskbits_any` 0, where the status is not `ok`.
    """

    stamps: FloatArray
    """(N, 3, size, size) nanomaggies per pixel; 0 where there is no data."""
    sky_sigma: FloatArray
    """(N, 3) 1 / sqrt(median inverse variance) of the covered pixels, nanomaggies per pixel; ignores covariance."""
    nexp: NDArray[np.int16]
    """(N, 3) exposures at the position."""
    psfsize_arcsec: FloatArray
    """(N, 3) PSF FWHM at the position."""
    zero_fraction: FloatArray
    """(N, 3) share of pixels that are exactly 0 or have no inverse variance."""
    maskbits_any: NDArray[np.int32]
    """(N,) MASKBITS of all pixels, combined by OR."""
    status: NDArray[np.object_]
    """(N,) one of STATUSES."""
    detail: NDArray[np.object_]
    """(N,) the file or reason behind a status that is not `ok`."""
    x_offset_arcsec: FloatArray
    """(N,) where the source lies from the centre of the central pixel, along columns; at most half a pixel."""
    y_offset_arcsec: FloatArray
    """(N,) the same along rows."""


class _FaultError(Exception):
    """A coadd cannot be used; becomes a status."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def read_stamps_from_brick(
    files: SurveyFiles, brick: str, ra_deg: ArrayLike, dec_deg: ArrayLike, size: int
) -> BrickStamps:
    """Cut square stamps of `size` pixels (odd) around positions (N,) in degrees out of one brick's coadds."""
    ra = np.atleast_1d(np.asarray(ra_deg, np.float64))
    dec = np.atleast_1d(np.asarray(dec_deg, np.float64))
    result = _empty(len(ra), size)
    if not len(ra):
        return result
    try:
        x, y, shape = _pixel_positions(files, brick, ra, dec)
    except _FaultError as fault:
        _mark(result, slice(None), fault)
        return result
    _cut(result, partial(_windows, files, brick, shape), x, y, size, shape, brick)
    return result


def cut_stamps(
    planes: Mapping[tuple[str, str], NDArray], x_px: ArrayLike, y_px: ArrayLike, size: int, name: str
) -> BrickStamps:
    """Cut square stamps of `size` pixels (odd) around pixel positions (N,), zero-based, out of planes in memory.

    `planes` maps (product, band), such as ("image", "r") and ("maskbits", ""), to (rows, columns) of one shape; `name`
    is what a fault calls them.
    """
    x, y = np.atleast_1d(np.asarray(x_px, np.float64)), np.atleast_1d(np.asarray(y_px, np.float64))
    result = _empty(len(x), size)
    rows, columns = planes["image", BANDS[0]].shape

    def windows(product: str, band: str, column: NDArray[np.int64], row: NDArray[np.int64], side: int) -> NDArray:
        views = np.lib.stride_tricks.sliding_window_view(planes[product, band], (side, side))
        return views[row - side // 2, column - side // 2]

    _cut(result, windows, x, y, size, (rows, columns), name)
    return result


def _cut(
    result: BrickStamps,
    windows: Windows,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    size: int,
    shape: tuple[int, int],
    name: str,
) -> None:
    column, row = np.floor(x + 0.5).astype(np.int64), np.floor(y + 0.5).astype(np.int64)
    result.x_offset_arcsec[:] = (x - column) * PIXEL_SCALE_ARCSEC
    result.y_offset_arcsec[:] = (y - row) * PIXEL_SCALE_ARCSEC
    half = size // 2
    inside = (column >= half) & (row >= half) & (column + half < shape[1]) & (row + half < shape[0])
    edge = f"{name}: the stamp reaches beyond the image of {shape[1]} x {shape[0]} px"
    _mark(result, ~inside, _FaultError(OUTSIDE_IMAGE, edge))
    try:
        _fill(result, windows, np.flatnonzero(inside), column, row, size)
    except _FaultError as fault:
        _mark(result, inside, fault)


def _empty(count: int, size: int) -> BrickStamps:
    if size % 2 == 0 or size < 1:
        raise ValueError(f"stamp size {size} px; expected an odd number, so that a source has a central pixel")
    return BrickStamps(
        stamps=np.zeros((count, len(BANDS), size, size), np.float32),
        sky_sigma=np.full((count, len(BANDS)), np.nan, np.float32),
        nexp=np.zeros((count, len(BANDS)), np.int16),
        psfsize_arcsec=np.full((count, len(BANDS)), np.nan, np.float32),
        zero_fraction=np.full((count, len(BANDS)), np.nan, np.float32),
        maskbits_any=np.zeros(count, np.int32),
        status=np.full(count, OK, dtype=object),
        detail=np.full(count, "", dtype=object),
        x_offset_arcsec=np.full(count, np.nan, np.float32),
        y_offset_arcsec=np.full(count, np.nan, np.float32),
    )


def _mark(result: BrickStamps, where: slice | NDArray[np.bool_], fault: _FaultError) -> None:
    """Set the status and take back what had been filled in: a stamp is whole or it is nothing."""
    result.status[where], result.detail[where] = fault.status, fault.detail
    result.stamps[where], result.nexp[where], result.maskbits_any[where] = 0.0, 0, 0
    for values in (result.sky_sigma, result.psfsize_arcsec, result.zero_fraction):
        values[where] = np.nan


def _pixel_positions(
    files: SurveyFiles, brick: str, ra: NDArray[np.float64], dec: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[int, int]]:
    """Return zero-based pixel coordinates and the (rows, columns) of the image; all coadds of a brick share them."""
    try:
        with files.local_coadd(brick, "image", BANDS[0]) as path:
            if not path.exists() and not any(path.parent.glob("*")):
                raise _FaultError(MISSING_BRICK, f"{brick}: the release has no coadds of this brick")
            with _image(path) as image:
                header = image.read_header()
                shape = tuple(image.get_dims())
    except FileNotFoundError as error:
        raise _FaultError(MISSING_BRICK, f"{brick}: {error}") from error
    with np.errstate(all="ignore"):
        x, y = _wcs(header).wcs_world2pix(ra, dec, 0)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise _FaultError(OUTSIDE_IMAGE, f"{brick}: a position does not project onto the image")
    return x, y, (int(shape[0]), int(shape[1]))


def _wcs(header: fitsio.FITSHDR) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [str(header["CTYPE1"]).strip(), str(header["CTYPE2"]).strip()]
    wcs.wcs.crval = [header["CRVAL1"], header["CRVAL2"]]
    wcs.wcs.crpix = [header["CRPIX1"], header["CRPIX2"]]
    wcs.wcs.cd = [[header["CD1_1"], header["CD1_2"]], [header["CD2_1"], header["CD2_2"]]]
    return wcs


@contextmanager
def _image(path: Path) -> Iterator[fitsio.hdu.ImageHDU]:
    """Yield the image extension of a coadd; anything wrong with the file is a fault that names it."""
    if not path.exists():
        raise _FaultError(MISSING_FILE, path.name)
    try:
        with open_fits(path) as opened:
            images = [item for item in opened if item.get_exttype() == "IMAGE_HDU" and item.has_data()]
            if not images:
                raise _FaultError(CORRUPT_FILE, f"{path.name}: has no image")
            yield images[0]
    except UnreadableFileError as error:
        raise _FaultError(CORRUPT_FILE, f"{path.name}: {error.detail}") from error
    except _READ_ERRORS as error:
        raise _FaultError(CORRUPT_FILE, f"{path.name}: {first_line(error)}") from error


def _fill(
    result: BrickStamps,
    windows: Windows,
    index: NDArray[np.int64],
    column: NDArray[np.int64],
    row: NDArray[np.int64],
    size: int,
) -> None:
    for number, band in enumerate(BANDS):
        pixels = {
            product: windows(product, band, column[index], row[index], window)
            for product, window in zip(COADD_PRODUCTS, (size, size, 1, 1), strict=True)
        }
        image, invvar = pixels["image"], pixels["invvar"]
        result.stamps[index, number] = image
        result.zero_fraction[index, number] = np.mean((image == 0.0) | ~(invvar > 0.0), axis=(1, 2))
        result.sky_sigma[index, number] = _sky_sigma(invvar)
        result.nexp[index, number] = pixels["nexp"][:, 0, 0]
        result.psfsize_arcsec[index, number] = pixels["psfsize"][:, 0, 0]
    bits = windows("maskbits", "", column[index], row[index], size)
    result.maskbits_any[index] = np.bitwise_or.reduce(bits.reshape(len(index), size * size).astype(np.int32), axis=1)


def _sky_sigma(invvar: NDArray) -> NDArray[np.float64]:
    covered = np.where(invvar > 0.0, invvar, np.nan)
    sigma = np.full(len(invvar), np.nan)
    some = np.isfinite(covered).any(axis=(1, 2))
    sigma[some] = 1.0 / np.sqrt(np.nanmedian(covered[some], axis=(1, 2)))
    return sigma


def _windows(
    files: SurveyFiles,
    brick: str,
    shape: tuple[int, int],
    product: str,
    band: str,
    column: NDArray[np.int64],
    row: NDArray[np.int64],
    size: int,
) -> NDArray:
    """Return (N, size, size) windows of one coadd, by sections or by a full read, whichever is cheaper."""
    try:
        with files.local_coadd(brick, product, band) as path, _image(path) as image:
            if tuple(image.get_dims()) != shape:
                held = " x ".join(map(str, image.get_dims()))
                wanted = " x ".join(map(str, shape))
                raise _FaultError(CORRUPT_FILE, f"{path.name}: image of {held} px beside one of {wanted}")
            half = size // 2
            if prefer_full_read(shape, _tile_shape(image, shape), len(column), size):
                whole = image.read()
                views = np.lib.stride_tricks.sliding_window_view(whole, (size, size))
                return np.ascontiguousarray(views[row - half, column - half])
            sections = [
                image[int(y) - half : int(y) + half + 1, int(x) - half : int(x) + half + 1]
                for x, y in zip(column, row, strict=True)
            ]
            return np.stack(sections) if sections else np.zeros((0, size, size), np.float32)
    except FileNotFoundError as error:
        raise _FaultError(MISSING_FILE, f"{brick}: {product}-{band}: {error}") from error


def _tile_shape(image: fitsio.hdu.ImageHDU, shape: tuple[int, int]) -> tuple[int, int]:
    """Return (rows, columns) of a compression tile; a plain image is read as if in rows."""
    header = image.read_header()
    return int(header.get("ZTILE2", 1) or 1), int(header.get("ZTILE1", shape[1]) or shape[1])


def prefer_full_read(shape: Sequence[int], tile: Sequence[int], count: int, size: int) -> bool:
    """Return whether reading a whole image is cheaper than `count` sections of `size` pixels a side.

    Both unpack whole compression tiles; a section touches (size - 1) / tile + 1 tiles along an axis on average.
    """
    touched = np.prod([(size - 1) / side + 1.0 for side in tile])
    tiles = np.prod([np.ceil(length / side) for length, side in zip(shape, tile, strict=True)])
    return bool(count * touched * FULL_READ_TILE_RATIO > tiles)
