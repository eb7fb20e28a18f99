"""The battery: anchors against injections, observable by observable, as rows of data.

A row states what was compared, where, the numbers of both sides, the rule, and whether it decides. Rules on
point estimates (signal-to-noise, colours) stand as they are; comparisons of distributions share what these leave
of the campaign's family-wise false-alarm rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.realism import RealismSettings
from lens_assets.imaging.robust import MAD_TO_SIGMA
from lens_assets.realism import comparisons
from lens_assets.realism.background import Background, paired_kolmogorov_smirnov
from lens_assets.realism.matching import Matching, effective_size, match, with_matching_columns
from lens_assets.realism.observables import is_visible
from lens_assets.realism.strata import Half, halves_of

PASS, FAIL, WARN, NOT_EVALUATED = "PASS", "FAIL", "WARN", "NOT-EVALUATED"
ALL = "all"
COLOURS = ("arc_g_minus_r", "arc_r_minus_z")
# The share of the family-wise rate that distributions keep when point rules alone would use it up.
LEAST_DISTRIBUTION_SHARE = 0.2

LIKELY_KNOBS: dict[str, str] = {
    "arc_snr": "injection.source.mag_r and injection.brightness (calibrated shift)",
    "arc_g_minus_r": "injection.source.g_minus_r",
    "arc_r_minus_z": "injection.source.r_minus_z",
    "arc_surface_brightness": "injection.source.mag_r and half_light_radius_arcsec",
    "arc_width_over_psf": "injection.renderer.psf_fwhm_scale, psf_moffat_beta, or source half_light_radius_arcsec",
    "arc_radius_arcsec": "Einstein radii of the grid against the anchors'",
    "residual_amplitude": "injection.source.mag_r against host brightness (injection.hosts)",
    "tangential_asymmetry": "injection.source.position",
    "arc_noise_ratio": "injection.noise.gain_scale and sky_brightness",
    "background_g": "injection.noise.mode: the host already has its sky",
    "background_r": "injection.noise.mode: the host already has its sky",
    "background_z": "injection.noise.mode: the host already has its sky",
    "anchors": "more held-out lenses, or a larger val + test share in splits",
    "effective_injections": "injection.hosts and priors: they barely overlap with the anchors",
    "probe_features": "whatever the observables above point to",
    "frechet": "whatever the observables above point to",
    "probe_annulus": "injection.source.mag_r: arcs too faint to matter",
    "probe_core": "injection.lens inner images, or host noise changed by injection",
    "probe_radial": "injection.noise or a pedestal added with the arcs",
    "null_bytes": "injection.noise.mode: something is added where no light is",
    "null_annulus": "injection.hosts: hosts of visible arcs differ from others before any arc",
    "null_core": "injection.hosts: hosts of visible arcs differ from others before any arc",
    "null_radial": "injection.hosts: hosts of visible arcs differ from others before any arc",
    "contaminant_fpr": "confusers trained on (negatives.confusers), or evaluation.thresholds.audit",
    "arcs_on_contaminants": "injection.hosts: contaminants' weight among hosts, or confusers trained on",
    "panel": "the stamps the graders told apart",
}

COLUMNS: dict[str, str] = {
    "observable": "what is compared",
    "stratum": "where: all, or a half in one condition",
    "n_anchors": "anchors compared",
    "n_injections": "effective injections compared",
    "statistic": "what `value` is",
    "value": "the statistic",
    "lower": "lower end of its 95% interval (or of the null's, for distances)",
    "upper": "upper end of its 95% interval",
    "p_value": "p-value under a perfect simulator, where the rule is a test",
    "anchor_value": "the anchors' own quantile or median",
    "injection_value": "the injections' own quantile or median",
    "requirement": "the rule",
    "verdict": "PASS, FAIL, WARN or NOT-EVALUATED",
    "gates": "whether the row decides",
    "likely_knob": "the setting to look at first when it fails",
}


@dataclass(frozen=True)
class Compared:
    """The three groups that are compared, already through the same detectability gate, and their matching."""

    judging: pd.DataFrame
    tuning: pd.DataFrame
    injections: pd.DataFrame
    matching: Matching | None


@dataclass(frozen=True)
class Battery:
    """The rows (`COLUMNS`) and what they rest on."""

    rows: pd.DataFrame
    compared: Compared
    tolerance_false_alarm: float
    distribution_level: float
    extra: Mapping[str, float] = field(default_factory=dict)


def row(observable: str, verdict: str, **values: object) -> dict[str, object]:
    """Return a row of the report; what is not given is missing."""
    empty: dict[str, object] = dict.fromkeys(COLUMNS)
    empty |= {"observable": observable, "stratum": ALL, "verdict": verdict, "gates": True}
    empty |= {"n_anchors": 0, "n_injections": 0.0, "likely_knob": LIKELY_KNOBS.get(observable, "")}
    return empty | values


def as_table(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Return rows as a table with the report's columns and types."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = ["n_injections", "value", "lower", "upper", "p_value", "anchor_value", "injection_value"]
    frame[numbers] = frame[numbers].astype(np.float64)
    frame["n_anchors"] = frame["n_anchors"].astype(np.int64)
    frame["gates"] = frame["gates"].astype(bool)
    texts = ["observable", "stratum", "statistic", "requirement", "verdict", "likely_knob"]
    frame[texts] = frame[texts].fillna("").astype(str)
    return frame


def compared_groups(anchors: pd.DataFrame, injections: pd.DataFrame, settings: RealismSettings) -> Compared:
    """Pass both sides through the detectability gate and weight injections to the tuning half of the anchors.

    Args:
        anchors: observables, conditions, `half` (calibration or gate) of held-out anchors.
        injections: observables, conditions, `galaxy_id` and `host_visible` of their hosts (`observe_injections`);
            those whose host alone passes the gate are left out, since what is seen there is no injected arc.
    """
    seen = with_matching_columns(anchors[is_visible(anchors, settings.detectability)])
    arcs = is_visible(injections, settings.detectability) & ~injections["host_visible"].to_numpy(bool)
    shown = with_matching_columns(injections[arcs])
    judging = seen[seen["half"] == "gate"].reset_index(drop=True)
    tuning = seen[seen["half"] == "calibration"].reset_index(drop=True)
    shown = shown.reset_index(drop=True)
    matching = match(tuning, shown, settings.reweighting) if len(tuning) > 1 and len(shown) > 1 else None
    return Compared(judging, tuning, shown, matching)


def run_battery(
    anchors: pd.DataFrame,
    injections: pd.DataFrame,
    settings: RealismSettings,
    background: Background | None = None,
) -> Battery:
    """Compare anchors and injections; see `compared_groups` for the tables.

    Injections that barely overlap with the anchors leave the row `effective_injections` NOT-EVALUATED, which no GO
    passes; the observables are compared all the same down to `anchors.minimum_group`, since a difference that few
    injections suffice to show is the reason for the poor overlap more often than not.

    Returns rows in a stable order: the groups, the point rules, the distributions, the sky, the strata.
    """
    compared = compared_groups(anchors, injections, settings)
    rows = [_group_row(compared, settings), _effective_row(compared, settings)]
    skies = background_rows(background, settings)
    if rows[0]["verdict"] == NOT_EVALUATED or compared.matching is None:
        missing = [
            row(name, NOT_EVALUATED, requirement="enough visible anchors and injections")
            for name in ("arc_snr", *COLOURS, *settings.distributions.observables)
        ]
        level = settings.distributions.family_wise_error
        return Battery(as_table(decide(rows + missing + skies, level)), compared, 0.0, level)
    chosen = settings.distributions
    resamples = comparisons.resample(
        compared.matching,
        len(compared.judging),
        compared.injections["galaxy_id"].to_numpy(object),
        chosen.resamples,
        chosen.seed,
    )
    overall = _Stratum(compared, compared.matching, resamples, settings)
    rules, alarms = overall.tolerance_rows()
    false_alarm = float(alarms.mean())
    level = max(chosen.family_wise_error - false_alarm, LEAST_DISTRIBUTION_SHARE * chosen.family_wise_error)
    tests = [*overall.distribution_rows(), *skies]
    strata = _strata_rows(compared, compared.matching, resamples, background, settings)
    return Battery(
        as_table(rows + rules + decide(tests, level) + strata),
        compared,
        false_alarm,
        level,
    )


def decide(rows: list[dict[str, object]], level: float) -> list[dict[str, object]]:
    """Give the undecided tests of a family their verdicts by Holm's procedure at a family-wise level."""
    tests = [item for item in rows if item["verdict"] == ""]
    if tests:
        rejected = comparisons.holm([float(item["p_value"]) for item in tests], level)  # type: ignore[arg-type]
        for item, reject in zip(tests, rejected, strict=True):
            item["verdict"] = FAIL if reject else PASS
            item["requirement"] = f"not rejected by Holm's procedure, {len(tests)} tests at family-wise {level:.4f}"
    return rows


def background_rows(background: Background | None, settings: RealismSettings) -> list[dict[str, object]]:
    """Return one row a band: sky pixels of injected against untouched stamps of other objects."""
    rows = []
    for index, band in enumerate("grz"):
        name = f"background_{band}"
        pairs = 0 if background is None else len(background.injected)
        if background is None or pairs < settings.anchors.minimum_group:
            asked = f"at least {settings.anchors.minimum_group} paired stamps"
            rows.append(row(name, NOT_EVALUATED, n_anchors=pairs, n_injections=float(pairs), requirement=asked))
            continue
        first, second = background.injected[:, index], background.untouched[:, index]
        test = paired_kolmogorov_smirnov(
            first, second, settings.distributions.resamples, settings.distributions.seed + 1 + index
        )
        rows.append(
            row(
                name,
                "",
                n_anchors=test.pairs,
                n_injections=float(test.pairs),
                statistic="largest distance of the distributions of sky pixels, stamps swapped in pairs",
                value=test.distance,
                p_value=test.p_value,
                anchor_value=_robust_sigma(second),
                injection_value=_robust_sigma(first),
            )
        )
    return rows


def _robust_sigma(pixels: NDArray[np.floating]) -> float:
    finite = pixels[np.isfinite(pixels)]
    return float(MAD_TO_SIGMA * np.median(np.abs(finite - np.median(finite)))) if len(finite) else np.nan


def _group_row(compared: Compared, settings: RealismSettings) -> dict[str, object]:
    smaller = min(len(compared.judging), len(compared.tuning))
    needed = settings.anchors.minimum_group
    enough = len(compared.judging) >= needed and len(compared.tuning) > 1
    return row(
        "anchors",
        PASS if enough else NOT_EVALUATED,
        n_anchors=len(compared.judging),
        n_injections=float(len(compared.injections)),
        statistic="visible held-out anchors that judge",
        value=float(len(compared.judging)),
        anchor_value=float(smaller),
        requirement=f"at least {needed}",
    )


def _effective_row(compared: Compared, settings: RealismSettings) -> dict[str, object]:
    effective = compared.matching.effective if compared.matching else 0.0
    needed = settings.reweighting.minimum_effective
    return row(
        "effective_injections",
        PASS if effective >= needed else NOT_EVALUATED,
        n_anchors=len(compared.tuning),
        n_injections=effective,
        statistic="effective visible injections after weighting",
        value=effective,
        requirement=f"at least {needed:g}",
    )


@dataclass(frozen=True)
class _Stratum:
    """One set of rows of both sides and the rules applied to it."""

    compared: Compared
    matching: Matching
    resamples: comparisons.Resamples
    settings: RealismSettings
    name: str = ALL
    judging_rows: NDArray[np.bool_] | None = None
    injection_rows: NDArray[np.bool_] | None = None

    def sample(self, observable: str) -> comparisons.Sample:
        return comparisons.sample_of(
            self.compared.judging[observable].to_numpy(np.float64),
            self.compared.injections[observable].to_numpy(np.float64),
            self.matching.weights,
            self.resamples,
            self.judging_rows,
            self.injection_rows,
        )

    def tolerance_rows(self) -> tuple[list[dict[str, object]], NDArray[np.bool_]]:
        """Return the rows of the point rules, and which resamples a perfect simulator would have failed."""
        rows: list[dict[str, object]] = []
        alarms = np.zeros(len(self.resamples.anchor_counts), dtype=bool)
        rules = {"arc_snr": self.settings.tolerances.snr_quantiles, **dict.fromkeys(COLOURS, (0.5,))}
        for observable, quantiles in rules.items():
            sample = self.sample(observable)
            if not self._enough(sample):
                rows.append(self._not_evaluated(observable, sample))
                continue
            new, alarm = self._quantile_rows(observable, sample, quantiles)
            rows += new
            alarms |= alarm
        return rows, alarms

    def distribution_rows(self) -> list[dict[str, object]]:
        """Return the rows of the distribution tests, undecided."""
        rows = []
        for observable in self.settings.distributions.observables:
            sample = self.sample(observable)
            if not self._enough(sample):
                rows.append(self._not_evaluated(observable, sample))
                continue
            distance, p_value = comparisons.kolmogorov_smirnov(sample, self.settings.distributions.distance_margin)
            anchor = comparisons.weighted_quantiles(sample.anchors, np.ones(len(sample.anchors)), (0.5,))
            injection = comparisons.weighted_quantiles(sample.injections, sample.weights, (0.5,))
            rows.append(
                self._row(
                    observable,
                    "",
                    sample,
                    statistic="largest distance of the weighted distributions (Kolmogorov-Smirnov)",
                    value=distance,
                    p_value=p_value,
                    anchor_value=anchor[0],
                    injection_value=injection[0],
                )
            )
        return rows

    def _quantile_rows(
        self, observable: str, sample: comparisons.Sample, quantiles: Sequence[float]
    ) -> tuple[list[dict[str, object]], NDArray[np.bool_]]:
        rules = self.settings.tolerances
        anchor, injection, anchor_b, injection_b = comparisons.quantile_pairs(sample, quantiles)
        ratio_rule = observable == "arc_snr"
        if ratio_rule:
            value, resampled = injection / anchor, injection_b / anchor_b
            under_null, low, high = resampled / value, rules.snr_ratio_lower, rules.snr_ratio_upper
        else:
            value, resampled = injection - anchor, injection_b - anchor_b
            under_null, low, high = resampled - value, -rules.colour_median_mag, rules.colour_median_mag
        limits = np.quantile(resampled, [0.025, 0.975], axis=0)
        rows = []
        for index, quantile in enumerate(quantiles):
            what = "ratio injections / anchors" if ratio_rule else "difference injections - anchors"
            inside = low <= value[index] <= high
            rows.append(
                self._row(
                    observable,
                    PASS if inside else FAIL,
                    sample,
                    statistic=f"{what} of the {100 * quantile:g}% quantile",
                    value=value[index],
                    lower=limits[0, index],
                    upper=limits[1, index],
                    anchor_value=anchor[index],
                    injection_value=injection[index],
                    requirement=f"between {low:g} and {high:g}",
                )
            )
        return rows, np.asarray(((under_null < low) | (under_null > high)).any(axis=1))

    def _enough(self, sample: comparisons.Sample) -> bool:
        smaller = min(len(sample.anchors), effective_size(sample.weights))
        return smaller >= self.settings.anchors.minimum_group and sample.usable

    def _not_evaluated(self, observable: str, sample: comparisons.Sample) -> dict[str, object]:
        needed = self.settings.anchors.minimum_group
        return self._row(
            observable, NOT_EVALUATED, sample, requirement=f"at least {needed} anchors and effective injections"
        )

    def _row(self, observable: str, verdict: str, sample: comparisons.Sample, **values: object) -> dict[str, object]:
        return row(
            observable,
            verdict,
            stratum=self.name,
            n_anchors=len(sample.anchors),
            n_injections=effective_size(sample.weights),
            gates=self.name == ALL or self.settings.strata.gates,
            **values,
        )


def half_of_stratum(compared: Compared, columns: Sequence[str], stratum: str) -> Half | None:
    """Return the half that a row's stratum names, None for all; KeyError for an unknown one."""
    return None if stratum == ALL else {half.name: half for half in halves_of(compared.judging, columns)}[stratum]


def _strata_rows(
    compared: Compared,
    matching: Matching,
    resamples: comparisons.Resamples,
    background: Background | None,
    settings: RealismSettings,
) -> list[dict[str, object]]:
    """Return the same comparisons by conditions; a failure warns unless the campaign lets strata decide."""
    rows: list[dict[str, object]] = []
    tests: list[dict[str, object]] = []
    for half in halves_of(compared.judging, settings.strata.columns):
        sides = half.holds(compared.judging), half.holds(compared.injections)
        part = _Stratum(compared, matching, resamples, settings, half.name, *sides)
        rows += part.tolerance_rows()[0]
        tests += part.distribution_rows()
        if background is not None and background.conditions is not None:
            common = {"stratum": half.name, "gates": settings.strata.gates}
            tests += [item | common for item in background_rows(background.within(half), settings)]
    rows += decide(tests, settings.distributions.family_wise_error)
    if not settings.strata.gates:
        for item in rows:
            item["verdict"] = WARN if item["verdict"] == FAIL else item["verdict"]
    return rows
