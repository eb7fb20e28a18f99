"""The parity report against counts made in pandas, and its warnings on thresholds that once went wrong."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from lens_assets.campaign.stages.negatives import NegativesSettings
from lens_assets.sampling.parity import EmptyPoolError, ParityReport, parity_report, report_markdown
from lens_assets.sampling.pool import CONFUSER_CLASSES
from lens_assets_tests.sampling import reference, synthetic
from lens_assets_tests.sampling.test_pool import changed, pool

RULES = synthetic.negatives_settings()


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """A pool of awkward rows."""
    return pool(synthetic.sources(3000, 21))


def report(table: pd.DataFrame, rules: NegativesSettings = RULES) -> ParityReport:
    """Report on a pool."""
    return parity_report(pa.Table.from_pandas(table, preserve_index=False), rules)


def test_cascade_counts_alone_and_in_order(table: pd.DataFrame) -> None:
    cascade = report(table).tables["parity_cascade"].set_index("filter")
    left = pd.Series(True, index=table.index)
    for name in reference.ORDER:
        fails = ~table[f"pass_{name}"]
        assert cascade.loc[name, "rows_in"] == left.sum()
        assert cascade.loc[name, "fails_alone"] == fails.sum()
        assert cascade.loc[name, "fails_in_order"] == (left & fails).sum()
        left &= ~fails
        assert cascade.loc[name, "rows_left"] == left.sum()
    assert cascade["rows_in"].iloc[0] == len(table)
    assert list(cascade.index[:8]) == list(reference.ORDER)
    assert (cascade.loc[list(reference.ORDER), "recipe"] == "published").all()
    assert not cascade.loc["ebv", "enabled"]


def test_bands_strata_exclusion_and_bits(table: pd.DataFrame) -> None:
    tables = report(table).tables
    bands = tables["parity_bands"].set_index("band")
    for band in "grz":
        assert bands.loc[band, "fails_nobs"] == (~table[f"pass_nobs_{band}"]).sum()
        assert bands.loc[band, "no_flux"] == table[f"mag_{band}"].isna().sum()
    assert tables["parity_strata"]["n"].sum() == table["pool"].notna().sum()
    exclusion = tables["parity_exclusion"].set_index("radius_arcsec")
    for radius in (3.0, 5.0, 11.0):
        assert exclusion.loc[radius, "excluded"] == (table["exclusion_separation_arcsec"] <= radius).sum()
    bits = tables["parity_maskbits"].set_index("bit")
    assert bits.loc[10, "candidates"] == ((table["maskbits"] & 1024 != 0) & table["is_candidate"]).sum() > 0
    assert not bits.loc[10, "excluded"]
    assert bits.loc[12, "candidates"] == 0


def test_confusers_and_overlap(table: pd.DataFrame) -> None:
    tables = report(table).tables
    candidates = table[table["is_candidate"]]
    confusers = tables["parity_confusers"].set_index("category")
    assert confusers["n"].sum() == (table["pool"] == "N2").sum()
    assert confusers.loc["spiral", "recipe"] == "curated"
    for name in CONFUSER_CLASSES:
        assert confusers.loc[name, "n"] == (candidates["confuser_category"] == name).sum()
        share = confusers.loc[name, "share_of_candidates"]
        assert share == pytest.approx(confusers.loc[name, "n"] / len(candidates))
    overlap = tables["parity_overlap"].set_index("class_name")
    for first in CONFUSER_CLASSES:
        for second in CONFUSER_CLASSES:
            both = (candidates[f"n2_{first}"] & candidates[f"n2_{second}"]).sum()
            assert overlap.loc[first, second] == both == overlap.loc[second, first]


def test_thresholds_that_find_no_confuser_are_noticed() -> None:
    sources = synthetic.sources(1500, 22, clean=True)
    around = synthetic.neighbourhood(sources, 1).assign(contaminant_category=None)
    blind = changed(
        ring={"flux_r_min_nanomaggies": 1e6},
        edge_on={"shape_r_min_arcsec": 1e3, "shape_r_min_without_ellipticity_arcsec": 1e3},
        blue_clumpy={"mag_r_max": -10.0},
        large_galaxy={"shape_r_min_arcsec": 1e3},
        extensions={"confuser_classes": False},
    )
    found = report(pool(sources, around, blind), blind)
    rates = found.tables["parity_confusers"].set_index("category")
    assert rates["n"].sum() == 0
    warnings = found.warnings.set_index("rule")
    assert warnings.loc["published_rate", "value"] == 0.0
    assert "0.000, outside 0.1 to 0.25" in warnings.loc["published_rate", "statement"]


def test_one_category_over_half_of_n2_is_noticed() -> None:
    sources = synthetic.sources(1500, 23, clean=True)
    around = synthetic.neighbourhood(sources, 1).assign(contaminant_category=None)
    greedy = changed(ring={"flux_r_min_nanomaggies": 0.0, "sersic_min": 0.0}, extensions={"confuser_classes": False})
    warnings = report(pool(sources, around, greedy), greedy).warnings.set_index("rule")
    assert warnings.loc["largest_category", "statement"].startswith("share of ring_proxy in N2")


def test_nothing_left_is_an_error_that_shows_the_cascade(table: pd.DataFrame) -> None:
    with pytest.raises(EmptyPoolError, match=r"(?s)what each removes:.*exclusion"):
        report(table.assign(pool=None, is_candidate=False, confuser_category=None))


def test_markdown_says_what_is_published(table: pd.DataFrame) -> None:
    text = report_markdown(report(table))
    assert "| exclusion | published |" in text
    assert "merger_neighbour_proxy | extension" in text
