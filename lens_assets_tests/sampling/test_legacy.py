"""The legacy design in SQL against the same rules written in Python, and what must hold of any such draw."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.sampling import LegacyDesign
from lens_assets.sampling.legacy import (
    NO_LEGACY,
    LegacySample,
    bins_table,
    configurations_table,
    draw_all_legacy,
    draw_legacy,
    hex_below,
    legacy_parameters,
)
from lens_assets.sampling.lrg import flag_sources, rank_regions
from lens_assets.sampling.stratified import EmptySampleError, quantile_edges
from lens_assets_tests.sampling import synthetic

DR10 = load_campaign("dr10")
SHIPPED = DR10.sampling.legacy["legacy"]
Row = dict[str, Any]


def design(**changes: object) -> LegacyDesign:
    """The survey's legacy design with few rows, one variant and some settings replaced."""
    small = {"rows_per_set_and_split": 48, "variants": ("v3_color_relaxed",), "regions_per_ranking": 60}
    return LegacyDesign.model_validate({**SHIPPED.model_dump(), **small, **changes})


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    """Flagged sources, regions, dense cells and lenses of a synthetic sky in bricks of a quarter degree."""
    rows = synthetic.sources(4000, 81).drop_duplicates("galaxy_id", ignore_index=True)
    rng = np.random.default_rng(2)
    rows["mag_z"] = rng.uniform(18.5, 21.0, len(rows))
    rows["r_minus_z"], rows["z_minus_w1"] = rng.uniform(0.2, 1.2, len(rows)), rng.uniform(0.5, 2.2, len(rows))
    rows["brickname"] = [
        f"{int(ra * 4):04d}p{int((dec + 20) * 4):03d}" for ra, dec in zip(rows["ra"], rows["dec"], strict=True)
    ]
    rows.loc[::50, "psfdepth_r_mag"] = np.nan
    tables = flag_sources(pa.Table.from_pandas(rows, preserve_index=False), DR10.host_selection)
    regions, dense = rank_regions(tables["lrg_cells"].to_pandas(), DR10.host_selection)
    lenses = synthetic.positives(rows, 400, synthetic.cells_of(rows))
    cells = dense[["variant", "healpix_128", "region_id"]]
    return {"sources": tables["lrg_sources"], "regions": regions, "cells": cells, "positives": lenses}


def draw(world: dict[str, Any], chosen: LegacyDesign, **replaced: Any) -> LegacySample:
    """Draw one design."""
    there = {**world, **replaced}
    regions = pa.Table.from_pandas(there["regions"], preserve_index=False)
    return draw_legacy("legacy", chosen, there["sources"], regions, there["cells"], there["positives"])


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def share(text: str) -> float:
    """The first 32 bits of a hash as a number in [0, 1)."""
    return int(digest(text)[:8], 16) / 2**32


def expected(world: dict[str, Any], chosen: LegacyDesign) -> dict[tuple[str, str, str], Row]:
    """Return by (selection set, split, galaxy) the bins, control and configuration of what must be drawn."""
    frame, lenses = world["sources"].to_pandas(), set(world["positives"]["galaxy_id"].dropna())
    grid = [
        (theta, mag, size, ellipticity, shear)
        for theta in chosen.configurations.theta_e_arcsec
        for mag in chosen.configurations.source_delta_mag
        for size in chosen.configurations.source_half_light_radius_arcsec
        for ellipticity in chosen.configurations.source_ellipticity
        for shear in chosen.configurations.shear
    ]
    bins = bins_table(chosen, world["sources"])
    edges = {axis: table["low"].to_numpy()[1:] for axis, table in bins.groupby("axis")}
    drawn = {}
    for variant in chosen.variants:
        for ranking in chosen.rankings:
            top = world["regions"].query("variant == @variant").nsmallest(chosen.regions_per_ranking, f"rank_{ranking}")
            cells = world["cells"].query("variant == @variant")
            inside = set(cells.loc[cells["region_id"].isin(top["region_id"]), "healpix_128"])
            groups: dict[tuple[str, int, int], list[Any]] = {}
            for row in frame[frame[f"lrg_{variant}"] & frame["healpix_128"].isin(inside)].itertuples():
                if row.galaxy_id in lenses or math.isnan(row.psfsize_r) or math.isnan(row.psfdepth_r_mag):
                    continue
                u = share(f"{row.brickname}_{chosen.seed}")
                split = "train" if u < 0.8 else "val" if u < 0.9 else "test"
                psf = 1 + int((edges["psfsize_r"] <= row.psfsize_r).sum())
                depth = 1 + int((edges["psfdepth_r_mag"] <= row.psfdepth_r_mag).sum())
                groups.setdefault((split, psf, depth), []).append(row)
            wanted = math.ceil(chosen.rows_per_set_and_split / chosen.bins_per_axis**2)
            kept: dict[str, list[tuple[str, int, int]]] = {"train": [], "val": [], "test": []}
            for (split, psf, depth), rows in groups.items():
                order = sorted((digest(f"{row.galaxy_id}_{chosen.seed}"), row.galaxy_id) for row in rows)
                kept[split] += [(name, psf, depth) for _, name in order[:wanted]]
            for split, rows in kept.items():
                order = sorted(rows, key=lambda item: digest(f"{item[0]}_{chosen.seed + 1}"))
                for name, psf, depth in order[: chosen.rows_per_set_and_split]:
                    number = int(digest(f"{name}_{chosen.seed + chosen.configuration_seed_offset}")[:5], 16) % len(grid)
                    control = share(f"{name}_{chosen.seed + chosen.control_seed_offset}") < chosen.control_fraction
                    drawn[(f"{ranking}/{variant}", split, name)] = {
                        "psf_bin": psf, "depth_bin": depth, "is_control": control,
                        "arc": (0.0,) * 5 if control else grid[number],
                    }  # fmt: skip
    return drawn


ARC = ["theta_e_arcsec", "source_delta_mag", "source_half_light_radius_arcsec", "source_ellipticity", "shear"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rows_per_set_and_split": 21, "control_fraction": 0.3, "seed": 5},
        {"variants": ("v1_pure_massive", "v5_very_relaxed"), "regions_per_ranking": 2, "bins_per_axis": 2},
    ],
)
def test_draw_matches_python(world: dict[str, Any], changes: dict[str, object]) -> None:
    chosen = design(**changes)
    tasks = draw(world, chosen).tasks
    found = {
        (row.selection_set, row.legacy_split, row.drawn_galaxy_id): {
            "psf_bin": row.psf_bin, "depth_bin": row.depth_bin, "is_control": row.is_control,
            "arc": tuple(getattr(row, name) for name in ARC),
        }
        for row in tasks[tasks["replicate"] == 0].itertuples()
    }  # fmt: skip
    assert found == expected(world, chosen)
    assert len(tasks) == chosen.replicates * len(found)


def test_half_are_controls_and_one_of_two_replicates_is_unpaired(world: dict[str, Any]) -> None:
    chosen = design(rows_per_set_and_split=100_000)
    tasks = draw(world, chosen).tasks
    one_set = tasks[tasks["selection_set"] == "density/v3_color_relaxed"]
    galaxies = one_set["drawn_galaxy_id"].nunique()
    spread = math.sqrt(0.25 / galaxies)
    assert abs(one_set["is_control"].mean() - 0.5) < 4 * spread
    controls = tasks[tasks["is_control"]]
    assert (controls.loc[controls["replicate"] == 0, "control_kind"] == "unpaired").all()
    own = controls[controls["control_kind"] == "unpaired"]
    assert (own["galaxy_id"] == own["drawn_galaxy_id"]).all()
    keys = ["selection_set", "legacy_split", "psf_bin", "depth_bin"]
    injected = tasks[~tasks["is_control"]].groupby(keys)["galaxy_id"].agg(set)
    paired = controls[controls["control_kind"] == "paired"]
    assert len(paired)
    for row in paired.itertuples():
        assert row.galaxy_id in injected[(row.selection_set, row.legacy_split, row.psf_bin, row.depth_bin)]
    lonely = controls[(controls["replicate"] == 1) & (controls["control_kind"] == "unpaired")]
    assert not lonely.set_index(keys).index.isin(injected.index).any(), (
        "only bins without injected galaxies lack a pair"
    )
    sources = world["sources"].to_pandas().set_index("galaxy_id")
    shown = tasks.set_index("galaxy_id")
    for column in ("ra", "dec", "psfsize_r", "psfdepth_r_mag", "mag_z", "healpix_128"):
        assert shown[column].equals(sources.loc[shown.index, column].astype(shown[column].dtype)), column


@pytest.mark.parametrize(("unpaired", "kinds"), [(0, {"paired"}), (2, {"unpaired"})])
def test_the_share_of_unpaired_controls_is_a_setting(world: dict[str, Any], unpaired: int, kinds: set[str]) -> None:
    coarse = design(bins_per_axis=1, unpaired_replicates=unpaired)
    tasks = draw(world, coarse).tasks
    assert set(tasks.loc[tasks["is_control"], "control_kind"]) == kinds


def test_bricks_and_lenses_are_kept_apart(world: dict[str, Any]) -> None:
    lenses = set(world["positives"]["galaxy_id"].dropna())
    tasks = draw(world, design(rows_per_set_and_split=100_000)).tasks
    assert (tasks.groupby("brickname")["legacy_split"].nunique() == 1).all()
    assert not set(tasks["galaxy_id"]) & lenses
    with_lenses = draw(world, design(rows_per_set_and_split=100_000, without_lenses=False)).tasks
    assert set(with_lenses["galaxy_id"]) & lenses
    bricks = tasks.groupby("legacy_split")["brickname"].nunique()
    assert bricks["train"] / bricks.sum() == pytest.approx(0.8, abs=0.1)


def test_what_bins_lack_is_stated(world: dict[str, Any]) -> None:
    sample = draw(world, design(rows_per_set_and_split=48))
    strata = sample.strata
    sets = strata[["selection_set", "legacy_split"]].drop_duplicates()
    assert len(strata) == 16 * len(sets)
    assert set(strata["wanted"]) == {3}
    assert (strata["shortfall"] == (3 - strata["available"]).clip(lower=0)).all()
    assert (strata["drawn"] == strata["available"].clip(upper=3)).all()
    assert 0 < len(sample.shortfalls) < len(strata)
    drawn = sample.tasks[sample.tasks["replicate"] == 0]
    assert strata["drawn"].sum() == len(drawn)
    assert strata["controls"].sum() == drawn["is_control"].sum()
    population = drawn.groupby(["selection_set", "legacy_split"])["sampling_weight"].sum()
    available = strata.groupby(["selection_set", "legacy_split"])["available"].sum()
    assert population.to_dict() == pytest.approx(available.to_dict())


@settings(max_examples=3, deadline=None, phases=[Phase.generate])
@given(per_bin=st.integers(1, 6), more=st.integers(1, 6), seed=st.integers(0, 100))
def test_a_larger_draw_only_adds_galaxies(world: dict[str, Any], per_bin: int, more: int, seed: int) -> None:
    few, many = (
        draw(world, design(rows_per_set_and_split=16 * size, seed=seed)).tasks for size in (per_bin, per_bin + more)
    )
    keys = ["selection_set", "legacy_split", "drawn_galaxy_id", "is_control", "configuration_id"]
    small, large = (set(table[keys].fillna("none").itertuples(index=False, name=None)) for table in (few, many))
    assert small < large


def test_neither_row_order_nor_files_change_a_digest(world: dict[str, Any], tmp_path: Any) -> None:
    whole = draw(world, design())
    frame = world["sources"].to_pandas().sample(frac=1.0, random_state=3).reset_index(drop=True)
    paths = []
    for number, part in enumerate((frame.iloc[:900], frame.iloc[900:])):
        paths.append(str(tmp_path / f"{number}.parquet"))
        part.to_parquet(paths[-1], index=False)
    shuffled = draw(
        world,
        design(),
        sources=paths,
        cells=world["cells"].iloc[::-1],
        positives=world["positives"].sample(frac=1.0, random_state=4),
    )
    pd.testing.assert_frame_equal(whole.tasks, shuffled.tasks)
    pd.testing.assert_frame_equal(whole.strata, shuffled.strata)


def test_stated_edges_replace_quantiles(world: dict[str, Any]) -> None:
    stated = design(psf_edges_arcsec=(1.1, 1.3, 1.5), depth_edges_mag=(24.0, 24.4, 24.8))
    tasks = draw(world, stated).tasks
    assert (tasks["psf_bin"] == 1 + np.searchsorted([1.1, 1.3, 1.5], tasks["psfsize_r"], side="right")).all()
    quantiles = bins_table(design(), world["sources"]).query("axis == 'psfsize_r'")
    frame = world["sources"].to_pandas()
    hosts = frame.loc[frame["lrg_v3_color_relaxed"], "psfsize_r"].dropna()
    shares = np.histogram(hosts, [-np.inf, *quantiles["low"].to_numpy()[1:], np.inf])[0] / len(hosts)
    np.testing.assert_allclose(shares, 0.25, atol=0.01)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.sampled_from([1.0, 1.0, 1.5, 2.0, 2.5, 7.0]), max_size=60), bins=st.integers(2, 6))
def test_quantile_edges_are_measured_values_that_rise(values: list[float], bins: int) -> None:
    edges = quantile_edges([*values, math.nan], bins)
    assert list(edges) == sorted(set(edges))
    assert set(edges) <= set(values)
    assert len(edges) <= bins - 1
    assert all(any(value < edge for value in values) for edge in edges), "no bin is empty from below"


@settings(max_examples=100, deadline=None)
@given(number=st.integers(0, 2**32 - 1), fraction=st.floats(0.0, 1.0))
def test_texts_of_hashes_are_ordered_as_their_numbers(number: int, fraction: float) -> None:
    edge = round(fraction * 2**32)
    assert (f"{number:08x}" < hex_below(fraction)) == (number < edge)


def test_the_grid_is_every_combination_once() -> None:
    table = configurations_table(SHIPPED)
    assert len(table) == 3 * 2 * 2 * 2 * 2 == 48
    assert not table.drop(columns=["ordinal", "configuration_id"]).duplicated().any()
    assert table["configuration_id"].is_unique


def test_the_survey_keeps_the_numbers_of_the_earlier_pipeline() -> None:
    assert (SHIPPED.rows_per_set_and_split, SHIPPED.bins_per_axis, SHIPPED.control_fraction) == (200_000, 4, 0.5)
    assert (SHIPPED.replicates, SHIPPED.unpaired_replicates) == (2, 1)
    parameters = legacy_parameters("legacy", SHIPPED)
    assert [parameters[f"legacy_{name}seed"] for name in ("", "configuration_", "control_")] == [1337, 6338, 8340]
    assert parameters["legacy_rows_per_bin"] == math.ceil(200_000 / 16)
    assert (SHIPPED.fraction_train, SHIPPED.fraction_val, SHIPPED.fraction_test) == (0.8, 0.1, 0.1)
    assert len(SHIPPED.rankings) * len(SHIPPED.variants) == 12
    assert set(parameters) == set(NO_LEGACY)


def test_nothing_to_draw_is_refused_and_no_design_is_an_empty_table(world: dict[str, Any]) -> None:
    faint = world["sources"].to_pandas().assign(lrg_v3_color_relaxed=False)
    with pytest.raises(EmptySampleError, match="design legacy draws no galaxy; expected luminous red galaxies"):
        draw(world, design(), sources=pa.Table.from_pandas(faint, preserve_index=False))
    without = DR10.sampling.model_copy(update={"designs": DR10.sampling.drawn})
    regions = pa.Table.from_pandas(world["regions"], preserve_index=False)
    empty = draw_all_legacy(without, world["sources"], regions, world["cells"], world["positives"])
    assert len(empty.tasks) == len(empty.strata) == 0
    assert list(empty.tasks.columns) == list(draw(world, design()).tasks.columns)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fraction_train": 0.7}, "expected 1"),
        ({"unpaired_replicates": 3}, "unpaired_replicates = 3 exceeds replicates = 2"),
        ({"psf_edges_arcsec": (1.2, 1.1, 1.4)}, "expected rising values"),
        ({"depth_edges_mag": (24.0,)}, "expected 3, or \\[\\] for quantiles"),
        ({"variants": ("v9",)}, "v9|Input should be"),
    ],
)
def test_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        design(**changes)
