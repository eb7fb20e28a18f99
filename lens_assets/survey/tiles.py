"""Names of sweep files and the boxes of sky they cover; which files a sky partition has to read.

`sweep-<AAA>c<BBB>-<AAA>c<BBB>.fits` carries the lower-left and upper-right corner in degrees, c = p (plus) or
m (minus), in letters of either case. DR10 tiles are 5 x 5 deg; membership is half open (https://www.legacysurvey.org/dr10/files/).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lens_assets.sky.healpix import pixels_of_box

_NAME = re.compile(
    r"^sweep-(?P<ra1>\d{3})(?P<sign1>[pm])(?P<dec1>\d{3})-(?P<ra2>\d{3})(?P<sign2>[pm])(?P<dec2>\d{3})\.fits(?:\.gz|\.fz)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, order=True)
class SweepTile:
    """The box of sky of one sweep file, in degrees: ra1 <= ra < ra2 and dec1 <= dec < dec2."""

    name: str
    ra1: float
    ra2: float
    dec1: float
    dec2: float

    def contains(self, ra_deg: ArrayLike, dec_deg: ArrayLike) -> NDArray[np.bool_]:
        """Return True for positions inside the half-open box; a box may cross RA 0."""
        ra, dec = np.mod(np.asarray(ra_deg, np.float64), 360.0), np.asarray(dec_deg, np.float64)
        width = (self.ra2 - self.ra1) % 360.0 or 360.0
        return (np.mod(ra - self.ra1, 360.0) < width) & (dec >= self.dec1) & (dec < self.dec2)

    def pixels(self, nside: int, margin_arcsec: float) -> frozenset[int]:
        """Return the NESTED pixels that the tile, grown by the margin, touches."""
        return pixels_of_box(nside, self.ra1, self.ra2, self.dec1, self.dec2, margin_arcsec)


def parse_sweep_name(name: str) -> SweepTile | None:
    """Return the tile of a sweep file name (without folder), or None for any other name."""
    match = _NAME.match(name)
    if not match:
        return None
    dec1 = float(match["dec1"]) * (-1.0 if match["sign1"].lower() == "m" else 1.0)
    dec2 = float(match["dec2"]) * (-1.0 if match["sign2"].lower() == "m" else 1.0)
    ra1, ra2 = float(match["ra1"]), float(match["ra2"])
    if not (ra1 <= 360.0 and ra2 <= 360.0 and ra1 != ra2 and -90.0 <= dec1 < dec2 <= 90.0):
        return None
    return SweepTile(name, ra1, ra2, dec1, dec2)


def tiles_of_pixel(names: Iterable[str], nside: int, pixel: int, margin_arcsec: float) -> tuple[SweepTile, ...]:
    """Return the tiles among the file names that a partition and its margin need, sorted by name."""
    tiles = [tile for tile in map(parse_sweep_name, names) if tile is not None]
    return tuple(sorted(tile for tile in tiles if pixel in tile.pixels(nside, margin_arcsec)))
