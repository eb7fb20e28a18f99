"""The suites of the injections pass on good tables and fail, by name, on damaged ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lens_assets.campaign.campaign import Campaign
from lens_assets.checks.great_expectations import validate
from lens_assets.checks.suites.injection import SUITES
from lens_assets.lensing.injection import render_injections
from lens_assets_tests.assets.test_injection import plan_of, small_campaign


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return small_campaign()


@pytest.fixture(scope="module")
def tables(campaign: Campaign) -> dict[str, pd.DataFrame]:
    plan = plan_of(campaign).table
    stamps = np.full((len(plan), 3, 101, 101), 0.001, dtype=np.float32)
    truth = render_injections(plan, stamps, campaign.injection).truth
    scores = plan[["injection_id", "galaxy_id", "condition", "theta_e_bin", "status"]]
    scores = scores.assign(host_score=0.1, injected_score=np.linspace(0, 1, len(plan)))
    return {
        "injection_plan": plan,
        "injection_pilot": truth[truth["purpose"] == "pilot"],
        "injection_batches": truth[truth["purpose"] == "grid"],
        "injection_scores": scores,
    }


@pytest.mark.parametrize("name", list(SUITES))
def test_a_good_table_passes(name: str, tables: dict[str, pd.DataFrame], campaign: Campaign) -> None:
    assert [outcome for outcome in validate(tables[name], SUITES[name], campaign) if not outcome.passed] == []


def test_a_condition_without_hosts_passes(tables: dict[str, pd.DataFrame], campaign: Campaign) -> None:
    outcomes = validate(tables["injection_batches"][:0], SUITES["injection_batches"], campaign)
    assert all(outcome.passed for outcome in outcomes)


@pytest.mark.parametrize(
    ("name", "expected"), [(name, key) for name, suite in SUITES.items() for key in suite.corruptions]
)
def test_a_damaged_table_fails_by_name(
    name: str, expected: str, tables: dict[str, pd.DataFrame], campaign: Campaign
) -> None:
    outcomes = validate(SUITES[name].corruptions[expected](tables[name].copy()), SUITES[name], campaign)
    assert expected in {f"{outcome.expectation}:{outcome.column}" for outcome in outcomes if not outcome.passed}
    assert not [outcome for outcome in outcomes if outcome.error]
