"""The release's files: what a colleague reads with astropy, pandas or their eyes."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table

from lens_assets.selection import product
from lens_assets.selection.completeness import completeness_grid, thresholds_of, trials_of
from lens_assets.selection.marginals import footprint_marginal, marginal, null_floor
from lens_assets.selection.merging import merged_grid
from lens_assets_tests.selection.synthetic import THRESHOLDS, injections, settings_of

CONFIG = settings_of()
FEW = CONFIG.intervals.model_copy(update={"bootstrap_resamples": 50, "minimum_trials": 5, "minimum_hosts": 3})


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    table, scores = injections(CONFIG.grid, per_cell=8)
    trials, _ = trials_of(table, scores, CONFIG.grid, "all_draws")
    cuts = thresholds_of(THRESHOLDS)
    grid = completeness_grid(trials, cuts, CONFIG.grid, FEW, "all_draws", 1)
    grid.insert(0, "detector", "baseline")
    shares = pd.DataFrame({"condition": table["condition"].unique(), "share": 1 / table["condition"].nunique()})
    weighted = footprint_marginal(trials, shares, "footprint, randoms", cuts, CONFIG.grid, FEW, 1)
    return {
        "grid": grid,
        "marginals": pd.concat([marginal(trials, cuts, CONFIG.grid, FEW, 1), weighted], ignore_index=True),
        "floor": null_floor(trials, cuts, FEW),
        "merged": merged_grid(trials, cuts, CONFIG.grid, FEW, 1).assign(detector="baseline"),
        "released": product.released_injections(trials, table.assign(status=0), scores, "baseline"),
    }


def test_fits_round_trips_with_units_and_says_what_each_hdu_holds(tables):
    header = {"GRIDHASH": CONFIG.grid.digest, "REALISM": "GO"}
    released = {name: tables[name] for name in ("grid", "merged", "marginals", "floor")}
    content = product.fits_bytes(released, header)
    assert content == product.fits_bytes(released, header)
    with fits.open(io.BytesIO(content)) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "GRID", "MERGED", "MARGINALS", "FLOOR"]
        assert hdus[0].header["GRIDHASH"] == CONFIG.grid.digest
        comments = "".join(str(line) for line in hdus[0].header["COMMENT"])
        assert all(f"HDU {name.upper()}: " in comments for name in released)
        names = hdus["GRID"].columns.names
        assert "bootstrap over hosts" in hdus["GRID"].header[f"TCOMM{names.index('host_lower_95') + 1}"]
        described = {name: [f"TCOMM{n + 1}" in hdus[name.upper()].header for n in range(len(frame.columns))]
                     for name, frame in released.items()}  # fmt: skip
        assert all(all(found) for found in described.values())
        assert hdus["MARGINALS"].columns["bootstrap_degenerate"].format == "L"
        read = {name: Table.read(hdus[name.upper()]) for name in released}
    assert str(read["grid"]["theta_e_arcsec"].unit) == "arcsec"
    assert str(read["grid"]["depth_mag"].unit) == "mag"
    for name, frame in released.items():
        assert read[name].colnames == list(frame.columns)
        for column in frame.columns:
            found = read[name][column]
            if pd.api.types.is_numeric_dtype(frame[column]):
                values = np.ma.filled(np.ma.asarray(found).astype(float), np.nan)
                np.testing.assert_array_equal(values, frame[column].to_numpy(float))
            else:
                assert [str(value).strip() for value in found] == frame[column].astype(str).tolist()


def test_parquet_round_trips(tables):
    read = pd.read_parquet(io.BytesIO(product.parquet_bytes(tables["grid"])))
    pd.testing.assert_frame_equal(read, tables["grid"], check_dtype=False)


def test_the_quoted_number_is_the_loaders_and_nan_where_unsupported(tables):
    at = product.completeness_at(tables["grid"], 1.5, 1.37, 24.28, "fixed_0.5", "baseline")
    assert 0.0 < at["lower"] < at["value"] < at["upper"] < 1.0
    bare = tables["grid"].assign(supported=False)
    assert pd.isna(product.completeness_at(bare, 1.5, 1.37, 24.28, "fixed_0.5", "baseline")["value"])


def test_every_injection_is_released_found_or_not(tables):
    released = tables["released"]
    assert len(released) == 8 * 90
    assert released["is_trial"].all()
    assert {"log_pdf", "host_score", "injected_score", "galaxy_id", "theta_e_arcsec"} <= set(released.columns)


def _documents(**changes) -> product.Documents:
    content = {
        "title": "A title", "reference_threshold": "fpr_0.01", "verdicts": {"realism_gate": "GO. fine"},
        "digests": {"grid": "abc"}, "identity": {"prior": "p" * 64}, "facts": {"hosts": "red galaxies"},
        "waivers": ["x: reason"],
    }  # fmt: skip
    return product.Documents(**(content | changes))


def test_metadata_and_citation_parse():
    content = product.metadata_bytes(_documents(), CONFIG.grid)
    read = json.loads(content)
    assert read["grid"]["digest"] == CONFIG.grid.digest
    assert read["grid"]["band"] == "r"
    citation = yaml.safe_load(product.citation())
    assert citation["authors"] == [{"name": "lens_assets contributors"}]
    assert citation["cff-version"] == "1.2.0"


def test_the_model_card_states_verdict_population_and_waivers():
    quoted = pd.DataFrame({"threshold": ["fpr_0.01"], "value": [0.41234], "lower": [0.3], "upper": [0.5]})
    card = product.model_card(_documents(), quoted).decode()
    for words in ("# A title", "| 0.4123 |", "realism_gate: GO. fine", "red galaxies", "x: reason", "`abc`"):
        assert words in card
