"""Lensed, convolved sources by brute force, sharing nothing with the renderer: the reference it is judged by.

Deflections and profiles are those of the simulated sky. Cells are chosen by distance and not by error: they are split
until they are smaller than a quarter of their distance from the source's centre in the source plane, or a tenth of a
milliarcsecond, and then carry a 4 x 4 Gauss-Legendre rule. The Moffat is summed over all points instead of transformed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lens_assets.simulated.ray_shooting import Blob, LensModel, deflection, ray_grid, sersic_brightness

SMALLEST_CELL_ARCSEC = 1e-4
RESOLUTION = 0.25


def rays_of(
    lens: LensModel, blob: Blob, size_px: int, pixel_scale_arcsec: float
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Return positions x + iy on the stamp (arcsec) and the flux of each, for a source of unit unlensed flux."""
    nodes, weights = np.polynomial.legendre.leggauss(4)
    points = (nodes[None, :] + 1j * nodes[:, None]).ravel() / 2.0
    shares = (weights[None, :] * weights[:, None]).ravel() / 4.0
    centre, side = complex(blob.x_arcsec, blob.y_arcsec), pixel_scale_arcsec
    middle = complex(lens.x_arcsec, lens.y_arcsec)
    cells = ray_grid(size_px, pixel_scale_arcsec, 1).ravel()
    rays, flux = [], []
    while len(cells):
        stretch = np.maximum(1.0, np.abs(1.0 - lens.theta_e_arcsec / np.maximum(np.abs(cells - middle), side / 2.0)))
        distance = np.abs(cells - deflection(cells, lens) - centre)
        fine = (side * stretch < RESOLUTION * distance) | (side < SMALLEST_CELL_ARCSEC)
        leaves = (cells[fine][:, None] + side * points).ravel()
        rays.append(leaves)
        brightness = sersic_brightness(leaves - deflection(leaves, lens), blob)
        flux.append(np.tile(shares, int(fine.sum())) * side**2 * brightness)
        side /= 2.0
        cells = (cells[~fine][:, None] + side / 2.0 * np.array([-1 - 1j, 1 - 1j, -1 + 1j, 1 + 1j])).ravel()
    return np.concatenate(rays), np.concatenate(flux)


def convolved(
    rays: NDArray[np.complex128],
    flux: NDArray[np.float64],
    places: NDArray[np.complex128],
    fwhm_arcsec: float,
    beta: float,
    pixel_scale_arcsec: float,
) -> NDArray[np.float64]:
    """Return the Moffat-convolved flux per pixel at places x + iy."""
    scale = fwhm_arcsec / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    norm = (beta - 1.0) / (np.pi * scale**2) * pixel_scale_arcsec**2
    return np.array([(flux * norm * (1.0 + np.abs(rays - place) ** 2 / scale**2) ** -beta).sum() for place in places])
