"""Injected stamps: bytes, noise, null, failures, and that the knobs do what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lens_assets.lensing.canvas import Canvas
from lens_assets.lensing.image_sources import SourceImage, shoot_images
from lens_assets.lensing.injection import (
    annulus_snr,
    input_status,
    null_injections,
    render_arcs,
    render_batches,
    render_injections,
)
from lens_assets.lensing.noise import inferred_gain, shot_noise
from lens_assets.lensing.plan import draw_parameters
from lens_assets.lensing.priors import PARAMETER_COLUMNS
from lens_assets.lensing.rays import shoot
from lens_assets.lensing.sources import lens_of, source_fluxes, source_profiles
from lens_assets.lensing.status import EXPECTED, InjectionStatus, advice, describe
from lens_assets.survey.units import mag_to_flux

RANGE = (0.5, 2.5)


def with_(settings, **groups):
    update = {name: getattr(settings, name).model_copy(update=values) for name, values in groups.items()}
    return settings.model_copy(update=update)


@pytest.fixture(scope="module")
def rows(demo, hosts):
    return draw_parameters(hosts, 60, demo, demo.seed, 0.0, RANGE)


@pytest.fixture(scope="module")
def stamps(rows):
    return np.random.default_rng(0).normal(0, 0.003, (len(rows), 3, 101, 101)).astype(np.float32)


@pytest.fixture(scope="module")
def rendered(rows, stamps, demo):
    return render_injections(rows, stamps, with_(demo, renderer={"batch_stamps": 60}))


@pytest.mark.parametrize("batch", [1, 7])
def test_bytes_do_not_depend_on_the_batch(rows, stamps, demo, rendered, batch):
    again = render_injections(rows, stamps, with_(demo, renderer={"batch_stamps": batch}))
    assert again.stamps.tobytes() == rendered.stamps.tobytes()
    assert again.truth.equals(rendered.truth)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_bytes_do_not_depend_on_how_many_threads_render(rows, stamps, demo, rendered, workers, monkeypatch):
    monkeypatch.setenv("LENS_WORKERS", workers)
    again = render_injections(rows, stamps, with_(demo, renderer={"batch_stamps": 24}))
    assert again.stamps.tobytes() == rendered.stamps.tobytes()
    assert again.truth.equals(rendered.truth)


def test_bytes_do_not_depend_on_the_order_of_rows(rows, stamps, demo, rendered):
    order = np.random.default_rng(1).permutation(len(rows))[:12]
    again = render_injections(rows.iloc[order], stamps[order], demo)
    assert again.stamps.tobytes() == rendered.stamps[order].tobytes()


def test_a_null_injection_is_its_host_byte_for_byte(rows, stamps, demo):
    hosts = stamps.copy()
    hosts[0, 0, :3] = -0.0
    hosts[1, 2, 40:] = 0.0
    result = render_injections(null_injections(rows), hosts, demo)
    assert result.stamps.tobytes() == hosts.tobytes()
    assert (result.truth["status"] == 0).all()


def test_pixels_without_data_stay_zero(rows, stamps, demo):
    hosts = stamps.copy()
    hosts[:, 1, :, 50:] = 0.0
    assert not render_injections(rows, hosts, demo).stamps[:, 1, :, 50:].any()


def test_colours_come_back(rows, demo):
    arcs, magnification = render_arcs(rows, with_(demo, renderer={"psf_fwhm_scale": 0.5}))
    total = arcs.sum(axis=(2, 3), dtype=np.float64)
    g_minus_r = -2.5 * np.log10(total[:, 0] / total[:, 1])
    assert np.allclose(g_minus_r, rows["source_g_minus_r"], atol=0.01)
    assert np.allclose(total[:, 1], magnification * source_fluxes(rows)[:, 1], rtol=5e-3)


def test_lensed_magnitude_is_source_magnitude_and_magnification(rendered):
    truth = rendered.truth
    expected = truth["source_mag_r"] - 2.5 * np.log10(truth["magnification"])
    assert np.allclose(truth["lensed_mag_r"], expected)


def test_a_magnitude_shift_scales_every_arc(rows, demo):
    bright, _ = render_arcs(rows.assign(source_mag_r=rows["source_mag_r"] - 2.0), demo)
    faint, _ = render_arcs(rows, demo)
    assert np.allclose(bright, faint * 10**0.8, rtol=1e-4, atol=1e-6)


def test_shot_noise_has_poisson_mean_and_variance_and_none_without_signal():
    signal = np.zeros((3, 100, 100), dtype=np.float32)
    signal[:, :50] = 0.01
    gain = np.array([2e4, 3e4, 4e4])
    noise = np.stack([shot_noise(signal, gain, 1, f"id{index}") for index in range(20)])
    assert not noise[:, :, 50:].any()
    for plane in range(3):
        values = noise[:, plane, :50]
        assert abs(values.mean()) < 5 * np.sqrt(0.01 / gain[plane] / values.size)
        assert values.var() == pytest.approx(0.01 / gain[plane], rel=0.02)


def test_noise_belongs_to_the_injection_and_the_band():
    signal, gain = np.full((3, 8, 8), 0.01), np.full(3, 2e4)
    first, again, other = (shot_noise(signal, gain, 1, name) for name in ("a", "a", "b"))
    assert (first == again).all()
    assert not np.allclose(first, other)
    assert not np.allclose(first[0], first[1])


def test_the_gain_is_that_of_a_sky_limited_coadd(demo):
    gain = inferred_gain(np.array([[0.0017, 0.0033, 0.0078]]), demo.noise.sky_brightness)[0]
    assert gain[1] == pytest.approx(mag_to_flux(20.91) * 0.262**2 / 0.0033**2)
    assert 2.4e4 < gain[1] < 3e4


def test_gain_and_noise_knobs_move_the_added_noise(rows, stamps, demo):
    def added(settings):
        result = render_injections(rows, stamps, settings)
        return (result.stamps - stamps - result.arcs)[:, 1]

    normal = added(demo)
    loud = added(with_(demo, noise={"gain_scale": 0.01}))
    doubled = added(with_(demo, noise={"mode": "source_shot_and_sky"}))
    assert loud.std() == pytest.approx(10 * normal.std(), rel=0.1)
    assert doubled[:, :10].std() == pytest.approx(0.0033, rel=0.03)
    assert (
        not added(with_(demo, noise={"mode": "none"})).any()
        or abs(added(with_(demo, noise={"mode": "none"}))).max() < 1e-7
    )


def test_the_psf_knob_widens_the_arcs_and_keeps_their_flux(rows, demo):
    sharp, _ = render_arcs(rows, demo)
    wide, _ = render_arcs(rows, with_(demo, renderer={"psf_fwhm_scale": 1.3}))
    assert np.median(wide[:, 1].max(axis=(1, 2)) / sharp[:, 1].max(axis=(1, 2))) < 0.85
    assert np.allclose(wide.sum(axis=(2, 3)), sharp.sum(axis=(2, 3)), rtol=0.01)


def test_each_band_uses_its_own_psf(rows, demo):
    base, _ = render_arcs(rows, demo)
    changed, _ = render_arcs(rows.assign(psfsize_z=rows["psfsize_z"] * 1.5), demo)
    assert (changed[:, :2] == base[:, :2]).all()
    assert not np.allclose(changed[:, 2], base[:, 2])


def test_failed_rows_are_flagged_and_keep_their_host(rows, stamps, demo):
    damaged = rows.copy()
    damaged.loc[0, "psfsize_g"] = np.nan
    damaged.loc[1, "psfsize_z"] = 9.0
    damaged.loc[2, "sky_sigma_r"] = 0.0
    damaged.loc[3, "theta_e_arcsec"] = np.inf
    damaged.loc[4, ["source_x_arcsec", "lens_x_arcsec"]] = 400.0
    hosts = stamps.copy()
    hosts[5, 1, 3, 3] = np.nan
    result = render_injections(damaged, hosts, demo)
    expected = [2, 4, 8, 1, 16, 32, 0]
    assert result.truth["status"].iloc[:7].tolist() == expected
    assert result.stamps[:6].tobytes() == hosts[:6].tobytes()
    assert result.truth["lensed_mag_r"].iloc[:6].isna().all()
    assert len(result.truth) == len(rows)


def test_status_names_its_bits():
    assert describe(0) == "OK"
    assert (
        describe(int(InjectionStatus.PSF_UNKNOWN | InjectionStatus.SKY_NOISE_UNKNOWN))
        == "PSF_UNKNOWN|SKY_NOISE_UNKNOWN"
    )


def test_every_fault_says_what_was_expected_and_what_to_do():
    assert list(EXPECTED) == [bit for bit in InjectionStatus if bit]
    assert all("expected" in text for text in EXPECTED.values())
    both = advice(int(InjectionStatus.PSF_TOO_WIDE | InjectionStatus.HOST_UNREADABLE))
    assert both.startswith("PSF_TOO_WIDE: expected a FWHM of at most a quarter of the stamp")
    assert "; HOST_UNREADABLE: " in both
    assert advice(0) == ""


def test_no_draw_may_be_missing_whatever_it_is(rows, demo):
    """One row a parameter, each with that parameter missing: every one is flagged, and its neighbours are not."""
    few = rows.iloc[: 2 * len(PARAMETER_COLUMNS)].reset_index(drop=True)
    for place, name in enumerate(PARAMETER_COLUMNS):
        few.loc[2 * place, name] = np.nan
    status = np.asarray(input_status(few, demo.renderer))
    assert ((status[::2] & int(InjectionStatus.PARAMETERS_NOT_FINITE)) > 0).all()
    assert (status[1::2] == 0).all()


def test_the_status_of_the_plan_is_kept(rows, demo):
    assert (input_status(rows.assign(status=1), demo.renderer) & 1).all()


def test_a_wrong_stamp_size_is_refused_with_what_was_expected(rows, demo):
    with pytest.raises(ValueError, match="101"):
        render_injections(rows, np.zeros((len(rows), 3, 64, 64), dtype=np.float32), demo)


def test_batches_stream_in_row_order(rows, stamps, demo, rendered):
    position = {path: row for row, path in enumerate(rows["injection_id"])}
    read = lambda names: stamps[[position[name] for name in names]]  # noqa: E731
    done: list[int] = []
    batches = render_batches(rows, read, demo, lambda now, total: done.append(now), reader_column="injection_id")
    assert [name for batch in batches for name in batch.truth["injection_id"]] == rendered.truth[
        "injection_id"
    ].tolist()
    assert done[-1] == len(rows)


def test_annulus_signal_to_noise_counts_only_the_annulus():
    arcs = np.zeros((1, 101, 101))
    arcs[0, 50, 50] = 5.0
    arcs[0, 50, 60] = 2.0
    snr = annulus_snr(arcs, np.array([0.1]))[0]
    pixels = np.count_nonzero((lambda r: (r >= 4) & (r < 16))(np.hypot(*np.mgrid[-50:51, -50:51])))
    assert snr == pytest.approx(2.0 / (0.1 * np.sqrt(pixels)))


def test_suppressed_inner_images_take_light_from_the_centre_and_leave_the_arc(rows, demo):
    lens = rows.assign(theta_e_arcsec=1.5, lens_axis_ratio=0.9, shear_g1=0.0, shear_g2=0.0, lens_x_arcsec=0.0,
                       lens_y_arcsec=0.0, source_x_arcsec=1.0, source_y_arcsec=0.0, source_clumps=0,
                       source_half_light_radius_arcsec=0.1, source_sersic_index=1.0).iloc[:3]  # fmt: skip
    suppressed = with_(demo, renderer={"inner_images": "suppressed"})
    both, _ = render_arcs(lens, demo)
    outer, _ = render_arcs(lens, suppressed)
    missing = both - outer
    # The counter-image of a source at 1 arcsec behind a lens of 1.5 is at -0.5, magnified |1 - 1.5/0.5|^-1 = 1/2.
    column = np.argmax(missing[0, 1].sum(axis=0))
    assert abs((column - 50) * 0.262 + 0.5) < 0.27
    share = missing.sum(axis=(2, 3)) / both.sum(axis=(2, 3))
    assert np.allclose(share, 0.5 / 3.0, rtol=0.25)
    assert np.abs(missing[:, :, :, 58:]).max() < 0.01 * both.max()
    alone, _ = render_arcs(lens.iloc[[1]], suppressed)
    assert alone[0].tobytes() == outer[1].tobytes()


def test_suppression_is_resolved_like_everything_else(rows, demo):
    coarse, _ = render_arcs(rows.iloc[:12], with_(demo, renderer={"inner_images": "suppressed"}))
    settings = with_(demo, renderer={"inner_images": "suppressed", "ray_tolerance": 1e-6})
    fine, _ = render_arcs(rows.iloc[:12], settings)
    peaks = fine.max(axis=(2, 3), keepdims=True)
    assert np.max(np.abs(coarse - fine) / peaks) < 2e-3


def test_steeper_lenses_draw_other_arcs_and_an_isothermal_power_law_the_same(rows, demo):
    few = rows.iloc[:6]
    isothermal, _ = render_arcs(few, demo)
    # One steeper lens in the batch sends all through the general formula.
    mixed, _ = render_arcs(few.assign(lens_density_slope=[2.0, 2.0, 2.0, 2.0, 2.0, 2.2]), demo)
    peaks = isothermal.max(axis=(2, 3), keepdims=True)
    difference = (np.abs(mixed - isothermal) / peaks).max(axis=(1, 2, 3))
    assert difference[:5].max() < 1e-3
    assert difference[5] > 0.02


def test_truth_holds_the_images_and_their_magnifications_fall(rendered):
    truth = rendered.truth
    names = [f"image_{image}_magnification" for image in range(1, 5)]
    assert (truth[names].notna().sum(axis=1) == truth["n_images"].clip(upper=4)).all()
    brightest = truth[names].abs()
    assert (brightest.diff(axis=1).iloc[:, 1:].fillna(-1.0) <= 0).all().all()


@pytest.mark.parametrize("index", [0.5, 1.0])
@pytest.mark.parametrize("radius", [0.0015, 0.004])
def test_no_image_of_a_tiny_source_is_lost_between_the_pixels(rendered, demo, index, radius):
    """Far from caustics a tiny source is magnified like a point, counter-images of a tenth of a pixel included."""
    magnifications = rendered.truth[[f"image_{image}_magnification" for image in range(1, 5)]].abs()
    calm = rendered.truth[magnifications["image_1_magnification"] < 3].assign(
        source_half_light_radius_arcsec=radius, source_sersic_index=index, source_clumps=0
    )
    _, magnification = render_arcs(calm, demo)
    assert len(calm) >= 10
    assert np.allclose(magnification, magnifications.loc[calm.index].sum(axis=1), rtol=0.02)


@pytest.fixture
def elsewhere():
    """What torch makes without saying where lands on a device without memory, and cannot be mixed with anything."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("variant", ["sersic", "pictures"])
def test_every_tensor_follows_the_profiles_it_is_made_from(rows, demo, variant, request):
    few = rows.iloc[:4]
    mass, size = lens_of(few, torch.float32), demo.renderer.stamp_pixels
    profiles = source_profiles(few, demo)
    images = [SourceImage(np.ones((9, 9)), 0.05)] * 4
    widths = torch.full((4, 3), 1.2)

    def stamps():
        if variant == "sersic":
            rays = shoot(profiles, size, 0.262, 3e-5)
        else:
            rays = shoot_images(images, mass, *np.zeros((3, 4)), size, 0.262)
        canvas = Canvas(size, 0.262, torch.float32)
        return canvas.convolve(canvas.deposit(rays, 4), widths, 3.5)

    here = stamps()
    request.getfixturevalue("elsewhere")
    assert stamps().numpy().tobytes() == here.numpy().tobytes()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_there_is_refused(rows, demo):
    with pytest.raises(ValueError, match=r"renderer\.device"):
        render_arcs(rows.iloc[:1], with_(demo, renderer={"device": "cuda"}))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: renders there and compares with the processor")
def test_a_gpu_renders_the_same_arcs_and_the_same_bytes_twice(rows, demo):
    settings = with_(demo, renderer={"device": "cuda"})
    there, _ = render_arcs(rows, settings)
    again, _ = render_arcs(rows, settings)
    here, _ = render_arcs(rows, demo)
    assert there.tobytes() == again.tobytes()
    assert np.abs(there - here).max() < 2e-3 * here.max()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("lens_density_slope", 3.0), ("lens_density_slope", 0.9), ("lens_axis_ratio", 1.2), ("lens_axis_ratio", 0.0),
        ("source_half_light_radius_arcsec", -0.1), ("source_axis_ratio", 0.0), ("theta_e_arcsec", -1.0),
    ],
)  # fmt: skip
def test_an_impossible_parameter_is_a_flagged_row_and_leaves_the_others_alone(rows, stamps, demo, column, value):
    few = rows.iloc[:3].copy()
    few.loc[few.index[1], column] = value
    result = render_injections(few, stamps[:3], demo)
    assert [describe(status) for status in result.truth["status"]] == ["OK", "PARAMETERS_UNPHYSICAL", "OK"]
    assert result.stamps[1].tobytes() == stamps[1].tobytes()
    assert np.isnan(result.truth["magnification"].iloc[1])
    untouched = render_injections(rows.iloc[[0, 2]], stamps[[0, 2]], demo)
    assert result.stamps[[0, 2]].tobytes() == untouched.stamps.tobytes()
