"""The hierarchical model draws weak cells to their group; it is nearer the truth than raw rates, and covers it."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import check_grad
from scipy.special import expit
from scipy.stats import betabinom

from lens_assets.selection.completeness import completeness_grid, thresholds_of, trials_of
from lens_assets.selection.hierarchical import _negative_log_posterior, fit_hierarchical
from lens_assets.selection.models import HIERARCHICAL, hierarchical_grid, modelled_grids
from lens_assets_tests.selection.synthetic import THRESHOLDS, injections, settings_of

THETAS, CONDITIONS, PHI = 10, 9, 40.0


def _skies(count: int, seed: int = 1):
    """Yield (true rates, k, n) of grids whose cells scatter about a surface; a third of the cells is little sampled."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        surface = expit(-0.5 + 2.5 * np.linspace(-1, 1, THETAS)[:, None] + rng.normal(0.0, 0.7, CONDITIONS)[None, :])
        rates = rng.beta(surface * PHI, (1.0 - surface) * PHI)
        trials = rng.choice([3, 25, 60], size=rates.shape).astype(float)
        yield rates, rng.binomial(trials.astype(int), rates).astype(float), trials


def test_it_is_nearer_the_truth_than_raw_rates_and_its_intervals_cover():
    rng, raw, pooled, covered, cells = np.random.default_rng(0), 0.0, 0.0, {0.68: 0, 0.95: 0}, 0
    few = {"raw": 0.0, "pooled": 0.0}
    for rates, k, n in _skies(16):
        draws = fit_hierarchical(k, n).draws(k, n, 800, rng)
        mean = draws.mean(axis=0)
        raw, pooled = raw + ((k / n - rates) ** 2).sum(), pooled + ((mean - rates) ** 2).sum()
        few["raw"] += ((k / n - rates)[n == 3] ** 2).sum()
        few["pooled"] += ((mean - rates)[n == 3] ** 2).sum()
        for level in covered:
            low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
            covered[level] += int(((low <= rates) & (rates <= high)).sum())
        cells += rates.size
    assert np.sqrt(pooled / raw) < 0.6
    assert np.sqrt(few["pooled"] / few["raw"]) < 0.4
    assert covered[0.68] / cells == pytest.approx(0.68, abs=0.04)
    assert covered[0.95] / cells == pytest.approx(0.95, abs=0.02)


def test_a_cell_moves_to_its_group_the_more_the_less_it_is_sampled():
    k, n = np.full((6, 5), 24.0), np.full((6, 5), 60.0)
    k[2, 3], n[2, 3] = 0.0, 4.0
    k[4, 1], n[4, 1] = 0.0, 60.0
    mean = fit_hierarchical(k, n).draws(k, n, 4000, np.random.default_rng(1)).mean(axis=0)
    assert 0.15 < mean[2, 3] < 0.39
    assert mean[4, 1] < 0.2
    assert mean[0, 0] == pytest.approx(0.4, abs=0.05)


def test_the_scatter_of_cells_is_found():
    wide, narrow = [], []
    for _, k, n in _skies(6, 3):
        wide.append(fit_hierarchical(k, n).phi)
        smooth = np.random.default_rng(5).binomial(60, np.broadcast_to(np.linspace(0.1, 0.8, THETAS)[:, None], k.shape))
        narrow.append(fit_hierarchical(smooth.astype(float), np.full(k.shape, 60.0)).phi)
    assert np.median(wide) == pytest.approx(PHI, rel=0.6)
    assert min(narrow) > 2.5 * np.median(wide)


def test_the_likelihood_is_beta_binomial_and_its_gradient_is_exact():
    _, k, n = next(_skies(1))
    rng = np.random.default_rng(2)
    first, second = rng.normal(0.0, 0.3, (2, 1 + THETAS + CONDITIONS))

    def log_posterior(at: np.ndarray, log_phi: float) -> float:
        mu, phi = expit(at[0] + at[1 : 1 + THETAS][:, None] + at[1 + THETAS :][None, :]), np.exp(log_phi)
        return float(betabinom.logpmf(k, n, mu * phi, (1 - mu) * phi).sum()) - 0.5 * float((at[1:] ** 2).sum()) / 4.0

    value = _negative_log_posterior(first, 3.0, k, n)[0] - _negative_log_posterior(second, 2.0, k, n)[0]
    assert value == pytest.approx(log_posterior(second, 2.0) - log_posterior(first, 3.0), rel=1e-9)
    error = check_grad(
        lambda x: _negative_log_posterior(x, 3.0, k, n)[0], lambda x: _negative_log_posterior(x, 3.0, k, n)[1], first
    )
    assert error < 1e-3


def test_all_or_nothing_and_empty_groups_stay_finite():
    k, n = np.zeros((4, 3)), np.full((4, 3), 10.0)
    k[3] = 10.0
    n[1, :], n[:, 2] = 0.0, 0.0
    k = np.minimum(k, n)
    draws = fit_hierarchical(k, n).draws(k, n, 500, np.random.default_rng(0))
    assert np.isfinite(draws).all()
    assert draws[:, 3, 0].mean() > 0.8 > 0.2 > draws[:, 0, 0].mean()


def test_the_table_says_which_model_it_is_and_keeps_counts():
    config = settings_of()
    few = config.intervals.model_copy(update={"bootstrap_resamples": 50})
    table, scores = injections(config.grid, per_cell=12)
    lost = table["condition"] == "psf1.65_depth25.10"
    trials, _ = trials_of(table[~lost], scores[~lost], config.grid, "all_draws")
    cells = completeness_grid(trials, thresholds_of(THRESHOLDS)[:1], config.grid, few, "all_draws", 1)
    model = hierarchical_grid(cells, config.grid, few, 1)
    assert set(model["model"]) == {HIERARCHICAL}
    pd.testing.assert_frame_equal(model[["k", "n", "supported"]], cells[["k", "n", "supported"]])
    held = model["n"] > 0
    assert model.loc[~held, "posterior_mean"].isna().all()
    assert (model["conditional_lower_95"] <= model["posterior_mean"])[held].all()
    width = (model["conditional_upper_95"] - model["conditional_lower_95"])[held].mean()
    assert width < 0.8 * (cells["beta_upper_95"] - cells["beta_lower_95"])[held].mean()
    pd.testing.assert_frame_equal(model, hierarchical_grid(cells, config.grid, few, 1))
    both = modelled_grids(("monotone", HIERARCHICAL), cells, config.grid, few, 1)
    assert both.groupby("model", sort=False).size().to_dict() == {"monotone": len(cells), HIERARCHICAL: len(cells)}
