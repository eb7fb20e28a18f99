"""Settings of the cutouts: the size of a stamp and how many failures are tolerated."""

from __future__ import annotations

from pydantic import model_validator

from lens_assets.campaign.base import Settings, setting


class CutoutsSettings(Settings):
    """How stamps are cut from the coadds."""

    stamp_pixels: int = setting("side of a stamp, odd so that the target has a central pixel", "pixel", ge=33, le=255)
    layer: str = setting("name of the imaging, written into the manifest", min_length=1)
    warn_failed_fraction: float = setting("share of wanted stamps without one that warns", "fraction", ge=0, le=1)
    max_failed_fraction: float = setting("share of wanted stamps without one that fails", "fraction", ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> CutoutsSettings:
        if self.stamp_pixels % 2 == 0:
            raise ValueError(f"stamp_pixels is {self.stamp_pixels}; expected an odd number, e.g. 101")
        if self.warn_failed_fraction > self.max_failed_fraction:
            raise ValueError(
                f"warn_failed_fraction {self.warn_failed_fraction} exceeds max_failed_fraction "
                f"{self.max_failed_fraction}; expected it not to"
            )
        return self
