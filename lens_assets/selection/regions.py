"""Sky regions: whether groups of neighbouring regions agree on C at equal Einstein radius and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.selection.completeness import detected_at
from lens_assets.sky.randomness import generator
from lens_assets.statistics.simultaneous import simultaneous_means

MINIMUM_HOSTS = 5
PERMUTATIONS = 1999
GROUP_COLUMNS = {
    "group": "group of neighbouring regions, numbered along the NESTED order of HEALPix",
    "regions": "regions in it",
    "first_region": "smallest region id",
    "last_region": "largest region id",
    "n": "injections",
    "n_hosts": "distinct hosts",
    "completeness": "mean completeness of its injections",
    "expected": "mean completeness of all injections in the same cells of the grid",
    "excess": "mean over hosts of completeness minus what is expected of the cells",
    "excess_lower_95": "lower limit; all groups hold at once, hosts resampled",
    "excess_upper_95": "upper limit likewise",
}


@dataclass(frozen=True)
class RegionTest:
    """The groups (`GROUP_COLUMNS`), and the p-value of their homogeneity: NaN with fewer than two of five hosts."""

    groups: pd.DataFrame
    p_value: float


def group_regions(regions: Sequence[int], n_hosts: Sequence[int], n_groups: int) -> NDArray[np.int64]:
    """Return the group (R,) of each region, from 0: consecutive in id, whole, of about equally many hosts.

    A region is named by the smallest of its cells in NESTED order, and neighbours in that order are neighbours on the
    sky, but for the few seams of the space-filling curve.
    """
    order = np.argsort(np.asarray(regions), kind="stable")
    hosts = np.asarray(n_hosts, np.float64)[order]
    middle = (np.cumsum(hosts) - hosts / 2.0) / max(hosts.sum(), 1.0)
    groups = np.empty(len(hosts), np.int64)
    groups[order] = np.unique(np.minimum((middle * n_groups).astype(np.int64), n_groups - 1), return_inverse=True)[1]
    return groups


def region_test(
    trials: pd.DataFrame, threshold: float, n_groups: int, resamples: int, seed: int, level: float = 0.95
) -> RegionTest:
    """Compare completeness between groups of regions.

    A host's injections share its fate, so the unit is the host: its excess is the mean of detected minus the pooled
    rate of the injection's own cell (Einstein radius, PSF, depth), which takes out that regions differ in their
    conditions. Groups are compared by permutation of hosts among regions within one condition (PSF, depth), where
    they are exchangeable if the sky is homogeneous; the statistic is the sum over groups of hosts x (mean excess)^2.
    A test on the ranks of all hosts would not do: where C is low the excess is skewed the other way than where it is
    high, so that it tells groups of other conditions apart although each agrees with what its own let expect.

    `trials` has cell indices, galaxy_id, region_id and scores.
    """
    cell = ["theta_e_bin", "psf_bin", "depth_bin"]
    frame = trials[[*cell, "galaxy_id", "region_id"]].assign(detected=detected_at(trials, threshold).astype(float))
    frame["expected"] = frame.groupby(cell)["detected"].transform("mean")
    frame["excess"] = frame["detected"] - frame["expected"]
    counted = frame.groupby("region_id")["galaxy_id"].nunique()
    group = pd.Series(group_regions(list(counted.index), counted.tolist(), n_groups), index=counted.index)
    frame["group"] = frame["region_id"].map(group)
    strata = ["group", "psf_bin", "depth_bin", "galaxy_id"]
    hosts = frame.groupby(strata)["excess"].mean().reset_index()
    table = (
        frame.groupby("group")
        .agg(
            regions=("region_id", "nunique"),
            first_region=("region_id", "min"),
            last_region=("region_id", "max"),
            n=("detected", "size"),
            n_hosts=("galaxy_id", "nunique"),
            completeness=("detected", "mean"),
            expected=("expected", "mean"),
        )
        .reset_index()
    )
    columns = [hosts["excess"].where(hosts["group"] == number).to_numpy(np.float64) for number in table["group"]]
    rng = generator(seed, "regions", "sensitivity-bootstrap")
    values = np.stack(columns, axis=1) if columns else np.zeros((len(hosts), 0))
    joint = simultaneous_means(values, hosts["galaxy_id"], rng, resamples, level)
    table = table.assign(excess=joint.means, excess_lower_95=joint.lower, excess_upper_95=joint.upper)
    return RegionTest(
        table[list(GROUP_COLUMNS)], _homogeneity(hosts, generator(seed, "regions", "sensitivity-permutation"))
    )


def _homogeneity(hosts: pd.DataFrame, rng: np.random.Generator) -> float:
    if (hosts.groupby("group").size() >= MINIMUM_HOSTS).sum() < 2 or hosts["excess"].nunique() < 2:
        return float("nan")
    ordered = hosts.sort_values(["psf_bin", "depth_bin", "galaxy_id"], ignore_index=True)
    condition = ordered.groupby(["psf_bin", "depth_bin"]).ngroup().to_numpy()
    group, excess = ordered["group"].to_numpy(), ordered["excess"].to_numpy()
    counts = np.bincount(group)

    def between(values: NDArray[np.float64]) -> float:
        sums = np.bincount(group, values, len(counts))
        return float((sums[counts > 0] ** 2 / counts[counts > 0]).sum())

    found = between(excess)
    # Rows stay sorted by condition, so that sorting random keys within it permutes hosts of like conditions alone.
    drawn = [between(excess[np.lexsort((rng.random(len(excess)), condition))]) for _ in range(PERMUTATIONS)]
    return float((1 + np.sum(np.asarray(drawn) >= found * (1 - 1e-12))) / (1 + PERMUTATIONS))
