from __future__ import annotations

import numpy as np
import pytest
from astropy.stats import mad_std
from hypothesis import given, settings
from hypothesis import strategies as st
from photutils.aperture import CircularAnnulus
from pydantic import ValidationError

from lens_assets.campaign.preprocessing import PreprocessingSettings
from lens_assets.imaging.preprocessing import preprocess, preprocessing_digest
from lens_assets_tests.imaging.scenes import arc, host, noise


def spec(**changes) -> PreprocessingSettings:
    values = {
        "input_pixels": 101, "stamp_pixels": 64, "annulus_inner_px": 32.5, "annulus_outer_px": 45.0,
        "arc_radius_px": 20.0, "clip": 20.0, "asinh_softening": None, "mask": "none", "core_radius_px": 4.0,
    }  # fmt: skip
    return PreprocessingSettings(**(values | changes))


@pytest.fixture(scope="module")
def stamps() -> np.ndarray:
    return (noise(6, seed=3) + host() + arc(22.0)).astype("f4")


def test_it_equals_photutils_annuli_with_astropys_robust_statistics(stamps):
    result = preprocess(stamps, spec(clip=1e9))
    annulus = CircularAnnulus((50, 50), 32.5, 45.001).to_mask(method="center").to_image((101, 101)) > 0
    for stamp, seen in zip(stamps, result, strict=True):
        for band in range(3):
            sky = stamp[band][annulus]
            expected = (stamp[band] - np.median(sky)) / mad_std(sky)
            np.testing.assert_allclose(seen[band], expected[18:82, 18:82], rtol=1e-5, atol=1e-5)


def test_the_noise_of_one_pixel_becomes_one():
    blank = preprocess(noise(8, seed=1), spec())
    assert blank.std() == pytest.approx(1.0, abs=0.03)


@settings(max_examples=20, deadline=None)
@given(level=st.floats(-0.5, 0.5), factor=st.floats(1e-3, 1e3))
def test_background_and_flux_scale_do_not_matter_before_the_clip(stamps, level, factor):
    reference = preprocess(stamps[:2], spec(clip=1e6))
    moved = preprocess(stamps[:2].astype("f8") * factor, spec(clip=1e6))
    np.testing.assert_allclose(moved, reference, rtol=1e-3, atol=1e-3)
    shifted = preprocess(stamps[:2] + np.float32(level), spec(clip=1e6))
    np.testing.assert_allclose(shifted, reference, rtol=1e-3, atol=2e-3)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)), size=st.integers(1, 6))
def test_a_stamp_comes_out_the_same_in_any_batch(stamps, order, size):
    alone = preprocess(stamps, spec())
    batched = np.concatenate(
        [preprocess(stamps[list(order[i : i + size])], spec()) for i in range(0, len(order), size)]
    )
    assert batched.tobytes() == alone[list(order)].tobytes()


def test_it_commutes_with_quarter_turns_and_flips(stamps):
    odd = spec(stamp_pixels=65)
    for turn in (lambda s: np.rot90(s, axes=(2, 3)), lambda s: s[..., ::-1], lambda s: s[..., ::-1, :]):
        turned = preprocess(np.ascontiguousarray(turn(stamps)), odd)
        np.testing.assert_allclose(turned, turn(preprocess(stamps, odd)), rtol=1e-5, atol=1e-5)


def test_the_target_is_the_central_pixel_of_the_crop(stamps):
    marked = stamps.copy()
    marked[:, :, 50, 50] = 5.0
    result = preprocess(marked, spec(clip=1e9))
    assert np.all(result[:, :, 32, 32] == result.max(axis=(2, 3)))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_it_is_always_finite_and_within_the_clip(data):
    values = st.sampled_from([0.0, np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-38, 0.01, -0.01])
    stamp = noise(1, seed=2).astype("f4")
    for _ in range(data.draw(st.integers(0, 4))):
        band, first, last = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 100)), data.draw(st.integers(1, 101))
        stamp[0, band, first:last] = data.draw(values)
    mask = data.draw(st.sampled_from(["none", "core_only", "annulus_only", "residual"]))
    result = preprocess(stamp, spec(clip=7.0, mask=mask))
    assert np.isfinite(result).all() and np.abs(result).max() <= 7.0


def test_pixels_without_coverage_enter_no_statistic_and_come_out_as_zero(stamps):
    holed = stamps.copy()
    holed[0, 1, :, :40] = 0.0
    whole, seen = preprocess(stamps, spec()), preprocess(holed, spec())
    assert np.all(seen[0, 1, :, : 40 - 18] == 0.0)
    kept = seen[0, 1, :, 22:]
    np.testing.assert_allclose(kept, whole[0, 1, :, 22:], atol=0.15 * 20)
    assert np.median(np.abs(kept - whole[0, 1, :, 22:])) < 0.1
    assert np.array_equal(seen[1:], whole[1:]) and np.array_equal(seen[0, 0], whole[0, 0])


def test_a_band_without_coverage_or_without_spread_comes_out_as_zero(stamps):
    flat = stamps[:1].copy()
    flat[0, 0], flat[0, 2] = 0.0, 0.3
    result = preprocess(flat, spec())
    assert not result[0, 0].any() and not result[0, 2].any() and result[0, 1].any()


def test_masks_hide_what_they_say(stamps):
    whole, core, rest = (preprocess(stamps, spec(mask=mask)) for mask in ("none", "core_only", "annulus_only"))
    np.testing.assert_array_equal(core + rest, whole)
    y, x = np.indices((64, 64)) - 32
    assert not core[:, :, np.hypot(y, x) >= 4.0].any() and not rest[:, :, np.hypot(y, x) < 4.0].any()


def test_residual_removes_the_host_and_keeps_the_arc():
    quiet = spec(mask="residual", clip=1e6)
    bare, lensed = noise(1, 5) + host(), noise(1, 5) + host() + arc(21.5)
    y, x = np.indices((64, 64)) - 32
    place = (np.abs(np.hypot(y, x) - 7) < 1.5) & (np.abs(np.arctan2(y, x)) < np.pi / 4)
    host_only = preprocess(bare, spec(clip=1e6))[0, 1][place].mean()
    left, with_arc = (preprocess(s, quiet)[0, 1][place].mean() for s in (bare, lensed))
    assert abs(left) < 0.1 * host_only
    assert with_arc > left + 5


def test_asinh_is_linear_for_noise_and_compresses_the_bright(stamps):
    linear, stretched = preprocess(stamps, spec(clip=1e4)), preprocess(stamps, spec(clip=1e4, asinh_softening=5.0))
    np.testing.assert_allclose(stretched, 5.0 * np.arcsinh(linear / 5.0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annulus_inner_px": 10.0}, "arc_radius_px"),
        ({"annulus_outer_px": 60.0}, "input_pixels // 2"),
        ({"stamp_pixels": 128}, "exceeds input_pixels"),
        ({"core_radius_px": 40.0}, "covers the crop"),
        ({"clip": 0.0}, "greater than 0"),
        ({"gain": 1.0}, "Extra inputs"),
    ],
)
def test_impossible_settings_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        spec(**changes)


def test_the_digest_changes_with_every_setting_and_only_then():
    changes = [
        {}, {"stamp_pixels": 65}, {"annulus_inner_px": 33.0}, {"annulus_outer_px": 44.0}, {"clip": 10.0},
        {"asinh_softening": 3.0}, {"mask": "residual"}, {"core_radius_px": 5.0},
    ]  # fmt: skip
    assert len({preprocessing_digest(spec(**change)) for change in changes}) == len(changes)
    assert preprocessing_digest(spec()) == preprocessing_digest(spec())


def test_a_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected \(N, 3, 101, 101\)"):
        preprocess(np.zeros((2, 101, 101, 3)), spec())
