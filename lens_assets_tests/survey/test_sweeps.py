"""Reading sweep files: real ones of every release, and files that are not what they should be."""

import gzip

import numpy as np
import pytest
from astropy.table import Table

from lens_assets.survey.fits_files import UnreadableFileError
from lens_assets.survey.sweeps import read_sweep
from lens_assets_tests.survey.reference import reference_file
from lens_assets_tests.survey.sweep_files import sweep_rows, write_sweep

NAME = "sweep-000m005-005p000.fits"


@pytest.fixture
def sweep(tmp_path):
    return write_sweep(tmp_path, NAME, sweep_rows(np.linspace(0.1, 4.9, 250), np.full(250, -2.0)))


def refusal(path) -> UnreadableFileError:
    with pytest.raises(UnreadableFileError) as caught:
        list(read_sweep(path, 1000))
    assert path.name in str(caught.value)
    return caught.value


def test_a_real_dr9_row_is_read_with_true_types():
    path = reference_file("sweeps/dr9/tractor-1054p567.fits")
    (chunk,) = read_sweep(path, 1000)
    assert chunk.columns["type"].tolist() == [b"REX"]
    assert chunk.columns["brickname"].tolist() == [b"1054p567"]
    assert (chunk.columns["release"].item(), chunk.columns["brickid"].item(), chunk.columns["objid"].item()) == (
        9011, 607466, 2657,
    )  # fmt: skip
    assert chunk.columns["flux_r"].item() == pytest.approx(5.947273)
    assert chunk.columns["psfsize_r"].item() == pytest.approx(1.7069287)
    assert chunk.columns["maskbits"].dtype == np.int32
    assert all(values.dtype.isnative for values in chunk.columns.values())
    assert "flux_i" not in chunk.columns
    assert chunk.primary.tolist() == [True]


@pytest.mark.parametrize(
    ("release", "missing"),
    [
        ("dr3", {"SERSIC (DR9)", "SHAPE_R (DR9)", "MASKBITS (DR7)", "PSFSIZE_G (DR9)"}),
        ("dr7", {"SERSIC (DR9)", "SHAPE_R (DR9)", "REF_CAT (DR8)", "FITBITS (DR9)"}),
        ("dr8", {"SERSIC (DR9)", "SHAPE_R (DR9)", "SHAPE_E1 (DR9)", "PSFSIZE_R (DR9)"}),
    ],
)
def test_older_releases_are_refused_by_the_names_of_missing_columns(release, missing):
    error = refusal(reference_file(f"sweeps/{release}/sweep-310m005-320p000.fits"))
    assert error.reason == "missing_columns"
    assert all(text in str(error) for text in missing)


def test_rows_come_in_bounded_chunks_in_order(sweep):
    chunks = list(read_sweep(sweep, 100))
    assert [len(chunk.row_index) for chunk in chunks] == [100, 100, 50]
    assert np.concatenate([chunk.row_index for chunk in chunks]).tolist() == list(range(250))


def test_lower_case_names_read_the_same(tmp_path, sweep):
    rows = sweep_rows(np.linspace(0.1, 4.9, 250), np.full(250, -2.0))
    rows.dtype.names = tuple(name.lower() for name in rows.dtype.names)
    lower = write_sweep(tmp_path, "sweep-005m005-010p000.fits", rows)
    for one, other in zip(read_sweep(sweep, 500), read_sweep(lower, 500), strict=True):
        assert all((one.columns[name] == other.columns[name]).all() for name in one.columns)


def test_rows_of_other_bricks_are_marked(tmp_path):
    rows = sweep_rows(np.array([1.0, 2.0]), np.array([-1.0, -1.0]))
    wide = np.zeros(2, dtype=[*rows.dtype.descr, ("BRICK_PRIMARY", "?")])
    for name in rows.dtype.names:
        wide[name] = rows[name]
    wide["BRICK_PRIMARY"] = [True, False]
    (chunk,) = read_sweep(write_sweep(tmp_path, NAME, wide), 10)
    assert chunk.primary.tolist() == [True, False]


def test_what_is_no_whole_fits_file_is_named(tmp_path, sweep):
    whole = sweep.read_bytes()
    cut = tmp_path / "cut.fits"
    cut.write_bytes(whole[: len(whole) // 2])
    assert refusal(cut).reason == "truncated"
    empty = tmp_path / "empty.fits"
    empty.touch()
    assert refusal(empty).reason == "empty"
    page = tmp_path / "page.fits"
    page.write_text("<html>404 Not Found</html>")
    assert refusal(page).reason == "not_fits"
    packed = tmp_path / "cut.fits.gz"
    packed.write_bytes(gzip.compress(whole)[:-500])
    assert refusal(packed).reason == "truncated"
    header = tmp_path / "header.fits"
    header.write_bytes(whole[:2880])
    assert refusal(header).reason in ("no_table", "corrupt")
    garbled = tmp_path / "garbled.fits"
    garbled.write_bytes(whole[:2880] + b"\xff" * 5760 + whole[8640:])
    assert refusal(garbled).reason in ("no_table", "corrupt", "truncated")
    assert refusal(tmp_path).reason == "folder"
    assert refusal(tmp_path / "absent.fits").reason == "missing"


def test_a_whole_gzip_file_is_read(tmp_path, sweep):
    packed = tmp_path / f"{NAME}.gz"
    packed.write_bytes(gzip.compress(sweep.read_bytes()))
    assert sum(len(chunk.row_index) for chunk in read_sweep(packed, 1000)) == 250


def test_a_column_of_another_kind_is_refused(tmp_path):
    rows = sweep_rows(np.array([1.0]), np.array([-1.0]))
    kinds = [(name, "S8" if name == "FLUX_R" else rows.dtype[name]) for name in rows.dtype.names]
    wrong = np.zeros(1, dtype=kinds)
    for name in rows.dtype.names:
        wrong[name] = b"1.0" if name == "FLUX_R" else rows[name]
    error = refusal(write_sweep(tmp_path, NAME, wrong))
    assert error.reason == "wrong_type"
    assert "FLUX_R" in str(error)


def retyped(rows: np.ndarray, **dtypes: str) -> np.ndarray:
    """Return the rows with some columns of another type."""
    other = np.zeros(len(rows), [(name, dtypes.get(name, rows.dtype[name])) for name in rows.dtype.names])
    for name in rows.dtype.names:
        other[name] = rows[name]
    return other


@pytest.mark.parametrize(
    ("column", "dtype", "value", "expected"),
    [
        ("NOBS_G", "i8", 40_000, "int16"),
        ("NOBS_G", "u2", 40_000, "int16"),
        ("MASKBITS", "i8", 2**33 + 2, "int32"),
        ("BRICKID", "i8", -(2**33) + 7, "int32"),
        ("OBJID", "u4", 2**31, "int32"),
    ],
)
def test_an_integer_that_its_column_cannot_hold_refuses_the_file(tmp_path, column, dtype, value, expected):
    rows = retyped(sweep_rows(np.linspace(0.1, 4.9, 2500), np.full(2500, -2.0)), **{column: dtype})
    rows[column][2100] = value
    error = refusal(write_sweep(tmp_path, NAME, rows))
    assert error.reason == "out_of_range"
    assert all(text in str(error) for text in (f"{column} holds {value} in row 2100", f"expected {expected}"))


@pytest.mark.parametrize("dtype", ["i8", "u2", "u4"])
def test_a_wider_integer_column_whose_values_fit_is_read_in_the_types_of_the_schema(tmp_path, dtype):
    rows = sweep_rows(np.array([1.0, 2.0]), np.array([-1.0, -1.0]))
    rows["NOBS_G"], rows["MASKBITS"] = [3, 32_767], [2, 4096]
    (chunk,) = read_sweep(write_sweep(tmp_path, NAME, retyped(rows, NOBS_G=dtype, MASKBITS=dtype)), 10)
    assert (chunk.columns["nobs_g"].dtype, chunk.columns["maskbits"].dtype) == (np.int16, np.int32)
    assert (chunk.columns["nobs_g"].tolist(), chunk.columns["maskbits"].tolist()) == ([3, 32_767], [2, 4096])


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_a_filter_of_rows_that_is_not_logical_is_refused(tmp_path, dtype):
    rows = sweep_rows(np.array([1.0, 2.0]), np.array([-1.0, -1.0]))
    wide = np.ones(2, [*rows.dtype.descr, ("BRICK_PRIMARY", dtype)])
    for name in rows.dtype.names:
        wide[name] = rows[name]
    error = refusal(write_sweep(tmp_path, NAME, wide))
    assert error.reason == "wrong_type"
    assert "column BRICK_PRIMARY is" in str(error)
    assert "expected logical" in str(error)


def test_a_text_that_would_be_cut_short_is_refused_and_padding_is_not(tmp_path):
    rows = retyped(sweep_rows(np.array([1.0, 2.0]), np.array([-1.0, -1.0])), TYPE="S6")
    rows["TYPE"] = [b"PSF   ", b"REX"]
    (chunk,) = read_sweep(write_sweep(tmp_path, NAME, rows), 10)
    assert [text.strip() for text in chunk.columns["type"].tolist()] == [b"PSF", b"REX"]
    rows["TYPE"][1] = b"REXX"
    error = refusal(write_sweep(tmp_path, NAME, rows))
    assert error.reason == "out_of_range"
    assert "column TYPE holds 'REXX' in row 1; expected at most" in str(error)


def test_one_column_in_two_spellings_is_refused(tmp_path):
    rows = sweep_rows(np.array([1.0]), np.array([-1.0]))
    path = tmp_path / NAME
    Table({**{name: rows[name] for name in rows.dtype.names}, "flux_r": rows["FLUX_G"]}).write(path, format="fits")
    error = refusal(path)
    assert error.reason == "repeated_column"
    assert "flux_r" in str(error)
    assert "FLUX_R" in str(error)


@pytest.mark.parametrize("column", ["RA", "DEC"])
def test_positions_of_single_precision_are_refused(tmp_path, column):
    rows = sweep_rows(np.array([1.0, 2.0]), np.array([-1.0, -1.0]))
    error = refusal(write_sweep(tmp_path, NAME, retyped(rows, **{column: "f4"})))
    assert error.reason == "wrong_type"
    assert f"column {column} is float32; expected float64" in str(error)


def test_a_text_file_beside_sweeps_is_refused():
    assert refusal(reference_file("sweeps/not_a_sweep_file.txt")).reason == "not_fits"
