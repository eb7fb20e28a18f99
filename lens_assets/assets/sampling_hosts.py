"""The parent samples of the sampling group: luminous red galaxies on every source, and the regions rich in them."""

from __future__ import annotations

from lens_assets.assets.framework import AssetRun, Product, lens_asset
from lens_assets.assets.sampling_sql import asset_name, mart_lineage
from lens_assets.campaign.stages.host_selection import VARIANTS
from lens_assets.sampling.models import inherited_descriptions, load_project

_PARTITION_MODELS = ("lrg_sources", "lrg_cells", *(f"lrg_parent_{variant}" for variant in VARIANTS))


@lens_asset(
    group="sampling",
    team="sampling",
    kinds={"duckdb", "parquet"},
    inputs=("sweep_sources", *map(asset_name, _PARTITION_MODELS)),
    settings=("host_selection",),
    partitions="sky",
    code_version="lrg-sources-4",
)
def lrg_sources(run: AssetRun) -> Product:
    """Every source of a sky partition, flagged by each variant of the selection of luminous red galaxies.

    The side tables `lrg_parent_<variant>` are the parent samples, `lrg_cells` counts and conditions of each cell.
    """
    from lens_assets.sampling.lrg import PARENT_MODELS, flag_sources

    tables = flag_sources(run.parquet_paths("sweep_sources"), run.campaign.host_selection, run.scratch)
    side = {name: tables[name].to_pandas() for name in (*PARENT_MODELS.values(), "lrg_cells")}
    return Product(
        table=tables["lrg_sources"],
        tables=side,
        summary={"sources": tables["lrg_sources"].num_rows}
        | {f"lrg_{variant}": len(side[model]) for variant, model in PARENT_MODELS.items()},
        columns=inherited_descriptions(load_project(), "lrg_sources"),
        column_lineage=mart_lineage(load_project(), run.campaign, "lrg_sources"),
    )


@lens_asset(
    group="sampling",
    team="sampling",
    kinds={"duckdb", "healpix", "parquet"},
    inputs=("lrg_sources", asset_name("int_lrg_cell_density"), asset_name("lrg_regions")),
    settings=("host_selection",),
    code_version="lrg-regions-2",
)
def lrg_regions(run: AssetRun) -> Product:
    """Connected regions of the cells densest in luminous red galaxies, for each variant, ranked four ways.

    By density, by number, by density times the square root of the area, and by density weighted with PSF, depth and
    dust. The side table `dense_cells` says which cells a region has; the map shows one variant.
    """
    from lens_assets.figures.hosts import density_map, rankings_figure
    from lens_assets.sampling.lrg import rank_regions
    from lens_assets.sky.healpix import CELL_NSIDE, pixel_centres

    settings = run.campaign.host_selection
    cells = run.side_table("lrg_sources", "lrg_cells")
    regions, dense = rank_regions(cells, settings)
    shown = settings.regions.map_variant
    ra, dec = pixel_centres(CELL_NSIDE, cells["healpix_128"])
    density = cells[f"n_lrg_{shown}"] / cells["area_deg2"]
    mapped = cells.assign(ra=ra, dec=dec, density_per_deg2=density)
    counts = regions["variant"].value_counts()
    return Product(
        table=regions,
        tables={"dense_cells": dense[["variant", "region_id", "healpix_128", "n_lrg", "density_per_deg2"]]},
        figures={
            "map": density_map(mapped, regions[regions["variant"] == shown], shown),
            "rankings": rankings_figure(regions),
        },
        summary={
            "cells": len(cells),
            "area_deg2": float(cells["area_deg2"].sum()),
            "regions_in_good_conditions": int(regions["good_conditions"].sum()),
            **{f"regions_{variant}": int(counts.get(variant, 0)) for variant in VARIANTS},
            **{f"lrg_{variant}": int(cells[f"n_lrg_{variant}"].sum()) for variant in VARIANTS},
        },
        columns=inherited_descriptions(load_project(), "lrg_regions")
        | {"ra": "mean direction of the region's cells [deg]", "dec": "mean direction of the region's cells [deg]"},
        column_lineage=mart_lineage(load_project(), run.campaign, "lrg_regions"),
    )


@lens_asset(
    group="sampling",
    team="sampling",
    kinds={"duckdb", "parquet"},
    inputs=("lrg_sources", "lrg_regions", "positives", asset_name("legacy_sample"), asset_name("legacy_strata")),
    settings=("sampling",),
    code_version="legacy-sample-1",
)
def legacy_sample(run: AssetRun) -> Product:
    """The tasks of the legacy design: hosts and controls of the earlier pipeline, one row a set, galaxy and replicate.

    Hash-ordered draws of equal number in each bin of PSF and depth, for each selection set (a ranking of the regions
    and a variant of the selection) and split; splits are by brick, and so not those of the campaign. What the bins
    lack is in the table `shortfalls`. A campaign without a legacy design has no rows here.
    """
    from lens_assets.figures.hosts import legacy_figure
    from lens_assets.sampling.legacy import draw_all_legacy

    sample = draw_all_legacy(
        run.campaign.sampling,
        run.parquet_paths("lrg_sources"),
        run.arrow("lrg_regions"),
        run.side_table("lrg_regions", "dense_cells"),
        run.arrow("positives"),
        run.scratch,
    )
    tasks, shortfalls = sample.tasks, sample.shortfalls
    lacking = int(shortfalls["shortfall"].sum())
    if lacking:
        run.log.warning("legacy design: %d galaxies short in %d bins", lacking, len(shortfalls))
    keys = ["design", "selection_set", "legacy_split", "is_control", "control_kind"]
    return Product(
        table=tasks,
        tables={
            "strata": sample.strata,
            "shortfalls": shortfalls,
            "counts": tasks.groupby(keys, dropna=False).size().rename("rows").reset_index(),
        },
        figures={"draws": legacy_figure(sample.strata)},
        summary={
            "rows": len(tasks),
            "galaxies": int(tasks["galaxy_id"].nunique()),
            "selection_sets": int(tasks["selection_set"].nunique()),
            "controls": int(tasks["is_control"].sum()),
            "galaxies_short": lacking,
        },
        columns=inherited_descriptions(load_project(), "legacy_sample"),
        column_lineage=mart_lineage(load_project(), run.campaign, "legacy_sample"),
    )
