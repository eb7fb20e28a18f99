"""Linear probes: chance where there is nothing to tell, certainty where there is, folds by host, rules on intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lens_assets.realism.examine import _shown_or_untouched
from lens_assets.realism.probes import (
    feature_probe_rows,
    frechet_distance,
    null_bytes_row,
    null_level,
    pixel_probe_rows,
    probe,
    weighted_choice,
)
from lens_assets_tests.realism.mock import mock_galaxies, mock_lenses
from lens_assets_tests.realism.tables import demo_realism

SETTINGS = demo_realism(anchors__minimum_group=30)
RULES = SETTINGS.probes


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{row}" for row in range(count)]


def test_noise_is_not_told_from_noise():
    found = []
    for seed in range(6):
        first, second = np.random.default_rng(seed).normal(size=(2, 80, 10))
        found.append(probe(first, second, names("a", 80), names("b", 80), RULES, seed))
    assert np.mean([item.auc for item in found]) == pytest.approx(0.5, abs=0.07)
    assert sum(item.lower > 0.5 or item.upper < 0.5 for item in found) <= 2


def test_what_differs_is_told_as_well_as_theory_allows():
    """Two normals one sigma apart have the area Phi(1 / sqrt 2) = 0.760."""
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 400, 4))
    first[:, 2] += 1.0
    found = probe(first, second, names("a", 400), names("b", 400), RULES, 0)
    assert found.auc == pytest.approx(0.760, abs=0.03)
    assert found.lower < found.auc < found.upper
    direct = roc_auc_score(np.r_[np.ones(400), np.zeros(400)], np.r_[first[:, 2], second[:, 2]])
    assert found.auc <= direct + 0.01


def test_a_hosts_own_look_cannot_be_learned():
    """Ten stamps of each of eight hosts, every host in one class: only folds that share hosts could tell them."""
    looks = np.random.default_rng(3).normal(size=(16, 12))
    stamps = looks.repeat(10, axis=0) + np.random.default_rng(4).normal(0, 0.05, (160, 12))
    hosts = [f"h{row // 10}" for row in range(160)]
    by_host = probe(stamps[:80], stamps[80:], hosts[:80], hosts[80:], RULES, 0)
    alone = probe(stamps[:80], stamps[80:], names("a", 80), names("b", 80), RULES, 0)
    assert alone.auc > 0.95
    assert by_host.auc < 0.8


def test_one_object_a_class_cannot_be_probed():
    assert np.isnan(probe(np.zeros((1, 3)), np.ones((5, 3)), ["a"], names("b", 5), RULES, 0).auc)


def test_frechet_distance_of_one_feature_by_hand():
    """In one dimension it is (m1 - m2)^2 + (s1 - s2)^2, in units of the pooled spread."""
    random = np.random.default_rng(0)
    first, second = random.normal(0, 1, (300, 1)), random.normal(2, 3, (300, 1))
    pooled = np.concatenate([first, second]).std()
    expected = (first.mean() - second.mean()) ** 2 + (first.std(ddof=1) - second.std(ddof=1)) ** 2
    assert frechet_distance(first, second) == pytest.approx(expected / pooled**2, rel=1e-6)


def test_frechet_distance_is_symmetric_zero_of_itself_and_grows():
    random = np.random.default_rng(1)
    base, near, far = random.normal(size=(200, 6)), random.normal(0.3, 1, (200, 6)), random.normal(1.5, 1, (200, 6))
    assert frechet_distance(base, base) == pytest.approx(0.0, abs=1e-6)
    assert frechet_distance(base, near) == pytest.approx(frechet_distance(near, base), rel=1e-4)
    assert frechet_distance(base, near) < frechet_distance(base, far)


def test_stamps_are_chosen_in_proportion_to_weight_by_name_alone():
    weights = np.tile([1.0, 3.0], 1000)
    ids = names("i", 2000)
    chosen = weighted_choice(ids, weights, 200, 0)
    assert len(set(chosen.tolist())) == 200
    assert weights[chosen].mean() == pytest.approx(2.5, abs=0.15)
    turned = weighted_choice(ids[::-1], weights[::-1], 200, 0)
    assert {ids[row] for row in chosen} == {ids[::-1][row] for row in turned}


@pytest.fixture(scope="module")
def skies():
    return mock_lenses(80, 1)[0], mock_galaxies(80, 2)[0], mock_galaxies(80, 3)[0]


def pixel_rows(first, second, settings=SETTINGS):
    rows = pixel_probe_rows(first, second, names("a", len(first)), names("b", len(second)), settings)
    return {str(item["observable"]): item for item in rows}


def test_arcs_are_told_by_their_annulus(skies):
    rows = pixel_rows(skies[0], skies[1])
    assert rows["probe_annulus"]["verdict"] == "PASS"
    assert rows["probe_annulus"]["value"] > 0.8


def test_galaxies_are_not_told_from_galaxies_and_a_missing_arc_is_reported(skies):
    strict = demo_realism(probes__minimum_annulus_auc=0.75)
    rows = pixel_rows(skies[1], skies[2], strict)
    assert rows["probe_core"]["verdict"] == rows["probe_radial"]["verdict"] == "PASS"
    assert rows["probe_annulus"]["verdict"] == "WARN"
    assert rows["probe_annulus"]["gates"] is False


def test_without_arcs_the_same_hosts_are_not_told_from_other_galaxies(skies):
    """The unpaired null: galaxies against other galaxies, beside the probes that the arcs are told by."""
    arcs, alone, others = skies
    few = demo_realism(probes__null_draws=3)
    rows = pixel_probe_rows(arcs, others, names("a", 80), names("b", 80), few, alone)
    found = {str(item["observable"]): item for item in rows}
    assert list(found) == [f"{kind}_{name}" for kind in ("probe", "null") for name in ("annulus", "core", "radial")]
    for name in ("annulus", "core", "radial"):
        item = found[f"null_{name}"]
        assert item["verdict"] == "PASS" and item["gates"] is False
        assert item["lower"] < item["anchor_value"] + 0.05
    assert found["null_annulus"]["value"] < 0.7 < found["probe_annulus"]["value"]
    assert found["null_core"]["anchor_value"] == found["probe_core"]["anchor_value"]
    shifted = alone.copy()
    shifted[:, :, 40:61, 40:61] += 0.03
    told = pixel_probe_rows(arcs, others, names("a", 80), names("b", 80), few, shifted)
    assert {item["verdict"] for item in told if item["observable"] == "null_radial"} == {"WARN"}


def test_one_changed_byte_of_a_null_injection_blocks():
    hosts = np.random.default_rng(1).normal(size=(4, 3, 9, 9)).astype(np.float32)
    assert (null_bytes_row(hosts.copy(), hosts)["verdict"], null_bytes_row(hosts, hosts)["gates"]) == ("PASS", True)
    changed = hosts.copy()
    changed[2, 1, 4, 4] = np.nextafter(changed[2, 1, 4, 4], np.float32(9))
    item = null_bytes_row(changed, hosts)
    assert (item["verdict"], item["value"]) == ("FAIL", 0.75)
    assert null_bytes_row(hosts[:0], hosts[:0])["verdict"] == "NOT-EVALUATED"


def test_a_pedestal_is_told_by_core_and_profile_and_decides_where_it_gates(skies):
    gated = demo_realism(probes__gates=["core", "radial"])
    brighter = skies[1].copy()
    brighter[:, :, 40:61, 40:61] += 0.03
    rows = pixel_rows(brighter, skies[2], gated)
    assert rows["probe_radial"]["verdict"] == "FAIL" and rows["probe_radial"]["gates"] is True
    null = float(rows["probe_radial"]["anchor_value"])
    assert f"at most {0.1 + null:.3f}: 0.1 above the null level of {null:.3f}" in str(
        rows["probe_radial"]["requirement"]
    )


def test_the_null_level_is_that_of_noise_and_moves_the_limit(skies):
    """Few objects of few groups: what is left out of a fold leans on what remains, and noise falls below a half."""
    random = np.random.default_rng(5)
    sides = random.normal(size=(90, 12)), random.normal(size=(90, 12))
    groups = [f"h{row // 9}" for row in range(90)], [f"g{row // 9}" for row in range(90)]
    alone = names("a", 90), names("b", 90)
    settings = RULES.model_copy(update={"null_draws": 40})
    assert null_level(*sides, *alone, settings, 1) == pytest.approx(0.5, abs=0.03)
    assert null_level(*(1e6 * side + 3 for side in sides), *groups, settings, 1) == null_level(
        *sides, *groups, settings, 1
    )
    assert np.isnan(null_level(sides[0][:1], sides[1], ["a"], alone[1], settings, 1))
    strict = demo_realism(probes__maximum_core_auc=0.5, probes__gates=["core"])
    row = pixel_rows(skies[1], skies[2], strict)["probe_core"]
    assert (row["verdict"] == "FAIL") == (row["lower"] > row["anchor_value"])


def test_few_stamps_are_not_probed(skies):
    assert {item["verdict"] for item in pixel_rows(skies[0][:29], skies[1]).values()} == {"NOT-EVALUATED"}


def feature_rows(shift: float, count: int = 90, gates=("features", "frechet")):
    settings = demo_realism(probes__gates=list(gates))
    random = np.random.default_rng(0)
    stamps = random.normal(size=(4, count, 6))
    stamps[1] += shift
    layers = lambda part: {"early": part[:, :3], "late": part}  # noqa: E731
    hosts = [names(letter, count) for letter in "abcd"]
    return feature_probe_rows(
        stamps[0], stamps[1], (stamps[2], stamps[3]), hosts[0], hosts[1], (hosts[2], hosts[3]), layers, settings
    )


def test_features_alike_pass_against_the_control_of_real_against_real():
    rows = feature_rows(0.0)
    assert [item["stratum"] for item in rows] == ["all", "layer early", "layer late"]
    assert rows[0]["verdict"] == "PASS"
    assert rows[0]["anchor_value"] == pytest.approx(0.5, abs=0.12)


def test_features_that_differ_fail_where_they_gate_and_warn_elsewhere():
    assert {item["verdict"] for item in feature_rows(1.5)} == {"FAIL"}
    assert {item["verdict"] for item in feature_rows(1.5, gates=())} == {"WARN"}


def test_features_of_few_anchors_are_not_evaluated():
    assert {item["verdict"] for item in feature_rows(0.0, count=20)} == {"NOT-EVALUATED"}


def test_hosts_of_visible_injections_are_shown_with_them_or_untouched_never_both():
    hosts = np.array([f"g{row % 100}" for row in range(300)], dtype=object)
    shown = np.arange(0, 300, 2)
    untouched = pd.DataFrame({"galaxy_id": [f"g{row}" for row in range(90)]})
    first, second = _shown_or_untouched(shown, hosts, untouched, 400, 1)
    with_arc, without = set(hosts[first]), set(untouched["galaxy_id"].iloc[second])
    assert len(with_arc) == len(first) and len(without) == len(second)
    assert not with_arc & without
    assert with_arc | without == set(hosts[shown]) & set(untouched["galaxy_id"])
    assert set(first) <= set(shown)
    assert 10 < len(first) < 35
    assert [len(part) for part in _shown_or_untouched(shown, hosts, untouched, 5, 1)] == [5, 5]
