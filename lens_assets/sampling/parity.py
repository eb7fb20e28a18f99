"""The parity report: what each filter removes, what the pools hold, and where the composition of N2 is off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from lens_assets.campaign.stages.negatives import NegativesSettings
from lens_assets.sampling.models import load_project
from lens_assets.sampling.pool import CONFUSER_CLASSES, PUBLISHED_CLASSES, pool_parameters
from lens_assets.sampling.sql import run
from lens_assets.survey.schemas import Maskbits

PARITY_MODELS = (
    "parity_cascade", "parity_bands", "parity_strata", "parity_confusers", "parity_overlap", "parity_exclusion",
    "parity_maskbits",
)  # fmt: skip
_SORT_KEYS = {
    "parity_cascade": ["ordinal"],
    "parity_bands": ["band"],
    "parity_strata": ["type_bin", "nobs_z_bin", "split", "pool", "recipe"],
    "parity_confusers": ["ordinal", "category"],
    "parity_exclusion": ["radius_arcsec"],
    "parity_maskbits": ["bit"],
}


class EmptyPoolError(ValueError):
    """No source passes the filters; the message is the cascade."""


@dataclass(frozen=True)
class ParityReport:
    """The tables of the report by model name, and its warnings: rule, value, limit, statement."""

    tables: dict[str, pd.DataFrame]
    warnings: pd.DataFrame

    @property
    def candidates(self) -> int:
        """N1 and N2 sources together."""
        strata = self.tables["parity_strata"]
        return int(strata.loc[strata["pool"].isin(["N1", "N2"]), "n"].sum())


def parity_report(
    negative_pool: pa.Table | list[str], settings: NegativesSettings, temporary_folder: Path | None = None
) -> ParityReport:
    """Count the negative pool of the whole footprint; `negative_pool` is its table or its Parquet files.

    Raises EmptyPoolError with the cascade where no source is left.
    """
    results = run(
        load_project(),
        PARITY_MODELS,
        {
            "negative_pool": negative_pool,
            "exclusion_radii": pd.DataFrame({"radius_arcsec": settings.exclusion_sensitivity_arcsec}, dtype=float),
            "mask_bits": mask_bits_table(settings),
        },
        pool_parameters(settings),
        temporary_folder=temporary_folder,
    )
    tables = {name: results.tables[name].to_pandas() for name in PARITY_MODELS}
    for name, keys in _SORT_KEYS.items():
        tables[name] = tables[name].sort_values(keys).reset_index(drop=True)
    order = {name: position for position, name in enumerate(CONFUSER_CLASSES)}
    overlap = tables["parity_overlap"].sort_values("class_name", key=lambda names: names.map(order))
    tables["parity_overlap"] = overlap.reset_index(drop=True)
    tables["parity_cascade"]["enabled"] = tables["parity_cascade"]["filter"].map(_enabled(settings))
    report = ParityReport(tables, pool_warnings(tables["parity_confusers"], settings))
    if report.candidates == 0:
        cascade = tables["parity_cascade"].to_string(index=False)
        raise EmptyPoolError(
            f"no source of the footprint passes the filters of the negatives settings; what each removes:\n{cascade}"
        )
    return report


def mask_bits_table(settings: NegativesSettings) -> pd.DataFrame:
    """Return the bits of MASKBITS: bit, name, mask, and whether the published filter excludes them."""
    bits = [(int(flag).bit_length() - 1, flag.name, int(flag)) for flag in Maskbits]
    table = pd.DataFrame(bits, columns=["bit", "name", "mask"])
    table["excluded"] = table["bit"].isin(settings.filters.mask_bits)
    return table


def pool_warnings(confusers: pd.DataFrame, settings: NegativesSettings) -> pd.DataFrame:
    """Return where the composition of N2 leaves its limits: rule, value, lower, upper, statement.

    The first thresholds of the published recipe gave an N2 rate of 0 and nobody saw it: that is the first rule.
    """
    limits = settings.warnings
    by_name = confusers.set_index("category")
    published = float(by_name["share_of_candidates"].reindex(list(PUBLISHED_CLASSES)).fillna(0.0).sum())
    shares = by_name["share_of_n2"].fillna(0.0)
    largest = str(shares.idxmax()) if len(shares) else ""
    edge_on = float(shares.get("edge_on_proxy", 0.0))
    measured = [
        ("published_rate", published, limits.published_rate_min, limits.published_rate_max,
         "share of candidates that the four published classes take"),
        ("largest_category", float(shares.max()) if len(shares) else 0.0, 0.0, limits.largest_category_share,
         f"share of {largest} in N2"),
        ("edge_on_share", edge_on, limits.edge_on_share_min, limits.edge_on_share_max, "share of edge_on_proxy in N2"),
    ]  # fmt: skip
    rows = [
        {
            "rule": rule,
            "value": value,
            "lower": lower,
            "upper": upper,
            "statement": f"{what} is {value:.3f}, outside {lower:g} to {upper:g}",
        }
        for rule, value, lower, upper, what in measured
        if not lower <= value <= upper
    ]
    return pd.DataFrame(rows, columns=["rule", "value", "lower", "upper", "statement"])


def report_markdown(report: ParityReport) -> str:
    """Return the cascade, the categories and the warnings as Markdown."""
    parts = ["### Filters in order", _markdown(report.tables["parity_cascade"])]
    parts += ["### Confuser categories", _markdown(report.tables["parity_confusers"])]
    parts += ["### Warnings"]
    parts += [f"- {line}" for line in report.warnings["statement"]] or ["none"]
    return "\n\n".join(parts)


def _enabled(settings: NegativesSettings) -> dict[str, bool]:
    extensions = settings.extensions
    published = ("coordinates", "footprint", "type", "maskbits", "nobs", "mag_z", "exclusion", "unique")
    return dict.fromkeys(published, True) | {
        "ebv": extensions.ebv_max is not None,
        "galactic_latitude": extensions.galactic_latitude_min_deg is not None,
        "psfsize": extensions.psfsize_r_max_arcsec is not None,
        "psfdepth": extensions.psfdepth_r_min_mag is not None,
        "strict_maskbits": bool(extensions.strict_mask_bits),
    }


def _markdown(table: pd.DataFrame) -> str:
    header = f"| {' | '.join(table.columns)} |\n|{'---|' * len(table.columns)}\n"
    return header + "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in table.itertuples(index=False))


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float | np.floating) else str(value)
