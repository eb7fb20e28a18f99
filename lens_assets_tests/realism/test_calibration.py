"""The one shift of the source magnitudes: recovered from arcs that were made with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lens_assets.lensing.injection import render_injections
from lens_assets.lensing.plan import draw_parameters
from lens_assets.realism.calibration import TABLE_COLUMNS, unfitted
from lens_assets.realism.examine import StampTable, observe
from lens_assets_tests.realism.pilot import THETA_E_ARCSEC, edited, small_survey

BRIGHT, FAINT = -1.4, -0.6


@pytest.fixture(scope="module")
def survey():
    return small_survey(4, 100, 0, 21, {"calibration.draws": 120, "calibration.step_mag": 1.0})


@pytest.fixture(scope="module")
def narrow(survey):
    """Injection settings that search two magnitudes."""
    return edited(survey.injection, {"brightness.fitted_shift_mag.maximum": 0.0})


def fitted(survey, injection, anchors):
    with_anchors = replace(survey)
    with_anchors.__dict__.update({"anchors": anchors, "hosts": survey.hosts})
    return with_anchors.calibrated(injection)


def made_with(survey, shift_mag, seed=77):
    """Arcs of the prior of the injections, brighter by a shift, as if the sky had made them."""
    stamps, hosts = survey.hosts
    rows = draw_parameters(hosts, 160, survey.injection, seed, shift_mag, THETA_E_ARCSEC, "sky")
    rendered = render_injections(rows, stamps[survey.stamp_of(rows)], survey.injection)
    seen = observe(StampTable(rendered.truth, lambda chosen: rendered.stamps[chosen]), survey.realism)
    return seen.assign(half="calibration")


@pytest.fixture(scope="module")
def anchors(survey):
    return made_with(survey, BRIGHT)


@pytest.fixture(scope="module")
def fit(survey, narrow, anchors):
    return fitted(survey, narrow, anchors)


def test_the_shift_that_made_the_arcs_is_recovered(survey, narrow, fit):
    assert fit.mode == "fitted" and not fit.at_limit
    fits = [fit, *(fitted(survey, narrow, made_with(survey, BRIGHT, seed)) for seed in (78, 79))]
    # One sky of 160 arcs fixes the shift to about 0.25 mag, which is what the intervals say.
    assert np.mean([item.shift_mag for item in fits]) == pytest.approx(BRIGHT, abs=0.35)
    assert all(item.lower_mag < BRIGHT < item.upper_mag < item.lower_mag + 1.5 for item in fits)
    # The trial draws are the same, so that what they scatter drops out of the difference.
    fainter = fitted(survey, narrow, made_with(survey, FAINT))
    assert fainter.shift_mag - fit.shift_mag == pytest.approx(FAINT - BRIGHT, abs=0.35)


def test_brighter_sources_have_arcs_of_higher_signal_to_noise(fit):
    curve = fit.curve
    assert curve["magnitude_shift_mag"].tolist() == [-2.0, -1.0, 0.0]
    assert curve["log_snr_q50"].is_monotonic_decreasing
    assert curve["anchor_log_snr_q50"].nunique() == 1
    assert curve["visible"].between(0.2, 1).all()


def test_the_table_is_one_row_of_the_declared_columns(fit):
    table = fit.table()
    assert list(table) == list(TABLE_COLUMNS) and len(table) == 1
    assert 60 < table["n_draws"].iloc[0] <= 120


def test_arcs_far_brighter_than_the_range_end_at_its_limit(survey, narrow, anchors):
    short = edited(narrow, {"brightness.fitted_shift_mag.minimum": -0.5})
    found = fitted(survey, short, anchors.assign(arc_snr=anchors["arc_snr"] * 300.0))
    assert found.at_limit and found.shift_mag == -0.5


@pytest.mark.parametrize("mode,shift", [("pinned", -1.3), ("not_fitted", 0.0)])
def test_a_shift_that_nothing_was_fitted_for_says_so(mode, shift):
    row = unfitted(mode, shift, 5).table().iloc[0]
    assert (row["mode"], row["magnitude_shift_mag"], row["n_draws"]) == (mode, shift, 0)
    assert row["lower_mag"] == row["upper_mag"] == shift and not row["at_limit"]
    assert np.isnan(unfitted(mode, shift, 5).curve["objective"]).all()
