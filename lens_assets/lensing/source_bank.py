"""A bank of pictures of real galaxies as lensed sources: one HDF5 file, filled from GalSim's RealGalaxy catalogs.

File (format 1): attributes `format` = "lensed source bank" and `version` = 1; datasets of equal length N

    identifier               str      name of the galaxy in its catalog
    pixel_scale_arcsec       f8       side of its pixels
    half_light_radius_arcsec f8       radius of the circle about its flux centroid that holds half of its flux
    first, height, width     i8       where its picture starts in `pixels`, and its shape

and `pixels` (f4, one-dimensional), all pictures end to end, row by row, rows upwards, each of total flux one and
nowhere negative. The galaxy's centroid lies at the picture's middle to half a pixel.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lens_assets.digests import file_digest
from lens_assets.lensing.image_sources import SourceImage
from lens_assets.sky.randomness import uniform

FORMAT, VERSION = "lensed source bank", 1
COLUMNS = ("identifier", "pixel_scale_arcsec", "half_light_radius_arcsec", "first", "height", "width")

SMOOTHING_PX = 1.5
DETECTION_SIGMA = 2.0
"""A galaxy is what its smoothed picture shows this many noise sigmas above zero, in one piece, with a frame around."""
FRAME_PX = 3


class SourceBankError(ValueError):
    """A file is not a source bank, or not the one that is meant."""


@dataclass(frozen=True)
class SourceBank:
    """Pictures of N galaxies of unit flux, held in memory."""

    identifiers: tuple[str, ...]
    pictures: tuple[SourceImage, ...]
    half_light_radius_arcsec: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.pictures)

    def choose(self, seed: int, injection_ids: Sequence[str]) -> NDArray[np.int64]:
        """Return which galaxy each injection shows: every one equally likely, by seed and id alone."""
        share = uniform(seed, list(injection_ids), "injection_source_picture")
        return np.minimum((share * len(self)).astype(np.int64), len(self) - 1)

    def scaled(self, choice: NDArray[np.int64], half_light_radius_arcsec: NDArray[np.float64]) -> list[SourceImage]:
        """Return the chosen pictures, resized on the sky to half-light radii, shape (N,) arcsec."""
        factor = np.asarray(half_light_radius_arcsec, np.float64) / self.half_light_radius_arcsec[choice]
        return [
            SourceImage(self.pictures[row].pixels, self.pictures[row].pixel_scale_arcsec * float(scale))
            for row, scale in zip(choice.tolist(), factor, strict=True)
        ]


def isolated_galaxy(pixels: NDArray[np.floating], noise_sigma: float) -> NDArray[np.float32]:
    """Return the galaxy of a picture alone, of unit flux and centred: sky noise and neighbours set to zero.

    The galaxy is the connected region of the smoothed picture above DETECTION_SIGMA that lies nearest the middle.
    ValueError where there is none.
    """
    picture = np.asarray(pixels, dtype=np.float64)
    smooth = ndimage.gaussian_filter(picture, SMOOTHING_PX)
    # A Gaussian of width s leaves white noise 1/(2 sqrt(pi) s) of its sigma.
    smoothed_sigma = noise_sigma / (2.0 * np.sqrt(np.pi) * SMOOTHING_PX)
    labels, regions = ndimage.label(smooth > DETECTION_SIGMA * smoothed_sigma)
    if regions == 0:
        raise ValueError(
            f"no pixel of the picture {picture.shape} exceeds {DETECTION_SIGMA} sigma of {noise_sigma:.3g}"
        )
    rows, columns = np.indices(picture.shape)
    middle = (np.array(picture.shape) - 1) / 2.0
    distance = np.hypot(rows - middle[0], columns - middle[1])
    own = labels == labels.flat[np.where(labels > 0, distance, np.inf).argmin()]
    kept = np.where(ndimage.binary_dilation(own, iterations=FRAME_PX) & ((labels == 0) | own), picture, 0.0)
    kept = np.clip(kept, 0.0, None)
    return _centred(kept / kept.sum()).astype(np.float32)


def _centred(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the picture on a frame whose middle is its flux centroid, to half a pixel, with no empty margin."""
    padding = []
    for axis, side in enumerate(picture.shape):
        profile = picture.sum(axis=1 - axis)
        centroid = float((np.arange(side) * profile).sum() / profile.sum())
        shift = round(side - 1 - 2.0 * centroid)
        padding.append((max(shift, 0), max(-shift, 0)))
    framed = np.pad(picture, padding)
    lit = np.argwhere(framed > 0)
    margin = np.minimum(lit.min(axis=0), np.array(framed.shape) - 1 - lit.max(axis=0))
    return framed[margin[0] : framed.shape[0] - margin[0], margin[1] : framed.shape[1] - margin[1]]


def half_light_radius_arcsec(image: SourceImage) -> float:
    """Return the radius of the circle about the flux centroid that holds half of the flux."""
    pixels = np.asarray(image.pixels, dtype=np.float64)
    rows, columns = np.indices(pixels.shape)
    total = pixels.sum()
    distance = np.hypot(rows - (rows * pixels).sum() / total, columns - (columns * pixels).sum() / total)
    order = np.argsort(distance, axis=None)
    inside = np.cumsum(pixels.ravel()[order]) / total
    return float(np.interp(0.5, inside, distance.ravel()[order]) * image.pixel_scale_arcsec)


def bank_from_real_galaxies(catalog: Path, output: Path) -> SourceBank:
    """Write the bank of a GalSim RealGalaxy catalog (its FITS file; images beside it) and return it as read back.

    Each picture keeps its telescope's PSF, which is far narrower than the survey's. Galaxies that noise hides are left
    out; SourceBankError where none is left, where the catalog cannot be read, and where `output` is there already.
    """
    import galsim

    if output.exists():
        raise SourceBankError(
            f"{output} is there already: a bank that a campaign names must not change; choose another"
        )
    try:
        survey = galsim.RealGalaxyCatalog(catalog.name, dir=str(catalog.parent))
        if survey.nobjects:
            survey.getGalImage(0)
    except (AttributeError, OSError, KeyError, ValueError, galsim.GalSimError) as error:
        raise SourceBankError(
            f"{catalog}: not a RealGalaxy catalog of GalSim ({error}); expected its FITS table with the image "
            "and PSF files that it names beside it"
        ) from error
    identifiers, images = [], []
    for row in range(survey.nobjects):
        picture = survey.getGalImage(row)
        _, scale, variance = survey.getNoiseProperties(row)
        try:
            pixels = isolated_galaxy(picture.array, float(np.sqrt(variance)))
        except ValueError:
            continue
        identifiers.append(str(survey.ident[row]))
        images.append(SourceImage(pixels, float(scale)))
    if not images:
        raise SourceBankError(f"{catalog}: none of {survey.nobjects} galaxies stands above its noise")
    half = output.with_name(f"{output.name}.{os.getpid()}")
    try:
        write_bank(half, identifiers, images)
        bank = read_bank(half)
        half.replace(output)
    finally:
        half.unlink(missing_ok=True)
    return bank


def write_bank(path: Path, identifiers: Sequence[str], images: Sequence[SourceImage]) -> None:
    """Write pictures of unit flux; ValueError if a picture is negative, not finite or dark."""
    scaled = []
    for name, image in zip(identifiers, images, strict=True):
        pixels = np.asarray(image.pixels, dtype=np.float64)
        if not np.isfinite(pixels).all() or (pixels < 0).any() or pixels.sum() <= 0:
            raise ValueError(f"picture {name}: expected finite pixels, none negative, of positive sum")
        scaled.append((pixels / pixels.sum()).astype(np.float32))
    sizes = np.array([picture.size for picture in scaled], dtype=np.int64)
    with h5py.File(path, "w") as file:
        file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
        file["identifier"] = np.array(list(identifiers), dtype=h5py.string_dtype())
        file["pixel_scale_arcsec"] = np.array([image.pixel_scale_arcsec for image in images])
        file["half_light_radius_arcsec"] = np.array([half_light_radius_arcsec(image) for image in images])
        file["first"] = np.cumsum(sizes) - sizes
        file["height"] = np.array([picture.shape[0] for picture in scaled], dtype=np.int64)
        file["width"] = np.array([picture.shape[1] for picture in scaled], dtype=np.int64)
        file.create_dataset("pixels", data=np.concatenate([picture.ravel() for picture in scaled]), compression="lzf")


def read_bank(path: Path, sha256: str = "") -> SourceBank:
    """Read a bank; SourceBankError says what is wrong with a file that is none, or whose digest is not `sha256`."""
    if not path.is_file():
        raise SourceBankError(f"{path}: no such source bank; `lens-assets write-bank` writes one")
    digest = file_digest(path)
    if sha256 and digest != sha256:
        raise SourceBankError(f"{path}: its SHA-256 is {digest}, expected {sha256} (source.bank.sha256)")
    try:
        with h5py.File(path, "r") as file:
            return _read(file, path)
    except OSError as error:
        raise SourceBankError(f"{path}: not an HDF5 file ({error})") from error


def _read(file: h5py.File, path: Path) -> SourceBank:
    found = file.attrs.get("format"), file.attrs.get("version")
    if found != (FORMAT, VERSION):
        raise SourceBankError(f"{path}: format and version are {found}, expected {(FORMAT, VERSION)}")
    missing = [name for name in (*COLUMNS, "pixels") if name not in file]
    if missing:
        raise SourceBankError(f"{path}: datasets {missing} are missing")
    names = tuple(file["identifier"].asstr()[:].tolist())
    scale, first, height, width = (
        file[name][:].tolist() for name in ("pixel_scale_arcsec", "first", "height", "width")
    )
    pixels = file["pixels"][:]
    pictures = []
    for row, name in enumerate(names):
        end = first[row] + height[row] * width[row]
        picture = pixels[first[row] : end].reshape(height[row], width[row]) if end <= len(pixels) else pixels[:0]
        if not np.isclose(picture.sum(dtype=np.float64), 1.0, atol=1e-4) or (picture < 0).any():
            raise SourceBankError(f"{path}: picture {name} is not of unit flux, or has negative pixels")
        pictures.append(SourceImage(picture, scale[row]))
    return SourceBank(names, tuple(pictures), file["half_light_radius_arcsec"][:])
