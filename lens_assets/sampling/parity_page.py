"""The parity report as a page: the cascade, who fails what, the confuser categories, and where they are off."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lens_assets.campaign.stages.negatives import NegativesSettings
from lens_assets.sampling.alternatives import NOT_CONFUSERS
from lens_assets.sampling.parity import ParityReport

_LABELS = {
    "rows_in": "rows in", "fails_alone": "fail it alone", "fails_in_order": "fail it in order", "rows_left": "left",
    "fails_nobs": "too few exposures", "fails_nobs_in_order": "of those that reach the filter", "all_rows": "sources",
    "no_flux": "no flux", "no_flux_in_order": "z: fail for want of a flux", "share_of_candidates": "of candidates",
    "share_of_n2": "of N2", "radius_arcsec": "radius [arcsec]", "excluded_in_order": "of those that reach the filter",
    "n_alternative": "n, alternative", "share_alternative": "of candidates, alternative", "share": "of candidates",
    "share_of_n2_alternative": "of N2, alternative", "category_alternative": "to", "type_bin": "type",
    "nobs_z_bin": "exposures in z",
}  # fmt: skip
_COUNTS = ["rows_in", "fails_alone", "fails_in_order", "rows_left"]


def report_markdown(report: ParityReport, settings: NegativesSettings) -> str:
    """Return the whole report as Markdown: every table of it, each under a line that says how to read it."""
    tables = report.tables
    parts = [
        "### Warnings",
        "\n".join(f"- **{row.thresholds}**: {row.statement}" for row in report.warnings.itertuples()) or "none",
        "### Departures from the published recipe",
        "\n".join(f"- {statement}" for statement in settings.departures) or "none: what is called published is",
        "### Filters in order",
        "Rows of the published recipe and of extensions; a filter that is off passes every row.",
        _cascade(tables["parity_cascade"]),
        "### Exposures and fluxes by band",
        _table(_everything(tables["parity_bands"]).drop(columns=["dimension", "value"])),
    ]
    for dimension in ("split", "pool", "stratum"):
        parts += [f"### Filters in order by {dimension}", _breakdown(tables["parity_breakdown"], dimension)]
        parts += [_by_band(tables["parity_bands"], dimension)]
    parts += ["### Sources of each stratum, split and pool", _strata(tables["parity_strata"])]
    parts += [f"### Sources near a lens (the filter uses {settings.filters.exclusion_radius_arcsec:g} arcsec)"]
    parts += [_table(tables["parity_exclusion"]), "### MASKBITS of all sources and of the candidates"]
    parts += [_table(tables["parity_maskbits"]), "### Confuser categories", _table(tables["parity_confusers"])]
    parts += ["Candidates in which two classes match; the diagonal counts a class alone."]
    parts += [_table(tables["parity_overlap"])]
    return "\n\n".join([*parts, *_alternatives(report, settings)])


def _alternatives(report: ParityReport, settings: NegativesSettings) -> list[str]:
    parts = []
    for name, alternative in settings.alternatives.items():
        shown = report.tables["alternatives"].query("alternative == @name").drop(columns="alternative")
        moves = report.tables["alternative_moves"].query("alternative == @name").drop(columns="alternative")
        ordinary = moves[moves["category"].isin(NOT_CONFUSERS) != moves["category_alternative"].isin(NOT_CONFUSERS)]
        parts += [f"### Other thresholds: {name}", alternative.purpose, _table(shown)]
        parts += [f"{int(moves['n'].sum())} sources move, {int(ordinary['n'].sum())} of them into or out of N2."]
        parts += [_table(moves)]
    return parts


def _cascade(cascade: pd.DataFrame) -> str:
    enabled = cascade["enabled"].map({True: "on", False: "off"})
    return _table(cascade.assign(enabled=enabled)[["filter", "recipe", "enabled", *_COUNTS]])


def _breakdown(breakdown: pd.DataFrame, dimension: str) -> str:
    """Each filter a row, each group a column: alone / in order, and the rows left at the end."""
    rows = breakdown[(breakdown["dimension"] == dimension) & breakdown["enabled"]]
    cells = rows["fails_alone"].astype(str) + " / " + rows["fails_in_order"].astype(str)
    wide = rows.assign(cell=cells).pivot(index="ordinal", columns="value", values="cell")
    names = rows.drop_duplicates("ordinal").set_index("ordinal")["filter"]
    first = rows[rows["ordinal"] == rows["ordinal"].min()].set_index("value")["rows_in"]
    last = rows[rows["ordinal"] == rows["ordinal"].max()].set_index("value")["rows_left"]
    table = wide.assign(filter=names)[["filter", *wide.columns]]
    ends = [{"filter": label} | counts.to_dict() for label, counts in (("rows in", first), ("rows left", last))]
    whole = pd.concat([pd.DataFrame(ends[:1]), table, pd.DataFrame(ends[1:])], ignore_index=True)
    return "Rows that fail each filter alone / in order.\n\n" + _table(whole)


def _strata(strata: pd.DataFrame) -> str:
    named = strata.assign(column=strata["split"] + " " + strata["pool"] + " " + strata["recipe"])
    wide = named.pivot_table(
        index=["type_bin", "nobs_z_bin"], columns="column", values="n", fill_value=0, aggfunc="sum"
    )
    return _table(wide.astype("int64").reset_index())


def _everything(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["dimension"] == "all"]


def _by_band(bands: pd.DataFrame, dimension: str) -> str:
    """Each group a row: too few exposures in g, r and z, alone / of the rows that reach the filter; z without flux."""
    rows = bands[bands["dimension"] == dimension]
    cells = rows["fails_nobs"].astype(str) + " / " + rows["fails_nobs_in_order"].astype(str)
    wide = rows.assign(cell=cells, band="nobs " + rows["band"]).pivot(index="value", columns="band", values="cell")
    of_z = rows[rows["band"] == "z"].set_index("value")
    wide["no flux in z"] = of_z["no_flux"].astype(str) + " / " + of_z["no_flux_in_order"].astype("int64").astype(str)
    return _table(wide.rename_axis(dimension).reset_index())


def _table(table: pd.DataFrame) -> str:
    names = [_cell(_LABELS.get(str(name), name)) for name in table.columns]
    lines = [" | ".join(names), "|".join("---" for _ in names)]
    lines += [" | ".join(map(_cell, row)) for row in table.itertuples(index=False)]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    text = f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
    return text.replace("|", "\\|")
