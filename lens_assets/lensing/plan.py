"""Which hosts receive which injections, before any pixel: the pilot over the host population, the grid cell by cell.

Hosts enter a cell with their own seeing and depth, never clamped into an edge cell. They are used in proportion to
their weight in the scan population by systematic sampling, at most a stated number of times a cell; what a cell's
hosts cannot carry under that cap is left out and reported, not drawn from other cells.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.injection import HostSettings, InjectionSettings
from lens_assets.lensing.designs import DESIGNS
from lens_assets.lensing.injection import PSF_COLUMNS, SIGMA_COLUMNS
from lens_assets.lensing.priors import PARAMETER_COLUMNS, draw_prior
from lens_assets.sky.randomness import uniform
from lens_assets.survey.units import BANDS, depth_ivar_to_mag

PILOT, GRID = "pilot", "grid"
HOST_COLUMNS: tuple[str, ...] = (
    "galaxy_id", "host_cutout_path", "type", "mag_g", "mag_r", "mag_z", *PSF_COLUMNS,
    "psfdepth_g_mag", "psfdepth_r_mag", "psfdepth_z_mag", *SIGMA_COLUMNS, "shape_r", "shape_e1", "shape_e2", "sersic",
    "ebv", "maskbits", "sky_partition", "region_id", "healpix_128", "confuser_category", "host_weight",
)  # fmt: skip
PLAN_COLUMNS: tuple[str, ...] = (
    "injection_id", *HOST_COLUMNS, *PARAMETER_COLUMNS, "source_clumps", "log_pdf", "status",
)  # fmt: skip
"""What is rendered of a plan; a rendered table holds them beside what rendering appends."""


class NoHostsError(ValueError):
    """No galaxy of the manifest may be a host."""


@dataclass(frozen=True)
class HostFunnel:
    """How many rows of the manifest remain after each requirement, in order."""

    steps: tuple[tuple[str, int], ...]

    def frame(self) -> pd.DataFrame:
        """Return the funnel as a table."""
        return pd.DataFrame(self.steps, columns=["requirement", "rows"])


def eligible_hosts(
    manifest: pd.DataFrame, cutouts: pd.DataFrame, settings: HostSettings, parent: Collection[str] | None = None
) -> tuple[pd.DataFrame, HostFunnel]:
    """Return the hosts with HOST_COLUMNS, sorted by galaxy_id, and the funnel that led to them.

    A host is a test-split negative of the design, of good quality, of an allowed type and magnitude, that no reference
    list names, with a stamp whose sky noise is known. Its weight is the inverse of its selection probability. Where a
    `parent` sample is given, galaxy ids, hosts are those in it.
    """
    member, weight = f"in_{settings.design}", f"sampling_weight_{settings.design}"
    if member not in manifest:
        designs = sorted(name.removeprefix("in_") for name in manifest.columns if name.startswith("in_"))
        raise NoHostsError(f"hosts.design: the manifest has no design {settings.design!r}, only {designs}")
    sky = cutouts.loc[cutouts["status"] == "ok", ["cutout_path", *SIGMA_COLUMNS]]
    joined = manifest.merge(sky, on="cutout_path", how="left", validate="one_to_one")
    requirements = {
        f"in design {settings.design}": joined[member].fillna(False).astype(bool),
        "negative": joined["label"] == 0,
        "in the test split": joined["split"] == "test",
        "of good quality": joined["quality_ok"].fillna(False).astype(bool),
        "of an allowed type": joined["type"].isin(settings.types),
        "in the magnitude range": joined["mag_z"].between(settings.mag_z.minimum, settings.mag_z.maximum),
        **({} if parent is None else {f"in parent sample {settings.parent}": joined["galaxy_id"].isin(set(parent))}),
        "with known sky noise": (joined[list(SIGMA_COLUMNS)] > 0).all(axis=1),
        "with a population weight": joined[weight] > 0,
    }
    steps: list[tuple[str, int]] = [("stamps of the manifest", len(joined))]
    kept = np.ones(len(joined), dtype=bool)
    for name, mask in requirements.items():
        kept &= mask.to_numpy(dtype=bool)
        steps.append((name, int(kept.sum())))
    if not kept.any():
        trail = "; ".join(f"{name}: {rows}" for name, rows in steps)
        raise NoHostsError(f"no host remains ({trail}); widen injection.hosts or enlarge the sample")
    hosts = joined[kept].rename(columns={"cutout_path": "host_cutout_path", weight: "host_weight"})
    for band in BANDS:
        hosts[f"psfdepth_{band}_mag"] = depth_ivar_to_mag(hosts[f"psfdepth_{band}"])
    return hosts[list(HOST_COLUMNS)].sort_values("galaxy_id", ignore_index=True), HostFunnel(tuple(steps))


def uses_of_hosts(
    weights: NDArray[np.float64], order: NDArray[np.float64], start: float, draws: int, cap: int
) -> NDArray[np.int64]:
    """Return how often each host is used, shape (N,): in proportion to weight, at most `cap`, in all `draws` if it can.

    Expected uses above the cap are cut to it and shared among the others. Systematic sampling from `start` in [0, 1)
    along the hosts sorted by `order` then gives each host the integer below or above its expectation, unbiased.
    """
    total = min(draws, cap * len(weights))
    expected = _capped_shares(weights, total, cap)
    sequence = np.argsort(order, kind="stable")
    cumulative = np.concatenate([[0.0], np.cumsum(expected[sequence])])
    cumulative[-1] = total
    uses = np.empty(len(weights), dtype=np.int64)
    uses[sequence] = np.diff(np.floor(cumulative + start)).astype(np.int64)
    return uses


def _capped_shares(weights: NDArray[np.float64], total: int, cap: int) -> NDArray[np.float64]:
    """Return shares of `total` in proportion to weight, with what exceeds `cap` handed on to the hosts below it."""
    shares = np.full(len(weights), float(cap))
    free = np.ones(len(weights), dtype=bool)
    while free.any():
        left = total - cap * np.count_nonzero(~free)
        shares[free] = left * weights[free] / weights[free].sum()
        over = free & (shares > cap)
        if not over.any():
            return shares
        shares[over] = cap
        free &= ~over
    return shares


def draw_parameters(
    hosts: pd.DataFrame,
    n: int,
    settings: InjectionSettings,
    seed: int,
    magnitude_shift: float,
    theta_e_range_arcsec: tuple[float, float],
    purpose: str = PILOT,
    maximum_uses: int | None = None,
) -> pd.DataFrame:
    """Return `n` injections over the hosts' population, ready to render: host columns, parameters, log_pdf, status.

    Hosts are used in proportion to `host_weight`, at most `maximum_uses` times (none given: as often as `n` asks). Ids
    are `<purpose>-<galaxy_id>-<use>`: the same host and use keeps its draw whatever the other hosts are. A pilot under
    a legacy design takes from it what the design fixes, Einstein radius included.
    """
    cap = maximum_uses if maximum_uses is not None else max(1, n)
    rows = _use(hosts, n, cap, seed, purpose)
    return _with_parameters(rows, purpose, theta_e_range_arcsec, settings, seed, magnitude_shift)


def grid_injections(
    hosts: pd.DataFrame,
    conditions: Sequence[str | None],
    theta_e_edges_arcsec: Sequence[float],
    injections_per_cell: int,
    settings: InjectionSettings,
    magnitude_shift: float,
) -> pd.DataFrame:
    """Return the grid's injections: for every condition that has hosts and every theta_E bin, the draws of that cell.

    `conditions[i]` is the condition key of host i, None outside the grid.
    """
    keys = pd.Series(list(conditions), index=hosts.index, dtype="object")
    blocks = []
    for condition in sorted(keys.dropna().unique()):
        members = hosts[keys == condition]
        for theta_bin, edges in enumerate(pairwise(theta_e_edges_arcsec)):
            prefix = f"{GRID}-{condition}-t{theta_bin:02d}"
            cap = settings.hosts.maximum_uses_per_theta_e_bin
            rows = _use(members, injections_per_cell, cap, settings.seed, prefix)
            block = _with_parameters(rows, GRID, edges, settings, settings.seed, magnitude_shift)
            blocks.append(block.assign(condition=condition, theta_e_bin=theta_bin))
    if not blocks:
        empty = _with_parameters(
            _use(hosts[:0], 0, 1, settings.seed, GRID), GRID, (0.0, 1.0), settings, settings.seed, 0.0
        )
        return empty.assign(condition="", theta_e_bin=-1)
    return pd.concat(blocks, ignore_index=True)


def cell_report(
    plan: pd.DataFrame,
    hosts: pd.DataFrame,
    conditions: Sequence[str | None],
    all_conditions: Sequence[str],
    per_cell: int,
    theta_bins: int,
) -> pd.DataFrame:
    """Return one row a (PSF, depth) condition: hosts, hosts used, injections wanted, planned, most uses of a host."""
    grid = plan[plan["purpose"] == GRID]
    host_counts = pd.Series(list(conditions), dtype="object").value_counts()
    grouped = grid.groupby("condition")
    uses = grid.groupby(["condition", "galaxy_id"]).size().groupby("condition").max()
    report = pd.DataFrame({"condition": list(all_conditions)})
    report["hosts"] = report["condition"].map(host_counts).fillna(0).astype(np.int64)
    report["hosts_used"] = report["condition"].map(grouped["galaxy_id"].nunique()).fillna(0).astype(np.int64)
    report["wanted"] = per_cell * theta_bins
    report["planned"] = report["condition"].map(grouped.size()).fillna(0).astype(np.int64)
    report["most_uses_of_a_host"] = report["condition"].map(uses).fillna(0).astype(np.int64)
    return report


def _use(hosts: pd.DataFrame, n: int, cap: int, seed: int, prefix: str) -> pd.DataFrame:
    identifiers = hosts["galaxy_id"].astype(str).tolist()
    order = uniform(seed, identifiers, f"host_order_{prefix}")
    start = float(uniform(seed, [prefix], "host_start")[0])
    uses = uses_of_hosts(hosts["host_weight"].to_numpy(np.float64), order, start, n, cap)
    rows = hosts.loc[hosts.index.repeat(uses)].reset_index(drop=True)
    use = rows.groupby("galaxy_id").cumcount().astype(str)
    rows.insert(0, "injection_id", (prefix + "-" + rows["galaxy_id"].astype(str) + "-" + use).astype(str))
    return rows


def _with_parameters(
    rows: pd.DataFrame,
    purpose: str,
    theta_e_range_arcsec: tuple[float, float],
    settings: InjectionSettings,
    seed: int,
    magnitude_shift: float,
) -> pd.DataFrame:
    low, high = theta_e_range_arcsec
    prepared = rows.assign(theta_e_low_arcsec=float(low), theta_e_high_arcsec=float(high))
    design = DESIGNS[settings.pilot_design] if purpose == PILOT and settings.pilot_design != "prior" else None
    drawn = draw_prior(prepared, settings, seed, magnitude_shift, design)
    rows.insert(1, "purpose", pd.Series([purpose] * len(rows), index=rows.index, dtype="str"))
    return pd.concat([rows, drawn], axis=1)
