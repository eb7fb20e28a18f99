"""What a remedy is worth: the paired shift of C from a detector to its remedied counterpart, by Einstein radius.

A remedy is another training recipe (the host subtracted, the core hidden on a schedule) of an otherwise equal detector.
Both score the same injections, each at its own threshold of the same kind: at one false-positive rate the comparison
costs no more inspection.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.selection_function import GridSettings, IntervalSettings
from lens_assets.selection.completeness import Threshold, detected_at
from lens_assets.sky.randomness import generator
from lens_assets.statistics.simultaneous import simultaneous_means

RAISES, LOWERS, UNDECIDED, NOT_EVALUATED = "RAISES", "LOWERS", "UNDECIDED", "NOT-EVALUATED"
COLUMNS = {
    "remedy": "detector with the remedy",
    "instead_of": "its counterpart without",
    "theta_e_arcsec": "centre of the Einstein-radius bin; missing: all bins together [arcsec]",
    "n": "injections that both scored",
    "n_hosts": "distinct hosts",
    "completeness_before": "completeness of the counterpart",
    "completeness_after": "completeness of the remedied detector",
    "shift": "difference, paired",
    "shift_lower_95": "lower end at the thresholds as they are; all rows of a remedy hold at once, hosts resampled",
    "shift_upper_95": "upper end likewise",
    "total_lower_95": "lower end with the uncertainty of both thresholds",
    "total_upper_95": "upper end likewise",
    "rescued": "share of what the counterpart misses that the remedied detector finds",
    "lost": "share of what the counterpart finds that the remedied detector misses",
    "verdict": "RAISES, LOWERS, UNDECIDED (the total interval holds 0) or NOT-EVALUATED (hosts in fewer than two)",
    "threshold": "name of the detection threshold",
}


def remedy_table(
    names: tuple[str, str],
    trials: tuple[pd.DataFrame, pd.DataFrame],
    thresholds: tuple[Threshold, Threshold],
    grid: GridSettings,
    intervals: IntervalSettings,
    seed: int,
) -> pd.DataFrame:
    """Return one row for all trials and one an Einstein-radius bin (`COLUMNS`).

    `names`, `trials` and `thresholds` are (counterpart, remedied detector). What thresholds add is how far the shift
    moves when each goes to the ends of its own 95% interval, in quadrature: they come from other objects than the
    trials, and the two detectors' errors, which share negatives, are taken as independent, which is the wider choice.
    """
    before, after = trials
    after = after.set_index("injection_id").reindex(before["injection_id"])
    both = np.isfinite(after["injected_score"]).to_numpy()
    before, after = before.loc[both].reset_index(drop=True), after.loc[both].reset_index(drop=True)
    bins = [np.ones(len(before), bool)]
    bins += [(before["theta_e_bin"] == number).to_numpy() for number in range(grid.theta_e_arcsec.count)]
    found = [_found(before, thresholds[0]), _found(after, thresholds[1])]
    difference = found[1][0].astype(np.float64) - found[0][0]
    columns = np.stack([np.where(rows, difference, np.nan) for rows in bins], axis=1)
    rng = generator(seed, "|".join(names), "remedy-bootstrap")
    joint = simultaneous_means(columns, before["galaxy_id"], rng, intervals.bootstrap_resamples)
    rows = []
    for number, (theta, chosen) in enumerate(zip((np.nan, *grid.theta_e_arcsec.centres), bins, strict=True)):
        shift, half = float(joint.means[number]), float(joint.half_widths[number])
        down, up = _moved_by_thresholds(found, chosen)
        lower, upper = shift - float(np.hypot(half, down)), shift + float(np.hypot(half, up))
        first, second = found[0][0][chosen], found[1][0][chosen]
        rows.append(
            {
                "remedy": names[1],
                "instead_of": names[0],
                "theta_e_arcsec": theta,
                "n": int(joint.n[number]),
                "n_hosts": int(joint.n_clusters[number]),
                "completeness_before": _share(first),
                "completeness_after": _share(second),
                "shift": shift,
                "shift_lower_95": shift - half,
                "shift_upper_95": shift + half,
                "total_lower_95": lower,
                "total_upper_95": upper,
                "rescued": _share(second[~first]),
                "lost": _share(~second[first]),
                "verdict": _verdict(lower, upper),
                "threshold": thresholds[0].name,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def no_remedies() -> pd.DataFrame:
    """Return the table of a campaign that declares no remedy."""
    texts = ("remedy", "instead_of", "verdict", "threshold")
    types = {name: "str" if name in texts else "int64" if name in ("n", "n_hosts") else "float64" for name in COLUMNS}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})


def _found(trials: pd.DataFrame, threshold: Threshold) -> list[NDArray[np.bool_]]:
    """Return who is detected at a threshold, and at the lower and upper end of its own interval."""
    cuts = (threshold.score, threshold.score_lower, threshold.score_upper)
    return [np.asarray(detected_at(trials, cut), dtype=bool) for cut in cuts]


def _moved_by_thresholds(found: list[list[NDArray[np.bool_]]], chosen: NDArray[np.bool_]) -> tuple[float, float]:
    """Return how far down and up the shift moves when either threshold goes to the ends of its interval."""
    down, up = [], []
    for sign, (at, *ends) in zip((-1.0, 1.0), found, strict=True):
        moves = [sign * (_share(end[chosen]) - _share(at[chosen])) for end in ends]
        down.append(max(0.0, -min(moves)))
        up.append(max(0.0, max(moves)))
    return float(np.hypot(down[0], down[1])), float(np.hypot(up[0], up[1]))


def _share(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _verdict(lower: float, upper: float) -> str:
    if not np.isfinite([lower, upper]).all():
        return NOT_EVALUATED
    return RAISES if lower > 0 else LOWERS if upper < 0 else UNDECIDED
