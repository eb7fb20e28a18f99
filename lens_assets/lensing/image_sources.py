"""Sources that are pictures of real galaxies instead of profiles.

A picture is smooth on the scale of its own PSF and pixels, so a uniform grid of rays is enough: 6 x 6 a pixel leave
1e-3 in flux for pictures of 0.03 arcsec pixels. Between its pixels a picture is interpolated linearly; outside it is
dark. Pictures of finite resolution carry their own PSF into the source plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lens_assets.lensing.mass import MassConstants, deflection
from lens_assets.lensing.rays import Rays

RAYS_PER_PIXEL = 6


@dataclass(frozen=True)
class SourceImage:
    """A picture of a source, (H, W), rows upwards, any flux unit, and the side of its pixels in arcsec.

    `angle_deg` of an injection turns it counter-clockwise on the stamp, towards East from North; the picture's middle
    lies at the source's position.
    """

    pixels: NDArray[np.floating]
    pixel_scale_arcsec: float

    def unit_brightness(self, dtype: torch.dtype) -> torch.Tensor:
        """Return brightness per arcsec^2 of a source of total flux one; ValueError if the picture has no flux."""
        total = float(np.sum(self.pixels, dtype=np.float64))
        if not np.isfinite(self.pixels).all() or total <= 0:
            raise ValueError(
                f"source image of shape {self.pixels.shape}: expected finite pixels of positive sum, got {total}"
            )
        return torch.tensor(np.asarray(self.pixels, np.float64) / total / self.pixel_scale_arcsec**2).to(dtype)


def shoot_images(
    images: Sequence[SourceImage],
    mass: MassConstants,
    source_x_arcsec: NDArray[np.float64],
    source_y_arcsec: NDArray[np.float64],
    angle_deg: NDArray[np.float64],
    size_px: int,
    pixel_scale_arcsec: float,
) -> Rays:
    """Return the rays of N pictures, each of unlensed flux one behind its own lens, on N stamps."""
    dtype = mass.x_arcsec.dtype
    side = pixel_scale_arcsec / RAYS_PER_PIXEL
    steps = size_px * RAYS_PER_PIXEL
    axis = ((torch.arange(steps, dtype=torch.float64) - (steps - 1) / 2.0) * side).to(dtype)
    x, y = axis.repeat(steps), axis.repeat_interleave(steps)
    found = []
    for stamp, image in enumerate(images):
        lens = MassConstants(*(column[stamp] for column in mass))
        alpha_x, alpha_y, _ = deflection(x, y, lens)
        turn = np.deg2rad(angle_deg[stamp])
        dx = x - alpha_x - source_x_arcsec[stamp]
        dy = y - alpha_y - source_y_arcsec[stamp]
        column = (np.cos(turn) * dx + np.sin(turn) * dy) / image.pixel_scale_arcsec
        row = (np.cos(turn) * dy - np.sin(turn) * dx) / image.pixel_scale_arcsec
        brightness = _interpolate(image.unit_brightness(dtype), column, row)
        lit = brightness != 0
        found.append((torch.full_like(x[lit], stamp).long(), x[lit], y[lit], brightness[lit] * side * side))
    none = torch.zeros(len(images), size_px, size_px, dtype=dtype)
    stamps, ray_x, ray_y, flux = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Rays(stamps, ray_x, ray_y, flux, none, torch.arange(len(images)))


def _interpolate(picture: torch.Tensor, column: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Return the picture's values at positions in pixels from its middle, linear between pixels, zero outside."""
    height, width = picture.shape
    normalised = torch.stack([2.0 * column / width, 2.0 * row / height], dim=-1)[None, None]
    sampled = torch.nn.functional.grid_sample(
        picture[None, None], normalised, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return sampled[0, 0, 0]
