"""Audit of shortcuts: whether one simple number tells lenses from non-lenses for a reason other than lensing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lens_assets.campaign.stages.features import ShortcutSettings
from lens_assets.sky.randomness import generator
from lens_assets.statistics.bootstrap import bootstrap_auc, roc_auc

CONDITIONS = (
    "nobs_z", "psfsize_g", "psfsize_r", "psfsize_z", "psfdepth_r", "galdepth_r", "ebv", "mag_g", "mag_r", "mag_z",
)  # fmt: skip
"""Observing conditions and magnitudes: where they differ between the classes, a finder may learn them."""

_NOT_FEATURES = frozenset(("cutout_path", "galaxy_id", "quality_reason", "quality_ok", "has_g", "has_r", "has_z"))
_LEVEL = 0.68  # its lower bound is the 16th percentile of the resamples
_MINIMUM_PER_CLASS = 5


def single_feature_audit(
    table: pd.DataFrame, features: list[str], settings: ShortcutSettings, part: str = "all"
) -> pd.DataFrame:
    """Return the AUC of each feature alone with its interval and flag, one row a feature, the strongest first.

    `table` has `label` (1 lens, 0 not), `healpix_128` (resampled as clusters) and the features. The direction of a
    feature (`sign`: +1 if lenses have larger values) is fixed once, on all rows; the bootstrap then resamples cells
    and keeps that direction. Folding every resample to max(AUC, 1 - AUC) would lift small samples above 0.5 by
    construction. What remains is the choice of one direction from the same rows, which matters only for AUCs
    within their error of 0.5 and cannot raise a flag there. Rows where the feature is null are left out and counted.
    """
    rows = [_one_feature(table, name, settings, part) for name in features]
    result = pd.DataFrame(rows)
    return result.sort_values(["auc", "feature"], ascending=[False, True], ignore_index=True)


def _one_feature(table: pd.DataFrame, name: str, settings: ShortcutSettings, part: str) -> dict[str, object]:
    values = table[name].to_numpy(dtype=np.float64, na_value=np.nan)
    finite = np.isfinite(values)
    labels = table["label"].to_numpy()[finite]
    base = {"part": part, "feature": name, "expected_reason": settings.expected_physics.get(name, "")}
    counts = {
        "n_positive": int((labels == 1).sum()),
        "n_negative": int((labels == 0).sum()),
        "n_missing": int((~finite).sum()),
    }
    if min(counts["n_positive"], counts["n_negative"]) < _MINIMUM_PER_CLASS:
        nothing = dict.fromkeys(("auc", "lower_68", "upper_68", "standard_error"), float("nan"))
        return {**base, "sign": 0, **nothing, **counts, "flag": "not_evaluated"}
    sign = 1 if roc_auc(values[finite], labels) >= 0.5 else -1
    cells = table["healpix_128"].to_numpy()[finite]
    rng = generator(settings.seed, name, f"shortcut audit {part}")
    estimate = bootstrap_auc(sign * values[finite], labels, rng, cells, settings.resamples, _LEVEL)
    interval = {
        "auc": estimate.value,
        "lower_68": estimate.lower,
        "upper_68": estimate.upper,
        "standard_error": estimate.standard_error,
    }
    return {**base, "sign": sign, **interval, **counts, "flag": _flag(name, estimate.lower, settings)}


def _flag(name: str, lower: float, settings: ShortcutSettings) -> str:
    if not np.isfinite(lower):
        return "not_evaluated"
    if lower <= settings.yellow_auc:
        return "none"
    if name in settings.expected_physics:
        return "expected"
    return "red" if lower > settings.red_auc else "yellow"


def audited_table(manifest: pd.DataFrame, features: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return manifest rows joined with all their numeric features, and the names of what is audited.

    Audited are the measured features of the stamps and the observing conditions; identifiers, positions and labels
    are not.
    """
    measured = [name for name in features.columns if name not in _NOT_FEATURES and name not in manifest.columns]
    table = manifest.merge(features[["galaxy_id", *measured]], on="galaxy_id", how="left", validate="one_to_one")
    of_stamps = [name for name in features.columns if name not in _NOT_FEATURES]
    names = [*of_stamps, *(name for name in CONDITIONS if name not in of_stamps)]
    return table, names
