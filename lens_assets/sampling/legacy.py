"""The legacy design: hosts drawn in bins of seeing and depth from regions rich in luminous red galaxies.

It is how an earlier pipeline chose the galaxies into which it injected arcs: a hash-ordered draw of a fixed number per
selection set and split, spread over bins of PSF and depth; half of it controls; one configuration a galaxy; splits by
brick. That pipeline hashed with xxHash64, which only Spark has: the hash here is SHA-256, so the rule is the same and
the galaxies are others. Its splits are by brick and not those of the campaign, which is why its rows are tasks of their
own and never rows of the training sample.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads

from lens_assets.campaign.stages.sampling import LegacyDesign, SamplingSettings
from lens_assets.sampling.models import Parameter, load_project
from lens_assets.sampling.sql import SourceData, empty_source, run
from lens_assets.sampling.stratified import EmptySampleError, quantile_edges

HEX_DIGITS = 8
_KEYS = ["selection_set", "legacy_split", "psf_bin", "depth_bin"]


@dataclass(frozen=True)
class LegacySample:
    """Tasks of all legacy designs, and what each set, split and bin wanted, had and gave."""

    tasks: pd.DataFrame
    strata: pd.DataFrame

    @property
    def shortfalls(self) -> pd.DataFrame:
        """Bins that hold fewer galaxies than were wanted."""
        return self.strata[self.strata["shortfall"] > 0].reset_index(drop=True)


def legacy_parameters(name: str, design: LegacyDesign) -> dict[str, Parameter]:
    """Return the typed parameters of the models for one legacy design."""
    return {
        "legacy_design": name,
        "legacy_variants": design.variants,
        "legacy_rankings": design.rankings,
        "legacy_regions": design.regions_per_ranking,
        "legacy_without_lenses": design.without_lenses,
        "legacy_seed": design.seed,
        "legacy_cap_seed": design.seed + 1,
        "legacy_configuration_seed": design.seed + design.configuration_seed_offset,
        "legacy_control_seed": design.seed + design.control_seed_offset,
        "legacy_rows": design.rows_per_set_and_split,
        "legacy_rows_per_bin": math.ceil(design.rows_per_set_and_split / design.bins_per_axis**2),
        "legacy_configurations": len(configurations_table(design)),
        "legacy_unpaired_replicates": design.unpaired_replicates,
        "legacy_control_below": hex_below(design.control_fraction),
        "legacy_train_below": hex_below(design.fraction_train),
        "legacy_val_below": hex_below(design.fraction_train + design.fraction_val),
    }


NO_LEGACY: Mapping[str, Parameter] = {
    "legacy_design": "none",
    "legacy_variants": (),
    "legacy_rankings": (),
    "legacy_regions": 0,
    "legacy_without_lenses": True,
    "legacy_seed": 0,
    "legacy_cap_seed": 0,
    "legacy_configuration_seed": 0,
    "legacy_control_seed": 0,
    "legacy_rows": 0,
    "legacy_rows_per_bin": 0,
    "legacy_configurations": 1,
    "legacy_unpaired_replicates": 0,
    "legacy_control_below": "0",
    "legacy_train_below": "0",
    "legacy_val_below": "0",
}
"""Parameters of a campaign that has no legacy design: nothing is drawn."""


def hex_below(fraction: float) -> str:
    """Return the hexadecimal text that a share of all 32-bit hashes lies below, as texts of eight digits are ordered.

    "g" comes after every digit, and so stands for all of them.
    """
    edge = round(fraction * 16**HEX_DIGITS)
    return "g" if edge >= 16**HEX_DIGITS else f"{edge:0{HEX_DIGITS}x}"


def configurations_table(design: LegacyDesign) -> pd.DataFrame:
    """Return every combination of the values of the design's grid: ordinal, configuration_id, and the values."""
    grid = design.configurations
    axes = {
        "theta_e_arcsec": grid.theta_e_arcsec,
        "source_delta_mag": grid.source_delta_mag,
        "source_half_light_radius_arcsec": grid.source_half_light_radius_arcsec,
        "source_ellipticity": grid.source_ellipticity,
        "shear": grid.shear,
    }
    table = pd.DataFrame(itertools.product(*axes.values()), columns=list(axes)).astype(float)
    table.insert(0, "ordinal", np.arange(len(table)))
    table.insert(1, "configuration_id", [f"{number:04d}" for number in range(len(table))])
    return table


def bins_table(design: LegacyDesign, sources: pa.Table) -> pd.DataFrame:
    """Return the bins of PSF and depth: axis, ordinal, low, high.

    `sources` has psfsize_r, psfdepth_r_mag and the flags lrg_<variant>; edges that the design does not state are
    quantiles of the galaxies of its variants.
    """
    frame = sources.to_pandas()
    hosts = frame[frame[[f"lrg_{variant}" for variant in design.variants]].any(axis=1)]
    stated = {"psfsize_r": design.psf_edges_arcsec, "psfdepth_r_mag": design.depth_edges_mag}
    rows = []
    for axis, edges in stated.items():
        inner = edges or quantile_edges(hosts[axis], design.bins_per_axis)
        for ordinal, (low, high) in enumerate(itertools.pairwise([-np.inf, *inner, np.inf]), start=1):
            rows.append((axis, ordinal, low, high))
    return pd.DataFrame(rows, columns=["axis", "ordinal", "low", "high"])


def draw_legacy(
    name: str,
    design: LegacyDesign,
    lrg_sources: pa.Table | list[str],
    lrg_regions: pa.Table,
    region_cells: pd.DataFrame,
    positives: pd.DataFrame | pa.Table,
    temporary_folder: Path | None = None,
) -> LegacySample:
    """Draw one legacy design; tasks are sorted by selection set, split, drawn galaxy and replicate.

    `lrg_sources` is the flagged sources, a table or its Parquet files; `region_cells` has variant, healpix_128 and
    region_id of every dense cell. Raises EmptySampleError where no selection set holds a galaxy.
    """
    sources: dict[str, SourceData] = {
        "lrg_sources": lrg_sources,
        "lrg_regions": lrg_regions,
        "lrg_region_cells": region_cells,
        "positives": positives,
        "legacy_bins": bins_table(design, _conditions(lrg_sources, design)),
        "legacy_configurations": configurations_table(design),
        "legacy_replicates": pd.DataFrame({"replicate": range(design.replicates)}),
    }
    sample = _run(sources, legacy_parameters(name, design), temporary_folder)
    if sample.tasks.empty:
        raise EmptySampleError(
            f"design {name} draws no galaxy; expected luminous red galaxies of {', '.join(design.variants)} in the "
            f"first {design.regions_per_ranking} regions by {', '.join(design.rankings)}: look at lrg_regions"
        )
    return sample


def draw_all_legacy(
    settings: SamplingSettings,
    lrg_sources: pa.Table | list[str],
    lrg_regions: pa.Table,
    region_cells: pd.DataFrame,
    positives: pd.DataFrame | pa.Table,
    temporary_folder: Path | None = None,
) -> LegacySample:
    """Draw every legacy design of a campaign; without one, tables without rows."""
    if not settings.legacy:
        made: dict[str, SourceData] = {
            "lrg_sources": lrg_sources,
            "lrg_regions": lrg_regions,
            "lrg_region_cells": region_cells,
            "positives": positives,
        }
        own = ("legacy_bins", "legacy_configurations", "legacy_replicates")
        made |= {name: empty_source(load_project().sources[name]) for name in own}
        return _run(made, NO_LEGACY, temporary_folder)
    given = (lrg_sources, lrg_regions, region_cells, positives, temporary_folder)
    samples = [draw_legacy(name, design, *given) for name, design in sorted(settings.legacy.items())]
    return LegacySample(
        pd.concat([sample.tasks for sample in samples], ignore_index=True),
        pd.concat([sample.strata for sample in samples], ignore_index=True),
    )


def _run(
    sources: Mapping[str, SourceData], parameters: Mapping[str, Parameter], temporary_folder: Path | None
) -> LegacySample:
    targets = ["legacy_sample", "legacy_strata"]
    results = run(load_project(), targets, sources, parameters, temporary_folder=temporary_folder)
    tasks = results.tables["legacy_sample"].to_pandas()
    order = ["selection_set", "legacy_split", "drawn_galaxy_id", "replicate"]
    strata = results.tables["legacy_strata"].to_pandas()
    return LegacySample(tasks.sort_values(order, ignore_index=True), strata.sort_values(_KEYS, ignore_index=True))


def _conditions(lrg_sources: pa.Table | list[str], design: LegacyDesign) -> pa.Table:
    """Return the columns of the sources that the bins are made from."""
    columns = ["psfsize_r", "psfdepth_r_mag", *(f"lrg_{variant}" for variant in design.variants)]
    if isinstance(lrg_sources, pa.Table):
        return lrg_sources.select(columns)
    return pads.dataset(lrg_sources).to_table(columns)
