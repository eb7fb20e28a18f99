"""One shift for stated shares of arc signal-to-noise: known answers, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_assets.campaign.stages.injection import RangeSettings
from lens_assets.realism.snr_targets import TARGETS, fit_to_targets, shares

WIDE = RangeSettings(minimum=-4.0, maximum=4.0)


def drawn(name: str, count: int, seed: int = 1) -> np.ndarray:
    """Signal-to-noise ratios that have exactly the shares of the targets, anyhow within each bin."""
    random = np.random.default_rng(seed)
    parts = [random.uniform(item.lower, min(item.upper, 40.0), round(count * item.share)) for item in TARGETS[name]]
    return random.permutation(np.concatenate(parts))


def hosts(count: int) -> list[str]:
    return [f"host-{row // 2}" for row in range(count)]


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=10, deadline=None)
@given(shift=st.floats(-2.0, 2.0))
def test_the_shift_between_draws_and_targets_is_found(name, shift):
    snr = drawn(name, 2000)
    fit = fit_to_targets(snr * 10 ** (0.4 * shift), hosts(len(snr)), name, WIDE, 3)
    assert fit.mode == f"arc_snr_{name}" and not fit.at_limit
    assert fit.shift_mag == pytest.approx(shift, abs=0.1)
    assert fit.lower_mag <= fit.shift_mag <= fit.upper_mag
    table = shares(snr * 10 ** (0.4 * shift), name, fit.shift_mag)
    assert table["asked"].sum() == pytest.approx(1.0)
    assert (table["found"] - table["asked"]).abs().max() < 0.05


def test_the_published_shares_are_those_of_the_earlier_pipeline():
    legacy = [(item.lower, item.upper, item.share) for item in TARGETS["legacy"]]
    assert legacy == [(0.8, 2.0, 0.4), (2.0, 8.0, 0.4), (8.0, 20.0, 0.15), (20.0, np.inf, 0.05)]
    faint = TARGETS["faint"]
    assert sum(item.share for item in faint if item.upper <= 5.0) > 0.5
    assert max(item.upper for item in faint) == 10.0


def test_the_interval_holds_the_scatter_of_other_hosts():
    """Each host has two arcs of one brightness, so that hosts are what is independent."""
    found, covered = [], 0
    truth = fit_to_targets(np.repeat(np.geomspace(0.5, 30, 4000), 2), hosts(8000), "legacy", WIDE, 1).shift_mag
    for seed in range(40):
        snr = np.repeat(np.exp(np.random.default_rng(seed).uniform(np.log(0.5), np.log(30), 100)), 2)
        fit = fit_to_targets(snr, hosts(200), "legacy", WIDE, seed)
        found.append(fit.shift_mag)
        covered += fit.lower_mag <= truth <= fit.upper_mag
    assert np.mean(found) == pytest.approx(truth, abs=0.15)
    assert covered >= 33


def test_arcs_too_faint_for_the_range_end_at_its_limit_and_none_fit_nothing():
    snr = drawn("legacy", 200)
    narrow = RangeSettings(minimum=-1.0, maximum=1.0)
    fit = fit_to_targets(snr / 100.0, hosts(len(snr)), "legacy", narrow, 1)
    assert fit.at_limit and fit.shift_mag == -1.0
    with_failed = np.r_[snr, np.nan, np.nan]
    again = fit_to_targets(with_failed, hosts(len(with_failed)), "legacy", WIDE, 1)
    assert again.n_draws == len(snr)
    assert fit_to_targets(np.array([np.nan]), ["a"], "faint", WIDE, 1).mode == "not_fitted"
