from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import contingency

from lens_assets.imaging import manifest
from lens_assets.imaging.split_proof import balance_table, cohen_d, cramer_v, split_checks
from lens_assets_tests.imaging.settings import features_settings
from lens_assets_tests.imaging.tables import cutouts_table, features_table, no_systems, sample_table

SETTINGS = features_settings()


def rows(count: int = 60, seed: int = 0) -> pd.DataFrame:
    sample = sample_table(count, seed)
    return manifest.assemble(sample, cutouts_table(sample), features_table(sample), no_systems(), SETTINGS).rows


def failed(table: pd.DataFrame, systems: pd.DataFrame | None = None) -> set[str]:
    checks = split_checks(table, no_systems() if systems is None else systems, SETTINGS.split_proof)
    return set(checks.loc[~checks["passed"] & (checks["kind"] == "separation"), "check"])


def test_an_assembled_manifest_passes_every_separation_check():
    assert failed(rows()) == set()


def _move(table, row, **values):
    changed = table.copy()
    for name, value in values.items():
        changed.loc[row, name] = value
    return changed


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (lambda t: _move(t, 0, galaxy_id=t.loc[t["split"] == "test", "galaxy_id"].iloc[0]), "disjoint_galaxy_id"),
        (lambda t: _move(t, 0, cutout_path=t.loc[t["split"] != t.loc[0, "split"], "cutout_path"].iloc[0]),
         "disjoint_cutout_path"),
        (lambda t: _move(t, 0, healpix_128=t.loc[t["split"] != t.loc[0, "split"], "healpix_128"].iloc[0]),
         "disjoint_healpix_128"),
        (lambda t: _move(t, 1, galaxy_id=t.loc[0, "galaxy_id"]), "unique_galaxy_id"),
        (lambda t: _move(t.astype({"healpix_128": float}), 1, healpix_128=np.nan), "no_null_healpix_128"),
        (lambda t: _move(t, 1, split="holdout"), "split_is_known"),
        (lambda t: t[t["split"] != "val"], "rows_in_every_split"),
        (lambda t: _move(t, 0, fold=3), "one_fold_per_region_id"),
        (lambda t: _move(t, 0, region_id=99), "one_region_id_per_healpix_128"),
        (lambda t: _move(t.astype({"fold": float}), 0, fold=np.nan), "no_null_fold"),
    ],
)  # fmt: skip
def test_each_kind_of_sharing_is_found_by_its_own_check(fault, check):
    assert check in failed(fault(rows()))


def test_seventy_thirty_needs_no_test_split():
    sample = sample_table()
    sample["split"] = sample["split"].replace({"test": "val"})
    whole = manifest.assemble(sample, cutouts_table(sample), features_table(sample), no_systems(), SETTINGS).rows
    checks = split_checks(whole, no_systems(), SETTINGS.split_proof, ("train", "val"))
    assert checks.loc[checks["kind"] == "separation", "passed"].all()
    assert failed(whole) == {"rows_in_every_split"}


def test_a_class_more_frequent_in_one_split_shows():
    table = rows(600)
    shifted = table.assign(label=np.where(table["split"] == "train", 1, table["label"]))
    checks = split_checks(shifted, no_systems(), SETTINGS.split_proof).set_index("check")
    assert checks.loc["balance_label", "found"] > 0.5 and not checks.loc["balance_label", "passed"]


def test_a_pair_of_splits_within_the_buffer_is_found_and_named():
    table = rows()
    train, test = (table.index[table["split"] == name][0] for name in ("train", "test"))
    near = _move(table, train, ra=table.loc[test, "ra"], dec=table.loc[test, "dec"] + 20 / 3600)
    checks = split_checks(near, no_systems(), SETTINGS.split_proof).set_index("check")
    found = checks.loc["no_pair_within_buffer"]
    assert not found["passed"] and found["found"] == 1 and table.loc[train, "galaxy_id"] in found["detail"]


def test_an_evaluation_only_system_or_its_neighbour_in_training_is_found():
    table = rows()
    train = table[table["split"] == "train"].iloc[0]
    systems = pd.DataFrame({"galaxy_id": [train["galaxy_id"]], "ra": [train["ra"]], "dec": [train["dec"]]})
    assert failed(table, systems) == {"no_evaluation_only_in_train", "no_neighbour_of_evaluation_only_in_train"}
    systems = systems.assign(galaxy_id=None, dec=systems["dec"] + 10 / 3600)
    assert failed(table, systems) == {"no_neighbour_of_evaluation_only_in_train"}


def test_a_shifted_condition_shows_as_an_effect_size_of_known_value():
    table = rows(600)
    train = table["split"] == "train"
    shifted = table.assign(psfsize_r=np.random.default_rng(0).normal(1.3, 0.1, len(table)) + 0.05 * train)
    balance = balance_table(shifted)
    row = balance[(balance["column"] == "psfsize_r") & (balance["label"] == "all")].set_index(["split_a", "split_b"])
    assert row.loc[("train", "test"), "effect_size"] == pytest.approx(0.5, abs=0.2)
    assert row.loc[("val", "test"), "effect_size"] == pytest.approx(0.0, abs=0.2)
    checks = split_checks(shifted, no_systems(), SETTINGS.split_proof).set_index("check")
    assert not checks.loc["balance_psfsize_r", "passed"] and checks.loc["balance_psfsize_r", "kind"] == "balance"


def test_effect_sizes_equal_known_answers():
    a, b = np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6])
    assert cohen_d(a, b) == pytest.approx(-2 / np.sqrt(5 / 3))
    assert np.isnan(cohen_d(a[:1], b))
    rng = np.random.default_rng(2)
    first, second = rng.choice(list("abc"), 4000, p=[0.5, 0.3, 0.2]), rng.choice(list("abc"), 4000, p=[0.2, 0.3, 0.5])
    counts = np.array([[np.sum(values == k) for values in (first, second)] for k in "abc"])
    plain = contingency.association(counts, method="cramer")  # without the bias correction, which fades with n
    assert cramer_v(pd.Series(first), pd.Series(second)) == pytest.approx(plain, abs=0.005)
    assert cramer_v(pd.Series(first[:40]), pd.Series(first[40:80])) < 0.15
