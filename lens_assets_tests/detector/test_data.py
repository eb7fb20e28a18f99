"""Order and augmentation: lossless, drawn from counters, new in every epoch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_assets.campaign.stages.experiments import AugmentationSettings, CoreMaskingSettings
from lens_assets.detector.data import (
    DIHEDRAL_SIZE,
    augment,
    dihedral,
    draw_augmentation,
    epoch_order,
    fold_rows,
    hide_cores,
    masked_share,
    targets,
    training_rows,
    validation_rows,
)
from lens_assets_tests.detector.conftest import labelled

SETTINGS = AugmentationSettings(dihedral=True, max_shift_px=2, core_masking=None)
IDS = [f"10000_1_{row}" for row in range(2000)]


def test_the_eight_elements_are_the_symmetries_of_the_square() -> None:
    stamp = np.arange(3 * 5 * 5, dtype=np.float32).reshape(3, 5, 5)
    images = {dihedral(stamp, element).tobytes() for element in range(DIHEDRAL_SIZE)}
    assert len(images) == DIHEDRAL_SIZE
    composed = {dihedral(dihedral(stamp, a), b).tobytes() for a in range(8) for b in range(8)}
    assert composed == images
    np.testing.assert_array_equal(dihedral(stamp, 0), stamp)


@given(st.integers(0, 50), st.integers(1, 50))
def test_augmentation_moves_light_and_makes_none(seed: int, epoch: int) -> None:
    stamps = np.random.default_rng(seed).normal(size=(4, 3, 21, 21)).astype(np.float32)
    changed = augment(stamps, IDS[:4], seed, epoch, SETTINGS)
    for before, after in zip(stamps, changed, strict=True):
        np.testing.assert_array_equal(np.sort(before, axis=None), np.sort(after, axis=None))


def test_a_stamp_changes_between_epochs_and_not_with_its_place_in_the_batch() -> None:
    first = np.stack(draw_augmentation(IDS, 1, 1, SETTINGS))
    second = np.stack(draw_augmentation(IDS, 1, 2, SETTINGS))
    assert (first != second).any(axis=0).mean() > 0.9
    backwards = np.stack(draw_augmentation(IDS[::-1], 1, 1, SETTINGS))
    np.testing.assert_array_equal(first, backwards[:, ::-1])


def test_all_elements_and_shifts_are_drawn_alike() -> None:
    element, shift_y, shift_x = draw_augmentation(IDS, 3, 1, SETTINGS)
    assert np.bincount(element, minlength=8).min() > 190
    for shift in (shift_y, shift_x):
        assert set(shift) == {-2, -1, 0, 1, 2}
        assert abs(shift.mean()) < 0.15


def test_without_augmentation_nothing_moves() -> None:
    stamps = np.random.default_rng(0).normal(size=(3, 3, 9, 9)).astype(np.float32)
    still = AugmentationSettings(dihedral=False, max_shift_px=0, core_masking=None)
    np.testing.assert_array_equal(augment(stamps, IDS[:3], 1, 1, still), stamps)


def test_cores_are_hidden_from_a_share_that_falls_by_epoch_by_the_galaxy_alone() -> None:
    schedule = CoreMaskingSettings(radius_px=2.5, first_share=0.6, last_share=0.0)
    shares = [masked_share(schedule, epoch, 7) for epoch in range(1, 8)]
    np.testing.assert_allclose(shares, np.linspace(0.6, 0.0, 7))
    assert masked_share(schedule, 1, 1) == 0.0
    seen = np.ones((len(IDS), 1, 9, 9), np.float32)
    hidden = hide_cores(seen, IDS, 1, 1, 0.6, 2.5)
    without = (hidden == 0).any(axis=(1, 2, 3))
    assert without.mean() == pytest.approx(0.6, abs=0.04)
    y, x = np.indices((9, 9)) - 4
    np.testing.assert_array_equal(hidden[without][0, 0], (np.hypot(x, y) >= 2.5).astype(np.float32))
    np.testing.assert_array_equal(hide_cores(seen, IDS[::-1], 1, 1, 0.6, 2.5), hidden[::-1])
    assert ((hide_cores(seen, IDS, 1, 2, 0.6, 2.5) == 0).any(axis=(1, 2, 3)) != without).any()
    np.testing.assert_array_equal(hide_cores(seen, IDS, 1, 7, shares[-1], 2.5), seen)


def test_the_order_is_a_new_permutation_each_epoch_whatever_the_rows() -> None:
    first, second = (epoch_order(IDS, 1, epoch) for epoch in (1, 2))
    assert sorted(first) == list(range(len(IDS)))
    assert (first != second).mean() > 0.9
    backwards = epoch_order(IDS[::-1], 1, 1)
    assert [IDS[i] for i in first] == [IDS[::-1][i] for i in backwards]


def test_only_probable_lenses_are_smoothed() -> None:
    stamps = labelled(np.zeros((4, 3, 9, 9), np.float32), np.array([1, 1, 0, 0], np.float32), "x")
    np.testing.assert_allclose(targets(stamps, 0.1), [0.9, 1.0, 0.0, 0.0])


def test_rows_of_a_design_are_those_of_its_split_that_may_be_used() -> None:
    manifest = pd.DataFrame(
        {
            "split": ["train", "train", "train", "val", "val", "test"],
            "in_baseline": [True, True, False, True, True, True],
            "evaluation_only": [False, True, False, False, True, False],
            "sample_weight": [1.0, 1.0, 1.0, 0.0, 1.0, 1.0],
        }
    )
    assert training_rows(manifest, "baseline").tolist() == [True, False, False, False, False, False]
    assert validation_rows(manifest, "baseline").tolist() == [False, False, False, True, False, False]
    with pytest.raises(ValueError, match="its designs are: baseline"):
        training_rows(manifest, "natural")


def test_a_held_out_fold_is_validated_on_and_not_trained_on_nor_its_neighbours() -> None:
    manifest = pd.DataFrame(
        {
            "split": ["train", "train", "train", "train", "val", "val", "test"],
            "fold": [0, 1, 0, 1, 0, 1, 1],
            "ra": [10.0, 20.0, 20.0, 30.0, 40.0, 50.0, 60.0],
            "dec": [0.0, 0.0, 20.0 / 3600.0, 0.0, 0.0, 0.0, 0.0],
            "in_baseline": True,
            "evaluation_only": False,
            "sample_weight": 1.0,
        }
    )
    assert fold_rows(manifest, "baseline", 1).tolist() == [False, True, False, True, False, True, False]
    trained = training_rows(manifest, "baseline", 1, 26.5)
    assert trained.tolist() == [True, False, False, False, False, False, False], (
        "the third is 20 arcsec from the second"
    )
    assert training_rows(manifest, "baseline", 1, 10.0).tolist() == [True, False, True, False, False, False, False]
    folds = np.stack([fold_rows(manifest, "baseline", fold) for fold in (0, 1)])
    assert (folds.sum(axis=0) == (manifest["split"] != "test")).all(), "every row but the test split validates once"


def test_negative_weights_are_refused() -> None:
    good = labelled(np.zeros((2, 3, 9, 9), np.float32), np.array([1, 0], np.float32), "x")
    with pytest.raises(ValueError, match="finite and >= 0"):
        type(good)(good.galaxy_ids, good.labels, np.array([1, -1], np.float32), good.tiers, good.read)
