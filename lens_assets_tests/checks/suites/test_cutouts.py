"""The suites of the cutouts group pass on good tables and name each corruption."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lens_assets.campaign.campaign import load_campaign
from lens_assets.checks.great_expectations import validate
from lens_assets.checks.suites.cutouts import SUITES
from lens_assets.imaging import manifest
from lens_assets.imaging.manifest_schema import to_manifest
from lens_assets.imaging.shortcuts import audited_table, single_feature_audit
from lens_assets.imaging.split_proof import split_checks
from lens_assets_tests.imaging.tables import cutouts_table, features_table, no_systems, sample_table


@pytest.fixture(scope="module")
def campaign():
    return load_campaign("demo")


@pytest.fixture(scope="module")
def tables(campaign) -> dict[str, pd.DataFrame]:
    """Return a good table for every suite, with effect sizes and audit flags small enough to pass."""
    sample = sample_table(600)
    features = features_table(sample).drop(columns="leaky").assign(clip_frac_r=0.0, nan_frac=0.0, central_nan_frac=0.0)
    constant = {"psfsize": 1.3, "zero_fraction": 0.0}
    conditions = {f"{name}_{band}": value for band in "grz" for name, value in constant.items()}
    cutouts = cutouts_table(sample).assign(**conditions, x_offset_arcsec=0.1, y_offset_arcsec=-0.1)
    training = manifest.assemble(sample, cutouts, features, no_systems(), campaign.features)
    rows = manifest.published_columns(training.rows, 101, 0.262, "layer", "digest")
    table = to_manifest(rows, manifest.design_names(rows.columns)).to_pandas()
    checks = split_checks(training.rows, no_systems(), campaign.features.split_proof)
    separation = checks["kind"] == "separation"
    audited, names = audited_table(training.rows, features)
    audit = single_feature_audit(audited, names, campaign.features.shortcuts)
    return {
        "cutouts": cutouts,
        "cutouts_tolerance": cutouts,
        "cutout_features": features,
        "training_manifest": table,
        "split_proof": checks[separation],
        "split_proof_balance": checks[~separation],
        "shortcut_audit": audit,
        "shortcut_audit_flags": audit.assign(flag=audit["flag"].replace("red", "yellow")),
    }


@pytest.mark.parametrize("name", list(SUITES))
def test_a_good_table_passes_and_each_corruption_is_named(name, tables, campaign):
    suite = SUITES[name]
    assert [item for item in validate(tables[name], suite, campaign) if not item.passed] == []
    assert suite.corruptions
    for label, corrupt in suite.corruptions.items():
        expectation, _, column = label.partition(":")
        outcomes = validate(corrupt(tables[name].copy()), suite, campaign)
        failed = {(item.expectation, item.column) for item in outcomes if not item.passed}
        assert (expectation, column) in failed, (label, failed)


def test_an_empty_partition_passes(tables, campaign):
    for name in ("cutouts", "cutouts_tolerance", "cutout_features"):
        outcomes = validate(tables[name].head(0), SUITES[name], campaign)
        assert [item for item in outcomes if not item.passed] == []


def test_failed_stamps_warn_before_they_fail(tables, campaign):
    settings = campaign.cutouts
    share = (settings.warn_failed_fraction + settings.max_failed_fraction) / 2
    lost = np.arange(len(tables["cutouts"])) < share * len(tables["cutouts"])
    some = tables["cutouts"].assign(status=np.where(lost, "corrupt_file", "ok"))
    assert all(item.passed for item in validate(some, SUITES["cutouts"], campaign))
    assert not all(item.passed for item in validate(some, SUITES["cutouts_tolerance"], campaign))
    assert SUITES["cutouts_tolerance"].severity == "WARN" and not SUITES["cutouts_tolerance"].blocking
