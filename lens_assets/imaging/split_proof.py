"""Proof that the splits share nothing, and a measure of how alike they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.features import SplitProofSettings
from lens_assets.imaging.manifest import SPLIT_ORDER, near_any
from lens_assets.sky.matching import pairs_within
from lens_assets.survey.units import depth_ivar_to_mag

CONTINUOUS = ("nobs_z", "psfsize_g", "psfsize_r", "psfsize_z", "psfdepth_r_mag", "ebv", "mag_r")
CATEGORICAL = ("label", "type", "pool", "tier", "confuser_category", "nobs_z_bin")
CHECK_COLUMNS = ("check", "kind", "splits", "found", "bound", "passed", "detail")
_EXAMPLES = 3


def split_checks(
    manifest: pd.DataFrame,
    evaluation_only: pd.DataFrame,
    settings: SplitProofSettings,
    splits: Sequence[str] = SPLIT_ORDER,
) -> pd.DataFrame:
    """Return one row a check: name, kind (`separation` must pass, `balance` warns), splits, found, bound, passed.

    `manifest` is the training manifest; `evaluation_only` holds galaxy_id (or null), ra, dec (degrees) of every system
    that must never be near a training stamp, in the manifest or not; `splits` are those that the campaign fills. For
    separation `found` counts offending rows or pairs; for balance it is an effect size.
    """
    checks = [
        _check("rows_in_every_split", "separation", "all", _empty_splits(manifest, splits), 0, "splits without a row"),
        _unknown_splits(manifest),
        *_shared_values(manifest, ("galaxy_id", "cutout_path", "healpix_128")),
        *_null_cells(manifest),
        *_folds(manifest),
        _near_pairs(manifest, settings.buffer_arcsec),
        *_anchors(manifest, evaluation_only, settings.buffer_arcsec),
        *_balance_checks(balance_table(manifest), settings.max_effect_size),
    ]
    return pd.DataFrame(checks, columns=list(CHECK_COLUMNS))


def balance_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return effect sizes of each condition between each pair of splits, for all rows and for each label.

    Continuous columns: Cohen's d = (mean_a - mean_b) / pooled standard deviation (Cohen 1988, eq. 2.5.1).
    Categorical columns: Cramer's V with the bias correction of Bergsma 2013 (J. Korean Stat. Soc. 42, 323), so that
    small samples do not look unbalanced. NaN where a split is empty or a column does not vary.
    """
    frame = manifest.assign(psfdepth_r_mag=depth_ivar_to_mag(manifest["psfdepth_r"].to_numpy(dtype=float)))
    rows = []
    for label, part in (("all", frame), *((str(v), frame[frame["label"] == v]) for v in (0, 1))):
        for first, second in combinations(SPLIT_ORDER, 2):
            a, b = part[part["split"] == first], part[part["split"] == second]
            for name in CONTINUOUS:
                effect = cohen_d(a[name].to_numpy(dtype=float), b[name].to_numpy(dtype=float))
                rows.append((name, "cohen_d", label, first, second, len(a), len(b), effect))
            for name in CATEGORICAL:
                effect = cramer_v(a[name].astype(object), b[name].astype(object))
                rows.append((name, "cramer_v", label, first, second, len(a), len(b), effect))
    columns = ["column", "statistic", "label", "split_a", "split_b", "rows_a", "rows_b", "effect_size"]
    return pd.DataFrame(rows, columns=columns)


def cohen_d(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the difference of means over the pooled standard deviation; NaN with fewer than two values each."""
    a, b = first[np.isfinite(first)], second[np.isfinite(second)]
    if min(len(a), len(b)) < 2:
        return float("nan")
    pooled = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (len(a) + len(b) - 2)
    return float((a.mean() - b.mean()) / np.sqrt(pooled)) if pooled > 0 else float("nan")


def cramer_v(first: pd.Series, second: pd.Series) -> float:
    """Return the bias-corrected Cramer's V between a category and which of two samples a row is in.

    Nulls are a category of their own. phi^2 is reduced by its expectation (k - 1)(r - 1)/(n - 1) under
    independence, floored at 0, and k and r by the matching terms (Bergsma 2013, eqs. 8 to 10).
    """
    values = pd.concat([first, second]).fillna("(none)").astype("str")
    group = np.repeat([0, 1], [len(first), len(second)])
    table = pd.crosstab(values.to_numpy(), group).to_numpy(dtype=float)
    total = table.sum()
    if min(len(first), len(second)) < 2 or table.shape[0] < 2:
        return float("nan")
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    phi_squared = ((table - expected) ** 2 / expected).sum() / total
    k = table.shape[0]
    reduced = max(0.0, phi_squared - (k - 1) / (total - 1))
    k_reduced = k - (k - 1) ** 2 / (total - 1)
    two_reduced = 2.0 - 1.0 / (total - 1)
    smaller = min(k_reduced, two_reduced) - 1.0
    return float(np.sqrt(reduced / smaller)) if smaller > 0 else float("nan")


def _check(name: str, kind: str, splits: str, found: float, bound: float, detail: str = "") -> tuple[object, ...]:
    passed = not np.isfinite(found) or abs(found) <= bound if kind == "balance" else found <= bound
    return name, kind, splits, float(found), float(bound), bool(passed), detail


def _empty_splits(manifest: pd.DataFrame, splits: Sequence[str]) -> int:
    return sum(not (manifest["split"] == split).any() for split in splits)


def _folds(manifest: pd.DataFrame) -> list[tuple[object, ...]]:
    """Return checks that every row has a fold, that a cell lies in one region and a region in one fold."""
    missing = manifest["fold"].isna() | manifest["region_id"].isna()
    checks = [_check("no_null_fold", "separation", "all", int(missing.sum()), 0, _examples(manifest, missing))]
    for part, whole in (("healpix_128", "region_id"), ("region_id", "fold")):
        several = manifest.groupby(part)[whole].nunique() > 1
        detail = ", ".join(str(name) for name in several.index[several][:_EXAMPLES])
        checks.append(_check(f"one_{whole}_per_{part}", "separation", "all", int(several.sum()), 0, detail))
    return checks


def _unknown_splits(manifest: pd.DataFrame) -> tuple[object, ...]:
    unknown = ~manifest["split"].isin(SPLIT_ORDER)
    return _check("split_is_known", "separation", "all", int(unknown.sum()), 0, _examples(manifest, unknown))


def _null_cells(manifest: pd.DataFrame) -> list[tuple[object, ...]]:
    null = manifest["healpix_128"].isna()
    return [_check("no_null_healpix_128", "separation", "all", int(null.sum()), 0, _examples(manifest, null))]


def _shared_values(manifest: pd.DataFrame, columns: tuple[str, ...]) -> list[tuple[object, ...]]:
    checks = []
    for column in columns:
        values = {split: set(manifest.loc[manifest["split"] == split, column].dropna()) for split in SPLIT_ORDER}
        for first, second in combinations(SPLIT_ORDER, 2):
            shared = sorted(values[first] & values[second])
            detail = ", ".join(str(value) for value in shared[:_EXAMPLES])
            name = f"disjoint_{column}"
            checks.append(_check(name, "separation", f"{first}-{second}", len(shared), 0, detail))
    for column in ("galaxy_id", "cutout_path"):
        repeated = manifest[column].duplicated()
        detail = _examples(manifest, repeated)
        checks.append(_check(f"unique_{column}", "separation", "all", int(repeated.sum()), 0, detail))
    return checks


def _near_pairs(manifest: pd.DataFrame, buffer_arcsec: float) -> tuple[object, ...]:
    ra, dec = manifest["ra"].to_numpy(), manifest["dec"].to_numpy()
    a, b, separation = pairs_within(ra, dec, ra, dec, buffer_arcsec)
    split = manifest["split"].to_numpy()
    across = (a < b) & (split[a] != split[b])
    ids = manifest["galaxy_id"].to_numpy()
    pairs = list(zip(a[across], b[across], separation[across], strict=True))[:_EXAMPLES]
    detail = ", ".join(f"{ids[i]} and {ids[j]} at {angle:.1f} arcsec" for i, j, angle in pairs)
    return _check("no_pair_within_buffer", "separation", "all", int(across.sum()), 0, detail)


def _anchors(manifest: pd.DataFrame, evaluation_only: pd.DataFrame, buffer_arcsec: float) -> list[tuple[object, ...]]:
    train = manifest[manifest["split"] == "train"]
    flagged = train["evaluation_only"].fillna(False).astype(bool)
    same = flagged | train["galaxy_id"].isin(evaluation_only["galaxy_id"].dropna())
    close = near_any(train, evaluation_only, buffer_arcsec)
    return [
        _check("no_evaluation_only_in_train", "separation", "train", int(same.sum()), 0, _examples(train, same)),
        _check(
            "no_neighbour_of_evaluation_only_in_train", "separation", "train", int(close.sum()), 0,
            _examples(train, close),
        ),
    ]  # fmt: skip


def _balance_checks(balance: pd.DataFrame, max_effect_size: float) -> list[tuple[object, ...]]:
    """Return one check a column over all rows: its largest effect size between any two splits."""
    checks = []
    overall = balance[balance["label"] == "all"]
    for name, part in overall.groupby("column", sort=True):
        effects = part["effect_size"].abs()
        worst = part.iloc[int(np.argmax(effects.fillna(-1.0).to_numpy()))]
        splits = f"{worst['split_a']}-{worst['split_b']}"
        size = float(worst["effect_size"])
        checks.append(_check(f"balance_{name}", "balance", splits, size, max_effect_size, str(worst["statistic"])))
    return checks


def _examples(frame: pd.DataFrame, mask: pd.Series | NDArray[np.bool_]) -> str:
    return ", ".join(str(name) for name in frame.loc[np.asarray(mask), "galaxy_id"].head(_EXAMPLES))
