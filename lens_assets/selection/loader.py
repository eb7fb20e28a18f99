"""Load and query a released selection function.

This file is self-contained: it needs numpy, pandas and pyarrow, and lies beside the tables it reads.

    from selection_function import load
    sf = load("folder/of/the/release")
    c = sf.completeness(theta_e_arcsec=1.5, psf_fwhm_arcsec=1.3, depth_mag=24.5, threshold="fpr_0.01")
    c.value, c.lower, c.upper

Conditions are the r-band PSF FWHM in arcsec and the r-band depth for a 5-sigma point source in AB mag. Between cell
centres the posterior mean is interpolated linearly in logit. Limits are the wider, on each side, of the Beta posterior
and the bootstrap over hosts, interpolated in the same way, which is conservative.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

SCHEMA_VERSION = 1
GRID_FILE = "grid.parquet"
INJECTIONS_FILE = "injections.parquet"
METADATA_FILE = "release.json"
AXES = ("theta_e_arcsec", "psf_fwhm_arcsec", "depth_mag")


class OutsideGridError(ValueError):
    """A point lies outside the grid, or next to a cell with too few injections to be quoted."""


@dataclass(frozen=True)
class Completeness:
    """Completeness and its limits, in the broadcast shape of the query."""

    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True)
class Reweighted:
    """Completeness of another lens population, its standard error over hosts, and the effective number of trials."""

    value: float
    standard_error: float
    n_eff: float
    n_trials: int


def load(folder: str | Path, quiet: bool = False) -> SelectionFunction:
    """Read a release folder; its verdicts are printed unless `quiet`. A newer schema is refused."""
    root = Path(folder)
    metadata = json.loads((root / METADATA_FILE).read_text(encoding="utf-8"))
    if metadata["schema_version"] > SCHEMA_VERSION:
        raise ValueError(
            f"{root / METADATA_FILE}: schema version {metadata['schema_version']} is newer than {SCHEMA_VERSION}, "
            "which this file reads; use the loader that came with the release"
        )
    if not quiet:
        print(metadata["title"])  # noqa: T201 - the verdict is printed on load by design
        for gate, verdict in metadata["verdicts"].items():
            print(f"  {gate}: {verdict}")  # noqa: T201
    injections = root / INJECTIONS_FILE
    return SelectionFunction(
        pd.read_parquet(root / GRID_FILE), metadata, pd.read_parquet(injections) if injections.exists() else None
    )


class SelectionFunction:
    """C(theta_E, PSF FWHM, depth) of one or more detectors at named thresholds."""

    def __init__(self, grid: pd.DataFrame, metadata: dict | None = None, injections: pd.DataFrame | None = None):
        digests = sorted(set(grid["grid_digest"]))
        if len(digests) != 1:
            raise ValueError(f"expected cells of one grid, got grid digests {[digest[:12] for digest in digests]}")
        self.grid = grid
        self.metadata = metadata or {}
        self.injections = injections
        self.detectors = list(dict.fromkeys(grid["detector"]))
        self.thresholds = list(dict.fromkeys(grid["threshold"]))

    def completeness(
        self,
        *,
        theta_e_arcsec: float | np.ndarray,
        psf_fwhm_arcsec: float | np.ndarray,
        depth_mag: float | np.ndarray,
        threshold: str | None = None,
        detector: str | None = None,
        outside: str = "raise",
        level: int = 95,
    ) -> Completeness:
        """Return completeness with its limits at one or many points; the arguments broadcast.

        `outside` says what happens beyond the grid's edges or where a cell needed is unsupported: "raise", "nan", or
        "clip" (move the point onto the grid and use unsupported cells as they are; only on request). A point in the
        outer half of an edge bin takes that bin's value. `level` is 68 or 95. The defaults are the release's
        reference threshold and its first detector.
        """
        if outside not in ("raise", "nan", "clip"):
            raise ValueError(f"outside: expected 'raise', 'nan' or 'clip', got {outside!r}")
        if level not in (68, 95):
            raise ValueError(f"level: expected 68 or 95, got {level!r}")
        cells = self._cells(threshold, detector)
        values = np.broadcast_arrays(
            *(np.asarray(value, dtype=np.float64) for value in (theta_e_arcsec, psf_fwhm_arcsec, depth_mag))
        )
        axes = [np.unique(cells[axis]) for axis in AXES]
        cube = cells.sort_values(list(AXES))
        shape = tuple(len(axis) for axis in axes)
        located = [_locate(value.ravel(), axis) for value, axis in zip(values, axes, strict=True)]
        inside = np.logical_and.reduce([place.inside for place in located])
        columns = _limits(cube, level)
        cubes = {name: _logit(column).reshape(shape) for name, column in columns.items()}
        answer, supported = _interpolate(located, cubes, cube["supported"].to_numpy(dtype=bool).reshape(shape))
        bad = ~(inside & supported) if outside != "clip" else np.isnan(sum(value.ravel() for value in values))
        if outside == "raise" and bad.any():
            first = int(np.flatnonzero(bad)[0])
            point = ", ".join(f"{axis} = {value.ravel()[first]:g}" for axis, value in zip(AXES, values, strict=True))
            why = "has too few injections nearby" if inside[first] else f"lies outside the grid ({self.bounds()})"
            raise OutsideGridError(
                f"{point} {why}; pass outside='nan' or outside='clip' ({int(bad.sum())} such points)"
            )
        result = {
            name: np.where(bad, np.nan, 1.0 / (1.0 + np.exp(-x))).reshape(values[0].shape) for name, x in answer.items()
        }
        return Completeness(**result)

    def bounds(self) -> str:
        """Describe the range of each axis of the grid, edge to edge."""
        edges = {axis: _edges(np.unique(self.grid[axis])) for axis in AXES}
        return ", ".join(f"{axis} [{edge[0]:g}, {edge[-1]:g})" for axis, edge in edges.items())

    def reweight(
        self,
        log_prior: Callable[[pd.DataFrame], np.ndarray],
        threshold: str | None = None,
        detector: str | None = None,
    ) -> Reweighted:
        """Return the completeness of another population of lenses on the release's hosts and conditions.

        `log_prior` takes the injections (one row each) and returns the natural log of the new density of the drawn
        parameters, unnormalised, over the same variables as the column `log_pdf`. Weights are exp(log_prior -
        log_pdf); the estimate is self-normalised (Owen 2013, Monte Carlo theory, section 9.2), its standard error
        is linearised over hosts, n_eff = (sum w)^2 / sum w^2.
        """
        if self.injections is None:
            raise ValueError(f"expected {INJECTIONS_FILE} beside the grid; reweighting needs the single injections")
        name, score = self._detector(detector), self._threshold_score(threshold, detector)
        rows = self.injections.loc[(self.injections["detector"] == name) & self.injections["is_trial"]]
        log_weight = np.asarray(log_prior(rows), dtype=np.float64) - rows["log_pdf"].to_numpy(dtype=np.float64)
        if log_weight.shape != (len(rows),) or np.isnan(log_weight).any() or not np.isfinite(log_weight).any():
            raise ValueError(f"log_prior: expected {len(rows)} numbers without NaN, not all -inf")
        weight = np.exp(log_weight - log_weight.max())
        found = ((rows["injected_score"] >= score) & (rows["host_score"] < score)).to_numpy(dtype=np.float64)
        value = float(weight @ found / weight.sum())
        residual = pd.Series(weight * (found - value)).groupby(rows["galaxy_id"].to_numpy()).sum()
        return Reweighted(
            value=value,
            standard_error=float(np.sqrt((residual**2).sum()) / weight.sum()),
            n_eff=float(weight.sum() ** 2 / (weight**2).sum()),
            n_trials=len(rows),
        )

    def _detector(self, detector: str | None) -> str:
        name = detector if detector is not None else self.detectors[0]
        if name not in self.detectors:
            raise ValueError(f"detector: expected one of {self.detectors}, got {detector!r}")
        return name

    def _cells(self, threshold: str | None, detector: str | None) -> pd.DataFrame:
        name = threshold if threshold is not None else self.metadata.get("reference_threshold")
        if name not in self.thresholds:
            raise ValueError(f"threshold: expected one of {self.thresholds}, got {name!r}")
        return self.grid.loc[(self.grid["detector"] == self._detector(detector)) & (self.grid["threshold"] == name)]

    def _threshold_score(self, threshold: str | None, detector: str | None) -> float:
        return float(self._cells(threshold, detector)["threshold_score"].iloc[0])


@dataclass(frozen=True)
class _Place:
    lower: np.ndarray
    fraction: np.ndarray
    inside: np.ndarray


def _edges(centres: np.ndarray) -> np.ndarray:
    half = (centres[1] - centres[0]) / 2.0 if len(centres) > 1 else 0.5
    return np.append(centres - half, centres[-1] + half)


def _locate(values: np.ndarray, centres: np.ndarray) -> _Place:
    """Return for each value the bin centre at or below it, the fraction to the next, and whether the grid holds it."""
    edges = _edges(centres)
    inside = (values >= edges[0] - 1e-9) & (values < edges[-1] - 1e-9)
    held = np.clip(np.nan_to_num(values, nan=centres[0]), centres[0], centres[-1])
    lower = np.clip(np.searchsorted(centres, held, side="right") - 1, 0, max(len(centres) - 2, 0))
    step = centres[1] - centres[0] if len(centres) > 1 else 1.0
    # Rounding makes a query exactly at a centre need that centre alone.
    return _Place(lower, np.round((held - centres[lower]) / step, 9), inside)


def _limits(cells: pd.DataFrame, level: int) -> dict[str, np.ndarray]:
    lower = np.fmin(cells[f"beta_lower_{level}"].to_numpy(), cells[f"host_lower_{level}"].to_numpy(dtype=np.float64))
    upper = np.fmax(cells[f"beta_upper_{level}"].to_numpy(), cells[f"host_upper_{level}"].to_numpy(dtype=np.float64))
    return {"value": cells["posterior_mean"].to_numpy(dtype=np.float64), "lower": lower, "upper": upper}


def _logit(rate: np.ndarray) -> np.ndarray:
    clipped = np.clip(rate, 1e-9, 1.0 - 1e-9)
    return np.log(clipped / (1.0 - clipped))


def _interpolate(
    places: list[_Place], cubes: dict[str, np.ndarray], supported: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Multilinear interpolation, and whether every cell with a weight above zero is supported."""
    size = places[0].lower.size
    answer = {name: np.zeros(size) for name in cubes}
    good = np.ones(size, dtype=bool)
    for corner in product((0, 1), repeat=len(places)):
        weight = np.ones(size)
        index = []
        for place, upper, length in zip(places, corner, supported.shape, strict=True):
            weight = weight * (place.fraction if upper else 1.0 - place.fraction)
            index.append(np.minimum(place.lower + upper, length - 1))
        for name, cube in cubes.items():
            answer[name] += weight * cube[tuple(index)]
        good &= supported[tuple(index)] | (weight == 0.0)
    return answer, good
