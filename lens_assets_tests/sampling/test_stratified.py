"""The sample in SQL against the same rules written in Python, and what must hold of any sample."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lens_assets.campaign.stages.sampling import RandomDesign, StratifiedDesign
from lens_assets.sampling.pool import build_negative_pool
from lens_assets.sampling.stratified import SAMPLE_COLUMNS, EmptySampleError, Sample, draw_all, draw_design
from lens_assets_tests.sampling import reference, synthetic

SEED = 42


@pytest.fixture(scope="module")
def world() -> dict[str, pd.DataFrame]:
    """A pool of a few thousand rows, lenses and cells."""
    return make_world(3000, 1)


def make_world(count: int, seed: int) -> dict[str, pd.DataFrame]:
    """Return sources, cells, positives and the pool of synthetic rows."""
    sources = synthetic.sources(count, seed, clean=True)
    cells = synthetic.cells_of(sources)
    around = synthetic.neighbourhood(sources, seed).assign(contaminant_category=None)
    table = pa.Table.from_pandas(sources, preserve_index=False)
    results = build_negative_pool(table, around, cells, synthetic.negatives_settings())
    lenses = synthetic.positives(sources, 60, cells)
    return {"pool": results.tables["negative_pool"].to_pandas(), "cells": cells, "positives": lenses}


def baseline(**changes: object) -> StratifiedDesign:
    """The demo's baseline with the survey's share of confusers and some settings replaced."""
    design = synthetic.sampling_settings().drawn["baseline"]
    assert isinstance(design, StratifiedDesign)
    return StratifiedDesign.model_validate({**design.model_dump(), "n2_fraction": 0.15, **changes})


def draw(world: dict[str, pd.DataFrame], design: StratifiedDesign | RandomDesign, **replaced: pd.DataFrame) -> Sample:
    """Draw one design."""
    there = {**world, **replaced}
    pool = pa.Table.from_pandas(there["pool"], preserve_index=False)
    bins = synthetic.negatives_settings().nobs_z_bins
    return draw_design("baseline", design, SEED, pool, there["positives"], there["cells"], bins)


def ids(sample: Sample, label: int = 0) -> set[str]:
    """Return the ids of one label."""
    return set(sample.rows.loc[sample.rows["label"] == label, "galaxy_id"])


@settings(max_examples=5, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 1000), ratio=st.sampled_from([1.0, 3.5, 8.0, 40.0]), share=st.sampled_from([0.0, 0.15, 0.4]))
def test_draw_matches_python(seed: int, ratio: float, share: float) -> None:
    world = make_world(700, seed)
    design = baseline(negatives_per_positive=ratio, n2_fraction=share)
    sample = draw(world, design)
    lenses = sample.rows[sample.rows["label"] == 1]
    without_lenses = world["pool"][~world["pool"]["galaxy_id"].isin(world["positives"]["galaxy_id"].dropna())]
    expected, shortfalls = reference.draw(without_lenses, lenses, design, SEED)
    assert ids(sample) == expected
    short = sample.strata[sample.strata["shortfall_n1"] > 0]
    ordinals = {item.label: number for number, item in enumerate(design.nobs_z_bins, start=1)}
    found = {(row.split, row.type_bin, ordinals[row.nobs_z_bin]): row.shortfall_n1 for row in short.itertuples()}
    assert found == shortfalls


def test_columns_and_one_row_a_galaxy(world: dict[str, pd.DataFrame]) -> None:
    rows = draw(world, baseline()).rows
    assert tuple(rows.columns) == SAMPLE_COLUMNS
    assert rows["galaxy_id"].is_unique
    assert set(rows["tier"]) == {"A", "B", "N1", "N2"}


def test_evaluation_only_systems_never_train(world: dict[str, pd.DataFrame]) -> None:
    rows = draw(world, baseline()).rows
    assert rows["evaluation_only"].any()
    assert not rows.loc[rows["split"] == "train", "evaluation_only"].any()


def test_the_source_of_a_lens_is_never_a_negative(world: dict[str, pd.DataFrame]) -> None:
    candidates = set(world["pool"].loc[world["pool"]["is_candidate"], "galaxy_id"])
    lenses = set(world["positives"]["galaxy_id"].dropna())
    assert candidates & lenses, "the pool alone would allow it"
    assert not ids(draw(world, baseline(negatives_per_positive=1000.0))) & lenses


@pytest.mark.parametrize(("small", "large"), [(0.5, 1.3), (1.3, 3.0), (3.0, 8.0)])
def test_a_larger_target_only_adds_rows(world: dict[str, pd.DataFrame], small: float, large: float) -> None:
    few = ids(draw(world, baseline(negatives_per_positive=small)))
    many = ids(draw(world, baseline(negatives_per_positive=large)))
    assert few < many


def test_row_order_does_not_matter(world: dict[str, pd.DataFrame]) -> None:
    shuffled = world["pool"].sample(frac=1.0, random_state=3).reset_index(drop=True)
    lenses = world["positives"].sample(frac=1.0, random_state=4).reset_index(drop=True)
    pd.testing.assert_frame_equal(
        draw(world, baseline()).rows, draw(world, baseline(), pool=shuffled, positives=lenses).rows
    )


def test_parquet_files_give_the_rows_of_one_table(world: dict[str, pd.DataFrame], tmp_path) -> None:  # type: ignore[no-untyped-def]
    paths = []
    for number, part in enumerate((world["pool"].iloc[2000:], world["pool"].iloc[:2000])):
        paths.append(str(tmp_path / f"{number}.parquet"))
        part.to_parquet(paths[-1], index=False)
    bins = synthetic.negatives_settings().nobs_z_bins
    found = draw_design("baseline", baseline(), SEED, paths, world["positives"], world["cells"], bins)
    pd.testing.assert_frame_equal(found.rows, draw(world, baseline()).rows)


def test_another_seed_draws_other_negatives_and_the_same_lenses(world: dict[str, pd.DataFrame]) -> None:
    pool = pa.Table.from_pandas(world["pool"], preserve_index=False)
    bins = synthetic.negatives_settings().nobs_z_bins
    design = baseline(negatives_per_positive=2.0)
    other = draw_design("baseline", design, SEED + 1, pool, world["positives"], world["cells"], bins)
    assert ids(other) != ids(draw(world, design))
    assert ids(other, 1) == ids(draw(world, design), 1)


def test_confusers_keep_their_share_of_each_split(world: dict[str, pd.DataFrame]) -> None:
    rows = draw(world, baseline(negatives_per_positive=4.0)).rows
    for _, split in rows[rows["label"] == 0].groupby("split"):
        found = (split["pool"] == "N2").sum()
        assert abs(found - 0.15 / 0.85 * (split["pool"] == "N1").sum()) <= 1.0


def test_a_lack_is_filled_from_the_neighbouring_exposure_bin(world: dict[str, pd.DataFrame]) -> None:
    lenses = world["positives"].assign(nobs_z=2, type="SER")
    sample = draw(world, baseline(), positives=lenses)
    lacking = sample.strata[(sample.strata["nobs_z_bin"] == "1-2") & (sample.strata["positives"] > 0)]
    assert (lacking["available_n1"] == 0).all()
    assert (lacking["got_from_above"] > 0).all()
    drawn = sample.rows[sample.rows["pool"] == "N1"]
    assert set(drawn["type"]) == {"SER"}
    assert set(drawn["nobs_z_bin"]) == {"3-5"}


def test_sampling_weights_add_up_to_the_population(world: dict[str, pd.DataFrame]) -> None:
    lenses = set(world["positives"]["galaxy_id"].dropna())
    rows = draw(world, baseline(negatives_per_positive=2.0)).rows
    pool = world["pool"][~world["pool"]["galaxy_id"].isin(lenses)]
    for (split, stratum), drawn in rows[rows["pool"] == "N1"].groupby(["split", "stratum"]):
        same = (pool["pool"] == "N1") & (pool["split"] == split)
        same &= (pool["type_bin"] + "|" + pool["nobs_z_bin"]) == stratum
        assert drawn["sampling_weight"].sum() == pytest.approx(same.sum())


def test_deployment_is_a_random_sample_with_known_weights(world: dict[str, pd.DataFrame]) -> None:
    design = RandomDesign(
        kind="random", purpose="rates", rows_train=0, rows_val=40, rows_test=10_000, include_exp=False
    )
    rows = draw(world, design).rows
    lenses = set(world["positives"]["galaxy_id"].dropna())
    pool = world["pool"][world["pool"]["is_candidate"] & ~world["pool"]["galaxy_id"].isin(lenses)]
    assert set(rows["label"]) == {0}
    assert (rows["split"] == "val").sum() == 40
    assert not (rows["split"] == "train").any()
    assert (rows["split"] == "test").sum() == (pool["split"] == "test").sum(), "no more than there are"
    for split, drawn in rows.groupby("split"):
        assert drawn["sampling_weight"].sum() == pytest.approx((pool["split"] == split).sum())
        assert drawn["sampling_weight"].nunique() == 1


def test_designs_change_what_they_say(world: dict[str, pd.DataFrame]) -> None:
    plain = draw(world, baseline()).rows
    assert "EXP" not in set(plain.loc[plain["pool"] == "N1", "type"])
    with_exp = draw(world, baseline(include_exp=True)).rows
    assert "EXP" in set(with_exp.loc[with_exp["pool"] == "N1", "type"])
    masked = draw(world, baseline(without_maskbits=True, negatives_per_positive=60.0)).rows
    assert ((masked.loc[masked["pool"] == "N1", "maskbits"] & 4096) != 0).any()
    dustless = draw(world, baseline(ebv_max=0.1)).rows
    assert dustless["ebv"].max() < 0.1
    confirmed = draw(world, baseline(positives="confirmed")).rows
    assert set(confirmed.loc[confirmed["label"] == 1, "confirmation"]) == {"confirmed"}


def test_seeing_strata_match_the_lenses_in_seeing(world: dict[str, pd.DataFrame]) -> None:
    sharp = world["positives"].assign(psfsize_r=1.05)
    sample = draw(world, baseline(condition="psfsize_r", condition_edges=(1.2, 1.4)), positives=sharp)
    drawn = sample.rows[sample.rows["pool"] == "N1"]
    assert len(drawn)
    assert drawn["psfsize_r"].max() < 1.2
    assert set(drawn["stratum"].str.split("|").str[-1]) == {"-inf..1.2"}


def test_a_number_of_strata_shares_the_lenses_out_equally(world: dict[str, pd.DataFrame]) -> None:
    sample = draw(world, baseline(condition="psfdepth_r_mag", condition_edges=3))
    lenses = sample.rows[sample.rows["label"] == 1]
    counts = lenses["stratum"].str.split("|").str[-1].value_counts()
    assert len(counts) == 3
    matched = world["positives"][world["positives"]["matched"]]
    edges = np.quantile(matched["psfdepth_r_mag"], [1 / 3, 2 / 3], method="inverted_cdf")
    labels = [f"-inf..{edges[0]:g}", f"{edges[0]:g}..{edges[1]:g}", f"{edges[1]:g}..inf"]
    assert set(counts.index) == set(labels)
    assert counts.max() - counts.min() <= 8, "those for evaluation only are not in train"


@settings(max_examples=4, deadline=None, phases=[Phase.generate])
@given(
    seed=st.integers(0, 1000),
    small=st.floats(0.1, 8.0),
    more=st.floats(0.1, 30.0),
    share=st.sampled_from([0.0, 0.15, 0.6]),
)
def test_growing_the_target_only_adds_rows(
    world: dict[str, pd.DataFrame], seed: int, small: float, more: float, share: float
) -> None:
    lenses = world["positives"].sample(40, random_state=seed)
    few = draw(world, baseline(negatives_per_positive=small, n2_fraction=share), positives=lenses)
    many = draw(world, baseline(negatives_per_positive=small + more, n2_fraction=share), positives=lenses)
    assert ids(few) <= ids(many)
    assert ids(few, 1) == ids(many, 1)


def lone_lenses(world: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """One lens a stratum and split, and a pool of which every second candidate is N2."""
    lenses, pool = world["positives"], world["pool"].copy()
    lenses = lenses[lenses["matched"]].assign(evaluation_only=False)
    alone = lenses.assign(bin=pd.cut(lenses["nobs_z"], [0, 2, 5, 10, 999])).drop_duplicates(["split", "type", "bin"])
    half = pool["pool"].isin(["N1", "N2"]) & (np.arange(len(pool)) % 2 == 0)
    pool.loc[half, ["pool", "confuser_category"]] = ["N2", "ring_proxy"]
    return {**world, "pool": pool, "positives": alone.drop(columns="bin")}


@pytest.mark.parametrize(("small", "large"), [(4.0, 4.2), (1.7, 1.8)])
def test_strata_of_one_lens_lose_no_confuser_to_rounding(
    world: dict[str, pd.DataFrame], small: float, large: float
) -> None:
    lone = lone_lenses(world)
    few, many = (draw(lone, baseline(negatives_per_positive=ratio)) for ratio in (small, large))
    assert few.confusers["quota_n2"].sum() > 0
    assert ids(few) <= ids(many)
    wanted = few.strata.groupby("split")["positives"].sum() * small * 0.15
    assert few.confusers.set_index("split")["target_n2"].sub(wanted).abs().max() <= 0.5


@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 1000), small=st.floats(1.3, 6.0), more=st.floats(0.01, 0.6), share=st.floats(0.05, 0.6))
def test_strata_of_one_lens_only_gain_rows(
    world: dict[str, pd.DataFrame], seed: int, small: float, more: float, share: float
) -> None:
    lone = lone_lenses(world)
    lenses = lone["positives"].sample(12, random_state=seed)
    few = draw(lone, baseline(negatives_per_positive=small, n2_fraction=share), positives=lenses)
    many = draw(lone, baseline(negatives_per_positive=small + more, n2_fraction=share), positives=lenses)
    assert ids(few) <= ids(many)


def test_achieved_ratios_are_reported_for_each_stratum(world: dict[str, pd.DataFrame]) -> None:
    sample = draw(world, baseline(negatives_per_positive=3.0))
    rows = sample.rows
    for line in sample.strata[sample.strata["positives"] > 0].itertuples():
        same = (rows["split"] == line.split) & (rows["stratum"] == line.stratum)
        negatives, lenses = (same & (rows["label"] == 0)).sum(), (same & (rows["label"] == 1)).sum()
        assert line.negatives_per_positive == pytest.approx(negatives / lenses)
        assert line.positives == lenses
        assert line.target == round(3.0 * lenses)


def test_a_random_design_says_what_it_could_not_draw(world: dict[str, pd.DataFrame]) -> None:
    design = RandomDesign(
        kind="random", purpose="rates", rows_train=0, rows_val=5, rows_test=1_000_000, include_exp=False
    )
    sample = draw(world, design)
    found = (sample.rows["split"] == "test").sum()
    columns = ["split", "pool", "wanted", "drawn", "shortfall"]
    assert sample.shortfalls[columns].values.tolist() == [["test", "any", 1_000_000, found, 1_000_000 - found]]


def test_lacking_confusers_and_strata_are_shortfalls(world: dict[str, pd.DataFrame]) -> None:
    pool = world["pool"].copy()
    pool.loc[pool["pool"] == "N2", ["pool", "confuser_category"]] = None
    sample = draw(world, baseline(negatives_per_positive=30.0), pool=pool)
    lines = sample.shortfalls
    second = lines[lines["pool"] == "N2"].set_index("split")
    assert (second["drawn"] == 0).all() and (second["wanted"] > 0).all() and second["stratum"].isna().all()
    assert second["shortfall"].to_dict() == sample.confusers.set_index("split")["shortfall_n2"].to_dict()
    first = lines[lines["pool"] == "N1"]
    assert first["shortfall"].sum() == sample.strata["shortfall_n1"].sum() > 0
    assert first["borrowed"].sum() == sample.strata[["got_from_above", "got_from_below"]].sum().sum()


def test_all_designs_together_have_one_row_a_design_and_galaxy(world: dict[str, pd.DataFrame]) -> None:
    pool = pa.Table.from_pandas(world["pool"], preserve_index=False)
    bins = synthetic.negatives_settings().nobs_z_bins
    sample = draw_all(synthetic.sampling_settings(), pool, world["positives"], world["cells"], bins)
    assert set(sample.rows["design"]) == {"baseline", "deployment"}
    assert not sample.rows.duplicated(["design", "galaxy_id"]).any()


def test_a_design_without_lenses_is_refused(world: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(EmptySampleError, match="baseline draws no negative and no lens"):
        draw(world, baseline(), positives=world["positives"].assign(matched=False))
