"""Closure closes for a true measurement, sees a wrong one, and says when it cannot tell."""

import numpy as np
import pandas as pd
import pytest

from lens_assets.selection.closure import (
    LEVELS_OF_STRATA,
    closure,
    closure_verdict,
    coverage_table,
    predict_by_stratum,
    with_strata,
)
from lens_assets_tests.selection.synthetic import settings_of

GRID = settings_of().grid
JEFFREYS = (0.5, 0.5)


def _population(n: int, seed: int, theta_mean: float, factor: float = 1.0, red: float = 0.5) -> pd.DataFrame:
    """Objects found with a rate that rises with Einstein radius and arc brightness, times `factor`, red hosts more."""
    rng = np.random.default_rng(seed)
    is_red = rng.random(n) < red
    frame = pd.DataFrame(
        {
            "theta_e_arcsec": np.clip(rng.normal(theta_mean, 0.4, n), 0.4, 2.8),
            "psfsize_r": rng.uniform(1.03, 1.77, n),
            "psfdepth_r_mag": rng.uniform(23.7, 25.3, n),
            "arc_mag_r": rng.uniform(19.5, 23.0, n),
            "host_mag_r": rng.uniform(18.0, 20.0, n),
        }
    )
    frame["host_mag_g"] = frame["host_mag_r"] + np.where(is_red, rng.uniform(1.3, 1.9, n), rng.uniform(0.3, 0.7, n))
    bright = frame["psfdepth_r_mag"] - frame["arc_mag_r"]
    rate = np.where(is_red, factor, 0.3 * factor) / (
        1.0 + np.exp(-(2.5 * (frame["theta_e_arcsec"] - 1.3) + 0.9 * (bright - 3.0)))
    )
    return frame.assign(passed=rng.random(n) < rate)


def _close(lenses: pd.DataFrame, trials: pd.DataFrame):
    return closure(with_strata(lenses, GRID), with_strata(trials, GRID), LEVELS_OF_STRATA, JEFFREYS, 1)


def test_injections_predict_another_population():
    trials, lenses = _population(20_000, 1, 1.6), _population(1_500, 2, 1.4, red=0.9)
    result = _close(lenses, trials)
    plain = trials["passed"].mean() - lenses["passed"].mean()
    assert abs(plain) > 0.1
    assert abs(result.bias) < 0.03
    assert abs(result.bias) < 3.5 * result.standard_error
    assert (result.coverage["p_value"] > 0.005).all()
    assert closure_verdict(result, 30, 0.05, 0.01)[0] == "PASS"


def test_a_renderer_that_is_too_kind_fails_with_the_size_of_the_bias():
    result = _close(_population(1_500, 2, 1.1, factor=0.6), _population(20_000, 1, 1.6))
    assert result.bias > 0.1
    verdict, reason = closure_verdict(result, 30, 0.05, 0.01)
    assert verdict == "FAIL"
    assert "expected |bias| <= 0.05" in reason


def test_the_standard_error_is_the_scatter_of_the_bias():
    biases, errors = [], []
    for seed in range(60):
        result = _close(_population(150, 100 + seed, 1.2), _population(3_000, 900 + seed, 1.5))
        biases.append(result.bias)
        errors.append(result.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(biases), rel=0.35)
    assert abs(np.mean(biases)) < 0.03


def test_few_lenses_or_large_errors_are_not_evaluated():
    few = _close(_population(12, 4, 1.2), _population(2_000, 5, 1.5))
    assert closure_verdict(few, 30, 0.15, 0.01)[0] == "NOT-EVALUATED"
    some = _close(_population(60, 4, 1.2), _population(2_000, 5, 1.5))
    verdict, reason = closure_verdict(some, 30, 0.01, 0.01)
    assert verdict == "NOT-EVALUATED"
    assert "too uncertain" in reason


@pytest.mark.parametrize(("passed", "word"), [(False, "none"), (True, "all")])
def test_a_cut_that_nothing_or_everything_passes_tests_nothing(passed: bool, word: str):
    lenses, trials = (_population(n, seed, 1.4).assign(passed=passed) for n, seed in ((5_000, 4), (20_000, 5)))
    verdict, reason = closure_verdict(_close(lenses, trials), 30, 0.15, 0.01)
    assert verdict == "NOT-EVALUATED"
    assert reason.startswith(f"{word} of 5000 lenses")


def test_no_lens_at_all_is_not_evaluated():
    lenses = _population(5, 4, 1.2).assign(theta_e_arcsec=9.0)
    result = _close(lenses, _population(500, 5, 1.5))
    assert result.n_lenses == 0
    assert closure_verdict(result, 30, 0.15, 0.01)[0] == "NOT-EVALUATED"


def test_a_lens_takes_the_finest_stratum_that_holds_enough():
    trials = pd.DataFrame({"a": [1] * 5 + [2] * 30, "b": [1] * 35, "passed": [True] * 5 + [False] * 30})
    lenses = pd.DataFrame({"a": [1, 2, 3], "b": [1, 1, 9], "passed": [True, False, True]})
    predicted = predict_by_stratum(lenses, trials, [("a", "b"), ("b",)], minimum_trials=20)
    assert predicted["level"].tolist() == [1, 0, -1]
    assert predicted["stratum_n"].tolist() == [35, 30, 0]
    assert predicted["stratum_k"].tolist() == [5, 0, 0]


def test_coverage_is_exact_for_betabinomial_counts():
    rng = np.random.default_rng(3)
    covered = {0.68: 0, 0.95: 0}
    for _ in range(60):
        k, n = rng.integers(0, 31, 40), np.full(40, 30)
        rate = rng.beta(k + 0.5, n - k + 0.5)
        size = rng.integers(1, 8, 40)
        strata = pd.DataFrame(
            {"stratum": [f"s{rng.integers(1 << 40)}" for _ in range(40)], "k": k, "n": n, "n_lenses": size,
             "n_passed": rng.binomial(size, rate)}
        )  # fmt: skip
        for row in coverage_table(strata, JEFFREYS, 1).itertuples():
            covered[row.level] += row.n_covered
    assert covered[0.68] / 2400 == pytest.approx(0.68, abs=0.03)
    assert covered[0.95] / 2400 == pytest.approx(0.95, abs=0.015)


def test_rows_outside_the_grid_or_without_brightness_have_no_stratum():
    frame = _population(4, 1, 1.2)
    frame.loc[0, "theta_e_arcsec"], frame.loc[1, "psfdepth_r_mag"], frame.loc[2, "arc_mag_r"] = 5.0, 27.0, np.nan
    assert len(with_strata(frame, GRID)) == 1
