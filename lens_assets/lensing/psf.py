"""The PSF: circular Moffat profiles, through their exact Fourier transform.

I(r) = (beta - 1)/(pi a^2) (1 + r^2/a^2)^-beta, a = FWHM / (2 sqrt(2^(1/beta) - 1)). Its transform at wavenumber k
(radians per arcsec), u = a k, is u^nu K_nu(u) 2^(1 - nu) / Gamma(nu) with nu = beta - 1 (Gradshteyn & Ryzhik 6.565.4).
For the half-integer orders of beta = 2.5, 3.5 and 4.5 the Bessel function is elementary, so nothing is truncated,
renormalised or sampled: total flux is one to infinity, and light in the wings beyond the stamp is lost as on the sky.
"""

from __future__ import annotations

import numpy as np
import torch

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
