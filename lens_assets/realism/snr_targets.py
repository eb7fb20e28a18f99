"""Brightness by stated targets: the one shift at which injected arcs have the signal-to-noise that a campaign asks for.

The alternative to a fit to anchors, kept so that studies which chose their arcs by signal-to-noise can be repeated. No
injection is rejected and no host has a shift of its own: one number moves the whole prior, so that deep and shallow
sky keep the difference that completeness is to measure, and the shares are met as nearly as one number can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.injection import ArcSnrTargets, RangeSettings
from lens_assets.realism.calibration import BOOTSTRAPS, FINE_STEP_MAG, BrightnessFit, unfitted


@dataclass(frozen=True)
class SnrTarget:
    """A share of the injections, with `arc_snr` of the injections' truth in [lower, upper)."""

    lower: float
    upper: float
    share: float


TARGETS: dict[ArcSnrTargets, tuple[SnrTarget, ...]] = {
    "faint": (SnrTarget(0.0, 5.0, 0.8), SnrTarget(5.0, 10.0, 0.2)),
    "legacy": (
        SnrTarget(0.8, 2.0, 0.4),
        SnrTarget(2.0, 8.0, 0.4),
        SnrTarget(8.0, 20.0, 0.15),
        SnrTarget(20.0, np.inf, 0.05),
    ),
}
"""Most arcs at 0 to 5 with a tail to 10; and the four bins of the earlier pipeline."""


def fit_to_targets(
    arc_snr: NDArray[np.floating], hosts: Sequence[str], name: ArcSnrTargets, limits: RangeSettings, seed: int
) -> BrightnessFit:
    """Return the shift whose shares below the targets' edges are nearest to those asked for, in squared distance.

    Args:
        arc_snr: (N,) of arcs drawn at shift 0; light is linear, so that a shift scales them. Missing ones are left out.
        hosts: (N,) host of each, which are resampled for the interval.
        limits: shifts searched.
    """
    finite = np.isfinite(arc_snr)
    snr, host = np.asarray(arc_snr, np.float64)[finite], np.asarray(hosts, dtype=str)[finite]
    if not len(snr):
        return unfitted("not_fitted", 0.0, 0)
    targets = TARGETS[name]
    edges, asked = _edges(targets)
    shifts = np.arange(limits.minimum, limits.maximum + FINE_STEP_MAG / 2, FINE_STEP_MAG)
    order = np.argsort(snr, kind="stable")
    below = np.searchsorted(snr[order], edges * 10.0 ** (0.4 * shifts[:, None]), side="left")
    counts = _resampled(host[order], seed)
    cumulative = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts, axis=1)], axis=1)
    found = cumulative[:, below] / cumulative[:, -1][:, None, None]
    distance = np.square(found - asked).mean(axis=2)
    nearest = shifts[distance.argmin(axis=1)]
    lower, upper = np.quantile(nearest[1:], [0.025, 0.975])
    best = int(distance[0].argmin())
    curve = pd.DataFrame({"magnitude_shift_mag": shifts, "objective": distance[0], "visible": np.nan})
    return BrightnessFit(
        round(float(nearest[0]), 4),
        round(float(lower), 4),
        round(float(upper), 4),
        f"arc_snr_{name}",
        best in (0, len(shifts) - 1),
        0,
        len(snr),
        curve,
    )


def shares(arc_snr: NDArray[np.floating], name: ArcSnrTargets, shift_mag: float) -> pd.DataFrame:
    """Return one row a target: lower, upper, the share asked for and the share at the shift."""
    snr = np.asarray(arc_snr, np.float64)
    scaled = snr[np.isfinite(snr)] * 10.0 ** (-0.4 * shift_mag)
    rows = [
        (item.lower, item.upper, item.share, float(((scaled >= item.lower) & (scaled < item.upper)).mean()))
        for item in TARGETS[name]
    ]
    return pd.DataFrame(rows, columns=["lower", "upper", "asked", "found"])


def _edges(targets: Sequence[SnrTarget]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the finite edges above 0, and the share asked for below each."""
    share = np.cumsum([0.0, *(item.share for item in targets)])
    edges = np.array([targets[0].lower, *(item.upper for item in targets)])
    kept = np.isfinite(edges) & (edges > 0)
    return edges[kept], share[kept]


def _resampled(hosts: NDArray[np.str_], seed: int) -> NDArray[np.float64]:
    """Return how often each row counts, (1 + B, N): once as it is, then with hosts drawn with replacement."""
    random = np.random.Generator(np.random.Philox(key=seed))
    names, member = np.unique(hosts, return_inverse=True)
    drawn = random.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=BOOTSTRAPS)
    return np.concatenate([np.ones((1, len(hosts))), drawn[:, member].astype(np.float64)])
