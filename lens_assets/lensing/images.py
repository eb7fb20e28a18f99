"""Image positions, their number, and the multiply imaged area of a power-law lens with shear.

The deflection of a power law is homogeneous, alpha = r^(1-t) A(phi) at theta = r e(phi) from the lens, t = 1 for an
isothermal one. With M = 1 - Gamma (Gamma the shear matrix) the lens equation r M e - r^(1-t) A = beta is solved along
M e for the radius of each direction, (r + b) for an isothermal lens and by bisection otherwise; there is an image
where the component across M e vanishes too: one bracketed root in one variable, for any shape and shear.

Of a lens steeper than isothermal every source has a counter-image, however faint: images below FAINTEST_IMAGE are not
counted. The central image of a shallower or singular lens is not counted either.

Magnification. With complex alpha and z: d alpha/dz = kappa, d alpha/dz* = gamma, and homogeneity gives
(1-t) alpha = z kappa + z* gamma. So gamma = (1-t) alpha/z* - kappa z/z*, and det A = (1-kappa)^2 - |gamma + g|^2.

Caustics. kappa and gamma fall as u = r^-t, so on the direction phi det A = D is a quadratic in u,
(K^2 - |G|^2) u^2 - 2 (K + Re(g* G)) u + 1 - |g|^2 = D, with K and G their values at r = 1. D = 0 is the tangential
critical curve (smaller u) and, of shallow lenses, the radial one; the cut of an isothermal lens is r -> 0, and that of
a steeper one is where counter-images reach FAINTEST_IMAGE. The lens map takes them to the source plane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lens_assets.lensing.mass import Mass, MassConstants, deflection, mass_columns

DIRECTIONS = 1440
"""Directions sampled for sign changes; two images closer than a quarter degree are merging and may be missed."""

BISECTIONS = 48

FAINTEST_IMAGE = 1e-3
"""Magnification below which counter-images of lenses steeper than isothermal do not count."""

KEPT_IMAGES = 4
"""Images whose positions are truth columns; an isothermal ellipsoid with small shear has no more."""


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

    def brightest(self, sources: int) -> NDArray[np.float64]:
        """Return x, y and magnification of each source's brightest images, (sources, KEPT_IMAGES, 3), NaN beyond."""
        table = np.full((sources, KEPT_IMAGES, 3), np.nan)
        order = np.lexsort((-np.abs(self.magnification), self.source))
        source = self.source[order]
        rank = np.arange(len(source)) - np.searchsorted(source, source)
        kept = rank < KEPT_IMAGES
        values = np.stack([self.x_arcsec, self.y_arcsec, self.magnification], axis=1)[order]
        table[source[kept], rank[kept]] = values[kept]
        return table


_Vector = tuple[torch.Tensor, torch.Tensor]
"""Real and imaginary part. torch's own complex product rounds differently at a tensor's end, so bytes would depend on
how many lenses are solved together; for the same reason powers are written as exponentials of logarithms."""


def _dot(a: _Vector, b: _Vector) -> torch.Tensor:
    """Return Re(conj(a) b)."""
    return a[0] * b[0] + a[1] * b[1]


def _cross(a: _Vector, b: _Vector) -> torch.Tensor:
    """Return Im(conj(a) b)."""
    return a[0] * b[1] - a[1] * b[0]


def _times(a: _Vector, b: _Vector) -> _Vector:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _power(base: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    return torch.exp(exponent * torch.log(base))


@dataclass(frozen=True)
class _Directions:
    """The unit deflection A and M e of lenses in directions phi from +x; tensors broadcast."""

    isothermal: bool
    exponent: torch.Tensor
    e: _Vector
    alpha: _Vector
    mapped: _Vector
    convergence: torch.Tensor
    shear: _Vector

    @staticmethod
    def of(mass: Mass, phi: torch.Tensor) -> _Directions:
        e = torch.cos(phi), torch.sin(phi)
        zero = torch.zeros_like(mass.shear_g1)
        unsheared = mass._replace(x_arcsec=zero, y_arcsec=zero, shear_g1=zero, shear_g2=zero)
        alpha_x, alpha_y, mean_convergence = deflection(*e, unsheared)
        isothermal = isinstance(mass, MassConstants)
        exponent = torch.ones_like(zero) if isinstance(mass, MassConstants) else mass.exponent
        shear = mass.shear_g1, mass.shear_g2
        sheared = _times(shear, (e[0], -e[1]))
        mapped = e[0] - sheared[0], e[1] - sheared[1]
        convergence = 0.5 * (2.0 - exponent) * mean_convergence
        return _Directions(isothermal, exponent, e, (alpha_x, alpha_y), mapped, convergence, shear)

    def radius(self, beta: _Vector) -> torch.Tensor:
        """Return the largest r at which the equation holds along M e; zero or negative where there is none."""
        length = torch.sqrt(_dot(self.mapped, self.mapped))
        along = _dot(self.mapped, self.alpha) / length
        offset = _dot(self.mapped, beta) / length
        if self.isothermal:
            return (offset + along) / length
        t = self.exponent
        # r s - r^(1-t) a = b: increasing for t >= 1; for t < 1 only beyond its minimum, at r^t = a (1 - t)/s.
        low = _power(torch.clamp(along * (1.0 - t) / length, min=1e-30), 1.0 / t)
        high = low + 2.0 * offset.abs() / length + _power(torch.clamp(2.0 * along / length, min=1e-30), 1.0 / t)

        def excess(r: torch.Tensor) -> torch.Tensor:
            return r * length - _power(r, 1.0 - t) * along - offset

        exists = excess(low) <= 0
        log_low, log_high = torch.log(low), torch.log(high)
        for _ in range(BISECTIONS):
            middle = 0.5 * (log_low + log_high)
            beyond = excess(torch.exp(middle)) > 0
            log_low, log_high = torch.where(beyond, log_low, middle), torch.where(beyond, middle, log_high)
        return torch.where(exists, torch.exp(0.5 * (log_low + log_high)), -torch.ones_like(log_low))

    def mismatch(self, beta: _Vector) -> torch.Tensor:
        """Return the component of the lens equation across M e at that radius; NaN where there is none."""
        if self.isothermal:
            return _cross(self.mapped, (beta[0] + self.alpha[0], beta[1] + self.alpha[1]))
        radius = self.radius(beta)
        fall = _power(radius.abs(), 1.0 - self.exponent)
        across = _cross(self.mapped, (beta[0] + fall * self.alpha[0], beta[1] + fall * self.alpha[1]))
        return torch.where(radius > 0, across, torch.nan)

    def unit_shear(self) -> _Vector:
        """Return the lens's own complex shear at r = 1; 1/e* = e and e/e* = e^2 for a unit vector."""
        squared = _times(self.e, self.e)
        turned = _times(self.alpha, self.e)
        rest = 1.0 - self.exponent
        return rest * turned[0] - self.convergence * squared[0], rest * turned[1] - self.convergence * squared[1]

    def determinant(self, radius: torch.Tensor) -> torch.Tensor:
        """Return det A at distances from the lens."""
        fall = _power(radius, -self.exponent)
        own = self.unit_shear()
        shear = fall * own[0] + self.shear[0], fall * own[1] + self.shear[1]
        return (1.0 - fall * self.convergence).square() - _dot(shear, shear)

    def curves(self) -> tuple[_Vector, _Vector]:
        """Return the tangential caustic and the outer edge of double imaging in the source plane, about the lens."""
        own = self.unit_shear()
        quadratic = self.convergence.square() - _dot(own, own)
        half_linear = self.convergence + _dot(self.shear, own)
        constant = 1.0 - _dot(self.shear, self.shear)

        def small_root(determinant: float) -> torch.Tensor:
            difference = constant - determinant
            root = torch.sqrt(torch.clamp(half_linear.square() - quadratic * difference, min=0.0))
            return difference / (half_linear + root)

        tangential = self._source_of(small_root(0.0))
        if self.isothermal:
            return tangential, (-self.alpha[0], -self.alpha[1])
        root = torch.sqrt(torch.clamp(half_linear.square() - quadratic * constant, min=0.0))
        radial = (half_linear + root) / torch.clamp(quadratic, min=1e-12)
        faint = small_root(-1.0 / FAINTEST_IMAGE)
        return tangential, self._source_of(torch.where(self.exponent < 1.0, radial, faint))

    def _source_of(self, fall: torch.Tensor) -> _Vector:
        """Return the source of the point at r^-t = fall in each direction."""
        radius = _power(fall, -1.0 / self.exponent)
        bend = _power(radius, 1.0 - self.exponent)
        return radius * self.mapped[0] - bend * self.alpha[0], radius * self.mapped[1] - bend * self.alpha[1]


def _double(mass: Mass) -> Mass:
    return type(mass)(*(column.double() for column in mass))


def find_images(mass: Mass, source_x_arcsec: NDArray[np.float64], source_y_arcsec: NDArray[np.float64]) -> Images:
    """Return every image of N point sources at stamp coordinates, each behind its own lens, ordered by source."""
    mass = _double(mass)
    beta_x = torch.tensor(np.array(source_x_arcsec, dtype=np.float64)) - mass.x_arcsec
    beta_y = torch.tensor(np.array(source_y_arcsec, dtype=np.float64)) - mass.y_arcsec
    every = torch.arange(len(beta_x))
    # The half step keeps the samples off the axes, where symmetric systems have their images.
    samples = (torch.arange(DIRECTIONS + 1, dtype=torch.float64) + 0.5) * (2.0 * math.pi / DIRECTIONS)
    directions = _Directions.of(mass_columns(mass, every, trailing_axis=True), samples[None, :])
    sampled = directions.mismatch((beta_x[:, None], beta_y[:, None]))
    before, after = sampled[:, :-1], sampled[:, 1:]
    crossing = ((before < 0) != (after < 0)) & ~(before.isnan() | after.isnan())
    source, step = torch.nonzero(crossing, as_tuple=True)
    low, high = samples[step], samples[step + 1]
    lens, beta = mass_columns(mass, source), (beta_x[source], beta_y[source])
    low_sign = sampled[source, step] < 0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        same = (_Directions.of(lens, middle).mismatch(beta) < 0) == low_sign
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    found = _Directions.of(lens, 0.5 * (low + high))
    radius = found.radius(beta)
    magnification = 1.0 / found.determinant(torch.clamp(radius, min=1e-12))
    real = radius > 1e-9
    if not isinstance(mass, MassConstants):
        real &= magnification.abs() >= FAINTEST_IMAGE
    return Images(
        source[real].numpy(),
        (lens.x_arcsec + radius * found.e[0])[real].numpy(),
        (lens.y_arcsec + radius * found.e[1])[real].numpy(),
        magnification[real].numpy(),
    )


def multiply_imaged_radius_arcsec(mass: Mass, directions: int = 720) -> NDArray[np.float64]:
    """Return how far the multiply imaged region reaches from the lens in each source-plane direction.

    Shape (N, directions), arcsec, directions evenly spaced from +x. The region is the union of what the cut (of
    shallow lenses the radial caustic) and the tangential caustic enclose; both are star-shaped about the lens.
    """
    mass = _double(mass)
    phi = torch.arange(4 * directions, dtype=torch.float64) * (2.0 * math.pi / (4 * directions))
    every = torch.arange(len(mass.x_arcsec))
    curves = _Directions.of(mass_columns(mass, every, trailing_axis=True), phi[None, :]).curves()
    reach = np.zeros((len(mass.x_arcsec), directions))
    wanted = np.arange(directions) * (2.0 * np.pi / directions)
    for curve_x, curve_y in curves:
        angle = np.arctan2(curve_y.numpy(), curve_x.numpy()) % (2.0 * np.pi)
        distance = torch.sqrt(curve_x.square() + curve_y.square()).numpy()
        for row in range(len(reach)):
            order = np.argsort(angle[row], kind="stable")
            # Closed by hand: interp's own `period` would sort again.
            around = np.concatenate([order[-1:], order, order[:1]])
            places = angle[row][around]
            places[0], places[-1] = places[0] - 2.0 * np.pi, places[-1] + 2.0 * np.pi
            reach[row] = np.maximum(reach[row], np.interp(wanted, places, distance[row][around]))
    return reach


def multiply_imaged_area_arcsec2(mass: Mass) -> NDArray[np.float64]:
    """Return the source-plane area with two or more images, shape (N,), arcsec^2 (cross-section of the lens)."""
    reach = multiply_imaged_radius_arcsec(mass)
    return np.asarray(np.pi * np.mean(reach**2, axis=1))
