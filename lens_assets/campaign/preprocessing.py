"""Settings of the one preprocessing of stamps; every experiment holds a copy, and `imaging.preprocessing` obeys it."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from lens_assets.campaign.base import Settings, setting


class PreprocessingSettings(Settings):
    """How a stamp in nanomaggies becomes what a detector sees."""

    input_pixels: int = setting("side of the stamps as cut", "pixel", ge=16, le=1024)
    stamp_pixels: int = setting("side of the central crop that the detector sees", "pixel", ge=16, le=1024)
    annulus_inner_px: float = setting("inner radius of the sky annulus on the full stamp", "pixel", gt=0)
    annulus_outer_px: float = setting("outer radius of the sky annulus on the full stamp", "pixel", gt=0)
    arc_radius_px: float = setting("radius that holds host and arcs; the sky annulus begins outside it", "pixel", gt=0)
    clip: float = setting("largest absolute value kept", "sky sigma", gt=0)
    asinh_softening: float | None = setting("linear range of the asinh stretch; null: none", "sky sigma", gt=0)
    mask: Literal["none", "core_only", "annulus_only", "residual"] = setting(
        "what the detector may see: all, only the core, all but the core, or all minus the host"
    )
    core_radius_px: float = setting("radius of the core that core_only keeps and annulus_only drops", "pixel", gt=0)

    @model_validator(mode="after")
    def _annulus_is_sky(self) -> PreprocessingSettings:
        if self.stamp_pixels > self.input_pixels:
            raise ValueError(f"stamp_pixels {self.stamp_pixels} exceeds input_pixels {self.input_pixels}")
        half = self.input_pixels // 2
        if not self.arc_radius_px <= self.annulus_inner_px < self.annulus_outer_px <= half:
            raise ValueError(
                "expected arc_radius_px <= annulus_inner_px < annulus_outer_px <= input_pixels // 2, got "
                f"{self.arc_radius_px}, {self.annulus_inner_px}, {self.annulus_outer_px}, {half}: an annulus "
                "over the host or its arcs would divide by their light (101 px stamps: 32.5 to 45 px)"
            )
        if self.core_radius_px >= self.stamp_pixels / 2:
            raise ValueError(f"core_radius_px {self.core_radius_px} covers the crop of {self.stamp_pixels} px")
        return self
