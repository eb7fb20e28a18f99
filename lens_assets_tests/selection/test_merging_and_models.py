"""Merging follows its rule and invents nothing; the monotone model is the order-restricted likelihood's maximum."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize

from lens_assets.campaign.stages.selection_function import AxisSettings, GridSettings
from lens_assets.selection.completeness import completeness_grid, thresholds_of, trials_of
from lens_assets.selection.merging import CELL, merge_groups, merged_grid
from lens_assets.selection.models import monotone_grid, monotone_projection
from lens_assets_tests.selection.synthetic import THRESHOLDS, injections, settings_of

CONFIG = settings_of()
FEW = CONFIG.intervals.model_copy(
    update={"bootstrap_resamples": 50, "minimum_trials": 10, "minimum_hosts": 2, "maximum_merged_cells": 3}
)
CUTS = thresholds_of(THRESHOLDS)
GRID = GridSettings(
    name="small",
    theta_e_arcsec=AxisSettings(start=1.0, step=0.5, count=2),
    psf_fwhm_arcsec=AxisSettings(start=1.2, step=0.2, count=2),
    depth_mag=AxisSettings(start=24.0, step=0.5, count=3),
    injections_per_cell=10,
)


def _trials(counts: np.ndarray) -> pd.DataFrame:
    """Return trials with the given counts in the (PSF, depth) cells of the first Einstein radius bin, all found."""
    rows = [(psf, depth, number) for psf in range(2) for depth in range(3) for number in range(int(counts[psf, depth]))]
    table = pd.DataFrame(rows, columns=["psf_bin", "depth_bin", "number"])
    table["theta_e_bin"] = 0
    table["galaxy_id"] = [f"{row.psf_bin}{row.depth_bin}{row.number % 4}" for row in table.itertuples()]
    return table.assign(healpix_128=table["number"] % 5, host_score=0.0, injected_score=0.9)


def _groups(counts: list[list[int]], **changes: int) -> list[list[int]]:
    cells = merge_groups(_trials(np.array(counts)), GRID, FEW.model_copy(update=changes))
    return cells.loc[cells["theta_e_bin"] == 0, "group"].to_numpy().reshape(2, 3).tolist()


def test_supported_cells_stay_alone_and_empty_ones_stay_empty():
    assert _groups([[10, 12, 20], [0, 15, 11]]) == [[0, 1, 2], [-1, 4, 5]]


def test_a_weak_cell_joins_its_poorest_neighbour_in_depth():
    assert _groups([[20, 4, 15], [30, 30, 30]]) == [[0, 1, 1], [3, 4, 5]]


def test_without_a_neighbour_in_depth_it_joins_one_in_psf():
    assert _groups([[4, 0, 15], [30, 0, 30]]) == [[0, -1, 2], [0, -1, 5]]


def test_groups_grow_no_further_than_allowed():
    assert _groups([[1, 1, 1], [1, 1, 1]]) == [[0, 0, 0], [3, 3, 3]]
    assert _groups([[1, 1, 1], [1, 1, 1]], maximum_merged_cells=1) == [[0, 1, 2], [3, 4, 5]]


def test_hosts_decide_support_as_trials_do():
    one_host = _trials(np.array([[20, 20, 20], [20, 20, 20]]))
    one_host.loc[(one_host["psf_bin"] == 0) & (one_host["depth_bin"] == 0), "galaxy_id"] = "the same"
    cells = merge_groups(one_host, GRID, FEW)
    assert cells.loc[cells["theta_e_bin"] == 0, "group"].tolist() == [0, 0, 2, 3, 4, 5]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 15), min_size=6, max_size=6))
def test_merging_keeps_every_trial_once_and_groups_touch(counts):
    trials = _trials(np.array(counts).reshape(2, 3))
    if trials.empty:
        return
    cells = merge_groups(trials, GRID, FEW)
    first = cells.loc[cells["theta_e_bin"] == 0]
    assert ((first["group"] >= 0).to_numpy() == (np.array(counts) > 0)).all()
    assert first.loc[first["group"] >= 0, "group"].value_counts().max() <= 3
    joined = trials.merge(cells[[*CELL, "group"]], on=CELL)
    assert joined.groupby("group").size().sum() == sum(counts)


def test_a_merged_group_has_one_number_from_pooled_counts():
    table, scores = injections(CONFIG.grid, per_cell=6)
    trials, _ = trials_of(table, scores, CONFIG.grid, "all_draws")
    merged = merged_grid(trials, CUTS, CONFIG.grid, FEW, 1)
    single = completeness_grid(trials, CUTS, CONFIG.grid, FEW, "all_draws", 1)
    assert not single["supported"].any()
    assert merged["supported"].mean() > 0.9
    assert merged["merged_cells"].max() <= 3
    key = ["threshold", "theta_e_arcsec", "psf_fwhm_arcsec", "depth_mag"]
    both = merged.merge(single[[*key, "k", "n"]], on=key, suffixes=("", "_cell"))
    pooled = both.groupby(["threshold", "merged_group"]).agg(
        k=("k", "first"), n=("n", "first"), k_cell=("k_cell", "sum"), n_cell=("n_cell", "sum"), rates=("k", "nunique")
    )
    assert (pooled["k"] == pooled["k_cell"]).all()
    assert (pooled["n"] == pooled["n_cell"]).all()
    assert (pooled["rates"] == 1).all()


def test_the_projection_is_the_constrained_least_squares_solution():
    rng = np.random.default_rng(2)
    rates, weights = rng.random((3, 2, 3)), rng.integers(1, 30, (3, 2, 3)).astype(float)
    flat = np.arange(18).reshape(3, 2, 3)
    pairs = [(flat[i], flat[i + 1]) for i in range(2)]
    pairs += [(flat[:, 1], flat[:, 0]), (flat[:, :, 0], flat[:, :, 1]), (flat[:, :, 1], flat[:, :, 2])]
    lower, higher = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    matrix = np.zeros((len(lower), 18))
    matrix[np.arange(len(lower)), lower], matrix[np.arange(len(lower)), higher] = -1.0, 1.0
    best = minimize(
        lambda x: float((weights.ravel() * (x - rates.ravel()) ** 2).sum()),
        np.full(18, 0.5),
        jac=lambda x: 2 * weights.ravel() * (x - rates.ravel()),
        constraints=LinearConstraint(matrix, 0.0, np.inf),
        method="trust-constr",
        options={"gtol": 1e-10, "xtol": 1e-12, "maxiter": 5000},
    )
    np.testing.assert_allclose(monotone_projection(rates, weights).ravel(), best.x, atol=2e-4)


def test_what_is_monotone_already_is_left_as_it_is():
    theta, psf, depth = np.meshgrid(np.arange(4), np.arange(3), np.arange(3), indexing="ij")
    rates = 0.1 * theta - 0.05 * psf + 0.05 * depth + 0.2
    np.testing.assert_allclose(monotone_projection(rates, np.ones_like(rates)), rates, atol=1e-9)


def test_the_monotone_model_is_labelled_ordered_and_narrower_than_the_cells():
    table, scores = injections(CONFIG.grid, per_cell=12)
    lost = table["condition"] == "psf1.65_depth25.10"
    trials, _ = trials_of(table[~lost], scores[~lost], CONFIG.grid, "all_draws")
    cells = completeness_grid(trials, CUTS[:1], CONFIG.grid, FEW, "all_draws", 1)
    model = monotone_grid(cells, CONFIG.grid, FEW, 1)
    assert set(model["model"]) == {"monotone"}
    assert not {"beta_lower_95", "host_lower_95"} & set(model.columns)
    held = model["n"] > 0
    assert model.loc[~held, "posterior_mean"].isna().all()
    rising = model.loc[held].sort_values("theta_e_arcsec").groupby("condition")["posterior_mean"]
    assert rising.apply(lambda line: line.is_monotonic_increasing).all()
    width = (model["conditional_upper_95"] - model["conditional_lower_95"])[held].mean()
    assert width < 0.8 * (cells["beta_upper_95"] - cells["beta_lower_95"])[held].mean()
    assert (model["conditional_lower_95"] <= model["posterior_mean"])[held].all()
    assert model.loc[held, "posterior_mean"].to_numpy() == pytest.approx(cells.loc[held, "completeness"], abs=0.35)
