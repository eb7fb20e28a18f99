"""Stamps leave in three formats and come back by content; scores are refused by file and row."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.detector.exchange import (
    FORMATS,
    ScoreFileError,
    StampExport,
    join_scores,
    read_scores,
    read_stamp_file,
    stamp_ids,
    write_stamp_file,
)


def _stamps(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 21, 21)).astype(np.float32)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_gives_back_names_and_pixels(tmp_path, file_format):
    stamps = _stamps(5)
    path = tmp_path / {"npz": "a.npz", "fits": "a.fits", "hdf5": "a.h5"}[file_format]
    write_stamp_file(path, stamp_ids(stamps), stamps, file_format)
    names, read = read_stamp_file(path)
    assert names == stamp_ids(stamps)
    np.testing.assert_array_equal(read, stamps)
    assert stamp_ids(read) == names


def test_fits_and_hdf5_state_bands_unit_and_scale(tmp_path):
    import h5py
    from astropy.io import fits

    stamps = _stamps(2)
    for file_format, name in (("fits", "a.fits"), ("hdf5", "a.h5")):
        write_stamp_file(tmp_path / name, stamp_ids(stamps), stamps, file_format)
    header = fits.getheader(tmp_path / "a.fits")
    assert (header["BUNIT"], header["BANDS"], header["PIXSCALE"]) == ("nanomaggy", "g,r,z", 0.262)
    with h5py.File(tmp_path / "a.h5") as file:
        assert dict(file["stamps"].attrs) == {"bands": "g,r,z", "unit": "nanomaggy", "pixel_scale_arcsec": 0.262}


def test_a_name_is_that_of_the_pixels_and_of_nothing_else():
    stamps = _stamps(3)
    changed = stamps.copy()
    changed[1, 0, 3, 3] = np.nextafter(changed[1, 0, 3, 3], np.float32(9))
    names, others = stamp_ids(stamps), stamp_ids(changed)
    assert len(set(names)) == 3
    assert [a == b for a, b in zip(names, others, strict=True)] == [True, False, True]
    assert stamp_ids(stamps[::-1]) == names[::-1]
    assert stamp_ids(stamps.astype(">f4")) == names


def test_an_export_writes_equal_stamps_once_in_bounded_files(tmp_path):
    first, second = _stamps(5), np.concatenate([_stamps(5)[2:4], _stamps(3, seed=2)])
    export = StampExport(tmp_path, "npz", rows_per_file=2)
    export.add("negatives", first)
    export.flush("negatives")
    export.add("hosts", second)
    export.flush("hosts")
    index = export.table()
    assert index["stamp_id"].is_unique
    assert index["role"].value_counts().to_dict() == {"negatives": 5, "hosts": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "hosts-0000.npz", "hosts-0001.npz", "negatives-0000.npz", "negatives-0001.npz", "negatives-0002.npz",
    ]  # fmt: skip
    for row in index.itertuples():
        names, stamps = read_stamp_file(tmp_path / row.file)
        assert names[row.row] == row.stamp_id == stamp_ids(stamps[[row.row]])[0]


NAMES = stamp_ids(_stamps(4))


def _write(tmp_path, table: pd.DataFrame, suffix: str = ".csv"):
    path = tmp_path / f"scores{suffix}"
    table.to_parquet(path, index=False) if suffix == ".parquet" else table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_scores_come_back_by_name(tmp_path, suffix):
    values = [0.1, 1.0 / 3.0, 0.0, 1.0]
    scores = read_scores(_write(tmp_path, pd.DataFrame({"score": values, "stamp_id": NAMES}), suffix))
    assert scores.to_dict() == dict(zip(NAMES, values, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": [0.1, np.nan, 0.3, 0.4]}, r"row 2: nan; expected a finite score"),
        ({"score": [0.1, "high", 0.3, 0.4]}, r"row 2: high; expected a finite score"),
        ({"score": [0.1, 0.2, np.inf, 0.4]}, r"row 3: inf; expected a finite score"),
        ({"score": [0.1, 0.2, 0.3, 4.0]}, r"row 4: 4.0; expected a probability"),
        ({"stamp_id": [*NAMES[:3], NAMES[0]]}, rf"row 1: {NAMES[0]}; row 4: {NAMES[0]}; expected every stamp_id once"),
        ({"stamp_id": [*NAMES[:3], "7"]}, r"row 4: 7; expected a stamp_id of 20 hexadecimal digits"),
        ({"stamp_id": [None, *NAMES[1:]]}, r"row 1: .*; expected a stamp_id"),
    ],
)
def test_bad_rows_are_named(tmp_path, changes, message):
    path = _write(tmp_path, pd.DataFrame({"stamp_id": NAMES, "score": 0.5} | changes))
    with pytest.raises(ScoreFileError, match=message):
        read_scores(path)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(ScoreFileError, match="no such file"):
        read_scores(tmp_path / "none.csv")
    with pytest.raises(ScoreFileError, match="lacks score; its columns are stamp_id, p"):
        read_scores(_write(tmp_path, pd.DataFrame({"stamp_id": NAMES, "p": 0.5})))
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(ScoreFileError, match="cannot be read"):
        read_scores(broken)


@given(st.lists(st.floats(-30, 30), min_size=4, max_size=4, unique=True))
def test_logits_keep_their_order(tmp_path_factory, logits):
    path = _write(tmp_path_factory.mktemp("logits"), pd.DataFrame({"stamp_id": NAMES, "score": logits}))
    scores = read_scores(path, "logit")
    assert scores.between(0, 1).all()
    assert (np.diff(scores.to_numpy()[np.argsort(logits)]) >= 0).all()
    assert scores.to_numpy() == pytest.approx(1 / (1 + np.exp(-np.array(logits))))


def test_files_add_up_unless_they_contradict_each_other(tmp_path):
    first = pd.Series([0.1, 0.2], index=NAMES[:2])
    second = pd.Series([0.2, 0.3], index=NAMES[1:3])
    assert join_scores({tmp_path / "a": first, tmp_path / "b": second}).to_dict() == {
        NAMES[0]: 0.1, NAMES[1]: 0.2, NAMES[2]: 0.3,
    }  # fmt: skip
    with pytest.raises(ScoreFileError, match=rf"stamp {NAMES[1]} has different scores in .*a, .*b"):
        join_scores({tmp_path / "a": first, tmp_path / "b": second + 0.01})
    assert join_scores({}).empty
