from __future__ import annotations

import numpy as np
import pytest

from lens_assets.imaging.features import arc_visibility, blue_residual, feature_table
from lens_assets_tests.imaging.scenes import SKY_SIGMA, arc, host, noise
from lens_assets_tests.imaging.settings import features_settings

SETTINGS = features_settings()
LIMIT = SETTINGS.visibility.visible_snr


def visibility(stamps: np.ndarray) -> np.ndarray:
    return arc_visibility(stamps, SETTINGS.regions, SETTINGS.visibility)


def test_hosts_without_arcs_are_rarely_visible_and_bright_arcs_always_are():
    hosts = noise(60, seed=1) + host()
    assert (visibility(hosts) < LIMIT).mean() > 0.9
    assert (visibility(hosts + arc(21.5)) > LIMIT).all()


def test_visibility_grows_with_the_flux_of_the_arc():
    hosts = noise(30, seed=2) + host()
    medians = [np.median(visibility(hosts + arc(mag))) for mag in (24.5, 23.5, 22.5, 21.5)]
    assert medians == sorted(medians) and medians[-1] > 4 * LIMIT


def test_a_companion_of_the_hosts_colour_is_not_an_arc():
    red = host(1.0, 0.0) * 0.15
    companion = np.roll(red, 9, axis=2)
    blue = companion * np.array([2.5, 1.0, 0.6])[:, None, None]
    hosts = noise(20, seed=3) + host()
    assert np.median(visibility(hosts + companion)) < LIMIT < np.median(visibility(hosts + blue))


def test_visibility_does_not_depend_on_units_background_or_batch():
    stamps = (noise(8, seed=4) + host() + arc(22.5)).astype("f8")
    reference = visibility(stamps)
    np.testing.assert_allclose(visibility(stamps * 50.0), reference, rtol=2e-2)
    np.testing.assert_allclose(visibility(stamps + 0.01), reference, rtol=2e-2)
    assert np.array_equal(np.concatenate([visibility(stamps[i : i + 1]) for i in range(8)]), reference)


def test_blank_stamps_have_no_visibility():
    assert np.array_equal(visibility(np.zeros((3, 3, 101, 101))), np.zeros(3))
    assert visibility(np.empty((0, 3, 101, 101))).shape == (0,)


def test_the_blue_residual_of_a_host_is_noise():
    blue, covered = blue_residual(noise(10, seed=5) + host(), SETTINGS.regions, 20.0)
    assert covered.all()
    expected = np.hypot(SKY_SIGMA[0], 3.4 / 15.0 * SKY_SIGMA[1])
    assert blue[:, 5:20, 5:20].std() == pytest.approx(expected, rel=0.1)
    assert abs(blue[:, 45:56, 45:56].mean()) < expected


def test_sky_levels_noise_and_colours_are_recovered():
    stamps = noise(20, seed=6) + host() + np.array([0.001, 0.002, 0.004])[:, None, None]
    table = feature_table(stamps, SETTINGS.regions)
    for band, level, sigma in zip("grz", (0.001, 0.002, 0.004), SKY_SIGMA, strict=True):
        assert table[f"sky_level_{band}"].median() == pytest.approx(level, abs=0.1 * sigma)
        assert table[f"sky_sigma_{band}"].median() == pytest.approx(sigma, rel=0.03)
    assert table["core_g_minus_r"].median() == pytest.approx(-2.5 * np.log10(3.4 / 15.0), abs=0.05)
    assert table["core_r_minus_z"].median() == pytest.approx(-2.5 * np.log10(15.0 / 30.0), abs=0.05)


def test_correlated_noise_shows_in_neighbour_differences():
    white = np.random.default_rng(0).normal(size=(10, 3, 101, 101)) * 0.003
    table = feature_table(np.concatenate([white, noise(10, seed=7)]), SETTINGS.regions)
    assert table["noise_correlation_r"][:10].median() == pytest.approx(1.0, abs=0.03)
    assert table["noise_correlation_r"][10:].median() < 0.95


def test_an_arc_makes_the_annulus_uneven():
    hosts = noise(20, seed=8) + host(1.0)
    plain, lensed = (feature_table(s, SETTINGS.regions) for s in (hosts, hosts + arc(21.5)))
    for name in ("azimuthal_asymmetry_r", "rotation_asymmetry_r"):
        assert lensed[name].min() > plain[name].max()


def test_no_stamps_give_a_table_with_all_columns():
    whole = feature_table(noise(2, seed=9), SETTINGS.regions)
    empty = feature_table(np.empty((0, 3, 101, 101)), SETTINGS.regions)
    assert list(empty.columns) == list(whole.columns) and len(empty) == 0
