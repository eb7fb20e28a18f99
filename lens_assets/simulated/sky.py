"""The simulated sky at catalogue level: its bricks, objects, lenses and what the survey's catalogue says of them."""

from __future__ import annotations

from dataclasses import dataclass

import healpy
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.simulated_sky import SimulatedSkySettings, SkyLayoutSettings
from lens_assets.simulated import lenses, population
from lens_assets.simulated.bricks import SWEEP_BLOCK_DEG, TangentPlane, bricks_between
from lens_assets.simulated.conditions import BrickConditions, draw_conditions, exposure_map
from lens_assets.simulated.masks import maskbits_map
from lens_assets.simulated.tractor import catalogue_of_brick
from lens_assets.sky.randomness import generator
from lens_assets.survey.units import BANDS, PIXEL_SCALE_ARCSEC

_PARTITION_NSIDE = 4
_SPLIT_NSIDE = 128


@dataclass(frozen=True)
class Brick:
    """One brick: its row of the survey's grid, its projection and its conditions."""

    name: str
    brickid: int
    release: int
    grid: dict[str, float]
    plane: TangentPlane
    conditions: BrickConditions
    incomplete_band: str
    """The band in which an area has no image; empty for complete bricks."""

    def exposures(self, seed: int) -> dict[str, NDArray[np.int16]]:
        """Return the exposure map of every band, (pixels, pixels)."""
        return {
            band: exposure_map(
                seed, self.name, band, self.conditions.bands[band].exposures, self.plane.pixels,
                band == self.incomplete_band,
            )
            for band in BANDS
        }  # fmt: skip


@dataclass(frozen=True)
class Sky:
    """Everything about the sky but its pixels.

    `objects`: the truth, one row an object (lens columns are null for others). `sources`: what the survey's catalogue
    holds, one row a source with every sweep column in upper case, plus `object_id`.
    """

    settings: SimulatedSkySettings
    bricks: tuple[Brick, ...]
    objects: pd.DataFrame
    sources: pd.DataFrame


def draw_sky(settings: SimulatedSkySettings) -> Sky:
    """Draw the whole sky from its seed, without any pixel. A brick depends on the seed and on its name alone."""
    bricks = choose_bricks(settings)
    drawn = [draw_brick(settings, brick) for brick in bricks]
    objects = pd.concat([objects for objects, _ in drawn], ignore_index=True)
    sources = pd.concat([sources for _, sources in drawn], ignore_index=True)
    return Sky(settings, bricks, objects, sources)


def draw_brick(settings: SimulatedSkySettings, brick: Brick) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (objects, sources) of one brick."""
    return describe(settings, brick, population.draw_brick(settings, brick.name), brick.exposures(settings.seed))


def describe(
    settings: SimulatedSkySettings, brick: Brick, objects: pd.DataFrame, exposures: dict[str, NDArray[np.int16]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (objects with positions, lens columns and galaxy_id; sources) of objects placed in a brick."""
    objects["ra"], objects["dec"] = brick.plane.to_sky(objects["x_px"].to_numpy(), objects["y_px"].to_numpy())
    objects = _with_lenses(objects, settings, brick.conditions)
    sources = catalogue_of_brick(
        objects, brick.conditions, exposures, maskbits_map(objects, exposures), brick.plane, settings
    )
    sources["RELEASE"], sources["BRICKID"], sources["BRICKNAME"] = brick.release, brick.brickid, brick.name
    ids = sources[sources["component"] == "whole"].set_index("object_id")
    keys = ids["RELEASE"].astype(str) + "_" + ids["BRICKID"].astype(str) + "_" + ids["OBJID"].astype(str)
    objects["galaxy_id"] = objects["object_id"].map(keys)
    return objects, sources


def _with_lenses(objects: pd.DataFrame, settings: SimulatedSkySettings, conditions: BrickConditions) -> pd.DataFrame:
    rows = {}
    for index, host in objects[objects["kind"] == "lens"].iterrows():
        drawn = lenses.draw_lens(settings.lenses, host, settings.seed)
        rows[index] = drawn | lenses.measure_arcs(pd.Series(host.to_dict() | drawn), settings, conditions)
    columns = pd.DataFrame.from_dict(rows, orient="index") if rows else pd.DataFrame()
    columns = columns.reindex(columns=list(LENS_COLUMNS), index=objects.index)
    columns["hidden"] = columns["hidden"].eq(True)
    return pd.concat([objects, columns.astype({name: "float64" for name in LENS_COLUMNS if name != "hidden"})], axis=1)


LENS_COLUMNS = (
    "hidden", "theta_e_arcsec", "lens_axis_ratio", "lens_angle_deg", "shear_g1", "shear_g2",
    "source_x_arcsec", "source_y_arcsec", "source_mag_r", "source_g_minus_r", "source_r_minus_z",
    "source_radius_arcsec", "source_sersic_index", "source_axis_ratio", "source_angle_deg", "magnification",
    *(f"arc_flux_{band}" for band in BANDS), *(f"arc_snr_{band}" for band in BANDS),
    "brightest_x_arcsec", "brightest_y_arcsec",
)  # fmt: skip


def choose_bricks(settings: SimulatedSkySettings) -> tuple[Brick, ...]:
    """Choose bricks of the survey's own grid, in turn from every sky partition, in distinct nside-128 cells.

    Bricks across a block edge or a partition edge come first, so that every seed has them.
    """
    layout = settings.layout
    rng = generator(settings.seed, "sky", "layout")
    table = _candidates(layout)
    table = table.iloc[rng.permutation(len(table))].reset_index(drop=True)
    chosen: list[int] = []
    _take(table, chosen, table.index[table["on_block_edge"]], layout.block_edge_bricks)
    _take(
        table, chosen, table.index[table["on_partition_edge"]], layout.block_edge_bricks + layout.partition_edge_bricks
    )
    ordinary = table[~table["on_partition_edge"]]
    turns = ordinary.groupby("partition").cumcount().sort_values(kind="stable").index
    _take(table, chosen, turns, layout.n_bricks)
    if len(chosen) < layout.n_bricks:
        raise ValueError(
            f"simulated_sky.layout.n_bricks is {layout.n_bricks}, but layout.sky_partitions at Dec "
            f"{layout.dec_min_deg} to {layout.dec_max_deg} deg hold only {len(chosen)} suitable bricks; "
            "name more partitions or ask for fewer bricks"
        )
    bricks = [_brick(settings, row, index) for index, row in enumerate(table.loc[chosen].to_dict("records"))]
    return tuple(sorted(bricks, key=lambda brick: brick.name))


def _take(table: pd.DataFrame, chosen: list[int], candidates: pd.Index, until: int) -> None:
    cells = {int(table.at[index, "cell"]) for index in chosen}
    for index in candidates:
        if len(chosen) >= until:
            return
        cell = int(table.at[index, "cell"])
        if cell not in cells:
            chosen.append(int(index))
            cells.add(cell)


def _candidates(layout: SkyLayoutSettings) -> pd.DataFrame:
    table = bricks_between(layout.dec_min_deg, layout.dec_max_deg)
    half_deg = layout.brick_pixels * PIXEL_SCALE_ARCSEC / 3600.0 / 2.0
    ra, dec = table["ra"].to_numpy(), table["dec"].to_numpy()
    ra_half = half_deg / np.cos(np.radians(dec))
    table["cell"] = healpy.ang2pix(_SPLIT_NSIDE, ra, dec, nest=True, lonlat=True)
    table["partition"] = healpy.ang2pix(_PARTITION_NSIDE, ra, dec, nest=True, lonlat=True)
    corners = np.stack([
        healpy.ang2pix(_PARTITION_NSIDE, ra + u * ra_half, dec + v * half_deg, nest=True, lonlat=True)
        for u in (-0.9, 0.9) for v in (-0.9, 0.9)
    ])  # fmt: skip
    wanted = [int(key.rsplit("-", 1)[1]) for key in layout.sky_partitions]
    table["on_partition_edge"] = (corners != corners[0]).any(axis=0)
    dec_offset = np.abs(dec - SWEEP_BLOCK_DEG * np.round(dec / SWEEP_BLOCK_DEG))
    table["on_block_edge"] = (dec_offset < half_deg) & ~table["on_partition_edge"]
    return table[np.isin(corners, wanted).all(axis=0)]


def _brick(settings: SimulatedSkySettings, row: dict[str, float], order: int) -> Brick:
    name = str(row["brickname"])
    layout = settings.layout
    incomplete = order >= layout.n_bricks - layout.incomplete_bricks
    release = settings.release if order % 10 else 10002
    return Brick(
        name=name,
        brickid=int(row["brickid"]),
        release=release,
        grid={key: row[key] for key in ("brickq", "brickrow", "brickcol", "ra", "dec", "ra1", "ra2", "dec1", "dec2")},
        plane=TangentPlane(float(row["ra"]), float(row["dec"]), layout.brick_pixels),
        conditions=draw_conditions(settings.seed, name, settings.pixels),
        incomplete_band=BANDS[order % len(BANDS)] if incomplete else "",
    )
