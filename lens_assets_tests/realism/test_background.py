"""Sky pixels: which are taken, how hosts are paired, and that the randomisation test is exact and sees faults."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, kstest

from lens_assets.imaging.geometry import radius_px
from lens_assets.realism.background import CONDITION_COLUMNS, pair_by_conditions, paired_kolmogorov_smirnov, sky_pixels
from lens_assets.realism.battery import background_rows, decide
from lens_assets.realism.examine import StampTable, paired_sky
from lens_assets_tests.realism.tables import demo_realism, draw_background

SETTINGS = demo_realism()


def hosts_in_bricks(count: int, bricks: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    brick = random.integers(0, bricks, count)
    conditions = random.normal(0.0, 0.4, (bricks, 6))[brick] + random.normal(0.0, 0.01, (count, 6))
    frame = pd.DataFrame(conditions + 2.0, columns=list(CONDITION_COLUMNS))
    return frame.assign(galaxy_id=[f"g{row}" for row in range(count)], brick=brick, type="SER", mag_r=19.0)


def test_pixels_are_a_fixed_number_in_the_annulus_away_from_sources():
    random = np.random.default_rng(0)
    stamps = random.normal(0, 1, (4, 3, 101, 101)).astype(np.float32)
    stamps[1, :, 10:20, 10:20] += 30.0
    stamps[2, :, :, :50] = 0.0
    pixels = sky_pixels(stamps, SETTINGS.apertures, SETTINGS.background)
    assert pixels.shape == (4, 3, SETTINGS.background.pixels_per_stamp)
    assert np.isfinite(pixels[0]).all()
    assert np.nanmax(pixels[1]) < 10
    assert 20 < np.isfinite(pixels[2, 0]).sum() < 100
    assert not (pixels == 0).any()


def test_pixels_lie_beyond_the_correlation_length_of_each_other():
    positions = np.arange(101 * 101, dtype=np.float32).reshape(101, 101) + 1.0
    quiet = SETTINGS.background.model_copy(update={"mask_sigma": 1e9})
    taken = sky_pixels(np.broadcast_to(positions, (1, 3, 101, 101)), SETTINGS.apertures, quiet)[0, 0] - 1.0
    rows, columns = np.divmod(taken[np.isfinite(taken)].astype(int), 101)
    apart = np.maximum(abs(rows[:, None] - rows), abs(columns[:, None] - columns)) + 100 * np.eye(len(rows))
    assert apart.min() >= SETTINGS.background.spacing_px
    radius = radius_px(101, 101)[rows, columns] * 0.262
    assert radius.min() >= SETTINGS.apertures.sky_inner_arcsec and radius.max() < SETTINGS.apertures.sky_outer_arcsec


def test_pairs_are_of_different_hosts_in_like_conditions_and_every_host_is_in_one():
    hosts = hosts_in_bricks(200, 8, 1)
    shown, others = pair_by_conditions(hosts, 3, 70)
    assert len(shown) == len(others) == 70
    assert len(set(shown) | set(others)) == 140
    same_brick = hosts["brick"].to_numpy()[shown] == hosts["brick"].to_numpy()[others]
    assert same_brick.mean() > 0.7


def test_pairs_do_not_depend_on_the_order_of_hosts():
    hosts = hosts_in_bricks(60, 5, 1)
    shuffled = hosts.sample(frac=1.0, random_state=0, ignore_index=True)
    pairs = [
        sorted(zip(table["galaxy_id"].iloc[one], table["galaxy_id"].iloc[other], strict=True))
        for table in (hosts, shuffled)
        for one, other in [pair_by_conditions(table, 3, 100)]
    ]
    assert pairs[0] == pairs[1]


def test_a_coin_decides_who_is_shown_injected():
    hosts = hosts_in_bricks(400, 8, 1)
    first = {frozenset(pair): pair[0] for pair in zip(*pair_by_conditions(hosts, 3, 200), strict=True)}
    order = np.argsort([min(pair) for pair in first])
    heads = np.array([chosen == min(pair) for pair, chosen in first.items()])[order]
    assert binomtest(int(heads.sum()), len(heads)).pvalue > 0.01


def p_values(scale: float, batches: int, pairs: int = 60, pixels: int = 60) -> np.ndarray:
    found = []
    for seed in range(batches):
        sky = draw_background(pairs, np.random.default_rng([5, seed]), scale, pixels)
        found.append(paired_kolmogorov_smirnov(sky.injected[:, 0], sky.untouched[:, 0], 300, seed).p_value)
    return np.array(found)


def test_the_p_value_is_uniform_although_bricks_and_stamps_share_their_levels():
    assert kstest(p_values(1.0, 200), "uniform").pvalue > 0.01


def test_pairing_after_the_choice_would_not_be_exact():
    """The pixels of every stamp of a brick agree; surplus stamps of a brick all meet strangers in one direction."""
    found = []
    for seed in range(120):
        random = np.random.default_rng([6, seed])
        brick = np.arange(80) // 16
        level = random.normal(0, 1, 5)[brick]
        sky = level[:, None] + random.normal(0, 0.2, (80, 20))
        chosen = random.permutation(80)
        one, other = np.sort(chosen[:40]), np.sort(chosen[40:])
        found.append(paired_kolmogorov_smirnov(sky[one], sky[other], 300, seed).p_value)
    assert (np.array(found) < 0.05).mean() > 0.15


def test_noise_five_per_cent_too_wide_is_seen_with_enough_pairs():
    assert (p_values(1.05, 5, pairs=400, pixels=400) < 0.05).mean() >= 0.8


def test_sky_counted_twice_is_seen_with_few():
    assert (p_values(np.sqrt(2.0), 10) < 0.005).all()


def test_a_pedestal_is_seen():
    sky = draw_background(200, np.random.default_rng(0))
    test = paired_kolmogorov_smirnov(sky.injected[:, 0] + 0.2, sky.untouched[:, 0], 500, 1)
    assert test.p_value < 0.01 and test.pairs == 200


def test_a_stamp_without_sky_is_left_out():
    sky = draw_background(40, np.random.default_rng(0))
    sky.injected[:3] = np.nan
    assert paired_kolmogorov_smirnov(sky.injected[:, 0], sky.untouched[:, 0], 200, 1).pairs == 37
    nothing = np.zeros((0, 60))
    assert np.isnan(paired_kolmogorov_smirnov(nothing, nothing, 200, 1).p_value)


def test_stamps_of_the_untouched_side_are_never_the_injected_host():
    hosts = hosts_in_bricks(80, 4, 2)
    seen: dict[str, set[str]] = {"injected": set(), "untouched": set()}

    def reader(side, table):
        def read(rows):
            seen[side] |= set(table["galaxy_id"].iloc[rows])
            return np.random.default_rng(0).normal(size=(len(rows), 3, 101, 101)).astype(np.float32)

        return read

    twice = pd.concat([hosts, hosts], ignore_index=True)
    sky = paired_sky(
        StampTable(twice, reader("injected", twice)), StampTable(hosts[10:], reader("untouched", hosts[10:])), SETTINGS
    )
    assert len(sky.injected) == len(sky.untouched) == len(sky.conditions) == 35
    assert not seen["injected"] & seen["untouched"]
    assert not seen["injected"] & set(hosts["galaxy_id"][:10])


@pytest.mark.parametrize("scale,verdict", [(1.0, "PASS"), (1.4, "FAIL")])
def test_rows_say_what_was_found(scale, verdict):
    rows = decide(background_rows(draw_background(120, np.random.default_rng(1), scale), SETTINGS), 0.05)
    assert [item["observable"] for item in rows] == ["background_g", "background_r", "background_z"]
    assert {item["verdict"] for item in rows} == {verdict}
    assert rows[0]["injection_value"] / rows[0]["anchor_value"] == pytest.approx(scale, rel=0.05)


def test_too_few_pairs_are_not_evaluated():
    few = background_rows(draw_background(29, np.random.default_rng(1)), SETTINGS)
    assert {item["verdict"] for item in few + background_rows(None, SETTINGS)} == {"NOT-EVALUATED"}
