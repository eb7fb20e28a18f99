"""Fields of the simulated sky: one object and what surrounds it, with conditions of its own, without any file.

A field is a piece of a brick no larger than a stamp needs, drawn, catalogued and rendered by the same functions as
bricks are. Lossy compression is left out: its step is far below the noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.simulated_sky import SimulatedSkySettings
from lens_assets.simulated import population
from lens_assets.simulated.bricks import TangentPlane
from lens_assets.simulated.coadds import render_pixels
from lens_assets.simulated.conditions import draw_conditions, exposure_map
from lens_assets.simulated.sky import Brick, describe
from lens_assets.sky.randomness import generator
from lens_assets.survey.units import BANDS

FIELD_MARGIN_PX = 14
"""What a field shows beyond the stamp on each side, so that light of neighbours outside the stamp falls on it."""


@dataclass(frozen=True)
class Field:
    """A field about one object: `truth` is that object's row, `source` what the survey catalogues of it.

    `source` has one row, with sweep columns in upper case, or none where the object is below the catalogue's limit.
    """

    name: str
    brick: Brick
    objects: pd.DataFrame
    exposures: dict[str, NDArray[np.int16]]
    truth: pd.Series
    source: pd.DataFrame

    def position_px(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the zero-based pixel position that the catalogue gives the object, each of the length of `source`."""
        return self.brick.plane.to_pixels(self.source["RA"].to_numpy(float), self.source["DEC"].to_numpy(float))


def draw_field(settings: SimulatedSkySettings, name: str, kind: str, stamp_pixels: int) -> Field:
    """Draw the field of one object of a class (`population.KINDS`) for a stamp of `stamp_pixels` a side.

    It depends on the sky's seed and on `name` alone. Position, conditions and coverage are those of a random place of
    the sky; the width of the PSF changes over it as over the same piece of a brick.
    """
    pixels = stamp_pixels + 2 * FIELD_MARGIN_PX
    brick, exposures = _place(settings, name, pixels)
    objects = population.draw_field(settings, name, kind, pixels)
    objects, sources = describe(settings, brick, objects, exposures)
    centre = objects.iloc[0]
    own = sources[(sources["object_id"] == centre["object_id"]) & (sources["component"] == "whole")]
    return Field(name, brick, objects, exposures, centre, own)


def _place(settings: SimulatedSkySettings, name: str, pixels: int) -> tuple[Brick, dict[str, NDArray[np.int16]]]:
    rng = generator(settings.seed, name, "field")
    layout, side = settings.layout, max(settings.layout.brick_pixels, pixels)
    ra = float(rng.uniform(0.0, 360.0))
    low, high = np.sin(np.radians([layout.dec_min_deg, layout.dec_max_deg]))
    plane = TangentPlane(ra, float(np.degrees(np.arcsin(rng.uniform(low, high)))), pixels)
    within = settings.pixels.model_copy(update={"psf_gradient": settings.pixels.psf_gradient * pixels / side})
    conditions = draw_conditions(settings.seed, name, within)
    brick = Brick(name, 1, settings.release, {}, plane, conditions, "")
    y, x = rng.integers(0, side - pixels + 1, size=2)
    exposures = {
        band: exposure_map(settings.seed, name, band, conditions.bands[band].exposures, side, False)[
            y : y + pixels, x : x + pixels
        ]
        for band in BANDS
    }
    return brick, exposures


def render_field(settings: SimulatedSkySettings, field: Field) -> Mapping[tuple[str, str], NDArray[Any]]:
    """Return the planes of a field by (product, band): image, invvar, nexp and psfsize of each band, and maskbits."""
    coadd = render_pixels(settings, field.brick, field.objects, field.exposures)
    planes: dict[tuple[str, str], NDArray[Any]] = {("maskbits", ""): coadd.maskbits}
    for product in ("image", "invvar", "nexp", "psfsize"):
        planes |= {(product, band): values for band, values in getattr(coadd, product).items()}
    return planes
