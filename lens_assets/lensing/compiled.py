"""Rays of isothermal lenses compiled to machine code: `rays.shoot` and `Canvas.deposit` in one pass over a stamp.

The method, its constants and its errors are those of `rays` and `canvas`, which serve every lens and device. Here one
profile is followed from its blocks to its smallest cells while everything it needs stays in a core's cache: nothing is
gathered, and rays are deposited as they are found. Threads run beside each other, since the interpreter is let go.

Single precision, elementary functions included, from sums, products, quotients and roots alone. Each of these is
rounded once on every processor, so no byte depends on whether a loop runs in the lanes of a vector or, at its end, one
by one; functions of a library differ there in the last bit. The approximations are those of Cephes (Moshier, netlib,
single/{expf,logf,atanf,atanhf}.c), to 2e-7.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import torch
from numba.np.unsafe.ndarray import to_fixed_tuple

from lens_assets.lensing import rays
from lens_assets.lensing.canvas import CLOUD_BESIDE_CENTRE, OVERSAMPLING, Canvas
from lens_assets.lensing.light import CENTRE_RADIUS_SQUARED
from lens_assets.lensing.machine_code import compiled
from lens_assets.lensing.mass import CORE_ARCSEC_SQUARED, MassConstants

f32 = np.float32
_ZERO, _QUARTER, _HALF, _ONE, _ONE_AND_HALF, _TWO = map(f32, (0.0, 0.25, 0.5, 1.0, 1.5, 2.0))
_NEXT, _AFTER = np.uint64(1), np.uint64(2)

_LOG2_E, _LN2_HIGH, _LN2_LOW = f32(1.44269504088896341), f32(0.693359375), f32(-2.12194440e-4)
_EXP = tuple(map(f32, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                       5.0000001201e-1)))  # fmt: skip
_LOG = tuple(map(f32, (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
                       -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)))  # fmt: skip
_ATAN = tuple(map(f32, (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)))
_ATANH = tuple(map(f32, (1.81740078349e-1, 8.24370301058e-2, 1.46691431730e-1, 1.99782164500e-1, 3.33337300303e-1)))
_LARGEST_EXPONENT, _SQRT_HALF = f32(87.0), f32(0.707106781186547524)
_TAN_PI_8, _TAN_3_PI_8 = f32(0.4142135623730950), f32(2.414213562373095)
_PI_2, _PI_4 = f32(1.5707963267948966), f32(0.7853981633974483)
_BIAS, _MANTISSA_BITS, _MANTISSA, _HALF_BITS = np.int32(127), np.int32(23), np.int32(0x7FFFFF), np.int32(0x3F000000)


@compiled
def exp(x: Any) -> Any:
    """Return e^x; zero below x = -87, and beyond 87 that of 87."""
    vanishes = x < -_LARGEST_EXPONENT
    x = min(max(x, -_LARGEST_EXPONENT), _LARGEST_EXPONENT)
    whole = np.floor(x * _LOG2_E + _HALF)
    x = x - whole * _LN2_HIGH - whole * _LN2_LOW
    y = _EXP[0]
    for c in _EXP[1:]:
        y = y * x + c
    y = y * (x * x) + x + _ONE
    return _ZERO if vanishes else y * np.int32((np.int32(whole) + _BIAS) << _MANTISSA_BITS).view(f32)


@compiled
def log(x: Any) -> Any:
    """Return ln x of a positive normal number."""
    bits = f32(x).view(np.int32)
    exponent = f32((bits >> _MANTISSA_BITS) - _BIAS + np.int32(1))
    m = np.int32((bits & _MANTISSA) | _HALF_BITS).view(f32)
    low = m < _SQRT_HALF
    exponent = exponent - _ONE if low else exponent
    m = m + m - _ONE if low else m - _ONE
    z = m * m
    y = _LOG[0]
    for c in _LOG[1:]:
        y = y * m + c
    y = y * m * z + _LN2_LOW * exponent - _HALF * z
    return m + y + _LN2_HIGH * exponent


@compiled
def atan(x: Any) -> Any:
    """Return the angle whose tangent is x, radians."""
    a = abs(x)
    steep, middle = a > _TAN_3_PI_8, a > _TAN_PI_8
    numerator = -_ONE if steep else (a - _ONE if middle else a)
    denominator = a if steep else (a + _ONE if middle else _ONE)
    base = _PI_2 if steep else (_PI_4 if middle else _ZERO)
    a = numerator / denominator
    z = a * a
    y = _ATAN[0]
    for c in _ATAN[1:]:
        y = y * z + c
    return np.copysign(base + (y * z * a + a), x)


@compiled
def atanh(x: Any) -> Any:
    """Return the inverse hyperbolic tangent of |x| below one."""
    a = abs(x)
    z = a * a
    y = _ATANH[0]
    for c in _ATANH[1:]:
        y = y * z + c
    return np.copysign(y * z * a + a if a < _HALF else _HALF * log((_ONE + a) / (_ONE - a)), x)


LANES = 256
"""Points evaluated together: their workspace stays in a core's first cache."""

_CELLS = LANES // 4
_SPLIT, _DONE, _GAUSS = map(f32, (0.0, 1.0, 2.0))
_ROOT_HALF, _NEAR_LENS, _LEAST_REACH, _INNERMOST = f32(math.sqrt(0.5)), f32(1.5), f32(1e-12), f32(0.3)
_TINY = f32(np.finfo(f32).tiny)
_BLOCK = 4
_as_tuple: Any = to_fixed_tuple

_RULE = np.array([
    CORE_ARCSEC_SQUARED, CENTRE_RADIUS_SQUARED, rays.SMALLEST_LOG_RANGE, rays.LARGEST_LOG_RANGE,
    rays.GAUSS_LARGEST_LOG_RANGE, rays.GAUSS_ERROR_FACTOR, rays.MIDPOINT_ERROR_FACTOR, rays.RESOLVED_REACH,
    rays.CENTRE_CELL_PIXELS, rays.MERGED_PIXELS, rays.GAUSS_OFFSET, rays.BLOCK_MARGIN, CLOUD_BESIDE_CENTRE,
], dtype=f32)  # fmt: skip
"""What the compiled code is told of the method."""


@numba.njit(error_model="numpy", inline="always")
def _lensed_brightness(x: Any, y: Any, c: Any, core: Any, centre: Any) -> Any:
    """Return (brightness, r^(1/n), elliptical radius, 2 kappa) at a point of the image plane."""
    (lens_x, lens_y, cosine, sine, q_squared, flattening, amplitude, g1, g2, source_x, source_y, source_cosine,
     source_sine, major, minor, half_power, b_n, at_half_light) = c  # fmt: skip
    dx, dy = x - lens_x, y - lens_y
    along, across = cosine * dx + sine * dy, cosine * dy - sine * dx
    scaled = flattening / np.sqrt(q_squared * along * along + across * across + core)
    alpha_along, alpha_across = amplitude * atan(along * scaled), amplitude * atanh(across * scaled)
    u = x - (cosine * alpha_along - sine * alpha_across + g1 * dx + g2 * dy) - source_x
    v = y - (sine * alpha_along + cosine * alpha_across + g2 * dx - g1 * dy) - source_y
    p, r = source_cosine * u + source_sine * v, source_cosine * v - source_sine * u
    squared = p * p * major + r * r * minor + centre
    power = exp(half_power * log(squared))
    return at_half_light * exp(b_n * (_ONE - power)), power, np.sqrt(squared), scaled * amplitude


@compiled
def _shine(work: Any, points: int, c: Any, rule: Any, area: Any) -> None:
    """Fill the fluxes of rays of `area` each at the workspace's points."""
    xs, ys, fluxes = work[0:LANES], work[LANES : 2 * LANES], work[2 * LANES : 3 * LANES]
    for i in range(points):
        fluxes[i] = _lensed_brightness(xs[i], ys[i], c, rule[0], rule[1])[0] * area


@compiled
def _judge(
    work: Any, points: int, c: Any, rule: Any, side: Any, margin: Any, resolved: Any, near: Any, allowed: Any
) -> None:
    """Fill the midpoint fluxes of cells of a side at the workspace's points, and what is to become of each.

    `rays._midpoint`, `rays._judge` and `rays._bound_cusps`; what few need is computed for all lanes alike.
    Cells that reach `near` (arcsec) of the lens centre are split.
    """
    xs, ys, fluxes, verdicts = (
        work[0:LANES], work[LANES : 2 * LANES], work[2 * LANES : 3 * LANES], work[3 * LANES : 4 * LANES]
    )  # fmt: skip
    shear, area, near_squared = np.sqrt(c[7] * c[7] + c[8] * c[8]), side * side, near * near
    widest, exponent, b_n = side * _ROOT_HALF * np.sqrt(max(c[13], c[14])), c[15] + c[15], c[16]
    for i in range(points):
        brightness, power, radius, convergence = _lensed_brightness(xs[i], ys[i], c, rule[0], rule[1])
        flux = brightness * area
        reach = (max(abs(convergence * margin - _ONE), _ONE) + shear) * widest
        log_range = exponent * b_n * power * reach / radius
        growth = min(max(log_range, rule[2]), rule[3])
        rise = exp(growth)
        error = flux * ((rise - _ONE / rise) / (growth + growth) - _ONE)
        cusp = radius <= reach + reach
        inner = max(radius - reach, _INNERMOST * reach)
        brightest = c[17] * exp(b_n * (_ONE - exp(exponent * log(inner))))
        steepest = max(log_range, b_n * exponent * exp(exponent * log(reach + _LEAST_REACH)))
        log_range = steepest if cusp else log_range
        squared = log_range * log_range
        error = brightest * area * min(squared * rule[6], _ONE) if cusp else error
        dx, dy = xs[i] - c[0], ys[i] - c[1]
        hidden = (cusp and reach > resolved) or dx * dx + dy * dy < near_squared
        gauss = log_range < rule[4] and squared * squared * flux * rule[5] < allowed
        settled = _DONE if error < allowed else (_GAUSS if gauss else _SPLIT)
        fluxes[i], verdicts[i] = flux, _SPLIT if hidden else settled


@compiled
def _clouds(offset: Any) -> Any:
    """Return twice the shares of the cells before, at and after a ray: `canvas._cloud`."""
    before, after = _HALF - offset, _HALF + offset
    return before * before, _ONE_AND_HALF - _TWO * offset * offset, after * after


@compiled
def _deposit(grid: Any, x: Any, y: Any, flux: Any, frame: Any) -> None:
    """Share a ray among nine cells of a flat grid: `Canvas.deposit`. Unsigned indices are not checked for a sign.

    A ray that is nowhere leaves its stamp without a finite flux.
    """
    cells = frame[3]
    column, row = x * frame[1] + frame[2], y * frame[1] + frame[2]
    middle_column, middle_row = np.rint(column), np.rint(row)
    low, high = min(middle_column, middle_row), max(middle_column, middle_row)
    if not (low >= _ONE and high <= f32(cells - 2)):
        grid[0] = f32(np.nan)
        return
    place = np.uint64((np.int64(middle_row) - 1) * cells + np.int64(middle_column) - 1)
    left, own, right = _clouds(column - middle_column)
    for share in _clouds(row - middle_row):
        part = flux * _QUARTER * share
        grid[place] += part * left
        grid[place + _NEXT] += part * own
        grid[place + _AFTER] += part * right
        place += np.uint64(cells)


@compiled
def _quarter(work: Any, xs: Any, ys: Any, start: int, count: int, offset: Any) -> None:
    """Put the four points at (+-offset, +-offset) of cells into the workspace, those of one corner after another."""
    for i in range(count):
        x, y = xs[start + i], ys[start + i]
        for corner in range(4):
            work[corner * count + i] = x + offset if corner % 2 else x - offset
            work[LANES + corner * count + i] = y + offset if corner >= 2 else y - offset


@compiled
def _shoot_gauss(grid: Any, work: Any, xs: Any, ys: Any, cells: int, c: Any, rule: Any, side: Any, frame: Any) -> None:
    """Deposit the Gauss points of cells, or of small ones their centroid: `rays._shoot_gauss`."""
    offset, area = rule[10] * side, _QUARTER * side * side
    for start in range(0, cells, _CELLS):
        count = min(_CELLS, cells - start)
        _quarter(work, xs, ys, start, count, offset)
        _shine(work, 4 * count, c, rule, area)
        fluxes = work[2 * LANES : 3 * LANES]
        if side > rule[9] * frame[0]:
            for i in range(4 * count):
                _deposit(grid, work[i], work[LANES + i], fluxes[i], frame)
            continue
        for i in range(count):
            a, b, d, e = fluxes[i], fluxes[count + i], fluxes[2 * count + i], fluxes[3 * count + i]
            total = a + b + d + e
            lever = offset / max(total, _TINY)
            x, y = xs[start + i] + (b - a + e - d) * lever, ys[start + i] + (d - a + e - b) * lever
            _deposit(grid, x, y, total, frame)


@compiled
def _along(before: Any, own: Any, after: Any, value: Any, place: int) -> Any:
    """Return a block's `own` value carried on to its pixel `place`: `rays._along`."""
    line = own - before if place < _BLOCK // 2 else after - own
    line = min(max(line, -_TWO * value), _TWO * value)
    return value + line * ((f32(place) + _HALF) * _QUARTER - _HALF)


@compiled
def _interpolate(centres: Any, kept: Any, pixels: Any) -> None:
    """Add the pixels of the blocks that are kept: `rays._interpolate`. Beyond an edge, lines go on."""
    blocks = len(centres)
    row = np.empty(blocks, f32)
    for j in range(blocks):
        for place in range(_BLOCK):
            for i in range(blocks):
                own = centres[j, i]
                below = centres[j - 1, i] if j > 0 else own + own - centres[j + 1, i]
                above = centres[j + 1, i] if j < blocks - 1 else own + own - centres[j - 1, i]
                row[i] = _along(below, own, above, own, place)
            for i in range(blocks):
                if kept[j, i]:
                    own = row[i]
                    left = row[i - 1] if i > 0 else own + own - row[i + 1]
                    right = row[i + 1] if i < blocks - 1 else own + own - row[i - 1]
                    for step in range(_BLOCK):
                        pixels[_BLOCK * j + place, _BLOCK * i + step] += _along(left, own, right, own, step)


@compiled
def _shoot_blocks(pixels: Any, work: Any, axis: Any, c: Any, rule: Any, pixel: Any, allowed: Any) -> Any:
    """Add the pixels of smooth blocks; return the indices of the others: `rays._shoot_blocks`."""
    blocks, side = len(axis), f32(_BLOCK) * pixel
    centres, kept = np.empty((blocks, blocks), f32), np.empty((blocks, blocks), np.bool_)
    others, found = np.empty(blocks * blocks, np.int64), 0
    flat_centres, flat_kept = centres.reshape(-1), kept.reshape(-1)
    for start in range(0, blocks * blocks, LANES):
        count = min(LANES, blocks * blocks - start)
        for i in range(count):
            row = (start + i) // blocks
            work[i], work[LANES + i] = axis[start + i - row * blocks], axis[row]
        _judge(work, count, c, rule, side, rule[11], _ZERO, _NEAR_LENS * side, allowed)
        for i in range(count):
            smooth = work[3 * LANES + i] == _DONE
            flat_centres[start + i], flat_kept[start + i] = work[2 * LANES + i] / f32(_BLOCK * _BLOCK), smooth
            if not smooth:
                others[found] = start + i
                found += 1
    _interpolate(centres, kept, pixels)
    return others[:found]


@compiled
def _shoot_pixels(
    grid: Any, pixels: Any, work: Any, blocks: Any, axes: Any, c: Any, rule: Any, size: int, allowed: Any, frame: Any
) -> Any:
    """Add the pixels of blocks that are done, deposit Gauss rays; return the cells to split: `rays._shoot_pixels`."""
    block_axis, pixel_axis = axes
    pixel = frame[0]
    split_x, split_y = np.empty(16 * len(blocks), f32), np.empty(16 * len(blocks), f32)
    gauss_x, gauss_y = np.empty_like(split_x), np.empty_like(split_x)
    split = gauss = 0
    each = _BLOCK * _BLOCK
    columns, rows = np.empty(LANES // each, np.int64), np.empty(LANES // each, np.int64)
    for start in range(0, len(blocks), LANES // each):
        here = blocks[start : start + LANES // each]
        for k in range(len(here)):
            first_row = here[k] // len(block_axis) * _BLOCK
            first_column = here[k] * _BLOCK - first_row * len(block_axis)
            rows[k], columns[k] = first_row, first_column
            for step in range(each):
                work[each * k + step] = pixel_axis[first_column + (step & 3)]
                work[LANES + each * k + step] = pixel_axis[first_row + (step >> 2)]
        _judge(work, each * len(here), c, rule, pixel, _ONE, rule[7], _NEAR_LENS * pixel, allowed)
        for i in range(each * len(here)):
            column, row = columns[i >> 4] + (i & 3), rows[i >> 4] + ((i >> 2) & 3)
            if column >= size or row >= size:
                continue
            verdict = work[3 * LANES + i]
            if verdict == _DONE:
                pixels[row, column] += work[2 * LANES + i]
            elif verdict == _GAUSS:
                gauss_x[gauss], gauss_y[gauss] = work[i], work[LANES + i]
                gauss += 1
            else:
                split_x[split], split_y[split] = work[i], work[LANES + i]
                split += 1
    _shoot_gauss(grid, work, gauss_x, gauss_y, gauss, c, rule, pixel, frame)
    return split_x[:split], split_y[:split]


@compiled
def _shoot_quarters(
    grid: Any, work: Any, xs: Any, ys: Any, c: Any, rule: Any, side: Any, allowed: Any, last: Any, frame: Any
) -> Any:
    """Deposit the quarters of cells that are done; return those to split: `rays._shoot_quarters`."""
    near = _NEAR_LENS * side if side > rule[8] * frame[0] else _ZERO
    split_x, split_y = np.empty(4 * len(xs), f32), np.empty(4 * len(xs), f32)
    gauss_x, gauss_y = np.empty_like(split_x), np.empty_like(split_x)
    split = gauss = 0
    for start in range(0, len(xs), _CELLS):
        count = min(_CELLS, len(xs) - start)
        _quarter(work, xs, ys, start, count, _HALF * side)
        _judge(work, 4 * count, c, rule, side, _ONE, rule[7], near, allowed)
        for i in range(4 * count):
            verdict = _DONE if last else work[3 * LANES + i]
            if verdict == _DONE:
                _deposit(grid, work[i], work[LANES + i], work[2 * LANES + i], frame)
            elif verdict == _GAUSS:
                gauss_x[gauss], gauss_y[gauss] = work[i], work[LANES + i]
                gauss += 1
            else:
                split_x[split], split_y[split] = work[i], work[LANES + i]
                split += 1
    _shoot_gauss(grid, work, gauss_x, gauss_y, gauss, c, rule, side, frame)
    return split_x[:split], split_y[:split]


@compiled
def _spread(pixels: Any, grid: Any, size: int, beside: Any, cells: int) -> None:
    """Add whole pixels with the cloud of a ray at a cell's centre: `Canvas._deposit_pixels`."""
    own = _ONE - _TWO * beside
    before, row = np.zeros(2 * size + 1, f32), np.zeros(2 * size + 1, f32)
    for j in range(size + 1):
        for i in range(size):
            row[2 * i + 1] = own * pixels[j, i]
        row[0] = beside * pixels[j, 0]
        for i in range(size):
            row[2 * i + 2] = beside * (pixels[j, i] + pixels[j, i + 1])
        between = grid[(2 * j + 1) * cells + 1 : (2 * j + 2) * cells]
        middle = grid[(2 * j + 2) * cells + 1 : (2 * j + 3) * cells]
        for i in range(2 * size + 1):
            between[i] += beside * (before[i] + row[i])
            middle[i] += own * row[i]
        before, row = row, before


@compiled
def _draw_profile(
    grid: Any, pixels: Any, work: Any, axes: Any, c: Any, rule: Any, size: int, allowances: Any, levels: int, frame: Any
) -> None:
    """Draw one profile: whole pixels into `pixels`, rays onto the flat grid: `rays.shoot`."""
    block_allowed, allowed = allowances
    side = frame[0]
    blocks = _shoot_blocks(pixels, work, axes[0], c, rule, side, block_allowed)
    xs, ys = _shoot_pixels(grid, pixels, work, blocks, axes, c, rule, size, allowed, frame)
    for level in range(1, levels + 1):
        if len(xs) == 0:
            break
        side = side * _HALF
        xs, ys = _shoot_quarters(grid, work, xs, ys, c, rule, side, allowed, level == levels, frame)


@compiled
def _draw(
    grids: Any,
    table: Any,
    order: Any,
    stamp: Any,
    rule: Any,
    size: int,
    axes: Any,
    allowances: Any,
    levels: int,
    frame: Any,
) -> None:
    """Draw all profiles, those of one stamp after another, onto flat grids (stamps, cells^2).

    A profile whose constants are not finite leaves its stamp without a finite flux, so that its row is flagged.
    """
    work, pixels = np.empty(4 * LANES, f32), np.zeros((len(axes[1]) + 1, len(axes[1]) + 1), f32)
    for place in range(len(order)):
        profile = order[place]
        grid, c = grids[stamp[profile]], _as_tuple(table[profile], 18)
        if np.isfinite(table[profile]).all():
            _draw_profile(grid, pixels, work, axes, c, rule, size, allowances, levels, frame)
        else:
            grid[0] = f32(np.nan)
        if place == len(order) - 1 or stamp[order[place + 1]] != stamp[profile]:
            pixels[size:] = _ZERO
            pixels[:, size:] = _ZERO
            _spread(pixels, grid, size, rule[12], frame[3])
            pixels[:] = _ZERO


def _can_draw(profiles: rays.Profiles) -> bool:
    column = profiles.light.b_n
    single = column.dtype == torch.float32 and column.device.type == "cpu"
    return single and isinstance(profiles.mass, MassConstants) and profiles.inner_images


def light_on(canvas: Canvas, profiles: rays.Profiles, stamps: int, tolerance: float) -> torch.Tensor:
    """Return the light of profiles on the grids of a canvas, (stamps, cells, cells), up to `tolerance` (see `shoot`).

    Compiled for isothermal lenses with all their images, in single precision on a CPU; else by `shoot` and `deposit`.
    The bytes of a stamp depend on its own profiles and on nothing else.
    """
    if not _can_draw(profiles):
        return canvas.deposit(rays.shoot(profiles, canvas.size_px, canvas.pixel_scale_arcsec, tolerance), stamps)
    size, pixel = canvas.size_px, canvas.pixel_scale_arcsec
    blocks = -(-size // _BLOCK)
    pixel_axis = (np.arange(blocks * _BLOCK) - (size - 1) / 2.0) * pixel
    block_axis = (np.arange(blocks) * _BLOCK + (_BLOCK - size) / 2.0) * pixel
    grids = np.zeros((stamps, canvas.cells, canvas.cells), f32)
    table = np.stack([column.numpy() for column in (*profiles.mass, *profiles.light)], axis=1)
    stamp = profiles.stamp.numpy()
    frame = (f32(pixel), f32(1.0 / canvas.cell_arcsec), f32((size + 1) / 2.0 * OVERSAMPLING), canvas.cells)
    axes, allowances = (block_axis.astype(f32), pixel_axis.astype(f32)), (f32(tolerance / _BLOCK**2), f32(tolerance))
    order = np.argsort(stamp, kind="stable")
    _draw(grids.reshape(stamps, -1), table, order, stamp, _RULE, size, axes, allowances, rays.MAXIMUM_LEVEL, frame)
    return torch.from_numpy(grids)
