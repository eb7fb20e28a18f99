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

from lens_assets.lensing.folding import fold
from lens_assets.lensing.psf import PsfImages, moffat_transfer
from lens_assets.lensing.rays import Rays

OVERSAMPLING = 2
"""Cells a pixel along each axis; 2 leaves 2e-4 of peak in the median, 1 leaves 2e-3."""

CLOUD_BESIDE_CENTRE = 1.0 / 8.0
"""Share of a ray at a cell's centre that goes to either neighbour along an axis."""

CACHED_STAMPS = 2
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
        cells = slice(OVERSAMPLING - 1, OVERSAMPLING * (self.size_px + 1))
        for plane, pixel in zip(planes.split(CACHED_STAMPS), pixels.split(CACHED_STAMPS), strict=True):
            plane[:, cells, cells] += _spread(_spread(pixel, axis=2), axis=1)

    def convolve(self, grid: torch.Tensor, psf_fwhm_arcsec: torch.Tensor, beta: float) -> torch.Tensor:
        """Return stamps (N, bands, size, size) of a grid (N, cells, cells) under Moffat PSFs of FWHMs (N, bands).

        Values are flux per pixel.
        """
        widths = psf_fwhm_arcsec.to(self.dtype)[:, :, None]
        compiled = self.dtype == torch.float32 and grid.device.type == "cpu"

        def sampled(part: slice, spectrum: torch.Tensor) -> torch.Tensor:
            transfer = moffat_transfer(self._plane.wavenumbers, widths[part], beta)
            if compiled:
                return self._folded(spectrum, transfer)
            quadrant = transfer[:, :, self._plane.index] * self._plane.correction
            rows = torch.cat([quadrant[:, :, :-1], quadrant[:, :, 1:].flip(2)], dim=2)
            return self._aliased(spectrum[:, None] * rows)

        return self._convolved(grid, widths.shape[1], sampled)

    def convolve_images(self, grid: torch.Tensor, psf_fwhm_arcsec: torch.Tensor, psf: PsfImages) -> torch.Tensor:
        """Return the same under each band's PSF image, stretched to the FWHMs (N, bands)."""
        kind = {"dtype": torch.float64, "device": grid.device}
        frequency_y = torch.fft.fftfreq(self.cells, self.cell_arcsec, **kind)
        frequency_x = torch.fft.rfftfreq(self.cells, self.cell_arcsec, **kind)
        complex_dtype = torch.complex64 if self.dtype == torch.float32 else torch.complex128
        quadrant = self._plane.correction
        correction = torch.cat([quadrant[:-1], quadrant[1:].flip(0)])

        def sampled(part: slice, spectrum: torch.Tensor) -> torch.Tensor:
            transfer = psf.transfer(frequency_y, frequency_x, psf_fwhm_arcsec[part]).to(complex_dtype)
            return self._aliased((spectrum * correction)[:, None] * transfer)

        return self._convolved(grid, psf_fwhm_arcsec.shape[1], sampled)

    def _convolved(
        self, grid: torch.Tensor, bands: int, sampled: Callable[[slice, torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Convolve a few stamps at a time; `sampled` gives the spectra of pixels under the PSFs from those of grids.

        Sampling pixel centres adds aliases together: rows of the spectrum half the grid apart, and columns likewise.
        """
        stamps = grid.new_empty(len(grid), bands, self.size_px, self.size_px)
        for start in range(0, len(grid), CACHED_STAMPS):
            part = slice(start, start + CACHED_STAMPS)
            spectra = sampled(part, torch.fft.rfft2(grid[part]))
            pixels = torch.fft.irfft2(spectra, s=(self.padded_px, self.padded_px))
            stamps[part] = pixels[..., 1 : self.size_px + 1, 1 : self.size_px + 1]
        return stamps

    def _aliased(self, product: torch.Tensor) -> torch.Tensor:
        """Return the spectra of pixels (n, bands, rows, rows/2 + 1) of products (n, bands, 2 rows, rows + 1)."""
        rows = product[:, :, : self.padded_px] + product[:, :, self.padded_px :]
        half = self.padded_px // 2 + 1
        # The other alias along a row has negative frequency, which a real image's spectrum holds as its conjugate.
        return rows[..., :half] + rows[..., half - 1 :].flip(dims=(2, 3)).roll(1, dims=2).conj()

    def _folded(self, spectrum: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
        """Return the same of a spectrum and the transfers of wavenumbers, compiled for single precision on a CPU."""
        half = self.padded_px // 2 + 1
        folded = spectrum.new_empty(*transfer.shape[:2], self.padded_px, half)
        plane = self._plane
        fold(
            *(part.numpy() for part in (_as_real(spectrum), transfer, plane.index, plane.correction, _as_real(folded)))
        )
        return folded


def _as_real(values: torch.Tensor) -> torch.Tensor:
    """Return complex values (..., n) as (..., 2n), real and imaginary parts in turn."""
    return torch.view_as_real(values).flatten(-2)


def _spread(pixels: torch.Tensor, axis: int) -> torch.Tensor:
    """Return pixels along an axis on two cells each, from that before the first centre to that after the last."""
    count = pixels.shape[axis]
    share = CLOUD_BESIDE_CENTRE * pixels
    shape = list(pixels.shape)
    shape[axis] = 2 * count + 1
    cells = pixels.new_empty(shape)
    places = [slice(None)] * axis
    cells[(*places, slice(1, None, 2))] = (1.0 - 2.0 * CLOUD_BESIDE_CENTRE) * pixels
    cells[(*places, slice(0, 1))] = share.narrow(axis, 0, 1)
    cells[(*places, slice(2, -1, 2))] = share.narrow(axis, 0, count - 1) + share.narrow(axis, 1, count - 1)
    cells[(*places, slice(2 * count, None))] = share.narrow(axis, count - 1, 1)
    return cells


def _cloud(offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the shares of the cell before, at and after a ray at `offset` in [-1/2, 1/2] cells: a quadratic spline."""
    return 0.5 * (0.5 - offset).square(), 0.75 - offset.square(), 0.5 * (0.5 + offset).square()


@dataclass(frozen=True)
class _FrequencyPlane:
    """The frequencies of a real grid, whose half plane is (cells, cells/2 + 1); rows beyond the middle are negative.

    A circular PSF is the same in all quadrants and needs its transform only once for each |k|: `wavenumbers` in radians
    per arcsec, and `index`, where each belongs on the quadrant (cells/2 + 1, cells/2 + 1). `correction` undoes the
    cloud on the quadrant. The factor that turns the flux of a cell into that of a pixel cancels with the one of the
    sampling.
    """

    wavenumbers: torch.Tensor
    index: torch.Tensor
    correction: torch.Tensor


@lru_cache(maxsize=8)
def _frequency_plane(
    cells: int, cell_arcsec: float, pixel_arcsec: float, dtype: torch.dtype, pixel_response: bool, device: str
) -> _FrequencyPlane:
    frequency = torch.fft.rfftfreq(cells, cell_arcsec, dtype=torch.float64, device="cpu")

    def along(frequency: torch.Tensor) -> torch.Tensor:
        undone = torch.sinc(frequency * cell_arcsec) ** -3.0
        return undone * torch.sinc(frequency * pixel_arcsec) if pixel_response else undone

    step = torch.arange(cells // 2 + 1, device="cpu")
    different, index = torch.unique(step[:, None] ** 2 + step[None, :] ** 2, return_inverse=True)
    wavenumbers = 2.0 * math.pi / (cells * cell_arcsec) * torch.sqrt(different.double())
    correction = along(frequency)[:, None] * along(frequency)[None, :]
    return _FrequencyPlane(wavenumbers.to(dtype).to(device), index.to(device), correction.to(dtype).to(device))
