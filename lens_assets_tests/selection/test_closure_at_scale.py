"""Closure at scale closes for a scorer whose recall is known, fails for a renderer that is wrong, and resumes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import convolve1d
from scipy.stats import norm

from lens_assets.campaign.campaign import load_campaign
from lens_assets.lensing import injection
from lens_assets.selection.closure_run import Workspace, measure
from lens_assets.selection.closure_scale import Comparison, Populations, comparable, compare
from lens_assets.selection.closure_stamps import ClosureJob, closure_job, injection_unit, lens_unit
from lens_assets.selection.transport import COVARIATES, density_ratio
from lens_assets.simulated import distributions
from lens_assets.simulated.coadds import render_light
from lens_assets.simulated.conditions import kernel_weights
from lens_assets.simulated.fields import draw_field
from lens_assets.simulated.population import CONFUSER_KINDS

JEFFREYS = (0.5, 0.5)
G = 0
RING_PX = (4.0, 11.0)
CUT_NANOMAGGY = 5.0
LENSES = 36


def _ring(pixels: int, x: float, y: float) -> np.ndarray:
    rows, columns = np.ogrid[:pixels, :pixels]
    radius = np.hypot(rows - y, columns - x)
    return (radius >= RING_PX[0]) & (radius < RING_PX[1])


class RingFlux:
    """Finds a lens where the g light in a ring exceeds a cut: a sum of pixels, whose chance is a normal integral."""

    name, digest = "ring", "0" * 64

    def score(self, stamps: np.ndarray) -> np.ndarray:
        size = stamps.shape[-1]
        flux = stamps[:, G][:, _ring(size, size // 2, size // 2)].sum(axis=1, dtype=np.float64)
        return 1.0 / (1.0 + np.exp(-(flux - CUT_NANOMAGGY)))


@pytest.fixture(scope="module")
def job() -> Iterator[ClosureJob]:
    """A sky of few profiles, lone galaxies and coarse arcs, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributions, "LENS_TYPE_FRACTIONS", {"DEV": 1.0})
        patch.setattr(distributions, "red_type_fractions", lambda mag_z: {"DEV": 1.0})
        yield _job()


def _job() -> ClosureJob:
    campaign = load_campaign("demo")
    sky, stage = campaign.simulated_sky, campaign.closure
    assert sky is not None
    assert stage is not None
    alone = dict.fromkeys(CONFUSER_KINDS, 0) | {
        "faint": 0,
        "star": 0,
        "lens": 0,
        "disk": 0,
        "early_type": 0,
        "massive_early_type": 1,
    }
    sparse = sky.population.model_copy(update=alone | {"reference_pixels": 3600})
    coarse = sky.pixels.model_copy(update={"ray_oversampling": 3, "lens_stamp_pixels": 56})
    limits = {"minimum_lenses": 20, "maximum_bias": 0.25, "minimum_trials": 5, "detectability_bins": 5, "folds": 2}
    update = {
        "seed": 20260501, "lenses": LENSES, "hosts": 24, "pool": 1200, "injections": 120,
        "batch_fields": 12, "batch_injections": 60, "workers": 1,
        "estimate": stage.estimate.model_copy(update=limits),
    }  # fmt: skip
    return closure_job(
        sky.model_copy(update={"population": sparse, "pixels": coarse}),
        campaign.injection,
        stage.model_copy(update=update),
        {"ring": RingFlux()},
        campaign.selection_function.grid,
        campaign.features.regions,
        campaign.features.quality,
        tuple(campaign.negatives.filters.mask_bits),
    )


@pytest.fixture(scope="module")
def measured(job, tmp_path_factory) -> tuple[Workspace, pd.DataFrame, pd.DataFrame]:
    root = tmp_path_factory.mktemp("closure")
    return Workspace(root), *measure(job, root, lambda *_: None)


def _expected_recall(job: ClosureJob, lenses: pd.DataFrame) -> np.ndarray:
    """Return the chance of each lens to pass from its noise-free light: a sum of correlated normal pixels."""
    chances = []
    a, ratio = kernel_weights(job.sky.pixels.noise_correlation)
    for name in lenses["galaxy_id"]:
        field = draw_field(job.sky, name, "lens", job.stamp_pixels)
        (x,), (y,) = field.position_px()
        state, pixels = field.brick.conditions.bands["g"], field.brick.plane.pixels
        ring = _ring(pixels, np.floor(x + 0.5), np.floor(y + 0.5)).astype(float)
        light = render_light(job.sky, field.brick, field.objects)["g"]
        spread = convolve1d(convolve1d(ring, [a, 1 - 2 * a, a], axis=0), [a, 1 - 2 * a, a], axis=1)
        exposures = np.maximum(field.exposures["g"], 1)
        white = state.sigma1**2 * state.exposures / exposures + np.maximum(light, 0) / (
            state.gain_electrons_per_nanomaggy * ratio**2
        )
        mean = float(((light + state.pedestal) * ring).sum())
        chances.append(norm.sf((CUT_NANOMAGGY - mean) / np.sqrt(float((spread**2 * white).sum()))))
    return np.asarray(chances)


def _compared(job: ClosureJob, lenses: pd.DataFrame, injections: pd.DataFrame) -> Comparison:
    populations = comparable(lenses, injections, job)
    weights = density_ratio(populations.lenses, populations.trials, 2, 1)
    return compare(populations, "ring", 0.5, weights, job.settings.estimate, JEFFREYS, 1)


def test_true_lenses_pass_as_often_as_their_light_says(job, measured):
    lenses = measured[1].loc[measured[1]["status"] == "ok"].head(16)
    chance, passed = _expected_recall(job, lenses), (lenses["score_ring"] >= 0.5).to_numpy()
    assert 0.2 < chance.mean() < 0.8
    assert abs(passed.sum() - chance.sum()) < 3.5 * np.sqrt((chance * (1 - chance)).sum() + 0.25)
    sure = np.abs(chance - 0.5) > 0.49
    assert sure.sum() > 8
    assert (passed[sure] == (chance[sure] > 0.5)).all()


def test_injections_predict_the_recall_of_true_lenses(job, measured):
    result = _compared(job, *measured[1:]).result
    assert result.n_lenses > 0.6 * LENSES
    assert result.standard_error < 0.2
    assert abs(result.bias) < 3.5 * result.standard_error


def test_a_renderer_with_a_wrong_flux_scale_fails_closure(job, measured, monkeypatch):
    space, lenses, injections = measured
    plan = injections[[name for name in injections if not name.startswith("score_")]].assign(status=0)
    right = injection.source_fluxes
    monkeypatch.setattr(injection, "source_fluxes", lambda rows: 5.0 * right(rows))
    broken = injection_unit(job, plan, space.stamps)
    compared = _compared(job, lenses, broken)
    assert compared.result.bias > 2.5 * compared.result.standard_error
    assert compared.verdict == "FAIL"
    assert "expected |bias| <= 0.25" in compared.reason


def test_an_interrupted_run_goes_on_and_makes_the_same(job, measured, monkeypatch):
    space, lenses, injections = measured
    lost = space.table("injections", 0)
    before = {path: path.stat().st_mtime_ns for path in space.root.iterdir() if path != lost}
    lost.unlink()
    (space.root / "injections-00000.99999.part").write_bytes(b"half of a batch")
    for made_once in ("lens_unit", "host_unit", "plan_injections"):
        monkeypatch.setattr(f"lens_assets.selection.closure_run.{made_once}", None)
    again = measure(job, space.root, lambda *_: None)
    pd.testing.assert_frame_equal(again[0], lenses)
    pd.testing.assert_frame_equal(again[1], injections)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_an_object_does_not_depend_on_its_batch_and_the_job_is_known_by_its_digest(job, measured):
    rows = lens_unit(job, range(5, 7))
    expected = measured[1].iloc[5:7].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, expected[rows.columns], check_dtype=False)
    other = job.settings.model_copy(update={"seed": 1})
    assert ClosureJob(**{**vars(job), "settings": other}).digest() != job.digest()
    more = job.settings.model_copy(update={"workers": 7})
    assert ClosureJob(**{**vars(job), "settings": more}).digest() == job.digest()


def _drawn(count: int, seed: int, lens: bool, kindness: float = 0.0) -> pd.DataFrame:
    """Return covariates of two populations that differ in all of them, with scores of a known chance to pass."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.uniform(0.0, 1.0, (count, len(COVARIATES))), columns=list(COVARIATES))
    if lens:
        rows[list(COVARIATES[:6])] = rng.beta(2.0, 3.0, (count, 6))
    rows["contrast_g"] = (rng.random(count) < (0.95 if lens else 0.5)).astype(float)
    rows["psf_bin"] = rows["depth_bin"] = 0
    rows["theta_bin"] = np.floor(4 * rows["theta_e_arcsec"]).astype(int)
    logit = (
        4.0 * rows["theta_e_arcsec"] - 3.0 * rows["source_mag_r"] + rows["contrast_r"] + 1.2 * rows["contrast_g"] - 1.5
    )
    chance = 1.0 / (1.0 + np.exp(-(logit + kindness)))
    rows["galaxy_id"] = [f"{lens}-{number // (1 if lens else 4)}" for number in range(count)]
    return rows.assign(score_x=np.where(rng.random(count) < chance, 0.9, 0.1))


@pytest.mark.parametrize(("kindness", "verdict"), [(0.0, "PASS"), (0.5, "FAIL")])
def test_populations_that_differ_everywhere_are_carried_over(job, kindness, verdict):
    lenses, pool = _drawn(3_000, 1, lens=True), _drawn(14_000, 2, lens=False, kindness=kindness)
    density = density_ratio(lenses, pool, 3, 1)
    chosen = np.random.default_rng(3).random(len(pool)) < density * (5_000 / density.sum())
    trials = pool.loc[chosen].reset_index(drop=True)
    limits = job.settings.estimate.model_copy(update={"maximum_bias": 0.045, "minimum_trials": 20})
    weights = density_ratio(lenses, trials, 3, 1)
    populations = Populations(lenses, trials, pd.DataFrame())
    compared = compare(populations, "x", 0.5, weights, limits.model_copy(update={"folds": 3}), JEFFREYS, 1)
    bias = compared.estimators.set_index("estimator")["bias"]
    error = compared.estimators.set_index("estimator")["standard_error"]
    assert compared.verdict == verdict
    if verdict == "PASS":
        assert abs(pool["score_x"].gt(0.5).mean() - lenses["score_x"].gt(0.5).mean()) > 0.05
        for name in ("detectability", "doubly_robust"):
            assert abs(bias[name]) < 3.5 * error[name]
        assert (compared.result.coverage["p_value"] > 0.005).all()
        assert compared.along["bias"].abs().max() < 0.12
    else:
        assert (compared.result.coverage["p_value"] < 0.01).any()
        assert (compared.along["lower_95"] > 0).mean() > 0.5
