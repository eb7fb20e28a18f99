"""Failure experiments: a cause that is one is seen, one that is none is not accused, and the control is a control."""

import numpy as np
import pandas as pd
import pytest

from lens_assets.campaign.campaign import load_campaign
from lens_assets.selection import failures
from lens_assets_tests.selection.synthetic import settings_of

INTERVALS = settings_of().intervals.model_copy(update={"bootstrap_resamples": 300})
NAMED = {experiment.name: experiment for experiment in failures.EXPERIMENTS}


def _detected(rate: float, seed: int = 1, count: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "injection_id": [f"i{k}" for k in range(count)],
            "galaxy_id": [f"g{k % 80}" for k in range(count)],
            "detected": rng.random(count) < rate,
        }
    )


def test_taking_the_cause_away_raises_completeness():
    before = _detected(0.4)
    after = before.assign(detected=before["detected"] | (np.arange(400) % 3 == 0))
    row = failures.effect_row(NAMED["sharp_arcs"], before, after, INTERVALS, 1)
    assert row["verdict"] == failures.SUPPORTED
    missed = ~before["detected"]
    assert row["rescued"] == pytest.approx((after["detected"] & missed).sum() / missed.sum())
    assert row["shift"] == pytest.approx(row["completeness"] - row["baseline_completeness"])
    assert row["shift_lower_95"] < row["shift"] < row["shift_upper_95"]
    assert failures.effect_row(NAMED["sharp_arcs"], after, before, INTERVALS, 1)["verdict"] == failures.OPPOSED
    none = failures.effect_row(NAMED["sharp_arcs"], before, before, INTERVALS, 1)
    assert (none["verdict"], none["shift"]) == (failures.NOT_SUPPORTED, 0.0)


def test_hypotheses_without_effect_are_rarely_supported():
    """Injections that flip either way at random: at most the 2.5% of one side, within its binomial scatter."""
    verdicts = []
    for seed in range(120):
        before, after = _detected(0.4, seed), _detected(0.4, 1000 + seed)
        verdicts.append(failures.effect_row(NAMED["sharp_arcs"], before, after, INTERVALS, seed)["verdict"])
    assert verdicts.count(failures.SUPPORTED) <= 9


def test_the_vanishing_lens_keeps_the_sources_offset_in_einstein_radii():
    plan = pd.DataFrame(
        {"theta_e_arcsec": [1.0, 2.0], "lens_x_arcsec": [0.1, 0.0], "lens_y_arcsec": [0.0, -0.1],
         "source_x_arcsec": [0.4, 1.0], "source_y_arcsec": [0.2, 0.5]}
    )  # fmt: skip
    small = failures.vanishing(plan)
    for axis in ("x", "y"):
        before = (plan[f"source_{axis}_arcsec"] - plan[f"lens_{axis}_arcsec"]) / plan["theta_e_arcsec"]
        after = (small[f"source_{axis}_arcsec"] - small[f"lens_{axis}_arcsec"]) / small["theta_e_arcsec"]
        assert after.to_numpy() == pytest.approx(before.to_numpy())
    row = failures.effect_row(NAMED["vanishing_lens"], _detected(0.4), _detected(0.0), INTERVALS, 1)
    assert (row["verdict"], row["completeness"]) == (failures.CONTROL, 0.0)


def test_each_experiment_changes_one_thing():
    settings = load_campaign("demo").injection
    plan = pd.DataFrame(
        {"theta_e_arcsec": [1.0], "lens_x_arcsec": [0.0], "lens_y_arcsec": [0.0], "source_x_arcsec": [0.1],
         "source_y_arcsec": [0.1], "source_mag_r": [23.0], "source_half_light_radius_arcsec": [0.2]}
    )  # fmt: skip
    hosts = np.random.default_rng(1).normal(size=(1, 3, 41, 41)).astype(np.float32)
    for experiment in failures.EXPERIMENTS:
        changed = [
            not experiment.plan(plan).equals(plan),
            experiment.settings(settings) != settings,
            not np.array_equal(experiment.hosts(hosts), hosts),
        ]
        assert sum(changed) == 1, experiment.name
    assert NAMED["sharp_arcs"].settings(settings).renderer.psf_fwhm_scale == 0.5 * settings.renderer.psf_fwhm_scale


def test_subtracting_the_host_takes_its_light_and_leaves_an_arc():
    axis = np.arange(101) - 50
    radius = np.hypot(axis[:, None], axis[None, :])
    host = np.exp(-radius / 6.0)
    arc = np.where((radius > 9) & (radius < 12) & (axis[None, :] > 6), 0.3, 0.0)
    noise = np.random.default_rng(2).normal(0, 1e-3, (1, 3, 101, 101))
    bare = failures.without_host((host + noise).astype(np.float32))
    with_arc = failures.without_host((host + arc + noise).astype(np.float32))
    assert np.abs(bare[0, 1][radius > 3]).sum() < 0.05 * host[radius > 3].sum()
    assert with_arc[0, 1][arc > 0].mean() == pytest.approx(0.3, rel=0.1)


def _trials(count: int = 800) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    trials = pd.DataFrame({"theta_e_arcsec": rng.uniform(0.5, 3.0, count), "psfsize_r": 1.3, "host_score": 0.0})
    trials["lensed_mag_r"], trials["lensed_mag_g"] = rng.uniform(20, 24, count), rng.uniform(21, 24, count)
    trials["mag_r"], trials["mag_g"] = rng.uniform(18, 20, count), rng.uniform(19, 21, count)
    trials["arc_snr"] = 10 ** (0.4 * (24 - trials["lensed_mag_r"]))
    trials["type"] = rng.choice(["SER", "DEV"], count)
    trials["confuser_category"] = rng.choice(["ring", None], count)
    trials["n_images"] = rng.choice([1, 2], count)
    trials["injection_id"] = [f"i{k:04d}" for k in range(count)]
    wide = trials["theta_e_arcsec"] > 1.75
    return trials.assign(injected_score=np.where(wide & (rng.random(count) < 0.8), 0.9, 0.1))


def test_the_property_that_decides_is_where_completeness_collapses():
    table = failures.where_it_collapses(_trials(), 0.5, INTERVALS)
    lowest = table.loc[table["completeness"].idxmin()]
    assert lowest["property"] == "theta_E over PSF FWHM"
    assert lowest["lift"] == 0.0
    others = table.loc[~table["property"].isin(["theta_E over PSF FWHM", "arc surface brightness, r [mag/arcsec2]"])]
    assert others["lift"].between(0.6, 1.4).all()
    assert (table.groupby("property")["n"].sum() == 800).all()
    assert set(table.loc[table["property"] == "confuser_category", "value"]) == {"none", "ring"}


def test_the_gallery_shows_the_clearest_misses():
    trials = _trials()
    shown = failures.surprising_misses(trials, 0.5, 5)
    missed = trials.loc[trials["injected_score"] < 0.5]
    assert shown["arc_snr"].tolist() == sorted(missed["arc_snr"], reverse=True)[:5]


@pytest.mark.parametrize(("loss", "verdict"), [(0.3, failures.SUPPORTED), (0.0, failures.NOT_SUPPORTED)])
def test_hosts_that_lose_arcs_are_told_from_hosts_in_poor_cells(loss, verdict):
    """Suspected hosts lie in poorer cells by choice, which alone must not accuse them."""
    rng = np.random.default_rng(8)
    host = np.repeat(np.arange(300), 5)
    suspected = host % 2 == 0
    poor = rng.random(1500) < np.where(suspected, 0.8, 0.2)
    rate = np.where(poor, 0.3, 0.8) * np.where(suspected, 1 - loss, 1.0)
    trials = pd.DataFrame(
        {"theta_e_bin": poor.astype(int), "psf_bin": 0, "depth_bin": 0, "galaxy_id": host, "host_score": 0.0,
         "injected_score": np.where(rng.random(1500) < rate, 0.9, 0.1)}
    )  # fmt: skip
    row = failures.contrast_row("confuser_hosts", "why", trials, suspected, 0.5, INTERVALS, 1)
    assert row["completeness"] - row["baseline_completeness"] > 0.2
    assert row["verdict"] == verdict
    assert abs(row["shift"] - loss * 0.5) < 0.08
    assert row["n"] == 750
