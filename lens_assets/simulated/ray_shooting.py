"""The sky's own lensing: brute-force inverse ray shooting through a singular isothermal ellipsoid with shear.

Written apart from the platform's renderer, in other variables, so that a fault of one is not repeated by the other:
deflections come from the complex formulation on a uniform, oversampled grid in float64, nothing is approximated,
tabulated or adaptive. Axes: x grows West and y North (coadd columns and rows); position angles are East of North.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma, gammaincinv

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


@dataclass(frozen=True)
class LensModel:
    """A singular isothermal ellipsoid with external shear.

    `theta_e_arcsec` is the product-average radius: the critical ellipse of the unsheared lens has half-axes
    theta_E / sqrt(q) and theta_E sqrt(q), and encloses pi theta_E^2 in area.
    """

    theta_e_arcsec: float
    axis_ratio: float
    angle_deg: float
    shear_g1: float
    shear_g2: float
    x_arcsec: float = 0.0
    y_arcsec: float = 0.0


@dataclass(frozen=True)
class Blob:
    """A Sersic component of a source; the radius is the product average of the half-light ellipse's axes."""

    flux_fraction: float
    x_arcsec: float
    y_arcsec: float
    half_light_radius_arcsec: float
    sersic_index: float
    axis_ratio: float
    angle_deg: float


def _axis_direction(angle_deg: float) -> complex:
    """Return the unit complex number x + iy along a position angle East of North (West is +x)."""
    return complex(1j * np.exp(1j * np.radians(angle_deg)))


def deflection(position: ComplexArray, lens: LensModel) -> ComplexArray:
    """Return the deflection alpha_x + i alpha_y in arcsec at positions x + iy in arcsec, any shape.

    SIE: Bourassa & Kantowski 1975, as in Keeton 2001 (astro-ph/0102341, sec. 3.5) and Kormann et al. 1994, in one
    complex expression: with z in the frame of the major axis, f = sqrt(1 - q^2), psi = sqrt(q^2 x^2 + y^2),
    alpha = theta_E sqrt(q)/f [arctan(f x/psi) + i artanh(f y/psi)]; for q -> 1, theta_E z/|z|. Shear about the
    lens centre: alpha += (g1 + i g2) conj(z).
    """
    offset = position - complex(lens.x_arcsec, lens.y_arcsec)
    turn = _axis_direction(lens.angle_deg)
    z = offset * np.conj(turn)
    q = lens.axis_ratio
    flattening = np.sqrt(max(1.0 - q * q, 0.0))
    if flattening < 1e-5:
        radius = np.abs(z)
        alpha = lens.theta_e_arcsec * np.divide(z, radius, out=np.zeros_like(z), where=radius > 0)
    else:
        psi = np.sqrt(q * q * z.real**2 + z.imag**2)
        psi = np.where(psi > 0, psi, 1.0)
        along = np.arctan(flattening * z.real / psi)
        across = np.arctanh(flattening * z.imag / psi)
        alpha = lens.theta_e_arcsec * np.sqrt(q) / flattening * (along + 1j * across)
    shear = complex(lens.shear_g1, lens.shear_g2)
    return np.asarray(alpha * turn + shear * np.conj(offset))


def sersic_brightness(position: ComplexArray, blob: Blob) -> FloatArray:
    """Return the surface brightness (arcsec^-2, unit total flux to infinity) of a Sersic profile.

    I = exp(-b R^(1/n)) / (2 pi n R_e^2 Gamma(2n) b^(-2n)), P(2n, b) = 1/2 (Graham & Driver 2005, PASA 22, 118),
    R^2 = (q u^2 + v^2/q) / R_e^2 with u along the major axis.
    """
    n = blob.sersic_index
    b = gammaincinv(2.0 * n, 0.5)
    w = (position - complex(blob.x_arcsec, blob.y_arcsec)) * np.conj(_axis_direction(blob.angle_deg))
    squared = (blob.axis_ratio * w.real**2 + w.imag**2 / blob.axis_ratio) / blob.half_light_radius_arcsec**2
    total = 2.0 * np.pi * n * blob.half_light_radius_arcsec**2 * gamma(2.0 * n) * b ** (-2.0 * n)
    return np.asarray(np.exp(-b * squared ** (0.5 / n)) / total)


def ray_grid(pixels: int, pixel_scale_arcsec: float, oversampling: int) -> ComplexArray:
    """Return the ray positions x + iy in arcsec, (pixels * oversampling)^2, at the centres of equal cells."""
    count = pixels * oversampling
    axis = (np.arange(count) - (count - 1) / 2.0) * pixel_scale_arcsec / oversampling
    return np.asarray(axis[None, :] + 1j * axis[:, None])


def lensed_fractions(
    lens: LensModel, blobs: list[Blob], pixels: int, pixel_scale_arcsec: float, oversampling: int
) -> FloatArray:
    """Return flux per ray cell in units of the unlensed source flux, (blobs, pixels * s, pixels * s).

    Surface brightness is conserved: a ray at theta sees the source at beta = theta - alpha(theta). The sum over cells
    is the magnification of each blob times its flux fraction.
    """
    rays = ray_grid(pixels, pixel_scale_arcsec, oversampling)
    source_plane = rays - deflection(rays, lens)
    area = (pixel_scale_arcsec / oversampling) ** 2
    return np.stack([blob.flux_fraction * area * sersic_brightness(source_plane, blob) for blob in blobs])
