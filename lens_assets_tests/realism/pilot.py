"""A hand-made survey small enough for tests: mock lenses as anchors, mock galaxies as hosts, and the real renderer.

Injection settings are the demo's with the sources, lenses and noise of `mock`, so that an unedited set is a right
simulator; everything from calibration to verdict is the project's own code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.injection import InjectionSettings
from lens_assets.campaign.stages.realism import RealismSettings
from lens_assets.lensing.injection import render_injections
from lens_assets.lensing.plan import HOST_COLUMNS, draw_parameters
from lens_assets.realism.battery import Battery, run_battery
from lens_assets.realism.calibration import BrightnessFit, fit_brightness
from lens_assets.realism.examine import StampTable, halves, observe, observe_injections, paired_sky
from lens_assets.realism.verdict import Verdict, judge
from lens_assets_tests.realism.mock import SHEAR_SIGMA, SOURCE_MAG_R, mock_galaxies, mock_lenses, mock_noise

THETA_E_ARCSEC = (0.7, 2.2)

LIKE_THE_MOCK: dict[str, Any] = {
    "lens.axis_ratio_mode": "uniform",
    "lens.axis_ratio.minimum": 0.99,
    "lens.angle_mode": "uniform",
    "lens.shear_sigma": SHEAR_SIGMA,
    "lens.centre_sigma_arcsec": 1e-6,
    "source.mag_r.minimum": SOURCE_MAG_R[0],
    "source.mag_r.maximum": SOURCE_MAG_R[1],
    "source.g_minus_r.mean": 0.5,
    "source.g_minus_r.sigma": 0.2,
    "source.half_light_radius_arcsec.minimum": 0.12,
    "source.half_light_radius_arcsec.maximum": 0.5,
    "source.sersic_index.minimum": 1.0,
    "source.sersic_index.maximum": 1.01,
    "source.axis_ratio.minimum": 0.99,
    "source.position.beta_over_theta_e.maximum": 0.6,
    "source.clumps.probability": 0.0,
    "noise.pixel_correlation": 0.0,
}


Model = TypeVar("Model", InjectionSettings, RealismSettings)


def edited(settings: Model, edits: Mapping[str, Any]) -> Model:
    """Return settings with values replaced by dotted name, validated again as a file would be."""
    content = settings.model_dump(mode="json")
    for name, value in edits.items():
        *groups, last = name.split(".")
        inner = content
        for group in groups:
            inner = inner[group]
        if last not in inner:
            raise KeyError(name)
        inner[last] = value
    return type(settings).model_validate_json(json.dumps(content))


def host_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return mock galaxies as hosts of the plan, every column that is not about them 0."""
    sigma = np.array([mock_noise(row) for _, row in table.iterrows()])
    known = table.assign(
        host_cutout_path=[f"hp04-000#{row}" for row in range(len(table))],
        host_weight=1.0,
        **{f"sky_sigma_{band}": sigma[:, index] for index, band in enumerate("grz")},
    )
    return known.reindex(columns=list(HOST_COLUMNS), fill_value=0)


@dataclass(frozen=True)
class SmallSurvey:
    """Anchors and hosts of the mock sky, and what the project makes of edited injection settings on them."""

    anchor_count: int
    host_count: int
    injection_count: int
    seed: int
    realism: RealismSettings
    injection: InjectionSettings

    @cached_property
    def anchors(self) -> pd.DataFrame:
        """Observables, conditions and half of every anchor."""
        stamps, table = mock_lenses(self.anchor_count, self.seed, theta_e=THETA_E_ARCSEC)
        table = table.assign(lens_id=[f"L{row}" for row in range(len(table))])
        measured = observe(StampTable(table, lambda rows: stamps[rows]), self.realism)
        rule = self.realism.anchors
        return measured.assign(half=halves(measured["lens_id"].tolist(), rule.seed, rule.calibration_fraction))

    @cached_property
    def hosts(self) -> tuple[NDArray[np.float32], pd.DataFrame]:
        """Stamps and rows of the hosts."""
        stamps, table = mock_galaxies(self.host_count, self.seed + 1)
        return stamps, host_rows(table)

    def calibrated(self, injection: InjectionSettings) -> BrightnessFit:
        """Fit the shift of the source magnitudes to the calibration half."""
        stamps, hosts = self.hosts
        rule = self.realism.calibration
        rows = draw_parameters(hosts, rule.draws, injection, rule.seed, 0.0, THETA_E_ARCSEC, "calibration")
        tuning = self.anchors[self.anchors["half"] == "calibration"].reset_index(drop=True)
        return fit_brightness(tuning, rows, stamps[self.stamp_of(rows)], injection, self.realism)

    def battery(self, injection: InjectionSettings, shift_mag: float, injections: int) -> Battery:
        """Render a pilot of so many injections with these settings and compare it."""
        stamps, hosts = self.hosts
        rows = draw_parameters(hosts, injections, injection, injection.seed, shift_mag, THETA_E_ARCSEC)
        rendered = render_injections(rows, stamps[self.stamp_of(rows)], injection)
        injected = StampTable(rendered.truth, lambda chosen: rendered.stamps[chosen])
        untouched = StampTable(hosts, lambda chosen: stamps[chosen])
        measured = observe_injections(injected, untouched, self.realism)
        return run_battery(self.anchors, measured, self.realism, paired_sky(injected, untouched, self.realism))

    def verdict(self, edits: Mapping[str, Any], shift_mag: float, injections: int | None = None) -> Verdict:
        """Return the verdict on injections of edited settings whose sources are shifted by some magnitudes."""
        pilot = self.battery(edited(self.injection, edits), shift_mag, injections or self.injection_count)
        return judge("realism_gate", pilot.rows, {})

    @staticmethod
    def stamp_of(rows: pd.DataFrame) -> NDArray[np.int64]:
        """Return the position of every row's host among the host stamps."""
        return rows["host_cutout_path"].str.partition("#")[2].to_numpy(np.int64)


def small_survey(
    anchors: int, hosts: int, injections: int, seed: int, edits: Mapping[str, Any] | None = None
) -> SmallSurvey:
    """Return a survey under the demo's thresholds; `edits` make its sizes (and nothing else) smaller."""
    demo = load_campaign("demo")
    realism = edited(demo.realism, {"strata.columns": [], "distributions.resamples": 1000, **(edits or {})})
    return SmallSurvey(anchors, hosts, injections, seed, realism, edited(demo.injection, LIKE_THE_MOCK))
