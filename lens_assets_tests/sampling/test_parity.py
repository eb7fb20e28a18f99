"""The parity report against counts made in pandas, and its warnings on thresholds that once went wrong."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.negatives import CONFUSER_CLASSES, NegativesSettings
from lens_assets.checks.great_expectations import validate
from lens_assets.checks.suites.sampling import SUITES
from lens_assets.figures.sampling import alternatives_figure, breakdown_figure, cascade_figure
from lens_assets.sampling.parity import EmptyPoolError, ParityReport, parity_report, pool_warnings, require_candidates
from lens_assets.sampling.parity_page import report_markdown
from lens_assets.sampling.pool import PUBLISHED_CLASSES
from lens_assets_tests.sampling import reference, synthetic
from lens_assets_tests.sampling.test_pool import changed, pool

RULES = synthetic.negatives_settings()
SURVEY_LIMITS = load_campaign("dr10").negatives.warnings.model_dump()


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """A pool of awkward rows."""
    return pool(synthetic.sources(3000, 21))


@pytest.fixture(scope="module")
def reported(table: pd.DataFrame) -> ParityReport:
    """The report on that pool."""
    return report(table)


def report(table: pd.DataFrame, rules: NegativesSettings = RULES) -> ParityReport:
    """Report on a pool."""
    return parity_report(pa.Table.from_pandas(table, preserve_index=False), rules)


def test_cascade_counts_alone_and_in_order(table: pd.DataFrame, reported: ParityReport) -> None:
    cascade = reported.tables["parity_cascade"].set_index("filter")
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


def own_pool(table: pd.DataFrame) -> pd.Series:
    """The pool whose rules each source falls under, whatever filters it fails."""
    named = table["contaminant_category"].notna() | table[[f"n2_{name}" for name in CONFUSER_CLASSES]].any(axis=1)
    own = pd.Series("none", index=table.index).mask(table["type"].isin(RULES.extensions.n1b_types), "N1b")
    own = own.mask(table["pass_type"], "N1")
    return own.mask(named & (table["pass_type"] | table["type"].isin(RULES.extensions.n2_extra_types)), "N2")


GROUPS = {
    "split": lambda table: table["split"],
    "stratum": lambda table: table["type_bin"] + "|" + table["nobs_z_bin"],
    "pool": own_pool,
}


@pytest.mark.parametrize("dimension", GROUPS)
def test_cascade_and_bands_of_each_group(table: pd.DataFrame, reported: ParityReport, dimension: str) -> None:
    tables = reported.tables
    breakdown = tables["parity_breakdown"].query("dimension == @dimension").set_index(["value", "filter"])
    bands = tables["parity_bands"].query("dimension == @dimension").set_index(["value", "band"])
    groups = GROUPS[dimension](table)
    assert set(breakdown.index.get_level_values("value")) == set(groups)
    for value, rows in table.groupby(groups):
        left = pd.Series(True, index=rows.index)
        for name in reference.ORDER:
            fails = ~rows[f"pass_{name}"]
            found = breakdown.loc[(value, name), ["rows_in", "fails_alone", "fails_in_order", "rows_left"]]
            assert found.tolist() == [left.sum(), fails.sum(), (left & fails).sum(), (left & ~fails).sum()]
            if name == "nobs":
                for band in "grz":
                    few = ~rows[f"pass_nobs_{band}"]
                    assert bands.loc[(value, band), "fails_nobs"] == few.sum()
                    assert bands.loc[(value, band), "fails_nobs_in_order"] == (left & few).sum()
            if name == "mag_z":
                assert bands.loc[(value, "z"), "no_flux_in_order"] == (left & rows["mag_z"].isna()).sum()
            left &= ~fails
    assert breakdown.groupby("filter")["fails_alone"].sum().to_dict() == (
        tables["parity_cascade"].set_index("filter")["fails_alone"].to_dict()
    )


def test_rows_of_the_extension_pool_end_at_the_published_type_filter(reported: ParityReport) -> None:
    breakdown = reported.tables["parity_breakdown"].set_index(["dimension", "value", "filter"])
    assert breakdown.loc[("pool", "N1b", "type"), "rows_left"] == 0
    assert breakdown.loc[("pool", "N1", "type"), "fails_in_order"] == 0


def test_bands_strata_exclusion_and_bits(table: pd.DataFrame, reported: ParityReport) -> None:
    tables = reported.tables
    bands = tables["parity_bands"].query("dimension == 'all'").set_index("band")
    for band in "grz":
        assert bands.loc[band, "fails_nobs"] == (~table[f"pass_nobs_{band}"]).sum()
        assert bands.loc[band, "no_flux"] == table[f"mag_{band}"].isna().sum()
    assert tables["parity_strata"]["n"].sum() == table["pool"].notna().sum()
    exclusion = tables["parity_exclusion"].set_index("radius_arcsec")
    for radius in (3.0, 5.0, 11.0):
        assert exclusion.loc[radius, "excluded"] == (table["exclusion_separation_arcsec"] <= radius).sum()
        before = [f"pass_{name}" for name in reference.ORDER[: reference.ORDER.index("exclusion")]]
        near = table[table["exclusion_separation_arcsec"] <= radius]
        assert exclusion.loc[radius, "excluded_in_order"] == near[before].all(axis=1).sum()
    bits = tables["parity_maskbits"].set_index("bit")
    assert list(bits.index) == list(range(17))
    for bit in (2, 3, 4, 10, 14, 15, 16):
        assert not bits.loc[bit, "excluded"], "the published set leaves it in"
        assert bits.loc[bit, "sources"] == (table["maskbits"] & 2**bit != 0).sum()
    assert bits.loc[10, "candidates"] == ((table["maskbits"] & 1024 != 0) & table["is_candidate"]).sum() > 0
    assert not bits.loc[10, "excluded"]
    assert bits.loc[12, "candidates"] == 0


def test_confusers_and_overlap(table: pd.DataFrame, reported: ParityReport) -> None:
    tables = reported.tables
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


BLIND = {
    "ring": {"flux_r_min_nanomaggies": 1e6},
    "edge_on": {"shape_r_min_arcsec": 1e3, "shape_r_min_without_ellipticity_arcsec": 1e3},
    "blue_clumpy": {"mag_r_max": -10.0},
    "large_galaxy": {"shape_r_min_arcsec": 1e3},
}
"""Thresholds so far out that no source of the sky reaches them."""


def clean_world(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return sources without awkward values, and their surroundings without curated contaminants."""
    return synthetic.sources(1500, seed, clean=True), synthetic.neighbourhood(
        synthetic.sources(1500, seed, clean=True), 1
    ).assign(contaminant_category=None)


def test_thresholds_that_find_no_confuser_are_noticed() -> None:
    blind = changed(**BLIND, extensions={"confuser_classes": False}, warnings=SURVEY_LIMITS)
    found = report(pool(*clean_world(22), blind), blind)
    rates = found.tables["parity_confusers"].set_index("category")
    assert rates["n"].sum() == 0
    warnings = found.warnings.query("thresholds == 'campaign'").set_index("rule")
    assert warnings.loc["published_rate", "value"] == 0.0
    assert "0.000, outside 0.1 to 0.25" in warnings.loc["published_rate", "statement"]


def test_the_asset_check_catches_thresholds_that_find_no_confuser() -> None:
    campaign = load_campaign("dr10")
    blind = changed(**BLIND, extensions={"confuser_classes": False})
    confusers = report(pool(*clean_world(22), blind), blind).tables["parity_confusers"]
    outcomes = validate(confusers, SUITES["parity_report_confusers"], campaign)
    failed = {(item.expectation, item.column) for item in outcomes if not item.passed}
    assert ("expect_column_sum_to_be_between", "n") in failed
    assert ("expect_column_sum_to_be_between", "share_of_candidates") in failed


def composition(ring: float, edge_on: float, spiral: float) -> pd.DataFrame:
    """Return confusers of 1,000 candidates in three classes, by their share of all candidates."""
    table = pd.DataFrame({"category": ["ring_proxy", "edge_on_proxy", "spiral_proxy"]})
    table["share_of_candidates"] = [ring, edge_on, spiral]
    return table.assign(share_of_n2=table["share_of_candidates"] / table["share_of_candidates"].sum())


@pytest.mark.parametrize(
    ("confusers", "rules"),
    [
        (composition(0.15, 0.01, 0.15), set()),  # 16% published, edge-ons 3% of N2, no category above half
        (composition(0.05, 0.004, 0.05), {"published_rate"}),
        (composition(0.30, 0.02, 0.31), {"published_rate"}),
        (composition(0.20, 0.01, 0.10), {"largest_category"}),
        (composition(0.15, 0.002, 0.15), {"edge_on_share"}),
        (composition(0.12, 0.05, 0.15), {"edge_on_share"}),
    ],
)
def test_each_limit_of_the_survey_warns_on_its_own(confusers: pd.DataFrame, rules: set[str]) -> None:
    settings = changed(warnings=SURVEY_LIMITS)
    assert set(pool_warnings(confusers, settings)["rule"]) == rules


def test_one_category_over_half_of_n2_is_noticed() -> None:
    greedy = changed(ring={"flux_r_min_nanomaggies": 0.0, "sersic_min": 0.0}, extensions={"confuser_classes": False})
    warnings = report(pool(*clean_world(23), greedy), greedy).warnings.query("thresholds == 'campaign'")
    statement = warnings.set_index("rule").loc["largest_category", "statement"]
    assert statement.startswith("share of ring_proxy in N2")


def with_alternative(rules: NegativesSettings, other: NegativesSettings) -> NegativesSettings:
    """Return settings that have the thresholds of others as their one alternative."""
    named = {"purpose": "others", "confuser_classes": True, "confusers": other.confusers.model_dump()}
    return NegativesSettings.model_validate({**rules.model_dump(), "alternatives": {"other": named}})


def test_an_alternative_shows_what_a_campaign_of_its_thresholds_would_hold(tmp_path: Path) -> None:
    sources = synthetic.sources(2000, 24)
    around = synthetic.neighbourhood(sources, 24)
    looser = changed(ring={"sersic_min": 2.0}, spiral={"g_minus_r_max": 0.1}, bright_star={"mask_bits": (1,)})
    before, after = pool(sources, around), pool(sources, around, looser)
    paths = []
    for number, part in enumerate((before.iloc[:700], before.iloc[700:])):
        paths.append(str(tmp_path / f"{number}.parquet"))
        part.to_parquet(paths[-1], index=False)
    found = parity_report(paths, with_alternative(RULES, looser)).tables
    categories = found["alternatives"].set_index("category")
    direct = parity_report(pa.Table.from_pandas(after, preserve_index=False), looser).tables["parity_confusers"]
    expected = direct.set_index("category")
    for name in CONFUSER_CLASSES:
        assert categories.loc[name, "n"] == (before["confuser_category"] == name).sum()
        assert categories.loc[name, "n_alternative"] == expected.loc[name, "n"]
        assert categories.loc[name, "share_alternative"] == pytest.approx(expected.loc[name, "share_of_candidates"])
        assert categories.loc[name, "share_of_n2_alternative"] == pytest.approx(expected.loc[name, "share_of_n2"])
    keys = ["galaxy_id", "row_index"]
    pair = before.merge(after, on=keys, suffixes=("", "_after"))
    label = pair["confuser_category"].fillna(pair["pool"]).fillna("none")
    label_after = pair["confuser_category_after"].fillna(pair["pool_after"]).fillna("none")
    moved = pd.crosstab(label, label_after)
    assert found["alternative_moves"]["n"].sum() == (label != label_after).sum() > 0
    for row in found["alternative_moves"].itertuples():
        assert row.n == moved.loc[row.category, row.category_alternative]


def test_an_alternative_that_finds_nothing_warns_under_its_name() -> None:
    blind = changed(**BLIND)
    found = report(pool(*clean_world(25)), with_alternative(RULES, blind))
    rates = found.tables["alternatives"].set_index("category").loc[list(PUBLISHED_CLASSES), "share_alternative"]
    assert rates.sum() == 0.0
    warned = found.warnings.query("thresholds == 'other' and rule == 'published_rate'")
    assert warned["value"].tolist() == [0.0]


def test_the_first_thresholds_of_the_project_stand_beside_those_of_today() -> None:
    found = report(pool(*clean_world(26)))
    first = found.tables["alternatives"].query("alternative == 'first'").set_index("category")
    assert first.loc["large_galaxy_proxy", "n_alternative"] == 0 < first.loc["large_galaxy_proxy", "n"]
    assert first.loc["edge_on_proxy", "n_alternative"] == 0 < first.loc["edge_on_proxy", "n"]
    assert first["share_alternative"].sum() < first["share"].sum()


def test_without_alternatives_there_is_nothing_to_show(table: pd.DataFrame) -> None:
    plain = NegativesSettings.model_validate({**RULES.model_dump(), "alternatives": {}})
    found = report(table, plain)
    assert len(found.tables["alternatives"]) == len(found.tables["alternative_moves"]) == 0
    assert "Other thresholds" not in report_markdown(found, plain)


def test_nothing_left_is_an_error_that_shows_the_cascade(table: pd.DataFrame) -> None:
    empty = pa.Table.from_pandas(
        table.assign(pool=None, is_candidate=False, confuser_category=None), preserve_index=False
    )
    for refuse in (parity_report, require_candidates):
        with pytest.raises(EmptyPoolError, match=r"(?s)what each removes:.*exclusion +published.*Loosen the filter"):
            refuse(empty, RULES)


def test_a_pool_without_rows_is_an_error_that_says_so(table: pd.DataFrame) -> None:
    empty = pa.Table.from_pandas(table, preserve_index=False).slice(0, 0)
    for refuse in (parity_report, require_candidates):
        with pytest.raises(EmptyPoolError, match=r"has no row.*survey\.sky_partitions"):
            refuse(empty, RULES)


def test_page_shows_every_table_and_what_is_published(reported: ParityReport) -> None:
    text = report_markdown(reported, RULES)
    assert "| exclusion | published | on |" in text
    assert "| ebv | extension | off |" in text
    assert "merger_neighbour_proxy | extension" in text
    assert "none: what is called published is" in text
    filters = RULES.filters.model_copy(update={"mag_z_max": 19.0})
    assert "mag_z_max is 19.0, published 20.0" in report_markdown(
        reported, RULES.model_copy(update={"filters": filters})
    )
    for heading in ("by split", "by pool", "by stratum", "Exposures and fluxes by band", "Other thresholds: first"):
        assert heading in text
    assert "SER\\|3-5" in text, "a bar inside a cell is escaped"
    lines = text.splitlines()
    for above, below in itertools.pairwise(lines):
        if above.startswith("|") and below.startswith("|"):
            assert above.replace("\\|", "").count("|") == below.replace("\\|", "").count("|")


def test_figures_hold_the_numbers_of_the_tables(reported: ParityReport) -> None:
    tables = reported.tables
    bars = cascade_figure(tables["parity_cascade"]).axes[0].containers[0]
    enabled = tables["parity_cascade"][tables["parity_cascade"]["enabled"]]
    assert [bar.get_width() for bar in bars] == enabled["rows_left"].tolist()[::-1]
    by_split = breakdown_figure(tables["parity_breakdown"]).axes[0]
    assert [label.get_text().split()[0] for label in by_split.get_yticklabels()] == ["test", "train", "val"]
    shares = by_split.images[0].get_array()
    assert (np.diff(shares, axis=1) <= 0).all()
    assert shares.min() < shares.max() == 1.0
    shares = alternatives_figure(tables["alternatives"]).axes[0].containers[1]
    expected = 100 * tables["alternatives"]["share_alternative"]
    assert [bar.get_width() for bar in shares] == pytest.approx(expected.tolist())
