"""The positives of the sampling group: lenses matched to Tractor sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset

if TYPE_CHECKING:
    import pandas as pd


@lens_asset(
    group="sampling",
    team="sampling",
    kinds={"parquet"},
    inputs=("lens_catalog", "spectroscopic_catalog", "sweep_sources", "split_cells"),
    settings=("catalogs",),
    code_version="positives-1",
)
def positives(run: AssetRun) -> Product:
    """Lenses matched to their nearest Tractor source, with the source's columns, cell and split.

    One row a usable entry of the lens catalog. An entry without a match keeps its row with the reason: outside the
    footprint, no source in the radius, masked, filtered, the source of another lens, or a duplicate entry.
    """
    from lens_assets.catalogs.positives import match_positives, sources_near, usable_lenses

    settings = run.campaign.catalogs
    lenses = usable_lenses(run.table("lens_catalog"), run.table("spectroscopic_catalog"))
    sources = sources_near(
        run.progress(run.parquet_paths("sweep_sources"), "partitions", len(run.partition_keys_of("sky"))),
        lenses["ra"].to_numpy(),
        lenses["dec"].to_numpy(),
        settings.coverage_radius_arcsec,
    )
    matches = match_positives(lenses, sources, run.table("split_cells"), settings)
    matched = matches[matches["matched"]]
    reasons = matches["unmatched_reason"].value_counts().sort_index()
    return Product(
        table=matches,
        tables={"by_split": _by_split(matched), "unmatched": reasons.rename("lenses").reset_index()},
        figures={"matches": _figure(matches)},
        summary={
            "lenses": len(matches),
            "matched": len(matched),
            "matched_tier_a": int((matched["tier"] == "A").sum()),
            "matched_tier_b": int((matched["tier"] == "B").sum()),
            "evaluation_only": int(matched["evaluation_only"].sum()),
            "ambiguous": int(matched["ambiguous"].sum()),
            "median_separation_arcsec": float(matched["separation_arcsec"].median()) if len(matched) else -1.0,
        }
        | {f"unmatched_{name}": int(count) for name, count in reasons.items()},
        columns={
            "separation_arcsec": "lens to source [arcsec]",
            "ambiguous": "more than one source within the match radius",
            "unmatched_reason": "why there is no usable source",
            "evaluation_only": "never trained on",
            "lens_ra": "right ascension of the lens [deg]",
            "ra": "right ascension of the source [deg]",
            "weight": "sample weight of the tier",
        },
    )


def _by_split(matched: pd.DataFrame) -> pd.DataFrame:
    counted = matched.groupby(["split", "tier", "evaluation_only"], observed=True, dropna=False).size()
    return counted.rename("lenses").reset_index()


def _figure(matches: pd.DataFrame):  # type: ignore[no-untyped-def]  # matplotlib is imported late
    from lens_assets.figures.survey import match_figure

    return match_figure(matches)
