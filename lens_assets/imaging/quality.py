"""Quality of stamps: what is missing in them, the published per-stamp columns, and the verdict `quality_ok`.

The survey's images hold an exact 0.0 where there is no coverage and never a NaN, so a rule that looks for
NaN passes every hole. All `nan_*` columns here count pixels that are non-finite *or exactly zero*.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.features import QualitySettings, RegionSettings
from lens_assets.imaging.geometry import annulus_indices, centre_pixel, flat_pixels
from lens_assets.imaging.preprocessing import sky_statistics
from lens_assets.imaging.robust import covered, row_medians
from lens_assets.survey.units import BANDS

QUALITY_COLUMNS = (
    "nan_count_g", "nan_count_r", "nan_count_z", "nan_frac", "central_nan_frac", "has_g", "has_r", "has_z",
    "core_brightness_r", "core_max_r", "annulus_brightness_r", "annulus_std_r", "outer_brightness_r",
    "radial_gradient_r", "mad_r", "std_r", "median_r", "mean_r", "percentile_1_r", "percentile_99_r", "clip_frac_r",
    "quality_ok",
)  # fmt: skip
"""The published per-stamp columns, in their published order."""

_CHUNK = 128


def missing_pixels(stamps: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which pixels hold no data: non-finite, or the exact zero of missing coverage."""
    return ~covered(stamps)


def quality_table(stamps: NDArray[np.floating], regions: RegionSettings, quality: QualitySettings) -> pd.DataFrame:
    """Return the published quality columns of stamps (N, 3, H, W) in nanomaggies, one row a stamp, in order.

    All statistics leave missing pixels out; fluxes are nanomaggies per pixel, of the r band.

    - `nan_count_<b>`: missing pixels of a band; `nan_frac`: of all bands over the whole stamp;
      `central_nan_frac`: over the central square.
    - `has_<b>`: the band holds at least one pixel with data.
    - `core_brightness_r`, `core_max_r`: median and maximum at r <= core_radius_px.
    - `annulus_brightness_r`, `annulus_std_r`: median and standard deviation in the arc annulus.
    - `outer_brightness_r`: median in the outer annulus; `radial_gradient_r`: core minus outer brightness.
    - `mad_r`: median absolute deviation of the stamp about its median (without the factor 1.4826).
    - `std_r`, `median_r`, `mean_r`, `percentile_1_r`, `percentile_99_r`: of the whole stamp.
    - `clip_frac_r`: fraction of pixels farther than clip_sigma sky sigma from the sky level, i.e. what a
      detector's clip flattens. (A fraction beyond the stamp's own percentiles would be 0.02 always.)
    - `quality_ok`, `quality_reason`: the verdict, and "ok" or the first rule that fails.
    """
    stamps = np.asarray(stamps)
    if stamps.ndim != 4 or stamps.shape[1] != len(BANDS):
        raise ValueError(f"stamps have shape {stamps.shape}, expected (N, {len(BANDS)}, H, W)")
    parts = [
        _quality_chunk(np.asarray(stamps[start : start + _CHUNK], dtype=np.float32), regions, quality)
        for start in range(0, max(len(stamps), 1), _CHUNK)  # one empty chunk gives an empty table its columns
    ]
    return pd.concat(parts, ignore_index=True)


def _quality_chunk(stamps: NDArray[np.float32], regions: RegionSettings, quality: QualitySettings) -> pd.DataFrame:
    missing = missing_pixels(stamps)
    table = _missing_columns(missing, regions)
    red = flat_pixels(stamps[:, 1])
    valid = flat_pixels(~missing[:, 1])
    height, width = stamps.shape[2:]
    core = annulus_indices(height, width, 0.0, regions.core_radius_px)
    annulus = annulus_indices(height, width, regions.annulus_inner_px, regions.annulus_outer_px)
    outer = annulus_indices(height, width, regions.outer_inner_px, regions.outer_outer_px)
    table["core_brightness_r"] = row_medians(red[:, core], valid[:, core])
    table["core_max_r"] = _masked_max(red[:, core], valid[:, core])
    table["annulus_brightness_r"] = row_medians(red[:, annulus], valid[:, annulus])
    table["annulus_std_r"] = masked_std(red[:, annulus], valid[:, annulus])
    table["outer_brightness_r"] = row_medians(red[:, outer], valid[:, outer])
    table["radial_gradient_r"] = table["core_brightness_r"] - table["outer_brightness_r"]
    _whole_stamp_columns(table, red, valid)
    level, sigma = sky_statistics(stamps[:, 1:2], regions.sky_inner_px, regions.sky_outer_px)
    with np.errstate(invalid="ignore"):
        beyond = np.abs(red - level) > quality.clip_sigma * sigma
    table["clip_frac_r"] = masked_mean(beyond.astype(np.float64), valid)
    core_missing = flat_pixels(missing)[:, :, core].mean(axis=2)
    reason = _quality_reason(stamps, missing, core_missing, table, quality)
    table["quality_reason"] = pd.Series(reason, index=table.index, dtype="str")
    table["quality_ok"] = table["quality_reason"] == "ok"
    return table


def _missing_columns(missing: NDArray[np.bool_], regions: RegionSettings) -> pd.DataFrame:
    height, width = missing.shape[2:]
    per_band = missing.sum(axis=(2, 3))
    table = pd.DataFrame({f"nan_count_{b}": per_band[:, i].astype(np.int64) for i, b in enumerate(BANDS)})
    table["nan_frac"] = missing.mean(axis=(1, 2, 3))
    rows = _central(height, regions.central_pixels)
    columns = _central(width, regions.central_pixels)
    table["central_nan_frac"] = missing[:, :, rows, columns].mean(axis=(1, 2, 3))
    for i, band in enumerate(BANDS):
        table[f"has_{band}"] = per_band[:, i] < height * width
    return table


def _central(side: int, pixels: int) -> slice:
    first = max(0, centre_pixel(side) - pixels // 2)
    return slice(first, min(side, first + pixels))


def _whole_stamp_columns(table: pd.DataFrame, red: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
    median = row_medians(red, valid)
    table["mad_r"] = row_medians(np.abs(red - median[:, None].astype(np.float32)), valid)
    table["std_r"] = masked_std(red, valid)
    table["median_r"] = median
    table["mean_r"] = masked_mean(red, valid)
    low, high = masked_percentiles(red, valid, (1.0, 99.0))
    table["percentile_1_r"] = low
    table["percentile_99_r"] = high


def _quality_reason(
    stamps: NDArray[np.float32],
    missing: NDArray[np.bool_],
    core_missing: NDArray[np.float64],
    table: pd.DataFrame,
    quality: QualitySettings,
) -> NDArray[np.object_]:
    """Return "ok" or the first rule that a stamp fails; rules go from the plainest fault to the finest."""
    fraction = missing.mean(axis=(2, 3))
    # Two planes with the same pixels come from a band that was filled with another one.
    same = [
        np.all(stamps[:, i] == stamps[:, j], axis=(1, 2)) & ~missing[:, i].all(axis=(1, 2))
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    bound = quality.max_missing_fraction
    rules = [
        *((f"no_{band}_band", ~table[f"has_{band}"].to_numpy()) for band in BANDS),
        ("identical_bands", np.any(same, axis=0)),
        *((f"missing_core_{band}", core_missing[:, i] > quality.max_core_missing_fraction)
          for i, band in enumerate(BANDS)),
        ("missing_centre", table["central_nan_frac"].to_numpy() > quality.max_central_missing_fraction),
        *((f"missing_{band}", fraction[:, i] > bound) for i, band in enumerate(BANDS)),
        ("constant_r", ~(table["mad_r"].to_numpy() > 0)),
    ]  # fmt: skip
    reason = np.full(len(stamps), "ok", dtype=object)
    for name, failed in reversed(rules):
        reason[failed] = name
    return reason


def masked_mean(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean of the valid entries of each row (N,), in float64; NaN for a row without any."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(valid, values, 0.0).sum(axis=1, dtype=np.float64) / valid.sum(axis=1)


def masked_std(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the population standard deviation of the valid entries of each row; NaN for a row without any."""
    deviation = values - masked_mean(values, valid)[:, None]
    return np.sqrt(masked_mean(deviation**2, valid))


def _masked_max(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    highest = np.where(valid, values, -np.inf).max(axis=1).astype(np.float64)
    return np.where(valid.any(axis=1), highest, np.nan)


def masked_percentiles(
    values: NDArray[np.floating], valid: NDArray[np.bool_], percentiles: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return the percentiles (len(percentiles), N) of the valid entries of each row, linear between ranks."""
    result = np.full((len(percentiles), len(values)), np.nan)
    full = valid.all(axis=1)
    if full.any():
        ranks = np.asarray(percentiles) / 100.0 * (values.shape[1] - 1)
        low = np.floor(ranks).astype(int)
        high = np.ceil(ranks).astype(int)
        selected = np.array(values[full])
        selected.partition(sorted({*low.tolist(), *high.tolist()}), axis=1)
        lower = selected[:, low].astype(np.float64)
        result[:, full] = (lower + (ranks - low) * (selected[:, high] - lower)).T
    for row in np.flatnonzero(~full & valid.any(axis=1)):
        result[:, row] = np.percentile(values[row, valid[row]].astype(np.float64), percentiles)
    return result
