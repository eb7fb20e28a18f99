"""The suites of the realism assets pass on good tables and name each corruption."""

from __future__ import annotations

import pandas as pd
import pytest

from lens_assets.campaign.campaign import load_campaign
from lens_assets.checks.great_expectations import validate
from lens_assets.checks.suites.realism import SUITES
from lens_assets.realism.battery import as_table, row
from lens_assets.realism.calibration import unfitted


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    anchors = pd.DataFrame(
        {
            "lens_id": ["L1", "L2", "L3"],
            "galaxy_id": ["g1", "g2", "g3"],
            "cutout_path": ["hp04-000#0", "hp04-000#1", "hp04-000#2"],
            "split": ["val", "test", "test"],
            "half": ["calibration", "gate", "gate"],
            "visible": [True, True, False],
            "arc_snr": [30.0, 15.0, 0.0],
            "tangential_asymmetry": [0.7, 0.9, None],
        }
    )
    rows = as_table([row("arc_snr", "PASS", n_anchors=40), row("background_g", "PASS", p_value=0.4, n_anchors=40)])
    return {
        "anchor_observables": anchors,
        "brightness_calibration": unfitted("pinned", -0.4, 12).table(),
        "realism_report": rows,
        "realism_gate": rows,
    }


@pytest.mark.parametrize("name", list(SUITES))
def test_a_good_table_passes_and_each_corruption_is_named(name, tables):
    suite, campaign = SUITES[name], load_campaign("demo")
    assert [item for item in validate(tables[name], suite, campaign) if not item.passed] == []
    for label, corrupt in suite.corruptions.items():
        expectation, _, column = label.partition(":")
        outcomes = validate(corrupt(tables[name].copy()), suite, campaign)
        failed = {(item.expectation, item.column) for item in outcomes if not item.passed}
        assert (expectation, column) in failed, (label, failed)
