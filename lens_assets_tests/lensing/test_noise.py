"""Photon noise of the arcs and the sky of hostless renders: mean, variance, correlation, sums, streams."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lens_assets.lensing.injection import render_arcs, render_injections
from lens_assets.lensing.noise import added_noise, correlated, inferred_gain, shot_noise, sky_only_stamps
from lens_assets.lensing.plan import draw_parameters
from lens_assets.survey.units import depth_ivar_to_mag


def correlation(planes, rows, columns):
    """Mean product of pixels so many rows and columns apart, over the mean square."""
    height, width = planes.shape[-2:]
    near, far = planes[..., : height - rows, : width - columns], planes[..., rows:, columns:]
    return float((near * far).mean() / (planes**2).mean())


@pytest.mark.parametrize("rho", [0.0, 0.05, 0.18, 0.4, 0.5])
def test_neighbours_are_correlated_as_stated_and_sums_keep_their_error(rho):
    white = np.random.default_rng(1).normal(0, 1.0, (60, 120, 120))
    noise = correlated(white, rho)
    inside = noise[:, 3:-3, 3:-3]
    assert correlation(inside, 0, 1) == pytest.approx(rho, abs=0.005)
    assert correlation(inside, 1, 0) == pytest.approx(rho, abs=0.005)
    assert correlation(inside, 1, 1) == pytest.approx(rho**2, abs=0.005)
    assert correlation(inside, 0, 5) == pytest.approx(0.0, abs=0.005)
    # A sum over a block of 40 x 40 loses only what leaks over its edge.
    blocks = inside[:, :80, :80].reshape(60, 2, 40, 2, 40).sum(axis=(2, 4))
    assert blocks.std() / 40.0 == pytest.approx(1.0, abs=0.14)


def test_correlated_noise_stays_zero_where_there_was_none():
    noise = np.zeros((3, 30, 30))
    noise[:, 10:20, 10:20] = np.random.default_rng(0).normal(0, 1, (3, 10, 10))
    mixed = correlated(noise, 0.18)
    assert not mixed[:, :10].any()
    assert not mixed[:, :, 20:].any()
    assert mixed[:, 10:20, 10:20].all()


@pytest.mark.parametrize("level", [1e-5, 1e-3, 0.05])
def test_mean_and_variance_of_photon_noise_at_faint_and_bright_signals(level):
    """At 1e-5 nmgy a pixel holds a quarter of an electron: noise is Poisson, not Gaussian, and still unbiased."""
    signal, gain = np.full((3, 100, 100), level), np.full(3, 2.7e4)
    noise = np.stack([shot_noise(signal, gain, 4, f"id{index}") for index in range(10)])
    electrons = level * 2.7e4
    assert abs(noise.mean()) < 5 * np.sqrt(electrons / noise.size) / 2.7e4
    # The variance of a sample variance of Poisson counts is (mu + 2 mu^2)/N.
    scatter = np.sqrt((electrons + 2 * electrons**2) / noise.size) / electrons
    assert noise.var() * 2.7e4 / level == pytest.approx(1.0, abs=5 * scatter)


@pytest.mark.parametrize("electrons", [0.02, 0.4, 0.99, 1.01, 6.0])
def test_counts_are_poisson_and_independent_whether_pixels_are_faint_or_bright(electrons):
    """Faint pixels are drawn together, yet each count is Poisson and knows nothing of its neighbour's."""
    gain = np.full(3, 2.0e4)
    noise = shot_noise(np.full((3, 200, 200), electrons / 2.0e4), gain, 9, "one")
    counts = np.rint(noise * 2.0e4 + electrons).astype(int)
    assert np.allclose(counts - electrons, noise * 2.0e4, atol=1e-6)
    seen = np.bincount(counts.ravel(), minlength=20)[:20]
    expected = stats.poisson.pmf(np.arange(20), electrons) * counts.size
    common = expected > 10
    assert (np.abs(seen - expected)[common] < 5 * np.sqrt(expected[common])).all()
    assert abs(np.corrcoef(counts[:, :, :-1].ravel(), counts[:, :, 1:].ravel())[0, 1]) < 5 / np.sqrt(counts.size)
    assert counts.sum() == pytest.approx(electrons * counts.size, abs=5 * np.sqrt(electrons * counts.size))


def test_a_magnitude_of_depth_is_a_factor_of_six_in_gain_and_150_is_not_the_gain_of_a_coadd(demo):
    """sigma^2 = sky/gain, and depth is -2.5 log10 of sigma: 10^0.8 a magnitude."""
    sigma = np.array([[0.0017, 0.0033, 0.0078], [0.0012, 0.0023, 0.0055]])
    gain = inferred_gain(sigma, demo.noise.sky_brightness)
    deeper = depth_ivar_to_mag(1.0 / sigma[1] ** 2) - depth_ivar_to_mag(1.0 / sigma[0] ** 2)
    assert np.allclose(gain[1] / gain[0], 10 ** (0.8 * deeper))
    assert (gain > 50 * 150.0).all()


def test_no_noise_is_added_without_signal_or_when_switched_off(demo):
    zero, gain, sigma = np.zeros((3, 20, 20)), np.full(3, 2e4), np.full(3, 0.003)
    assert not added_noise(zero, gain, sigma, demo.noise, 1, "a").any()
    off = demo.noise.model_copy(update={"mode": "none"})
    assert not added_noise(np.ones((3, 20, 20)), gain, sigma, off, 1, "a").any()


def test_hostless_sky_has_the_promised_noise_and_is_seeded_by_its_id():
    names = [f"sky-{index}" for index in range(40)]
    sigma = np.tile([0.0017, 0.0033, 0.0078], (40, 1))
    sky = sky_only_stamps(names, sigma, 101, 0.18, 5)
    again = sky_only_stamps(names[::-1], sigma, 101, 0.18, 5)[::-1]
    assert sky.tobytes() == again.tobytes()
    assert len(np.unique(sky[:, :, 0, 0])) == 120
    for plane, expected in enumerate(sigma[0]):
        total = sky[:, plane, :100, :100].reshape(40, 10, 10, 10, 10).sum(axis=(2, 4), dtype=np.float64)
        assert total.std() / 10.0 == pytest.approx(expected, rel=0.12)
        assert sky[:, plane].std() < 0.9 * expected
    assert correlation(sky, 0, 1) == pytest.approx(0.18, abs=0.01)
    edge = sky[:, :, 0, :]
    assert edge.std() == pytest.approx(sky.std(), rel=0.05)


def test_arcs_on_a_bare_sky(demo, hosts):
    rows = draw_parameters(hosts, 6, demo, 4, 0.0, (0.8, 2.0))
    sigma = rows[["sky_sigma_g", "sky_sigma_r", "sky_sigma_z"]].to_numpy()
    sky = sky_only_stamps(rows["injection_id"], sigma, 101, demo.noise.pixel_correlation, demo.seed)
    result = render_injections(rows, sky, demo)
    assert (result.truth["status"] == 0).all()
    arcs, _ = render_arcs(rows, demo)
    assert np.allclose((result.stamps - sky).sum(axis=(2, 3)), arcs.sum(axis=(2, 3)), rtol=0.1, atol=0.02)
