"""Error-controlled ray shooting: where on the image plane the light of a source falls, as weighted points.

Surface brightness is conserved along a ray (Liouville), so the image is the source's brightness at
beta = theta - alpha(theta), integrated over cells. A uniform grid that a user would choose does not reach 1e-3 in
flux for small cuspy sources, so every pixel is the root of a quadtree that is split where the integration error
would matter; and pixels are evaluated one by one only where a block of them is not smooth. All cells of all stamps of
one level are evaluated together.

Error of one cell of side h, brightness I, log-slope s = -dlnI/dlnr at elliptical radius r: a ray offset by half a
diagonal moves at most d = h/sqrt(2) * L / b in r, where L bounds the lens map and b is the source's smallest
half-width; so lnI varies by v = s d / r over the cell. Of an exponential the midpoint rule misses
I h^2 (sinh(v)/v - 1), which is v^2/6 for small v. A cell that may contain the source's centre is split until it
resolves the source, d below RESOLVED_REACH half-light radii: a bright centre can hide between dark samples. From then
on I and v are bounded by their values near the inner edge. A 2 x 2 Gauss-Legendre rule, exact to third order, replaces
a split where v is moderate and its own error term 0.004 I h^2 v^4 is small enough.

Speed. Reading constants and coordinates by index costs more than the arithmetic, so the four children of a cell and
the four points of a Gauss rule share one gather: their arrays have shape (4, cells), the constants (cells,).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch

from lens_assets.lensing.light import LightConstants, surface_brightness
from lens_assets.lensing.mass import CORE_ARCSEC_SQUARED, Mass, deflection, largest_stretch, mass_to

MAXIMUM_LEVEL = 9
"""Deepest split: pixels / 2^9, half a milliarcsecond."""

GAUSS_OFFSET = 0.5 / math.sqrt(3.0)
GAUSS_LARGEST_LOG_RANGE = 1.2
GAUSS_ERROR_FACTOR = 0.004
MIDPOINT_ERROR_FACTOR = 1.0 / 6.0
SMALLEST_LOG_RANGE, LARGEST_LOG_RANGE = 0.01, 60.0
RESOLVED_REACH = 1.5
BLOCK_PIXELS = 4
"""Pixels along the side of the blocks that the stamp is first divided into."""

BLOCK_MARGIN = 2.0
"""Factor on the convergence at a block's centre: half the way to the lens, as its nearest corner may lie, it is twice
as large for an isothermal lens."""

CACHED_PROFILES = 48
"""Profiles whose blocks are evaluated at a time, so that a core's cache holds the intermediate values."""

TAPER_SLOPE = 16.0
"""Steepest -dln/dlnr of `outer_share` for an isothermal lens."""

CENTRE_CELL_PIXELS = 0.3
"""Cells that touch the lens centre, where the deflection jumps, are split until they are this small."""

MERGED_PIXELS = 0.2
"""Gauss rules of cells smaller than this become one ray at their centroid: what is lost, their second moment, is
below a hundredth of what the deposition on half pixels spreads anyway."""


@dataclass(frozen=True)
class Profiles:
    """Lensed light profiles to shoot: profile i is drawn on stamp `stamp[i]`; several may share a stamp.

    Without `inner_images`, light that comes through the region where an isothermal lens demagnifies is left out.
    """

    mass: Mass
    light: LightConstants
    stamp: torch.Tensor
    inner_images: bool = True

    def __len__(self) -> int:
        return int(self.stamp.numel())

    def to(self, device: torch.device) -> Profiles:
        """Return the same profiles on a device; everything made from them follows."""
        light = LightConstants(*(column.to(device) for column in self.light))
        return Profiles(mass_to(self.mass, device), light, self.stamp.to(device), self.inner_images)


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
class _Constants:
    """Constants of lenses and sources that broadcast with points."""

    mass: Mass
    light: LightConstants
    inner_images: bool


@dataclass(frozen=True)
class _Table:
    """All constants of all profiles as one tensor, (constants, profiles), so that one gather serves a level."""

    rows: torch.Tensor
    mass_kind: type[Mass]
    inner_images: bool

    @staticmethod
    def of(profiles: Profiles) -> _Table:
        rows = torch.stack([*profiles.mass, *profiles.light])
        return _Table(rows, type(profiles.mass), profiles.inner_images)

    def select(self, profile: torch.Tensor) -> _Constants:
        """Return the constants of cells, each (n,). `index_select` is five times faster than indexing."""
        return self._named(self.rows.index_select(1, profile))

    def group(self, start: int) -> _Constants:
        """Return the constants of the next few profiles, each (profiles, 1)."""
        return self._named(self.rows[:, start : start + CACHED_PROFILES, None])

    def _named(self, rows: torch.Tensor) -> _Constants:
        masses = len(self.mass_kind._fields)
        return _Constants(self.mass_kind(*rows[:masses]), LightConstants(*rows[masses:]), self.inner_images)


@dataclass(frozen=True)
class _Cells:
    """Cells of one side: profile and centre of each, shape (n,)."""

    profile: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor

    def select(self, index: torch.Tensor) -> _Cells:
        return _Cells(*(column.index_select(0, index) for column in (self.profile, self.x, self.y)))

    def corners(self, offset: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return x and y of the four points at (+-offset, +-offset) of every cell, each (4, n)."""
        left, right, below, above = self.x - offset, self.x + offset, self.y - offset, self.y + offset
        return torch.stack([left, right, left, right]), torch.stack([below, below, above, above])


@dataclass(frozen=True)
class _Points:
    """Rays of one step: profile, stamp position and flux of each, shape (n,)."""

    profile: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    flux: torch.Tensor


_Columns = TypeVar("_Columns", _Cells, _Points)


@dataclass(frozen=True)
class _Level:
    """What the cells of one level are judged by: their side, that of a pixel (arcsec) and the error allowed.

    `margin` multiplies the convergence that the stretch of a cell follows from.
    """

    side: float
    pixel: float
    allowed: float
    last: bool = False
    margin: float = 1.0


@dataclass(frozen=True)
class _Midpoint:
    """The midpoint rule of cells: flux, elliptical radius, how far the cell reaches in it, and how much ln I varies."""

    flux: torch.Tensor
    radius: torch.Tensor
    reach: torch.Tensor
    log_range: torch.Tensor
    lens_distance_squared: torch.Tensor

    def select(self, index: torch.Tensor) -> _Midpoint:
        return _Midpoint(*(getattr(self, column.name).view(-1).index_select(0, index) for column in fields(self)))

    def error(self) -> torch.Tensor:
        # sinh written out: torch's own differs in the last bit between a tensor's body and its end.
        growth = torch.clamp(self.log_range, min=SMALLEST_LOG_RANGE, max=LARGEST_LOG_RANGE)
        rise = torch.exp(growth)
        return (rise - 1.0 / rise).div_(2.0 * growth).sub_(1.0).mul_(self.flux)

    def near_cusp(self) -> torch.Tensor:
        return self.radius <= 2.0 * self.reach

    def near_lens_centre(self, level: _Level) -> torch.Tensor:
        return self.lens_distance_squared < 2.25 * level.side * level.side

    def far(self, level: _Level) -> torch.Tensor:
        """Return which cells are done without a closer look: small error, no cusp, no lens centre."""
        return (self.error() < level.allowed) & ~(self.near_cusp() | self.near_lens_centre(level))


def shoot(profiles: Profiles, size_px: int, pixel_scale_arcsec: float, tolerance: float) -> Rays:
    """Return the rays of all profiles over stamps of `size_px` pixels a side.

    `tolerance` is the error allowed in one cell of any size, as a fraction of a profile's unlensed flux when that is
    one; 1e-5 gives 2e-4 of the total, 6e-4 for the worst. The rays of a profile and their order do not depend on other
    profiles.
    """
    table = _Table.of(profiles)
    side = BLOCK_PIXELS * pixel_scale_arcsec
    block = _Level(side, pixel_scale_arcsec, tolerance / BLOCK_PIXELS**2, margin=BLOCK_MARGIN)
    pixel_flux, cells, first = _shoot_blocks(table, size_px, block)
    pixel = _Level(pixel_scale_arcsec, pixel_scale_arcsec, tolerance)
    found, cells = _shoot_pixels(table, cells, first, pixel_flux, size_px, pixel)
    for depth in range(1, MAXIMUM_LEVEL + 1):
        side = pixel_scale_arcsec * 0.5**depth
        level = _Level(side, pixel_scale_arcsec, tolerance, last=depth == MAXIMUM_LEVEL)
        leaves, cells = _shoot_quarters(table, cells, level)
        found += leaves
    rays = _join(_Points, found)
    stamp = profiles.stamp.index_select(0, rays.profile)
    return Rays(stamp, rays.x, rays.y, rays.flux, pixel_flux[:, :size_px, :size_px], profiles.stamp)


def _shoot_blocks(table: _Table, size_px: int, level: _Level) -> tuple[torch.Tensor, _Cells, torch.Tensor]:
    """Evaluate blocks of pixels: (flux of the pixels of smooth blocks, else 0; the other blocks; their first pixels).

    Far from the light, brightness varies little over a block, and its pixels follow from the centres of blocks by
    linear interpolation along both axes. Fluxes have shape (profiles, padded, padded), padded to whole blocks; a first
    pixel is an index into them flattened.
    """
    blocks, profiles = -(-size_px // BLOCK_PIXELS), table.rows.shape[1]
    padded = blocks * BLOCK_PIXELS
    pixel_flux = table.rows.new_empty(profiles, padded, padded)
    centres = torch.arange(blocks, dtype=torch.float64, device="cpu") * BLOCK_PIXELS + (BLOCK_PIXELS - size_px) / 2.0
    centres = (centres * level.pixel).to(table.rows)
    x, y = centres.repeat(blocks), centres.repeat_interleave(blocks)
    split = []
    for start in range(0, profiles, CACHED_PROFILES):
        midpoint = _midpoint(x, y, table.group(start), level)
        smooth = midpoint.far(level)
        split.append(_where(~smooth) + start * len(x))
        flux = midpoint.flux.view(-1, blocks, blocks).div_(BLOCK_PIXELS**2)
        _interpolate(flux, smooth.view(-1, blocks, blocks), pixel_flux[start : start + CACHED_PROFILES])
    index = torch.cat(split)
    profile = torch.div(index, len(x), rounding_mode="floor")
    block = index - profile * len(x)
    row = torch.div(block, blocks, rounding_mode="floor")
    first = profile * padded**2 + (row * padded + block - row * blocks) * BLOCK_PIXELS
    return pixel_flux, _Cells(profile, x.index_select(0, block), y.index_select(0, block)), first


def _interpolate(centres: torch.Tensor, kept: torch.Tensor, pixels: torch.Tensor) -> None:
    """Fill pixels (n, padded, padded) from the values at the centres of blocks (n, b, b); zero in those not kept."""
    count, blocks, _ = centres.shape
    rows = centres.new_empty(count, blocks, BLOCK_PIXELS, blocks)
    _along(centres, centres, rows.unbind(2), axis=1)
    own = rows * kept[:, :, None, :]
    shape = (count, blocks * BLOCK_PIXELS, blocks)
    _along(rows.view(shape), own.view(shape), pixels.view(*shape, BLOCK_PIXELS).unbind(3), axis=2)


def _along(centres: torch.Tensor, own: torch.Tensor, pixels: Sequence[torch.Tensor], axis: int) -> None:
    """Fill the pixels of blocks on the lines from their `own` value to neighbouring centres; at the edges lines go on.

    A neighbour beyond three times a block's own brightness is one that is split, and counts as three times it.
    """
    length = centres.shape[axis]
    rise = centres.narrow(axis, 1, length - 1) - centres.narrow(axis, 0, length - 1)
    before = torch.cat([rise.narrow(axis, 0, 1), rise], dim=axis)
    after = torch.cat([rise, rise.narrow(axis, length - 2, 1)], dim=axis)
    steepest = 2.0 * own
    flattest = -steepest
    for line, places in ((before, range(BLOCK_PIXELS // 2)), (after, range(BLOCK_PIXELS // 2, BLOCK_PIXELS))):
        line = torch.minimum(torch.maximum(line, flattest, out=line), steepest, out=line)
        for place in places:
            # Not add(alpha=...): whether that rounds once or twice depends on how many profiles there are.
            torch.add(own, line * ((place + 0.5) / BLOCK_PIXELS - 0.5), out=pixels[place])


def _shoot_pixels(
    table: _Table, blocks: _Cells, first: torch.Tensor, pixel_flux: torch.Tensor, size_px: int, level: _Level
) -> tuple[list[_Points], _Cells]:
    """Evaluate the pixels of blocks and put the flux of those that are done into `pixel_flux`: (Gauss rays, to split).

    Most of them are done at once, so only the few that are not are looked at closely. All blocks are evaluated
    together: the order of a stamp's rays, and so the rounding of their sums, is then the same in every batch.
    """
    step = torch.arange(BLOCK_PIXELS, device=first.device)
    column, row = step.repeat(BLOCK_PIXELS)[:, None], step.repeat_interleave(BLOCK_PIXELS)[:, None]
    offset = ((step - (BLOCK_PIXELS - 1) / 2.0) * level.pixel).to(table.rows)
    x, y = blocks.x + offset[column], blocks.y + offset[row]
    midpoint = _midpoint(x, y, table.select(blocks.profile), level)
    outside = torch.maximum(x.abs(), y.abs()) > 0.5 * size_px * level.pixel
    index = _where(~(midpoint.far(level) | outside))
    block = torch.remainder(index, len(blocks.x))
    near = _Cells(blocks.profile.index_select(0, block), *(axis.view(-1).index_select(0, index) for axis in (x, y)))
    done, gauss = _judge(midpoint.select(index), table.select(near.profile), level)
    midpoint.flux.view(-1).index_fill_(0, index.index_select(0, _where(~done)), 0.0)
    pixel_flux.view(-1).index_copy_(0, (first + row * pixel_flux.shape[2] + column).view(-1), midpoint.flux.view(-1))
    return [_shoot_gauss(table, near.select(_where(gauss)), level)], near.select(_where(~(done | gauss)))


def _shoot_quarters(table: _Table, parents: _Cells, level: _Level) -> tuple[list[_Points], _Cells]:
    """Evaluate the four quarters of cells twice as large: (rays of those that are done, cells to split)."""
    x, y = parents.corners(level.side / 2.0)
    constants = table.select(parents.profile)
    midpoint = _midpoint(x, y, constants, level)
    cells = _Cells(parents.profile.repeat(4), x.view(-1), y.view(-1))
    if level.last:
        return [_Points(cells.profile, cells.x, cells.y, midpoint.flux.view(-1))], cells.select(parents.profile[:0])
    done, gauss = _judge(midpoint, constants, level)
    index = _where(done)
    leaves = cells.select(index)
    rays = [_Points(leaves.profile, leaves.x, leaves.y, midpoint.flux.view(-1).index_select(0, index))]
    rays.append(_shoot_gauss(table, cells.select(_where(gauss)), level))
    return rays, cells.select(_where(~(done | gauss)))


def _shoot_gauss(table: _Table, cells: _Cells, level: _Level) -> _Points:
    """Return the 2 x 2 Gauss-Legendre points of cells and their fluxes; of small cells, one point at the centroid."""
    x, y = cells.corners(GAUSS_OFFSET * level.side)
    brightness = _lensed_brightness(x, y, table.select(cells.profile))[0]
    flux = brightness.mul_(level.side * level.side / 4.0)
    if level.side > MERGED_PIXELS * level.pixel:
        return _Points(cells.profile.repeat(4), x.view(-1), y.view(-1), flux.view(-1))
    total = flux[0] + flux[1] + flux[2] + flux[3]
    lever = GAUSS_OFFSET * level.side / torch.clamp(total, min=torch.finfo(total.dtype).tiny)
    to_right = (flux[1] - flux[0] + flux[3] - flux[2]) * lever
    upwards = (flux[2] - flux[0] + flux[3] - flux[1]) * lever
    return _Points(cells.profile, cells.x + to_right, cells.y + upwards, total)


def _where(mask: torch.Tensor) -> torch.Tensor:
    return torch.nonzero(mask.view(-1))[:, 0]


def _join(kind: type[_Columns], parts: list[_Columns]) -> _Columns:
    return kind(*(torch.cat([getattr(part, column.name) for part in parts]) for column in fields(kind)))


def _lensed_brightness(x: torch.Tensor, y: torch.Tensor, constants: _Constants) -> tuple[torch.Tensor, ...]:
    """Return (brightness, log-slope, elliptical radius, mean convergence) at points of the image plane."""
    alpha_x, alpha_y, convergence = deflection(x, y, constants.mass)
    brightness, slope, radius = surface_brightness(x - alpha_x, y - alpha_y, constants.light)
    if not constants.inner_images:
        brightness = brightness.mul_(outer_share(convergence))
    return brightness, slope, radius, convergence


def outer_share(convergence: torch.Tensor) -> torch.Tensor:
    """Return the share of light kept where inner images are suppressed, from the mean convergence m inside a point.

    An isothermal lens magnifies by 1/|1 - m|, so its demagnified inner images lie where m > 2. The edge is a smooth
    1/(1 + (m/2)^16), which keeps all but 2e-5 on the critical curve m = 1: a sharp one would have to be resolved.
    """
    return 1.0 / (1.0 + (0.5 * convergence).square().square().square().square())


def _midpoint(x: torch.Tensor, y: torch.Tensor, constants: _Constants, level: _Level) -> _Midpoint:
    """Evaluate the midpoint rule of cells and what its error follows from."""
    mass, light = constants.mass, constants.light
    brightness, slope, radius, convergence = _lensed_brightness(x, y, constants)
    narrowest = torch.sqrt(torch.maximum(light.inverse_major_squared, light.inverse_minor_squared))
    taper = None if constants.inner_images else TAPER_SLOPE * (1.0 - outer_share(convergence))
    reach = largest_stretch(convergence * level.margin, mass).mul_(level.side / math.sqrt(2.0) * narrowest)
    log_range = slope.mul_(reach).div_(radius)
    dx, dy = x - mass.x_arcsec, y - mass.y_arcsec
    lens_distance_squared = dx.square_().addcmul_(dy, dy)
    if taper is not None:
        log_range += taper * (level.side / math.sqrt(2.0)) * torch.rsqrt(lens_distance_squared + CORE_ARCSEC_SQUARED)
    return _Midpoint(brightness.mul_(level.side * level.side), radius, reach, log_range, lens_distance_squared)


def _judge(midpoint: _Midpoint, constants: _Constants, level: _Level) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (cells that are done, cells for the Gauss rule); the rest is to be split."""
    flux, log_range = midpoint.flux, midpoint.log_range
    error = midpoint.error()
    at_cusp = _where(midpoint.near_cusp())
    if len(at_cusp):
        _bound_cusps(at_cusp, midpoint, error, level.side * level.side, constants.light)
    gauss_error = (log_range * log_range).square_().mul_(flux).mul_(GAUSS_ERROR_FACTOR)
    done, gauss = error < level.allowed, (log_range < GAUSS_LARGEST_LOG_RANGE) & (gauss_error < level.allowed)
    settled = ~(midpoint.near_cusp() & (midpoint.reach > RESOLVED_REACH))
    if level.side > CENTRE_CELL_PIXELS * level.pixel:
        settled &= ~midpoint.near_lens_centre(level)
    done, gauss = done & settled, gauss & settled
    return done, gauss & ~done


def _bound_cusps(
    at_cusp: torch.Tensor, midpoint: _Midpoint, error: torch.Tensor, area: float, light: LightConstants
) -> None:
    """Replace log range and error of cells that may hold the source's centre by the profile's at their inner edge."""
    columns = (midpoint.log_range, midpoint.radius, midpoint.reach,
               light.half_inverse_index, light.b_n, light.brightness_at_half_light)  # fmt: skip
    log_range, radius, reach, half_inverse_index, b_n, at_half_light = (
        column.expand_as(error).reshape(-1).index_select(0, at_cusp) for column in columns
    )
    exponent = 2.0 * half_inverse_index
    slope_at_reach = b_n * exponent * torch.exp(exponent * torch.log(reach + 1e-12))
    log_range = torch.maximum(log_range, slope_at_reach)
    inner = torch.maximum(radius - reach, 0.3 * reach)
    brightest = at_half_light * torch.exp(-b_n * (torch.exp(exponent * torch.log(inner)) - 1.0))
    worst = brightest * area * torch.clamp(log_range * log_range * MIDPOINT_ERROR_FACTOR, max=1.0)
    midpoint.log_range.view(-1).index_copy_(0, at_cusp, log_range)
    error.view(-1).index_copy_(0, at_cusp, worst)
