"""The brick grid against the survey's own tables and 319,078 real brick names."""

import gzip

import fitsio
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.survey.bricks import (
    brick_names,
    bricks_of_positions,
    count_bricks,
    inside_brick,
    parse_brick_name,
    read_bricks_table,
)
from lens_assets.survey.fits_files import UnreadableFileError
from lens_assets_tests.survey.reference import reference_file


def test_the_grid_has_the_survey_s_number_of_bricks():
    assert count_bricks() == 662_174  # legacysurvey.org/dr10/files: BRICKID 1..662174


def test_a_real_brick_has_the_same_edges_and_number():
    real = read_bricks_table(reference_file("survey/survey-bricks.fits.gz")).iloc[0]
    grid = bricks_of_positions([real["ra"]], [real["dec"]]).iloc[0]
    assert (grid["brickname"], grid["brickid"]) == (real["brickname"], real["brickid"])
    for edge in ("ra", "dec", "ra1", "ra2", "dec1", "dec2"):
        assert grid[edge] == pytest.approx(real[edge], abs=1e-9)


def test_a_summary_table_without_edges_gets_those_of_the_grid():
    real = read_bricks_table(reference_file("survey/survey-bricks-dr6.fits.gz")).iloc[0]
    assert real["ra1"] == pytest.approx(95.20661157)
    assert real["psfdepth_g"] == pytest.approx(23.438501)  # AB magnitudes in this table


def test_every_real_brick_name_is_a_brick_of_the_grid():
    table = pd.read_csv(reference_file("survey/dr10_lrg_counts_per_brick.csv.gz"))
    names = table[next(name for name in table.columns if "brickname" in name.lower())].astype(str)
    assert len(names) == 319_078
    # A name cuts the centre off to 0.1 deg: the brick is the one of its row whose cut-off centre is the name.
    names = names.to_numpy(dtype=object)
    approximate = np.array([parse_brick_name(name) for name in names])
    row = np.sign(approximate[:, 1]) * np.ceil(np.abs(approximate[:, 1]) / 0.25 - 1e-6) * 0.25
    for shift in (0.0, 0.1, -0.1, 0.2):
        found = bricks_of_positions(approximate[:, 0] + shift, row)["brickname"].to_numpy(dtype=object)
        unknown = found != names
        names, approximate, row = names[unknown], approximate[unknown], row[unknown]
    assert not len(names)


@given(st.floats(0, 359.9999), st.floats(-89.8, 89.8))
def test_a_position_is_inside_its_brick_alone(ra, dec):
    brick = bricks_of_positions([ra], [dec]).iloc[0]
    assert inside_brick(brick, ra, dec)
    width, height = brick["ra2"] - brick["ra1"], brick["dec2"] - brick["dec1"]
    assert not inside_brick(brick, ra + width, dec)
    assert not inside_brick(brick, ra, dec + height)
    assert width * np.cos(np.radians(min(abs(brick["dec1"]), abs(brick["dec2"])))) <= 0.25 + 1e-9


def test_edges_are_half_open():
    brick = bricks_of_positions([10.0], [5.0]).iloc[0]
    assert inside_brick(brick, brick["ra1"], brick["dec1"])
    assert not inside_brick(brick, brick["ra2"], brick["dec1"])
    assert not inside_brick(brick, brick["ra1"], brick["dec2"])


def test_names():
    assert brick_names(112.625, 22.25) == ["1126p222"]
    assert parse_brick_name("0001m005") == (0.1, -0.5)
    with pytest.raises(ValueError, match="AAAAcBBB"):
        parse_brick_name("112p222")


def test_a_table_of_something_else_is_refused(tmp_path):
    path = tmp_path / "bricks.fits.gz"
    fitsio.write(str(tmp_path / "x.fits"), np.zeros(2, dtype=[("A", "f4")]))
    path.write_bytes(gzip.compress((tmp_path / "x.fits").read_bytes()))
    with pytest.raises(UnreadableFileError, match="brickname, ra, dec"):
        read_bricks_table(path)
