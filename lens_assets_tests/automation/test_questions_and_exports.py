"""What the command line asks of products, without a campaign that has run: answers, refusals and their words."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lens_assets.assets.execution import GateClosed
from lens_assets.automation.questions import QuestionError, answer_lines, check_score_file, released
from lens_assets.automation.stamp_export import ExportError, available_roles, export_stamps
from lens_assets.campaign.campaign import load_campaign
from lens_assets.definitions import build_lineage
from lens_assets.detector.exchange import ScoreFileError, stamp_ids
from lens_assets.lake.lake import Lake
from lens_assets.selection.completeness import completeness_grid, thresholds_of, trials_of
from lens_assets.selection.loader import OutsideGridError, SelectionFunction
from lens_assets_tests.selection.synthetic import THRESHOLDS, injections, settings_of

CONFIG = settings_of()
FEW = CONFIG.intervals.model_copy(update={"bootstrap_resamples": 50, "minimum_trials": 5, "minimum_hosts": 2})
OPTIONS = {"threshold": None, "detector": None, "outside": "raise", "level": 95, "interval": "conditional"}


@pytest.fixture(scope="module")
def sf() -> SelectionFunction:
    table, scores = injections(CONFIG.grid, per_cell=8)
    trials, _ = trials_of(table, scores, CONFIG.grid, "all_draws")
    cuts = thresholds_of(THRESHOLDS.assign(sufficient=[True, False]))
    grid = completeness_grid(trials, cuts, CONFIG.grid, FEW, "all_draws", 1)
    grid.insert(0, "detector", "baseline")
    metadata = {"title": "A release", "reference_threshold": "fixed_0.5", "verdicts": {"release_gate": "GO. Fine."}}
    return SelectionFunction(grid, metadata)


@pytest.fixture
def empty(tmp_path: Path):
    campaign = load_campaign("demo")
    return build_lineage(campaign), Lake(str(tmp_path / "lake"), campaign.name)


def test_an_answer_states_verdict_threshold_and_limits(sf):
    lines = answer_lines(sf, [1.0, 1.5], 1.4, 24.5, cells="measured", **OPTIONS)
    assert lines[:2] == ["A release", "  release_gate: GO. Fine."]
    assert "detector baseline, threshold fixed_0.5, PSF 1.4 arcsec, depth 24.5 mag, 95% conditional" in lines[2]
    c = sf.completeness(theta_e_arcsec=np.array([1.0, 1.5]), psf_fwhm_arcsec=1.4, depth_mag=24.5)
    assert lines[4] == f"theta_E 1.5 arcsec: {c.value[1]:.4f} [{c.lower[1]:.4f}, {c.upper[1]:.4f}]"


def test_an_insufficient_threshold_is_said_with_the_number(sf):
    lines = answer_lines(sf, [1.0], 1.4, 24.5, cells="measured", **(OPTIONS | {"threshold": "fpr_0.01"}))
    assert "insufficient: too few validation objects lie above threshold fpr_0.01 to define it" in lines


def test_beyond_the_grid_there_is_no_answer(sf):
    with pytest.raises(OutsideGridError, match="lies outside the grid"):
        answer_lines(sf, [9.0], 1.4, 24.5, cells="measured", **OPTIONS)


def test_a_campaign_that_has_not_run_has_nothing_to_ask_or_export(empty, tmp_path):
    lineage, lake = empty
    with pytest.raises(QuestionError, match="has no selection_function_product"):
        released(lineage, lake, None)
    with pytest.raises(ValueError, match="expected a release folder"):
        released(lineage, lake, str(tmp_path))
    assert available_roles(lineage, lake) == ["lenses", "negatives"]
    with pytest.raises(ExportError, match="training_manifest.* is missing or not current; run the campaign first"):
        export_stamps(lineage, lake, tmp_path / "a", "npz", ["negatives"])
    with pytest.raises(GateClosed, match="behind realism_gate, which has given no verdict"):
        export_stamps(lineage, lake, tmp_path / "b", "npz", ["injected"])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "old.npz").touch()
    with pytest.raises(ExportError, match="is not empty"):
        export_stamps(lineage, lake, tmp_path / "c", "npz", ["negatives"])


def test_scores_are_checked_against_what_was_exported(tmp_path):
    names = stamp_ids(np.random.default_rng(1).normal(size=(3, 3, 21, 21)))
    index, scores = tmp_path / "stamps.csv", tmp_path / "scores.csv"
    pd.DataFrame({"stamp_id": names, "role": ["hosts", "injected", "injected"]}).to_csv(index, index=False)
    pd.DataFrame({"stamp_id": names, "score": [0.1, 0.2, 0.3]}).to_csv(scores, index=False)
    lines = check_score_file(scores, "probability", index)
    assert "3 scores from 0.1 to 0.3" in lines[0]
    assert lines[1] == "every one of the 3 exported stamps has a score; 0 further scores"
    pd.DataFrame({"stamp_id": names[:2], "score": [0.1, 0.2]}).to_csv(scores, index=False)
    with pytest.raises(ScoreFileError, match=rf"no score for 1 of 3 exported stamps \(injected 1\), {names[2]}"):
        check_score_file(scores, "probability", index)
