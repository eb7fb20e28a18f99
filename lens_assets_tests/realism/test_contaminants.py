"""Contaminants: a rate with its interval, arcs on them against arcs elsewhere, conditions, and too few of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lens_assets.realism.contaminants import chosen_rows, contaminant_rows, is_contaminant, unscored_rows
from lens_assets.statistics.intervals import wilson_interval
from lens_assets_tests.realism.tables import demo_realism

SETTINGS = demo_realism(anchors__minimum_group=30, contaminants__gates=True)


def table(rate: float, other: float, count: int = 400, seed: int = 1) -> pd.DataFrame:
    """Half contaminants that pass at a rate, half others; conditions that matter to nothing."""
    random = np.random.default_rng(seed)
    contaminant = np.arange(count) % 2 == 0
    return pd.DataFrame(
        {
            "galaxy_id": [f"g{row // 2 % 120}{'c' if kind else 'o'}" for row, kind in enumerate(contaminant)],
            "confuser_category": pd.Series(np.where(contaminant, "ring", None), dtype=object),
            "psfsize_r": random.uniform(1.0, 1.8, count),
            "passed": random.random(count) < np.where(contaminant, rate, other),
        }
    )


def found(untouched: pd.DataFrame, injected: pd.DataFrame, settings=SETTINGS) -> dict[tuple[str, str], dict]:
    rows = contaminant_rows(untouched, injected, [("psfsize_r", 1.4)], settings)
    return {(str(item["observable"]), str(item["stratum"])): item for item in rows}


def test_the_rate_of_contaminants_is_counted_with_its_interval_everywhere_and_by_condition():
    negatives = table(0.1, 0.02)
    rows = found(negatives, table(0.5, 0.5))
    whole = rows["contaminant_fpr", "all"]
    k = int(negatives.loc[is_contaminant(negatives), "passed"].sum())
    assert whole["value"] == k / 200
    assert (whole["lower"], whole["upper"]) == pytest.approx([float(x) for x in wilson_interval(k, 200, 0.95)])
    assert whole["verdict"] == "PASS" and "contaminants" in str(whole["statistic"])
    halves = [rows["contaminant_fpr", name]["n_anchors"] for name in ("psfsize_r < 1.40", "psfsize_r >= 1.40")]
    assert sum(halves) == 200


def test_too_many_false_positives_fail_and_only_warn_unless_asked():
    assert found(table(0.6, 0.02), table(0.5, 0.5))["contaminant_fpr", "all"]["verdict"] == "FAIL"
    lenient = demo_realism()
    item = found(table(0.6, 0.02), table(0.5, 0.5), lenient)["contaminant_fpr", "all"]
    assert (item["verdict"], item["gates"]) == ("WARN", False)
    assert item["likely_knob"]


def test_a_stratum_warns_unless_strata_decide():
    bad = table(0.6, 0.02)
    assert found(bad, bad)["contaminant_fpr", "psfsize_r < 1.40"]["verdict"] == "WARN"
    both = demo_realism(anchors__minimum_group=30, contaminants__gates=True, strata__gates=True)
    assert found(bad, bad, both)["contaminant_fpr", "psfsize_r < 1.40"]["verdict"] == "FAIL"


@pytest.mark.parametrize(("rate", "verdict"), [(0.5, "PASS"), (0.02, "FAIL"), (0.99, "FAIL")])
def test_arcs_on_contaminants_are_compared_with_arcs_on_other_hosts(rate, verdict):
    item = found(table(0.1, 0.02), table(rate, 0.5))["arcs_on_contaminants", "all"]
    assert item["verdict"] == verdict
    assert item["value"] == pytest.approx(item["injection_value"] - item["anchor_value"])
    assert item["lower"] < item["value"] < item["upper"]


def test_injections_that_share_hosts_widen_the_interval():
    arcs = table(0.5, 0.5)
    shared = arcs.assign(galaxy_id=arcs["galaxy_id"].where(~is_contaminant(arcs), "c" + (arcs.index // 12).astype(str)))
    shared["passed"] = shared.groupby("galaxy_id")["passed"].transform("first")
    widths = [
        item["upper"] - item["lower"]
        for item in (found(arcs, frame)["arcs_on_contaminants", "all"] for frame in (arcs, shared))
    ]
    assert widths[1] > 1.5 * widths[0]


def test_fewer_than_thirty_are_not_evaluated_and_neither_is_what_was_not_scored():
    few = table(0.6, 0.02, count=58)
    assert {item["verdict"] for item in found(few, few).values()} == {"NOT-EVALUATED"}
    rows = unscored_rows("theirs has no score for 3 stamps")
    assert {(item["verdict"], item["gates"]) for item in rows} == {("NOT-EVALUATED", False)}


def test_what_is_scored_is_bounded_and_does_not_depend_on_the_order():
    small = demo_realism(contaminants__maximum_stamps=50)
    negatives = table(0.1, 0.02).assign(galaxy_id=[f"g{row}" for row in range(400)])
    chosen = negatives.iloc[chosen_rows(negatives, "galaxy_id", small)]
    assert is_contaminant(chosen).sum() == 50 and len(chosen) == 100
    turned = negatives.iloc[::-1].reset_index(drop=True)
    again = turned.iloc[chosen_rows(turned, "galaxy_id", small)]
    assert set(again["galaxy_id"]) == set(chosen["galaxy_id"])
