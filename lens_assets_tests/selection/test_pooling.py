"""Two releases pool into the counts of both, and what is not one quantity is refused by name."""

import functools

import pandas as pd
import pytest

from lens_assets.selection.completeness import completeness_grid, thresholds_of, trials_of
from lens_assets.selection.grid import GridMismatchError
from lens_assets.selection.loader import IncomparableError, SelectionFunction
from lens_assets.selection.pooling import pooled_completeness
from lens_assets.selection.product import released_injections
from lens_assets_tests.selection.synthetic import THRESHOLDS, injections, settings_of

CONFIG = settings_of()
FEW = CONFIG.intervals.model_copy(update={"bootstrap_resamples": 50})
IDENTITY = {
    "grid": CONFIG.grid.digest, "prior": "p" * 64, "denominator": "all_draws",
    "thresholds": {"fixed_0.5": ["fixed", 0.5], "fpr_0.01": ["fpr", 0.01]},
}  # fmt: skip


@functools.lru_cache
def _tables(seed: int, cut: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (grid, injections) of a release whose FPR-defined cut lies at `cut`."""
    table, scores = injections(CONFIG.grid, per_cell=4, seed=seed)
    for column in ("injection_id", "galaxy_id"):
        table[column] = f"s{seed}-" + table[column]
    scores["injection_id"] = table["injection_id"]
    trials, _ = trials_of(table, scores, CONFIG.grid, "all_draws")
    cuts = thresholds_of(THRESHOLDS.assign(threshold=[0.5, cut]))
    grid = completeness_grid(trials, cuts, CONFIG.grid, FEW, "all_draws", 1)
    grid.insert(0, "detector", "baseline")
    return grid, released_injections(trials, table, scores, "baseline")


def _release(seed: int, cut: float = 0.8, **identity: object) -> SelectionFunction:
    grid, released = _tables(seed, cut)
    metadata = {
        "title": f"Release {seed}", "identity": IDENTITY | identity, "verdicts": {"release_gate": "GO: 38 of 38"},
        "digests": {"frozen_detector/baseline": "d" * 64},
    }  # fmt: skip
    return SelectionFunction(grid, metadata, released)


def _pool(first: SelectionFunction, second: SelectionFunction, grid=CONFIG.grid) -> pd.DataFrame:
    return pooled_completeness(first, second, "baseline", grid, FEW, 1)


def test_pooled_counts_are_the_sums_and_intervals_shrink():
    first, second = _release(1), _release(2)
    pooled = _pool(first, second)
    assert list(pooled.columns) == list(first.grid.columns)
    for column in ("k", "n", "n_hosts", "n_host_only"):
        assert (pooled[column] == first.grid[column] + second.grid[column]).all()
    width = pooled["beta_upper_95"] - pooled["beta_lower_95"]
    assert (width < (first.grid["beta_upper_95"] - first.grid["beta_lower_95"])).mean() > 0.9
    SelectionFunction(pooled).completeness(
        theta_e_arcsec=1.5, psf_fwhm_arcsec=1.4, depth_mag=24.5, threshold="fixed_0.5", outside="nan"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior": "q" * 64}, "differ in prior"),
        ({"denominator": "multiply_imaged"}, "differ in denominator"),
        ({"thresholds": {"fixed_0.5": ["fixed", 0.5], "fpr_0.01": ["fpr", 0.02]}}, "differ in threshold"),
        ({"cut": 0.85}, "thresholds fpr_0.01 of baseline are cuts at other scores"),
    ],
)
def test_other_quantities_do_not_pool(changes, message):
    with pytest.raises(IncomparableError, match=message):
        _pool(_release(1), _release(2, **changes))


def test_other_grids_and_repeated_injections_do_not_pool():
    first = _release(1)
    with pytest.raises(IncomparableError, match="360 injections are in both releases, s1-"):
        _pool(first, first)
    parity = next(grid for grid in CONFIG.grids if grid.name == "parity")
    with pytest.raises(GridMismatchError, match="both releases hold grid .*, this campaign's grid parity is"):
        _pool(first, _release(2), parity)
    with pytest.raises(GridMismatchError, match="remake both from the same grid"):
        elsewhere = _release(2)
        elsewhere.grid = elsewhere.grid.assign(grid_digest="f" * 64)
        _pool(first, elsewhere)
    with pytest.raises(IncomparableError, match="detector baseline is not in both"):
        other = _release(2)
        other.grid = other.grid.assign(detector="theirs")
        _pool(first, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digests": {"frozen_detector/baseline": "e" * 64}}, "detector baseline is another frozen detector in each"),
        ({"digests": {}}, "does not state the digest of frozen detector baseline"),
        ({"verdicts": {"realism_gate": "GO.", "release_gate": "NO-GO: 2 of 3"}}, "Release 2 says release_gate: NO-GO"),
        ({"verdicts": {"release_gate": "NOT-EVALUATED: 2"}}, "Release 2 says release_gate: NOT-EVALUATED"),
        ({"verdicts": {}}, "no verdict at all"),
    ],
)
def test_another_detector_and_a_closed_gate_do_not_pool(changes, message):
    other = _release(2)
    other.metadata = other.metadata | changes
    with pytest.raises(IncomparableError, match=message):
        _pool(_release(1), other)
