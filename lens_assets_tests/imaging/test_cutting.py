from __future__ import annotations

import astropy.io.fits as fits
import numpy as np
import pandas as pd
import pytest
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

from lens_assets.imaging.cutting import cut_partition, quarantined_files
from lens_assets.imaging.stamps import read_stamp_columns, read_stamps, split_stamp_path
from lens_assets.survey.coadds import read_stamps_from_brick
from lens_assets.survey.files import SurveyFiles

PIXELS, SIZE = 201, 21
BRICKS = {"0100p010": (10.0, 1.0), "0110p010": (11.0, 1.0)}


def _header(ra: float, dec: float) -> fits.Header:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [ra, dec], [PIXELS / 2 + 0.5] * 2
    wcs.wcs.cd = np.diag([-0.262, 0.262]) / 3600
    header = wcs.to_header()
    for name, value in (("CD1_1", -0.262 / 3600), ("CD1_2", 0.0), ("CD2_1", 0.0), ("CD2_2", 0.262 / 3600)):
        header[name] = value
    return header


@pytest.fixture
def survey(tmp_path) -> SurveyFiles:
    rng = np.random.default_rng(0)
    for brick, centre in BRICKS.items():
        folder = tmp_path / "south" / "coadd" / brick[:3] / brick
        folder.mkdir(parents=True)
        header = _header(*centre)
        for number, band in enumerate("grz"):
            image = rng.normal(0, 0.003, (PIXELS, PIXELS)).astype("f4")
            invvar = np.full((PIXELS, PIXELS), 1 / 0.003**2, "f4")
            if band == "r":
                image[:, :30], invvar[:, :30] = 0.0, 0.0
            planes = {"image": image, "invvar": invvar, "nexp": np.full((PIXELS, PIXELS), 3 + number, "i2"),
                      "psfsize": np.full((PIXELS, PIXELS), 1.3, "f4")}  # fmt: skip
            for product, plane in planes.items():
                path = folder / f"legacysurvey-{brick}-{product}-{band}.fits.fz"
                fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(plane, header)]).writeto(path)
        path = folder / f"legacysurvey-{brick}-maskbits.fits.fz"
        bits = np.zeros((PIXELS, PIXELS), "i4")
        bits[110, 110] = 2
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(bits, header)]).writeto(path)
    return SurveyFiles(str(tmp_path), "south/sweep/10.1", "south/coadd", "bricks.fits")


def wanted() -> pd.DataFrame:
    rows = []
    for brick, (ra, dec) in BRICKS.items():
        for number, (dx, dy) in enumerate([(0, 0), (40, 20), (-60, 5), (99, 0), (-88, 0)]):
            position = ra - dx * 0.262 / 3600 / np.cos(np.deg2rad(dec)), dec + dy * 0.262 / 3600
            rows.append((f"{brick}_{number}", *position, brick))
    return pd.DataFrame(rows, columns=["galaxy_id", "ra", "dec", "brickname"])


def cut(survey: SurveyFiles, path, rows=None) -> pd.DataFrame:
    def read(brick, ra, dec):
        return read_stamps_from_brick(survey, brick, ra, dec, SIZE)

    return cut_partition(wanted() if rows is None else rows, "hp04-001", path, SIZE, read)


def test_stamps_are_the_pixels_astropy_cuts_out(survey, tmp_path):
    table = cut(survey, tmp_path / "s.arrow")
    rows = wanted().set_index("galaxy_id")
    ids = read_stamp_columns(tmp_path / "s.arrow")["id"].to_pylist()
    for row in table[table["status"] == "ok"].itertuples():
        shard, number = split_stamp_path(row.cutout_path)
        assert shard == "hp04-001" and ids[number] == row.galaxy_id
        stamp = read_stamps(tmp_path / "s.arrow", [number])[0]
        for plane, band in zip(stamp, "grz", strict=True):
            brick = rows.loc[row.galaxy_id, "brickname"]
            path = survey.root + "/" + survey.coadd_path(brick, "image", band)
            with fits.open(path) as opened:
                wcs = WCS(opened[1].header)
                x, y = wcs.all_world2pix(row.ra, row.dec, 0)
                expected = Cutout2D(opened[1].data, (float(x), float(y)), SIZE).data
            assert np.array_equal(plane, expected)


def test_conditions_and_failures_stand_in_the_index(survey, tmp_path):
    table = cut(survey, tmp_path / "s.arrow").set_index("galaxy_id")
    assert table.loc["0100p010_3", "status"] == "outside_image" and pd.isna(table.loc["0100p010_3", "cutout_path"])
    assert table.loc["0100p010_4", "status"] == "zero_coverage" and "r" in table.loc["0100p010_4", "detail"]
    good = table.loc["0100p010_0"]
    assert (good["nexp_g"], good["nexp_z"]) == (3, 5) and good["psfsize_r"] == pytest.approx(1.3)
    assert good["sky_sigma_g"] == pytest.approx(0.003, rel=1e-5) and good["maskbits_any"] == 2
    assert table.loc["0100p010_1", "maskbits_any"] == 0


def test_a_damaged_file_costs_its_own_brick_and_is_named(survey, tmp_path):
    path = tmp_path / "south/coadd/010/0100p010/legacysurvey-0100p010-image-z.fits.fz"
    path.write_bytes(path.read_bytes()[:3000])
    table = cut(survey, tmp_path / "s.arrow")
    lost = table[table["brickname"] == "0100p010"]
    assert not (lost["status"] == "ok").any() and (table["status"] == "ok").sum() == 3
    named = quarantined_files(table)
    assert len(named) == 1 and "image-z" in named.loc[0, "detail"] and named.loc[0, "stamps"] == 4
    assert len(read_stamps(tmp_path / "s.arrow")) == 3


def test_the_result_does_not_depend_on_the_order_of_rows(survey, tmp_path):
    first = cut(survey, tmp_path / "a.arrow")
    second = cut(survey, tmp_path / "b.arrow", wanted().sample(frac=1.0, random_state=1))
    pd.testing.assert_frame_equal(first, second)
    assert (tmp_path / "a.arrow").read_bytes() == (tmp_path / "b.arrow").read_bytes()


def test_nothing_wanted_gives_an_empty_index_with_all_columns(survey, tmp_path):
    full, empty = cut(survey, tmp_path / "a.arrow"), cut(survey, tmp_path / "b.arrow", wanted().head(0))
    assert len(empty) == 0 and empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert read_stamps(tmp_path / "b.arrow").shape == (0, 3, SIZE, SIZE)
