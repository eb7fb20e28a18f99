"""Cutouts that others made: real answers of the service, and each of its traps."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from lens_assets.survey.cutout_service import CutoutRefusedError, read_npz_cutout, read_viewer_cutout
from lens_assets_tests.survey.reference import reference_file

FRACTION = 0.02
REAL = "cutouts/decals_fits/small_225px_dr5.fits"
CANDIDATES = ("0003m005_293", "0006p270_2574", "0001m040_4091")


def answer(tmp_path, name="cutout.fits", bands="grz", planes=3, size=101, scale=0.262, zeros=0):
    cube = np.random.default_rng(0).normal(0.01, 0.003, (planes, size, size)).astype(np.float32)
    cube[1, :zeros] = 0.0
    header = fits.Header({"BANDS": bands, "SURVEY": "LegacySurvey", "CRVAL1": 10.0, "CRVAL2": -5.0})
    header.update({"CD1_1": -scale / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale / 3600})
    path = tmp_path / name
    fits.PrimaryHDU(cube, header).writeto(path, overwrite=True)
    return path


def refused(read, path, size=101):
    with pytest.raises(CutoutRefusedError) as caught:
        read(path, size, FRACTION)
    assert path.name in str(caught.value)
    return caught.value.reason


def test_a_real_answer_is_read():
    cutout = read_viewer_cutout(reference_file(REAL), 225, FRACTION)
    assert cutout.stamp.shape == (3, 225, 225)
    assert cutout.stamp.dtype == np.float32
    assert cutout.metadata["survey"] == "DECaLS"
    assert cutout.metadata["ra"] == pytest.approx(146.714208787)
    assert cutout.zero_fraction == {"g": 0.0, "r": 0.0, "z": 0.0}


def test_real_answers_with_faults_are_refused_for_the_right_reason(tmp_path):
    gaps = reference_file("cutouts/decals_fits/example_bad_pix_dr3.fits.gz")
    assert refused(read_viewer_cutout, gaps, 424) == "zero_filled"
    oversampled = reference_file("cutouts/decals_fits/example_a_dr3.fits.gz")
    assert refused(read_viewer_cutout, oversampled, 424) == "wrong_pixel_scale"
    assert refused(read_viewer_cutout, reference_file(REAL), 101) == "wrong_shape"
    whole = reference_file(REAL).read_bytes()
    cut = tmp_path / "cut.fits"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    assert refused(read_viewer_cutout, cut, 225) == "truncated"


def test_the_traps_of_the_service(tmp_path):
    assert read_viewer_cutout(answer(tmp_path), 101, FRACTION).metadata["survey"] == "LegacySurvey"
    assert refused(read_viewer_cutout, answer(tmp_path, bands="griz", planes=4)) == "wrong_bands"
    assert refused(read_viewer_cutout, answer(tmp_path, planes=4)) == "wrong_shape"
    assert refused(read_viewer_cutout, answer(tmp_path, size=99)) == "wrong_shape"
    assert refused(read_viewer_cutout, answer(tmp_path, scale=0.25)) == "wrong_pixel_scale"
    assert refused(read_viewer_cutout, answer(tmp_path, zeros=5)) == "zero_filled"
    text = tmp_path / "layer.fits"
    text.write_text("no such layer")
    assert refused(read_viewer_cutout, text) == "no_such_layer"
    page = tmp_path / "page.fits"
    page.write_text("<html>500 Internal Server Error</html>")
    assert refused(read_viewer_cutout, page) == "not_fits"
    packed = tmp_path / "cut.fits.gz"
    packed.write_bytes(gzip.compress(answer(tmp_path).read_bytes())[:-300])
    assert refused(read_viewer_cutout, packed) == "truncated"
    empty = tmp_path / "empty.fits"
    empty.touch()
    assert refused(read_viewer_cutout, empty) == "empty"


def test_real_dr10_candidates_are_read_bands_first():
    for name in CANDIDATES:
        path = reference_file(f"cutouts/ls_dr10_lens_candidates/{name}.npz")
        cutout = read_npz_cutout(path, 101, FRACTION)
        assert cutout.stamp.shape == (3, 101, 101)
        assert cutout.metadata["galaxy_id"] == name
        original = np.load(path, allow_pickle=False)["cutout"]
        np.testing.assert_array_equal(cutout.stamp[2], original[:, :, 2])
        red, blue = cutout.stamp[2, 45:56, 45:56].sum(), cutout.stamp[0, 45:56, 45:56].sum()
        assert red > blue  # early-type hosts are brighter in z than in g


def test_npz_files_that_are_not_cutouts_are_refused(tmp_path):
    good = np.full((101, 101, 3), 0.01, np.float32)
    cases = {
        "no_cutout": {"image": good},
        "wrong_shape": {"cutout": np.moveaxis(good, -1, 0)},
        "wrong_bands": {"cutout": good, "meta_bands_requested": np.array("gri")},
        "wrong_pixel_scale": {"cutout": good, "meta_pixel_scale": np.array(0.5)},
        "not_finite": {"cutout": np.where(np.arange(3) == 1, np.nan, good).astype(np.float32)},
        "zero_filled": {"cutout": good * (np.arange(101)[:, None, None] > 10)},
    }
    for reason, arrays in cases.items():
        path = tmp_path / f"{reason}.npz"
        np.savez(path, **arrays)
        assert refused(read_npz_cutout, path) == reason
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, cutout=np.array([{"a": 1}], dtype=object))
    assert refused(read_npz_cutout, pickled) == "unreadable"
    cut = tmp_path / "cut.npz"
    cut.write_bytes((tmp_path / "no_cutout.npz").read_bytes()[:2000])
    assert refused(read_npz_cutout, cut) == "unreadable"
