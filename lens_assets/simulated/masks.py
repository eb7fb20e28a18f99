"""MASKBITS of a brick: bright and medium stars, saturated cores, and pixels without any image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lens_assets.survey.schemas import Maskbits
from lens_assets.survey.units import PIXEL_SCALE_ARCSEC, flux_to_mag

BRIGHT_STAR_MAG = 13.0
MEDIUM_STAR_MAG = 16.0
SATURATED_MAG = 15.0
_ALLMASK = {"g": Maskbits.ALLMASK_G, "r": Maskbits.ALLMASK_R, "z": Maskbits.ALLMASK_Z}
_SATURATED = Maskbits.SATUR_G | Maskbits.SATUR_R | Maskbits.SATUR_Z


def medium_radius_arcsec(mag: ArrayLike) -> NDArray[np.float64]:
    """Return the radius of a star's MEDIUM mask, 1630 x 1.396^-mag arcsec; the BRIGHT mask has half of it.

    Source: legacypipe, `reference.py` (mask_radius_for_mag) and legacysurvey.org/dr10/bitmasks.
    """
    return 1630.0 * 1.396 ** -np.asarray(mag, dtype=np.float64)


def saturated_radius_arcsec(mag: ArrayLike) -> NDArray[np.float64]:
    """Return the radius of a star's saturated core: 2 arcsec at magnitude 15, growing by a third each magnitude."""
    return 2.0 * 10.0 ** (0.12 * (SATURATED_MAG - np.asarray(mag, dtype=np.float64)))


def maskbits_map(objects: pd.DataFrame, exposures: Mapping[str, NDArray[np.int16]]) -> NDArray[np.int32]:
    """Return the MASKBITS plane of a brick, int32 (pixels, pixels), from its objects and exposure maps."""
    shape = exposures["r"].shape
    plane = np.zeros(shape, dtype=np.int32)
    stars = objects[objects["kind"].isin(["star", "bright_star"])]
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    mags = flux_to_mag(stars["flux_r"].to_numpy())
    for x, y, mag in zip(stars["x_px"], stars["y_px"], mags, strict=True):
        if mag >= MEDIUM_STAR_MAG:
            continue
        distance = np.hypot(rows - y, columns - x) * PIXEL_SCALE_ARCSEC
        plane[distance < medium_radius_arcsec(mag)] |= int(Maskbits.MEDIUM)
        if mag < BRIGHT_STAR_MAG:
            plane[distance < medium_radius_arcsec(mag) / 2.0] |= int(Maskbits.BRIGHT)
        if mag < SATURATED_MAG:
            plane[distance < saturated_radius_arcsec(mag)] |= int(_SATURATED)
    for band, bit in _ALLMASK.items():
        plane[exposures[band] == 0] |= int(bit)
    return plane
