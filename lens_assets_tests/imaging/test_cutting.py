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
from lens_assets_tests.imaging.bricks import wanted_positions, write_bricks

SIZE = 21


@pytest.fixture
def survey(tmp_path) -> SurveyFiles:
    return write_bricks(tmp_path)


def cut(survey: SurveyFiles, path, rows=None) -> pd.DataFrame:
    def read(brick, ra, dec):
        return read_stamps_from_brick(survey, brick, ra, dec, SIZE)

    return cut_partition(wanted_positions() if rows is None else rows, "hp04-001", path, SIZE, read)


def test_stamps_are_the_pixels_astropy_cuts_out(survey, tmp_path):
    table = cut(survey, tmp_path / "s.arrow")
    rows = wanted_positions().set_index("galaxy_id")
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
    second = cut(survey, tmp_path / "b.arrow", wanted_positions().sample(frac=1.0, random_state=1))
    pd.testing.assert_frame_equal(first, second)
    assert (tmp_path / "a.arrow").read_bytes() == (tmp_path / "b.arrow").read_bytes()


def test_nothing_wanted_gives_an_empty_index_with_all_columns(survey, tmp_path):
    full, empty = cut(survey, tmp_path / "a.arrow"), cut(survey, tmp_path / "b.arrow", wanted_positions().head(0))
    assert len(empty) == 0 and empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert read_stamps(tmp_path / "b.arrow").shape == (0, 3, SIZE, SIZE)
