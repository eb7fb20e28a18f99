"""What the rows decide: FAIL is NO-GO, what could not be evaluated is never GO, warnings do not decide."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lens_assets.realism.battery import as_table, decide, row, run_battery
from lens_assets.realism.verdict import Verdict, describe, judge
from lens_assets_tests.realism.tables import demo_realism, draw_anchors, draw_background, draw_observables

INPUTS = {"injection_pilot": "a1", "anchor_observables": "b2"}


def verdict_of(*rows: dict[str, object]) -> Verdict:
    return judge("realism_gate", as_table(rows), INPUTS)


def test_all_passed_is_go():
    verdict = verdict_of(row("arc_snr", "PASS"), row("arc_g_minus_r", "PASS"))
    assert verdict.decision == "GO" and verdict.reasons == ()
    assert verdict.statement.startswith("GO: 2 deciding comparisons (2 PASS)")


def test_one_failure_is_no_go_and_says_which_by_how_much_where_and_what_to_look_at():
    failed = row(
        "arc_snr", "FAIL", statistic="ratio of the 50% quantile", value=2.61, anchor_value=20.0, injection_value=52.2,
        requirement="between 0.5 and 2",
    )  # fmt: skip
    verdict = verdict_of(row("arc_g_minus_r", "PASS"), failed)
    assert verdict.decision == "NO-GO"
    (reason,) = verdict.reasons
    for part in (
        "arc_snr (all)",
        "2.61",
        "anchors 20",
        "injections 52.2",
        "between 0.5 and 2",
        "injection.source.mag_r",
    ):
        assert part in reason
    assert reason in verdict.statement


def test_a_failure_outweighs_what_is_missing():
    assert verdict_of(row("arc_snr", "FAIL", value=3.0), row("panel", "NOT-EVALUATED")).decision == "NO-GO"


@pytest.mark.parametrize("missing", ["arc_snr", "panel", "effective_injections"])
def test_what_was_not_evaluated_is_never_go(missing):
    verdict = verdict_of(row("arc_g_minus_r", "PASS"), row(missing, "NOT-EVALUATED", requirement="at least 30"))
    assert verdict.decision == "NOT-EVALUATED"
    assert missing in verdict.reasons[0] and "at least 30" in verdict.reasons[0]


def test_rows_that_do_not_decide_do_not_decide():
    warnings = [row("probe_core", "WARN", gates=False), row("panel", "NOT-EVALUATED", gates=False)]
    assert verdict_of(row("arc_snr", "PASS"), *warnings).decision == "GO"
    assert verdict_of(*warnings).decision == "NOT-EVALUATED"
    assert verdict_of().reasons == ("nothing was compared",)


def test_what_warns_is_named_with_the_verdict():
    warned = [
        *(row("frechet", "WARN", gates=False, stratum=f"layer {layer}") for layer in "ab"),
        *(row("arc_snr", "WARN", gates=False, stratum=f"psfsize_r part {part}") for part in range(3)),
        row("probe_core", "WARN", gates=False),
    ]
    verdict = verdict_of(row("arc_snr", "PASS"), *warned, row("probe_radial", "PASS", gates=False))
    assert verdict.statement.endswith(
        "Warned without deciding: frechet (layer a, layer b), arc_snr (3 strata), probe_core."
    )
    assert "Warned" not in verdict_of(row("arc_snr", "PASS")).statement


def test_a_verdict_survives_the_disk_without_nan():
    verdict = verdict_of(row("arc_snr", "FAIL", value=np.nan, statistic="x"))
    assert "NaN" not in verdict.to_json()
    assert Verdict.from_json(verdict.to_json()) == verdict
    assert json.loads(verdict.to_json())["decision"] == "NO-GO"


@pytest.fixture(scope="module")
def settings():
    return demo_realism(strata__columns=["psfsize_r"])


def battery(settings, anchors=200, injections=300, seed=0, change=None, **background):
    random = np.random.default_rng(seed)
    first, second = draw_anchors(anchors, random), draw_observables(injections, random)
    if change is not None:
        change(second)
    return run_battery(first, second, settings, draw_background(80, random, **background))


def test_fewer_than_thirty_judging_anchors_are_not_evaluated(settings):
    found = battery(settings, anchors=48)
    assert (found.rows["observable"] == "anchors").any()
    rows = found.rows.set_index("observable")
    assert rows.loc["anchors", "n_anchors"] == 28
    compared = [*settings.distributions.observables, "arc_snr", "arc_g_minus_r", "arc_r_minus_z"]
    assert (rows.loc[compared, "verdict"] == "NOT-EVALUATED").all()
    assert judge("realism_gate", found.rows, INPUTS).decision == "NOT-EVALUATED"


def test_thirty_judging_anchors_are_evaluated(settings):
    assert judge("realism_gate", battery(settings, anchors=51).rows, INPUTS).decision == "GO"


def test_an_observable_that_thirty_anchors_lack_is_not_evaluated(settings):
    random = np.random.default_rng(0)
    anchors = draw_anchors(100, random)
    anchors.loc[anchors.index[:60], "arc_width_over_psf"] = np.nan
    found = run_battery(anchors, draw_observables(300, random), settings, draw_background(80, random))
    rows = found.rows[found.rows["stratum"] == "all"].set_index("observable")
    assert rows.loc["arc_width_over_psf", "verdict"] == "NOT-EVALUATED"
    assert rows.loc["arc_radius_arcsec", "verdict"] == "PASS"
    assert judge("realism_gate", found.rows, INPUTS).decision == "NOT-EVALUATED"


def test_injections_that_barely_overlap_never_end_go_yet_their_failures_show(settings):
    def far_and_symmetric(injections):
        injections["host_core_mag_r"] += 1.5
        injections["host_halo_mag_z"] += 1.5
        injections["tangential_asymmetry"] *= 0.4

    found = battery(settings, change=far_and_symmetric)
    rows = found.rows[found.rows["stratum"] == "all"].set_index("observable")
    assert rows.loc["effective_injections", "value"] < settings.reweighting.minimum_effective
    assert rows.loc["effective_injections", "verdict"] == "NOT-EVALUATED"
    assert rows.loc["tangential_asymmetry", "verdict"] == "FAIL"
    assert judge("realism_gate", found.rows, INPUTS).decision == "NO-GO"


def test_no_injection_that_can_be_seen_is_not_evaluated(settings):
    def hide(injections):
        injections["arc_snr"] = 1.0

    assert judge("realism_gate", battery(settings, change=hide).rows, INPUTS).decision == "NOT-EVALUATED"


def test_an_arc_that_the_host_shows_alone_is_no_injection(settings):
    def hosts_with_arcs(injections):
        injections.loc[:99, "host_visible"] = True

    assert len(battery(settings, change=hosts_with_arcs).compared.injections) == 200


def redder_in_good_seeing(injections):
    injections["arc_g_minus_r"] += np.where(injections["psfsize_r"] < 1.33, 0.8, -0.8)


def test_a_stratum_that_fails_warns_and_does_not_decide_unless_asked():
    warn = battery(demo_realism(strata__columns=["psfsize_r"]), change=redder_in_good_seeing).rows
    in_strata = warn[(warn["stratum"] != "all") & (warn["observable"] == "arc_g_minus_r")]
    assert set(in_strata["verdict"]) == {"WARN"} and not in_strata["gates"].any()
    assert not warn.loc[warn["stratum"] != "all", "verdict"].eq("FAIL").any()
    gate = battery(demo_realism(strata__columns=["psfsize_r"], strata__gates=True), change=redder_in_good_seeing).rows
    decided = gate[(gate["stratum"] != "all") & (gate["observable"] == "arc_g_minus_r")]
    assert set(decided["verdict"]) == {"FAIL"} and decided["gates"].all()
    verdict = judge("realism_gate", gate[gate["observable"] == "arc_g_minus_r"], INPUTS)
    assert any("psfsize_r <" in reason for reason in verdict.reasons)


def test_holm_decides_only_what_is_undecided():
    rows = [row("a", "", p_value=0.001), row("b", "NOT-EVALUATED"), row("c", "", p_value=0.2)]
    assert [item["verdict"] for item in decide(rows, 0.05)] == ["FAIL", "NOT-EVALUATED", "PASS"]
    assert "2 tests at family-wise 0.0500" in str(rows[0]["requirement"])


def test_a_description_of_what_is_missing_says_how_much_there_was():
    text = describe(as_table([row("anchors", "NOT-EVALUATED", n_anchors=12, requirement="at least 30")]).iloc[0])
    assert "12 anchors" in text and "at least 30" in text
