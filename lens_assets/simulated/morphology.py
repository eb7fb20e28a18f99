"""How each class of object looks: its components, as transforms of unit flux with their share of the light by band.

Smooth components are GalSim profiles; arms, rings, clumps and tails are flux maps on a finer grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.simulated.light import grid_spectrum, sersic_spectrum, wavenumbers
from lens_assets.sky.randomness import generator
from lens_assets.survey.units import BANDS, PIXEL_SCALE_ARCSEC, mag_to_flux

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complexfloating | np.floating]
_OVERSAMPLING = 4
_KNOT_CHANCE = 0.3
_TEXTURED = frozenset({"spiral", "ring", "merger", "blue_clumpy"})


@dataclass(frozen=True)
class Component:
    """Part of an object: a transform of unit flux, its share of the r light and its colour against the whole (mag)."""

    spectrum: ComplexArray
    share: float
    redder_g_minus_r: float = 0.0
    redder_r_minus_z: float = 0.0


def band_shares(components: list[Component]) -> list[dict[str, float]]:
    """Return each component's share of the flux in every band; in each band the shares sum to one."""
    raw = [
        {
            "g": part.share * float(mag_to_flux(22.5 + part.redder_g_minus_r)),
            "r": part.share,
            "z": part.share / float(mag_to_flux(22.5 + part.redder_r_minus_z)),
        }
        for part in components
    ]
    totals = {band: sum(shares[band] for shares in raw) for band in BANDS}
    return [{band: shares[band] / totals[band] for band in BANDS} for shares in raw]


def stamp_pixels(row: pd.Series) -> int:
    """Return the side of the area an object is drawn on: a power of two beyond which its light is below the noise."""
    kind = row["kind"]
    if kind == "bright_star":
        return 512
    flux = max(row["flux_r"], row["flux_z"])
    if kind == "star":
        return 256 if flux > 400 else 128 if flux > 10 else 64
    extent = row["radius_arcsec"] * (9.0 if row["sersic_index"] > 2 else 6.0) + 6.0
    wanted = 2.0 * extent / PIXEL_SCALE_ARCSEC
    if flux > 200:
        wanted *= 1.5
    largest = 128 if kind in _TEXTURED else 256
    return int(min(largest, max(64, 2 ** int(np.ceil(np.log2(wanted))))))


def components(row: pd.Series, pixels: int, seed: int) -> list[Component]:
    """Return the components of an object (a row of the population table); texture depends on its id alone."""
    builder = _BUILDERS.get(row["kind"], _smooth)
    return builder(row, pixels, generator(seed, str(row["object_id"]), "texture"))


def _sersic(row: pd.Series, pixels: int, index: float | None = None, scale: float = 1.0) -> ComplexArray:
    n = row["sersic_index"] if index is None else index
    return sersic_spectrum(pixels, n, row["radius_arcsec"] * scale, row["axis_ratio"], row["angle_deg"])


def _point(pixels: int) -> ComplexArray:
    return np.ones((pixels, pixels // 2 + 1), dtype=np.complex128)


def _plane(row: pd.Series, pixels: int) -> tuple[FloatArray, FloatArray]:
    """Return (radius in arcsec along the major axis, azimuth) in the plane of the object on the finer grid."""
    count = pixels * _OVERSAMPLING
    axis = (np.arange(count) - (count - 1) / 2.0) * PIXEL_SCALE_ARCSEC / _OVERSAMPLING
    turned = (axis[None, :] + 1j * axis[:, None]) * np.exp(-1j * np.radians(row["angle_deg"] + 90.0))
    plane = turned.real + 1j * turned.imag / row["axis_ratio"]
    return np.abs(plane), np.angle(plane)


def _map(light: FloatArray) -> ComplexArray:
    return grid_spectrum(light / light.sum(), _OVERSAMPLING)


def _smooth(row: pd.Series, pixels: int, rng: np.random.Generator) -> list[Component]:
    return [Component(_sersic(row, pixels), 1.0)]


def _early_type(row: pd.Series, pixels: int, rng: np.random.Generator) -> list[Component]:
    """A body, an envelope of another colour, and in three of ten blue knots within an arcsec of the centre.

    Metallicity gradients of early types are mild; residual star formation, faint disks and minor mergers widen the
    scatter (Kaviraj et al. 2007, ApJS 173, 619). Lens hosts and ordinary galaxies share the law. Without it any trace
    of blue light within the seeing disk would betray an arc, and a finder would need to look at cores only.
    """
    share, bluer = rng.uniform(0.15, 0.50), rng.normal(0.15, 0.25)
    envelope = _sersic(row, pixels, 1.2, rng.uniform(1.1, 1.7))
    parts = [
        Component(_sersic(row, pixels, scale=0.8), 1.0 - share),
        Component(envelope, share, -bluer, -0.7 * bluer + rng.normal(0.0, 0.06)),
    ]
    if rng.random() < _KNOT_CHANCE:
        total = min(rng.lognormal(np.log(0.06), 0.8), 0.3)
        colour, count = rng.uniform(0.4, 1.1), int(rng.integers(1, 4))
        for knot_share in rng.dirichlet(np.ones(count)) * total:
            knot = sersic_spectrum(pixels, 0.5, rng.uniform(0.1, 0.25), 1.0, 0.0)
            distance, angle = rng.uniform(0.1, 1.0) / PIXEL_SCALE_ARCSEC, rng.uniform(0.0, 2.0 * np.pi)
            parts.append(Component(_moved(knot, distance, angle), float(knot_share), -colour, -0.7 * colour))
    return parts


def _moved(spectrum: FloatArray, distance_px: float, angle_rad: float) -> ComplexArray:
    kx, ky = wavenumbers(spectrum.shape[0])
    return np.asarray(spectrum * np.exp(-1j * distance_px * (kx * np.cos(angle_rad) + ky * np.sin(angle_rad))))


def _star(row: pd.Series, pixels: int, rng: np.random.Generator) -> list[Component]:
    return [Component(_point(pixels), 1.0)]


def _bright_star(row: pd.Series, pixels: int, rng: np.random.Generator) -> list[Component]:
    """A point, four diffraction spikes falling as 1/r, a bleed trail along columns and a wide halo."""
    axis = np.arange(pixels) - (pixels - 1) / 2.0
    x, y = axis[None, :], axis[:, None]
    radius = np.hypot(x, y)
    turn = np.radians(rng.uniform(30.0, 60.0))
    spikes = np.zeros((pixels, pixels))
    for angle in (turn, turn + np.pi / 2):
        across = np.abs(-x * np.sin(angle) + y * np.cos(angle))
        spikes += np.exp(-0.5 * (across / 1.2) ** 2) / (radius + 6.0) * np.exp(-radius / 60.0)
    bleed = np.exp(-0.5 * (x / 1.5) ** 2) * (np.abs(y) < 60) * np.ones_like(radius)
    halo = (1.0 + (radius / 35.0) ** 2) ** -1.6 * (radius < pixels / 2)
    parts = [(spikes, 0.02), (bleed, 0.004), (halo, 0.01)]
    return [Component(_point(pixels), 0.966)] + [
        Component(grid_spectrum(light / light.sum(), 1), share) for light, share in parts
    ]


def _spiral(row: pd.Series, pixels: int, rng: np.random.Generator) -> list[Component]:
    """A red bulge and a disk with two or three logarithmic arms."""
    radius, azimuth = _plane(row, pixels)
    arms, pitch = int(rng.integers(2, 4)), np.radians(rng.uniform(14.0, 26.0))
    sense = 1.0 if rng.random() < 0.5 else -1.0
    winding = np.log(np.maximum(radius, 0.2)) / np.tan(pitch)
    wave = np.cos(arms * (sense * azimuth - winding) + rng.uniform(0.0, 2.0 * np.pi))
    scale = row["radius_arcsec"] / 1.678
    disk = np.exp(-radius / scale)
    arm_light = disk * np.exp(2.5 * wave) * (radius > 0.35 * row["radius_arcsec"])
    bulge = _sersic(row, pixels, 3.0, 0.22)
    return [
        Component(bulge, 0.22, 0.35, 0.25),
        Component(_map(disk), 0.38, 0.1, 0.05),
        Component(_map(arm_light), 0.40, -0.25, -0.2),
    ]


def _ring(row: pd.Series, pixels: int, rng: np.random.Generator) -> list[Component]:
    """A red body and a closed, uneven blue ring 1.6 to 3.2 arcsec in radius: no counter-image, no tangential gaps."""
    radius, azimuth = _plane(row, pixels)
    ring_radius, width = rng.uniform(1.6, 3.2), rng.uniform(0.25, 0.5)
    unevenness = 1.0 + 0.35 * np.cos(azimuth + rng.uniform(0, 6.3)) + 0.3 * np.cos(3 * azimuth + rng.uniform(0, 6.3))
    light = np.exp(-0.5 * ((radius - ring_radius) / width) ** 2) * np.maximum(unevenness, 0.1)
    share = rng.uniform(0.20, 0.38)
    return [
        Component(_sersic(row, pixels, 3.5, 0.7), 1.0 - share, 0.1, 0.05),
        Component(_map(light), share, -0.9, -0.55),
    ]


def _merger(row: pd.Series, pixels: int, rng: np.random.Generator) -> list[Component]:
    """The primary, with a tidal tail in two of five; its companions are objects of their own."""
    body = _sersic(row, pixels)
    if rng.random() > 0.4:
        return [Component(body, 1.0)]
    radius, azimuth = _plane(row, pixels)
    reach = row["radius_arcsec"] * rng.uniform(1.8, 2.6)
    along = np.mod(azimuth - rng.uniform(0, 2 * np.pi), 2 * np.pi)
    spine = reach * (0.7 + 0.35 * along)
    tail = np.exp(-0.5 * ((radius - spine) / 0.45) ** 2) * np.exp(-along / 1.1) * (along < 3.0)
    return [Component(body, 0.85, 0.02), Component(_map(tail), 0.15, -0.25, -0.1)]


def _edge_on(row: pd.Series, pixels: int, rng: np.random.Generator) -> list[Component]:
    bulge = sersic_spectrum(pixels, 2.5, 0.2 * row["radius_arcsec"], 0.8, row["angle_deg"])
    return [Component(_sersic(row, pixels), 0.85, -0.05, -0.03), Component(bulge, 0.15, 0.3, 0.2)]


def _blue_clumpy(row: pd.Series, pixels: int, rng: np.random.Generator) -> list[Component]:
    """A smooth blue disk with four to eight star-forming knots, most of them off centre."""
    count = pixels * _OVERSAMPLING
    axis = (np.arange(count) - (count - 1) / 2.0) * PIXEL_SCALE_ARCSEC / _OVERSAMPLING
    knots = np.zeros((count, count))
    for _ in range(int(rng.integers(4, 9))):
        x0, y0 = rng.normal(0.0, 0.8 * row["radius_arcsec"], size=2)
        size = rng.uniform(0.12, 0.25)
        x_part = np.exp(-0.5 * ((axis - x0) / size) ** 2)
        y_part = np.exp(-0.5 * ((axis - y0) / size) ** 2)
        knots += rng.uniform(0.3, 1.0) * y_part[:, None] * x_part[None, :]
    return [Component(_sersic(row, pixels), 0.5, 0.1, 0.1), Component(_map(knots), 0.5, -0.12, -0.12)]


def _pointy_core(row: pd.Series, pixels: int, rng: np.random.Generator) -> list[Component]:
    share = float(rng.uniform(0.15, 0.40))
    return [Component(_sersic(row, pixels, 4.0), 1.0 - share), Component(_point(pixels), share, -0.3, -0.2)]


_BUILDERS: dict[str, Callable[[pd.Series, int, np.random.Generator], list[Component]]] = {
    "lens": _early_type,
    "massive_early_type": _early_type,
    "early_type": _early_type,
    "star": _star,
    "bright_star": _bright_star,
    "spiral": _spiral,
    "ring": _ring,
    "merger": _merger,
    "edge_on": _edge_on,
    "blue_clumpy": _blue_clumpy,
    "pointy_core": _pointy_core,
}
