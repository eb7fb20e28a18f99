"""The deterministic sample of every design: parameters of a design, and the SQL models run for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike

from lens_assets.campaign.stages.negatives import CountBin
from lens_assets.campaign.stages.sampling import RandomDesign, SamplingSettings, StratifiedDesign
from lens_assets.sampling.models import Parameter, load_project
from lens_assets.sampling.pool import count_bins_table
from lens_assets.sampling.sql import Runner, SourceData, run

SAMPLE_COLUMNS = (
    "design", "galaxy_id", "label", "tier", "pool", "confuser_category", "split", "healpix_128", "sky_partition",
    "region_id", "fold", "ra", "dec", "brickname", "type", "type_bin", "nobs_z", "nobs_z_bin", "stratum",
    "sample_weight", "sampling_weight", "lens_id", "family", "confirmation", "evaluation_only",
    "mag_g", "mag_r", "mag_z", "psfsize_g", "psfsize_r", "psfsize_z", "psfdepth_g", "psfdepth_r", "psfdepth_z",
    "galdepth_g", "galdepth_r", "galdepth_z", "ebv", "maskbits", "shape_r", "shape_e1", "shape_e2", "sersic",
)  # fmt: skip

DESIGN_MODELS = ("stratified_sample", "sample_strata", "int_confuser_quotas")
"""What one design is drawn with."""

_SHORTFALL_COLUMNS = ["design", "split", "pool", "stratum", "wanted", "drawn", "borrowed"]


class EmptySampleError(ValueError):
    """A design that has no lens, or no negative, to draw."""


@dataclass(frozen=True)
class Sample:
    """Rows of all designs, one a (design, galaxy_id), and what was wanted and given.

    `strata` says it of N1 by stratum, `confusers` of N2 by split, `random` of the rows of a random design by split.
    """

    rows: pd.DataFrame
    strata: pd.DataFrame
    confusers: pd.DataFrame
    random: pd.DataFrame

    @property
    def shortfalls(self) -> pd.DataFrame:
        """What could not be given as wanted, one line a (design, split, pool, stratum).

        Pool N1 by stratum, also where a neighbouring bin gave all that lacked (`borrowed`, of `drawn`); N2, and `any`
        of a random design, by split, without stratum. `shortfall` is wanted - drawn.
        """
        strata, confusers = self.strata, self.confusers
        borrowed = strata["got_from_above"] + strata["got_from_below"]
        drawn = strata["target_n1"] - strata["shortfall_n1"]
        parts = [
            strata.assign(pool="N1", wanted=strata["target_n1"], drawn=drawn, borrowed=borrowed),
            confusers.rename(columns={"target_n2": "wanted", "quota_n2": "drawn"}).assign(pool="N2"),
            self.random.assign(pool="any"),
        ]
        lines = pd.concat([part.reindex(columns=_SHORTFALL_COLUMNS) for part in parts if len(part)], ignore_index=True)
        counts = ["wanted", "drawn", "borrowed"]
        lines[counts] = lines[counts].fillna(0).astype("int64")
        lines["shortfall"] = lines["wanted"] - lines["drawn"]
        return lines[(lines["shortfall"] > 0) | (lines["borrowed"] > 0)].reset_index(drop=True)


def design_parameters(name: str, design: StratifiedDesign | RandomDesign, seed: int) -> dict[str, Parameter]:
    """Return the typed parameters of the sampling models for one design."""
    if isinstance(design, RandomDesign):
        return _parameters(name, seed, kind="random", positives="none", include_exp=design.include_exp) | {
            "rows_train": design.rows_train,
            "rows_val": design.rows_val,
            "rows_test": design.rows_test,
        }
    return _parameters(name, seed, kind="stratified", positives=design.positives, include_exp=design.include_exp) | {
        "without_maskbits": design.without_maskbits,
        "design_ebv_max": design.ebv_max,
        "negatives_per_positive": design.negatives_per_positive,
        "n2_fraction": design.n2_fraction,
        "condition": design.condition,
    }


def draw_design(
    name: str,
    design: StratifiedDesign | RandomDesign,
    seed: int,
    negative_pool: pa.Table | list[str],
    positives: pd.DataFrame | pa.Table,
    split_cells: pd.DataFrame,
    pool_bins: tuple[CountBin, ...],
    temporary_folder: Path | None = None,
    runner: Runner | None = None,
) -> Sample:
    """Draw one design. `pool_bins` are the exposure bins of a random design, which has no strata of its own.

    `runner` is the engine, DuckDB unless given.

    Raises EmptySampleError where a design finds no negative, or a stratified one no lens.
    """
    bins = design.nobs_z_bins if isinstance(design, StratifiedDesign) else pool_bins
    sources: dict[str, SourceData] = {
        "negative_pool": negative_pool,
        "positives": positives,
        "split_cells": split_cells,
        "nobs_z_bins": count_bins_table(bins),
        "condition_bins": condition_bins_table(design, positives),
    }
    execute = runner or partial(run, temporary_folder=temporary_folder)
    results = execute(load_project(), DESIGN_MODELS, sources, design_parameters(name, design, seed))
    rows = results.tables["stratified_sample"].to_pandas().sort_values("galaxy_id").reset_index(drop=True)
    strata = results.tables["sample_strata"].to_pandas().sort_values(["split", "stratum"]).reset_index(drop=True)
    confusers = results.tables["int_confuser_quotas"].to_pandas().sort_values("split").reset_index(drop=True)
    confusers.insert(0, "design", name)
    _refuse_empty(name, design, rows)
    if isinstance(design, RandomDesign):
        strata, confusers = strata.iloc[:0], confusers.iloc[:0]
    return Sample(rows[list(SAMPLE_COLUMNS)], strata, confusers, _random_draws(name, design, rows))


def draw_all(
    settings: SamplingSettings,
    negative_pool: pa.Table | list[str],
    positives: pd.DataFrame | pa.Table,
    split_cells: pd.DataFrame,
    pool_bins: tuple[CountBin, ...],
    temporary_folder: Path | None = None,
    runner: Runner | None = None,
) -> Sample:
    """Draw every design of a campaign; rows are sorted by design and galaxy_id."""
    samples = [
        draw_design(
            name, design, settings.seed, negative_pool, positives, split_cells, pool_bins, temporary_folder, runner
        )
        for name, design in sorted(settings.drawn.items())
    ]
    return Sample(
        pd.concat([sample.rows for sample in samples], ignore_index=True),
        pd.concat([sample.strata for sample in samples], ignore_index=True),
        pd.concat([sample.confusers for sample in samples], ignore_index=True),
        pd.concat([sample.random for sample in samples], ignore_index=True),
    )


def quantile_edges(values: ArrayLike, bins: int) -> tuple[float, ...]:
    """Return the inner edges of bins of equal share: measured values, each once; NaN plays no part.

    `bins - 1` edges, fewer where many values are equal; () without values.
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if not len(known):
        return ()
    steps = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(known, steps, method="inverted_cdf"))
    return tuple(float(edge) for edge in edges if edge > known.min())


def condition_bins_table(
    design: StratifiedDesign | RandomDesign, positives: pd.DataFrame | pa.Table | None = None
) -> pd.DataFrame:
    """Return the bins of seeing or depth of a design: label, low, high; one open bin where it has none.

    A design that states a number of strata has edges that share the matched lenses of `positives` out equally.
    """
    edges = design.condition_edges if isinstance(design, StratifiedDesign) else ()
    if isinstance(edges, int):
        if positives is None:
            raise ValueError(f"condition_edges = {edges} strata of the lenses; expected the table of positives with it")
        lenses = positives if isinstance(positives, pd.DataFrame) else positives.to_pandas()
        matched = lenses["matched"].astype(bool)
        edges = quantile_edges(lenses.loc[matched, design.condition], edges)  # type: ignore[union-attr]
    lows, highs = [-np.inf, *edges], [*edges, np.inf]
    labels = [f"{low:g}..{high:g}" for low, high in zip(lows, highs, strict=True)] if edges else ["all"]
    return pd.DataFrame({"label": labels, "low": lows, "high": highs})


def _parameters(name: str, seed: int, *, kind: str, positives: str, include_exp: bool) -> dict[str, Parameter]:
    return {
        "design": name,
        "seed": seed,
        "kind": kind,
        "positives": positives,
        "include_exp": include_exp,
        "without_maskbits": False,
        "design_ebv_max": None,
        "negatives_per_positive": 0.0,
        "n2_fraction": 0.0,
        "condition": "none",
        "rows_train": 0,
        "rows_val": 0,
        "rows_test": 0,
    }


def _random_draws(name: str, design: StratifiedDesign | RandomDesign, rows: pd.DataFrame) -> pd.DataFrame:
    """Return design, split, wanted and drawn of a random design; no line of a stratified one."""
    wanted = {}
    if isinstance(design, RandomDesign):
        wanted = {"train": design.rows_train, "val": design.rows_val, "test": design.rows_test}
    found = rows["split"].value_counts()
    lines = [(name, split, count, int(found.get(split, 0))) for split, count in wanted.items()]
    return pd.DataFrame(lines, columns=["design", "split", "wanted", "drawn"])


def _refuse_empty(name: str, design: StratifiedDesign | RandomDesign, rows: pd.DataFrame) -> None:
    labels = set(rows["label"])
    wanted = {0: "negative", 1: "lens"} if isinstance(design, StratifiedDesign) else {0: "negative"}
    absent = [what for label, what in wanted.items() if label not in labels]
    if absent:
        raise EmptySampleError(
            f"design {name} draws no {' and no '.join(absent)}; expected at least one. The parity report shows what "
            "the filters leave, the table of positives which lenses were matched"
        )
