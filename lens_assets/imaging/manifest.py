"""The training set: the sample joined with the stamps that exist, pass quality and keep their distance.

Every row of the sample either becomes a row of the manifest or is listed with the reason why not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.features import FeaturesSettings, VisibilitySettings
from lens_assets.imaging.quality import QUALITY_COLUMNS
from lens_assets.sky.matching import pairs_within

PRIMARY_DESIGN = "baseline"
PIPELINE_VERSION = "lens_assets-manifest-1"
SPLIT_ORDER = ("train", "val", "test")
"""From the least to the best protected: of two stamps too close, the one of the earlier split goes."""

_SAMPLE_COLUMNS = (
    "label", "tier", "pool", "confuser_category", "split", "healpix_128", "sky_partition", "region_id", "fold", "ra",
    "dec", "brickname", "type", "type_bin", "nobs_z", "nobs_z_bin", "stratum", "sample_weight", "sampling_weight",
    "lens_id", "family", "confirmation", "evaluation_only", "mag_g", "mag_r", "mag_z", "psfsize_g", "psfsize_r",
    "psfsize_z", "psfdepth_g", "psfdepth_r", "psfdepth_z", "galdepth_g", "galdepth_r", "galdepth_z", "ebv", "maskbits",
    "shape_r", "shape_e1", "shape_e2", "sersic",
)  # fmt: skip
_OBJECT_COLUMNS = ("label", "split", "healpix_128", "ra", "dec")


@dataclass(frozen=True)
class TrainingSet:
    """The manifest's rows, the excluded rows with their reasons, and the judgement on each lens family."""

    rows: pd.DataFrame
    excluded: pd.DataFrame
    families: pd.DataFrame


def assemble(
    sample: pd.DataFrame,
    cutouts: pd.DataFrame,
    features: pd.DataFrame,
    evaluation_only: pd.DataFrame,
    settings: FeaturesSettings,
    low_visibility: Collection[str] = (),
) -> TrainingSet:
    """Join sample, stamps and features; decide what is left out, one reason a row, the plainest first.

    `sample` has one row per (design, galaxy_id); `cutouts` and `features` one row a galaxy; `evaluation_only` the
    positions that `evaluation_only_systems` returns; `low_visibility` the families so declared, to which those come
    whose measured stamps mostly show nothing. Members of such a family whose own stamp shows no arc are its stress
    test: never trained on, and marked where they are left. Reasons: `no_stamp:<status>`, `quality:<reason>`,
    `evaluation_only` (an evaluation-only system in a training cell), `low_visibility_family` (a training stamp of the
    stress test), `near_evaluation_only` (a training stamp closer than the buffer to an
    evaluation-only system) and `split_buffer` (closer than the buffer to a stamp of a better protected split).
    Results are sorted by galaxy_id.
    """
    objects = one_row_per_object(sample)
    joined = objects.merge(_stamp_columns(cutouts), on="galaxy_id", how="left", validate="one_to_one")
    joined = joined.merge(_feature_columns(features), on="galaxy_id", how="left", validate="one_to_one")
    joined = joined.sort_values("galaxy_id", kind="stable", ignore_index=True)
    visible = joined["arc_visibility"].to_numpy(dtype=float) >= settings.visibility.visible_snr
    joined["visible"] = visible
    reason = _exclusion_reasons(joined)
    families = family_visibility(joined[reason == ""], settings.visibility, low_visibility)
    hidden = set(families.loc[families["low_visibility"], "family"])
    joined["stress_test"] = (joined["label"] == 1) & joined["family"].isin(hidden) & ~visible
    in_train = (joined["split"] == "train").to_numpy()
    reason[(reason == "") & in_train & joined["stress_test"].to_numpy()] = "low_visibility_family"
    buffer_arcsec = settings.split_proof.buffer_arcsec
    near_anchor = in_train & near_any(joined, evaluation_only, buffer_arcsec)
    reason[(reason == "") & near_anchor] = "near_evaluation_only"
    too_close = buffer_violations(joined, reason == "", buffer_arcsec)
    reason[(reason == "") & too_close] = "split_buffer"
    kept = joined[reason == ""].reset_index(drop=True)
    excluded = joined.assign(reason=reason)[reason != ""]
    columns = ["galaxy_id", "label", "tier", "split", "family", "sky_partition", "reason"]
    return TrainingSet(kept, excluded[columns].reset_index(drop=True), families)


def one_row_per_object(sample: pd.DataFrame) -> pd.DataFrame:
    """Return one row a galaxy with its membership and weights in each design.

    Columns that differ between designs (pool, stratum, weights) come from the primary design where the galaxy is
    in it, else from the first design by name. Raises ValueError where label, split or position differ, and for
    rows that no manifest can hold.
    """
    _refuse_unusable(sample)
    for column in _OBJECT_COLUMNS:
        values = sample.groupby("galaxy_id")[column].nunique(dropna=False)
        if (values > 1).any():
            name = values.index[values > 1][0]
            raise ValueError(f"sample: {name} has {values[name]} values of {column} over its designs; expected one")
    order = sample.assign(_not_primary=sample["design"] != PRIMARY_DESIGN)
    order = order.sort_values(["galaxy_id", "_not_primary", "design"], kind="stable")
    present = [name for name in _SAMPLE_COLUMNS if name in sample]
    objects = order.drop_duplicates("galaxy_id")[["galaxy_id", *present]].reset_index(drop=True)
    for design in sorted(sample["design"].unique()):
        rows = sample[sample["design"] == design].set_index("galaxy_id")
        objects[f"in_{design}"] = objects["galaxy_id"].isin(rows.index)
        for weight in ("sample_weight", "sampling_weight"):
            objects[f"{weight}_{design}"] = objects["galaxy_id"].map(rows[weight])
    return objects


def _refuse_unusable(sample: pd.DataFrame) -> None:
    """Raise ValueError for a sample without rows, a row twice in a design, or a position that is not on the sky."""
    if not len(sample):
        raise ValueError("sample: no rows; expected some. parity_report shows which filter removes everything")
    repeated = sample.duplicated(["design", "galaxy_id"])
    if repeated.any():
        row = sample[repeated].iloc[0]
        raise ValueError(f"sample: {row['galaxy_id']} stands twice in design {row['design']}; expected once")
    on_sky = sample["ra"].between(0.0, 360.0) & sample["dec"].between(-90.0, 90.0)
    if not on_sky.all():
        row = sample[~on_sky].iloc[0]
        raise ValueError(
            f"sample: {row['galaxy_id']} lies at ra {row['ra']}, dec {row['dec']} ({int((~on_sky).sum())} such rows); "
            "expected ra from 0 to 360 and dec from -90 to 90 degrees"
        )


def published_columns(
    rows: pd.DataFrame, stamp_pixels: int, pixel_scale_arcsec: float, layer: str, settings_hash: str
) -> pd.DataFrame:
    """Return the manifest's rows with the published columns that are not in the sample or the features.

    `timestamp` and `cutout_url` are null: the stamps are sliced from coadds, and a clock has no place in a table
    that must come out the same twice.
    """
    positive = rows["label"].to_numpy() == 1
    shard = rows["cutout_path"].str.rpartition("#")[0]
    return rows.assign(
        filename="cutouts/" + shard + "/stamps.arrow",
        cutout_type=np.where(positive, "positive", "negative"),
        size=stamp_pixels,
        pixel_scale=pixel_scale_arcsec,
        pipeline_version=PIPELINE_VERSION,
        layer=layer,
        bands_requested="grz",
        weight=rows["sample_weight"],
        match_type=rows["type"].where(positive),
        settings_hash=settings_hash,
    )


def family_visibility(rows: pd.DataFrame, settings: VisibilitySettings, declared: Collection[str] = ()) -> pd.DataFrame:
    """Return for each lens family: stamps, visible stamps, their share, and whether it is of low visibility.

    A finder cannot learn arcs from stamps of a family (e.g. one found in spectra) that do not show them at
    ground-based seeing. A family is of low visibility where it is declared so or measured so; one with fewer than
    `family_min_members` stamps is not judged by its measurements.
    """
    named = rows[(rows["label"] == 1) & rows["family"].notna() & (rows["family"].astype("str") != "")]
    table = named.groupby("family", sort=True)["visible"].agg(["size", "sum"]).reset_index()
    table.columns = pd.Index(["family", "stamps", "visible"])
    table["visible"] = table["visible"].astype("int64")
    table["visible_fraction"] = table["visible"] / table["stamps"]
    table["judged"] = table["stamps"] >= settings.family_min_members
    below = table["visible_fraction"] < settings.family_min_visible_fraction
    table["declared"] = table["family"].isin(list(declared))
    table["low_visibility"] = table["declared"] | (table["judged"] & below)
    return table


def evaluation_only_systems(sample: pd.DataFrame, lenses: pd.DataFrame, spectroscopic: pd.DataFrame) -> pd.DataFrame:
    """Return galaxy_id (null where unknown), ra and dec (degrees) of every system that is never trained on.

    These are the sample's evaluation-only rows, the lens catalog's entries of that role, and the spectroscopic
    systems of that use, whether or not the sample holds them. An entry that duplicates a positive is that positive:
    the sample's row and the spectroscopic systems say what it is used for.
    """
    positives = lenses.loc[lenses["role"] == "positive", "lens_id"]
    held = (lenses["role"] == "evaluation_only") & ~lenses["duplicate_of"].isin(positives)
    flagged = sample["evaluation_only"].fillna(False).to_numpy(dtype=bool)
    parts = [
        sample.loc[flagged, ["galaxy_id", "ra", "dec"]].drop_duplicates("galaxy_id"),
        lenses.loc[held, ["ra", "dec"]],
        spectroscopic.loc[spectroscopic["use"] == "evaluation", ["ra", "dec"]],
    ]
    columns = ["galaxy_id", "ra", "dec"]
    together = pd.concat([part.reindex(columns=columns).astype({"galaxy_id": "str"}) for part in parts])
    return together.sort_values(["ra", "dec", "galaxy_id"], kind="stable", ignore_index=True)


def near_any(rows: pd.DataFrame, systems: pd.DataFrame, radius_arcsec: float) -> NDArray[np.bool_]:
    """Return which rows lie no further than the radius from any of the systems (both with ra and dec in degrees)."""
    near, _, _ = pairs_within(rows["ra"], rows["dec"], systems["ra"], systems["dec"], radius_arcsec)
    result = np.zeros(len(rows), dtype=bool)
    result[near] = True
    return result


def buffer_violations(rows: pd.DataFrame, kept: NDArray[np.bool_], buffer_arcsec: float) -> NDArray[np.bool_]:
    """Return which kept rows must go so that stamps of different splits keep `buffer_arcsec` between them.

    Of each pair the row of the less protected split goes: train before val before test.
    """
    rank = rows["split"].map({name: number for number, name in enumerate(SPLIT_ORDER)}).to_numpy()
    index = np.flatnonzero(kept)
    ra, dec = rows["ra"].to_numpy()[index], rows["dec"].to_numpy()[index]
    first, second, _ = pairs_within(ra, dec, ra, dec, buffer_arcsec)
    less_protected = rank[index[first]] < rank[index[second]]
    result = np.zeros(len(rows), dtype=bool)
    result[index[first[less_protected]]] = True
    return result


def exclusion_counts(excluded: pd.DataFrame) -> pd.DataFrame:
    """Return the number of excluded rows for each reason, split and label."""
    counts = excluded.groupby(["reason", "split", "label"], sort=True).size()
    return counts.rename("rows").reset_index()


def design_names(columns: Iterable[str]) -> list[str]:
    """Return the designs whose membership the columns carry."""
    return sorted(name.removeprefix("in_") for name in columns if name.startswith("in_"))


def _stamp_columns(cutouts: pd.DataFrame) -> pd.DataFrame:
    return cutouts[["galaxy_id", "cutout_path", "status"]]


def _feature_columns(features: pd.DataFrame) -> pd.DataFrame:
    return features[["galaxy_id", *QUALITY_COLUMNS, "quality_reason", "arc_visibility"]]


def _exclusion_reasons(joined: pd.DataFrame) -> NDArray[np.object_]:
    reason = np.full(len(joined), "", dtype=object)
    in_train = (joined["split"] == "train").to_numpy()
    reason[in_train & joined["evaluation_only"].fillna(False).to_numpy(dtype=bool)] = "evaluation_only"
    failed = ~joined["quality_ok"].fillna(False).to_numpy(dtype=bool)
    reason[failed] = [f"quality:{why}" for why in joined.loc[failed, "quality_reason"].astype(object).fillna("missing")]
    absent = (joined["status"].astype(object) != "ok").to_numpy()
    reason[absent] = [f"no_stamp:{why}" for why in joined.loc[absent, "status"].astype(object).fillna("not_cut")]
    return reason
