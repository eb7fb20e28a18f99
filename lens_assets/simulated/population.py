"""What stands in a brick: galaxies of every class, stars and their places, at catalogue level and without pixels.

One row an object. Fluxes are as observed (dust included), in nmgy, without the light of any arc. Radii are half-light
radii along the major axis (arcsec), position angles are East of North (deg), positions are zero-based brick pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.simulated_sky import PopulationSettings, SimulatedSkySettings
from lens_assets.simulated import distributions as measured
from lens_assets.sky.randomness import generator
from lens_assets.survey.units import PIXEL_SCALE_ARCSEC, mag_to_flux

Row = dict[str, Any]
Rng = np.random.Generator

STAMP_MARGIN_PX = 52
"""Closest distance to the brick edge at which a 101-pixel stamp fits."""

CONFUSER_KINDS = ("ring", "spiral", "merger", "edge_on", "blue_clumpy", "pointy_core")
BRIGHT_KINDS = ("lens", "massive_early_type", "early_type", "disk", *CONFUSER_KINDS)
KINDS = (*BRIGHT_KINDS, "companion", "faint", "star", "bright_star")

_COLOUR_COPULA = [[1.0, 0.45, 0.45], [0.45, 1.0, 0.75], [0.45, 0.75, 1.0]]


def _photometry(rng: Rng, mag_z: float, g_minus_r: float, r_minus_z: float) -> Row:
    mag_r = mag_z + r_minus_z
    z_minus_w1 = float(measured.Z_MINUS_W1.quantile(rng.random()))
    mags = {
        "g": mag_r + g_minus_r,
        "r": mag_r,
        "i": mag_r - 0.6 * r_minus_z,
        "z": mag_z,
        "w1": mag_z - z_minus_w1,
    }
    return {f"flux_{band}": float(mag_to_flux(mag)) for band, mag in mags.items()}


def _colours(rng: Rng, mag: measured.Percentiles, gr: measured.Percentiles, rz: measured.Percentiles) -> Row:
    u = measured.correlated_uniforms(rng, _COLOUR_COPULA)
    return _photometry(rng, float(mag.quantile(u[0])), float(gr.quantile(u[1])), float(rz.quantile(u[2])))


def _shape(tractor_type: str, radius: float, index: float, axis_ratio: float, rng: Rng) -> Row:
    return {
        "type": tractor_type,
        "radius_arcsec": radius,
        "sersic_index": index,
        "axis_ratio": axis_ratio,
        "angle_deg": float(rng.uniform(0.0, 180.0)),
    }


def _spheroid_shape(rng: Rng, tractor_type: str, brightness: float) -> Row:
    """Return the shape of an early type; `brightness` in [0, 1] (1 brightest) shifts it along the size law.

    REX is Tractor's round exponential for the barely resolved; what it stands for is small and of low index.
    """
    axis_ratio = float(np.clip(1.0 - abs(rng.normal(0.0, 0.24)), 0.45, 1.0))
    if tractor_type == "REX":
        radius = float(np.clip(rng.lognormal(np.log(0.75), 0.25), 0.35, 1.3))
        return _shape("REX", radius, float(rng.uniform(1.2, 2.5)), max(axis_ratio, 0.8), rng)
    u = float(np.clip(rng.normal(0.25 + 0.5 * brightness, 0.22), 0.02, 0.98))
    radius = float(measured.RADIUS_BY_TYPE[tractor_type].quantile(u))
    index = {"SER": float(np.clip(rng.lognormal(np.log(4.0), 0.25), 1.5, 6.0)), "DEV": 4.0, "EXP": 1.0}
    return _shape(tractor_type, radius, index[tractor_type], axis_ratio, rng)


def massive_early_type(rng: Rng, is_lens: bool = False) -> Row:
    """Draw a galaxy with the magnitudes, colours and sizes of known lenses; the same law serves lens hosts."""
    row = _colours(rng, measured.HOST_MAG_Z, measured.HOST_G_MINUS_R, measured.HOST_R_MINUS_Z)
    mag_z = 22.5 - 2.5 * np.log10(row["flux_z"])
    fractions = measured.LENS_TYPE_FRACTIONS if is_lens else measured.red_type_fractions(mag_z)
    brightness = float(np.clip((19.9 - mag_z) / 3.4, 0.0, 1.0))
    return row | _spheroid_shape(rng, measured.draw_type(fractions, rng.random()), brightness)


def early_type(rng: Rng) -> Row:
    """Draw an ordinary red galaxy (colours and magnitudes of DR10 red galaxies)."""
    row = _colours(rng, measured.RED_MAG_Z, measured.RED_G_MINUS_R, measured.RED_R_MINUS_Z)
    mag_z = 22.5 - 2.5 * np.log10(row["flux_z"])
    tractor_type = measured.draw_type(measured.red_type_fractions(mag_z), rng.random())
    return row | _spheroid_shape(rng, tractor_type, float(np.clip((20.4 - mag_z) / 3.0, 0.0, 1.0)))


def _disk_colours(rng: Rng) -> Row:
    return _colours(rng, measured.DISK_MAG_Z, measured.DISK_G_MINUS_R, measured.DISK_R_MINUS_Z)


def _brighter(row: Row, limit_mag_z: float) -> Row:
    """Scale a row's fluxes up so that its z magnitude is no fainter than the limit."""
    factor = max(1.0, float(mag_to_flux(limit_mag_z)) / row["flux_z"])
    return {name: value * factor if name.startswith("flux_") else value for name, value in row.items()}


def disk(rng: Rng) -> Row:
    """Draw a smooth disk: exponential, or a low Sersic index."""
    tractor_type = measured.draw_type({"EXP": 0.45, "SER": 0.35, "REX": 0.20}, rng.random())
    radius = float(measured.RADIUS_EXP_ARCSEC.quantile(rng.random()))
    index = float(rng.uniform(0.7, 1.8)) if tractor_type == "SER" else 1.0
    axis_ratio = 0.95 if tractor_type == "REX" else float(rng.uniform(0.35, 1.0))
    return _disk_colours(rng) | _shape(tractor_type, radius, index, axis_ratio, rng)


def spiral(rng: Rng) -> Row:
    """Draw a face-on spiral, large enough for its arms to show."""
    row = _brighter(_disk_colours(rng), 18.8)
    return row | _shape("SER", float(rng.uniform(1.8, 3.6)), 1.2, float(rng.uniform(0.6, 1.0)), rng)


def ring(rng: Rng) -> Row:
    """Draw a red galaxy with a blue ring; Tractor fits such wings with a high Sersic index or DEV."""
    row = _brighter(massive_early_type(rng), 19.0)
    tractor_type = "SER" if rng.random() < 0.7 else "DEV"
    index = float(rng.uniform(4.0, 6.0)) if tractor_type == "SER" else 4.0
    return row | _shape(tractor_type, float(rng.uniform(1.0, 2.4)), index, float(rng.uniform(0.7, 1.0)), rng)


def merger(rng: Rng) -> Row:
    """Draw the primary of an interacting or projected pair."""
    return massive_early_type(rng) if rng.random() < 0.6 else disk(rng)


def edge_on(rng: Rng) -> Row:
    """Draw a disk seen on its edge: b/a 0.12 to 0.3."""
    row = _brighter(_disk_colours(rng), 19.2)
    tractor_type = "EXP" if rng.random() < 0.6 else "SER"
    return row | _shape(tractor_type, float(rng.uniform(1.5, 4.0)), 1.0, float(rng.uniform(0.12, 0.30)), rng)


def blue_clumpy(rng: Rng) -> Row:
    """Draw a blue irregular galaxy with g - r below 0.4 and r brighter than 20.5."""
    mag_z, g_minus_r = rng.uniform(17.8, 19.8), rng.uniform(0.0, 0.38)
    row = _photometry(rng, float(mag_z), float(g_minus_r), float(rng.uniform(0.0, 0.3)))
    tractor_type = "EXP" if rng.random() < 0.5 else "SER"
    return row | _shape(tractor_type, float(rng.uniform(0.9, 2.4)), 0.9, float(rng.uniform(0.45, 1.0)), rng)


def pointy_core(rng: Rng) -> Row:
    """Draw an early type with an unresolved nucleus; Tractor fits it with the highest Sersic indices."""
    row = massive_early_type(rng)
    return row | _shape("SER", float(rng.uniform(0.7, 1.8)), 6.0, float(rng.uniform(0.6, 1.0)), rng)


def faint(rng: Rng) -> Row:
    """Draw a background galaxy fainter than z 20."""
    row = _colours(rng, measured.FAINT_MAG_Z, measured.FAINT_G_MINUS_R, measured.FAINT_R_MINUS_Z)
    tractor_type = measured.draw_type({"REX": 0.55, "EXP": 0.25, "DEV": 0.12, "SER": 0.08}, rng.random())
    radius = float(measured.RADIUS_FAINT_ARCSEC.quantile(rng.random()))
    index = {"DEV": 4.0, "SER": 2.0}.get(tractor_type, 1.0)
    return row | _shape(tractor_type, radius, index, 1.0 if tractor_type == "REX" else rng.uniform(0.3, 1.0), rng)


def _star(rng: Rng, mag_r: float) -> Row:
    g_minus_r = float(rng.uniform(0.2, 1.5))
    row = _photometry(rng, mag_r - (0.5 * g_minus_r + 0.05), g_minus_r, 0.5 * g_minus_r + 0.05)
    row["flux_w1"] = row["flux_z"] * float(mag_to_flux(22.5 + rng.normal(0.6, 0.2)))
    return row | {"type": "PSF", "radius_arcsec": 0.0, "sersic_index": 0.0, "axis_ratio": 1.0, "angle_deg": 0.0}


def star(rng: Rng) -> Row:
    """Draw a star of r 15.5 to 23, more of them towards the faint end."""
    return _star(rng, float(measured.STAR_MAG_R.quantile(np.sqrt(rng.random()))))


def bright_star(rng: Rng) -> Row:
    """Draw a saturated star with spikes and a halo."""
    return _star(rng, float(measured.BRIGHT_STAR_MAG_R.quantile(np.sqrt(rng.random()))))


def _lens_host(rng: Rng) -> Row:
    return massive_early_type(rng, is_lens=True)


DRAW: dict[str, Callable[[Rng], Row]] = {
    "lens": _lens_host,
    "massive_early_type": massive_early_type,
    "early_type": early_type,
    "disk": disk,
    "spiral": spiral,
    "ring": ring,
    "merger": merger,
    "edge_on": edge_on,
    "blue_clumpy": blue_clumpy,
    "pointy_core": pointy_core,
    "faint": faint,
    "star": star,
    "bright_star": bright_star,
}


def _companions(rng: Rng, parent: Row) -> list[Row]:
    """Return one or two neighbours 1.3 to 3.5 arcsec from a merger's primary, half of them blue."""
    rows = []
    for _ in range(1 + int(rng.random() < 0.35)):
        distance, angle = rng.uniform(1.3, 3.5) / PIXEL_SCALE_ARCSEC, rng.uniform(0.0, 2.0 * np.pi)
        mag_z = 22.5 - 2.5 * np.log10(parent["flux_z"]) + rng.uniform(0.7, 2.8)
        blue = rng.random() < 0.5
        colours = (
            (rng.uniform(0.1, 0.7), rng.uniform(0.1, 0.5)) if blue else (rng.uniform(0.9, 1.7), rng.uniform(0.6, 1.2))
        )
        row = _photometry(rng, float(mag_z), float(colours[0]), float(colours[1]))
        row |= _shape(
            "EXP" if blue else "DEV", float(rng.uniform(0.3, 0.9)), 1.0 if blue else 4.0, rng.uniform(0.4, 1.0), rng
        )
        row |= {"x_px": parent["x_px"] + distance * np.cos(angle), "y_px": parent["y_px"] + distance * np.sin(angle)}
        rows.append(row | {"kind": "companion"})
    return rows


class _Places:
    """Places of the systems of a brick: bright ones keep a distance from one another, as far as that can be had."""

    def __init__(self, rng: Rng, pixels: int, separation_px: float, margin_px: float = STAMP_MARGIN_PX) -> None:
        self.rng, self.pixels, self.separation_px, self.margin_px = rng, pixels, separation_px, margin_px
        self.taken: list[tuple[float, float]] = []

    def _within(self, margin: float) -> NDArray[np.float64]:
        return self.rng.uniform(margin, self.pixels - 1 - margin, size=2)

    def anywhere(self) -> tuple[float, float]:
        """Return a place at least 3 pixels from the edge."""
        x, y = self._within(3.0)
        return float(x), float(y)

    def near_the_edge(self) -> tuple[float, float]:
        """Return a place where a stamp does not fit the brick."""
        x, y = self._within(3.0)
        strip = float(self.rng.uniform(3.0, STAMP_MARGIN_PX - 4.0))
        return (strip, float(y)) if self.rng.random() < 0.5 else (float(x), self.pixels - 1 - strip)

    def apart(self) -> tuple[float, float]:
        """Return a place off the margin, apart from earlier ones; after 200 tries the last is taken."""
        for _ in range(200):
            x, y = self._within(self.margin_px)
            if all((x - u) ** 2 + (y - v) ** 2 >= self.separation_px**2 for u, v in self.taken):
                break
        self.taken.append((float(x), float(y)))
        return float(x), float(y)


def draw_brick(settings: SimulatedSkySettings, brickname: str) -> pd.DataFrame:
    """Return the objects of one brick, one row each, in the order drawn (`object_id` is unique over the sky)."""
    rng = generator(settings.seed, brickname, "population")
    population, pixels = settings.population, settings.layout.brick_pixels
    places = _Places(rng, pixels, population.minimum_separation_arcsec / PIXEL_SCALE_ARCSEC)

    def place() -> tuple[float, float]:
        return places.near_the_edge() if rng.random() < population.edge_fraction else places.apart()

    return _table(_systems(rng, population, pixels, places, place), brickname)


def draw_field(settings: SimulatedSkySettings, name: str, kind: str, pixels: int) -> pd.DataFrame:
    """Return the objects of a field of `pixels` a side about one object of a class, which is the first row.

    The others are as numerous as in a brick and keep the same distance. None of them is a lens: where the sky has
    one, an ordinary galaxy like its host stands instead, since no survey has two lenses within a stamp.
    """
    rng = generator(settings.seed, name, "population")
    population = settings.population
    ordinary = population.massive_early_type + population.lens
    rare = population.bright_star_fraction * (pixels / max(settings.layout.brick_pixels, pixels)) ** 2
    around = population.model_copy(update={"lens": 0, "massive_early_type": ordinary, "bright_star_fraction": rare})
    places = _Places(rng, pixels, population.minimum_separation_arcsec / PIXEL_SCALE_ARCSEC, 0.0)
    centre = (pixels - 1) / 2.0 + rng.uniform(-0.5, 0.5, size=2)
    places.taken.append((float(centre[0]), float(centre[1])))
    row = DRAW[kind](rng) | {"kind": kind, "x_px": float(centre[0]), "y_px": float(centre[1])}
    rows = [row, *(_companions(rng, row) if kind == "merger" else [])]
    return _table([*rows, *_systems(rng, around, pixels, places, places.apart)], name)


def _systems(
    rng: Rng,
    population: PopulationSettings,
    pixels: int,
    places: _Places,
    place: Callable[[], tuple[float, float]],
) -> list[Row]:
    """Return what an area of `pixels` a side holds; `place` returns the place of the next bright system."""
    area = (pixels / population.reference_pixels) ** 2
    rows: list[Row] = []
    for kind in (*BRIGHT_KINDS, "faint", "star"):
        expected = getattr(population, kind) * area
        for _ in range(int(expected + rng.random())):
            x, y = places.anywhere() if kind in ("faint", "star") else place()
            row = DRAW[kind](rng) | {"kind": kind, "x_px": x, "y_px": y}
            rows.append(row)
            rows += _companions(rng, row) if kind == "merger" else []
    if rng.random() < population.bright_star_fraction:
        x, y = places.anywhere()
        rows.append(bright_star(rng) | {"kind": "bright_star", "x_px": x, "y_px": y})
    return rows


def _table(rows: list[Row], name: str) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    table.insert(0, "object_id", [f"{name}-{index:04d}" for index in range(len(table))])
    table.insert(1, "brickname", name)
    return table
