"""Parent samples of lens hosts: luminous red galaxies flagged by variant, and the regions of the sky rich in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import healpy
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads

from lens_assets.campaign.stages.host_selection import VARIANTS, HostSelectionSettings
from lens_assets.sampling.models import Parameter, load_project
from lens_assets.sampling.sql import SourceData, run
from lens_assets.sky.healpix import CELL_NSIDE, coarser, pixel_centres, pixel_of, unit_vectors
from lens_assets.sky.splits import connected_cells

PARENT_MODELS = {variant: f"lrg_parent_{variant}" for variant in VARIANTS}
AREA_NSIDE = 4096
"""Pixels of 0.74 square arcminutes: small in a cell, and large enough to hold a source wherever the survey looked."""

RANKINGS = ("density", "n_lrg", "area_weighted", "psf_weighted")


def lrg_parameters(settings: HostSelectionSettings) -> dict[str, Parameter]:
    """Return the typed parameters of the models of parent samples and regions."""
    regions = settings.regions
    limits: dict[str, Parameter] = {}
    for variant in VARIANTS:
        limits |= {f"lrg_{variant}_{key}": value for key, value in getattr(settings.variants, variant)}
    return limits | {
        "lrg_dense_share": regions.dense_share,
        "lrg_ebv_max": regions.ebv_max,
        "lrg_psfsize_r_max_arcsec": regions.psfsize_r_max_arcsec,
        "lrg_psfdepth_r_min_mag": regions.psfdepth_r_min_mag,
        "lrg_psf_reference_arcsec": regions.psf_reference_arcsec,
        "lrg_psf_scale_arcsec": regions.psf_scale_arcsec,
        "lrg_ebv_factor": regions.ebv_factor,
    }


def flag_sources(
    sweep_sources: pa.Table | Sequence[str], settings: HostSelectionSettings, temporary_folder: Path | None = None
) -> dict[str, pa.Table]:
    """Return the tables of one sky partition: `lrg_sources`, each parent sample, and `lrg_cells`.

    `sweep_sources` is the table or its Parquet files, margin included. Tables are sorted by galaxy_id, cells by pixel.
    """
    targets = ["lrg_sources", *PARENT_MODELS.values(), "lrg_cells"]
    results = run(
        load_project(),
        targets,
        {"sweep_sources": sweep_sources, "lrg_cell_areas": cell_areas(sweep_sources)},
        lrg_parameters(settings),
        temporary_folder=temporary_folder,
    )
    keys = {name: "healpix_128" if name == "lrg_cells" else "galaxy_id" for name in targets}
    return {name: table.sort_by(keys[name]) for name, table in results.tables.items()}


def cell_areas(sweep_sources: pa.Table | Sequence[str]) -> pd.DataFrame:
    """Return healpix_128 and area_deg2 of every cell with own sources: its pixels of `AREA_NSIDE` that hold one.

    Each such pixel lies in one cell, so that an area is the same however the sky is cut into partitions.
    """
    columns = ["ra", "dec", "in_margin"]
    if isinstance(sweep_sources, pa.Table):
        table = sweep_sources.select(columns)
    else:
        table = pads.dataset(list(sweep_sources)).to_table(columns)
    ra, dec, in_margin = (table[name].to_numpy(zero_copy_only=False) for name in columns)
    own = ~in_margin.astype(bool) & np.isfinite(ra) & np.isfinite(dec)
    fine = np.unique(pixel_of(AREA_NSIDE, ra[own], dec[own]))
    cells, held = np.unique(coarser(fine, AREA_NSIDE, CELL_NSIDE), return_counts=True)
    return pd.DataFrame({"healpix_128": cells, "area_deg2": held * healpy.nside2pixarea(AREA_NSIDE, degrees=True)})


def rank_regions(cells: pd.DataFrame, settings: HostSelectionSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (regions, dense cells) of every variant from the cells of the whole footprint (columns of `lrg_cells`).

    Dense cells that touch along an edge or at a corner are one region, wherever partitions end. Regions are sorted by
    variant and density rank and carry the position (ra, dec in degrees) of the mean direction of their cells.
    """
    project, parameters = load_project(), lrg_parameters(settings)
    made = run(project, ["int_lrg_cell_density"], {"lrg_cells": cells}, parameters)
    density = made.tables["int_lrg_cell_density"].to_pandas().sort_values(["variant", "healpix_128"])
    dense = density[density["is_dense"].astype(bool)].reset_index(drop=True)
    dense["region_id"] = dense.groupby("variant")["healpix_128"].transform(
        lambda pixels: connected_cells(pixels.to_numpy(), CELL_NSIDE)
    )
    given: dict[str, SourceData] = {
        "int_lrg_cell_density": made.tables["int_lrg_cell_density"],
        "lrg_region_cells": dense[["variant", "healpix_128", "region_id"]].astype({"region_id": "int64"}),
    }
    regions = run(project, ["lrg_regions"], given, parameters).tables["lrg_regions"].to_pandas()
    regions = regions.merge(_centres(dense), on=["variant", "region_id"], validate="one_to_one")
    return regions.sort_values(["variant", "rank_density"], ignore_index=True), dense


def _centres(dense: pd.DataFrame) -> pd.DataFrame:
    """Return ra and dec (degrees) of the mean direction of the cells of each region."""
    ra, dec = pixel_centres(CELL_NSIDE, dense["healpix_128"])
    vectors = pd.DataFrame(unit_vectors(ra, dec), columns=["x", "y", "z"])
    mean = pd.concat([dense[["variant", "region_id"]], vectors], axis=1).groupby(["variant", "region_id"]).mean()
    return pd.DataFrame(
        {
            "ra": np.degrees(np.arctan2(mean["y"], mean["x"])) % 360.0,
            "dec": np.degrees(np.arctan2(mean["z"], np.hypot(mean["x"], mean["y"]))),
        }
    ).reset_index()
