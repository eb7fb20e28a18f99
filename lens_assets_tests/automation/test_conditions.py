"""The condition of every asset, on a lineage of three: what a change, a failure and a refusal request."""

from __future__ import annotations

import dagster as dg

from lens_assets.automation.conditions import stale_only


class Toy:
    """A source whose data version can be set, an asset that can be made to fail, and one below it."""

    def __init__(self) -> None:
        self.fails = False
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor = None

        @dg.observable_source_asset
        def source() -> dg.DataVersion:
            return dg.DataVersion("unused")

        @dg.asset(deps=[source], automation_condition=stale_only())
        def gate() -> None:
            if self.fails:
                self.tick(launch=False)  # a daemon looks while the run is in progress, too
                raise dg.Failure("NO-GO", allow_retries=False)

        @dg.asset(deps=[gate], automation_condition=stale_only())
        def below() -> None: ...

        self.assets = [source, gate, below]
        self.definitions = dg.Definitions(assets=self.assets)

    def change(self, version: str) -> None:
        self.instance.report_runless_asset_event(dg.AssetObservation("source", tags={"dagster/data_version": version}))

    def run(self, *names: str) -> None:
        dg.materialize(self.assets, selection=list(names), instance=self.instance, raise_on_error=False)

    def tick(self, launch: bool = True) -> set[str]:
        result = dg.evaluate_automation_conditions(defs=self.definitions, instance=self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        found = {item.key.to_user_string() for item in result.results if not item.true_subset.is_empty}
        if launch and found:
            self.run(*sorted(found))
        return found


def started() -> Toy:
    toy = Toy()
    toy.change("one")
    toy.run("gate", "below")
    assert toy.tick() == set()
    return toy


def test_a_change_requests_what_is_below_once() -> None:
    toy = started()
    toy.change("two")
    assert toy.tick() == {"gate", "below"}
    assert [toy.tick() for _ in range(3)] == [set()] * 3


def test_the_same_content_again_requests_nothing() -> None:
    toy = started()
    toy.change("one")
    assert [toy.tick() for _ in range(3)] == [set()] * 3


def test_a_refusal_is_asked_once_more_and_then_left_alone() -> None:
    toy = started()
    toy.fails = True
    toy.change("two")
    assert toy.tick() == {"gate", "below"}
    asked = [toy.tick() for _ in range(6)]
    assert sum("gate" in found for found in asked) == 1
    assert asked[-3:] == [set()] * 3


def test_a_new_change_after_a_refusal_is_asked_again() -> None:
    toy = started()
    toy.fails = True
    toy.change("two")
    for _ in range(5):
        toy.tick()
    toy.fails = False
    toy.change("three")
    assert "gate" in toy.tick()
    toy.tick()
    assert [toy.tick() for _ in range(3)] == [set()] * 3


def test_a_failure_in_a_run_by_hand_is_asked_once_more() -> None:
    toy = started()
    toy.fails = True
    toy.run("gate")
    asked = [toy.tick() for _ in range(6)]
    assert sum("gate" in found for found in asked) == 1
