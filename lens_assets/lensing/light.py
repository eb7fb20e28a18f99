"""The source: elliptical Sersic profiles of unit flux, and the clumps a star-forming source may have.

I(r) = I_0 exp(-b_n (r^(1/n) - 1)) with r the elliptical radius in half-light radii and b_n the exact solution of
Gamma(2n, b_n) = Gamma(2n)/2 (Ciotti & Bertin 1999 give only its expansion; the usual 1.9992 n - 0.3271 is wrong by
1% in flux at n = 0.5). The half-light radius is the product average of the axes: a = R/sqrt(q), b = R sqrt(q).
Fluxes are normalised by the analytic total to infinity, never by the sum of a stamp:

    total = 2 pi n R^2 I_0 exp(b_n) b_n^(-2n) Gamma(2n)            (Graham & Driver 2005, eq. 4)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import gamma, gammaincinv

from lens_assets.lensing.geometry import angle_from_x_rad

CENTRE_RADIUS_SQUARED = 1e-16
"""Added to the squared elliptical radius so that its logarithm is finite at the centre of a source."""


class LightConstants(NamedTuple):
    """What the brightness of a profile needs, one entry (or tensor) a profile; angles from +x of the stamp."""

    x_arcsec: torch.Tensor
    y_arcsec: torch.Tensor
    cosine: torch.Tensor
    sine: torch.Tensor
    inverse_major_squared: torch.Tensor
    inverse_minor_squared: torch.Tensor
    half_inverse_index: torch.Tensor
    b_n: torch.Tensor
    brightness_at_half_light: torch.Tensor


def sersic_b_n(sersic_index: ArrayLike) -> NDArray[np.float64]:
    """Return b_n, the regularised incomplete gamma function's median of 2n (exact, scipy)."""
    return np.asarray(gammaincinv(2.0 * np.asarray(sersic_index, dtype=np.float64), 0.5))


def sersic_total_over_brightness(sersic_index: ArrayLike, half_light_radius_arcsec: ArrayLike) -> NDArray[np.float64]:
    """Return total flux divided by the brightness at the half-light radius, arcsec^2."""
    n = np.asarray(sersic_index, dtype=np.float64)
    radius = np.asarray(half_light_radius_arcsec, dtype=np.float64)
    b_n = sersic_b_n(n)
    return np.asarray(2.0 * np.pi * n * radius**2 * np.exp(b_n) * b_n ** (-2.0 * n) * gamma(2.0 * n))


def light_constants(
    x_arcsec: ArrayLike,
    y_arcsec: ArrayLike,
    half_light_radius_arcsec: ArrayLike,
    sersic_index: ArrayLike,
    axis_ratio: ArrayLike,
    angle_deg: ArrayLike,
    flux: ArrayLike = 1.0,
    dtype: torch.dtype = torch.float64,
) -> LightConstants:
    """Return the constants of N profiles of total `flux` at source-plane positions, each tensor of shape (N,)."""
    radius = np.asarray(half_light_radius_arcsec, dtype=np.float64)
    q = np.asarray(axis_ratio, dtype=np.float64)
    n = np.asarray(sersic_index, dtype=np.float64)
    angle = angle_from_x_rad(angle_deg)
    columns = (
        x_arcsec,
        y_arcsec,
        np.cos(angle),
        np.sin(angle),
        q / radius**2,
        1.0 / (radius**2 * q),
        0.5 / n,
        sersic_b_n(n),
        np.asarray(flux, dtype=np.float64) / sersic_total_over_brightness(n, radius),
    )
    length = np.broadcast(*columns).size
    return LightConstants(
        *(torch.tensor(np.broadcast_to(np.asarray(c, np.float64), (length,)).copy()).to(dtype) for c in columns)
    )


def surface_brightness(
    x_arcsec: torch.Tensor, y_arcsec: torch.Tensor, light: LightConstants
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (brightness in flux/arcsec^2, -dlnI/dlnr, elliptical radius in half-light radii) in the source plane."""
    dx = x_arcsec - light.x_arcsec
    dy = y_arcsec - light.y_arcsec
    along = torch.addcmul(light.cosine * dx, light.sine, dy)
    across = torch.addcmul(light.cosine * dy, light.sine, dx, value=-1.0)
    squared = along.square_().mul_(light.inverse_major_squared)
    squared = squared.addcmul_(across.square_(), light.inverse_minor_squared).add_(CENTRE_RADIUS_SQUARED)
    power = torch.log(squared).mul_(light.half_inverse_index).exp_()
    brightness = (1.0 - power).mul_(light.b_n).exp_().mul_(light.brightness_at_half_light)
    return brightness, power.mul_(2.0 * light.half_inverse_index * light.b_n), squared.sqrt_()
