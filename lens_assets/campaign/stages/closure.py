"""Settings of closure at scale: a simulated sky of its own, as stamps, on which completeness is held against truth.

The stage is optional; only a campaign whose sky is simulated has a `closure.yaml`. No asset of the lineage reads it:
`lens-assets closure` does.
"""

from __future__ import annotations

from lens_assets.campaign.base import Settings, setting
from lens_assets.campaign.stages.injection import RangeSettings


class ClosurePriorSettings(Settings):
    """Ranges of the injections' sources in place of those of `injection.yaml`, wide enough for the sky's lenses.

    A lens outside them would be predicted by extrapolation; such lenses are counted and left out.
    """

    mag_r: RangeSettings = setting("unlensed total r magnitude, uniform; no shift is added", "AB mag")
    half_light_radius_arcsec: RangeSettings = setting("half-light radius, log-uniform", "arcsec")
    axis_ratio: RangeSettings = setting("axis ratio of the source, uniform")
    beta_over_theta_e: RangeSettings = setting("source offset over theta_E, uniform per unit area")


class ClosureEstimateSettings(Settings):
    """How injections are carried over to the true lenses."""

    folds: int = setting("folds, by host, in which detectability is fitted and predicted", ge=2, le=20)
    detectability_bins: int = setting("equal bins of predicted detectability", ge=5, le=100)
    minimum_trials: int = setting("a stratum with fewer injections hands its lenses to a coarser one", ge=5)
    minimum_lenses: int = setting("fewer true lenses are NOT-EVALUATED", ge=1)
    maximum_bias: float = setting("largest |bias| of the predicted recall, and of its error", "fraction", gt=0, le=1)
    significance: float = setting("p-value below which the coverage of the intervals fails", gt=0, lt=0.5)


class ClosureSettings(Settings):
    """The stage `closure`."""

    seed: int = setting("seed of this sky and of its injections", ge=0)
    lenses: int = setting("true lenses drawn", ge=10, le=1_000_000)
    hosts: int = setting("other galaxies drawn, into which injections go", ge=10, le=1_000_000)
    pool: int = setting("injections drawn, spread evenly over the cells of the grid", ge=10, le=10_000_000)
    injections: int = setting("of these, rendered: about so many, chosen to be like the lenses", ge=10, le=10_000_000)
    batch_fields: int = setting("fields drawn, rendered and scored together", ge=1, le=10_000)
    batch_injections: int = setting("injections rendered and scored together", ge=1, le=10_000)
    workers: int = setting("processes; the result does not depend on it", ge=1, le=64)
    prior: ClosurePriorSettings = setting("ranges of the injected sources")
    estimate: ClosureEstimateSettings = setting("the comparison")
