"""From rays to stamps: triangular-shaped clouds on a finer grid, their correction, the PSF and the pixels.

Putting a ray's flux at the centre of its cell moves its centroid and costs percents of the peak after convolution.
Instead each ray is shared between its nine nearest cells by a quadratic spline, which convolves the rays with a known
kernel; dividing by that kernel's transform sinc^3(f h) in x and y undoes it at the frequencies the PSF leaves (Hockney
& Eastwood, Computer Simulation Using Particles, 5-3 and 5-6). Decimation to pixels happens in Fourier space, and the
forward transform is shared by all bands.

Pixel response: PSFSIZE and the PSF models of the survey describe stars as they appear in pixels, so they contain the
pixel already, and a stamp's value is the PSF-convolved brightness at the pixel centre times the pixel area.
`pixel_response=True` multiplies by the pixel's sinc as well, for a PSF that lacks it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch

from lens_assets.lensing.psf import PsfImages, moffat_transfer
from lens_assets.lensing.rays import Rays

OVERSAMPLING = 2
"""Cells a pixel along each axis; 2 leaves 2e-4 of peak in the median, 1 leaves 2e-3."""

CLOUD_AT_CENTRE = {-1: 1.0 / 8.0, 0: 6.0 / 8.0, 1: 1.0 / 8.0}

CACHED_STAMPS = 4
"""Stamps convolved at a time: their spectra stay in a core's cache, which is faster than one large batch."""

PADDING_PX = 27
"""Pixels added before the circular convolution, so that the PSF of one edge does not wrap onto the other."""


class Canvas:
    """The grid on which the rays of N stamps are collected and convolved; float32 or float64.

    The centre of pixel i lies on cell OVERSAMPLING (i + 1): a margin of one pixel, so that no ray falls off the grid.
    """

    def __init__(
        self,
        size_px: int,
        pixel_scale_arcsec: float,
        dtype: torch.dtype,
        pixel_response: bool = False,
        device: torch.device | str = "cpu",
    ):
        self.size_px = size_px
        self.padded_px = size_px + PADDING_PX
        self.cells = self.padded_px * OVERSAMPLING
        self.pixel_scale_arcsec = pixel_scale_arcsec
        self.cell_arcsec = pixel_scale_arcsec / OVERSAMPLING
        self.dtype = dtype
        self._plane = _frequency_plane(
            self.cells, self.cell_arcsec, pixel_scale_arcsec, dtype, pixel_response, str(device)
        )

    def deposit(self, rays: Rays, stamps: int) -> torch.Tensor:
        """Return the flux of the rays shared among cells, shape (stamps, cells, cells); flux is conserved."""
        centre = (self.size_px + 1) / 2.0 * OVERSAMPLING
        column = rays.x_arcsec / self.cell_arcsec + centre
        row = rays.y_arcsec / self.cell_arcsec + centre
        middle_column, middle_row = torch.round(column), torch.round(row)
        cell = torch.add(rays.stamp * (self.cells * self.cells), (middle_row * self.cells + middle_column).long())
        grid = rays.flux.new_zeros(stamps * self.cells * self.cells)
        columns = _cloud(column - middle_column)
        for up, share in zip((-1, 0, 1), _cloud(row - middle_row), strict=True):
            flux = rays.flux * share
            for right, own in zip((-1, 0, 1), columns, strict=True):
                grid.scatter_add_(0, cell + (up * self.cells + right), flux * own)
        planes = grid.view(stamps, self.cells, self.cells)
        self._deposit_pixels(rays, planes)
        return planes

    def _deposit_pixels(self, rays: Rays, planes: torch.Tensor) -> None:
        """Add whole pixels with the cloud of a ray at a cell's centre, where every pixel's centre is.

        Its transform 1 - (1 - cos(2 pi f h))/4 is sinc^3(f h) up to the fourth order of the frequency.
        """
        pixels = planes.new_zeros(len(planes), self.size_px, self.size_px)
        pixels.index_add_(0, rays.pixel_stamp, rays.pixel_flux)
        for plane, pixel in zip(planes.split(CACHED_STAMPS), pixels.split(CACHED_STAMPS), strict=True):
            for up, share in CLOUD_AT_CENTRE.items():
                for right, own in CLOUD_AT_CENTRE.items():
                    plane[:, self._every_pixel(up), self._every_pixel(right)].add_(pixel, alpha=share * own)

    def _every_pixel(self, step: int) -> slice:
        first = OVERSAMPLING + step
        return slice(first, first + OVERSAMPLING * self.size_px, OVERSAMPLING)

    def convolve(self, grid: torch.Tensor, psf_fwhm_arcsec: torch.Tensor, beta: float) -> torch.Tensor:
        """Return stamps (N, bands, size, size) of a grid (N, cells, cells) under Moffat PSFs of FWHMs (N, bands).

        Values are flux per pixel.
        """
        transfer = moffat_transfer(self._plane.wavenumbers, psf_fwhm_arcsec.to(self.dtype)[:, :, None], beta)

        def planes(part: slice) -> torch.Tensor:
            # One row at a time: selecting along the last axis of a larger array is six times slower.
            rows = [band.index_select(0, self._plane.index) for band in transfer[part].flatten(0, 1)]
            return torch.stack(rows).view(-1, transfer.shape[1], self.cells, self.cells // 2 + 1)

        return self._convolved(grid, transfer.shape[1], planes)

    def convolve_images(self, grid: torch.Tensor, psf_fwhm_arcsec: torch.Tensor, psf: PsfImages) -> torch.Tensor:
        """Return the same under each band's PSF image, stretched to the FWHMs (N, bands)."""
        kind = {"dtype": torch.float64, "device": grid.device}
        frequency_y = torch.fft.fftfreq(self.cells, self.cell_arcsec, **kind)
        frequency_x = torch.fft.rfftfreq(self.cells, self.cell_arcsec, **kind)
        complex_dtype = torch.complex64 if self.dtype == torch.float32 else torch.complex128

        def planes(part: slice) -> torch.Tensor:
            return psf.transfer(frequency_y, frequency_x, psf_fwhm_arcsec[part]).to(complex_dtype)

        return self._convolved(grid, psf_fwhm_arcsec.shape[1], planes)

    def _convolved(self, grid: torch.Tensor, bands: int, planes: Callable[[slice], torch.Tensor]) -> torch.Tensor:
        stamps = grid.new_empty(len(grid), bands, self.size_px, self.size_px)
        for start in range(0, len(grid), CACHED_STAMPS):
            part = slice(start, start + CACHED_STAMPS)
            stamps[part] = self._sampled(grid[part], planes(part))
        return stamps

    def _sampled(self, grid: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
        """Multiply the spectrum by the transfer and sample pixel centres: a coarser grid adds aliases together."""
        product = (torch.fft.rfft2(grid) * self._plane.correction)[:, None] * transfer
        folded = product[:, :, : self.padded_px] + product[:, :, self.padded_px :]
        half = self.padded_px // 2 + 1
        # The other alias along a row has negative frequency, which a real image's spectrum holds as its conjugate.
        mirrored = folded.flip(dims=(2, 3)).roll(1, dims=2)[..., :half]
        sampled = torch.fft.irfft2(folded[..., :half] + mirrored.conj(), s=(self.padded_px, self.padded_px))
        return sampled[..., 1 : self.size_px + 1, 1 : self.size_px + 1]


def _cloud(offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the shares of the cell before, at and after a ray at `offset` in [-1/2, 1/2] cells: a quadratic spline."""
    return 0.5 * (0.5 - offset).square(), 0.75 - offset.square(), 0.5 * (0.5 + offset).square()


@dataclass(frozen=True)
class _FrequencyPlane:
    """The half plane of frequencies of a real grid, (cells, cells/2 + 1).

    A circular PSF needs its transform only once for each |k|, of which there are four times fewer than points:
    `wavenumbers` in radians per arcsec, and `index`, where each belongs on the flattened plane. `correction` undoes the
    cloud. The factor that turns the flux of a cell into that of a pixel cancels with the one of the sampling.
    """

    wavenumbers: torch.Tensor
    index: torch.Tensor
    correction: torch.Tensor


@lru_cache(maxsize=8)
def _frequency_plane(
    cells: int, cell_arcsec: float, pixel_arcsec: float, dtype: torch.dtype, pixel_response: bool, device: str
) -> _FrequencyPlane:
    fy = torch.fft.fftfreq(cells, cell_arcsec, dtype=torch.float64, device="cpu")
    fx = torch.fft.rfftfreq(cells, cell_arcsec, dtype=torch.float64, device="cpu")

    def along(frequency: torch.Tensor) -> torch.Tensor:
        undone = torch.sinc(frequency * cell_arcsec) ** -3.0
        return undone * torch.sinc(frequency * pixel_arcsec) if pixel_response else undone

    row, column = (torch.round(frequency * cells * cell_arcsec).long() for frequency in (fy, fx))
    steps = row[:, None] ** 2 + column[None, :] ** 2
    different, index = torch.unique(steps, return_inverse=True)
    wavenumbers = 2.0 * math.pi / (cells * cell_arcsec) * torch.sqrt(different.double())
    correction = along(fy)[:, None] * along(fx)[None, :]
    return _FrequencyPlane(
        wavenumbers.to(dtype).to(device), index.reshape(-1).to(device), correction.to(dtype).to(device)
    )
