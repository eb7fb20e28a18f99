"""Which hosts are eligible, how often each is used, and which cells are filled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_assets.lensing.plan import (
    NoHostsError,
    cell_report,
    draw_parameters,
    eligible_hosts,
    grid_injections,
    uses_of_hosts,
)

EDGES = (0.5, 0.75, 1.0)


def manifest_and_cutouts(hosts):
    manifest = hosts.rename(columns={"host_cutout_path": "cutout_path", "host_weight": "sampling_weight_deployment"})
    manifest = manifest.drop(
        columns=[name for name in manifest if name.startswith("sky_sigma") or name.endswith("_mag")]
    )
    manifest = manifest.assign(label=0, split="test", quality_ok=True, in_deployment=True)
    for band in "grz":
        manifest[f"psfdepth_{band}"] = 600.0
    cutouts = hosts[["host_cutout_path", "sky_sigma_g", "sky_sigma_r", "sky_sigma_z"]]
    return manifest, cutouts.rename(columns={"host_cutout_path": "cutout_path"}).assign(status="ok")


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=40),
    draws=st.integers(0, 300),
    cap=st.integers(1, 20),
    start=st.floats(0, 0.999),
)
def test_uses_never_exceed_the_cap_and_reach_the_draws_when_they_can(weights, draws, cap, start):
    order = np.random.default_rng(0).uniform(size=len(weights))
    uses = uses_of_hosts(np.asarray(weights), order, start, draws, cap)
    assert uses.min() >= 0
    assert uses.max() <= cap + 1e-9
    assert uses.sum() == min(draws, cap * len(weights))


def test_uses_follow_the_weights():
    weights = np.array([1.0, 2.0, 5.0])
    totals = sum(
        uses_of_hosts(weights, np.random.default_rng(seed).uniform(size=3), start, 4, 100)
        for seed, start in enumerate((np.arange(400) + 0.5) / 400)
    )
    assert np.allclose(totals / 400, weights / 8 * 4, atol=0.1)


def test_hosts_are_test_split_negatives_of_good_quality(demo, hosts):
    manifest, cutouts = manifest_and_cutouts(hosts)
    manifest.loc[0, "label"] = 1
    manifest.loc[1, "split"] = "train"
    manifest.loc[2, "quality_ok"] = False
    manifest.loc[3, "in_deployment"] = False
    manifest.loc[4, "mag_z"] = 25.0
    manifest.loc[5, "type"] = "PSF"
    cutouts.loc[6, "sky_sigma_r"] = np.nan
    found, funnel = eligible_hosts(manifest, cutouts, demo.hosts)
    assert set(manifest["galaxy_id"]) - set(found["galaxy_id"]) == set(manifest["galaxy_id"][:7])
    assert funnel.steps[-1][1] == len(found)
    assert found["psfdepth_r_mag"].iloc[0] == pytest.approx(22.5 - 2.5 * np.log10(5 / np.sqrt(600.0)))


def test_a_parent_sample_keeps_its_members_alone_and_shows_in_the_funnel(demo, hosts):
    manifest, cutouts = manifest_and_cutouts(hosts)
    red = demo.hosts.model_copy(update={"parent": "v2_baseline_dr10"})
    members = set(manifest["galaxy_id"][::3]) | {"elsewhere"}
    everyone, _ = eligible_hosts(manifest, cutouts, demo.hosts)
    found, funnel = eligible_hosts(manifest, cutouts, red, members)
    assert set(found["galaxy_id"]) == set(everyone["galaxy_id"]) & members
    assert ("in parent sample v2_baseline_dr10", len(found)) in funnel.steps
    pd.testing.assert_series_equal(
        found.set_index("galaxy_id")["host_weight"],
        everyone.set_index("galaxy_id")["host_weight"].loc[found["galaxy_id"]],
    )
    with pytest.raises(NoHostsError, match="in parent sample v2_baseline_dr10: 0"):
        eligible_hosts(manifest, cutouts, red, set())


def test_no_host_at_all_is_an_error_that_shows_the_funnel(demo, hosts):
    manifest, cutouts = manifest_and_cutouts(hosts)
    with pytest.raises(NoHostsError, match="in the test split: 0"):
        eligible_hosts(manifest.assign(split="train"), cutouts, demo.hosts)
    with pytest.raises(NoHostsError, match="baseline"):
        eligible_hosts(manifest.rename(columns={"in_deployment": "in_baseline"}), cutouts, demo.hosts)


def test_every_cell_with_hosts_is_filled_from_its_own_hosts_and_others_stay_empty(demo, hosts):
    conditions = np.where(hosts["psfsize_r"] < 1.2, "sharp", np.where(hosts["psfsize_r"] < 1.5, "median", None))
    plan = grid_injections(hosts, list(conditions), EDGES, 40, demo, 0.0)
    assert plan.groupby(["condition", "theta_e_bin"]).size().to_dict() == {
        (name, theta): 40 for name in ("sharp", "median") for theta in (0, 1)
    }
    assert (plan.loc[plan["condition"] == "sharp", "psfsize_r"] < 1.2).all()
    assert plan.loc[plan["theta_e_bin"] == 1, "theta_e_arcsec"].between(0.75, 1.0).all()
    assert plan["injection_id"].is_unique
    report = cell_report(plan, hosts, list(conditions), ["sharp", "median", "wide"], 40, 2).set_index("condition")
    assert report.loc["wide", ["hosts", "planned", "wanted"]].tolist() == [0, 0, 80]
    assert report.loc["sharp", "hosts"] == (conditions == "sharp").sum()


def test_reuse_of_a_host_is_capped_and_the_shortfall_is_reported(demo, hosts):
    plan = grid_injections(hosts[:3], ["a"] * 3, EDGES, 100, demo, 0.0)
    cap = demo.hosts.maximum_uses_per_theta_e_bin
    assert plan.groupby(["theta_e_bin", "galaxy_id"]).size().max() == cap
    assert len(plan) == 2 * 3 * cap
    report = cell_report(plan, hosts[:3], ["a"] * 3, ["a"], 100, 2)
    assert report["planned"].iloc[0] < report["wanted"].iloc[0]


def test_no_host_inside_the_grid_gives_an_empty_plan_of_the_same_columns(demo, hosts):
    some = grid_injections(hosts, ["a"] * len(hosts), EDGES, 5, demo, 0.0)
    none = grid_injections(hosts, [None] * len(hosts), EDGES, 5, demo, 0.0)
    assert len(none) == 0
    assert list(none.columns) == list(some.columns)


def test_draws_of_a_host_do_not_change_when_other_hosts_come_or_go(demo, hosts):
    all_hosts = draw_parameters(hosts, 60, demo, 1, 0.0, (0.5, 2.0)).set_index("injection_id")
    fewer = draw_parameters(hosts[:60], 60, demo, 1, 0.0, (0.5, 2.0)).set_index("injection_id")
    shared = all_hosts.index.intersection(fewer.index)
    assert len(shared) > 5
    pd.testing.assert_frame_equal(all_hosts.loc[shared], fewer.loc[shared])
