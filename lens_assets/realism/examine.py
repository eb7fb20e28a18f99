"""From stamps to a battery: measure both sides with the same function, pair the sky, run the comparisons.

Stamps are read through functions in blocks, so that memory does not grow with the number of injections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.realism import RealismSettings
from lens_assets.detector.external import FeaturesUnavailableError, UnscoredStampsError
from lens_assets.detector.frozen import Detector
from lens_assets.imaging.host_subtraction import measure_ellipse
from lens_assets.imaging.robust import covered
from lens_assets.realism.background import CONDITION_COLUMNS, Background, pair_by_conditions, sky_pixels
from lens_assets.realism.battery import NOT_EVALUATED, Battery, row
from lens_assets.realism.contaminants import chosen_rows, contaminant_rows, unscored_rows
from lens_assets.realism.observables import is_visible, measure
from lens_assets.realism.probes import feature_probe_rows, null_bytes_row, pixel_probe_rows, weighted_choice
from lens_assets.realism.residuals import sky_statistics
from lens_assets.sky.randomness import uniform

BLOCK = 256
PSF_COLUMNS = ("psfsize_g", "psfsize_r", "psfsize_z")
HALVES = ("calibration", "gate")
Reader = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""Positions in the table -> stamps (n, 3, H, W) in nanomaggies."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class StampTable:
    """Catalogue rows and how to read their stamps.

    The table holds galaxy_id, type, mag_r, psfsize_{g,r,z} [arcsec] and psfdepth_{g,r,z}_mag.
    """

    table: pd.DataFrame
    read: Reader

    def __post_init__(self) -> None:
        needed = ("galaxy_id", "type", "mag_r", *CONDITION_COLUMNS)
        missing = [name for name in needed if name not in self.table]
        if missing:
            raise ValueError(f"stamp table lacks the columns {missing}; they are needed to compare like with like")


def halves(lens_ids: Sequence[str], seed: int, calibration_fraction: float) -> NDArray[np.str_]:
    """Return "calibration" or "gate" for each lens by the hash of its id alone, shape (N,)."""
    u = uniform(seed, list(lens_ids), "anchor_half")
    return np.where(u < calibration_fraction, *HALVES)


def observe(stamps: StampTable, settings: RealismSettings, progress: Progress | None = None) -> pd.DataFrame:
    """Return the table with the observables of every stamp.

    The host's ellipse is measured on the stamp itself, arc included: a catalogue's shape of a lens was fitted to
    host and arc together while that of an injection's host was fitted without, which would not be like with like.
    """
    count = len(stamps.table)
    fwhm = stamps.table[list(PSF_COLUMNS)].to_numpy(np.float64)
    parts = []
    for start in range(0, max(count, 1), BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        pixels = stamps.read(rows) if len(rows) else np.zeros((0, 3, 101, 101), np.float32)
        parts.append(measure_stamps(pixels, fwhm[rows], settings))
        if progress is not None:
            progress(min(start + BLOCK, count), count)
    measured = pd.concat(parts, ignore_index=True)
    table = stamps.table.reset_index(drop=True).drop(columns=[name for name in measured if name in stamps.table])
    return pd.concat([table, measured], axis=1)


def observe_injections(
    injected: StampTable, untouched: StampTable, settings: RealismSettings, progress: Progress | None = None
) -> pd.DataFrame:
    """Return the observables of injected stamps, and `host_visible`: whether the host alone shows an arc already.

    What is seen on an anchor is an arc, since somebody took it for one; what is seen on an injection is an arc only
    if the host alone does not show it. `untouched` holds every host by galaxy_id.
    """
    measured = observe(injected, settings, progress)
    position = pd.Series(np.arange(len(untouched.table)), index=untouched.table["galaxy_id"].astype(str).to_numpy())
    position = position[~position.index.duplicated()]
    hosts = measured["galaxy_id"].astype(str)
    names = np.unique(hosts.to_numpy(str))
    missing = [name for name in names if name not in position.index]
    if missing:
        raise ValueError(f"{len(missing)} hosts lack an untouched stamp, {missing[0]} among them; give every host's")
    rows = position.loc[names].to_numpy(np.int64)
    alone = observe(StampTable(untouched.table.iloc[rows], lambda block: untouched.read(rows[block])), settings)
    shows = dict(zip(names.tolist(), is_visible(alone, settings.detectability), strict=True))
    return measured.assign(host_visible=hosts.map(shows).astype(bool))


def measure_stamps(
    stamps: NDArray[np.floating], psf_fwhm_arcsec: NDArray[np.floating], settings: RealismSettings
) -> pd.DataFrame:
    """Return the observables of stamps (N, 3, H, W), with host ellipses measured on their sky-subtracted pixels."""
    level = np.nan_to_num(sky_statistics(np.asarray(stamps, np.float32), settings.apertures)[0])
    flat = np.where(covered(stamps), stamps - level[:, :, None, None], 0.0)
    ratio, angle = measure_ellipse(flat)
    return measure(stamps, ratio, angle, psf_fwhm_arcsec, settings.apertures)


def paired_sky(injected: StampTable, untouched: StampTable, settings: RealismSettings) -> Background:
    """Return sky pixels of injected stamps, one a host, beside those of other hosts' untouched stamps.

    See `background` for why pairs are made among hosts before a coin says which of the two is shown injected. A host
    without an untouched stamp is in no pair.
    """
    first = injected.table["galaxy_id"].astype(str).reset_index(drop=True).drop_duplicates()
    second = untouched.table["galaxy_id"].astype(str).reset_index(drop=True).drop_duplicates()
    position = pd.Series(second.index, index=second.to_numpy())
    first = first[first.isin(position.index)]
    hosts = injected.table.iloc[first.index].assign(galaxy_id=first.to_numpy())
    shown, others = pair_by_conditions(hosts, settings.distributions.seed, settings.background.maximum_pairs)
    other_rows = position.loc[first.iloc[others].to_numpy()].to_numpy(np.int64)
    return Background(
        _sky(injected, first.index.to_numpy(np.int64)[shown], settings),
        _sky(untouched, other_rows, settings),
        hosts.iloc[shown][list(settings.strata.columns)].reset_index(drop=True),
    )


def _sky(stamps: StampTable, rows: NDArray[np.int64], settings: RealismSettings) -> NDArray[np.float32]:
    parts = [
        sky_pixels(stamps.read(rows[start : start + BLOCK]), settings.apertures, settings.background)
        for start in range(0, len(rows), BLOCK)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 3, settings.background.pixels_per_stamp), np.float32)


def probe_rows(
    anchors: pd.DataFrame,
    read_anchors: Reader,
    measured: pd.DataFrame,
    injected: StampTable,
    untouched: StampTable,
    battery: Battery,
    detector: Detector,
    settings: RealismSettings,
    null: Reader | None = None,
) -> list[dict[str, object]]:
    """Return the rows of all linear probes on visible stamps; see `probes`.

    `anchors` and `measured` hold observables; `battery` the matching that weights the injections; `null` reads the
    injections, by position as `injected` does, with sources of zero flux. For the pixel
    probes a coin shows every host of a visible injection either with it or untouched: an arc is seen on some hosts
    sooner than on others, and hosts chosen otherwise would be told apart by that.
    """
    rules, seed = settings.probes, settings.distributions.seed
    seen = is_visible(anchors, settings.detectability)
    judging = np.flatnonzero(seen & (anchors["half"] == "gate"))
    tuning = np.flatnonzero(seen & (anchors["half"] == "calibration"))
    shown = np.flatnonzero(is_visible(measured, settings.detectability) & ~measured["host_visible"].to_numpy(bool))
    weights = battery.compared.matching.weights if battery.compared.matching else np.ones(len(shown))
    names = measured["injection_id"].iloc[shown].astype(str).tolist()
    alike = shown[weighted_choice(names, weights, min(rules.maximum_stamps, 4 * len(judging)), seed)]
    hosts, anchor_hosts = measured["galaxy_id"].astype(str).to_numpy(), anchors["galaxy_id"].astype(str).to_numpy()
    rows = _feature_rows(
        detector,
        read_anchors(judging),
        injected.read(alike),
        (read_anchors(judging), read_anchors(tuning)),
        anchor_hosts[judging].tolist(),
        hosts[alike].tolist(),
        (anchor_hosts[judging].tolist(), anchor_hosts[tuning].tolist()),
        settings,
    )
    first, second = _shown_or_untouched(shown, hosts, untouched.table, rules.maximum_stamps, seed)
    other_names = untouched.table["galaxy_id"].astype(str).to_numpy()[second]
    names_of = hosts[first].tolist(), other_names.tolist()
    without = None if null is None else null(first)
    if without is not None:
        place = pd.Series(np.arange(len(untouched.table)), index=untouched.table["galaxy_id"].astype(str).to_numpy())
        place = place[~place.index.duplicated()]
        rows.append(null_bytes_row(without, untouched.read(place.loc[names_of[0]].to_numpy(np.int64))))
    pixels = injected.read(first), untouched.read(second)
    return rows + pixel_probe_rows(*pixels, *names_of, settings, without)


def scored_contaminants(
    measured: pd.DataFrame,
    injected: StampTable,
    untouched: StampTable,
    battery: Battery,
    detector: Detector,
    threshold: float,
    settings: RealismSettings,
) -> list[dict[str, object]]:
    """Return the rows on contaminants, alone and with visible arcs on them, at the audited threshold.

    Strata are halved where those of the battery are, at the median of the judging anchors.
    """
    judging = battery.compared.judging
    strata = [(name, float(judging[name].median())) for name in settings.strata.columns if judging[name].notna().any()]
    shown = np.flatnonzero(is_visible(measured, settings.detectability) & ~measured["host_visible"].to_numpy(bool))
    arcs = shown[chosen_rows(measured.iloc[shown], "injection_id", settings)]
    alone = chosen_rows(untouched.table, "galaxy_id", settings)
    position = pd.Series(np.arange(len(untouched.table)), index=untouched.table["galaxy_id"].astype(str).to_numpy())
    hosts = position[~position.index.duplicated()].loc[measured["galaxy_id"].iloc[arcs].astype(str)].to_numpy(np.int64)
    try:
        passed = {
            name: _scores(detector, stamps, rows) >= threshold
            for name, stamps, rows in (
                ("alone", untouched, alone),
                ("arcs", injected, arcs),
                ("hosts", untouched, hosts),
            )
        }
    except UnscoredStampsError as missing:
        return unscored_rows(str(missing))
    return contaminant_rows(
        untouched.table.iloc[alone].assign(passed=passed["alone"]),
        measured.iloc[arcs].assign(passed=passed["arcs"] & ~passed["hosts"]),
        strata,
        settings,
    )


def _scores(detector: Detector, stamps: StampTable, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    parts = [detector.score(stamps.read(rows[start : start + BLOCK])) for start in range(0, len(rows), BLOCK)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _feature_rows(
    detector: Detector,
    anchors: NDArray[np.float32],
    injections: NDArray[np.float32],
    control: tuple[NDArray[np.float32], NDArray[np.float32]],
    anchor_hosts: Sequence[str],
    injection_hosts: Sequence[str],
    control_hosts: tuple[Sequence[str], Sequence[str]],
    settings: RealismSettings,
) -> list[dict[str, object]]:
    """Return the rows in the detector's feature space; of an external finder, that there are none to look at."""
    try:
        return feature_probe_rows(
            anchors,
            injections,
            control,
            anchor_hosts,
            injection_hosts,
            control_hosts,
            detector.layer_features,
            settings,
        )
    except FeaturesUnavailableError as unavailable:
        names = ("probe_features", "frechet")
        return [row(name, NOT_EVALUATED, gates=False, requirement=str(unavailable)) for name in names]


def _shown_or_untouched(
    shown: NDArray[np.int64], hosts: NDArray[np.object_], untouched: pd.DataFrame, maximum: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return positions of injections, one a host, and of untouched stamps of the other hosts, by a coin a host."""
    injection = pd.Series(shown, index=hosts[shown])
    injection = injection[~injection.index.duplicated()].sort_index()
    position = pd.Series(np.arange(len(untouched)), index=untouched["galaxy_id"].astype(str).to_numpy())
    position = position[~position.index.duplicated()]
    names = injection.index.intersection(position.index)
    heads = uniform(seed, names.tolist(), "probe_coin") < 0.5
    first, second = injection.loc[names[heads]].to_numpy(np.int64), position.loc[names[~heads]].to_numpy(np.int64)
    return first[:maximum], second[:maximum]
