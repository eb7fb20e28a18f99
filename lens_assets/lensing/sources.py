"""From truth rows to what the renderer draws: lenses, profiles with clumps, pictures of a bank, and fluxes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lens_assets.campaign.stages.injection import ClumpSettings, FileSettings, InjectionSettings
from lens_assets.lensing.geometry import angle_from_x_rad
from lens_assets.lensing.image_sources import SourceImage
from lens_assets.lensing.light import light_constants
from lens_assets.lensing.mass import ISOTHERMAL_SLOPE, Mass, mass_columns, mass_constants, power_law_constants
from lens_assets.lensing.rays import Profiles
from lens_assets.lensing.source_bank import SourceBank, read_bank
from lens_assets.sky.randomness import generator
from lens_assets.survey.units import mag_to_flux

LENS_COLUMNS = ("theta_e_arcsec", "lens_axis_ratio", "lens_angle_deg", "shear_g1", "shear_g2",
                "lens_x_arcsec", "lens_y_arcsec", "lens_density_slope")  # fmt: skip


def source_fluxes(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Return unlensed total fluxes by band, nanomaggies, shape (N, 3); zero for an infinite magnitude."""
    r = rows["source_mag_r"].to_numpy(np.float64)
    g = r + rows["source_g_minus_r"].to_numpy(np.float64)
    z = r - rows["source_r_minus_z"].to_numpy(np.float64)
    return mag_to_flux(np.stack([g, r, z], axis=1))


def lens_of(rows: pd.DataFrame, dtype: torch.dtype = torch.float64) -> Mass:
    """Return the deflectors of truth rows: isothermal ones where every slope is, which is faster."""
    theta_e, q, angle, g1, g2, x, y, slope = (rows[name].to_numpy(np.float64) for name in LENS_COLUMNS)
    if (slope == ISOTHERMAL_SLOPE).all():
        return mass_constants(theta_e, q, angle, g1, g2, x, y, dtype)
    return power_law_constants(theta_e, q, angle, g1, g2, x, y, slope, dtype)


def source_profiles(rows: pd.DataFrame, settings: InjectionSettings, dtype: torch.dtype = torch.float32) -> Profiles:
    """Return the light profiles of truth rows behind their lenses: one Sersic each, then the clumps."""
    columns = ["source_x_arcsec", "source_y_arcsec", "source_half_light_radius_arcsec", "source_sersic_index",
               "source_axis_ratio", "source_angle_deg"]  # fmt: skip
    clumps = settings.source.clumps
    main = rows[columns].to_numpy(np.float64)
    count = rows["source_clumps"].to_numpy(np.int64)
    fraction = np.where(count > 0, rows["source_clump_flux_fraction"].to_numpy(np.float64), 0.0)
    stamps = [np.arange(len(rows))]
    shapes, fluxes = [main], [1.0 - fraction]
    for row in np.flatnonzero(count):
        knots = _clumps(main[row], int(count[row]), settings.seed, str(rows["injection_id"].iloc[row]), clumps)
        stamps.append(np.full(len(knots), row))
        shapes.append(knots)
        fluxes.append(np.full(len(knots), fraction[row] / count[row]))
    stamp = np.concatenate(stamps)
    x, y, radius, index, ratio, angle = np.concatenate(shapes).T
    light = light_constants(x, y, radius, index, ratio, angle, np.concatenate(fluxes), dtype)
    row_of = torch.as_tensor(stamp)
    inner = settings.renderer.inner_images == "included"
    return Profiles(mass_columns(lens_of(rows, dtype), row_of), light, row_of, inner_images=inner)


def source_pictures(rows: pd.DataFrame, settings: InjectionSettings) -> list[SourceImage] | None:
    """Return each row's picture of the campaign's bank, of the row's half-light radius; None for Sersic sources."""
    if settings.source.light == "sersic":
        return None
    bank = _bank(settings.source.bank)
    choice = bank.choose(settings.seed, rows["injection_id"].astype(str).tolist())
    return bank.scaled(choice, rows["source_half_light_radius_arcsec"].to_numpy(np.float64))


@lru_cache(maxsize=2)
def _bank(file: FileSettings) -> SourceBank:
    return read_bank(Path(file.path), file.sha256)


def _clumps(
    source: NDArray[np.float64], count: int, seed: int, injection_id: str, settings: ClumpSettings
) -> NDArray[np.float64]:
    """Return round exponential knots placed uniformly within the source's half-light ellipse, shape (count, 6)."""
    x, y, radius, _, ratio, angle_deg = source
    stream = generator(seed, injection_id, "clump_positions")
    distance = radius * np.sqrt(stream.uniform(size=count))
    direction = stream.uniform(0.0, 2.0 * np.pi, size=count)
    along = distance * np.cos(direction) / np.sqrt(ratio)
    across = distance * np.sin(direction) * np.sqrt(ratio)
    turn = float(angle_from_x_rad(angle_deg))
    knots = np.empty((count, 6))
    knots[:, 0] = x + along * np.cos(turn) - across * np.sin(turn)
    knots[:, 1] = y + along * np.sin(turn) + across * np.cos(turn)
    knots[:, 2:] = (radius * settings.radius_fraction, 1.0, 1.0, 0.0)
    return knots
