"""The release's files: what a colleague reads with astropy, pandas or their eyes."""

import io
import json

import pandas as pd
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table

from lens_assets.selection import product
from lens_assets.selection.completeness import completeness_grid, marginal, null_floor, thresholds_of, trials_of
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
    return {
        "grid": grid,
        "marginals": marginal(trials, cuts, CONFIG.grid, FEW, 1),
        "floor": null_floor(trials, cuts, FEW),
        "released": product.released_injections(trials, table.assign(status=0), scores, "baseline"),
    }


def test_fits_holds_the_tables_with_units(tables):
    header = {"GRIDHASH": CONFIG.grid.digest, "REALISM": "GO"}
    content = product.fits_bytes(tables["grid"], tables["marginals"], tables["floor"], header)
    assert content == product.fits_bytes(tables["grid"], tables["marginals"], tables["floor"], header)
    with fits.open(io.BytesIO(content)) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "GRID", "MARGINALS", "FLOOR"]
        assert hdus[0].header["GRIDHASH"] == CONFIG.grid.digest
        read = Table.read(hdus["GRID"])
    assert str(read["theta_e_arcsec"].unit) == "arcsec"
    assert str(read["depth_mag"].unit) == "mag"
    assert read["k"].tolist() == tables["grid"]["k"].tolist()
    assert read["supported"].tolist() == tables["grid"]["supported"].tolist()
    assert [str(name).strip() for name in read["threshold"]] == tables["grid"]["threshold"].tolist()


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


def test_metadata_and_citation_parse():
    content = product.metadata_bytes("t", "fpr_0.01", {"g": "GO"}, {"a": "1"}, CONFIG.grid, {"n": 3})
    read = json.loads(content)
    assert read["grid"]["digest"] == CONFIG.grid.digest
    assert read["grid"]["band"] == "r"
    citation = yaml.safe_load(product.citation())
    assert citation["authors"] == [{"name": "lens_assets contributors"}]
    assert citation["cff-version"] == "1.2.0"


def test_the_model_card_states_verdict_population_and_waivers():
    quoted = pd.DataFrame({"threshold": ["fpr_0.01"], "value": [0.41234], "lower": [0.3], "upper": [0.5]})
    card = product.model_card(
        "A title", quoted, {"realism_gate": "GO. fine"}, {"hosts": "red galaxies"}, {"grid": "abc"}, ["x: reason"]
    ).decode()
    for words in ("# A title", "| 0.4123 |", "realism_gate: GO. fine", "red galaxies", "x: reason", "`abc`"):
        assert words in card
