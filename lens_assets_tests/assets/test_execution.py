from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lens_assets.assets.execution import GateClosed, Lineage, materialise
from lens_assets.assets.framework import AssetRun, LensAsset, NoGo, Product, UndeclaredInputError, lens_asset
from lens_assets.campaign.campaign import Campaign
from lens_assets.lake.lake import Lake
from lens_assets.resources.tracking import Tracking


def declare(name: str, function: Callable[[AssetRun], Product], **options: Any) -> LensAsset:
    return lens_asset(group="toy", team="toy", code_version="1", name=name, **options)(function)


def number(value: int) -> Product:
    return Product(pd.DataFrame({"value": [value]}))


def toy_lineage(decision: str = "GO", source: int = 1, threshold: int = 1) -> Lineage:
    """A source, a gate over it, an asset behind the gate and one below that."""

    def gate(run: AssetRun) -> Product:
        value = int(run.table("source")["value"].iloc[0])
        verdict = {"decision": decision, "statement": f"toy verdict on {value}"}
        product = Product(files={"verdict.json": json.dumps(verdict).encode()})
        if decision != "GO":
            raise NoGo(product, "toy NO-GO")
        return product

    assets = [
        declare("source", lambda run: number(source), settings=("splits",)),
        declare("gate", gate, inputs=("source",), settings=("realism",)),
        declare("behind", lambda run: number(7), inputs=("gate",), behind="gate"),
        declare("below", lambda run: number(8), inputs=("behind",), behind="gate"),
        declare("report", lambda run: number(9), inputs=("source",), optional_inputs=("below",)),
    ]
    contents = {"splits": {"source": source}, "realism": {"threshold": threshold}}
    campaign = Campaign("toy", Path(), {}, {}, contents)
    return Lineage(campaign, {asset.name: asset for asset in assets})


def make(lineage: Lineage, lake: Lake, *names: str) -> list[bool]:
    return [materialise(lineage, lake, lineage.assets[name], None, tracking=Tracking.disabled())[1] for name in names]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path, "toy")


def test_what_is_current_is_kept_and_what_changed_is_made(lake: Lake) -> None:
    assert make(toy_lineage(), lake, "source", "gate", "behind") == [True, True, True]
    assert make(toy_lineage(), lake, "source", "gate", "behind") == [False, False, False]
    assert make(toy_lineage(source=2), lake, "source", "gate") == [True, True]


def test_an_input_that_is_missing_is_named(lake: Lake) -> None:
    with pytest.raises(RuntimeError, match="source is not in the lake"):
        make(toy_lineage(), lake, "gate")


def test_reading_an_undeclared_input_is_an_error(lake: Lake) -> None:
    lineage = toy_lineage()
    sneaky = replace(lineage.assets["report"], function=lambda run: Product(run.table("gate")))
    lineage = Lineage(lineage.campaign, {**lineage.assets, "report": sneaky})
    make(lineage, lake, "source")
    with pytest.raises(UndeclaredInputError, match="report reads gate but declares only: source, below"):
        make(lineage, lake, "report")


def test_without_a_verdict_nothing_passes(lake: Lake) -> None:
    make(toy_lineage(), lake, "source")
    with pytest.raises(GateClosed, match="has given no verdict"):
        make(toy_lineage(), lake, "behind")


def test_a_no_go_is_stored_raised_again_and_empties_what_is_below(lake: Lake) -> None:
    make(toy_lineage(), lake, "source", "gate", "behind", "below")
    refused = toy_lineage("NO-GO", threshold=2)
    for _ in range(2):
        with pytest.raises(NoGo, match="toy NO-GO"):
            make(refused, lake, "gate")
    assert json.loads(lake.file("gate", "verdict.json").read_text())["decision"] == "NO-GO"
    assert lake.record("behind") is None
    assert lake.record("below") is None
    with pytest.raises(GateClosed, match="verdict is NO-GO: toy verdict on 1"):
        make(refused, lake, "behind")


def test_not_evaluated_is_not_go(lake: Lake) -> None:
    make(toy_lineage(), lake, "source")
    with pytest.raises(NoGo):
        make(toy_lineage("NOT-EVALUATED"), lake, "gate")
    with pytest.raises(GateClosed, match="NOT-EVALUATED"):
        make(toy_lineage("NOT-EVALUATED"), lake, "behind")


@pytest.mark.parametrize("changed", [toy_lineage(source=2), toy_lineage(threshold=2)])
def test_a_go_for_other_inputs_does_not_pass(lake: Lake, changed: Lineage) -> None:
    make(toy_lineage(), lake, "source", "gate")
    with pytest.raises(GateClosed, match="GO was given for other inputs"):
        make(changed, lake, "behind")


def test_a_rebuilt_input_closes_the_gate_until_it_is_judged_again(lake: Lake) -> None:
    make(toy_lineage(), lake, "source", "gate", "behind")
    changed = toy_lineage(source=3)
    make(changed, lake, "source")
    with pytest.raises(GateClosed, match="no longer current: gate"):
        make(changed, lake, "behind")
    make(changed, lake, "gate", "behind")


def test_a_verdict_that_turns_while_an_asset_computes_stops_its_write(lake: Lake) -> None:
    lineage = toy_lineage()
    make(lineage, lake, "source", "gate")

    def turn(run: AssetRun) -> Product:
        with pytest.raises(NoGo):
            make(toy_lineage("NO-GO", threshold=2), lake, "gate")
        return number(7)

    slow = replace(lineage.assets["behind"], function=turn)
    with pytest.raises(GateClosed):
        make(Lineage(lineage.campaign, {**lineage.assets, "behind": slow}), lake, "behind")
    assert lake.record("behind") is None


def test_an_optional_input_may_be_absent_and_its_arrival_makes_stale(lake: Lake) -> None:
    lineage = toy_lineage()
    make(lineage, lake, "source", "report")
    assert lake.require("report").provenance.upstream["below"] == "absent"
    make(lineage, lake, "gate", "behind", "below")
    assert make(lineage, lake, "report") == [True]


def test_scratch_folders_are_removed(lake: Lake, tmp_path: Path) -> None:
    make(toy_lineage(), lake, "source")
    assert list((tmp_path / "_scratch").iterdir()) == []
