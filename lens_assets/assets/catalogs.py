"""The catalogs group of the lineage: known lenses, spectroscopic systems, and objects known not to be lenses."""

from __future__ import annotations

from pathlib import Path

from lens_assets.assets.framework import AssetRun, Product, lens_asset

_LENS_COLUMNS = {
    "lens_id": "catalog and position rounded to 0.1 arcsec [deg]",
    "name": "designation; the searches' own where there are several",
    "ra": "right ascension, ICRS [deg]",
    "dec": "declination, ICRS [deg]",
    "z_lens": "first redshift in the list's text, null if there is none",
    "z_lens_text": "redshift as the list writes it",
    "type": "galaxy, group or cluster",
    "grading": "confident or probable, mostly a visual grade",
    "role": "positive; evaluation_only: never trained on; exclude_only: keeps negatives away",
    "tier": "A or B, null for exclude_only",
    "weight": "sample weight of the tier",
    "family": "literature sample, recognised by reference",
    "confirmation": "confirmed, silver or candidate, by family and grading",
    "aliases": "other designations, of coinciding entries too",
    "duplicate_of": "lens_id of the canonical entry of the same system, null for that entry itself",
}


@lens_asset(
    group="catalogs",
    team="catalogs",
    kinds={"csv", "parquet"},
    inputs=("simulated_survey",),
    settings=("catalogs",),
    code_version="lens-catalog-3",
)
def lens_catalog(run: AssetRun) -> Product:
    """Known lenses and candidates of all lists, one row an entry, with role, tier, family and canonical identity.

    Candidates of the imaging searches are positives. Members of literature samples, recognised by reference, are held
    for evaluation. Everything else, the lists of galaxy clusters among it, only keeps negatives away.
    """
    from lens_assets.catalogs.lenses import build_lens_catalog, catalog_counts, read_lens_list
    from lens_assets.figures.survey import sky_map

    settings = run.campaign.catalogs
    lists = [read_lens_list(source, _path(run, source.origin, source.path)) for source in settings.lenses]
    lenses = build_lens_catalog(lists, settings)
    systems = lenses[lenses["duplicate_of"].isna()]
    positives = lenses[lenses["role"] == "positive"]
    summary = {
        "entries": len(lenses),
        "systems": len(systems),
        "duplicates": len(lenses) - len(systems),
        "positives": len(positives),
        "positives_tier_a": int((positives["tier"] == "A").sum()),
        "positives_tier_b": int((positives["tier"] == "B").sum()),
        "evaluation_only": int((lenses["role"] == "evaluation_only").sum()),
        "exclude_only": int((lenses["role"] == "exclude_only").sum()),
        "with_redshift": int(lenses["z_lens"].notna().sum()),
    }
    for family, count in lenses["family"].dropna().value_counts().sort_index().items():
        summary[f"family_{str(family).lower().replace(' ', '_')}"] = int(count)
    return Product(
        table=lenses,
        tables={"counts": catalog_counts(lenses)},
        figures={"sky": sky_map(lenses, "role", f"{len(lenses)} entries of {len(lists)} lists")},
        summary=summary,
        columns=_LENS_COLUMNS,
    )


@lens_asset(
    group="catalogs",
    team="catalogs",
    kinds={"parquet"},
    inputs=("lens_catalog", "simulated_survey"),
    settings=("catalogs",),
    code_version="spectroscopic-catalog-4",
)
def spectroscopic_catalog(run: AssetRun) -> Product:
    """Spectroscopically selected systems, confirmed or silver, and the imaging candidates they coincide with.

    They are for evaluation and never trained on; one setting of the campaign decides about imaging candidates within
    the match radius of one, which are for evaluation by default.
    """
    from lens_assets.catalogs.spectroscopic import build_spectroscopic_catalog, read_spectroscopic_list
    from lens_assets.figures.survey import sky_map

    settings = run.campaign.catalogs
    lenses = run.table("lens_catalog")
    lists = [read_spectroscopic_list(item, _path(run, item.origin, item.path)) for item in settings.spectroscopic]
    systems = build_spectroscopic_catalog(lenses, lists, settings)
    matched = set(systems["matched_lens_id"].dropna())
    positives = lenses.loc[lenses["role"] == "positive", "lens_id"]
    return Product(
        table=systems,
        figures={"sky": sky_map(systems, "confirmation", f"{len(systems)} spectroscopic systems")},
        summary={
            "systems": len(systems),
            "confirmed": int((systems["confirmation"] == "confirmed").sum()),
            "silver": int((systems["confirmation"] == "silver").sum()),
            "matched_entries": len(matched),
            "matched_positives": int(positives.isin(matched).sum()),
            "use_of_matched": settings.spectroscopic_matched_use,
        },
        columns={
            "spec_id": "list and position rounded to 0.1 arcsec",
            "confirmation": "confirmed or silver",
            "matched_lens_id": "positive within the match radius",
            "separation_arcsec": "distance to it [arcsec]",
            "use": "evaluation or training",
        },
    )


@lens_asset(
    group="catalogs",
    team="catalogs",
    kinds={"parquet"},
    inputs=("simulated_survey", "sweep_sources"),
    settings=("catalogs", "negatives"),
    code_version="contaminant-catalog-3",
)
def contaminant_catalog(run: AssetRun) -> Product:
    """Curated and reviewed objects that are not lenses, by kind, matched to Tractor; empty where no list is named.

    An entry without a source keeps its row with the reason. What a reviewer labelled `lens` is excluded from the
    negatives and stands in the side table `reviewed_lenses`; any label of a reviewer replaces what lists say.
    """
    from lens_assets.catalogs.contaminants import EXCLUDE, match_to_survey, read_entries
    from lens_assets.figures.survey import sky_map

    settings = run.campaign.catalogs
    entries = read_entries(settings, lambda origin, path: _path(run, origin, path))
    radius = run.campaign.negatives.contaminant_match_radius_arcsec
    contaminants = match_to_survey(entries, run.parquet_paths("sweep_sources"), settings, radius)
    lenses = contaminants[contaminants["use"] == EXCLUDE].reset_index(drop=True)
    for row in lenses.itertuples():
        run.log.warning("%s labelled %s a lens: it is no negative", row.reviewer, row.galaxy_id)
    by_category = contaminants["category"].value_counts().sort_index()
    reasons = contaminants["unmatched_reason"].value_counts().sort_index()
    return Product(
        table=contaminants,
        tables={"reviewed_lenses": lenses, "unmatched": reasons.rename("entries").reset_index()},
        figures={"sky": sky_map(contaminants, "category", f"{len(contaminants)} curated contaminants")},
        summary={
            "contaminants": len(contaminants),
            "lists": len(settings.contaminants),
            "reviews": len(settings.reviews),
            "matched": int(contaminants["matched"].sum()),
            "reviewed_lenses": len(lenses),
        }
        | {f"category_{name}": int(count) for name, count in by_category.items()}
        | {f"unmatched_{name}": int(count) for name, count in reasons.items()},
        columns={
            "category": "kind of contaminant, or lens where a reviewer said so",
            "use": "contaminant, or exclude: a reviewed lens, no negative",
            "galaxy_id": "Tractor source that the entry speaks of",
            "unmatched_reason": "why the entry speaks of no source; masks and types play no part here",
            "separation_arcsec": "entry to source [arcsec]; null where the entry names its source",
        },
    )


def _path(run: AssetRun, origin: str, path: str) -> Path:
    from lens_assets.catalogs.reading import list_path

    return list_path(origin, path, run.campaign.folder, lambda name: run.file("simulated_survey", name))
