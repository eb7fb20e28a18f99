"""Real DR10 cutouts through quality, features and preprocessing; real service answers with holes are refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lens_assets.imaging.features import arc_visibility, feature_table
from lens_assets.imaging.preprocessing import preprocess
from lens_assets.imaging.quality import quality_table
from lens_assets.imaging.stamps import read_stamps, write_stamps
from lens_assets.survey.cutout_service import read_npz_cutout
from lens_assets_tests.imaging.settings import features_settings
from lens_assets_tests.imaging.test_preprocessing import spec

DATA = os.environ.get("LENS_REFERENCE_DATA", "")
pytestmark = pytest.mark.skipif(not DATA, reason="LENS_REFERENCE_DATA is not set: real cutouts are not tested")
SETTINGS = features_settings()


@pytest.fixture(scope="module")
def cutouts():
    paths = sorted((Path(DATA) / "cutouts" / "ls_dr10_lens_candidates").glob("*.npz"))
    assert len(paths) == 3
    return [read_npz_cutout(path, 101, 0.02) for path in paths]


@pytest.fixture(scope="module")
def stamps(cutouts) -> np.ndarray:
    return np.stack([item.stamp for item in cutouts])


def test_published_quality_columns_are_reproduced_from_the_pixels(cutouts, stamps):
    table = quality_table(stamps, SETTINGS.regions, SETTINGS.quality)
    same = (
        "nan_count_g", "nan_count_r", "nan_count_z", "nan_frac", "central_nan_frac", "core_brightness_r", "core_max_r",
        "mad_r", "std_r", "median_r", "mean_r", "percentile_1_r", "percentile_99_r",
    )  # fmt: skip
    for row, item in zip(table.to_dict("records"), cutouts, strict=True):
        for name in same:
            assert row[name] == pytest.approx(item.metadata[name], rel=1e-5), name
        assert row["quality_ok"] and all(row[f"has_{band}"] for band in "grz")


def test_the_published_annulus_lay_too_far_out_and_ours_does_not(cutouts, stamps):
    published = SETTINGS.regions.model_copy(update={"annulus_inner_px": 20.0, "annulus_outer_px": 40.0})
    there, here = (quality_table(stamps, regions, SETTINGS.quality) for regions in (published, SETTINGS.regions))
    for name in ("annulus_brightness_r", "annulus_std_r"):
        np.testing.assert_allclose(there[name], [item.metadata[name] for item in cutouts], rtol=1e-5)
        assert (here[name] > there[name]).sum() >= 2


def test_sky_noise_and_its_correlation_are_those_of_the_survey(stamps):
    table = feature_table(stamps, SETTINGS.regions)
    assert table["sky_sigma_g"].between(0.001, 0.003).all()
    assert table["sky_sigma_r"].between(0.002, 0.006).all()
    assert table["sky_sigma_z"].between(0.005, 0.013).all()
    assert table["noise_correlation_r"].between(0.7, 0.95).all()
    assert (table[["sky_level_g", "sky_level_r", "sky_level_z"]] > 0).all().all()


def test_preprocessing_brings_real_sky_to_zero_and_one(stamps):
    result = preprocess(stamps, spec(stamp_pixels=101))
    y, x = np.indices((101, 101)) - 50
    sky = (np.hypot(x, y) >= 32.5) & (np.hypot(x, y) <= 45)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(np.median(result[:, :, sky], axis=2), 0.0, atol=1e-4)
    spread = 1.4826 * np.median(np.abs(result[:, :, sky]), axis=2)
    np.testing.assert_allclose(spread, 1.0, atol=1e-4)


def test_one_real_candidate_shows_a_blue_arc(stamps):
    visibility = arc_visibility(stamps, SETTINGS.regions, SETTINGS.visibility)
    assert (visibility > SETTINGS.visibility.visible_snr).any() and np.isfinite(visibility).all()


def test_real_stamps_survive_the_store(stamps, tmp_path):
    write_stamps(tmp_path / "s.arrow", ["a", "b", "c"], stamps)
    assert np.array_equal(read_stamps(tmp_path / "s.arrow"), stamps)


def test_a_real_answer_with_missing_coverage_is_refused_though_it_holds_no_nan():
    with fits.open(Path(DATA) / "cutouts" / "decals_fits" / "example_bad_pix_dr3.fits.gz") as opened:
        cube = np.asarray(opened[0].data, dtype="f4")
    middle = [side // 2 for side in cube.shape[1:]]
    stamp = cube[:, middle[0] - 50 : middle[0] + 51, middle[1] - 50 : middle[1] + 51]
    assert not np.isnan(stamp).any()
    table = quality_table(stamp[None], SETTINGS.regions, SETTINGS.quality)
    assert not table.loc[0, "quality_ok"] and table.loc[0, "quality_reason"].startswith(("missing", "no_"))
    assert table.loc[0, ["nan_count_g", "nan_count_r"]].sum() > 0
