"""The deflector: a singular isothermal ellipsoid with external shear. One home of its formulas, in torch.

Kormann, Schneider & Bartelmann 1994 (A&A 284, 285) in its own frame (X along the major axis, axis ratio q):

    w = sqrt(q^2 X^2 + Y^2),  f = sqrt(1 - q^2)
    alpha_X = theta_E sqrt(q)/f * atan(f X / w),   alpha_Y = theta_E sqrt(q)/f * atanh(f Y / w)
    kappa = theta_E sqrt(q) / (2 w)

The sqrt(q) makes theta_E the product-averaged radius: the ellipse kappa = 1/2 has area pi theta_E^2 for every q,
the convention of lenstronomy's `SIE` and of COOLEST. Shear about the lens centre: alpha = (g1 x + g2 y, g2 x - g1 y).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from lens_assets.lensing.geometry import angle_from_x_rad

ROUNDEST_AXIS_RATIO = 1.0 - 1e-6
"""Axis ratios above this are set to it: f = 0 is 0/0, and at 1e-6 the deflection is within 4e-7 of a sphere's."""

CORE_ARCSEC_SQUARED = 1e-14
"""Added under w's root so that a ray through the very centre has a finite (zero) deflection; 1e-7 arcsec."""


class MassConstants(NamedTuple):
    """What the deflection needs, one entry (or tensor) a lens; all angles from +x of the stamp."""

    x_arcsec: torch.Tensor
    y_arcsec: torch.Tensor
    cosine: torch.Tensor
    sine: torch.Tensor
    axis_ratio_squared: torch.Tensor
    flattening: torch.Tensor
    amplitude_arcsec: torch.Tensor
    shear_g1: torch.Tensor
    shear_g2: torch.Tensor


def mass_constants(
    theta_e_arcsec: ArrayLike,
    axis_ratio: ArrayLike,
    angle_deg: ArrayLike,
    shear_g1: ArrayLike,
    shear_g2: ArrayLike,
    x_arcsec: ArrayLike,
    y_arcsec: ArrayLike,
    dtype: torch.dtype = torch.float64,
) -> MassConstants:
    """Return the constants of N lenses from their truth columns, each tensor of shape (N,).

    They are computed in float64: f = sqrt(1 - q^2) loses all its digits in float32 as q -> 1.
    """
    q = np.minimum(np.asarray(axis_ratio, dtype=np.float64), ROUNDEST_AXIS_RATIO)
    flattening = np.sqrt((1.0 - q) * (1.0 + q))
    angle = angle_from_x_rad(angle_deg)
    columns = (
        x_arcsec,
        y_arcsec,
        np.cos(angle),
        np.sin(angle),
        q * q,
        flattening,
        np.asarray(theta_e_arcsec, dtype=np.float64) * np.sqrt(q) / flattening,
        shear_g1,
        shear_g2,
    )
    length = np.broadcast(*columns).size
    return MassConstants(
        *(torch.tensor(np.broadcast_to(np.asarray(c, np.float64), (length,)).copy()).to(dtype) for c in columns)
    )


def deflection(
    x_arcsec: torch.Tensor, y_arcsec: torch.Tensor, mass: MassConstants
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (alpha_x, alpha_y, 2 kappa) at stamp positions, arcsec and dimensionless, shapes broadcast with `mass`."""
    dx = x_arcsec - mass.x_arcsec
    dy = y_arcsec - mass.y_arcsec
    along = torch.addcmul(mass.cosine * dx, mass.sine, dy)
    across = torch.addcmul(mass.cosine * dy, mass.sine, dx, value=-1.0)
    squared = torch.addcmul(across * across, mass.axis_ratio_squared * along, along)
    scaled = squared.add_(CORE_ARCSEC_SQUARED).rsqrt_().mul_(mass.flattening)
    alpha_along = along.mul_(scaled).atan_().mul_(mass.amplitude_arcsec)
    # atanh written out: torch's own differs in the last bit between a tensor's body and its end.
    argument = across.mul_(scaled)
    alpha_across = (1.0 + argument).div_(1.0 - argument).log_().mul_(0.5 * mass.amplitude_arcsec)
    alpha_x = torch.addcmul(mass.cosine * alpha_along, mass.sine, alpha_across, value=-1.0)
    alpha_x.addcmul_(mass.shear_g1, dx).addcmul_(mass.shear_g2, dy)
    alpha_y = torch.addcmul(mass.sine * alpha_along, mass.cosine, alpha_across)
    alpha_y.addcmul_(mass.shear_g2, dx).addcmul_(mass.shear_g1, dy, value=-1.0)
    return alpha_x, alpha_y, scaled.mul_(mass.amplitude_arcsec)
