"""The PSF: circular Moffat profiles through their exact Fourier transform, or an image of each band's PSF.

I(r) = (beta - 1)/(pi a^2) (1 + r^2/a^2)^-beta, a = FWHM / (2 sqrt(2^(1/beta) - 1)). Its transform at wavenumber k
(radians per arcsec), u = a k, is u^nu K_nu(u) 2^(1 - nu) / Gamma(nu) with nu = beta - 1 (Gradshteyn & Ryzhik 6.565.4).
For the half-integer orders of beta = 2.5, 3.5 and 4.5 the Bessel function is elementary, so nothing is truncated,
renormalised or sampled: total flux is one to infinity, and light in the wings beyond the stamp is lost as on the sky.

An image is normalised to the sum of its pixels, so wings beyond its edge count as lost inside: make it wide enough. It
is band-limited, its Fourier sum is exact at any frequency up to half a cycle a pixel and taken as zero beyond, and it
is stretched to a stamp's own FWHM by evaluating that sum at stretched frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lens_assets.digests import file_digest
from lens_assets.survey.units import BANDS

MOFFAT_TRANSFORM_POLYNOMIALS: dict[float, tuple[float, ...]] = {
    2.5: (1.0, 1.0),
    3.5: (1.0, 1.0, 1.0 / 3.0),
    4.5: (1.0, 1.0, 2.0 / 5.0, 1.0 / 15.0),
}
"""Coefficients c of exp(-u) sum_i c_i u^i, the transform for each beta."""


def moffat_scale_arcsec(fwhm_arcsec: torch.Tensor, beta: float) -> torch.Tensor:
    """Return the Moffat scale length a in arcsec of a full width at half maximum."""
    return fwhm_arcsec / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))


def moffat_transfer(wavenumber: torch.Tensor, fwhm_arcsec: torch.Tensor, beta: float) -> torch.Tensor:
    """Return the transfer function at `wavenumber` (radians per arcsec); shapes broadcast, one at zero."""
    coefficients = MOFFAT_TRANSFORM_POLYNOMIALS.get(beta)
    if coefficients is None:
        known = ", ".join(map(str, MOFFAT_TRANSFORM_POLYNOMIALS))
        raise ValueError(f"moffat beta {beta} has no closed transform here; use one of {known}")
    u = wavenumber * moffat_scale_arcsec(fwhm_arcsec, beta)
    polynomial = torch.full_like(u, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        polynomial = polynomial * u + coefficient
    return torch.exp(-u) * polynomial


@dataclass(frozen=True)
class PsfImages:
    """One PSF image a band, (3, n, n) of unit sum, centred on the middle pixel, and the side of its pixels."""

    pixels: NDArray[np.float64]
    pixel_scale_arcsec: float

    @staticmethod
    def read(path: Path, sha256: str = "") -> PsfImages:
        """Read an NPZ file with square images `g`, `r`, `z` of odd side and `pixel_scale_arcsec`; else ValueError."""
        if not path.is_file():
            raise ValueError(f"{path}: no such file of PSF images (renderer.psf_images.path)")
        digest = file_digest(path)
        if sha256 and digest != sha256:
            raise ValueError(f"{path}: its SHA-256 is {digest}, expected {sha256} (renderer.psf_images.sha256)")
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in (*BANDS, "pixel_scale_arcsec") if name not in file]
            if missing:
                raise ValueError(f"{path}: arrays {missing} are missing")
            return PsfImages.of([file[band] for band in BANDS], float(file["pixel_scale_arcsec"]))

    @staticmethod
    def of(images: list[NDArray[np.floating]], pixel_scale_arcsec: float) -> PsfImages:
        """Return the images normalised to their sums; ValueError unless they are square, odd, finite and positive."""
        scaled = []
        for band, image in zip(BANDS, images, strict=True):
            pixels = np.asarray(image, dtype=np.float64)
            square = pixels.ndim == 2 and pixels.shape[0] == pixels.shape[1] and pixels.shape[0] % 2 == 1
            if not square or pixels.shape != np.shape(images[0]) or not np.isfinite(pixels).all() or pixels.sum() <= 0:
                raise ValueError(
                    f"PSF image {band}: expected a square of odd side, the same in every band, finite and of positive "
                    f"sum, got shape {pixels.shape} and sum {pixels.sum()}"
                )
            scaled.append(pixels / pixels.sum())
        return PsfImages(np.stack(scaled), pixel_scale_arcsec)

    def fwhm_arcsec(self) -> NDArray[np.float64]:
        """Return the full width at half maximum by band: the diameter of the disk with the half-maximum's area."""
        finer = 8
        widths = []
        for image in self.pixels:
            smooth = ndimage.zoom(image, finer, order=3, grid_mode=True, mode="nearest")
            area = np.count_nonzero(smooth > 0.5 * smooth.max()) * (self.pixel_scale_arcsec / finer) ** 2
            widths.append(2.0 * np.sqrt(area / np.pi))
        return np.array(widths)

    def transfer(
        self, frequency_y: torch.Tensor, frequency_x: torch.Tensor, psf_fwhm_arcsec: torch.Tensor
    ) -> torch.Tensor:
        """Return the transfer (N, 3, len(y), len(x)) at frequencies in cycles per arcsec for FWHMs (N, 3) in arcsec."""
        device = frequency_x.device
        axis = torch.arange(self.pixels.shape[1], dtype=torch.float64, device=device) - self.pixels.shape[1] // 2
        own = torch.as_tensor(self.fwhm_arcsec(), device=device)
        stretch = psf_fwhm_arcsec.to(device).double() / own * self.pixel_scale_arcsec
        images = torch.as_tensor(self.pixels, device=device).to(torch.complex128)

        def waves(frequency: torch.Tensor) -> torch.Tensor:
            cycles = stretch[:, :, None] * frequency
            turns = torch.exp(-2j * torch.pi * cycles[..., None] * axis)
            return torch.where(cycles.abs()[..., None] <= 0.5, turns, torch.zeros_like(turns))

        return waves(frequency_y) @ images @ waves(frequency_x).transpose(2, 3)
