"""Legacy designs: small factorial grids of injections, kept so that earlier completeness studies can be repeated.

Every combination of the listed values is equally likely. Ellipticity is e = (1 - q)/(1 + q) of the mass; the shear has
the listed strength and a random direction; the source is `magnitude_difference` fainter in r than its host, whatever
the campaign's magnitude prior and its calibrated shift. All other parameters follow the campaign's priors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Configurations:
    """One value of each column for each of N injections."""

    theta_e_arcsec: NDArray[np.float64]
    magnitude_difference: NDArray[np.float64]
    half_light_radius_arcsec: NDArray[np.float64]
    axis_ratio: NDArray[np.float64]
    shear: NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """The values that are combined."""

    theta_e_arcsec: tuple[float, ...]
    magnitude_difference: tuple[float, ...]
    half_light_radius_arcsec: tuple[float, ...]
    ellipticity: tuple[float, ...]
    shear: tuple[float, ...]

    def combinations(self) -> NDArray[np.float64]:
        """Return all combinations, (configurations, 5), in the order of the fields."""
        values = (self.theta_e_arcsec, self.magnitude_difference, self.half_light_radius_arcsec, self.ellipticity,
                  self.shear)  # fmt: skip
        return np.array(list(product(*values)))

    def pick(self, share: NDArray[np.float64]) -> tuple[Configurations, float]:
        """Return the configurations at uniform numbers in [0, 1), and the log of each one's probability."""
        table = self.combinations()
        rows = table[np.minimum((share * len(table)).astype(np.int64), len(table) - 1)]
        theta_e, difference, radius, ellipticity, shear = rows.T
        ratio = (1.0 - ellipticity) / (1.0 + ellipticity)
        return Configurations(theta_e, difference, radius, ratio, shear), -float(np.log(len(table)))


DESIGNS: dict[str, Design] = {
    "grid_small": Design((0.3, 0.6, 1.0), (1.0, 2.0), (0.08, 0.15), (0.0, 0.3), (0.0, 0.03)),
    "grid_wide": Design(
        (0.5, 0.75, 1.0, 1.25, 1.5), (0.5, 1.0, 2.0, 3.0), (0.05, 0.1, 0.15, 0.25), (0.0, 0.3), (0.0, 0.03)
    ),
}
