"""Evidence of the release: each condition by itself, and one decision of all."""

import numpy as np
import pandas as pd
import pytest

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.selection_function import SensitivityVariant
from lens_assets.selection import release, sensitivity, stability
from lens_assets_tests.selection.synthetic import settings_of

SAME = SensitivityVariant(
    name="same", source_mag_shift=0.0, colour_shift=0.0, size_factor=1.0, psf_factor=1.0, gain_factor=1.0,
    axis_ratio_from_host=False,
)  # fmt: skip


def _row(verdict: str, gates: bool = True) -> dict[str, object]:
    return release.evidence("something", "0.2", "<= 0.1", verdict, gates, "why" if not gates else "")


def test_one_failure_is_no_go_and_names_the_condition():
    verdict = release.judge_release([_row("PASS"), _row("FAIL"), _row("NOT-EVALUATED")], {"a": "1"})
    assert verdict.decision == "NO-GO"
    assert verdict.reasons == ("something: FAIL, found 0.2, required <= 0.1",)
    assert verdict.inputs == {"a": "1"}


def test_what_was_not_evaluated_is_not_go():
    assert release.judge_release([_row("PASS"), _row("NOT-EVALUATED")], {}).decision == "NOT-EVALUATED"
    assert release.judge_release([], {}).decision == "NOT-EVALUATED"
    assert release.judge_release([_row("PASS", gates=False)], {}).decision == "NOT-EVALUATED"


def test_an_accepted_warning_passes_and_is_printed():
    verdict = release.judge_release([_row("PASS"), _row("WARN", gates=False)], {})
    assert verdict.decision == "GO"
    assert "published with a stated reason: something" in verdict.statement


def test_split_evidence_reads_separation_and_leaves_balance_alone():
    checks = pd.DataFrame({"check": ["ids", "type"], "kind": ["separation", "balance"], "passed": [True, False]})
    assert release.split_evidence(checks)["verdict"] == "PASS"
    broken = release.split_evidence(checks.assign(passed=False))
    assert broken["verdict"] == "FAIL"
    assert broken["reason"] == "ids"
    assert release.split_evidence(checks.iloc[1:])["verdict"] == "NOT-EVALUATED"


def test_artefacts_at_the_top_block():
    top = pd.DataFrame({"maskbits": [0, 2, 0, 0], "zero_fraction": [0.0, 0.0, 0.3, 0.0]})
    assert release.artefact_evidence(top, 0.5)["verdict"] == "PASS"
    assert release.artefact_evidence(top, 0.4)["verdict"] == "FAIL"
    assert release.artefact_evidence(top.iloc[:0], 0.4)["verdict"] == "NOT-EVALUATED"


def test_realism_of_the_full_run_is_decided_by_the_deciding_rows():
    battery = pd.DataFrame({"observable": ["arc_snr", "arc_snr"], "verdict": ["PASS", "FAIL"], "gates": [True, False]})
    missing = release.realism_evidence(battery.assign(gates=True, verdict="NOT-EVALUATED"))
    assert missing["verdict"] == "NOT-EVALUATED"
    assert release.realism_evidence(battery)["verdict"] == "PASS"
    failed = release.realism_evidence(battery.assign(verdict="FAIL"))
    assert (failed["verdict"], failed["reason"]) == ("FAIL", "arc_snr")


def test_a_survey_without_truth_is_not_evaluated_and_says_on_whom_it_relies():
    row = release.missing_closure_evidence("demo")
    assert row["verdict"] == "NOT-EVALUATED"
    assert "campaign demo: state closure.relied_on_report" in row["reason"]


def _plan(n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "injection_id": [f"i{k}" for k in range(n)], "galaxy_id": [f"g{k % 20}" for k in range(n)],
            "source_mag_r": 24.0, "source_g_minus_r": 0.4, "source_r_minus_z": 0.3,
            "source_half_light_radius_arcsec": 0.2, "lens_axis_ratio": 0.7, "shape_e1": 0.2, "shape_e2": 0.0,
            "shape_r": [0.0, 1.0] * (n // 2), "lens_density_slope": 2.0, "shear_g1": 0.03, "shear_g2": -0.01,
            "lens_x_arcsec": 0.1, "lens_y_arcsec": 0.0, "source_x_arcsec": 0.3, "source_y_arcsec": -0.2,
            "source_clumps": 2, "source_clump_flux_fraction": 0.3, "source_sersic_index": 1.5,
        }
    )  # fmt: skip


def test_a_threshold_on_few_objects_is_said_with_the_verdict_and_does_not_decide():
    table = pd.DataFrame(
        {"detector": ["a", "a", "b"], "threshold": "fpr_0.05", "threshold_sufficient": [False, False, True],
         "threshold_score": 0.68, "threshold_score_lower": 0.43, "threshold_score_upper": 0.78}
    )  # fmt: skip
    first, second = release.threshold_evidence(table, "fpr_0.05")
    assert (first["verdict"], second["verdict"]) == ("WARN", "PASS") and not first["gates"]
    assert first["found"] == "insufficient, score 0.68 [0.43, 0.78]"
    passed = release.evidence("x", "1", "1", "PASS")
    verdict = release.judge_release([passed, first, second], {})
    assert verdict.decision == "GO"
    assert "published with a stated reason: objects above fpr_0.05 (a): insufficient, score 0.68" in verdict.statement


def test_variants_move_what_they_name_and_nothing_else():
    plan = _plan(4)
    pd.testing.assert_frame_equal(sensitivity.altered_plan(plan, SAME), plan)
    change = {"source_mag_shift": -0.5, "colour_shift": 0.2, "size_factor": 1.3, "axis_ratio_from_host": True}
    moved = sensitivity.altered_plan(plan, SAME.model_copy(update=change))
    assert moved["source_mag_r"].tolist() == [23.5] * 4
    assert moved["source_g_minus_r"].to_numpy() == pytest.approx(0.6)
    assert moved["source_half_light_radius_arcsec"].to_numpy() == pytest.approx(0.26)
    assert moved["lens_axis_ratio"].to_numpy() == pytest.approx([0.7, 0.8 / 1.2] * 2)
    assert plan["source_mag_r"].tolist() == [24.0] * 4


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({"density_slope_shift": 0.1}, {"lens_density_slope": 2.1}),
        ({"singular_sphere": True}, {"lens_axis_ratio": 1.0, "shear_g1": 0.0, "shear_g2": 0.0}),
        ({"source_offset_factor": 2.0}, {"source_x_arcsec": 0.5, "source_y_arcsec": -0.4}),
        ({"source_light": "smooth"}, {"source_clumps": 0, "source_clump_flux_fraction": 0.0}),
        (
            {"source_light": "exponential"},
            {"source_clumps": 0, "source_clump_flux_fraction": 0.0, "source_sersic_index": 1.0},
        ),
    ],
)
def test_mass_and_source_variants_move_exactly_their_columns(change, moved):
    plan = _plan(4)
    altered = sensitivity.altered_plan(plan, SAME.model_copy(update=change))
    for name in plan.columns:
        if name in moved:
            assert altered[name].to_numpy() == pytest.approx(moved[name])
        else:
            assert altered[name].tolist() == plan[name].tolist()


def test_exchanged_shapes_follow_no_host_and_are_the_same_shapes():
    rng = np.random.default_rng(2)
    hosts = rng.uniform(0.5, 1.0, 400)
    plan = pd.concat([_plan(4)] * 100, ignore_index=True)
    plan = plan.assign(
        injection_id=[f"i{row}" for row in range(400)], lens_axis_ratio=np.clip(hosts + rng.normal(0, 0.02, 400), 0, 1),
        lens_angle_deg=rng.uniform(0, 180, 400),
    )  # fmt: skip
    altered = sensitivity.altered_plan(plan, SAME.model_copy(update={"shapes_exchanged": True}))
    shapes = ["lens_axis_ratio", "lens_angle_deg"]
    pd.testing.assert_frame_equal(altered.drop(columns=shapes), plan.drop(columns=shapes))
    assert sorted(map(tuple, altered[shapes].to_numpy())) == sorted(map(tuple, plan[shapes].to_numpy()))
    assert (altered["lens_angle_deg"] != plan["lens_angle_deg"]).all()
    assert np.corrcoef(plan["lens_axis_ratio"], hosts)[0, 1] > 0.9
    assert abs(np.corrcoef(altered["lens_axis_ratio"], hosts)[0, 1]) < 0.15
    shuffled = sensitivity.altered_plan(plan[::-1], SAME.model_copy(update={"shapes_exchanged": True}))
    pd.testing.assert_frame_equal(shuffled[::-1], altered)


def test_renderer_variants_change_the_renderer_alone():
    published = load_campaign("demo").injection
    assert sensitivity.altered_settings(published, SAME) == published
    for change, field, value in (
        ({"psf_factor": 1.1}, "psf_fwhm_scale", 1.1),
        ({"psf_moffat_beta": 2.5}, "psf_moffat_beta", 2.5),
        ({"inner_images": "suppressed"}, "inner_images", "suppressed"),
    ):
        altered = sensitivity.altered_settings(published, SAME.model_copy(update=change))
        assert getattr(altered.renderer, field) == value
        assert altered.model_copy(update={"renderer": published.renderer}) == published


def test_variants_that_cannot_be_rendered_are_refused():
    content = SAME.model_dump()
    with pytest.raises(ValueError, match="psf_moffat_beta: expected one of"):
        SensitivityVariant.model_validate(content | {"psf_moffat_beta": 3.0})
    with pytest.raises(ValueError, match="at most one of them"):
        SensitivityVariant.model_validate(content | {"singular_sphere": True, "axis_ratio_from_host": True})


def test_a_subsample_is_the_same_rows_whatever_else_is_planned():
    plan = _plan(100)
    first = sensitivity.subsample(plan, 20, 7)
    assert len(first) == 20
    shuffled = sensitivity.subsample(plan.sample(frac=1, random_state=1), 20, 7)
    assert sorted(shuffled["injection_id"]) == sorted(first["injection_id"])


def test_accepted_variants_warn_and_others_fail():
    report = pd.DataFrame(
        {"detector": "d", "kind": "prior", "variant": ["a", "b", "c"], "p_value": np.nan,
         "shift": [0.3, 0.3, 0.0], "shift_lower_95": 0.0,
         "shift_upper_95": 0.4, "maximum_shift": 0.1, "verdict": ["UNSTABLE", "UNSTABLE", "STABLE"]}
    )  # fmt: skip
    rows = release.sensitivity_evidence(report, ("a",), "because")
    assert [(row["verdict"], row["gates"]) for row in rows] == [("WARN", False), ("FAIL", True), ("PASS", True)]
    assert rows[0]["reason"] == "because"


def _report_row(kind: str, verdict: str, **values: object) -> pd.DataFrame:
    row = {"detector": "d", "kind": kind, "variant": kind, "verdict": verdict, "p_value": np.nan}
    return pd.DataFrame([row | stability.not_evaluated(0.1) | {"verdict": verdict} | values])


@pytest.mark.parametrize(
    ("kind", "verdict", "expected"),
    [
        ("sky_regions", "UNSTABLE", ("FAIL", True, "")),
        ("sky_regions", "NOT-EVALUATED", ("NOT-EVALUATED", True, release.REGIONS_NEEDED)),
        ("calibration", "UNSTABLE", ("FAIL", True, "")),
        ("calibration", "NOT-EVALUATED", ("NOT-EVALUATED", False, release.NOT_DECIDING["calibration"])),
        ("detector", "UNSTABLE", ("WARN", False, release.NOT_DECIDING["detector"])),
        ("detector", "STABLE", ("PASS", False, release.NOT_DECIDING["detector"])),
    ],
)
def test_regions_and_calibrations_decide_and_other_detectors_are_said(kind, verdict, expected):
    report = _report_row(kind, verdict, p_value=0.002 if kind == "sky_regions" else np.nan)
    row = release.sensitivity_evidence(report, (), "", (), 0.01)[0]
    assert (row["verdict"], row["gates"], row["reason"]) == expected
    if kind == "sky_regions":
        assert row["expected"] == "p >= 0.01" and str(row["found"]).startswith("p = 0.002")


def test_accepting_a_variant_needs_a_written_reason():
    content = settings_of().release.model_dump(mode="json")
    with pytest.raises(ValueError, match="expected a written reason"):
        settings_of(release=content | {"acceptance_reason": " "})


def test_what_an_external_finder_has_not_scored_is_said_and_decides_only_for_the_primary():
    unscored = {"detector": "theirs", "kind": "prior", "variant": "redder", "p_value": np.nan}
    report = pd.DataFrame([unscored | stability.not_evaluated(0.1)])
    closure = pd.DataFrame(
        {"detector": ["theirs"], "bias": [np.nan], "standard_error": [np.nan], "verdict": ["NOT-EVALUATED"],
         "reason": ["no score"]}
    )  # fmt: skip
    for optional, decision in ((("theirs",), "GO"), ((), "NOT-EVALUATED")):
        rows = release.sensitivity_evidence(report, (), "", optional) + release.closure_evidence(closure, 0.1, optional)
        assert [row["verdict"] for row in rows] == ["NOT-EVALUATED"] * 2
        assert release.judge_release([_row("PASS"), *rows], {}).decision == decision
    assert rows[0]["reason"] == ""
    assert release.sensitivity_evidence(report, (), "", ("theirs",))[0]["reason"] == release.UNSCORED


def test_a_host_that_was_trained_on_blocks_by_name():
    manifest = pd.DataFrame(
        {"galaxy_id": ["a", "b", "c", "d"], "split": ["test", "test", "train", "test"], "label": [0, 0, 0, 1]}
    )
    assert release.host_evidence({"a", "b"}, manifest)["verdict"] == "PASS"
    for hosts, named in (({"a", "c"}, "c"), ({"a", "d"}, "d"), ({"a", "z"}, "z")):
        row = release.host_evidence(hosts, manifest)
        assert (row["verdict"], row["reason"]) == ("FAIL", named)
    assert release.host_evidence(set(), manifest)["verdict"] == "NOT-EVALUATED"
