"""Linear probes: what a logistic regression, cross-validated by object, can tell apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from lens_assets.campaign.stages.realism import ApertureSettings, ProbeSettings, RealismSettings
from lens_assets.imaging.geometry import radius_px
from lens_assets.realism.battery import FAIL, NOT_EVALUATED, PASS, WARN, row
from lens_assets.realism.residuals import decompose, sky_statistics
from lens_assets.sky.randomness import uniform
from lens_assets.survey.units import PIXEL_SCALE_ARCSEC

BOOTSTRAPS = 300
ANNULUS_QUANTILES = np.linspace(0.02, 0.98, 17)
RADIAL_BINS_PX = np.array([0, 1, 2, 3, 4, 6, 8, 11, 14, 18, 23, 29])
_FRECHET_COMPONENTS = 8


@dataclass(frozen=True)
class ProbeResult:
    """Area under the ROC curve of out-of-fold scores with its 95% interval (stamps resampled)."""

    auc: float
    lower: float
    upper: float
    first: int
    second: int


def probe(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    first_groups: Sequence[str],
    second_groups: Sequence[str],
    settings: ProbeSettings,
    seed: int,
) -> ProbeResult:
    """Tell `first` (N, F) from `second` (M, F): logistic regression on principal components, folds by group.

    No group has members in training and test of one fold, so one host's own look cannot be learned. The components
    and the scaling are fitted within each fold's training part.
    """
    label = np.r_[np.ones(len(first), dtype=int), np.zeros(len(second), dtype=int)]
    scores = _out_of_fold(first, second, [*first_groups, *second_groups], settings, seed)
    if scores is None:
        return ProbeResult(np.nan, np.nan, np.nan, len(first), len(second))
    lower, upper = _auc_interval(scores, label, seed)
    return ProbeResult(_auc(scores[label == 1], scores[label == 0]), lower, upper, len(first), len(second))


def null_level(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    first_groups: Sequence[str],
    second_groups: Sequence[str],
    settings: ProbeSettings,
    seed: int,
) -> float:
    """Return the mean AUC of the same probe on noise in place of the features; arguments as `probe`.

    Out-of-fold scores of few objects do not average to 0.5: what a fold leaves out is missing from its training part,
    whose classes then lean the other way. NaN where nothing can be probed.
    """
    random = np.random.Generator(np.random.Philox(key=seed))
    areas = []
    for _ in range(settings.null_draws):
        noise = random.standard_normal(np.shape(first)), random.standard_normal(np.shape(second))
        scores = _out_of_fold(*noise, [*first_groups, *second_groups], settings, seed)
        if scores is not None:
            areas.append(_auc(scores[: len(first)], scores[len(first) :]))
    return float(np.mean(areas)) if areas else float("nan")


def _out_of_fold(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    names: Sequence[str],
    settings: ProbeSettings,
    seed: int,
) -> NDArray[np.float64] | None:
    """Return the scores (N + M,) of probes trained without the stamp's own group; None without two folds."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values = np.nan_to_num(np.concatenate([first, second]).astype(np.float64))
    label = np.r_[np.ones(len(first), dtype=int), np.zeros(len(second), dtype=int)]
    groups = np.unique(np.asarray(names, dtype=str), return_inverse=True)[1]
    folds = min(settings.folds, len(first), len(second), len(np.unique(groups)))
    if folds < 2:
        return None
    components = min(settings.components, values.shape[1], int(len(values) * (1 - 1 / folds)) - 1)
    model = make_pipeline(
        StandardScaler(),
        PCA(n_components=components, svd_solver="full"),
        StandardScaler(),
        LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000),
    )
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed % 2**31)
    scores = cross_val_predict(model, values, label, groups=groups, cv=splitter, method="decision_function")
    return np.asarray(scores, np.float64)


def _auc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([positive, negative]))
    count = len(positive)
    return float((ranks[:count].sum() - count * (count + 1) / 2) / (count * len(negative)))


def _auc_interval(scores: NDArray[np.floating], label: NDArray[np.integer], seed: int) -> tuple[float, float]:
    random = np.random.Generator(np.random.Philox(key=seed))
    positive, negative = scores[label == 1], scores[label == 0]
    values = [
        _auc(random.choice(positive, len(positive)), random.choice(negative, len(negative))) for _ in range(BOOTSTRAPS)
    ]
    lower, upper = np.quantile(values, [0.025, 0.975])
    return float(lower), float(upper)


def frechet_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two sets (N, F), in their leading principal components.

    Dowson and Landau 1982 (J. Multivar. Anal. 12, 450). Components come from the pooled, standardised features, as
    covariances of more features than stamps do not exist.
    """
    pooled = np.concatenate([first, second]).astype(np.float64)
    spread = pooled.std(axis=0)
    centred = (pooled - pooled.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    components = np.linalg.svd(centred, full_matrices=False)[2][:_FRECHET_COMPONENTS]
    one, two = centred[: len(first)] @ components.T, centred[len(first) :] @ components.T
    cov_one, cov_two = np.atleast_2d(np.cov(one.T)), np.atleast_2d(np.cov(two.T))
    cross = np.real(sqrtm(cov_one @ cov_two))
    return float(np.square(one.mean(0) - two.mean(0)).sum() + np.trace(cov_one + cov_two - 2 * cross))


def weighted_choice(
    identifiers: Sequence[str], weights: NDArray[np.floating], count: int, seed: int
) -> NDArray[np.int64]:
    """Return positions of `count` items drawn without replacement in proportion to weight (Efraimidis 2006)."""
    u = uniform(seed, [str(name) for name in identifiers], "probe_choice")
    keys = np.log(np.clip(u, 1e-300, None)) / np.clip(weights, 1e-300, None)
    return np.sort(np.argsort(-keys, kind="stable")[:count])


def pixel_features(stamps: NDArray[np.floating], settings: RealismSettings) -> dict[str, NDArray[np.float64]]:
    """Return what three probes see of each stamp, in units of the sky noise: annulus, core and radial profile.

    The annulus is described by the ordered values of its host-subtracted pixels, so that the angle of an arc does
    not matter; the core by its pixels; the radial profile by medians of rings, which a partial arc hardly moves.
    """
    median, sigma = sky_statistics(np.asarray(stamps, np.float32), settings.apertures)
    scaled = (stamps - median[:, :, None, None]) / np.where(sigma > 0, sigma, 1.0)[:, :, None, None]
    soft = np.arcsinh(np.nan_to_num(scaled))
    radius = radius_px(*stamps.shape[2:])
    core = soft[:, :, radius < settings.probes.core_radius_px].reshape(len(stamps), -1)
    rings = [
        np.median(soft[:, :, (radius >= low) & (radius < high)], axis=2)
        for low, high in itertools.pairwise(RADIAL_BINS_PX)
    ]
    return {
        "annulus": _annulus_features(stamps, settings.apertures),
        "core": core,
        "radial": np.concatenate(rings, axis=1),
    }


def _annulus_features(stamps: NDArray[np.floating], apertures: ApertureSettings) -> NDArray[np.float64]:
    from lens_assets.imaging.host_subtraction import measure_ellipse

    ratio, angle = measure_ellipse(stamps)
    parts = decompose(stamps, ratio, angle, apertures)
    radius = radius_px(*parts.smoothed.shape[1:]) * PIXEL_SCALE_ARCSEC
    inside = (radius >= apertures.arc_inner_arcsec) & (radius < apertures.arc_outer_arcsec)
    return np.asarray(np.quantile(np.arcsinh(parts.smoothed[:, inside]), ANNULUS_QUANTILES, axis=1).T)


def pixel_probe_rows(
    injected: NDArray[np.floating],
    untouched: NDArray[np.floating],
    injected_hosts: Sequence[str],
    untouched_hosts: Sequence[str],
    settings: RealismSettings,
    null: NDArray[np.floating] | None = None,
) -> list[dict[str, object]]:
    """Return rows of the three pixel probes: injected stamps against untouched stamps of other hosts.

    `null`, where given, are the injected stamps' hosts with sources of zero flux: rows `null_<probe>` say whether the
    two sets of galaxies are told apart without any arc, which is what a probe of arcs must be held against.
    """
    rules: dict[str, tuple[str, float]] = {
        "annulus": ("at least", settings.probes.minimum_annulus_auc),
        "core": ("at most", settings.probes.maximum_core_auc),
        "radial": ("at most", settings.probes.maximum_radial_auc),
    }
    enough = min(len(injected), len(untouched)) >= settings.anchors.minimum_group
    if not enough:
        asked = f"at least {settings.anchors.minimum_group} stamps a class"
        names = [(f"probe_{name}", name in settings.probes.gates) for name in rules]
        names += [] if null is None else [(f"null_{name}", False) for name in rules]
        return [row(name, NOT_EVALUATED, gates=gates, requirement=asked) for name, gates in names]
    seed, hosts = settings.distributions.seed, (injected_hosts, untouched_hosts)
    first, second = (pixel_features(stamps, settings) for stamps in (injected, untouched))
    # Noise knows the numbers of stamps and hosts alone, so that its level is the same for injected and null stamps.
    levels = {name: null_level(first[name], second[name], *hosts, settings.probes, seed) for name in rules}
    rows = []
    for name, (rule, limit) in rules.items():
        gates = name in settings.probes.gates
        result = probe(first[name], second[name], *hosts, settings.probes, seed)
        # A limit is broken only when the whole interval lies beyond it.
        if rule == "at least":
            asked = f"at least {limit:g} (95% interval)"
            rows.append(_probe_row(f"probe_{name}", result, result.upper < limit, gates, asked))
        else:
            rows.append(_weak_row(f"probe_{name}", result, limit, levels[name], gates))
    if null is None:
        return rows
    features = pixel_features(null, settings)
    for name in rules:
        result = probe(features[name], second[name], *hosts, settings.probes, seed)
        rows.append(_weak_row(f"null_{name}", result, settings.probes.maximum_core_auc, levels[name], False))
    return rows


def null_bytes_row(null: NDArray[np.floating], hosts: NDArray[np.floating]) -> dict[str, object]:
    """Return the row on null injections, (N, 3, H, W) each: every one has to be its host, byte for byte."""
    equal = np.array([one.tobytes() == other.tobytes() for one, other in zip(null, hosts, strict=True)], dtype=bool)
    common = {"n_injections": float(len(equal)), "requirement": "1: no flux changes no byte of a host"}
    if not len(equal):
        return row("null_bytes", NOT_EVALUATED, **common)
    share = float(equal.mean())
    what = "share of injections without flux that are their hosts byte for byte"
    return row("null_bytes", PASS if equal.all() else FAIL, statistic=what, value=share, **common)


def _weak_row(name: str, result: ProbeResult, limit: float, null: float, gates: bool) -> dict[str, object]:
    """Return the row of a probe that must not tell more than noise does, by `limit` - 0.5 at most."""
    asked = f"at most {limit + null - 0.5:.3f}: {limit - 0.5:g} above the null level of {null:.3f} (95% interval)"
    broken = result.lower > limit + null - 0.5
    return _probe_row(name, result, broken, gates, asked) | {"anchor_value": null}


def feature_probe_rows(
    anchors: NDArray[np.floating],
    injections: NDArray[np.floating],
    control: tuple[NDArray[np.floating], NDArray[np.floating]],
    anchor_hosts: Sequence[str],
    injection_hosts: Sequence[str],
    control_hosts: tuple[Sequence[str], Sequence[str]],
    stamps_to_layers: Callable[[NDArray[np.floating]], Mapping[str, NDArray[np.floating]]],
    settings: RealismSettings,
) -> list[dict[str, object]]:
    """Return rows of the probe on the detector's last features and of the Frechet distance of every layer.

    Anchors are told from injections, and for control one half of the anchors from the other; `stamps_to_layers`
    maps stamps to features by layer, the last entry being what the detector decides on.
    """
    rules, seed = settings.probes, settings.distributions.seed
    needed = settings.anchors.minimum_group
    if min(len(anchors), len(injections), *(len(part) for part in control)) < needed:
        asked = f"at least {needed} anchors that judge, as many that tune for control, and as many injections"
        return [
            row(f"{name}", NOT_EVALUATED, gates=key in rules.gates, n_anchors=len(anchors), requirement=asked)
            for name, key in (("probe_features", "features"), ("frechet", "frechet"))
        ]
    layers = [stamps_to_layers(part) for part in (anchors, injections, *control)]
    last = list(layers[0])[-1]
    result = probe(layers[0][last], layers[1][last], anchor_hosts, injection_hosts, rules, seed)
    real = probe(layers[2][last], layers[3][last], *control_hosts, rules, seed)
    base = max(real.auc, 0.5)
    broken = result.lower > base + rules.maximum_feature_auc_excess
    asked = f"at most {rules.maximum_feature_auc_excess:g} above the control's {base:.3f} (95% interval)"
    rows = [_probe_row("probe_features", result, broken, "features" in rules.gates, asked)]
    rows[0]["anchor_value"] = real.auc
    for layer in layers[0]:
        rows.append(_frechet_row(layer, [item[layer] for item in layers], rules))
    return rows


def _frechet_row(layer: str, parts: Sequence[NDArray[np.floating]], rules: ProbeSettings) -> dict[str, object]:
    size = min(len(part) for part in parts)
    distance = frechet_distance(parts[0][:size], parts[1][:size])
    control = frechet_distance(parts[2][:size], parts[3][:size])
    broken = distance > rules.maximum_frechet_ratio * control
    gates = "frechet" in rules.gates
    return row(
        "frechet",
        (FAIL if gates else WARN) if broken else PASS,
        stratum=f"layer {layer}",
        n_anchors=size,
        n_injections=float(size),
        statistic="Frechet distance over that of the two halves of the anchors",
        value=distance / control if control > 0 else np.nan,
        anchor_value=control,
        injection_value=distance,
        requirement=f"at most {rules.maximum_frechet_ratio:g}",
        gates=gates,
    )


def _probe_row(name: str, result: ProbeResult, broken: bool, gates: bool, requirement: str) -> dict[str, object]:
    return row(
        name,
        (FAIL if gates else WARN) if broken else PASS,
        n_anchors=result.first if name == "probe_features" else result.second,
        n_injections=float(result.second if name == "probe_features" else result.first),
        statistic="AUC of a cross-validated linear probe",
        value=result.auc,
        lower=result.lower,
        upper=result.upper,
        requirement=requirement,
        gates=gates,
    )
