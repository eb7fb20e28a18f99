"""Remedies: what they raise and where is seen, what they do not raise is not praised, thresholds widen the claim."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lens_assets.figures import selection_function as figures
from lens_assets.selection import remedies
from lens_assets.selection.completeness import Threshold, trials_of
from lens_assets_tests.selection.synthetic import injections, settings_of

SETTINGS = settings_of()
INTERVALS = SETTINGS.intervals.model_copy(update={"bootstrap_resamples": 300})
EXACT = Threshold("fpr_0.05", "fpr", 0.5, 0.5, 0.5, True)
NAMES = ("plain", "masked")


@pytest.fixture(scope="module")
def before() -> pd.DataFrame:
    return trials_of(*injections(SETTINGS.grid), SETTINGS.grid, "all_draws")[0]


def helped(before: pd.DataFrame, gain: float, below: float, seed: int = 1) -> pd.DataFrame:
    """Trials in which a share of the missed at small Einstein radii is found."""
    random = np.random.default_rng(seed)
    won = (before["theta_e_arcsec"] < below) & (random.random(len(before)) < gain)
    return before.assign(injected_score=np.where(won, 0.9, before["injected_score"]))


def table(before: pd.DataFrame, after: pd.DataFrame, cut: Threshold = EXACT) -> pd.DataFrame:
    return remedies.remedy_table(NAMES, (before, after), (EXACT, cut), SETTINGS.grid, INTERVALS, 1)


def test_the_shift_is_found_where_it_is(before):
    found = table(before, helped(before, 0.3, 1.3))
    total, bins = found.iloc[0], found.iloc[1:]
    assert np.isnan(total["theta_e_arcsec"]) and total["verdict"] == remedies.RAISES
    assert bins["theta_e_arcsec"].tolist() == list(SETTINGS.grid.theta_e_arcsec.centres)
    small = bins["theta_e_arcsec"] < 1.2
    assert (bins.loc[small, "shift"] > 0.1).all()
    assert (bins.loc[~small & (bins["theta_e_arcsec"] > 1.4), "shift"] == 0).all()
    assert set(bins.loc[bins["shift"] == 0, "verdict"]) == {remedies.UNDECIDED}
    assert found["lost"].eq(0).all()
    assert np.allclose(found["completeness_after"] - found["completeness_before"], found["shift"])
    assert total["n"] == bins["n"].sum() == len(before)


def test_a_remedy_that_harms_says_so_and_rows_without_a_score_are_no_pair(before):
    assert table(helped(before, 0.3, 9.0), before).iloc[0]["verdict"] == remedies.LOWERS
    part = table(before, helped(before, 0.3, 1.3).iloc[::2])
    assert part.iloc[0]["n"] == len(before.iloc[::2])


def test_detectors_that_only_differ_by_chance_are_rarely_told_apart(before):
    """Two detectors of one law on the same injections: the whole table holds 0 in all but about 5% of the tries."""
    praised = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        few = before.sample(600, random_state=seed).reset_index(drop=True)
        one, two = (few.assign(injected_score=np.where(random.random(600) < 0.4, 0.9, 0.1)) for _ in range(2))
        praised += bool((table(one, two)["verdict"] != remedies.UNDECIDED).any())
    assert praised <= 9


def test_the_thresholds_own_uncertainty_can_take_the_claim_back(before):
    after = helped(before, 0.02, 9.0)
    after["injected_score"] -= np.where(np.random.default_rng(2).random(len(after)) < 0.3, 0.35, 0.0)
    after["injected_score"] += 0.35 * (after["injected_score"] > 0.5)
    sure, loose = (
        table(before, after, cut).iloc[0] for cut in (EXACT, Threshold("fpr_0.05", "fpr", 0.5, 0.5, 1.0, True))
    )
    assert sure["verdict"] == remedies.RAISES
    assert loose["verdict"] == remedies.UNDECIDED
    assert loose["shift_lower_95"] == sure["shift_lower_95"] > 0 > loose["total_lower_95"]


def test_a_campaign_without_remedies_has_an_empty_table_of_the_same_columns(before):
    assert list(remedies.no_remedies().columns) == list(table(before, before).columns) == list(remedies.COLUMNS)


def test_the_figure_shows_each_remedy(before):
    found = pd.concat([table(before, helped(before, 0.3, 1.3)), table(before, before).assign(remedy="other")])
    figure = figures.remedies(found)
    assert [axis.get_title().split(":")[0] for axis in figure.axes[:2]] == ["masked", "other"]
    assert len(figure.axes) == 4
