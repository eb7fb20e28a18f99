"""From rays to stamps: cloud-in-cell deposition on a finer grid, its correction, the PSF and the pixels.

Putting a ray's flux at the centre of its cell moves its centroid and costs percents of the peak after convolution.
Instead each ray is shared linearly between its four nearest cells, which convolves the rays with a known kernel;
dividing by that kernel's transform sinc^2(f h) in x and y undoes it exactly at the frequencies the PSF leaves
(Hockney & Eastwood, Computer Simulation Using Particles, 5-6). Decimation to pixels happens in Fourier space, and the
forward transform is shared by all bands.

Pixel response: PSFSIZE and the PSF models of the survey describe stars as they appear in pixels, so they contain the
pixel already, and a stamp's value is the PSF-convolved brightness at the pixel centre times the pixel area.
`pixel_response=True` multiplies by the pixel's sinc as well, for a PSF that lacks it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from lens_assets.lensing.psf import moffat_transfer
from lens_assets.lensing.rays import Rays

OVERSAMPLING = 2
"""Cells a pixel along each axis; 2 leaves 2e-4 of peak in the median, 1 leaves 2e-3."""

CACHED_STAMPS = 4
"""Stamps convolved at a time: their spectra stay in a core's cache, which is faster than one large batch."""

PADDING_PX = 27
"""Pixels added before the circular convolution, so that the PSF of one edge does not wrap onto the other."""


class Canvas:
    """The grid on which the rays of N stamps are collected and convolved; float32 or float64."""

    def __init__(self, size_px: int, pixel_scale_arcsec: float, dtype: torch.dtype, pixel_response: bool = False):
        self.size_px = size_px
        self.padded_px = size_px + PADDING_PX
        self.cells = self.padded_px * OVERSAMPLING
        self.pixel_scale_arcsec = pixel_scale_arcsec
        self.cell_arcsec = pixel_scale_arcsec / OVERSAMPLING
        self.dtype = dtype
        self._wavenumbers, self._wavenumber_index, self._correction = _frequency_plane(
            self.cells, self.cell_arcsec, pixel_scale_arcsec, dtype, pixel_response
        )

    def deposit(self, rays: Rays, stamps: int) -> torch.Tensor:
        """Return the flux of the rays shared among cells, shape (stamps, cells, cells); flux is conserved.

        The first cell's centre lies a quarter pixel before the first pixel's centre. Rays up to a cell beyond the
        stamp's edge wrap onto the padding.
        """
        column = rays.x_arcsec / self.cell_arcsec + self._offset
        row = rays.y_arcsec / self.cell_arcsec + self._offset
        left, below = torch.floor(column), torch.floor(row)
        right_share, above_share = column - left, row - below
        i0 = left.long() % self.cells
        j0 = below.long() % self.cells
        i1, j1 = (i0 + 1) % self.cells, (j0 + 1) % self.cells
        base = rays.stamp * (self.cells * self.cells)
        grid = torch.zeros(stamps * self.cells * self.cells, dtype=rays.flux.dtype)
        for j, i, share in (
            (j0, i0, (1 - right_share) * (1 - above_share)),
            (j0, i1, right_share * (1 - above_share)),
            (j1, i0, (1 - right_share) * above_share),
            (j1, i1, right_share * above_share),
        ):
            grid.index_add_(0, base + j * self.cells + i, share * rays.flux)
        planes = grid.view(stamps, self.cells, self.cells)
        self._deposit_pixels(rays, planes)
        return planes

    def _deposit_pixels(self, rays: Rays, planes: torch.Tensor) -> None:
        """Add whole pixels: a pixel's centre lies midway between its 2 x 2 cells, a quarter of its flux for each."""
        quarter = torch.zeros(len(planes), self.size_px, self.size_px, dtype=planes.dtype)
        quarter.index_add_(0, rays.pixel_stamp, rays.pixel_flux / OVERSAMPLING**2)
        end = self.size_px * OVERSAMPLING
        for row in range(OVERSAMPLING):
            for column in range(OVERSAMPLING):
                planes[:, row:end:OVERSAMPLING, column:end:OVERSAMPLING] += quarter

    def convolve(self, grid: torch.Tensor, psf_fwhm_arcsec: torch.Tensor, beta: float) -> torch.Tensor:
        """Return stamps (N, bands, size, size) of a grid (N, cells, cells) and FWHMs (N, bands), flux per pixel."""
        fwhm = psf_fwhm_arcsec.to(self.dtype)
        groups = [
            self._convolve(grid[start : start + CACHED_STAMPS], fwhm[start : start + CACHED_STAMPS], beta)
            for start in range(0, len(grid), CACHED_STAMPS)
        ]
        return torch.cat(groups)

    def _convolve(self, grid: torch.Tensor, fwhm_arcsec: torch.Tensor, beta: float) -> torch.Tensor:
        spectrum = torch.fft.rfft2(grid) * self._correction
        transfer = moffat_transfer(self._wavenumbers, fwhm_arcsec[:, :, None], beta)[:, :, self._wavenumber_index]
        product = spectrum[:, None] * transfer
        count, bands, _, width = product.shape
        # Sampling every second cell of a row is averaging the spectrum's aliases: fold, then transform half as much.
        folded = product.reshape(count, bands, OVERSAMPLING, self.padded_px, width).sum(dim=2) / OVERSAMPLING
        rows = torch.fft.ifft(folded, dim=2)[:, :, : self.size_px]
        stamps = torch.fft.irfft(rows, n=self.cells, dim=3)
        return stamps[..., : self.size_px * OVERSAMPLING : OVERSAMPLING].contiguous()

    @property
    def _offset(self) -> float:
        return (self.size_px * OVERSAMPLING - 1) / 2.0


@lru_cache(maxsize=8)
def _frequency_plane(
    cells: int, cell_arcsec: float, pixel_arcsec: float, dtype: torch.dtype, pixel_response: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the different |k| in radians per arcsec, where each lies on the plane, and the factor of a deposited grid.

    The plane has shape (cells, cells/2 + 1). A circular PSF needs its transform only once for each |k|, of which there
    are four times fewer than points.

    The factor undoes the cloud, moves the first pixel's centre onto the first cell, and turns the flux of a cell into
    the flux of a pixel: a sample of the convolved grid is the flux density per cell, OVERSAMPLING^2 cells a pixel.
    """
    fy = torch.fft.fftfreq(cells, cell_arcsec, dtype=torch.float64)
    fx = torch.fft.rfftfreq(cells, cell_arcsec, dtype=torch.float64)

    def along(frequency: torch.Tensor) -> torch.Tensor:
        real = torch.sinc(frequency * cell_arcsec) ** -2.0
        if pixel_response:
            real = real * torch.sinc(frequency * pixel_arcsec)
        shift = 2.0 * math.pi * frequency * cell_arcsec * (OVERSAMPLING - 1) / 2.0
        return real * torch.exp(1j * shift)

    steps = torch.round(fy * cells * cell_arcsec).long()[:, None] ** 2 + torch.arange(len(fx))[None, :] ** 2
    different, index = torch.unique(steps, return_inverse=True)
    wavenumbers = 2.0 * math.pi / (cells * cell_arcsec) * torch.sqrt(different.double())
    factor = along(fy)[:, None] * along(fx)[None, :] * OVERSAMPLING**2
    complex_dtype = torch.complex64 if dtype == torch.float32 else torch.complex128
    return wavenumbers.to(dtype), index, factor.to(complex_dtype)
