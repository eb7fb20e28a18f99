"""Settings of the splits: how the sky is divided into train, validation and test, regions and folds."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from lens_assets.campaign.base import Settings, setting

Nside = Literal[4, 8, 16, 32, 64, 128]


class SplitFractions(Settings):
    """Shares of the sky. The order of the fields is the order in which the cumulative thresholds are walked."""

    train: float = setting("share of cells to train on", "fraction", gt=0, lt=1)
    val: float = setting("share of cells to choose models and thresholds on", "fraction", gt=0, lt=1)
    test: float = setting(
        "share of cells held out; 0 is the published 70/30 mode, without evaluation", "fraction", ge=0, lt=1
    )

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitFractions:
        total = self.train + self.val + self.test
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"splits.fractions train + val + test = {total}; expected exactly 1")
        return self


class SplitsSettings(Settings):
    """The split of a cell is SHA-256 of "{cell}_{seed}" against cumulative fractions."""

    cell_nside: Literal[128] = setting("HEALPix nside (NESTED) of a split cell; 27 arcmin")
    hash_nside: Nside = setting("nside of the hashed pixel: 128 hashes each cell, less makes contiguous blocks")
    seed: int = setting("seed of the hash", ge=0, le=2**31 - 1)
    fractions: SplitFractions = setting("shares of train, val and test, in this order")
    region_nside: Nside = setting("regions are touching cells within one pixel of this nside")
    folds: int = setting("folds of regions for spatial cross-validation", ge=2, le=50)

    @property
    def ordered_fractions(self) -> dict[str, float]:
        """Split name to fraction, in the order in which thresholds are walked."""
        return {"train": self.fractions.train, "val": self.fractions.val, "test": self.fractions.test}
