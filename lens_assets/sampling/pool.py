"""The negative pool of one sky partition: its parameters, and the SQL models run over its sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from lens_assets.campaign.stages.negatives import CONFUSER_CLASSES, CountBin, NegativesSettings
from lens_assets.sampling.models import Parameter, load_project
from lens_assets.sampling.sql import Results, run
from lens_assets.survey.schemas import bit_positions_to_mask

PUBLISHED_COLUMNS = (
    "galaxy_id", "brickname", "objid", "ra", "dec", "type", "nobs_z", "nobs_z_bin", "type_bin",
    "flux_g", "flux_r", "flux_z", "flux_w1", "mag_g", "mag_r", "mag_z", "g_minus_r", "r_minus_z", "z_minus_w1",
    "psfsize_g", "psfsize_r", "psfsize_z", "psfdepth_g", "psfdepth_r", "psfdepth_z",
    "galdepth_g", "galdepth_r", "galdepth_z", "ebv", "maskbits", "fitbits",
    "mw_transmission_g", "mw_transmission_r", "mw_transmission_z", "shape_r", "shape_e1", "shape_e2", "sersic",
    "healpix_64", "healpix_128", "split", "pool", "confuser_category", "sweep_file", "row_index",
    "pipeline_version", "git_commit", "extraction_timestamp",
)  # fmt: skip
"""The columns of the published negative pool, in its order."""

PUBLISHED_CLASSES = CONFUSER_CLASSES[:4]
SWEEP_COLUMNS = tuple(load_project().sources["sweep_sources"].columns)
"""The columns of `sweep_sources` that the models read."""
LARGEST_COUNT = 32767
"""Upper end of an open bin of exposure counts: the largest NOBS a sweep can hold (int16)."""


def pool_parameters(settings: NegativesSettings) -> dict[str, Parameter]:
    """Return the typed parameters of the models of the negative pool."""
    filters, extensions, classes = settings.filters, settings.extensions, settings.confusers
    return {
        "dec_min_deg": filters.dec_min_deg,
        "dec_max_deg": filters.dec_max_deg,
        "types": filters.types,
        "mask": bit_positions_to_mask(filters.mask_bits),
        "nobs_min": filters.nobs_min,
        "mag_z_max": filters.mag_z_max,
        "exclusion_radius_arcsec": filters.exclusion_radius_arcsec,
        "ebv_max": extensions.ebv_max,
        "galactic_latitude_min_deg": extensions.galactic_latitude_min_deg,
        "psfsize_r_max_arcsec": extensions.psfsize_r_max_arcsec,
        "psfdepth_r_min_mag": extensions.psfdepth_r_min_mag,
        "strict_mask": bit_positions_to_mask(extensions.strict_mask_bits),
        "n1b_types": extensions.n1b_types,
        "n2_extra_types": extensions.n2_extra_types,
        "confuser_classes": extensions.confuser_classes,
        "ring_sersic_min": classes.ring.sersic_min,
        "ring_flux_r_min": classes.ring.flux_r_min_nanomaggies,
        "edge_on_ellipticity_min": classes.edge_on.ellipticity_min,
        "edge_on_shape_r_min": classes.edge_on.shape_r_min_arcsec,
        "edge_on_shape_r_min_without_ellipticity": classes.edge_on.shape_r_min_without_ellipticity_arcsec,
        "blue_clumpy_g_minus_r_max": classes.blue_clumpy.g_minus_r_max,
        "blue_clumpy_mag_r_max": classes.blue_clumpy.mag_r_max,
        "large_shape_r_min": classes.large_galaxy.shape_r_min_arcsec,
        "large_flux_r_min": classes.large_galaxy.flux_r_min_nanomaggies,
        "merger_fracflux_r_min": classes.merger.fracflux_r_min,
        "spiral_g_minus_r_max": classes.spiral.g_minus_r_max,
        "spiral_shape_r_min": classes.spiral.shape_r_min_arcsec,
        "pointy_sersic_min": classes.pointy_core.sersic_min,
        "pointy_shape_r_max": classes.pointy_core.shape_r_max_arcsec,
        "bright_star_mask": bit_positions_to_mask(classes.bright_star.mask_bits),
        "pipeline_version": settings.pipeline_version,
    }


def count_bins_table(bins: Sequence[CountBin]) -> pd.DataFrame:
    """Return bins of an exposure count as a table: ordinal, label, low, high."""
    return pd.DataFrame(
        {
            "ordinal": range(1, len(bins) + 1),
            "label": [item.label for item in bins],
            "low": [item.low for item in bins],
            "high": [LARGEST_COUNT if item.high is None else item.high for item in bins],
        }
    )


def build_negative_pool(
    sweep_sources: pa.Table | list[str],
    neighbourhood: pd.DataFrame,
    split_cells: pd.DataFrame,
    settings: NegativesSettings,
    temporary_folder: Path | None = None,
) -> Results:
    """Run the models of the negative pool over one partition's sources; the table is sorted by galaxy_id.

    `sweep_sources` is the table or its Parquet files, margin included; `neighbourhood` as `source_neighbourhood`
    makes it. Raises ModelTestError where a source lies in no split cell.
    """
    results = run(
        load_project(),
        ["negative_pool"],
        {
            "sweep_sources": sweep_sources,
            "source_neighbourhood": neighbourhood,
            "split_cells": split_cells,
            "nobs_z_bins": count_bins_table(settings.nobs_z_bins),
        },
        pool_parameters(settings),
        temporary_folder=temporary_folder,
    )
    order = [("galaxy_id", "ascending"), ("sweep_file", "ascending"), ("row_index", "ascending")]
    results.tables["negative_pool"] = results.tables["negative_pool"].sort_by(order)
    return results
