"""Other confuser thresholds on the same sources: the rate of each class under both, and which sources move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from lens_assets.campaign.stages.negatives import CONFUSER_CLASSES, AlternativeSettings, NegativesSettings
from lens_assets.sampling.models import load_project
from lens_assets.sampling.pool import PUBLISHED_CLASSES, pool_parameters
from lens_assets.sampling.sql import SomeColumns, column_types, run

NOT_CONFUSERS = ("N1", "N1b", "none")
_NOT_CANDIDATES = ("N1b", "none")


@dataclass(frozen=True)
class Comparison:
    """What alternatives do.

    `categories` has a row an alternative and category: n and shares under both thresholds, and how many sources joined
    and left it. `moves` has a row an alternative and pair of categories: alternative, category,
    category_alternative, n.
    """

    categories: pd.DataFrame
    moves: pd.DataFrame


def compare_alternatives(
    negative_pool: pa.Table | Sequence[str], settings: NegativesSettings, temporary_folder: Path | None = None
) -> Comparison:
    """Classify the sources of a stored pool anew under each of the campaign's alternatives.

    `negative_pool` is its table or its Parquet files, which are read one after another so that memory stays bounded.
    """
    parts = [negative_pool] if isinstance(negative_pool, pa.Table) else [[path] for path in negative_pool]
    columns = columns_before_classes(settings)
    categories, moves = [], []
    for name, alternative in settings.alternatives.items():
        counted: Counter[tuple[str, str]] = Counter()
        for part in parts:
            counted.update(_moves(SomeColumns(part, columns), settings, alternative, temporary_folder))
        moves.append(_moves_table(name, counted))
        categories.append(_categories_table(name, counted))
    empty = Comparison(_categories_table("", Counter()).iloc[:0], _moves_table("", Counter()))
    return Comparison(
        pd.concat(categories, ignore_index=True) if categories else empty.categories,
        pd.concat(moves, ignore_index=True) if moves else empty.moves,
    )


def _moves(
    unclassified: SomeColumns, settings: NegativesSettings, alternative: AlternativeSettings, folder: Path | None
) -> dict[tuple[str, str], int]:
    """Return the number of sources by (category, category under the alternative)."""
    changed = settings.model_copy(
        update={
            "confusers": alternative.confusers,
            "extensions": settings.extensions.model_copy(update={"confuser_classes": alternative.confuser_classes}),
        }
    )
    sources = {"negative_pool": unclassified.data, "int_negative_filters": unclassified}
    parameters = pool_parameters(changed)
    results = run(load_project(), ["parity_alternative"], sources, parameters, temporary_folder=folder)
    rows = results.tables["parity_alternative"].to_pylist()
    return {(row["category"], row["category_alternative"]): row["n"] for row in rows}


def columns_before_classes(settings: NegativesSettings) -> tuple[str, ...]:
    """Return the columns of the stored pool that stand before the classes: those the classes are made from."""
    types = column_types(load_project(), pool_parameters(settings), ["negative_pool"])
    return tuple(name for name in types["int_negative_filters"] if name in types["negative_pool"])


def _moves_table(name: str, counted: Mapping[tuple[str, str], int]) -> pd.DataFrame:
    rows = [(name, before, after, n) for (before, after), n in sorted(counted.items()) if before != after]
    table = pd.DataFrame(rows, columns=["alternative", "category", "category_alternative", "n"])
    return table.astype({"n": "int64"})


def _categories_table(name: str, counted: Mapping[tuple[str, str], int]) -> pd.DataFrame:
    order = [
        *CONFUSER_CLASSES,
        *sorted({item for pair in counted for item in pair} - {*CONFUSER_CLASSES, *NOT_CONFUSERS}),
    ]
    before, after = Counter[str](), Counter[str]()
    for (old, new), n in counted.items():
        before[old] += n
        after[new] += n
    rows = [
        {
            "alternative": name,
            "category": category,
            "recipe": _recipe(category),
            "n": before[category],
            "n_alternative": after[category],
            "joined": sum(n for (old, new), n in counted.items() if new == category != old),
            "left": sum(n for (old, new), n in counted.items() if old == category != new),
        }
        for category in order
    ]
    table = pd.DataFrame(rows)
    for label, counts in (("", before), ("_alternative", after)):
        candidates = sum(n for category, n in counts.items() if category not in _NOT_CANDIDATES)
        confusers = sum(n for category, n in counts.items() if category not in NOT_CONFUSERS)
        table[f"share{label}"] = table[f"n{label}"] / (candidates or np.nan)
        table[f"share_of_n2{label}"] = table[f"n{label}"] / (confusers or np.nan)
    return table


def _recipe(category: str) -> str:
    if category in PUBLISHED_CLASSES:
        return "published"
    return "extension" if category in CONFUSER_CLASSES else "curated"
