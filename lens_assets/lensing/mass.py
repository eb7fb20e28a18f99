"""The deflector: an elliptical power law with external shear. One home of its formulas, in torch.

**Isothermal** (Kormann, Schneider & Bartelmann 1994, A&A 284, 285), in its own frame (X along the major axis, axis
ratio q):

    w = sqrt(q^2 X^2 + Y^2),  f = sqrt(1 - q^2)
    alpha_X = theta_E sqrt(q)/f * atan(f X / w),   alpha_Y = theta_E sqrt(q)/f * atanh(f Y / w)
    kappa = theta_E sqrt(q) / (2 w)

**Any slope** (Tessore & Metcalf 2015, A&A 580, A79, eqs. 2, 13, 29), rho ~ r^-gamma, t = gamma - 1,
b = theta_E sqrt(q), z = q X + i Y = R exp(i phi), F = (1 - q)/(1 + q):

    kappa = (2 - t)/2 (b/R)^t
    alpha = 2 b/(1 + q) (b/R)^(t-1) exp(i phi) 2F1(1, t/2; 2 - t/2; -F exp(2 i phi))

The factors sqrt(q) make theta_E the product-averaged radius: the ellipse of mean convergence one has area
pi theta_E^2 for every q and slope, the convention of lenstronomy's `SIE` and `EPL` and of COOLEST. Shear about the
lens centre: alpha = (g1 x + g2 y, g2 x - g1 y).
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

ISOTHERMAL_SLOPE = 2.0

SERIES_TERMS = 48
"""Terms of the hypergeometric series; its ratio is below F = (1 - q)/(1 + q), so 48 leave 4e-9 at q = 0.2."""


class MassConstants(NamedTuple):
    """What the deflection of isothermal lenses needs, one entry (or tensor) a lens; angles from +x of the stamp."""

    x_arcsec: torch.Tensor
    y_arcsec: torch.Tensor
    cosine: torch.Tensor
    sine: torch.Tensor
    axis_ratio_squared: torch.Tensor
    flattening: torch.Tensor
    amplitude_arcsec: torch.Tensor
    shear_g1: torch.Tensor
    shear_g2: torch.Tensor


class PowerLawConstants(NamedTuple):
    """The same for lenses of any slope."""

    x_arcsec: torch.Tensor
    y_arcsec: torch.Tensor
    cosine: torch.Tensor
    sine: torch.Tensor
    axis_ratio: torch.Tensor
    exponent: torch.Tensor
    scale_arcsec: torch.Tensor
    shear_g1: torch.Tensor
    shear_g2: torch.Tensor


Mass = MassConstants | PowerLawConstants


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
    """Return the constants of N isothermal lenses from their truth columns, each tensor of shape (N,).

    They are computed in float64: f = sqrt(1 - q^2) loses all its digits in float32 as q -> 1.
    """
    q = np.minimum(np.asarray(axis_ratio, dtype=np.float64), ROUNDEST_AXIS_RATIO)
    flattening = np.sqrt((1.0 - q) * (1.0 + q))
    angle = angle_from_x_rad(angle_deg)
    amplitude = np.asarray(theta_e_arcsec, dtype=np.float64) * np.sqrt(q) / flattening
    columns = (x_arcsec, y_arcsec, np.cos(angle), np.sin(angle), q * q, flattening, amplitude, shear_g1, shear_g2)
    return MassConstants(*_tensors(columns, dtype))


def power_law_constants(
    theta_e_arcsec: ArrayLike,
    axis_ratio: ArrayLike,
    angle_deg: ArrayLike,
    shear_g1: ArrayLike,
    shear_g2: ArrayLike,
    x_arcsec: ArrayLike,
    y_arcsec: ArrayLike,
    density_slope: ArrayLike,
    dtype: torch.dtype = torch.float64,
) -> PowerLawConstants:
    """Return the constants of N lenses of density slope gamma in (1, 3), each tensor of shape (N,); else ValueError."""
    slope = np.asarray(density_slope, dtype=np.float64)
    if not ((slope > 1.0) & (slope < 3.0)).all():
        raise ValueError(f"density_slope: expected values between 1 and 3 (2 is isothermal), got {slope.tolist()}")
    q = np.asarray(axis_ratio, dtype=np.float64)
    angle = angle_from_x_rad(angle_deg)
    scale = np.asarray(theta_e_arcsec, dtype=np.float64) * np.sqrt(q)
    columns = (x_arcsec, y_arcsec, np.cos(angle), np.sin(angle), q, slope - 1.0, scale, shear_g1, shear_g2)
    return PowerLawConstants(*_tensors(columns, dtype))


def _tensors(columns: tuple[ArrayLike, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    length = np.broadcast(*columns).size
    return [torch.tensor(np.broadcast_to(np.asarray(c, np.float64), (length,)).copy()).to(dtype) for c in columns]


def mass_columns(mass: Mass, rows: torch.Tensor, trailing_axis: bool = False) -> Mass:
    """Return the constants of the lenses `rows`, shape (len(rows),) or, to broadcast over points, (len(rows), 1)."""
    columns = [column.index_select(0, rows) for column in mass]
    return type(mass)(*(column[:, None] for column in columns)) if trailing_axis else type(mass)(*columns)


def mass_to(mass: Mass, device: torch.device) -> Mass:
    """Return the constants on a device."""
    return type(mass)(*(column.to(device) for column in mass))


def deflection(
    x_arcsec: torch.Tensor, y_arcsec: torch.Tensor, mass: Mass
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (alpha_x, alpha_y, 2 kappa/(2 - t)) at stamp positions, shapes broadcast with `mass`.

    Deflections are in arcsec. The third is the mean convergence inside the ellipse through the point, 2 kappa for an
    isothermal lens.
    """
    dx = x_arcsec - mass.x_arcsec
    dy = y_arcsec - mass.y_arcsec
    along = torch.addcmul(mass.cosine * dx, mass.sine, dy)
    across = torch.addcmul(mass.cosine * dy, mass.sine, dx, value=-1.0)
    if isinstance(mass, MassConstants):
        alpha_along, alpha_across, convergence = _isothermal(along, across, mass)
    else:
        alpha_along, alpha_across, convergence = _power_law(along, across, mass)
    alpha_x = torch.addcmul(mass.cosine * alpha_along, mass.sine, alpha_across, value=-1.0)
    alpha_x.addcmul_(mass.shear_g1, dx).addcmul_(mass.shear_g2, dy)
    alpha_y = torch.addcmul(mass.sine * alpha_along, mass.cosine, alpha_across)
    alpha_y.addcmul_(mass.shear_g2, dx).addcmul_(mass.shear_g1, dy, value=-1.0)
    return alpha_x, alpha_y, convergence


def _isothermal(along: torch.Tensor, across: torch.Tensor, mass: MassConstants) -> tuple[torch.Tensor, ...]:
    """Return both deflections in the lens's own frame and 2 kappa; the arguments are used up."""
    squared = torch.addcmul(across * across, mass.axis_ratio_squared * along, along)
    scaled = squared.add_(CORE_ARCSEC_SQUARED).rsqrt_().mul_(mass.flattening)
    alpha_along = along.mul_(scaled).atan_().mul_(mass.amplitude_arcsec)
    # atanh written out: torch's own differs in the last bit between a tensor's body and its end.
    argument = across.mul_(scaled)
    alpha_across = (1.0 + argument).div_(1.0 - argument).log_().mul_(0.5 * mass.amplitude_arcsec)
    return alpha_along, alpha_across, scaled.mul_(mass.amplitude_arcsec)


def _power_law(along: torch.Tensor, across: torch.Tensor, mass: PowerLawConstants) -> tuple[torch.Tensor, ...]:
    """Return both deflections in the lens's own frame and the mean convergence.

    The series' n-th term is the one before times -F (2n - 2 + t)/(2n + 2 - t) exp(2 i phi) (their eq. 29); it is summed
    from the last term inwards, in real and imaginary parts.
    """
    q, t = mass.axis_ratio, mass.exponent
    scaled = q * along
    radius = torch.sqrt(scaled * scaled + across * across + CORE_ARCSEC_SQUARED)
    cosine, sine = scaled / radius, across / radius
    twice_cosine, twice_sine = cosine * cosine - sine * sine, 2.0 * cosine * sine
    ratio = (1.0 - q) / (1.0 + q)
    real, imaginary = torch.ones_like(radius), torch.zeros_like(radius)
    for term in range(SERIES_TERMS, 0, -1):
        factor = -ratio * (2.0 * term - 2.0 + t) / (2.0 * term + 2.0 - t)
        turned = twice_cosine * real - twice_sine * imaginary
        imaginary = factor * (twice_cosine * imaginary + twice_sine * real)
        real = 1.0 + factor * turned
    mean_convergence = torch.exp(t * torch.log(mass.scale_arcsec / radius))
    size = 2.0 / (1.0 + q) * mean_convergence * radius
    return size * (cosine * real - sine * imaginary), size * (cosine * imaginary + sine * real), mean_convergence


def largest_stretch(convergence: torch.Tensor, mass: Mass) -> torch.Tensor:
    """Return a bound on how much the lens map stretches a small distance, given the third result of `deflection`.

    No distance grows by more than |1 - kappa| + |gamma|, where gamma = (1 - t) alpha/z* - kappa z/z* (see `images`), so
    |gamma| <= kappa + |1 - t| m/q for mean convergence m, and nothing but kappa for an isothermal lens; external shear
    adds its own size. `convergence` is used up.
    """
    shear = torch.sqrt(mass.shear_g1.square() + mass.shear_g2.square())
    if isinstance(mass, MassConstants):
        return convergence.sub_(1.0).abs_().clamp_(min=1.0).add_(shear)
    t = mass.exponent
    outward = torch.clamp((2.0 - t) * convergence - 1.0, min=1.0)
    return outward + (1.0 - t).abs() / mass.axis_ratio * convergence + shear
