"""A small survey with every kind of source and some lenses, in a lake of the demo campaign."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lens_assets.assets.execution import Lineage, materialise
from lens_assets.campaign.campaign import load_campaign
from lens_assets.definitions import build_lineage
from lens_assets.lake.lake import Lake
from lens_assets.resources.tracking import Tracking
from lens_assets_tests.assets.lens_survey import LENSES, survey_lake
from lens_assets_tests.survey.sweep_files import sweep_rows

CATALOGS = ("lens_catalog", "spectroscopic_catalog")


def lake_with_catalogs() -> tuple[Lineage, Lake]:
    """Return the demo's lineage and a lake with a survey of 2,500 sources and the catalogs that a job is given."""
    lineage = build_lineage(load_campaign("demo"))
    rng = np.random.default_rng(8)
    count = 2500
    rows = sweep_rows(rng.uniform(9.5, 12.4, count), rng.uniform(0.6, 1.4, count))
    rows["RA"][:60], rows["DEC"][:60] = np.linspace(9.6, 12.3, 60), 1.0
    rows["TYPE"] = rng.choice([b"SER", b"DEV", b"REX", b"EXP", b"PSF"], count)
    for band in "GRZ":
        rows[f"FLUX_{band}"] = rng.lognormal(3.0, 0.8, count)
        rows[f"NOBS_{band}"] = rng.integers(2, 14, count)
    rows["FLUX_G"][::40] = -1.0
    rows["MASKBITS"] = rng.choice([0, 0, 0, 0, 0, 2, 2048, 4096], count)
    rows["SHAPE_R"], rows["SERSIC"] = rng.lognormal(0, 0.6, count), rng.uniform(0.5, 6.0, count)
    rows["SHAPE_E1"], rows["FRACFLUX_R"] = rng.normal(0, 0.3, count), rng.exponential(0.1, count)
    rows["TYPE"][:60], rows["NOBS_Z"][:60], rows["FLUX_Z"][:60], rows["MASKBITS"][:60] = b"SER", 5, 40.0, 0
    names = [f"DESI-{ra:08.4f}+01.0000" for ra in rows["RA"][:60]]
    grading = np.where(np.arange(60) % 3 == 0, "confident", "probable")
    lenses = pd.DataFrame(
        dict(
            zip(
                LENSES.columns, [names, rows["RA"][:60], 1.0, "", "galaxy", grading, "Huang et al. (2020)"], strict=True
            )
        )
    )
    lake = survey_lake(lineage.campaign, rows, lenses=lenses)
    _make(lineage, lake, list(CATALOGS))
    return lineage, lake


def make_sample(lineage: Lineage, lake: Lake) -> None:
    """Make the sample of the lineage, on DuckDB, and everything above it."""
    given = ("simulated_survey", *CATALOGS)
    above = [name for name in lineage.ancestors("stratified_sample") if name not in given]
    _make(lineage, lake, [*above, "stratified_sample"])


def _make(lineage: Lineage, lake: Lake, names: list[str]) -> None:
    for name in names:
        for key in lineage.keys(lineage.assets[name]):
            materialise(lineage, lake, lineage.assets[name], key, tracking=Tracking.disabled())
