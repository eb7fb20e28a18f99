"""The footprint's conditions: how much of the sky each (PSF, depth) condition holds, and how much lies outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset
from lens_assets.assets.selection_readers import stated_file

if TYPE_CHECKING:
    import pandas as pd


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet"},
    inputs=("sweep_sources", "split_cells"),
    settings=("selection_function", "negatives"),
    code_version="footprint-conditions-1",
)
def footprint_conditions(run: AssetRun) -> Product:
    """The share of the footprint in each condition of every named grid, and outside it: what weights marginals.

    Area is counted from the survey's randoms where the campaign names some. Without them catalogued sources stand in,
    which follow area but for their own selection; the column `weights` says which.
    """
    import pandas as pd

    from lens_assets.figures.selection_function import footprint_map
    from lens_assets.selection.footprint import FOOTPRINT_COLUMNS, OUTSIDE_GRID, condition_table

    settings = run.campaign.selection_function
    weights = "footprint, randoms" if settings.randoms else "footprint, sources"
    counts = _counts_of_randoms(run) if settings.randoms else _counts_of_sources(run)
    tables = {grid.name: condition_table(grid, counts[grid.name], weights) for grid in settings.grids}
    table = pd.concat(tables.values(), ignore_index=True)
    outside = {name: float(one.set_index("condition")["share"][OUTSIDE_GRID]) for name, one in tables.items()}
    audited = tables[settings.audited_grid]
    filled = audited.loc[(audited["n"] > 0) & (audited["condition"] != OUTSIDE_GRID)]
    return Product(
        table=table,
        figures={"footprint": footprint_map(audited, outside[settings.audited_grid], weights)},
        summary={
            "positions": int(audited["n"].sum()),
            "weights": weights,
            "conditions_with_area": len(filled),
            **{f"outside_{name}": share for name, share in outside.items()},
        },
        columns=FOOTPRINT_COLUMNS,
    )


def _mask(run: AssetRun) -> int:
    from lens_assets.survey.schemas import bit_positions_to_mask

    return bit_positions_to_mask(run.campaign.negatives.filters.mask_bits)


def _counts_of_sources(run: AssetRun) -> dict[str, pd.Series]:
    from lens_assets.selection.footprint import count_conditions

    grids, mask = run.campaign.selection_function.grids, _mask(run)
    totals = {grid.name: count_conditions(grid, [], []) for grid in grids}
    columns = ["in_margin", "maskbits", "psfsize_r", "psfdepth_r_mag"]
    for key in run.progress(run.partition_keys_of("sky"), "sources by condition"):
        rows = run.table("sweep_sources", key, columns)
        rows = rows[~rows["in_margin"] & ((rows["maskbits"].astype("int64") & mask) == 0)]
        for grid in grids:
            totals[grid.name] = totals[grid.name] + count_conditions(grid, rows["psfsize_r"], rows["psfdepth_r_mag"])
    return totals


def _counts_of_randoms(run: AssetRun) -> dict[str, pd.Series]:
    from lens_assets.selection.footprint import count_conditions, count_randoms
    from lens_assets.sky.healpix import CELL_NSIDE

    settings = run.campaign.selection_function
    cells = run.table("split_cells", columns=["healpix_128"])["healpix_128"]
    totals = {grid.name: count_conditions(grid, [], []) for grid in settings.grids}
    for item in run.progress(settings.randoms, "files of randoms"):
        path = stated_file(run, item.path, item.sha256, "selection_function.yaml, randoms")
        counts = count_randoms(path, settings.grids, CELL_NSIDE, cells, _mask(run))
        totals = {name: totals[name] + counts[name] for name in totals}
    return totals
