from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lens_assets.imaging import manifest
from lens_assets.imaging.shortcuts import audited_table, single_feature_audit
from lens_assets_tests.imaging.settings import features_settings
from lens_assets_tests.imaging.tables import cutouts_table, features_table, no_systems, sample_table

SETTINGS = features_settings()


def audit(count: int = 240, seed: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    sample = sample_table(count, seed)
    features = features_table(sample)
    training = manifest.assemble(sample, cutouts_table(sample), features, no_systems(), SETTINGS)
    table, names = audited_table(training.rows, features)
    return single_feature_audit(table, names, SETTINGS.shortcuts).set_index("feature"), table


def test_a_leaky_feature_is_red_physics_is_expected_and_noise_is_not_flagged():
    result, table = audit()
    assert result.loc["leaky", "flag"] == "red" and result.loc["leaky", "sign"] == 1
    assert result.loc["arc_visibility", "flag"] == "expected" and result.loc["arc_visibility", "expected_reason"]
    assert result.loc["noise_correlation_r", "flag"] == "none"
    for name in ("leaky", "noise_correlation_r"):
        reference = roc_auc_score(table["label"], table[name])
        assert result.loc[name, "auc"] == pytest.approx(max(reference, 1 - reference), abs=1e-12)
    assert {"ra", "healpix_128", "label", "quality_ok"}.isdisjoint(result.index)


def test_noise_in_a_small_sample_is_not_lifted_above_a_half_by_the_bootstrap():
    rng = np.random.default_rng(0)
    lowers = []
    for seed in range(40):
        table = pd.DataFrame({"label": [1] * 15 + [0] * 45, "healpix_128": np.arange(60), "x": rng.normal(size=60)})
        settings = SETTINGS.shortcuts.model_copy(update={"seed": seed, "resamples": 60})
        result = single_feature_audit(table, ["x"], settings)
        lowers.append(result.loc[0, "lower_68"])
    assert np.mean(np.array(lowers) < 0.5) > 0.5 and np.mean(np.array(lowers) > SETTINGS.shortcuts.yellow_auc) < 0.06


def test_the_direction_of_a_feature_is_kept_and_its_auc_is_above_a_half():
    rng = np.random.default_rng(1)
    label = np.repeat([1, 0], 200)
    table = pd.DataFrame({"label": label, "healpix_128": np.arange(400) % 40, "x": -label + rng.normal(size=400)})
    row = single_feature_audit(table, ["x"], SETTINGS.shortcuts).iloc[0]
    assert row["sign"] == -1 and row["auc"] > 0.7 and row["lower_68"] < row["auc"] < row["upper_68"]


def test_a_feature_that_is_mostly_null_is_not_evaluated():
    table = pd.DataFrame({"label": [1, 0] * 20, "healpix_128": range(40), "x": [np.nan] * 36 + [1.0, 2.0, 3.0, 4.0]})
    row = single_feature_audit(table, ["x"], SETTINGS.shortcuts).iloc[0]
    assert row["flag"] == "not_evaluated" and row["n_missing"] == 36
