"""Image positions, their number, and the multiply imaged area of a singular isothermal ellipsoid with shear.

The deflection of an isothermal lens depends on the direction only, alpha(phi). With M = 1 - Gamma (Gamma the shear
matrix) and theta = r e(phi) about the lens, the lens equation r M e(phi) = beta + alpha(phi) has an image in direction
phi where M e x (beta + alpha) = 0 and M e . (beta + alpha) > 0: one bracketed root in one variable, for any shape and
shear, and r follows. The central image of a singular lens has no flux and is not counted.

Caustics: with kappa = K(phi)/r and G = g1 cos 2phi + g2 sin 2phi, det A = (1 - |g|^2) - 2 kappa (1 - G), so the
critical curve is r = 2 K (1 - G)/(1 - |g|^2); the lens map takes it to the tangential caustic, and r -> 0 to the cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lens_assets.lensing.mass import MassConstants, deflection

DIRECTIONS = 1440
"""Directions sampled for sign changes; two images closer than a quarter degree are merging and may be missed."""

BISECTIONS = 48


@dataclass(frozen=True)
class Images:
    """All images of N sources: index of the source, stamp position in arcsec, signed magnification; equal lengths."""

    source: NDArray[np.int64]
    x_arcsec: NDArray[np.float64]
    y_arcsec: NDArray[np.float64]
    magnification: NDArray[np.float64]

    def counts(self, sources: int) -> NDArray[np.int64]:
        """Return the number of images of each source, shape (sources,)."""
        return np.bincount(self.source, minlength=sources).astype(np.int64)


@dataclass(frozen=True)
class _Isothermal:
    """alpha(phi) and M e(phi) of N lenses; arrays broadcast over directions."""

    mass: MassConstants

    def at(self, phi: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return (cos, sin, alpha_x, alpha_y, (M e)_x, (M e)_y, K) in directions phi."""
        cosine, sine = torch.cos(phi), torch.sin(phi)
        zero = torch.zeros_like(self.mass.shear_g1)
        unsheared = self.mass._replace(x_arcsec=zero, y_arcsec=zero, shear_g1=zero, shear_g2=zero)
        alpha_x, alpha_y, two_kappa = deflection(cosine, sine, unsheared)
        g1, g2 = self.mass.shear_g1, self.mass.shear_g2
        return (
            cosine,
            sine,
            alpha_x,
            alpha_y,
            cosine - g1 * cosine - g2 * sine,
            sine - g2 * cosine + g1 * sine,
            0.5 * two_kappa,
        )


def _rows(mass: MassConstants, index: torch.Tensor) -> MassConstants:
    return MassConstants(*(column[index] for column in mass))


def _double(mass: MassConstants) -> MassConstants:
    return MassConstants(*(column.double() for column in mass))


def find_images(
    mass: MassConstants, source_x_arcsec: NDArray[np.float64], source_y_arcsec: NDArray[np.float64]
) -> Images:
    """Return every image of N point sources at stamp coordinates, each behind its own lens, ordered by source."""
    mass = _double(mass)
    beta_x = torch.tensor(np.array(source_x_arcsec, dtype=np.float64)) - mass.x_arcsec
    beta_y = torch.tensor(np.array(source_y_arcsec, dtype=np.float64)) - mass.y_arcsec

    def mismatch(phi: torch.Tensor, lens: MassConstants, bx: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        _, _, alpha_x, alpha_y, map_x, map_y, _ = _Isothermal(lens).at(phi)
        return map_x * (by + alpha_y) - map_y * (bx + alpha_x)

    # The half step keeps the samples off the axes, where symmetric systems have their images.
    samples = (torch.arange(DIRECTIONS + 1, dtype=torch.float64) + 0.5) * (2.0 * math.pi / DIRECTIONS)
    columns = MassConstants(*(column[:, None] for column in mass))
    sampled = mismatch(samples[None, :], columns, beta_x[:, None], beta_y[:, None])
    source, step = torch.nonzero((sampled[:, :-1] < 0) != (sampled[:, 1:] < 0), as_tuple=True)
    low, high = samples[step], samples[step + 1]
    lens, bx, by = _rows(mass, source), beta_x[source], beta_y[source]
    low_sign = sampled[source, step] < 0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        same = (mismatch(middle, lens, bx, by) < 0) == low_sign
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    phi = 0.5 * (low + high)
    cosine, sine, alpha_x, alpha_y, map_x, map_y, convergence = _Isothermal(lens).at(phi)
    radius = (map_x * (bx + alpha_x) + map_y * (by + alpha_y)) / (map_x**2 + map_y**2)
    real = radius > 1e-9
    shear_squared = lens.shear_g1**2 + lens.shear_g2**2
    aligned = lens.shear_g1 * torch.cos(2 * phi) + lens.shear_g2 * torch.sin(2 * phi)
    determinant = (1 - shear_squared) - 2 * convergence / radius * (1 - aligned)
    return Images(
        source[real].numpy(),
        (lens.x_arcsec + radius * cosine)[real].numpy(),
        (lens.y_arcsec + radius * sine)[real].numpy(),
        (1.0 / determinant)[real].numpy(),
    )


def multiply_imaged_radius_arcsec(mass: MassConstants, directions: int = 720) -> NDArray[np.float64]:
    """Return how far the multiply imaged region reaches from the lens in each source-plane direction.

    Shape (N, directions), arcsec, directions evenly spaced from +x. The region is the union of what the cut and the
    tangential caustic enclose; both are star-shaped about the lens.
    """
    mass = _double(mass)
    phi = torch.arange(4 * directions, dtype=torch.float64) * (2.0 * math.pi / (4 * directions))
    lenses = MassConstants(*(column[:, None] for column in mass))
    _, _, alpha_x, alpha_y, map_x, map_y, convergence = _Isothermal(lenses).at(phi[None, :])
    shear_squared = lenses.shear_g1**2 + lenses.shear_g2**2
    aligned = lenses.shear_g1 * torch.cos(2 * phi) + lenses.shear_g2 * torch.sin(2 * phi)
    radius = 2.0 * convergence * (1.0 - aligned) / (1.0 - shear_squared)
    curves = (
        (-alpha_x, -alpha_y),
        (radius * map_x - alpha_x, radius * map_y - alpha_y),
    )
    reach = np.zeros((len(mass.x_arcsec), directions))
    wanted = np.arange(directions) * (2.0 * np.pi / directions)
    for curve_x, curve_y in curves:
        angle = torch.atan2(curve_y, curve_x).numpy() % (2.0 * np.pi)
        distance = torch.hypot(curve_x, curve_y).numpy()
        for row in range(len(reach)):
            order = np.argsort(angle[row], kind="stable")
            found = np.interp(wanted, angle[row][order], distance[row][order], period=2.0 * np.pi)
            reach[row] = np.maximum(reach[row], found)
    return reach


def multiply_imaged_area_arcsec2(mass: MassConstants) -> NDArray[np.float64]:
    """Return the source-plane area with two or more images, shape (N,), arcsec^2 (cross-section of the lens)."""
    reach = multiply_imaged_radius_arcsec(mass)
    return np.asarray(np.pi * np.mean(reach**2, axis=1))
