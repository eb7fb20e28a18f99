"""Observables of noiseless synthetic arcs whose signal-to-noise, width, radius, colour and shape are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lens_assets.realism.examine import measure_stamps
from lens_assets.realism.observables import ARC_COLUMNS, OBSERVABLES, is_visible, measure
from lens_assets.realism.residuals import crop_half_px, decompose, sky_statistics
from lens_assets_tests.realism.tables import demo_realism

SETTINGS = demo_realism()
SCALE = 0.262
SIGMA = np.array([0.0015, 0.0025, 0.006])
FWHM = np.array([[1.5, 1.4, 1.3]])


def sky(count: int = 1, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(count, 3, 101, 101)) * SIGMA[:, None, None]
    return noise.astype(np.float32)


def quiet_centre(stamps: np.ndarray) -> np.ndarray:
    """Noise only in the sky annulus, so that the arc is measured without error."""
    y, x = np.mgrid[-50:51, -50:51] * SCALE
    return np.where(np.hypot(x, y) > 7.5, stamps, np.float32(1e-9))


def arc(
    radius: float = 2.0, fwhm: float = 1.2, opening_deg: float = 90.0, flux_r: float = 2.0, g_r: float = 0.5, r_z=0.4
) -> np.ndarray:
    """A Gaussian ridge along part of a circle towards +x, (3, 101, 101), of known total flux."""
    y, x = np.mgrid[-50:51, -50:51] * SCALE
    shape = np.exp(-0.5 * ((np.hypot(x, y) - radius) / (fwhm / 2.3548)) ** 2)
    shape *= np.abs(np.rad2deg(np.arctan2(y, x))) < opening_deg / 2
    colours = 10 ** (0.4 * np.array([-g_r, 0.0, r_z]))
    return (flux_r * colours[:, None, None] * shape / shape.sum()).astype(np.float32)


def host(flux_r: float = 30.0, radius: float = 1.0, g_r: float = 1.5) -> np.ndarray:
    y, x = np.mgrid[-50:51, -50:51] * SCALE
    light = gaussian_filter(np.exp(-np.hypot(x, y) / (radius / 1.678)), 2.0)
    colours = 10 ** (0.4 * np.array([-g_r, 0.0, 0.9]))
    return (flux_r * colours[:, None, None] * light / light.sum()).astype(np.float32)


def measured(stamps: np.ndarray):
    count = len(stamps)
    return measure(stamps, np.ones(count), np.zeros(count), FWHM.repeat(count, 0), SETTINGS.apertures)


@pytest.fixture(scope="module")
def bright():
    return measured(quiet_centre(sky()) + host() + arc())


def test_columns_are_those_declared(bright):
    assert list(bright) == list(OBSERVABLES)


def test_colours_come_back_and_a_red_host_moves_them_by_hundredths(bright):
    free = measured(quiet_centre(sky()) + arc(g_r=0.3, r_z=0.1))
    assert free["arc_g_minus_r"][0] == pytest.approx(0.3, abs=0.005)
    assert free["arc_r_minus_z"][0] == pytest.approx(0.1, abs=0.005)
    assert bright["arc_g_minus_r"][0] == pytest.approx(0.5, abs=0.05)
    assert bright["arc_r_minus_z"][0] == pytest.approx(0.4, abs=0.08)


def test_radius_comes_back(bright):
    """A Gaussian ridge of width s at r0 has the mean radius r0 + s^2 / r0, as outer rings are longer."""
    assert bright["arc_radius_arcsec"][0] == pytest.approx(2.0 + (1.2 / 2.3548) ** 2 / 2.0, rel=0.02)


@pytest.mark.parametrize("fwhm", [0.9, 1.2, 1.6])
def test_width_comes_back_and_is_given_in_psfs(fwhm):
    row = measured(quiet_centre(sky()) + arc(fwhm=fwhm, radius=2.4)).iloc[0]
    assert row["arc_width_arcsec"] == pytest.approx(fwhm, rel=0.12)
    assert row["arc_width_over_psf"] == pytest.approx(row["arc_width_arcsec"] / 1.45)


def test_signal_to_noise_is_the_flux_of_the_arc_pixels_over_their_noise():
    """White noise: sum over n pixels of the detection image over sigma sqrt(n)."""
    stamps = quiet_centre(sky()) + arc()
    parts = decompose(stamps, np.ones(1), np.zeros(1), SETTINGS.apertures)
    half = crop_half_px(SETTINGS.apertures, 101)
    inside = arc()[:, 50 - half : 51 + half, 50 - half : 51 + half]
    weight = np.array([1.0, 10**0.24]) / SIGMA[:2] ** 2
    weight /= weight.sum()
    light = (weight[:, None, None] * inside[:2]).sum(axis=0)[parts.arc[0]]
    sigma = np.sqrt((weight**2 * SIGMA[:2] ** 2).sum())
    expected = light.sum() / sigma / np.sqrt(parts.arc.sum())
    assert measured(stamps)["arc_snr"][0] == pytest.approx(expected, rel=0.05)


def test_surface_brightness_is_the_mean_over_the_arc_pixels():
    stamps = quiet_centre(sky()) + arc()
    parts = decompose(stamps, np.ones(1), np.zeros(1), SETTINGS.apertures)
    half = crop_half_px(SETTINGS.apertures, 101)
    flux = arc()[1, 50 - half : 51 + half, 50 - half : 51 + half][parts.arc[0]].sum()
    expected = 22.5 - 2.5 * np.log10(flux / (parts.arc.sum() * SCALE**2))
    assert measured(stamps)["arc_surface_brightness"][0] == pytest.approx(expected, abs=0.05)


def test_residual_amplitude_is_linear_in_the_arc():
    first, second = (measured(quiet_centre(sky()) + host() + arc(flux_r=flux)) for flux in (2.0, 4.0))
    assert second["residual_amplitude"][0] / first["residual_amplitude"][0] == pytest.approx(2.0, rel=0.15)


@pytest.mark.parametrize("opening,low,high", [(40, 0.9, 1.0), (120, 0.78, 0.92), (160, 0.6, 0.85)])
def test_asymmetry_is_one_for_a_spot_and_falls_as_the_arc_opens(opening, low, high):
    """The first harmonic of an arc of uniform brightness over an angle w is sin(w/2) / (w/2)."""
    found = measured(quiet_centre(sky()) + arc(opening_deg=opening))["tangential_asymmetry"][0]
    half = np.deg2rad(opening) / 2
    assert low < found < high
    assert found == pytest.approx(np.sin(half) / half, abs=0.08)


def test_two_opposite_arcs_have_no_asymmetry():
    found = measured(quiet_centre(sky()) + arc(opening_deg=60) + arc(opening_deg=60)[:, :, ::-1])
    assert found["tangential_asymmetry"][0] < 0.05


def test_host_light_is_measured_and_arcs_hardly_move_it():
    alone = measured(quiet_centre(sky()) + host())
    lensed = measured(quiet_centre(sky()) + host() + arc(radius=1.8))
    for name in ("host_core_mag_r", "host_g_minus_r", "host_halo_mag_z"):
        assert lensed[name][0] == pytest.approx(alone[name][0], abs=0.05)
    assert alone["host_g_minus_r"][0] == pytest.approx(1.5, abs=0.01)


def test_noise_ratio_sees_noise_in_the_arc_alone():
    smooth = gaussian_filter(arc(flux_r=4.0), (0, 2.0, 2.0))
    base = sky(seed=3) + host() + smooth
    rough = base + np.where(smooth > 0.002, 3.0 * sky(seed=4), 0.0).astype(np.float32)
    assert measured(base)["arc_noise_ratio"][0] == pytest.approx(1.0, abs=0.2)
    assert measured(rough)["arc_noise_ratio"][0] > 2.0


def test_sky_sigma_comes_back_and_sources_do_not_widen_it():
    stamps = sky(3, seed=2) + 0.01
    stamps[:, :, 2:12, 2:12] += 5.0
    median, sigma = sky_statistics(stamps, SETTINGS.apertures)
    np.testing.assert_allclose(median, 0.01, atol=5e-4)
    np.testing.assert_allclose(sigma, np.broadcast_to(SIGMA, (3, 3)), rtol=0.08)


def test_an_empty_stamp_has_no_arc_and_is_not_visible():
    row = measured(sky() + host())
    assert row["arc_snr"][0] == 0.0
    assert row[[name for name in ARC_COLUMNS if name != "arc_snr"]].isna().all(axis=None)
    assert not is_visible(row, SETTINGS.detectability)[0]


def test_the_gate_keeps_what_is_bright_enough():
    rows = measured(quiet_centre(sky(2)) + host() + np.stack([arc(flux_r=0.04), arc(flux_r=3.0)]))
    assert is_visible(rows, SETTINGS.detectability).tolist() == [False, True]


def test_what_is_as_red_as_its_host_is_no_arc():
    assert measured(quiet_centre(sky()) + host(g_r=0.6) + arc(g_r=0.5))["arc_pixels"][0] == 0


def test_the_edge_of_a_neighbour_is_no_arc():
    y, x = np.mgrid[-50:51, -50:51] * SCALE
    blue = 10 ** (0.4 * np.array([-0.3, 0.0, 0.2]))[:, None, None]
    neighbour = 0.2 * blue * np.exp(-0.5 * (np.hypot(x - 6.0, y) / 0.9) ** 2)
    assert measured(quiet_centre(sky()) + host() + neighbour.astype(np.float32))["arc_pixels"][0] == 0


def test_measurements_do_not_depend_on_the_company():
    stamps = sky(5) + host() + np.stack([arc(flux_r=1.0 + k) for k in range(5)])
    together = measured(stamps)
    for row in range(5):
        assert measured(stamps[[row]]).iloc[0].equals(together.iloc[row])


def test_a_turned_stamp_measures_the_same():
    stamps = sky() + host() + arc()
    turned = np.ascontiguousarray(np.rot90(stamps, axes=(2, 3)))
    first, second = measure_stamps(stamps, FWHM, SETTINGS), measure_stamps(turned, FWHM, SETTINGS)
    np.testing.assert_allclose(second, first, rtol=2e-3, atol=1e-4)


def test_uncovered_pixels_and_an_empty_table_do_no_harm():
    stamps = sky(2) + host() + arc()
    stamps[0, :, :, 80:] = 0.0
    stamps[1, 2] = 0.0
    rows = measured(stamps)
    assert rows["arc_snr"].gt(12).all() and np.isnan(rows["background_sigma_z"][1])
    assert list(measured(np.zeros((0, 3, 101, 101), np.float32))) == list(OBSERVABLES)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="axis_ratio"):
        measure(sky(2), np.ones(3), np.zeros(2), FWHM.repeat(2, 0), SETTINGS.apertures)
    with pytest.raises(ValueError, match="bands g, r, z"):
        decompose(np.zeros((1, 2, 101, 101)), np.ones(1), np.zeros(1), SETTINGS.apertures)
