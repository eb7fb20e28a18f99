"""The negative pool in SQL against the same rules written in Python, and what each threshold does to the counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lens_assets.campaign.stages.negatives import NegativesSettings
from lens_assets.sampling.pool import PUBLISHED_COLUMNS, build_negative_pool
from lens_assets.sampling.sql import ModelTestError
from lens_assets_tests.sampling import reference, synthetic


def changed(**groups: dict[str, object]) -> NegativesSettings:
    """The demo's settings with some values replaced, by group (filters, extensions) or confuser class."""
    base = synthetic.negatives_settings()
    content = base.model_dump()
    for group, values in groups.items():
        target = content if group in content else content["confusers"]
        target[group] = {**target[group], **values}
    return NegativesSettings.model_validate(content)


def pool(
    sources: pd.DataFrame, neighbourhood: pd.DataFrame | None = None, rules: NegativesSettings | None = None
) -> pd.DataFrame:
    """Run the models over rows."""
    around = synthetic.neighbourhood(sources, 5) if neighbourhood is None else neighbourhood
    table = pa.Table.from_pandas(sources, preserve_index=False)
    results = build_negative_pool(table, around, synthetic.cells_of(sources), rules or synthetic.negatives_settings())
    return results.tables["negative_pool"].to_pandas()


@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 10_000), doubled=st.booleans())
def test_every_flag_pool_and_category_matches_python(seed: int, doubled: bool) -> None:
    sources = synthetic.sources(400, seed)
    if doubled:
        twins = sources.head(40).assign(row_index=sources["row_index"].head(40) + 10_000)
        sources = pd.concat([twins, sources], ignore_index=True)
    around = synthetic.neighbourhood(sources, seed)
    found = pool(sources, around)
    expected = reference.pool_table(sources, around, synthetic.negatives_settings())
    assert len(found) == len(expected)
    for row in found.itertuples():
        for column, value in expected[(row.galaxy_id, row.row_index)].items():
            got = getattr(row, column)
            got = None if not isinstance(got, str | bool | np.bool_) and pd.isna(got) else got
            assert got == value, f"{row.galaxy_id} {column}: SQL {got!r}, Python {value!r}"


def test_published_columns_come_first_and_are_48() -> None:
    found = pool(synthetic.sources(50, 1))
    assert len(PUBLISHED_COLUMNS) == 48
    assert tuple(found.columns[:48]) == PUBLISHED_COLUMNS


def test_neither_row_order_nor_partitioning_changes_a_row() -> None:
    sources = synthetic.sources(600, 3)
    around = synthetic.neighbourhood(sources, 3)
    whole = pool(sources, around)
    shuffled = pool(sources.sample(frac=1.0, random_state=0).reset_index(drop=True), around)
    pd.testing.assert_frame_equal(whole, shuffled)
    half = sources["ra"] < 153.0
    parts = pd.concat([pool(sources[half], around), pool(sources[~half], around)])
    compared = ["galaxy_id", "pool", "confuser_category", "first_failed_filter", "nobs_z_bin", "split"]
    parts = parts.sort_values("galaxy_id")[compared].reset_index(drop=True)
    pd.testing.assert_frame_equal(whole[compared].sort_values("galaxy_id").reset_index(drop=True), parts)


def test_margin_rows_never_become_rows() -> None:
    sources = synthetic.sources(300, 4)
    margin = set(sources.loc[sources["in_margin"], "galaxy_id"])
    assert margin
    assert not margin & set(pool(sources)["galaxy_id"])


@pytest.mark.parametrize(
    ("group", "tighter"),
    [
        ("filters", {"mag_z_max": 18.5}),
        ("filters", {"nobs_min": 6}),
        ("filters", {"types": ("SER",)}),
        ("filters", {"mask_bits": (1, 2, 5, 6, 7, 10, 11, 12, 13)}),
        ("filters", {"dec_max_deg": 0.0}),
        ("filters", {"dec_min_deg": 0.0}),
        ("extensions", {"ebv_max": 0.1}),
        ("extensions", {"psfsize_r_max_arcsec": 1.2}),
        ("extensions", {"psfdepth_r_min_mag": 24.8}),
        ("extensions", {"galactic_latitude_min_deg": 50.0}),
        ("extensions", {"strict_mask_bits": (2, 10)}),
    ],
)
def test_a_tighter_filter_removes_candidates_and_adds_none(group: str, tighter: dict[str, object]) -> None:
    sources = synthetic.sources(1500, 6)
    before, after = pool(sources), pool(sources, rules=changed(**{group: tighter}))
    kept, left = (
        set(before.loc[before["is_candidate"], "galaxy_id"]),
        set(after.loc[after["is_candidate"], "galaxy_id"]),
    )
    assert left < kept


def test_a_larger_exclusion_radius_removes_candidates() -> None:
    sources = synthetic.sources(1500, 6)
    small = pool(sources, rules=changed(filters={"exclusion_radius_arcsec": 11.0}))
    large = pool(sources, rules=changed(filters={"exclusion_radius_arcsec": 12.0}))
    assert large["is_candidate"].sum() < small["is_candidate"].sum()
    edge = small["exclusion_separation_arcsec"] == 11.0
    assert edge.any()
    assert not small.loc[edge, "pass_exclusion"].any(), "a source exactly at the radius is excluded"


@pytest.mark.parametrize(
    ("group", "looser", "flag"),
    [
        ("ring", {"flux_r_min_nanomaggies": 1.0}, "n2_ring_proxy"),
        ("edge_on", {"ellipticity_min": 0.3}, "n2_edge_on_proxy"),
        ("blue_clumpy", {"g_minus_r_max": 0.8}, "n2_blue_clumpy_proxy"),
        ("large_galaxy", {"shape_r_min_arcsec": 1.0}, "n2_large_galaxy_proxy"),
        ("merger", {"fracflux_r_min": 0.1}, "n2_merger_neighbour_proxy"),
        ("spiral", {"shape_r_min_arcsec": 0.3}, "n2_spiral_proxy"),
        ("pointy_core", {"shape_r_max_arcsec": 1.2}, "n2_pointy_core_proxy"),
        ("bright_star", {"mask_bits": (1, 11, 12)}, "n2_bright_star_artefact"),
    ],
)
def test_a_looser_class_matches_more(group: str, looser: dict[str, object], flag: str) -> None:
    sources = synthetic.sources(1500, 7)
    before, after = pool(sources), pool(sources, rules=changed(**{group: looser}))
    assert (after[flag] | ~before[flag]).all()
    assert after[flag].sum() > before[flag].sum()


def test_only_bright_star_artefacts_skip_the_mask_filter() -> None:
    found = pool(synthetic.sources(3000, 8))
    masked = found[found["is_candidate"] & ~found["pass_maskbits"]]
    assert len(masked)
    assert (masked["n2_bright_star_artefact"] & (masked["pool"] == "N2")).all()
    assert set(masked["recipe"]) == {"extension"}


def test_a_curated_category_stands_before_the_bright_star_class() -> None:
    found = pool(synthetic.sources(3000, 8))
    masked = found[found["is_candidate"] & ~found["pass_maskbits"]]
    curated = masked["contaminant_category"].notna()
    assert curated.any() and not curated.all()
    assert (masked.loc[curated, "confuser_category"] == masked.loc[curated, "contaminant_category"]).all()
    assert set(masked.loc[~curated, "confuser_category"]) == {"bright_star_artefact"}


def test_exp_sources_enter_n2_alone_and_are_an_extension() -> None:
    found = pool(synthetic.sources(3000, 9))
    exponential = found[(found["type"] == "EXP") & found["pool"].notna()]
    assert set(exponential["pool"]) == {"N2", "N1b"}
    assert set(exponential["recipe"]) == {"extension"}
    assert not exponential.loc[exponential["pool"] == "N1b", "is_candidate"].any()


def test_published_recipe_alone_when_extensions_are_off() -> None:
    rules = changed(extensions={"confuser_classes": False, "n1b_types": (), "n2_extra_types": ()})
    sources = synthetic.sources(2000, 10)
    around = synthetic.neighbourhood(sources, 1).assign(contaminant_category=None)
    found = pool(sources, around, rules)
    assert set(found["recipe"].dropna()) == {"published"}
    assert set(found["type"][found["is_candidate"]]) == {"SER", "DEV", "REX"}


def test_galactic_latitude_agrees_with_astropy() -> None:
    sources = synthetic.sources(500, 11)
    found = pool(sources, rules=changed(extensions={"galactic_latitude_min_deg": 45.0}))
    latitude = SkyCoord(found["ra"].to_numpy(), found["dec"].to_numpy(), unit="deg").galactic.b.deg
    clear = np.abs(np.abs(latitude) - 45.0) > 1e-4
    assert (found["pass_galactic_latitude"].to_numpy()[clear] == (np.abs(latitude) >= 45.0)[clear]).all()
    assert 0 < found["pass_galactic_latitude"].sum() < len(found)


def test_a_source_outside_every_split_cell_is_named() -> None:
    sources = synthetic.sources(50, 12)
    cells = synthetic.cells_of(sources).iloc[10:]
    with pytest.raises(ModelTestError, match=r"negative_pool\.split not_null"):
        build_negative_pool(
            pa.Table.from_pandas(sources, preserve_index=False),
            synthetic.neighbourhood(sources, 1),
            cells,
            synthetic.negatives_settings(),
        )
