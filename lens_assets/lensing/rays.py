"""Error-controlled ray shooting: where on the image plane the light of a source falls, as weighted points.

Surface brightness is conserved along a ray (Liouville), so the image is the source's brightness at
beta = theta - alpha(theta), integrated over cells. A uniform grid that a user would choose does not reach 1e-3 in
flux for small cuspy sources, so every pixel is the root of a quadtree that is split where the integration error
would matter. All cells of all stamps of one level are evaluated together.

Error of one cell of side h, brightness I, log-slope s = -dlnI/dlnr at elliptical radius r: a ray offset by half a
diagonal moves at most d = h/sqrt(2) * L / b in r, where L = max(1, |1 - 2 kappa|) + |shear| bounds the lens map and b
is the source's smallest half-width; so lnI varies by v = s d / r over the cell and the midpoint rule misses
I h^2 v^2 / 6 (h^2/24 Laplacian I with |grad lnI|^2 = 2 v^2 / h^2, both directions). Where the cell may contain the
source's centre, I and v are bounded by their values near the inner edge. A 2 x 2 Gauss-Legendre rule, exact to third
order, replaces a split where v is moderate and its own error term 0.008 I h^2 v^4 is small enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lens_assets.lensing.geometry import pixel_centres_arcsec
from lens_assets.lensing.light import LightConstants, surface_brightness
from lens_assets.lensing.mass import MassConstants, deflection

_Constants = tuple[MassConstants, LightConstants]

MAXIMUM_LEVEL = 9
"""Deepest split: pixels / 2^9, half a milliarcsecond."""

GAUSS_OFFSET = 0.5 / math.sqrt(3.0)
GAUSS_LARGEST_LOG_RANGE = 1.2
GAUSS_ERROR_FACTOR = 0.008
MIDPOINT_ERROR_FACTOR = 1.0 / 6.0
CACHED_PROFILES = 6
"""Profiles whose pixels are evaluated at a time, so that a core's cache holds the intermediate values."""

CENTRE_CELL_PIXELS = 0.3
"""Cells that touch the lens centre, where the deflection jumps, are split until they are this small."""


@dataclass(frozen=True)
class Profiles:
    """Lensed light profiles to shoot: profile i is drawn on stamp `stamp[i]`; several may share a stamp."""

    mass: MassConstants
    light: LightConstants
    stamp: torch.Tensor

    def __len__(self) -> int:
        return int(self.stamp.numel())

    def table(self) -> torch.Tensor:
        """Return all constants as one tensor, shape (constants, profiles), so that one gather serves a level."""
        return torch.stack([*self.mass, *self.light])


@dataclass(frozen=True)
class Rays:
    """Points that carry flux: stamp index, stamp position in arcsec, flux; equal lengths.

    Pixels that needed no split are kept apart, as `pixel_flux` (profiles, size, size) at pixel centres with the stamp
    of each profile: half of all rays, and a regular grid is deposited without looking for its cells.
    """

    stamp: torch.Tensor
    x_arcsec: torch.Tensor
    y_arcsec: torch.Tensor
    flux: torch.Tensor
    pixel_flux: torch.Tensor
    pixel_stamp: torch.Tensor


@dataclass(frozen=True)
class _Cells:
    profile: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor

    def select(self, mask: torch.Tensor) -> _Cells:
        return _Cells(self.profile[mask], self.x[mask], self.y[mask])

    def quarters(self, offset: float) -> _Cells:
        """The four points at (+-offset, +-offset) of every cell."""
        x = torch.cat([self.x - offset, self.x + offset, self.x - offset, self.x + offset])
        y = torch.cat([self.y - offset, self.y - offset, self.y + offset, self.y + offset])
        return _Cells(self.profile.repeat(4), x, y)


def shoot(profiles: Profiles, size_px: int, pixel_scale_arcsec: float, tolerance: float) -> Rays:
    """Return the rays of all profiles over stamps of `size_px` pixels a side.

    `tolerance` is the error allowed in one pixel, as a fraction of a profile's unlensed flux when that is one; 3e-5
    gives about 1e-4 of the total. The rays of a profile and their order do not depend on the other profiles.
    """
    table = profiles.table()
    pixel_flux, open_pixels, gauss_pixels = _shoot_pixels(table, size_px, pixel_scale_arcsec, tolerance)
    side = pixel_scale_arcsec
    found: list[tuple[_Cells, torch.Tensor]] = [_gauss(gauss_pixels, table, side)]
    cells = open_pixels
    for level in range(1, MAXIMUM_LEVEL + 1):
        if not len(cells.profile):
            break
        cells = cells.quarters(side / 4.0)
        side /= 2.0
        allowed = tolerance * side / pixel_scale_arcsec
        last = level == MAXIMUM_LEVEL
        flux, done, gauss = _classify(cells, _gather(table, cells.profile), side, pixel_scale_arcsec, allowed, last)
        found.append((cells.select(done), flux[done]))
        found.append(_gauss(cells.select(gauss), table, side))
        cells = cells.select(~(done | gauss))
    stamp = torch.cat([profiles.stamp[points.profile] for points, _ in found])
    x = torch.cat([points.x for points, _ in found])
    y = torch.cat([points.y for points, _ in found])
    flux = torch.cat([flux for _, flux in found])
    return Rays(stamp, x, y, flux, pixel_flux.view(-1, size_px, size_px), profiles.stamp)


def _shoot_pixels(
    table: torch.Tensor, size_px: int, pixel_scale_arcsec: float, tolerance: float
) -> tuple[torch.Tensor, _Cells, _Cells]:
    """Evaluate every pixel: (flux of those that are done, else 0; pixels to split; pixels for the Gauss rule)."""
    centres = torch.as_tensor(pixel_centres_arcsec(size_px, pixel_scale_arcsec)).to(table.dtype)
    x, y = centres.repeat(size_px)[None, :], centres.repeat_interleave(size_px)[None, :]
    fluxes, parts = [], []
    for start in range(0, table.shape[1], CACHED_PROFILES):
        part = table[:, start : start + CACHED_PROFILES, None]
        shape = (part.shape[1], size_px * size_px)
        profile = torch.arange(start, start + shape[0])[:, None].expand(shape)
        cells = _Cells(profile, x.expand(shape), y.expand(shape))
        flux, done, gauss = _classify(cells, _split(part), pixel_scale_arcsec, pixel_scale_arcsec, tolerance, False)
        fluxes.append(flux * done)
        parts.append((cells.select(~(done | gauss)), cells.select(gauss)))
    return torch.cat(fluxes), _join([pair[0] for pair in parts]), _join([pair[1] for pair in parts])


def _join(parts: list[_Cells]) -> _Cells:
    return _Cells(*(torch.cat([getattr(part, name) for part in parts]) for name in ("profile", "x", "y")))


def _gauss(cells: _Cells, table: torch.Tensor, side: float) -> tuple[_Cells, torch.Tensor]:
    """Return the 2 x 2 Gauss-Legendre points of cells and their fluxes."""
    points = cells.quarters(GAUSS_OFFSET * side)
    brightness, _, _, _ = _lensed_brightness(points, _gather(table, points.profile))
    return points, brightness * (side * side / 4.0)


def _split(rows: torch.Tensor) -> _Constants:
    masses = len(MassConstants._fields)
    return MassConstants(*rows[:masses]), LightConstants(*rows[masses:])


def _gather(table: torch.Tensor, profile: torch.Tensor) -> _Constants:
    return _split(table[:, profile])


def _lensed_brightness(
    cells: _Cells, constants: _Constants
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (brightness, log-slope, elliptical radius, 2 kappa) at cell centres on the image plane."""
    mass, light = constants
    alpha_x, alpha_y, two_kappa = deflection(cells.x, cells.y, mass)
    return (*surface_brightness(cells.x - alpha_x, cells.y - alpha_y, light), two_kappa)


def _classify(
    cells: _Cells, constants: _Constants, side: float, pixel: float, allowed: float, last: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (midpoint flux, cells that are done, cells for the Gauss rule)."""
    mass, light = constants
    brightness, slope, radius, two_kappa = _lensed_brightness(cells, constants)
    area = side * side
    flux = brightness * area
    if last:
        everything = torch.ones_like(flux, dtype=torch.bool)
        return flux, everything, ~everything
    lens_map = torch.clamp((two_kappa - 1.0).abs(), min=1.0) + torch.hypot(mass.shear_g1, mass.shear_g2)
    narrowest = torch.sqrt(torch.maximum(light.inverse_major_squared, light.inverse_minor_squared))
    reach = side / math.sqrt(2.0) * lens_map * narrowest
    log_range = slope * reach / torch.clamp(radius, min=1e-9)
    error = flux * log_range * log_range * MIDPOINT_ERROR_FACTOR
    cusp = radius <= 2.0 * reach
    if bool(cusp.any()):
        profile = LightConstants(*(constant.expand_as(cusp)[cusp] for constant in light))
        log_range[cusp], error[cusp] = _cusp_bounds(log_range[cusp], radius[cusp], reach[cusp], area, profile)
    dx, dy = cells.x - mass.x_arcsec, cells.y - mass.y_arcsec
    at_lens_centre = (dx * dx + dy * dy < 2.25 * area) & (side > CENTRE_CELL_PIXELS * pixel)
    done = (error < allowed) & ~at_lens_centre
    gauss_error = flux * log_range**4 * GAUSS_ERROR_FACTOR
    gauss = ~done & ~at_lens_centre & (log_range < GAUSS_LARGEST_LOG_RANGE) & (gauss_error < allowed)
    return flux, done, gauss


def _cusp_bounds(
    log_range: torch.Tensor, radius: torch.Tensor, reach: torch.Tensor, area: float, light: LightConstants
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bound (log range, error) of cells that may hold the source's centre by the profile at their inner edge."""
    exponent = 2.0 * light.half_inverse_index
    slope_at_reach = light.b_n * exponent * torch.exp(exponent * torch.log(reach + 1e-12))
    log_range = torch.maximum(log_range, slope_at_reach)
    inner = torch.maximum(radius - reach, 0.3 * reach)
    power = torch.exp(exponent * torch.log(inner))
    brightest = light.brightness_at_half_light * torch.exp(-light.b_n * (power - 1.0))
    return log_range, brightest * area * torch.clamp(log_range * log_range * MIDPOINT_ERROR_FACTOR, max=1.0)
