"""Matching lenses to sources: nearest, ambiguous, and every reason for none."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from lens_assets.catalogs.positives import cells_touched, match_positives, sources_near, usable_lenses
from lens_assets.sky import healpix
from lens_assets.survey.sources import SOURCE_SCHEMA, Region
from lens_assets_tests.catalogs.settings import catalog_settings
from lens_assets_tests.survey.sweep_files import ingest, sweep_rows, write_sweep

ARCSEC = 1 / 3600
PIXEL = int(healpix.pixel_of(4, 2.0, -2.0)[0])
NAME = "sweep-000m005-005p000.fits"


def lens(number, ra, dec, role="positive", grading="confident", duplicate_of=None):
    return {
        "lens_id": f"list:{number}", "name": f"DESI-{number}", "ra": ra, "dec": dec, "z_lens": 0.4, "role": role,
        "tier": "A" if grading == "confident" else "B", "weight": 1.0 if grading == "confident" else 0.5,
        "family": None, "confirmation": "candidate", "duplicate_of": duplicate_of,
    }  # fmt: skip


NO_SPECTRA = pd.DataFrame({"matched_lens_id": pd.Series([], dtype="str"), "use": pd.Series([], dtype="str")})


@pytest.fixture
def survey(tmp_path):
    """Six places near (2, -2), each with one source, and a second 0.8 arcsec from the first."""
    ra = 2.0 + np.array([0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.0])
    rows = sweep_rows(ra, np.full(7, -2.0))
    rows["DEC"][6] += 0.8 * ARCSEC
    rows["MASKBITS"][2] = 1 << 12
    rows["TYPE"][3] = b"PSF"
    rows["NOBS_Z"][4] = 0
    write_sweep(tmp_path, NAME, rows)
    return str(ingest(tmp_path, [NAME], Region(4, PIXEL, 60.0)).path)


@pytest.fixture
def cells():
    numbers = np.arange(PIXEL * 1024, (PIXEL + 1) * 1024)
    return pd.DataFrame(
        {"healpix_128": numbers, "split": "train", "region_id": 1, "fold": 0, "sky_partition": f"hp04-{PIXEL:03d}"}
    )


def matched(lenses, survey, cells, spectra=NO_SPECTRA, **changes):
    settings = catalog_settings(**changes)
    usable = usable_lenses(pd.DataFrame(lenses), spectra)
    sources = sources_near([survey], usable["ra"].to_numpy(), usable["dec"].to_numpy(), settings.coverage_radius_arcsec)
    return match_positives(usable, sources, cells, settings).set_index("lens_id")


def test_the_nearest_source_is_taken_with_its_columns_and_split(survey, cells):
    row = matched([lens(1, 2.01, -2.0 + 0.3 * ARCSEC)], survey, cells).iloc[0]
    assert row["matched"] and not row["ambiguous"]
    assert row["galaxy_id"] == "10000_7_1"
    assert row["separation_arcsec"] == pytest.approx(0.3, abs=1e-6)
    assert (row["split"], row["sky_partition"]) == ("train", f"hp04-{PIXEL:03d}")
    assert row["healpix_128"] == healpix.pixel_of(128, 2.01, -2.0)[0]
    assert row["mag_r"] == pytest.approx(22.5 - 2.5 * np.log10(20))
    assert row["unmatched_reason"] is None or pd.isna(row["unmatched_reason"])


def test_two_sources_in_the_radius_are_ambiguous(survey, cells):
    row = matched([lens(1, 2.0, -2.0 + 0.5 * ARCSEC)], survey, cells).iloc[0]
    assert row["ambiguous"]
    assert row["galaxy_id"] == "10000_7_6"


def test_every_reason_for_no_match(survey, cells):
    lenses = [
        lens(1, 200.0, 10.0),
        lens(2, 2.01, -2.0 + 3 * ARCSEC),
        lens(3, 2.02, -2.0),
        lens(4, 2.03, -2.0),
        lens(5, 2.04, -2.0),
        lens(6, 2.05, -2.0),
        lens(7, 2.05, -2.0 + 0.5 * ARCSEC),
        lens(8, 2.05, -2.0, duplicate_of="list:6"),
        lens(9, 3.5, -2.5),
    ]
    result = matched(lenses, survey, cells)
    assert result["unmatched_reason"].fillna("").to_dict() == {
        "list:1": "outside_footprint",
        "list:2": "no_source_in_radius",
        "list:3": "masked",
        "list:4": "filtered",
        "list:5": "filtered",
        "list:6": "",
        "list:7": "source_of_another_lens",
        "list:8": "duplicate_entry",
        "list:9": "outside_footprint",
    }
    assert result["matched"].sum() == 1
    unmatched = result[~result["matched"]]
    assert unmatched[["galaxy_id", "ra", "mag_r", "maskbits", "separation_arcsec"]].isna().all(axis=None)
    assert result.loc["list:2", "split"] == "train"
    assert pd.isna(result.loc["list:1", "healpix_128"])


def test_the_match_radius_and_the_masks_decide(survey, cells):
    far = [lens(1, 2.01, -2.0 + 1.5 * ARCSEC)]
    assert not matched(far, survey, cells)["matched"].any()
    assert matched(far, survey, cells, match_radius_arcsec=2.0)["matched"].all()
    masked = [lens(1, 2.02, -2.0)]
    assert matched(masked, survey, cells, match_mask_bits=[1])["matched"].all()
    assert matched([lens(1, 2.03, -2.0)], survey, cells, match_types=["SER", "PSF"])["matched"].all()


def test_roles_and_spectra_hold_lenses_back(survey, cells):
    lenses = [
        lens(1, 2.01, -2.0), lens(2, 2.05, -2.0, role="evaluation_only"), lens(3, 2.0, -2.0, role="exclude_only"),
    ]  # fmt: skip
    assert matched(lenses, survey, cells)["evaluation_only"].to_dict() == {"list:1": False, "list:2": True}
    spectra = pd.DataFrame({"matched_lens_id": ["list:1"], "use": ["evaluation"]})
    assert matched(lenses, survey, cells, spectra)["evaluation_only"].all()
    spectra["use"] = "training"
    assert not matched(lenses, survey, cells, spectra).loc["list:1", "evaluation_only"]


def test_a_source_that_two_lenses_want_goes_to_the_trainable_one(survey, cells):
    lenses = [
        lens(1, 2.05, -2.0, role="evaluation_only"),
        lens(2, 2.05, -2.0 + 0.5 * ARCSEC),
    ]
    result = matched(lenses, survey, cells)
    assert result["matched"].to_dict() == {"list:1": False, "list:2": True}


def test_a_cell_outside_the_splits_is_outside_the_footprint(survey, cells):
    none = cells.iloc[:0]
    result = matched([lens(1, 2.01, -2.0)], survey, none)
    assert result["unmatched_reason"].tolist() == ["outside_footprint"]


def test_no_lens_and_no_source(survey, cells, tmp_path):
    result = matched([lens(1, 2.01, -2.0, role="exclude_only")], survey, cells)
    assert len(result) == 0
    empty = tmp_path / "empty.parquet"
    pq.write_table(SOURCE_SCHEMA.empty_table(), empty)
    assert matched([lens(1, 2.01, -2.0)], str(empty), cells)["unmatched_reason"].tolist() == ["outside_footprint"]


def test_circles_touch_the_cells_of_all_their_points():
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 50), rng.uniform(-80, 80, 50)
    cells = cells_touched(ra, dec, 60.0)
    around = rng.uniform(-60, 60, (50, 2)) * ARCSEC / np.sqrt(2)
    assert np.isin(healpix.pixel_of(128, ra + around[:, 0] / np.cos(np.radians(dec)), dec + around[:, 1]), cells).all()
