"""The parity report: what each filter removes, what the pools hold, and where the composition of N2 is off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from lens_assets.campaign.stages.negatives import CONFUSER_CLASSES, NegativesSettings
from lens_assets.sampling.alternatives import compare_alternatives
from lens_assets.sampling.models import load_project
from lens_assets.sampling.pool import PUBLISHED_CLASSES, pool_parameters
from lens_assets.sampling.sql import run
from lens_assets.survey.schemas import Maskbits

PARITY_MODELS = (
    "parity_cascade", "parity_breakdown", "parity_bands", "parity_strata", "parity_confusers", "parity_overlap",
    "parity_exclusion", "parity_maskbits",
)  # fmt: skip
_SORT_KEYS = {
    "parity_cascade": ["ordinal"],
    "parity_breakdown": ["dimension", "value", "ordinal"],
    "parity_bands": ["dimension", "value", "band"],
    "parity_strata": ["type_bin", "nobs_z_bin", "split", "pool", "recipe"],
    "parity_confusers": ["ordinal", "category"],
    "parity_exclusion": ["radius_arcsec"],
    "parity_maskbits": ["bit"],
}


_WARNING_COLUMNS = ("rule", "value", "lower", "upper", "statement")
CANDIDATE_POOLS = ("N1", "N2")
CAMPAIGN = "campaign"
"""How the thresholds that the campaign uses are called beside its alternatives."""


class EmptyPoolError(ValueError):
    """No source passes the filters; the message is the cascade."""


@dataclass(frozen=True)
class ParityReport:
    """The tables of the report by name, and its warnings: thresholds, rule, value, lower, upper, statement."""

    tables: dict[str, pd.DataFrame]
    warnings: pd.DataFrame

    @property
    def candidates(self) -> int:
        """N1 and N2 sources together."""
        strata = self.tables["parity_strata"]
        return int(strata.loc[strata["pool"].isin(CANDIDATE_POOLS), "n"].sum())


def parity_report(
    negative_pool: pa.Table | list[str], settings: NegativesSettings, temporary_folder: Path | None = None
) -> ParityReport:
    """Count the negative pool of the whole footprint; `negative_pool` is its table or its Parquet files.

    Raises EmptyPoolError with the cascade where no source is left.
    """
    tables = _counted(PARITY_MODELS, negative_pool, settings, temporary_folder)
    _refuse_nothing(tables["parity_strata"], tables["parity_cascade"])
    other = compare_alternatives(negative_pool, settings, temporary_folder)
    tables |= {"alternatives": other.categories, "alternative_moves": other.moves}
    warnings = [pool_warnings(tables["parity_confusers"], settings).assign(thresholds=CAMPAIGN)]
    for name, table in other.categories.groupby("alternative", sort=False):
        warnings.append(pool_warnings(_as_confusers(table), settings).assign(thresholds=name))
    together = pd.concat(warnings, ignore_index=True)
    return ParityReport(tables, together[["thresholds", *_WARNING_COLUMNS]])


def require_candidates(
    negative_pool: pa.Table | list[str], settings: NegativesSettings, temporary_folder: Path | None = None
) -> None:
    """Raise EmptyPoolError with the cascade where no source of the pool is a candidate."""
    tables = _counted(("parity_strata", "parity_cascade"), negative_pool, settings, temporary_folder)
    _refuse_nothing(tables["parity_strata"], tables["parity_cascade"])


def _counted(
    models: Sequence[str], negative_pool: pa.Table | list[str], settings: NegativesSettings, folder: Path | None
) -> dict[str, pd.DataFrame]:
    """Return the tables of some parity models, sorted."""
    results = run(
        load_project(),
        models,
        {
            "negative_pool": negative_pool,
            "exclusion_radii": pd.DataFrame({"radius_arcsec": settings.exclusion_sensitivity_arcsec}, dtype=float),
            "mask_bits": mask_bits_table(settings),
        },
        pool_parameters(settings),
        temporary_folder=folder,
    )
    tables = {name: results.tables[name].to_pandas() for name in models}
    for name in set(models) & set(_SORT_KEYS):
        tables[name] = tables[name].sort_values(_SORT_KEYS[name]).reset_index(drop=True)
    if "parity_overlap" in tables:
        order = {name: position for position, name in enumerate(CONFUSER_CLASSES)}
        overlap = tables["parity_overlap"].sort_values("class_name", key=lambda names: names.map(order))
        tables["parity_overlap"] = overlap.reset_index(drop=True)
    for name in set(models) & {"parity_cascade", "parity_breakdown"}:
        tables[name]["enabled"] = tables[name]["filter"].map(_enabled(settings))
    return tables


def _refuse_nothing(strata: pd.DataFrame, cascade: pd.DataFrame) -> None:
    if strata.empty and cascade.empty:
        raise EmptyPoolError(
            "the negative pool of the footprint has no row: no source came out of the sweep files. Look at the "
            "accounts of the files of sweep_sources, and check survey.root and survey.sky_partitions"
        )
    if not strata["pool"].isin(CANDIDATE_POOLS).any():
        raise EmptyPoolError(
            "no source of the footprint passes the filters of the negatives settings; what each removes:\n"
            f"{cascade.to_string(index=False)}\nLoosen the filter that removes the most, or look at the sources it "
            "reads"
        )


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
    return pd.DataFrame(rows, columns=list(_WARNING_COLUMNS))


def _as_confusers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the categories of one alternative with the columns of `parity_confusers` that the limits are about."""
    shares = table[["category", "share_alternative", "share_of_n2_alternative"]]
    return shares.set_axis(["category", "share_of_candidates", "share_of_n2"], axis="columns")


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
