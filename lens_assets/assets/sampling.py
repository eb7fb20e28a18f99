"""The sampling group of the lineage: splits, the negative pool, its report, and the sample of every design."""

from __future__ import annotations

from lens_assets.assets.framework import AssetRun, Product, lens_asset
from lens_assets.assets.sampling_sql import SQL_MODELS, asset_name, mart_lineage
from lens_assets.sampling.models import Project, load_project

__all__ = ["SQL_MODELS", "negative_pool", "parity_report", "split_cells", "stratified_sample"]

_PARITY_MARTS = tuple(name for name in load_project().models if name.startswith("parity_"))
_SAMPLE_MARTS = ("stratified_sample", "sample_strata")


@lens_asset(
    group="sampling",
    team="sampling",
    kinds={"healpix", "parquet"},
    inputs=("sweep_sources",),
    settings=("splits",),
    code_version="split-cells-1",
)
def split_cells(run: AssetRun) -> Product:
    """Split, region and fold of every HEALPix cell of the footprint: a pure function of the cell and the seed.

    The footprint is the cells that hold sources. The rule is SHA-256 of "{cell}_{seed}" against the cumulative
    fractions of train, val and test, so that every object of a cell, lens or not, is in the same split.
    """
    import numpy as np
    import pandas as pd

    from lens_assets.figures.survey import sky_map
    from lens_assets.sky.healpix import pixel_centres
    from lens_assets.sky.splits import split_table

    settings = run.campaign.splits
    keys = run.partition_keys_of("sky")
    partition_of: dict[int, str] = {}
    for key in run.progress(keys, "sky partitions", len(keys)):
        cells = run.table("sweep_sources", partition=key, columns=["healpix_128", "in_margin"])
        own = cells.loc[~cells["in_margin"], "healpix_128"].to_numpy()
        partition_of |= dict.fromkeys(np.unique(own).tolist(), key)
    table = split_table(
        np.asarray(list(partition_of), dtype=np.int64),
        nside=settings.cell_nside,
        seed=settings.seed,
        fractions=settings.ordered_fractions,
        hash_nside=settings.hash_nside,
        region_nside=settings.region_nside,
        folds=settings.folds,
    )
    table["sky_partition"] = table["healpix_128"].map(partition_of)
    ra, dec = pixel_centres(settings.cell_nside, table["healpix_128"])
    counts = table["split"].value_counts()
    centres = pd.DataFrame({"ra": ra, "dec": dec, "split": table["split"]})
    return Product(
        table=table,
        figures={"cells": sky_map(centres, "split", f"{len(table)} split cells")},
        tables={"folds": table.groupby(["fold", "split"]).size().rename("cells").reset_index()},
        summary={
            "cells": len(table),
            "regions": int(table["region_id"].nunique()),
            **{f"cells_{name}": int(counts.get(name, 0)) for name in settings.ordered_fractions},
        },
        columns={
            "healpix_128": "HEALPix pixel, nside 128, NESTED",
            "u": "first 32 bits of SHA-256 of cell and seed, in [0, 1)",
            "split": "train, val or test",
            "region_id": "touching cells within one coarse pixel, named by the smallest",
            "fold": "fold of regions for spatial cross-validation",
            "sky_partition": "sky partition that holds the cell",
        },
    )


@lens_asset(
    group="sampling",
    team="sampling",
    kinds={"duckdb", "parquet"},
    inputs=(
        "sweep_sources",
        "split_cells",
        "lens_catalog",
        "spectroscopic_catalog",
        "contaminant_catalog",
        asset_name("negative_pool"),
    ),
    settings=("negatives",),
    partitions="sky",
    code_version="negative-pool-5",
)
def negative_pool(run: AssetRun) -> Product:
    """Every source of a sky partition with each filter and confuser class as a flag, its pool, stratum and split.

    The filters are those of the published searches, in their order; N2 are confusers by the first class that
    matches. What goes beyond the published recipe is marked in the column `recipe`. Sources near any known lens or
    candidate, of whatever catalog, are excluded, and listed with it in the table `near_lenses`; margin rows only serve
    as neighbours.
    """
    import pandas as pd

    from lens_assets.sampling.neighbourhood import (
        known_systems,
        source_neighbourhood,
        sources_near_lenses,
        usable_contaminants,
    )
    from lens_assets.sampling.pool import SWEEP_COLUMNS, build_negative_pool

    settings = run.campaign.negatives
    sources = run.arrow("sweep_sources", columns=SWEEP_COLUMNS)
    positions = sources.select(["galaxy_id", "ra", "dec", "mag_z", "in_margin"]).to_pandas()
    listed = run.table("contaminant_catalog")
    lenses = known_systems(run.table("lens_catalog"), run.table("spectroscopic_catalog"), listed)
    neighbourhood = source_neighbourhood(positions, lenses, usable_contaminants(listed), settings)
    own = positions[~positions["in_margin"].astype(bool)]
    near = sources_near_lenses(own, lenses, settings.filters.exclusion_radius_arcsec)
    results = build_negative_pool(sources, neighbourhood, run.table("split_cells"), settings, run.scratch)
    table = results.tables["negative_pool"]
    pools = pd.Series(table["pool"].to_pylist(), dtype=object).value_counts()
    return Product(
        table=table,
        tables={"near_lenses": near},
        summary={
            "sources": table.num_rows,
            "candidates": int(pools.get("N1", 0) + pools.get("N2", 0)),
            **{f"pool_{name.lower()}": int(pools.get(name, 0)) for name in ("N1", "N1b", "N2")},
            "near_a_lens": len(near),
            "with_similar_neighbours": int((neighbourhood["similar_neighbours"] > 0).sum()),
            "curated_contaminants": int(neighbourhood["contaminant_category"].notna().sum()),
        },
        columns=_descriptions(load_project(), "negative_pool"),
        column_lineage=mart_lineage(load_project(), run.campaign, "negative_pool"),
    )


@lens_asset(
    group="sampling",
    team="sampling",
    kinds={"duckdb", "parquet"},
    inputs=("negative_pool", *map(asset_name, _PARITY_MARTS)),
    settings=("negatives",),
    code_version="parity-report-4",
)
def parity_report(run: AssetRun) -> Product:
    """What each filter removes, alone and in order; per-band failures; counts per stratum, pool and split.

    Says of every row and class whether it is the published recipe or an extension, shows how the confuser classes
    overlap, and warns where the composition of N2 leaves its limits. Other confuser thresholds that the campaign names
    are shown beside its own, on the same sources, with the sources that move. The notes are the whole report.
    """
    from lens_assets.figures.sampling import alternatives_figure, breakdown_figure, cascade_figure, confuser_figure
    from lens_assets.sampling.parity import parity_report as count
    from lens_assets.sampling.parity_page import report_markdown

    report = count(run.parquet_paths("negative_pool"), run.campaign.negatives, run.scratch)
    cascade, confusers = report.tables["parity_cascade"], report.tables["parity_confusers"]
    for line in report.warnings.itertuples():
        run.log.warning("composition of N2, thresholds %s: %s", line.thresholds, line.statement)
    for departure in run.campaign.negatives.departures:
        run.log.warning("not the published recipe: %s", departure)
    published = confusers[confusers["recipe"] == "published"]
    return Product(
        table=cascade,
        tables={name: table for name, table in report.tables.items() if name != "parity_cascade"}
        | {"warnings": report.warnings},
        figures={
            "cascade": cascade_figure(cascade),
            "breakdown": breakdown_figure(report.tables["parity_breakdown"]),
            "confusers": confuser_figure(confusers, report.tables["parity_overlap"]),
            **{
                f"alternative_{name}": alternatives_figure(table)
                for name, table in report.tables["alternatives"].groupby("alternative", sort=False)
            },
        },
        summary={
            "sources": int(cascade["rows_in"].max()),
            "candidates": report.candidates,
            "published_n2_rate": float(published["share_of_candidates"].sum()),
            "n2_rate": float(confusers["share_of_candidates"].sum()),
            "warnings": len(report.warnings),
            "departures_from_published": len(run.campaign.negatives.departures),
            "near_a_lens_in_order": int(cascade.set_index("filter").loc["exclusion", "fails_in_order"]),
        },
        columns={**_descriptions(load_project(), "parity_cascade"), "enabled": "the campaign uses the filter"},
        column_lineage=mart_lineage(load_project(), run.campaign, "parity_cascade"),
        markdown=report_markdown(report, run.campaign.negatives),
    )


@lens_asset(
    group="sampling",
    team="sampling",
    kinds={"duckdb", "parquet"},
    inputs=("negative_pool", "positives", "split_cells", *map(asset_name, _SAMPLE_MARTS)),
    settings=("sampling", "negatives"),
    code_version="stratified-sample-4",
)
def stratified_sample(run: AssetRun) -> Product:
    """The sample of every design: its lenses, and the negatives with the smallest hash in each stratum and split.

    A larger target only adds rows, and no row depends on the order or partitioning of its inputs. What a stratum
    lacks is drawn from the neighbouring exposure bin of the same type. What is still lacking, of N1, of N2 or of a
    random design, is in the table `shortfalls` and a warning in the log. Stamps are cut for the union of the designs.
    """
    from lens_assets.figures.sampling import strata_figure
    from lens_assets.sampling.parity import require_candidates
    from lens_assets.sampling.stratified import draw_all

    settings = run.campaign.sampling
    require_candidates(run.parquet_paths("negative_pool"), run.campaign.negatives, run.scratch)
    sample = draw_all(
        settings,
        run.parquet_paths("negative_pool"),
        run.arrow("positives"),
        run.table("split_cells"),
        run.campaign.negatives.nobs_z_bins,
        run.scratch,
    )
    rows, shortfalls = sample.rows, sample.shortfalls
    short = shortfalls[shortfalls["shortfall"] > 0]
    for line in short.itertuples():
        place = f"stratum {line.stratum}" if line.pool == "N1" else f"pool {line.pool}"
        run.log.warning(
            "design %s, %s, %s: %d wanted, %d drawn, %d short", line.design, line.split, place,
            line.wanted, line.drawn, line.shortfall,
        )  # fmt: skip
    counts = rows.groupby(["design", "split", "tier"], dropna=False).size().rename("rows").reset_index()
    return Product(
        table=rows,
        tables={"counts": counts, "strata": sample.strata, "confusers": sample.confusers, "shortfalls": shortfalls},
        figures={f"strata_{name}": strata_figure(sample.strata, name) for name in sample.strata["design"].unique()},
        summary={
            "rows": len(rows),
            "galaxies": int(rows["galaxy_id"].nunique()),
            "lenses": int(rows.loc[rows["label"] == 1, "galaxy_id"].nunique()),
            "strata_short": int((short["pool"] == "N1").sum()),
            "n1_short": int(short.loc[short["pool"] == "N1", "shortfall"].sum()),
            "n2_short": int(short.loc[short["pool"] == "N2", "shortfall"].sum()),
            "random_rows_short": int(short.loc[short["pool"] == "any", "shortfall"].sum()),
            **{f"rows_{name}": int(count) for name, count in rows["design"].value_counts().items()},
        },
        columns=_descriptions(load_project(), "stratified_sample"),
        column_lineage=mart_lineage(load_project(), run.campaign, "stratified_sample"),
    )


def _descriptions(project: Project, model: str) -> dict[str, str]:
    """Return the documented columns of a model and of everything above it."""
    from lens_assets.sampling.models import inherited_descriptions

    return inherited_descriptions(project, model)
