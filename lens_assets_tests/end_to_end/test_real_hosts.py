"""Real DECam galaxies, lensed galaxies of the COSMOS field behind them, through injection, scoring and the gate.

A diagnostic: three real anchors judge nothing, so the gate must end NOT-EVALUATED and say what it lacks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.features import FeaturesSettings
from lens_assets.campaign.stages.injection import InjectionSettings
from lens_assets.campaign.stages.realism import RealismSettings
from lens_assets.detector.data import LabelledStamps
from lens_assets.detector.frozen import FrozenDetector, single
from lens_assets.detector.training import train
from lens_assets.imaging.quality import quality_table
from lens_assets.lensing.injection import RenderResult, null_injections, render_injections
from lens_assets.lensing.plan import draw_parameters
from lens_assets.lensing.sources import source_fluxes
from lens_assets.lensing.status import InjectionStatus
from lens_assets.realism.background import Background
from lens_assets.realism.battery import run_battery
from lens_assets.realism.examine import StampTable, halves, observe, observe_injections, paired_sky
from lens_assets.realism.observables import is_visible
from lens_assets.realism.verdict import Verdict, judge
from lens_assets.statistics.bootstrap import roc_auc
from lens_assets.survey.units import mag_to_flux
from lens_assets_tests.detector.conftest import recipe
from lens_assets_tests.end_to_end import real_sky
from lens_assets_tests.realism.pilot import edited

THETA_E_ARCSEC = (1.2, 2.2)
HOSTS_Z_BELOW = 0.3
TRAINING_USES, TEST_USES = 8, 2
AS_SEEN_MAG, BRIGHT_MAG = 0.0, 2.0
"""How much brighter than observed the sources are made."""

RECIPE = recipe(
    preprocessing={
        "input_pixels": real_sky.HOST_PIXELS,
        "stamp_pixels": 48,
        "annulus_inner_px": 32.5,
        "annulus_outer_px": 45.0,
        "arc_radius_px": 30.0,
    },
    training={"epochs": 10},
)


@dataclass(frozen=True)
class Injected:
    """Rows of the plan with real sources, the hosts under them, and what rendering made of them."""

    rows: pd.DataFrame
    hosts: NDArray[np.float32]
    result: RenderResult


@dataclass(frozen=True)
class RealSky:
    """Hosts and sources in two halves that share neither galaxy nor picture."""

    injection: InjectionSettings
    features: FeaturesSettings
    realism: RealismSettings
    stamps: NDArray[np.float32]
    hosts: pd.DataFrame
    sources: real_sky.Sources

    def half(self, number: int) -> pd.DataFrame:
        """Return every second host."""
        return self.hosts.iloc[number::2].reset_index(drop=True)

    def stamps_of(self, rows: pd.DataFrame) -> NDArray[np.float32]:
        """Return the untouched stamp of every row's host."""
        return self.stamps[rows["host_cutout_path"].str.partition("#")[2].to_numpy(np.int64)]

    def injected(self, half: int, uses: int, brighter_mag: float, null: bool = False) -> Injected:
        """Put sources of one half behind every host of the same half, each host `uses` times."""
        settings, hosts = self.injection, self.half(half)
        drawn = draw_parameters(
            hosts, uses * len(hosts), settings, settings.seed, 0.0, THETA_E_ARCSEC, maximum_uses=uses
        )
        pool = self.sources.beyond(HOSTS_Z_BELOW)[half::2]
        chosen = pool[np.arange(len(drawn)) % len(pool)]
        rows = self.sources.behind(drawn, chosen, brighter_mag)
        rows = null_injections(rows) if null else rows
        stamps = self.stamps_of(rows)
        pictures = [self.sources.pictures[row] for row in chosen.tolist()]
        return Injected(rows, stamps, render_injections(rows, stamps, settings, source_images=pictures))


@pytest.fixture(scope="module")
def sky() -> RealSky:
    demo = load_campaign("demo")
    injection = edited(demo.injection, {"renderer.stamp_pixels": real_sky.HOST_PIXELS})
    stamps = real_sky.des_stamps()
    hosts = real_sky.host_rows(stamps, demo.features)
    return RealSky(injection, demo.features, demo.realism, stamps, hosts, real_sky.cosmos_sources())


@pytest.fixture(scope="module")
def bright(sky: RealSky) -> Injected:
    return sky.injected(1, TEST_USES, BRIGHT_MAG)


@pytest.fixture(scope="module")
def as_seen(sky: RealSky) -> Injected:
    return sky.injected(1, TEST_USES, AS_SEEN_MAG)


@pytest.fixture(scope="module")
def detector(sky: RealSky) -> FrozenDetector:
    """A small network that has seen the first half of the hosts, with and without arcs, and nothing of the second."""
    injected = sky.injected(0, TRAINING_USES, BRIGHT_MAG)
    names = injected.rows["galaxy_id"].astype(str)
    kept_back = names.isin(sorted(set(names))[::4]).to_numpy()
    training, validation = (_with_and_without_arcs(injected, rows) for rows in (~kept_back, kept_back))
    return single(train("real_hosts", RECIPE, training, validation).member)


def _with_and_without_arcs(injected: Injected, rows: NDArray[np.bool_]) -> LabelledStamps:
    """Return injections and, as often, their untouched hosts, so that no host tells the class."""
    names = injected.rows["injection_id"].astype(str)[rows].tolist()
    stamps = np.concatenate([injected.result.stamps[rows], injected.hosts[rows]])
    labels = np.repeat(np.array([1.0, 0.0], np.float32), len(names))
    tiers = ["A"] * len(names) + ["N1"] * len(names)
    ids = [*names, *(f"{name} untouched" for name in names)]
    return LabelledStamps(ids, labels, np.ones(len(ids), np.float32), tiers, lambda chosen: stamps[chosen])


def test_all_hosts_are_whole_and_their_noise_is_that_of_a_few_decam_exposures(sky: RealSky, as_seen: Injected) -> None:
    assert sky.stamps.shape == (46, 3, 91, 91)
    features = sky.features
    assert (quality_table(sky.stamps, features.regions, features.quality)["quality_reason"] == "ok").all()
    assert sky.hosts["mag_r"].between(17, 22).all()
    assert (sky.hosts["mag_g"] - sky.hosts["mag_r"]).between(0.8, 2.5).all()
    # DECam's electrons per second at the survey's zero points (legacysurvey/obsbot, decam.py); an exposure is 90 s.
    electrons_per_second = mag_to_flux([26.610, 26.818, 26.484]) ** -1.0
    gain = as_seen.result.truth[["gain_g", "gain_r", "gain_z"]].to_numpy()
    exposures = np.median(gain / electrons_per_second, axis=0) / 90.0
    assert (exposures > 2.0).all() and (exposures < 8.0).all()


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_a_host_without_its_g_band_is_named_and_left_as_it_is(sky: RealSky, nothing: float) -> None:
    stamps = sky.stamps[:3].copy()
    stamps[1, 0] = nothing
    features = sky.features
    quality = quality_table(stamps, features.regions, features.quality)
    assert quality["quality_reason"].tolist() == ["ok", "no_g_band", "ok"]
    assert quality["has_g"].tolist() == [True, False, True] and quality["has_r"].all()
    hosts = real_sky.host_rows(stamps, features)
    settings = sky.injection
    rows = draw_parameters(hosts, 3, settings, 1, 0.0, THETA_E_ARCSEC, maximum_uses=1)
    chosen = sky.sources.beyond(HOSTS_Z_BELOW)[:3]
    rows = sky.sources.behind(rows, chosen, BRIGHT_MAG)
    pictures = [sky.sources.pictures[row] for row in chosen.tolist()]
    result = render_injections(rows, stamps, settings, source_images=pictures)
    status = result.truth["status"].to_numpy()
    assert status[1] & InjectionStatus.SKY_NOISE_UNKNOWN and status[[0, 2]].tolist() == [0, 0]
    assert bool(status[1] & InjectionStatus.HOST_UNREADABLE) == np.isnan(nothing)
    assert result.stamps[1].tobytes() == stamps[1].tobytes()
    assert np.isnan(result.truth["magnification"].iloc[1]) and (result.stamps[[0, 2]] != stamps[[0, 2]]).any()


def test_what_is_added_is_the_magnified_source_and_its_photon_noise(as_seen: Injected, bright: Injected) -> None:
    for injected in (as_seen, bright):
        truth = injected.result.truth
        assert (truth["status"] == int(InjectionStatus.OK)).all() and len(truth) == 23 * TEST_USES
        assert truth["magnification"].between(1.5, 40.0).all() and truth["n_images"].ge(2).all()
        expected = truth["magnification"].to_numpy()[:, None] * source_fluxes(injected.rows)
        arcs = injected.result.arcs.sum(axis=(2, 3), dtype=np.float64)
        np.testing.assert_allclose(arcs, expected, rtol=1e-3)
        added = (injected.result.stamps.astype(np.float64) - injected.hosts).sum(axis=(2, 3))
        photon_noise = np.sqrt(expected / truth[["gain_g", "gain_r", "gain_z"]].to_numpy())
        pull = (added - expected) / photon_noise
        # 138 pulls: a scatter of 1 is known to 6%, and 4.5 sigma happens once in a thousand such sets.
        assert np.abs(pull).max() < 4.5 and abs(pull.mean()) < 0.4
        assert np.std(pull) == pytest.approx(1.0, abs=0.25)
        strong = expected > 5.0 * photon_noise
        assert (added[strong] > 0).all() and strong.mean() > 0.9
    same = as_seen.result.truth["magnification"] / bright.result.truth["magnification"]
    np.testing.assert_allclose(same, 1.0, rtol=1e-5)
    ratio = bright.result.arcs.sum(dtype=np.float64) / as_seen.result.arcs.sum(dtype=np.float64)
    assert ratio == pytest.approx(10.0 ** (0.4 * (BRIGHT_MAG - AS_SEEN_MAG)), rel=1e-4)


def test_sources_without_light_leave_every_byte_and_every_score(sky: RealSky, detector: FrozenDetector) -> None:
    null = sky.injected(1, 1, AS_SEEN_MAG, null=True)
    assert null.result.stamps.tobytes() == null.hosts.tobytes()
    assert not null.result.arcs.any()
    assert np.array_equal(detector.score(null.result.stamps), detector.score(sky.stamps_of(sky.half(1))))


def test_held_out_hosts_score_higher_with_an_arc_and_the_more_the_brighter(
    sky: RealSky, detector: FrozenDetector, as_seen: Injected, bright: Injected
) -> None:
    alone = pd.Series(detector.score(sky.stamps_of(sky.half(1))), index=sky.half(1)["galaxy_id"])
    scores = {}
    for name, injected in (("as seen", as_seen), ("bright", bright)):
        found = detector.score(injected.result.stamps)
        assert ((found >= 0) & (found <= 1)).all()
        scores[name] = pd.Series(found).groupby(injected.rows["galaxy_id"].to_numpy()).mean().reindex(alone.index)
    assert alone.between(0, 1).all()
    # One difference a host, 23 of them; the test asks whether their median is positive.
    assert wilcoxon(scores["bright"], alone, alternative="greater").pvalue < 1e-4
    assert wilcoxon(scores["bright"], scores["as seen"], alternative="greater").pvalue < 1e-2
    assert wilcoxon(scores["as seen"], alone, alternative="greater").pvalue < 1e-2
    labels = np.repeat([1.0, 0.0], len(alone))
    assert roc_auc(np.concatenate([scores["bright"], alone]), labels) > 0.8
    assert scores["bright"].mean() - alone.mean() > 0.3


@dataclass(frozen=True)
class Observed:
    """What an observer measures of anchors and injections, and their sky beside that of other hosts."""

    anchors: pd.DataFrame
    injections: pd.DataFrame
    sky: Background


@pytest.fixture(scope="module")
def observed(sky: RealSky, bright: Injected) -> Observed:
    stamps = real_sky.anchor_stamps()
    table = real_sky.anchor_rows(stamps, sky.features)
    anchors = observe(StampTable(table, lambda rows: stamps[rows]), sky.realism)
    injected = StampTable(bright.result.truth, lambda rows: bright.result.stamps[rows])
    untouched = StampTable(sky.hosts, lambda rows: sky.stamps[rows])
    injections = observe_injections(injected, untouched, sky.realism)
    return Observed(anchors, injections, paired_sky(injected, untouched, sky.realism))


def test_arcs_are_measured_on_real_injections_and_candidates(sky: RealSky, observed: Observed) -> None:
    assert np.isfinite(observed.anchors["arc_snr"]).all() and len(observed.anchors) == 3
    assert is_visible(observed.anchors, sky.realism.detectability).sum() == 2
    seen = is_visible(observed.injections, sky.realism.detectability) & ~observed.injections["host_visible"]
    shown = observed.injections[seen]
    assert 10 <= len(shown) < len(observed.injections)
    # The host hides the inner image; the outer one of an isothermal lens lies at theta_E plus the source's offset.
    offset = np.hypot(
        shown["source_x_arcsec"] - shown["lens_x_arcsec"], shown["source_y_arcsec"] - shown["lens_y_arcsec"]
    )
    outer = shown["theta_e_arcsec"] + offset
    assert np.median(shown["arc_radius_arcsec"] / outer) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("anchors", ["all judge", "halved as a campaign halves them"])
def test_three_anchors_decide_nothing_and_the_gate_says_so(sky: RealSky, observed: Observed, anchors: str) -> None:
    rule = sky.realism.anchors
    half = halves(observed.anchors["lens_id"].tolist(), rule.seed, rule.calibration_fraction)
    table = observed.anchors.assign(half="gate" if anchors == "all judge" else half)
    battery = run_battery(table, observed.injections, sky.realism, observed.sky)
    notes = ("Diagnostic on 46 DECam galaxies with 3 real lens candidates as anchors",)
    verdict = judge("realism_gate", battery.rows, {"injection_pilot": "1"}, notes)

    visible = is_visible(table, sky.realism.detectability)
    judging = int((visible & (table["half"] == "gate")).sum())
    assert judging == 2 or anchors != "all judge"
    assert verdict.decision == "NOT-EVALUATED"
    assert set(battery.rows.loc[battery.rows["gates"], "verdict"]) == {"NOT-EVALUATED"}
    compared = f"{judging} anchors and {len(battery.compared.injections)} effective injections"
    assert f"anchors (all): not evaluated with {compared}; asked: at least 30" in verdict.statement
    assert verdict.statement.startswith("NOT-EVALUATED: ") and "3 real lens candidates" in verdict.statement
    assert Verdict.from_json(verdict.to_json()) == verdict
