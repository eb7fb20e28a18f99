"""Counts by hand, posteriors by SciPy, bootstraps that know shared hosts, and marginals that add counts."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lens_assets.selection.completeness import (
    COMPLETENESS_COLUMNS,
    completeness_grid,
    thresholds_of,
    trials_of,
)
from lens_assets.selection.marginals import footprint_marginal, marginal, null_floor
from lens_assets.selection.rates import combined_limits, posterior_mean, rate_columns
from lens_assets_tests.selection.synthetic import THRESHOLDS, injections, settings_of, true_rate

CUTS = thresholds_of(THRESHOLDS)
CONFIG = settings_of()
FEW = CONFIG.intervals.model_copy(update={"bootstrap_resamples": 50, "minimum_trials": 10, "minimum_hosts": 3})


def _table(per_cell: int = 20, **kwargs) -> tuple[pd.DataFrame, pd.DataFrame]:
    table, scores = injections(CONFIG.grid, per_cell, **kwargs)
    trials, _ = trials_of(table, scores, CONFIG.grid, "all_draws")
    return trials, completeness_grid(trials, CUTS, CONFIG.grid, FEW, "all_draws", CONFIG.seed)


def test_one_cell_by_hand():
    table, scores = injections(CONFIG.grid, per_cell=6)
    cell = (table["condition"] == "psf1.40_depth24.50") & table["theta_e_arcsec"].between(1.375, 1.624999)
    rows = table.index[cell]
    assert len(rows) == 6
    # found, found, found by the host alone, missed, failed draw, found only below the stricter cut
    scores.loc[rows, "injected_score"] = [0.9, 0.9, 0.95, 0.1, 0.9, 0.6]
    scores.loc[rows, "host_score"] = [0.05, 0.05, 0.85, 0.05, 0.05, 0.05]
    table.loc[rows[4], "status"] = 2
    trials, counts = trials_of(table, scores, CONFIG.grid, "all_draws")
    assert counts["failed"] == 1
    assert counts["trials"] == len(table) - 1
    result = completeness_grid(trials, CUTS, CONFIG.grid, FEW, "all_draws", 1)
    at = result.loc[(result["condition"] == "psf1.40_depth24.50") & (result["theta_e_arcsec"] == 1.5)]
    assert at["n"].tolist() == [5, 5]
    assert at["k"].tolist() == [3, 2]
    assert at["n_host_only"].tolist() == [1, 1]
    assert at["n_hosts"].tolist() == [table.loc[rows.delete(4), "galaxy_id"].nunique()] * 2
    assert at["completeness"].tolist() == [0.6, 0.4]
    assert at["beta_lower_95"].iloc[0] == pytest.approx(stats.beta.ppf(0.025, 3.5, 2.5), rel=1e-12)
    assert at["beta_upper_68"].iloc[0] == pytest.approx(stats.beta.ppf(0.84, 3.5, 2.5), rel=1e-12)
    assert not at["supported"].any()


def test_every_cell_is_a_row_even_without_hosts():
    table, scores = injections(CONFIG.grid, per_cell=12)
    kept = table["condition"] != "psf1.65_depth25.10"
    trials, _ = trials_of(table[kept], scores[kept], CONFIG.grid, "all_draws")
    result = completeness_grid(trials, CUTS, CONFIG.grid, FEW, "all_draws", 1)
    assert len(result) == 2 * 90
    assert list(result.columns) == list(COMPLETENESS_COLUMNS)
    empty = result.loc[result["condition"] == "psf1.65_depth25.10"]
    assert (empty["n"] == 0).all()
    assert empty["completeness"].isna().all()
    assert not empty["supported"].any()


def test_more_detections_raise_completeness_and_a_passing_host_lowers_it():
    table, scores = injections(CONFIG.grid, per_cell=10)

    def pooled(changed: pd.DataFrame) -> float:
        trials, _ = trials_of(table, changed, CONFIG.grid, "all_draws")
        result = completeness_grid(trials, CUTS[:1], CONFIG.grid, FEW, "all_draws", 1)
        return result["k"].sum() / result["n"].sum()

    as_is = pooled(scores)
    assert pooled(scores.assign(injected_score=0.95)) == 1.0
    assert pooled(scores.assign(host_score=0.95)) == 0.0
    assert 0.2 < as_is < 0.8


def test_completeness_follows_the_law_of_the_detector():
    trials, result = _table(per_cell=150)
    marginals = marginal(trials, CUTS, CONFIG.grid, FEW, 1)
    theta = marginals.loc[(marginals["axis"] == "theta_e_arcsec") & (marginals["threshold"] == "fixed_0.5")]
    expected = true_rate(theta["centre"].to_numpy())
    assert np.abs(theta["completeness"].to_numpy() - expected).max() < 0.05
    assert result["supported"].all()


def test_an_injection_in_another_cell_than_its_partition_is_refused():
    table, scores = injections(CONFIG.grid, per_cell=1)
    table.loc[3, "psfsize_r"] = 1.65
    with pytest.raises(ValueError, match="expected a host in cell psf1.15"):
        trials_of(table, scores, CONFIG.grid, "all_draws")
    table.loc[3, "psfsize_r"] = 3.0
    with pytest.raises(ValueError, match="plan them again"):
        trials_of(table, scores, CONFIG.grid, "all_draws")


def test_the_denominator_is_all_draws_or_the_multiply_imaged():
    table, scores = injections(CONFIG.grid, per_cell=2)
    table.loc[table.index[::2], "n_images"] = 1
    every, _ = trials_of(table, scores, CONFIG.grid, "all_draws")
    multiple, counts = trials_of(table, scores, CONFIG.grid, "multiply_imaged")
    assert len(every) == 2 * len(multiple) == 2 * counts["not_in_denominator"]


def test_a_missing_score_is_neither_found_nor_missed():
    table, scores = injections(CONFIG.grid, per_cell=2)
    scores.loc[0, "injected_score"] = np.nan
    trials, counts = trials_of(table, scores.drop(index=1), CONFIG.grid, "all_draws")
    assert counts["failed"] == 2
    assert len(trials) == len(table) - 2


def test_reused_hosts_widen_the_interval():
    rng = np.random.default_rng(5)
    fate = rng.random(10) < 0.5
    hosts = np.repeat(np.arange(10), 40)
    shared = rate_columns(fate[hosts], {"host": hosts}, (0.5, 0.5), 400, 1, "shared")
    alone = rate_columns(fate[hosts], {"host": np.arange(400)}, (0.5, 0.5), 400, 1, "alone")
    binomial_width = shared["beta_upper_95"] - shared["beta_lower_95"]
    assert shared["host_upper_95"] - shared["host_lower_95"] > 3 * binomial_width
    assert alone["host_upper_95"] - alone["host_lower_95"] == pytest.approx(binomial_width, rel=0.15)


def test_the_bootstrap_of_a_group_does_not_depend_on_other_groups():
    first = rate_columns([True, False, True], {"host": [1, 2, 3]}, (1.0, 1.0), 60, 3, "a")
    again = rate_columns([True, False, True], {"host": [1, 2, 3]}, (1.0, 1.0), 60, 3, "a")
    assert first == again


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 0.95))
def test_marginals_add_the_counts_of_the_grid(seed, cut):
    table, scores = injections(CONFIG.grid, per_cell=2, seed=seed)
    scores["injected_score"] = np.random.default_rng(seed).random(len(scores))
    thresholds = thresholds_of(THRESHOLDS.iloc[:1].assign(threshold=cut))
    trials, _ = trials_of(table, scores, CONFIG.grid, "all_draws")
    result = completeness_grid(trials, thresholds, CONFIG.grid, FEW, "all_draws", 1)
    along = marginal(trials, thresholds, CONFIG.grid, FEW, 1)
    for axis in ("theta_e_arcsec", "psf_fwhm_arcsec", "depth_mag"):
        summed = result.groupby(axis)[["k", "n", "n_host_only"]].sum().to_numpy()
        shown = along.loc[along["axis"] == axis, ["k", "n", "n_host_only"]].to_numpy()
        assert (summed == shown).all()


def test_the_floor_counts_each_host_once():
    table, scores = injections(CONFIG.grid, per_cell=3)
    loud = table["galaxy_id"].iloc[0]
    scores.loc[(table["galaxy_id"] == loud).to_numpy(), "host_score"] = 0.7
    trials, _ = trials_of(table, scores, CONFIG.grid, "all_draws")
    floor = null_floor(trials, CUTS, FEW).set_index("threshold")
    assert floor.loc["fixed_0.5", "n_hosts_passing_alone"] == 1
    assert floor.loc["fpr_0.01", "n_hosts_passing_alone"] == 0
    assert floor.loc["fixed_0.5", "n_hosts"] == table["galaxy_id"].nunique()


def test_a_cell_without_detections_claims_no_certainty():
    table, scores = injections(CONFIG.grid, per_cell=12)
    trials, _ = trials_of(table, scores.assign(injected_score=0.1), CONFIG.grid, "all_draws")
    result = completeness_grid(trials, CUTS, CONFIG.grid, FEW, "all_draws", 1)
    assert (result[["host_lower_95", "host_upper_95", "cell_upper_95"]] == 0.0).all(axis=None)
    assert result["bootstrap_degenerate"].all()
    for kind in ("conditional", "total"):
        assert (result[f"{kind}_upper_95"] >= result["beta_upper_95"]).all()
        assert (result[f"{kind}_upper_95"] > stats.beta.ppf(0.974, 0.5, 12.5)).all()
    _, ordinary = _table(per_cell=20)
    mixed = ordinary["k"].between(1, 19)
    assert not ordinary.loc[mixed, "bootstrap_degenerate"].any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12), st.integers(1, 12), st.integers(0, 12), st.integers(0, 12))
def test_limits_lie_inside_0_and_1_and_a_bootstrap_at_the_bound_gives_way(k, n, lower_k, upper_k):
    k, moved = min(k, n), (min(lower_k, n), min(upper_k, n))
    hits = np.arange(n) < k
    clusters = {"host": np.arange(n), "cell": np.arange(n) // 3}
    rates = rate_columns(hits, clusters, (0.5, 0.5), 60, 1, "few")
    limits = combined_limits(rates, moved, n, (0.5, 0.5))
    for percent in (68, 95):
        for side, bound, wider in (("lower", 0.0, min), ("upper", 1.0, max)):
            conditional, total = (limits[f"{kind}_{side}_{percent}"] for kind in ("conditional", "total"))
            beta, host = rates[f"beta_{side}_{percent}"], rates[f"host_{side}_{percent}"]
            assert conditional == (beta if host == bound else wider(beta, host))
            assert 0.0 < conditional < 1.0
            assert 0.0 < total < 1.0
            assert wider(conditional, total) == pytest.approx(total, abs=1e-12)


def test_three_of_sixty_keep_the_beta_limit():
    """Resampled hosts often miss all three, so that the bootstrap reaches 0; the trials do not say that C is 0."""
    rates = rate_columns(
        np.arange(60) < 3, {"host": np.arange(60) // 4, "cell": np.arange(60) // 9}, (0.5, 0.5), 400, 1, ""
    )
    assert rates["host_lower_95"] == rates["cell_lower_95"] == 0.0
    limits = combined_limits(rates, (3, 3), 60, (0.5, 0.5))
    expected = stats.beta.ppf(0.025, 3.5, 57.5)
    assert limits["conditional_lower_95"] == pytest.approx(expected)
    assert limits["total_lower_95"] == pytest.approx(expected)
    lost = combined_limits(rates, (3, 0), 60, (0.5, 0.5))
    assert lost["total_lower_95"] == pytest.approx(stats.beta.ppf(0.025, 0.5, 60.5))


def test_the_thresholds_own_uncertainty_widens_total_limits_only():
    table, scores = injections(CONFIG.grid, per_cell=40)
    graded = scores.assign(injected_score=np.random.default_rng(3).random(len(scores)))
    trials, _ = trials_of(table, graded, CONFIG.grid, "all_draws")
    result = completeness_grid(trials, CUTS, CONFIG.grid, FEW, "all_draws", 1).set_index("threshold")
    fixed, defined = result.loc["fixed_0.5"], result.loc["fpr_0.01"]
    assert (fixed["k_threshold_lower"] == fixed["k"]).all()
    assert (defined["k_threshold_lower"] >= defined["k"]).all()
    assert (defined["k_threshold_upper"] <= defined["k"]).all()
    # The cut is 0.8 [0.7, 0.92] and scores are uniform, so that C moves by +0.10 and -0.12.
    moved = (defined["k_threshold_lower"] - defined["k"]).sum() / defined["n"].sum()
    assert moved == pytest.approx(0.10, abs=0.02)
    row = defined.iloc[0]
    up = (row["k_threshold_lower"] - row["k"]) / row["n"]
    statistical = max(row["beta_upper_95"], row["host_upper_95"], row["cell_upper_95"]) - row["posterior_mean"]
    assert row["total_upper_95"] == pytest.approx(min(1.0, row["posterior_mean"] + np.hypot(statistical, up)))
    assert (defined["total_upper_95"] >= defined["conditional_upper_95"]).all()
    assert (defined["total_lower_95"] <= defined["conditional_lower_95"]).all()
    assert (
        fixed["total_lower_95"] - fixed[["beta_lower_95", "host_lower_95", "cell_lower_95"]].min(axis=1)
    ).abs().max() < 1e-12


def test_footprint_weights_are_post_stratification():
    table, scores = injections(CONFIG.grid, per_cell=20)
    shallow = (table["psfdepth_r_mag"] < 24.2).to_numpy()
    scores["injected_score"] = np.where(shallow, 0.1, 0.9)
    trials, _ = trials_of(table, scores, CONFIG.grid, "all_draws")
    keys = sorted(table["condition"].unique())
    share = [0.9 / 3 if key.endswith("23.90") else 0.1 / 6 for key in keys]
    shares = pd.DataFrame({"condition": [*keys, "outside"], "share": [*(0.8 * np.array(share)), 0.2]})
    weighted = footprint_marginal(trials, shares, "footprint, randoms", CUTS[:1], CONFIG.grid, FEW, 1)
    theta = weighted.loc[weighted["axis"] == "theta_e_arcsec"]
    # Nothing is found in shallow conditions: 90% of the footprint inside the grid, and a third of the plan.
    assert theta["completeness"].to_numpy() == pytest.approx(0.1)
    plain = marginal(trials, CUTS[:1], CONFIG.grid, FEW, 1)
    assert plain.loc[plain["axis"] == "theta_e_arcsec", "completeness"].to_numpy() == pytest.approx(2 / 3)
    assert theta["share_with_trials"].to_numpy() == pytest.approx(0.8)
    assert (theta["n_eff"] < theta["n"]).all()
    assert (plain["n_eff"] == plain["n"]).all()
    assert list(weighted.columns.difference(plain.columns)) == []
    host = weighted["host_lower_95"].where(weighted["host_lower_95"] > 0)
    least = np.fmin(weighted["beta_lower_95"], host)
    np.testing.assert_allclose(weighted["conditional_lower_95"], least, rtol=1e-12)
    depth = weighted.loc[weighted["axis"] == "depth_mag"]
    assert depth["completeness"].tolist() == pytest.approx([0.0, 1.0, 1.0])
    lost = trials.loc[trials["depth_bin"] != 0]
    fewer = footprint_marginal(lost, shares, "footprint, randoms", CUTS[:1], CONFIG.grid, FEW, 1)
    assert fewer.loc[fewer["axis"] == "theta_e_arcsec", "share_with_trials"].to_numpy() == pytest.approx(0.08)


def test_a_threshold_that_may_move_widens_the_total_limits_of_footprint_rates_too():
    table, scores = injections(CONFIG.grid, per_cell=3)
    scores = scores.assign(host_score=0.0, injected_score=np.random.default_rng(3).random(len(scores)))
    trials, _ = trials_of(table, scores, CONFIG.grid, "all_draws")
    shares = pd.DataFrame({"condition": table["condition"].unique(), "share": 0.1})
    fixed = THRESHOLDS.iloc[:1]
    moving = thresholds_of(fixed.assign(threshold_lower=0.2, threshold_upper=0.8))
    still, moved = (
        footprint_marginal(trials, shares, "footprint, randoms", cuts, CONFIG.grid, FEW, 1)
        for cuts in (thresholds_of(fixed), moving)
    )
    pd.testing.assert_series_equal(still["conditional_lower_95"], moved["conditional_lower_95"])
    assert (moved["total_lower_95"] <= still["total_lower_95"]).all()
    assert (moved["total_upper_95"] > still["total_upper_95"]).all()


def test_posterior_mean_of_the_uniform_prior_is_laplaces_rule():
    assert posterior_mean(3, 8, (1.0, 1.0)) == pytest.approx(4 / 10)
