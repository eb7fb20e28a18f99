"""Where things are on a stamp and which way angles run. What is drawn there belongs in the other modules.

Stamp axes. A stamp is an array [row, column] with odd side; its centre pixel's centre is (0, 0) arcsec.
`x_arcsec` grows with the column and `y_arcsec` with the row. DR10 coadds are TAN images with CD1_1 < 0 and
CD2_2 > 0, so **+x is West and +y is North** (seen on the sky: North up, East left).

Angles. Columns named `*_angle_deg` are position angles of the major axis, East of North, as in the Tractor
catalogs. East of North turns from +y towards -x, that is counter-clockwise on the stamp, so the angle from +x
(lenstronomy, GalSim) is `angle_deg + 90`. COOLEST measures from +y counter-clockwise and needs no change.

Shear `(shear_g1, shear_g2)` is in stamp axes: g1 > 0 stretches images along x (East-West), as in lenstronomy's
`SHEAR`; the position angle of the stretch is `0.5 * atan2(g2, g1) - 90` degrees East of North.

Radii. `theta_e_arcsec` and half-light radii are product averages of the axes (sqrt(a b)), as in lenstronomy,
GalSim and COOLEST. Tractor's SHAPE_R is the major axis: multiply by sqrt(b/a) to compare.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def angle_from_x_rad(angle_deg: ArrayLike) -> NDArray[np.float64]:
    """Return the angle counter-clockwise from +x (radians) of a position angle East of North (degrees)."""
    return np.deg2rad(np.asarray(angle_deg, dtype=np.float64) + 90.0)


def position_angle_deg(angle_from_x: ArrayLike) -> NDArray[np.float64]:
    """Return the position angle East of North in [0, 180) degrees of an angle from +x in radians."""
    return np.mod(np.rad2deg(np.asarray(angle_from_x, dtype=np.float64)) - 90.0, 180.0)


def pixel_centres_arcsec(size_px: int, pixel_scale_arcsec: float) -> NDArray[np.float64]:
    """Return the coordinate of every pixel centre along one axis, shape (size_px,), zero at the middle."""
    return (np.arange(size_px, dtype=np.float64) - (size_px - 1) / 2.0) * pixel_scale_arcsec
