"""Stamps and the training set made of them: cutouts, their features, the manifest and its two audits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

_GALLERY = 24


@lens_asset(
    group="cutouts",
    team="imaging",
    kinds={"fits", "arrow", "parquet"},
    inputs=("simulated_survey", "stratified_sample"),
    settings=("survey", "cutouts"),
    partitions="sky",
    code_version="cutouts-1",
    pool="images",
)
def cutouts(run: AssetRun) -> Product:
    """Stamps in g, r, z of every sampled galaxy of a sky partition, sliced from the coadd bricks.

    All stamps take the same route: native coadd pixels, no resampling, one brick at a time. A stamp that cannot be
    cut keeps its row with a status; a file that cannot be read is named in `quarantined` and the rest goes on. The
    file `stamps.arrow` holds float32 (3, 101, 101) in nanomaggies per pixel, row by row as `cutout_path` says.
    """
    from lens_assets.assets.survey import survey_files
    from lens_assets.figures.cutouts import status_figure
    from lens_assets.figures.galleries import gallery
    from lens_assets.imaging.cutting import cut_partition, quarantined_files
    from lens_assets.imaging.stamps import STAMP_FILE, read_stamps
    from lens_assets.survey.coadds import read_stamps_from_brick

    sample = run.table("stratified_sample", columns=["galaxy_id", "ra", "dec", "brickname", "sky_partition", "label"])
    wanted = sample[sample["sky_partition"] == run.partition].drop_duplicates("galaxy_id")
    files = survey_files(run)
    size = run.campaign.cutouts.stamp_pixels
    path = run.scratch / STAMP_FILE
    table = cut_partition(
        wanted,
        str(run.partition),
        path,
        size,
        lambda brick, ra, dec: read_stamps_from_brick(files, brick, ra, dec, size),
        lambda bricks: run.progress(bricks, "bricks", len(bricks)),
    )
    quarantined = quarantined_files(table)
    for row in quarantined.itertuples():
        run.log.warning("%s costs %d stamps (%s)", row.detail, row.stamps, row.status)
    cut = table[table["status"] == "ok"]
    shown = (
        cut.merge(wanted[["galaxy_id", "label"]], on="galaxy_id")
        .sort_values(["label", "galaxy_id"], ascending=[False, True])
        .head(_GALLERY)
    )
    rows = [int(name.rpartition("#")[2]) for name in shown["cutout_path"]]
    statuses = table["status"].value_counts().sort_index()
    return Product(
        table=table,
        files={STAMP_FILE: path},
        tables={"quarantined": quarantined},
        figures={
            "stamps": gallery(read_stamps(path, rows), shown["galaxy_id"].tolist()),
            "status": status_figure(statuses, "stamps by status"),
        },
        summary={
            "wanted": len(table),
            "cut": len(cut),
            "failed": len(table) - len(cut),
            "failed_fraction": 1.0 - len(cut) / len(table) if len(table) else 0.0,
            "files_quarantined": len(quarantined),
        },
        columns={
            "cutout_path": "<sky partition>#<row of stamps.arrow>; null where no stamp could be cut",
            "status": "ok, or why there is no stamp",
            "zero_fraction_r": "share of pixels without data: exactly 0 or without inverse variance",
            "psfsize_r": "PSF FWHM of the coadd at the position, arcsec",
            "nexp_r": "exposures of the coadd at the position",
            "sky_sigma_r": "1 / sqrt(median inverse variance), nanomaggies per pixel; ignores covariance",
            "maskbits_any": "MASKBITS of all pixels of the stamp, combined by OR",
            "x_offset_arcsec": "source minus centre of the central pixel, along columns, arcsec",
        },
    )


@lens_asset(
    group="cutouts",
    team="imaging",
    kinds={"numpy", "arrow", "parquet"},
    inputs=("cutouts",),
    settings=("features",),
    partitions="sky",
    code_version="cutout-features-1",
    pool="images",
)
def cutout_features(run: AssetRun) -> Product:
    """Quality, physical features and arc visibility of each stamp that was cut.

    Missing pixels are the survey's exact zeros, and count as missing here. Arc visibility is the signal-to-noise
    ratio of the blue light that remains when a smooth elliptical host is subtracted.
    """
    import pandas as pd

    from lens_assets.figures.cutouts import status_figure
    from lens_assets.imaging.features import arc_visibility, feature_table
    from lens_assets.imaging.quality import quality_table
    from lens_assets.imaging.stamps import STAMP_FILE, read_stamps

    settings = run.campaign.features
    index = run.table("cutouts")
    index = index[index["status"] == "ok"].reset_index(drop=True)
    stamps = read_stamps(run.file("cutouts", STAMP_FILE))
    parts = []
    batches = [slice(start, start + 256) for start in range(0, max(len(stamps), 1), 256)]
    for batch in run.progress(batches, "features"):
        block = stamps[batch]
        quality = quality_table(block, settings.regions, settings.quality)
        features = feature_table(block, settings.regions)
        visibility = arc_visibility(block, settings.regions, settings.visibility)
        parts.append(pd.concat([quality, features], axis=1).assign(arc_visibility=visibility))
    measured = pd.concat(parts, ignore_index=True)
    table = pd.concat([index[["cutout_path", "galaxy_id"]], measured], axis=1)
    reasons = table["quality_reason"].value_counts().sort_index()
    return Product(
        table=table.sort_values("galaxy_id", ignore_index=True),
        figures={"quality": status_figure(reasons, "quality of stamps")},
        summary={
            "stamps": len(table),
            "quality_ok": int(table["quality_ok"].sum()),
            "median_arc_visibility": float(table["arc_visibility"].median()) if len(table) else 0.0,
        },
        columns={
            "nan_count_r": "pixels of the r stamp without data: exact zeros or not finite",
            "core_brightness_r": "median of the core, nanomaggies per pixel",
            "arc_visibility": "signal-to-noise of blue residual light around the host; 0 where none is seen",
            "quality_reason": "ok, or the first rule the stamp fails",
        },
    )


@lens_asset(
    group="cutouts",
    team="imaging",
    kinds={"pandas", "parquet"},
    inputs=("stratified_sample", "lens_catalog", "spectroscopic_catalog", "cutouts", "cutout_features"),
    settings=("catalogs", "cutouts", "features", "sampling", "splits"),
    code_version="training-manifest-3",
)
def training_manifest(run: AssetRun) -> Product:
    """The sample joined with the stamps that exist and pass quality, in the published schema.

    Rows that are left out are listed with the reason, so that sample = manifest + excluded. Of families of low
    visibility only the lenses whose stamp shows an arc are trained on, the rest are a stress test; training stamps too
    close to other splits or to evaluation-only systems are removed.
    """
    from lens_assets.campaign.campaign import content_digest
    from lens_assets.figures.cutouts import visibility_figure
    from lens_assets.imaging import manifest
    from lens_assets.imaging.manifest_schema import to_manifest
    from lens_assets.survey.units import PIXEL_SCALE_ARCSEC

    campaign = run.campaign
    sample = run.table("stratified_sample")
    systems = manifest.evaluation_only_systems(sample, run.table("lens_catalog"), run.table("spectroscopic_catalog"))
    training = manifest.assemble(
        sample,
        run.table("cutouts"),
        run.table("cutout_features"),
        systems,
        campaign.features,
        campaign.catalogs.low_visibility_families,
    )
    named = ("catalogs", "cutouts", "features", "sampling", "splits")
    stages = {stage: campaign.settings_digest(stage) for stage in named}
    rows = manifest.published_columns(
        training.rows,
        campaign.cutouts.stamp_pixels,
        PIXEL_SCALE_ARCSEC,
        campaign.cutouts.layer,
        content_digest(stages),
    )
    table = to_manifest(rows, manifest.design_names(rows.columns))
    positive = rows["label"].to_numpy() == 1
    counts = manifest.exclusion_counts(training.excluded)
    return Product(
        table=table,
        tables={"excluded": training.excluded, "excluded_counts": counts, "families": training.families},
        figures={
            "stamps": _gallery(run, rows),
            "visibility": visibility_figure(
                rows["arc_visibility"].to_numpy(dtype=float),
                rows["tier"].astype(object).to_numpy(),
                campaign.features.visibility.visible_snr,
            ),
        },
        summary={
            "rows": len(rows),
            "positives": int(positive.sum()),
            "negatives": int((~positive).sum()),
            "excluded": len(training.excluded),
            "visible_positives": int((positive & rows["visible"].to_numpy()).sum()),
            "low_visibility_families": int(training.families["low_visibility"].sum()),
            "stress_test": int(rows["stress_test"].sum()),
            "removed_by_the_buffer": int((training.excluded["reason"] == "split_buffer").sum()),
            "near_evaluation_only": int((training.excluded["reason"] == "near_evaluation_only").sum()),
        },
        columns={
            "cutout_path": "<sky partition>#<row> of the stamp file of cutouts",
            "psfsize_r": "PSF FWHM in r, arcsec",
            "psfdepth_r": "inverse variance of a point source in r, nanomaggies^-2",
            "visible": "arc_visibility reaches the limit of the campaign",
            "stress_test": "lens of a low-visibility family whose stamp shows no arc: never trained on",
            "sampling_weight": "1 / selection probability in the primary design",
            "timestamp": "always null: a clock has no place in a table that comes out the same twice",
        },
    )


@lens_asset(
    group="cutouts",
    team="imaging",
    kinds={"pandas", "parquet"},
    inputs=("training_manifest", "stratified_sample", "lens_catalog", "spectroscopic_catalog"),
    settings=("features", "splits"),
    code_version="split-proof-3",
)
def split_proof(run: AssetRun) -> Product:
    """Checks that the splits share no object, stamp, cell or patch of sky, and how alike they are.

    Checks of kind `separation` must pass; checks of kind `balance` (effect sizes between splits) only warn.
    """
    from lens_assets.figures.cutouts import balance_figure
    from lens_assets.imaging.manifest import evaluation_only_systems
    from lens_assets.imaging.split_proof import balance_table, split_checks

    manifest = run.table("training_manifest")
    systems = evaluation_only_systems(
        run.table("stratified_sample"), run.table("lens_catalog"), run.table("spectroscopic_catalog")
    )
    filled = [name for name, fraction in run.campaign.splits.ordered_fractions.items() if fraction > 0]
    checks = split_checks(manifest, systems, run.campaign.features.split_proof, filled)
    removed = run.side_table("training_manifest", "excluded_counts")
    buffered = removed[removed["reason"].isin(["split_buffer", "near_evaluation_only"])]
    failed = checks[~checks["passed"]]
    separation = checks["kind"] == "separation"
    per_split = manifest.groupby(["split", "label"]).size().rename("rows").reset_index()
    return Product(
        table=checks,
        tables={
            "separation": checks[separation].reset_index(drop=True),
            "balance_checks": checks[~separation].reset_index(drop=True),
            "effect_sizes": balance_table(manifest),
            "rows_per_split": per_split,
            "removed_by_distance": buffered.reset_index(drop=True),
        },
        figures={"balance": balance_figure(manifest)},
        summary={
            "separation_passed": bool(checks.loc[separation, "passed"].all()),
            "separation_failed": int((failed["kind"] == "separation").sum()),
            "balance_warnings": int((failed["kind"] == "balance").sum()),
            "removed_by_the_buffer": int(removed.loc[removed["reason"] == "split_buffer", "rows"].sum()),
            "removed_near_evaluation_only": int(removed.loc[removed["reason"] == "near_evaluation_only", "rows"].sum()),
            "largest_effect_size": float(checks.loc[~separation, "found"].abs().max()),
        },
        columns={
            "found": "offending rows or pairs (separation), or effect size (balance)",
            "bound": "largest value that passes",
        },
    )


@lens_asset(
    group="cutouts",
    team="imaging",
    kinds={"pandas", "parquet"},
    inputs=("training_manifest", "cutout_features"),
    settings=("features",),
    code_version="shortcut-audit-1",
)
def shortcut_audit(run: AssetRun) -> Product:
    """Which feature alone separates lenses from non-lenses: AUC with its interval, yellow and red flags.

    The direction of each feature is fixed once on all rows and kept in the bootstrap of cells, so that small samples
    are not lifted above 0.5. Features that may separate the classes because of lensing are listed in the campaign
    with the reason and are flagged `expected`.
    """
    import pandas as pd

    from lens_assets.figures.cutouts import shortcut_figure
    from lens_assets.imaging.manifest import PRIMARY_DESIGN
    from lens_assets.imaging.shortcuts import audited_table, single_feature_audit

    settings = run.campaign.features.shortcuts
    manifest = run.table("training_manifest")
    manifest = manifest[manifest[f"in_{PRIMARY_DESIGN}"]]
    table, features = audited_table(manifest, run.table("cutout_features"))
    parts = {"all": table, "train": table[table["split"] == "train"]}
    audit = pd.concat([single_feature_audit(rows, features, settings, part) for part, rows in parts.items()])
    audit = audit.reset_index(drop=True)
    overall = audit[audit["part"] == "all"]
    worst = overall[overall["flag"].isin(["yellow", "red"])]
    return Product(
        table=audit,
        figures={"shortcuts": shortcut_figure(overall, settings.yellow_auc, settings.red_auc)},
        summary={
            "red": int((overall["flag"] == "red").sum()),
            "yellow": int((overall["flag"] == "yellow").sum()),
            "expected": int((overall["flag"] == "expected").sum()),
            "strongest_unexpected": str(worst["feature"].iloc[0]) if len(worst) else "",
            "strongest_unexpected_auc": float(worst["auc"].iloc[0]) if len(worst) else 0.5,
        },
        columns={
            "auc": "probability that a lens exceeds a non-lens in sign x feature, ties as half",
            "lower_68": "16th percentile of the bootstrap over split cells, direction fixed",
            "flag": "none, yellow, red, expected (physics), not_evaluated",
        },
    )


def _gallery(run: AssetRun, rows: pd.DataFrame) -> Figure:
    """Draw the most visible positives and the first negatives of the manifest."""
    import pandas as pd

    from lens_assets.figures.galleries import gallery
    from lens_assets.imaging.stamps import STAMP_FILE, StampReader

    positives = rows[rows["label"] == 1].sort_values(["arc_visibility", "galaxy_id"], ascending=[False, True])
    negatives = rows[rows["label"] == 0]
    shown = pd.concat([positives.head(_GALLERY), negatives.head(_GALLERY)])
    reader = StampReader(lambda shard: run.file("cutouts", STAMP_FILE, shard))
    stamps: np.ndarray = reader.read(shown["cutout_path"].tolist())
    titles = [f"{row.tier} {row.galaxy_id}" for row in shown.itertuples()]
    return gallery(stamps, titles)
