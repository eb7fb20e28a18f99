"""Sources that are pictures of real galaxies instead of profiles.

A picture is smooth on the scale of its own PSF and pixels, so a regular grid of rays is enough: for pictures of a PSF
of 0.1 arcsec, 4 x 4 a pixel leave 6e-4 in flux and 1.2e-3 of the peak after convolution. Only pixels that can see the
picture are given rays: a first ray at each pixel's centre tells where it lands, and the lens map bounds how far the
rest of the pixel reaches. Between its pixels a picture is interpolated linearly; outside it is dark. Pictures carry
their own PSF into the source plane.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from lens_assets.lensing.geometry import pixel_centres_arcsec
from lens_assets.lensing.mass import Mass, deflection, largest_stretch, mass_columns
from lens_assets.lensing.rays import CACHED_PROFILES, Rays, outer_share

RAYS_PER_PIXEL = 4


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
        brightness = np.asarray(self.pixels, np.float64) / total / self.pixel_scale_arcsec**2
        return torch.tensor(brightness, device="cpu").to(dtype)

    @property
    def reach_arcsec(self) -> float:
        """Half the diagonal, with the pixel over which the interpolation fades beyond the edge."""
        height, width = self.pixels.shape
        return 0.5 * math.hypot(height + 2, width + 2) * self.pixel_scale_arcsec


def shoot_images(
    images: Sequence[SourceImage],
    mass: Mass,
    source_x_arcsec: NDArray[np.float64],
    source_y_arcsec: NDArray[np.float64],
    angle_deg: NDArray[np.float64],
    size_px: int,
    pixel_scale_arcsec: float,
    inner_images: bool = True,
) -> Rays:
    """Return the rays of N pictures, each of unlensed flux one behind its own lens, on N stamps.

    `inner_images` is that of `rays.Profiles`.
    """
    dtype = mass.x_arcsec.dtype
    gallery = _Gallery.hang(images, source_x_arcsec, source_y_arcsec, angle_deg, dtype).to(mass.x_arcsec.device)
    axis = torch.as_tensor(pixel_centres_arcsec(size_px, pixel_scale_arcsec), device="cpu").to(mass.x_arcsec)
    x, y = axis.repeat(size_px), axis.repeat_interleave(size_px)
    every = torch.arange(len(images), device=axis.device)
    parts = [_shoot_pixels(gallery, mass, rows, (x, y), inner_images) for rows in every.split(CACHED_PROFILES)]
    stamps, ray_x, ray_y, flux = (torch.cat(columns) for columns in zip(*parts, strict=True))
    nothing = axis.new_zeros(len(images), size_px, size_px)
    return Rays(stamps, ray_x, ray_y, flux, nothing, every)


def _shoot_pixels(
    gallery: _Gallery, mass: Mass, rows: torch.Tensor, pixels: tuple[torch.Tensor, torch.Tensor], inner_images: bool
) -> tuple[torch.Tensor, ...]:
    """Return (stamp, x, y, flux) of the rays of a few pictures that land on them."""
    x, y = pixels
    side = float(x[1] - x[0])
    lens = mass_columns(mass, rows, trailing_axis=True)
    alpha_x, alpha_y, convergence = deflection(x, y, lens)
    pixel_reach = largest_stretch(convergence, lens).mul_(side / math.sqrt(2.0)).add_(gallery.reach[rows, None])
    dx, dy = x - alpha_x - gallery.x[rows, None], y - alpha_y - gallery.y[rows, None]
    sees = torch.nonzero((dx * dx + dy * dy < pixel_reach * pixel_reach).view(-1))[:, 0]
    row = torch.div(sees, len(x), rounding_mode="floor")
    stamp = rows.index_select(0, row)
    pixel = sees - row * len(x)
    step = side / RAYS_PER_PIXEL
    offset = torch.arange(RAYS_PER_PIXEL, dtype=torch.float64, device=x.device) - (RAYS_PER_PIXEL - 1) / 2.0
    offset = (offset * step).to(x.dtype)
    ray_x = x.index_select(0, pixel) + offset.repeat(RAYS_PER_PIXEL)[:, None]
    ray_y = y.index_select(0, pixel) + offset.repeat_interleave(RAYS_PER_PIXEL)[:, None]
    alpha_x, alpha_y, convergence = deflection(ray_x, ray_y, mass_columns(mass, stamp))
    brightness = gallery.brightness(ray_x - alpha_x, ray_y - alpha_y, stamp)
    if not inner_images:
        brightness *= outer_share(convergence)
    brightness = brightness.view(-1)
    lit = torch.nonzero(brightness)[:, 0]
    everything = (stamp.repeat(RAYS_PER_PIXEL**2), ray_x.view(-1), ray_y.view(-1), brightness.mul_(step * step))
    return tuple(column.index_select(0, lit) for column in everything)


@dataclass(frozen=True)
class _Gallery:
    """N pictures in the source plane, their pixels end to end, each with a dark frame of one pixel."""

    pixels: torch.Tensor
    first: torch.Tensor
    width: torch.Tensor
    height: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    cosine: torch.Tensor
    sine: torch.Tensor
    reach: torch.Tensor

    @staticmethod
    def hang(
        images: Sequence[SourceImage],
        x_arcsec: NDArray[np.float64],
        y_arcsec: NDArray[np.float64],
        angle_deg: NDArray[np.float64],
        dtype: torch.dtype,
    ) -> _Gallery:
        framed = [torch.nn.functional.pad(image.unit_brightness(dtype), (1, 1, 1, 1)) for image in images]
        sizes = np.array([picture.numel() for picture in framed], dtype=np.int64)
        scale = np.array([image.pixel_scale_arcsec for image in images])
        turn = np.deg2rad(np.asarray(angle_deg, dtype=np.float64))
        columns = (
            [picture.shape[1] for picture in framed], [picture.shape[0] for picture in framed],
            x_arcsec, y_arcsec, np.cos(turn) / scale, np.sin(turn) / scale, [image.reach_arcsec for image in images],
        )  # fmt: skip
        return _Gallery(
            torch.cat([picture.view(-1) for picture in framed]),
            torch.as_tensor(np.cumsum(sizes) - sizes, device="cpu"),
            *(torch.tensor(np.asarray(column, dtype=np.float64), device="cpu").to(dtype) for column in columns),
        )

    def to(self, device: torch.device) -> _Gallery:
        return _Gallery(*(getattr(self, column.name).to(device) for column in fields(self)))

    def brightness(self, x_arcsec: torch.Tensor, y_arcsec: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
        """Return the brightness at source-plane points (k, n), column j on picture `picture[j]`; zero outside."""
        first = self.first.index_select(0, picture)
        width, height, x, y, cosine, sine = (
            column.index_select(0, picture)
            for column in (self.width, self.height, self.x, self.y, self.cosine, self.sine)
        )
        dx, dy = x_arcsec - x, y_arcsec - y
        column = torch.addcmul(cosine * dx, sine, dy).add_((width - 1.0) / 2.0)
        row = torch.addcmul(cosine * dy, sine, dx, value=-1.0).add_((height - 1.0) / 2.0)
        # Points beyond the frame are moved onto it, where everything is dark.
        column = torch.minimum(column.clamp_(min=0.0), width - 1.001)
        row = torch.minimum(row.clamp_(min=0.0), height - 1.001)
        left, below = torch.floor(column), torch.floor(row)
        to_right, upwards = column.sub_(left), row.sub_(below)
        corner = (torch.addcmul(left, below, width).long() + first).view(-1)
        wide = width.long().expand_as(left).reshape(-1)
        value = [self.pixels.index_select(0, place).view_as(left) for place in (corner, corner + 1)]
        lower = torch.lerp(value[0], value[1], to_right)
        value = [self.pixels.index_select(0, place).view_as(left) for place in (corner + wide, corner + wide + 1)]
        return torch.lerp(lower, torch.lerp(value[0], value[1], to_right), upwards)
