"""Six ways to make wrong injections, each by editing injection settings alone: the gate stops every one, by its name.

Anchors and hosts come from the plain ray shooter of `lens_assets_tests.realism.mock`; injections are rendered by the
project from edited settings, and judged under the demo's thresholds, which are those of the release.
"""

from __future__ import annotations

from typing import Any

import pytest

from lens_assets.campaign.campaign import load_campaign
from lens_assets.realism.verdict import Verdict
from lens_assets_tests.realism.pilot import SmallSurvey, small_survey

MORE_INJECTIONS = 420
"""Of sources behind the centre: most make rings, which hide in their hosts."""

FAULTS: dict[str, tuple[dict[str, Any], float, int, set[str]]] = {
    "sources 2 mag too bright, calibration pinned": ({}, -2.0, 240, {"arc_snr", "arc_surface_brightness"}),
    "PSF 1.3 times too wide": ({"renderer.psf_fwhm_scale": 1.3}, 0.0, 240, {"arc_width_over_psf"}),
    "colours 0.5 mag too red": (
        {"source.g_minus_r.mean": 1.0, "source.r_minus_z.mean": 0.9}, 0.0, 240, {"arc_g_minus_r", "arc_r_minus_z"},
    ),
    "gain 100 times too small": ({"noise.gain_scale": 0.01}, 0.0, 240, {"arc_noise_ratio"}),
    "noise that the host has already": (
        {"noise.mode": "source_shot_and_sky"}, 0.0, 240, {"background_g", "background_r", "background_z"},
    ),
    "every source behind the centre": (
        {"source.position.mode": "centred"}, 0.0, MORE_INJECTIONS, {"tangential_asymmetry"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def survey() -> SmallSurvey:
    return small_survey(240, 150, 240, 5)


def failed(verdict: Verdict) -> set[str]:
    return {str(item["observable"]) for item in verdict.rows if item["gates"] and item["verdict"] == "FAIL"}


@pytest.mark.parametrize("seed", [1, 2])
def test_right_settings_end_go(survey: SmallSurvey, seed: int) -> None:
    verdict = survey.verdict({"seed": seed}, 0.0)
    assert verdict.decision == "GO", verdict.statement


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_no_go_and_the_verdict_names_it(survey: SmallSurvey, fault: str) -> None:
    edits, shift_mag, injections, observables = FAULTS[fault]
    verdict = survey.verdict(edits, shift_mag, injections)
    assert verdict.decision == "NO-GO"
    assert observables <= failed(verdict), verdict.statement
    for name in observables:
        assert f"{name} (all)" in verdict.statement
    assert "look at injection." in verdict.statement


def test_the_demo_is_judged_as_the_release_is() -> None:
    """Only the number of calibration draws and whether graders are waited for may differ."""
    demo, release = (load_campaign(name).realism.model_dump() for name in ("demo", "dr10"))
    for settings in (demo, release):
        del settings["calibration"]["draws"], settings["panel"]["required"]
    assert demo == release
