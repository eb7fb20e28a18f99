"""Stamps from coadds: the right pixels, the right conditions, and a status for everything that is not there."""

import shutil

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from lens_assets.survey.coadds import prefer_full_read, read_stamps_from_brick
from lens_assets.survey.files import SurveyFiles
from lens_assets_tests.survey.reference import reference_file

BRICK, SIZE = "0001m005", 300
SCALE = 0.262 / 3600.0


def survey_files(root):
    return SurveyFiles(str(root), "south/sweep/10.1", "south/coadd", "south/survey-bricks-dr10-south.fits.gz")


def brick_wcs(size=SIZE):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [0.125, -0.5], [(size + 1) / 2] * 2
    wcs.wcs.cd = [[-SCALE, 0], [0, SCALE]]
    return wcs


def write_plane(files, root, product, band, values):
    path = root / files.coadd_path(BRICK, product, band)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = brick_wcs().to_header()
    for i in (1, 2):
        for j in (1, 2):
            header[f"CD{i}_{j}"] = brick_wcs().wcs.cd[i - 1, j - 1]
            header.pop(f"PC{i}_{j}", None)
    integer = values.dtype.kind == "i"
    options = {} if integer else {"quantize_level": -1e-4, "quantize_method": 2, "dither_seed": 17}
    hdu = fits.CompImageHDU(values, header, compression_type="RICE_1", tile_shape=(100, 100), **options)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return path


@pytest.fixture
def survey(tmp_path):
    files = survey_files(tmp_path)
    rng = np.random.default_rng(1)
    planes = {}
    for number, band in enumerate("grz"):
        image = rng.normal(0.0, 0.01 * (number + 1), (SIZE, SIZE)).astype(np.float32)
        image[:, :60] = 0.0
        invvar = np.full((SIZE, SIZE), 1e4 / (number + 1) ** 2, np.float32)
        invvar[:, :60] = 0.0
        planes[f"image-{band}"], planes[f"invvar-{band}"] = image, invvar
        planes[f"nexp-{band}"] = np.full((SIZE, SIZE), 3 + number, np.int16)
        planes[f"psfsize-{band}"] = np.full((SIZE, SIZE), 1.2 + 0.1 * number, np.float32)
        for product in ("image", "invvar", "nexp", "psfsize"):
            write_plane(files, tmp_path, product, band, planes[f"{product}-{band}"])
    planes["maskbits"] = np.zeros((SIZE, SIZE), np.int32)
    planes["maskbits"][150, 150], planes["maskbits"][160, 140] = 2, 4096
    write_plane(files, tmp_path, "maskbits", "", planes["maskbits"])
    return files, tmp_path, planes


def at_pixels(x, y):
    return brick_wcs().all_pix2world(np.atleast_1d(x), np.atleast_1d(y), 0)


def test_the_pixels_and_conditions_of_a_stamp(survey):
    files, root, planes = survey
    ra, dec = at_pixels([150.3, 200.0], [150.4, 120.0])
    result = read_stamps_from_brick(files, BRICK, ra, dec, 51)
    assert result.status.tolist() == ["ok", "ok"]
    whole = fits.getdata(root / files.coadd_path(BRICK, "image", "r"))
    np.testing.assert_array_equal(result.stamps[0, 1], whole[125:176, 125:176])
    np.testing.assert_array_equal(result.stamps[1, 1], whole[95:146, 175:226])
    np.testing.assert_allclose(result.stamps[0, 1], planes["image-r"][125:176, 125:176], atol=1e-4)
    np.testing.assert_allclose(result.sky_sigma[0], [0.01, 0.02, 0.03], rtol=1e-3)
    np.testing.assert_allclose(result.psfsize_arcsec[0], [1.2, 1.3, 1.4], rtol=1e-3)
    assert result.nexp[0].tolist() == [3, 4, 5]
    assert result.maskbits_any.tolist() == [2 | 4096, 0]
    np.testing.assert_allclose(
        [result.x_offset_arcsec[0], result.y_offset_arcsec[0]], [0.3 * 0.262, 0.4 * 0.262], atol=1e-4
    )
    assert (result.zero_fraction == 0).all()


def test_positions_agree_with_astropy(survey):
    files, _, _ = survey
    rng = np.random.default_rng(8)
    x, y = rng.uniform(90, 200, 20), rng.uniform(90, 200, 20)
    ra, dec = at_pixels(x, y)
    result = read_stamps_from_brick(files, BRICK, ra, dec, 11)
    np.testing.assert_allclose(result.x_offset_arcsec / 0.262, x - np.round(x), atol=1e-3)
    np.testing.assert_allclose(result.y_offset_arcsec / 0.262, y - np.round(y), atol=1e-3)


def test_sections_and_a_full_read_give_the_same_stamps(survey, monkeypatch):
    files, _, _ = survey
    rng = np.random.default_rng(2)
    ra, dec = at_pixels(rng.uniform(60, 240, 30), rng.uniform(60, 240, 30))
    results = []
    for full in (True, False):
        monkeypatch.setattr("lens_assets.survey.coadds.prefer_full_read", lambda *_, full=full: full)
        results.append(read_stamps_from_brick(files, BRICK, ra, dec, 101))
    for name in ("stamps", "sky_sigma", "nexp", "maskbits_any", "zero_fraction"):
        np.testing.assert_array_equal(getattr(results[0], name), getattr(results[1], name))


def test_exact_zeros_are_counted(survey):
    files, _, _ = survey
    ra, dec = at_pixels(60.0, 150.0)
    result = read_stamps_from_brick(files, BRICK, ra, dec, 101)
    np.testing.assert_allclose(result.zero_fraction, 50 / 101, atol=1e-3)
    np.testing.assert_allclose(result.sky_sigma[0], [0.01, 0.02, 0.03], rtol=1e-3)


def test_what_is_not_there_is_a_status(survey):
    files, root, _ = survey
    ra, dec = at_pixels([150.0, 20.0], [150.0, 150.0])
    result = read_stamps_from_brick(files, BRICK, ra, dec, 101)
    assert result.status.tolist() == ["ok", "outside_image"]
    assert np.isnan(result.sky_sigma[1]).all()
    absent = read_stamps_from_brick(files, "3599p322", [359.9], [32.2], 101)
    assert absent.status.tolist() == ["missing_brick"]
    (root / files.coadd_path(BRICK, "image", "z")).unlink()
    gone = read_stamps_from_brick(files, BRICK, ra, dec, 101)
    assert gone.status.tolist() == ["missing_file", "outside_image"]
    assert gone.detail[0].endswith("image-z.fits.fz")
    assert (gone.stamps == 0).all()


def test_a_damaged_file_is_named(survey):
    files, root, _ = survey
    path = root / files.coadd_path(BRICK, "invvar", "r")
    whole = path.read_bytes()
    ra, dec = at_pixels(150.0, 150.0)
    for damaged in (whole[: len(whole) // 2], b"", b"<html>", whole[:5760] + b"\x07" * (len(whole) - 5760)):
        path.write_bytes(damaged)
        result = read_stamps_from_brick(files, BRICK, ra, dec, 101)
        assert result.status.tolist() == ["corrupt_file"], damaged[:10]
        assert path.name in result.detail[0]


def test_a_coadd_of_another_size_is_refused(survey):
    files, root, _ = survey
    path = root / files.coadd_path(BRICK, "nexp", "g")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((100, 100), np.int16))]).writeto(path, overwrite=True)
    ra, dec = at_pixels(150.0, 150.0)
    assert read_stamps_from_brick(files, BRICK, ra, dec, 101).status.tolist() == ["corrupt_file"]


def test_an_even_stamp_has_no_central_pixel(survey):
    with pytest.raises(ValueError, match="odd"):
        read_stamps_from_brick(survey[0], BRICK, [0.1], [0.1], 100)


def test_no_positions_make_no_stamps(survey):
    assert read_stamps_from_brick(survey[0], BRICK, [], [], 101).stamps.shape == (0, 3, 101, 101)


def test_the_cheaper_read_is_chosen():
    # Measured on the survey's coadds: 100 x 100 tiles break even near 200 stamps, row tiles near 20 to 30.
    whole = (3600, 3600)
    assert not prefer_full_read(whole, (100, 100), 150, 101)
    assert prefer_full_read(whole, (100, 100), 300, 101)
    assert not prefer_full_read(whole, (1, 3600), 15, 101)
    assert prefer_full_read(whole, (1, 3600), 40, 101)


def test_real_coadds_give_the_pixels_of_the_file_and_name_what_is_missing(tmp_path):
    brick = "0959p805"
    files = survey_files(tmp_path)
    for band in "gz":
        for product in ("image", "invvar", "nexp"):
            target = tmp_path / files.coadd_path(brick, product, band)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(reference_file(f"coadd/legacysurvey-{brick}-{product}-{band}.fits.fz"), target)
    missing = read_stamps_from_brick(files, brick, [95.95], [80.5], 101)
    assert missing.status.tolist() == ["missing_file"]
    assert missing.detail[0] == f"legacysurvey-{brick}-psfsize-g.fits.fz"
    # r, psfsize and maskbits are not in the reference data: copies of real planes stand in for their pixels
    for product in ("image", "invvar", "nexp"):
        source = tmp_path / files.coadd_path(brick, product, "z")
        shutil.copy(source, tmp_path / files.coadd_path(brick, product, "r"))
    for band in "grz":
        shutil.copy(
            tmp_path / files.coadd_path(brick, "nexp", band), tmp_path / files.coadd_path(brick, "psfsize", band)
        )
    shutil.copy(tmp_path / files.coadd_path(brick, "nexp", "g"), tmp_path / files.coadd_path(brick, "maskbits"))
    path = tmp_path / files.coadd_path(brick, "image", "g")
    image, header = fitsio.read(str(path), ext=1), fits.getheader(path, 1)
    y, x = 900, int(np.flatnonzero(image[900])[-1])  # at the edge of the coverage
    ra, dec = WCS(header).all_pix2world([x, 400], [y, 900], 0)
    result = read_stamps_from_brick(files, brick, ra, dec, 101)
    assert result.status.tolist() == ["ok", "ok"]
    np.testing.assert_array_equal(result.stamps[0, 0], image[y - 50 : y + 51, x - 50 : x + 51])
    np.testing.assert_array_equal(result.stamps[1, 0], image[850:951, 350:451])
    assert 0.2 < result.zero_fraction[0, 0] < 0.8
    assert result.zero_fraction[1, 0] < 0.2
    assert result.zero_fraction[1, 2] == 1.0  # z has no data there: exact zeros, not NaN
    assert 1e-3 < result.sky_sigma[1, 0] < 1e-1
    assert np.isnan(result.sky_sigma[1, 2])
    assert result.nexp[1, 0] >= 1
