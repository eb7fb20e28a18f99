"""Calibration against scikit-learn and a calibrated sample."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from lens_assets.statistics.calibration import brier_score, expected_calibration_error, reliability_table


@pytest.fixture(scope="module")
def calibrated() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    scores = rng.random(40_000)
    return scores, (rng.random(40_000) < scores).astype(int)


def test_the_curve_is_scikit_learns(calibrated: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = calibrated
    share, mean = calibration_curve(labels, scores, n_bins=10)
    table = reliability_table(scores, labels, 10)
    np.testing.assert_allclose(table["rate"], share, atol=1e-12)
    np.testing.assert_allclose(table["mean_score"], mean, atol=1e-12)
    assert table["n"].sum() == len(scores)


def test_probabilities_have_no_error_and_overconfidence_has(
    calibrated: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, labels = calibrated
    assert expected_calibration_error(scores, labels, 10) < 0.01
    assert expected_calibration_error((scores > 0.5) * 1.0, labels, 10) == pytest.approx(0.25, abs=0.01)
    assert brier_score(scores, labels) == pytest.approx(brier_score_loss(labels, scores))


def test_a_weight_counts_as_often_as_the_row(calibrated: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = calibrated[0][:50], calibrated[1][:50]
    weights = np.random.default_rng(1).integers(1, 4, 50)
    repeated = expected_calibration_error(np.repeat(scores, weights), np.repeat(labels, weights), 5)
    assert expected_calibration_error(scores, labels, 5, weights) == pytest.approx(repeated, abs=1e-12)


def test_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        brier_score([-3.0, 2.0], [0, 1])
