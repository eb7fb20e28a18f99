"""User lists in every format, and errors that name file, row, column and what was expected."""

import gzip
import hashlib
import re

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from lens_assets.catalogs.lenses import read_lens_list
from lens_assets.catalogs.reading import CatalogError, positions_from_jnames, read_text_table
from lens_assets_tests.catalogs.settings import lens_source
from lens_assets_tests.survey.reference import reference_file

ROWS = pd.DataFrame(
    {
        "name": ["DESI-010.0000+05.0000", "SDSSJ0002+0002 | - | J2"],
        "RA": [10.00001, 359.99999],
        "DEC": [5.0, -89.5],
        "zlens": ["0.49 | 0.49", "not measured"],
        "type": ["galaxy", "cluster"],
        "grading": ["confident", "probable"],
        "ref": ["Huang et al. (2020)", "Bolton et al. (2008) - arXiv:0805.1931"],
    }
)


def write(folder, suffix, frame=ROWS):
    path = folder / f"lenses{suffix}"
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    else:
        kinds = {name: float if frame[name].dtype == float else "U64" for name in frame}
        table = Table({name: frame[name].to_numpy().astype(kind) for name, kind in kinds.items()})
        table.write(path, format="fits" if suffix == ".fits" else "votable")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".fits", ".vot"])
def test_every_format_gives_the_same_lenses(tmp_path, suffix):
    lenses = read_lens_list(lens_source(), write(tmp_path, suffix))
    assert lenses["ra"].tolist() == ROWS["RA"].tolist()
    assert lenses["dec"].tolist() == ROWS["DEC"].tolist()
    assert lenses["name"].tolist() == ["DESI-010.0000+05.0000", "SDSSJ0002+0002"]
    assert lenses["type"].tolist() == ["galaxy", "cluster"]
    assert lenses["named_positive"].tolist() == [True, False]
    assert lenses["lens_id"].tolist()[0] == "own_list:010.00000+05.00000"


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("RA", "12h30m", "degrees from 0 to 360"),
        ("RA", -1.0, "degrees from 0 to 360"),
        ("DEC", 90.5, "degrees from -90 to 90"),
        ("DEC", "", "degrees from -90 to 90"),
        ("grading", "maybe", "one of confident, probable"),
        ("type", "quasar", "one of galaxy, group, cluster"),
    ],
)
def test_a_bad_value_is_named_with_file_row_and_column(tmp_path, column, value, expected):
    frame = ROWS.astype(object).copy()
    frame.loc[1, column] = value
    with pytest.raises(CatalogError) as caught:
        read_lens_list(lens_source(), write(tmp_path, ".csv", frame))
    for part in ("lenses.csv", "row 2", column, expected):
        assert part in str(caught.value)


def test_missing_columns_and_files_are_named(tmp_path):
    with pytest.raises(CatalogError, match=r"'RA'.*found only.*'DEC'"):
        read_lens_list(lens_source(), write(tmp_path, ".csv", ROWS.drop(columns="RA")))
    with pytest.raises(CatalogError, match="no such file"):
        read_text_table(tmp_path / "absent.csv")
    (tmp_path / "list.docx").write_text("x")
    with pytest.raises(CatalogError, match="expected csv, tsv, txt, fits, vot, xml or parquet"):
        read_text_table(tmp_path / "list.docx")
    (tmp_path / "list.fits").write_text("not FITS")
    with pytest.raises(CatalogError, match=r"list.fits.*a valid .fits file"):
        read_text_table(tmp_path / "list.fits")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_text(""), r"lenses.csv.*unreadable \(No columns"),
        (lambda path: path.write_text("name,RA,DEC\n"), r"lenses.csv.*no rows; expected at least one"),
        (lambda path: path.write_bytes(b"PK\x03\x04\xff\xfe"), r"lenses.csv.*a valid .csv file"),
        (lambda path: (path.unlink(missing_ok=True), path.mkdir()), r"lenses.csv.*found a folder"),
    ],
)
def test_a_file_without_a_table_is_named(tmp_path, spoil, message):
    path = tmp_path / "lenses.csv"
    spoil(path)
    with pytest.raises(CatalogError, match=message):
        read_lens_list(lens_source(), path)


def test_a_truncated_gzip_is_named(tmp_path):
    frame = pd.concat([ROWS] * 500, ignore_index=True)
    whole = gzip.compress(frame.to_csv(index=False).encode())
    path = tmp_path / "lenses.csv.gz"
    path.write_bytes(whole)
    assert len(read_text_table(path)) == len(frame)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CatalogError, match=r"lenses.csv.gz.*unreadable.*expected a valid .csv file"):
        read_text_table(path)


@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".txt", ","), (".tsv", "\t"), (".csv.gz", ",")])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["150.1,2.2,0.5,DESI-1,"], "row 1, column .*found 5 values; expected 4"),
        (["150.1,2.2,0.5,DESI-1", "", "150.2,2.3,0.5,DESI-2,"], "row 2, column .*found 5 values; expected 4"),
        (["150.1,2.2,0.5,DESI-1", "150.2,2.3,0.5"], "row 2, column .*found 3 values; expected 4"),
    ],
)
def test_a_row_with_more_or_fewer_values_than_the_header_is_named(tmp_path, suffix, separator, rows, message):
    path = tmp_path / f"lenses{suffix}"
    text = "\n".join(["RA,DEC,zlens,name", *rows, ""]).replace(",", separator).encode()
    path.write_bytes(gzip.compress(text) if suffix.endswith(".gz") else text)
    with pytest.raises(CatalogError, match=rf"lenses{re.escape(suffix)}, {message}"):
        read_text_table(path)


def test_a_trailing_comma_in_every_line_and_quoted_commas_shift_nothing(tmp_path):
    path = tmp_path / "lenses.csv"
    path.write_text(
        '\ufeffRA,DEC,zlens,name,\r\n150.1,2.2,"0.5, 0.6",DESI-1,\r\n \r\n150.2,2.3,,"DESI\n2",\r\n', "utf-8"
    )
    table = read_text_table(path)
    assert table["RA"].tolist() == ["150.1", "150.2"]
    assert table["zlens"].tolist() == ["0.5, 0.6", ""]
    assert table["name"].tolist() == ["DESI-1", "DESI\n2"]


@pytest.mark.parametrize("value", [np.nan, np.inf, "nan", "-inf"])
@pytest.mark.parametrize("column", ["RA", "DEC"])
def test_a_position_that_is_not_finite_is_named(tmp_path, column, value):
    frame = ROWS.astype(object).copy()
    frame.loc[1, column] = value
    with pytest.raises(CatalogError, match=f"row 2, column {column}.*expected degrees"):
        read_lens_list(lens_source(), write(tmp_path, ".csv", frame))


def test_a_changed_file_is_refused_when_its_checksum_is_stated(tmp_path):
    path = write(tmp_path, ".csv")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(read_text_table(path, digest)) == 2
    path.write_text(path.read_text() + "\n")
    with pytest.raises(CatalogError, match=digest):
        read_text_table(path, digest)


def test_other_gradings_are_mapped_and_absent_columns_have_their_meaning(tmp_path):
    source = lens_source(
        columns={
            "name": "name", "ra": "RA", "dec": "DEC", "z_lens": "", "type": "", "grading": "grade", "reference": "",
        },
        grading_values={"A": "confident", "B": "probable", "C": "probable"},
    )  # fmt: skip
    frame = ROWS[["name", "RA", "DEC"]].assign(grade=["A", "C"])
    lenses = read_lens_list(source, write(tmp_path, ".csv", frame))
    assert lenses["grading"].tolist() == ["confident", "probable"]
    assert set(lenses["type"]) == {"galaxy"}


def test_a_real_published_list_with_letter_grades():
    source = lens_source(
        columns={
            "name": "name", "ra": "RA", "dec": "DEC", "z_lens": "photo_z", "type": "", "grading": "grade",
            "reference": "",
        },
        grading_values={"A": "confident", "B": "probable", "C": "probable"},
    )  # fmt: skip
    lenses = read_lens_list(source, reference_file("catalogs/huang2021.csv"))
    assert len(lenses) == 1312
    assert lenses["lens_id"].is_unique
    assert lenses["named_positive"].all()


def test_positions_in_j_names_agree_with_astropy():
    names = pd.Series(["J000411.19+020924.0", "SDSSJ235959.99-002739.1", "J120000.00-895959.9"], name="id")
    ra, dec = positions_from_jnames("list.csv", names)
    expected = SkyCoord(["00h04m11.19s", "23h59m59.99s", "12h00m00.00s"], ["2d9m24s", "-0d27m39.1s", "-89d59m59.9s"])
    np.testing.assert_allclose(ra, expected.ra.deg, rtol=1e-12)
    np.testing.assert_allclose(dec, expected.dec.deg, rtol=1e-12)
    with pytest.raises(CatalogError, match=r"row 1.*J-name"):
        positions_from_jnames("list.csv", pd.Series(["NGC 1"], name="id"))
