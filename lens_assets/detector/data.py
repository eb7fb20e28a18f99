"""Stamps with labels, and what training does to them: order and augmentation, drawn from counters.

Nothing here depends on the order of rows: an epoch's order and a stamp's augmentation belong to (seed, epoch, galaxy).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.experiments import AugmentationSettings, CoreMaskingSettings
from lens_assets.imaging.geometry import radius_px
from lens_assets.imaging.manifest import near_any
from lens_assets.sky.randomness import uniform

ReadStamps = Callable[[NDArray[np.int64]], NDArray[np.float32]]
DIHEDRAL_SIZE = 8


@dataclass(frozen=True)
class LabelledStamps:
    """Stamps that are read when they are needed.

    `galaxy_ids`, `labels` (1 or 0), `weights` (>= 0) and `tiers` ("A", "B", "N1", "N2") have shape (N,);
    `read(rows)` returns the stamps of those rows, (M, 3, H, W) in nanomaggies.
    """

    galaxy_ids: Sequence[str]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    tiers: Sequence[str]
    read: ReadStamps

    def __post_init__(self) -> None:
        sizes = {len(self.galaxy_ids), len(self.labels), len(self.weights), len(self.tiers)}
        if len(sizes) != 1:
            raise ValueError(f"ids, labels, weights and tiers have different lengths: {sorted(sizes)}")
        if not (np.isfinite(self.weights).all() and (np.asarray(self.weights) >= 0).all()):
            raise ValueError("sample weights must be finite and >= 0")

    def __len__(self) -> int:
        return len(self.labels)

    def classes(self) -> tuple[int, int]:
        """Return the numbers of positives and negatives."""
        positives = int((np.asarray(self.labels) == 1).sum())
        return positives, len(self) - positives


def targets(stamps: LabelledStamps, tier_b_label_smoothing: float) -> NDArray[np.float32]:
    """Return training targets (N,): the label, lowered for tier-B positives, whose label is only probable."""
    tier_b = np.asarray([tier == "B" for tier in stamps.tiers])
    lowered = np.where(tier_b & (stamps.labels == 1), 1.0 - tier_b_label_smoothing, stamps.labels)
    return lowered.astype(np.float32)


def epoch_order(galaxy_ids: Sequence[str], seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order in which an epoch visits the rows, (N,)."""
    return np.argsort(uniform(seed, galaxy_ids, f"order/{epoch}"), kind="stable").astype(np.int64)


def augment(
    stamps: NDArray[np.float32], galaxy_ids: Sequence[str], seed: int, epoch: int, settings: AugmentationSettings
) -> NDArray[np.float32]:
    """Return stamps (N, 3, H, W) turned, mirrored and shifted by whole pixels, flux untouched.

    Shifts wrap around; the campaign keeps them smaller than the margin between stamp and crop.
    """
    element, shift_y, shift_x = draw_augmentation(galaxy_ids, seed, epoch, settings)
    result = np.empty_like(stamps)
    for row, stamp in enumerate(stamps):
        turned = dihedral(stamp, int(element[row]))
        result[row] = np.roll(turned, (int(shift_y[row]), int(shift_x[row])), axis=(1, 2))
    return result


def draw_augmentation(
    galaxy_ids: Sequence[str], seed: int, epoch: int, settings: AugmentationSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the dihedral element (0 is the identity) and the shifts in y and x in pixels, each (N,)."""
    span = 2 * settings.max_shift_px + 1
    elements = DIHEDRAL_SIZE if settings.dihedral else 1
    code = (uniform(seed, galaxy_ids, f"augment/{epoch}") * (elements * span * span)).astype(np.int64)
    element, rest = np.divmod(code, span * span)
    shift_y, shift_x = np.divmod(rest, span)
    return element, shift_y - settings.max_shift_px, shift_x - settings.max_shift_px


def dihedral(stamp: NDArray[np.float32], element: int) -> NDArray[np.float32]:
    """Return (..., H, W) turned by `element % 4` quarter circles, after a mirror for elements 4 to 7."""
    mirrored = stamp[..., ::-1] if element >= DIHEDRAL_SIZE // 2 else stamp
    return np.rot90(mirrored, element % 4, axes=(-2, -1))


def masked_share(settings: CoreMaskingSettings, epoch: int, epochs: int) -> float:
    """Return the share of stamps whose core is hidden in an epoch (from 1): linear from the first to the last."""
    progress = (epoch - 1) / (epochs - 1) if epochs > 1 else 1.0
    return settings.first_share + progress * (settings.last_share - settings.first_share)


def hide_cores(
    seen: NDArray[np.float32], galaxy_ids: Sequence[str], seed: int, epoch: int, share: float, radius: float
) -> NDArray[np.float32]:
    """Return preprocessed stamps (N, 3, h, w), a share of them with the sky's level (0) within `radius` pixels."""
    hidden = uniform(seed, galaxy_ids, f"core-masking/{epoch}") < share
    core = radius_px(*seen.shape[2:]) < radius
    return np.where(hidden[:, None, None, None] & core, np.float32(0.0), seen)


def training_rows(
    manifest: pd.DataFrame, design: str, held_out_fold: int | None = None, separation_arcsec: float = 0.0
) -> NDArray[np.bool_]:
    """Say which rows of the training manifest a design trains on, (N,): its train split, evaluation objects never.

    A spatial fold that is held out is not trained on, nor what lies within the separation of its rows.
    """
    rows = _rows(manifest, design, "train") & (manifest["sample_weight"] > 0).to_numpy()
    if held_out_fold is None:
        return rows
    held = fold_rows(manifest, design, held_out_fold)
    near = near_any(manifest, manifest[held], separation_arcsec)
    return rows & ~(manifest["fold"] == held_out_fold).to_numpy() & ~near


def fold_rows(manifest: pd.DataFrame, design: str, fold: int) -> NDArray[np.bool_]:
    """Say which rows of the training manifest validate a spatial fold, (N,): its train and validation splits there."""
    either = _rows(manifest, design, "train") | _rows(manifest, design, "val")
    return either & (manifest["fold"] == fold).to_numpy()


def validation_rows(manifest: pd.DataFrame, design: str) -> NDArray[np.bool_]:
    """Say which rows of the training manifest choose epochs and thresholds, (N,): a design's validation split."""
    return _rows(manifest, design, "val")


def _rows(manifest: pd.DataFrame, design: str, split: str) -> NDArray[np.bool_]:
    member = f"in_{design}"
    if member not in manifest:
        known = ", ".join(name[3:] for name in manifest.columns if str(name).startswith("in_"))
        raise ValueError(f"the manifest has no sampling design {design!r}; its designs are: {known}")
    chosen = manifest[member].fillna(False).astype(bool) & (manifest["split"] == split)
    return (chosen & ~manifest["evaluation_only"].fillna(False).astype(bool)).to_numpy()
