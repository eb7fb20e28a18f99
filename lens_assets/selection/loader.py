"""Load and query a released selection function.

This file is self-contained: it needs numpy, pandas and pyarrow, and lies beside the tables it reads.

    from selection_function import load
    sf = load("folder/of/the/release")
    c = sf.completeness(theta_e_arcsec=1.5, psf_fwhm_arcsec=1.3, depth_mag=24.5, threshold="fpr_0.01")
    c.value, c.lower, c.upper

Conditions are the r-band PSF FWHM in arcsec and the r-band depth for a 5-sigma point source in AB mag. Between cell
centres the posterior mean is interpolated linearly in logit. Limits are the wider, on each side, of the Beta posterior
and the bootstrap over hosts (`interval="total"` adds the bootstrap over sky cells and the uncertainty of the threshold
itself), interpolated in the same way, which is conservative. Where a bootstrap limit is exactly 0 or exactly 1 it says
only that few hosts passed, or failed, and the Beta limit stands alone on that side: no limit is 0 or 1. Where nothing
was injected there is no number, whatever is asked.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SCHEMA_VERSION = 1
GRID_FILE = "grid.parquet"
INJECTIONS_FILE = "injections.parquet"
MERGED_FILE = "merged.parquet"
MODELS_FILE = "models.parquet"
MARGINALS_FILE = "marginals.parquet"
METADATA_FILE = "release.json"
MEASURED, MERGED = "measured", "merged"
AXES = ("theta_e_arcsec", "psf_fwhm_arcsec", "depth_mag")


class IncomparableError(ValueError):
    """Two releases measure different quantities: another grid, prior, denominator or threshold."""


class OutsideGridError(ValueError):
    """A point lies outside the grid, or next to a cell with no injections or too few to be quoted."""


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


@dataclass(frozen=True)
class Counts:
    """Expected number of found lenses; the limits are those of completeness, `poisson_error` the scatter of counts."""

    value: float
    lower: float
    upper: float
    poisson_error: float


def load(folder: str | Path, quiet: bool = False) -> SelectionFunction:
    """Read a release folder; its verdicts are printed unless `quiet`.

    ValueError for a newer schema, a missing grid and a table that is not the one that was released. Other tables may
    be left out; what needs them says so.
    """
    root = Path(folder)
    try:
        metadata = json.loads((root / METADATA_FILE).read_text(encoding="utf-8"))
        version = int(metadata["schema_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{root / METADATA_FILE} cannot be read ({error!r}); expected a release folder") from error
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"{root / METADATA_FILE}: schema version {version} is newer than {SCHEMA_VERSION}, "
            "which this file reads; use the loader that came with the release"
        )
    if not (root / GRID_FILE).is_file():
        raise ValueError(f"{root / GRID_FILE} is missing; expected it beside {METADATA_FILE}: copy the whole release")
    if not quiet:
        print(metadata["title"])  # noqa: T201 - the verdict is printed on load by design
        for gate, verdict in metadata["verdicts"].items():
            print(f"  {gate}: {verdict}")  # noqa: T201
    released = metadata.get("files", {})
    found = {
        name: _read_table(root / file, released.get(file)) if (root / file).exists() else None
        for name, file in (
            ("injections", INJECTIONS_FILE),
            ("merged", MERGED_FILE),
            ("models", MODELS_FILE),
            ("marginals", MARGINALS_FILE),
        )
    }
    return SelectionFunction(_read_table(root / GRID_FILE, released.get(GRID_FILE)), metadata, **found)


def _read_table(path: Path, sha256: str | None) -> pd.DataFrame:
    """Return a table whose bytes are those that `release.json` states, if it does; else ValueError."""
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(
            f"{path} was changed: its SHA-256 is {found[:16]}..., {METADATA_FILE} states {sha256[:16]}...; "
            "copy the release again"
        )
    return pd.read_parquet(io.BytesIO(content))


class SelectionFunction:
    """C(theta_E, PSF FWHM, depth) of one or more detectors at named thresholds."""

    def __init__(
        self,
        grid: pd.DataFrame,
        metadata: dict | None = None,
        injections: pd.DataFrame | None = None,
        merged: pd.DataFrame | None = None,
        models: pd.DataFrame | None = None,
        marginals: pd.DataFrame | None = None,
    ):
        digests = sorted(set(grid["grid_digest"]))
        if len(digests) != 1:
            raise ValueError(f"expected cells of one grid, got grid digests {[digest[:12] for digest in digests]}")
        self.grid = grid
        self.metadata = metadata or {}
        self.injections = injections
        self.marginals = marginals
        self._tables = {MEASURED: grid}
        if merged is not None:
            self._tables[MERGED] = merged
        if models is not None:
            self._tables |= {str(name): rows for name, rows in models.groupby("model")}
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
        interval: str = "conditional",
        cells: str = MEASURED,
    ) -> Completeness:
        """Return completeness with its limits at one or many points; the arguments broadcast.

        `outside` says what happens beyond the grid's edges or where a cell needed is unsupported: "raise", "nan", or
        "clip" (move the point onto the grid and use unsupported cells as they are; only on request). A cell without any
        injection gives NaN under "clip" too, value and limits: it would answer with the prior of the intervals. A point
        in the outer half of an edge bin takes that bin's value. `level` is 68 or 95. `interval` is "conditional" (on
        the threshold as it is) or "total" (with the threshold's own uncertainty and shared sky). `cells` is "measured",
        "merged" (weak cells share the number of their merged group) or the name of a model in the release, which is
        no longer a count. The defaults are the release's reference threshold and its first detector.
        """
        if outside not in ("raise", "nan", "clip"):
            raise ValueError(f"outside: expected 'raise', 'nan' or 'clip', got {outside!r}")
        if level not in (68, 95):
            raise ValueError(f"level: expected 68 or 95, got {level!r}")
        if interval not in ("conditional", "total"):
            raise ValueError(f"interval: expected 'conditional' or 'total', got {interval!r}")
        chosen = self._cells(threshold, detector, cells)
        values = np.broadcast_arrays(
            *(np.asarray(value, dtype=np.float64) for value in (theta_e_arcsec, psf_fwhm_arcsec, depth_mag))
        )
        axes = [np.unique(chosen[axis]) for axis in AXES]
        cube = chosen.sort_values(list(AXES))
        shape = tuple(len(axis) for axis in axes)
        located = [_locate(value.ravel(), axis) for value, axis in zip(values, axes, strict=True)]
        inside = np.logical_and.reduce([place.inside for place in located])
        columns = _limits(cube, level, interval)
        empty = cube["n"].to_numpy() == 0
        cubes = {name: np.where(empty, np.nan, _logit(column)).reshape(shape) for name, column in columns.items()}
        answer, supported = _interpolate(located, cubes, cube["supported"].to_numpy(dtype=bool).reshape(shape))
        bad = ~(inside & supported) if outside != "clip" else np.isnan(sum(value.ravel() for value in values))
        if outside == "raise" and bad.any():
            first = int(np.flatnonzero(bad)[0])
            point = _point(values, first)
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
        parameters, unnormalised, over the same variables as the column `log_pdf`; to change one quantity alone, add its
        own ratio to that column, as in `lambda rows: rows["log_pdf"] - 2.0 * np.log(rows["theta_e_arcsec"])` for a
        population that falls with the square of the Einstein radius; -inf is weight 0, NaN and +inf are refused.
        Conditions count by their injections per cell of the grid, not by their share of the footprint: a density of
        PSF or depth is the caller's to add. Weights are exp(log_prior - log_pdf); the
        estimate is self-normalised (Owen 2013, Monte Carlo theory, section 9.2), its standard error is linearised over
        hosts, n_eff = (sum w)^2 / sum w^2.
        """
        if self.injections is None:
            raise ValueError(f"expected {INJECTIONS_FILE} beside the grid; reweighting needs the single injections")
        name, score = self._detector(detector), self._threshold_score(threshold, detector)
        rows = self.injections.loc[(self.injections["detector"] == name) & self.injections["is_trial"]]
        log_weight = _log_density(log_prior(rows), rows) - rows["log_pdf"].to_numpy(dtype=np.float64)
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

    def expected_counts(
        self,
        *,
        theta_e_arcsec: float | np.ndarray,
        psf_fwhm_arcsec: float | np.ndarray,
        depth_mag: float | np.ndarray,
        n_lenses: float | np.ndarray = 1.0,
        **options: Any,
    ) -> Counts:
        """Return how many of a population's lenses are found: the sum of n_lenses x C.

        Each entry of the broadcast arguments stands for `n_lenses` lenses at that point, as a forecast in bins does.
        `options` are those of `completeness`. The limits add those of the points, since cells shared by many lenses err
        together; the found number scatters about the expectation by `poisson_error` besides. A point without a
        completeness is refused; with outside="nan" it makes the sum and its limits NaN.
        """
        c = self.completeness(
            theta_e_arcsec=theta_e_arcsec, psf_fwhm_arcsec=psf_fwhm_arcsec, depth_mag=depth_mag, **options
        )
        _require_completeness(c, (theta_e_arcsec, psf_fwhm_arcsec, depth_mag), options)
        number = np.broadcast_to(np.asarray(n_lenses, dtype=np.float64), c.value.shape)
        if not (np.isfinite(number).all() and (number >= 0).all()):
            raise ValueError("n_lenses: expected finite numbers, none below 0")
        value, lower, upper = (float((number * rate).sum()) for rate in (c.value, c.lower, c.upper))
        return Counts(value, lower, upper, float(np.sqrt(value)))

    def corrected_distribution(
        self,
        theta_e_arcsec: np.ndarray,
        psf_fwhm_arcsec: np.ndarray,
        depth_mag: np.ndarray,
        edges_arcsec: np.ndarray,
        **options: Any,
    ) -> pd.DataFrame:
        """Return the Einstein radius distribution of all lenses from that of the found ones, one row a bin.

        Each found lens stands for 1 / C lenses at its own Einstein radius and conditions (Horvitz & Thompson 1952, JASA
        47, 663). Columns: lower_edge, upper_edge [arcsec], n_found, n_corrected, counting_error (the root of the sum of
        1 / C^2, for Poisson counts), n_corrected_lower and _upper (all C at their limits) and n_without_c (found lenses
        where C has no number, which are refused but with outside="nan", and are in no other column). The found sample
        must be pure, and the priors of the release hold for what C averages over. `options`: as for `completeness`.
        """
        values = [np.asarray(value, dtype=np.float64) for value in (theta_e_arcsec, psf_fwhm_arcsec, depth_mag)]
        theta, psf, depth = np.broadcast_arrays(*values)
        edges = np.asarray(edges_arcsec, dtype=np.float64)
        if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise ValueError("edges_arcsec: expected at least two rising numbers")
        c = self.completeness(theta_e_arcsec=theta, psf_fwhm_arcsec=psf, depth_mag=depth, **options)
        _require_completeness(c, (theta, psf, depth), options)
        place = np.searchsorted(edges, theta.ravel(), side="right") - 1
        rows = []
        for index in range(len(edges) - 1):
            here = place == index
            value, lower, upper = (rate.ravel()[here] for rate in (c.value, c.lower, c.upper))
            good = np.isfinite(value)
            rows.append(
                {
                    "lower_edge": edges[index],
                    "upper_edge": edges[index + 1],
                    "n_found": int(good.sum()),
                    "n_corrected": float((1.0 / value[good]).sum()),
                    "counting_error": float(np.sqrt((1.0 / value[good] ** 2).sum())),
                    "n_corrected_lower": float((1.0 / upper[good]).sum()),
                    "n_corrected_upper": float((1.0 / lower[good]).sum()),
                    "n_without_c": int((~good).sum()),
                }
            )
        return pd.DataFrame(rows)

    def compare(
        self, other: SelectionFunction, threshold: str, detector: str | None = None, other_detector: str | None = None
    ) -> pd.DataFrame:
        """Return both completenesses cell by cell and their difference; releases that do not compare are refused.

        Grid, prior, hosts, denominator and the definition of the threshold must be the same; a threshold defined by a
        false-positive rate compares detectors whose scores differ.
        """
        require_comparable(self, other, threshold)
        columns = [*AXES, "k", "n", "posterior_mean", "supported"]
        first = self._cells(threshold, detector)[columns]
        second = other._cells(threshold, other_detector)[columns]
        both = first.merge(second, on=list(AXES), suffixes=("", "_other"), validate="one_to_one")
        both["difference"] = both["posterior_mean_other"] - both["posterior_mean"]
        return both

    def _detector(self, detector: str | None) -> str:
        name = detector if detector is not None else self.detectors[0]
        if name not in self.detectors:
            raise ValueError(f"detector: expected one of {self.detectors}, got {detector!r}")
        return name

    def _cells(self, threshold: str | None, detector: str | None, kind: str = MEASURED) -> pd.DataFrame:
        name = threshold if threshold is not None else self.metadata.get("reference_threshold")
        if name not in self.thresholds:
            raise ValueError(f"threshold: expected one of {self.thresholds}, got {name!r}")
        if kind not in self._tables:
            raise ValueError(f"cells: expected one of {list(self._tables)}, got {kind!r}")
        table = self._tables[kind]
        return table.loc[(table["detector"] == self._detector(detector)) & (table["threshold"] == name)]

    def _threshold_score(self, threshold: str | None, detector: str | None) -> float:
        return float(self._cells(threshold, detector)["threshold_score"].iloc[0])


def require_comparable(first: SelectionFunction, second: SelectionFunction, threshold: str) -> None:
    """Raise IncomparableError, naming what differs, unless both measure the same quantity at this threshold."""
    mine, theirs = (dict(sf.metadata.get("identity", {})) for sf in (first, second))
    if not mine or not theirs:
        raise IncomparableError("a release does not state its identity (grid, prior, denominator); remake it")
    for identity in (mine, theirs):
        identity["threshold"] = identity.pop("thresholds", {}).get(threshold)
    differing = [key for key in sorted(mine.keys() | theirs.keys()) if mine.get(key) != theirs.get(key)]
    if differing:
        shown = "; ".join(f"{key}: {str(mine.get(key))[:60]} and {str(theirs.get(key))[:60]}" for key in differing)
        raise IncomparableError(
            f"these releases differ in {', '.join(differing)} ({shown}); "
            "expected the same quantity: make both with one grid, prior, denominator and threshold"
        )


def _point(values: Sequence[np.ndarray], index: int) -> str:
    return ", ".join(f"{axis} = {value.ravel()[index]:g}" for axis, value in zip(AXES, values, strict=True))


def _require_completeness(c: Completeness, values: Sequence[float | np.ndarray], options: Mapping[str, Any]) -> None:
    """Raise OutsideGridError, naming the first point, where C has no number, unless NaN was asked for."""
    missing = np.flatnonzero(np.isnan(c.value))
    if not missing.size or options.get("outside") == "nan":
        return
    points = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in values))
    first = f"number {missing[0]} ({_point(points, missing[0])}) first"
    raise OutsideGridError(
        f"{missing.size} of {c.value.size} points have no completeness, {first}: they are not numbers, or nothing was "
        "injected next to them; leave these points out, or pass outside='nan' and see which"
    )


def _log_density(answer: Any, rows: pd.DataFrame) -> np.ndarray:
    """Return what a `log_prior` answered, one number below +inf a row and one of them finite; else ValueError."""
    density = np.asarray(answer, dtype=np.float64)
    expected = f"expected {len(rows)} numbers without NaN or +inf (-inf is weight 0), not all -inf"
    if density.shape != (len(rows),):
        raise ValueError(f"log_prior: {expected}; got shape {density.shape}")
    wrong = np.flatnonzero(np.isnan(density) | np.isposinf(density))
    if wrong.size:
        named = f"{density[wrong[0]]} for injection {rows['injection_id'].iloc[wrong[0]]}"
        raise ValueError(f"log_prior: {expected}; got {named} first of {wrong.size} such rows")
    if not np.isfinite(density).any():
        raise ValueError(f"log_prior: {expected}; got -inf alone")
    return density


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


def _limits(cells: pd.DataFrame, level: int, interval: str) -> dict[str, np.ndarray]:
    names = {
        "value": "posterior_mean",
        "lower": f"{interval}_lower_{level}",
        "upper": f"{interval}_upper_{level}",
    }
    missing = [name for name in names.values() if name not in cells]
    if missing:
        raise ValueError(f"interval: these cells have no {missing[0]}; expected interval='conditional'")
    return {label: cells[name].to_numpy(dtype=np.float64) for label, name in names.items()}


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
            # A cell without a number, which a model leaves empty, must not reach points that give it no weight.
            answer[name] += np.where(weight == 0.0, 0.0, weight * cube[tuple(index)])
        good &= supported[tuple(index)] | (weight == 0.0)
    return answer, good
