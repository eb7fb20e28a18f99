"""Hosts, settings and truth rows that the tests of the renderer share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from lens_assets.campaign.stages.injection import InjectionSettings
from lens_assets.lensing.plan import HOST_COLUMNS

CAMPAIGNS = Path(__file__).parents[2] / "deploy" / "campaigns"


def load_settings(campaign: str) -> InjectionSettings:
    content = yaml.safe_load((CAMPAIGNS / campaign / "injection.yaml").read_text())
    return InjectionSettings.model_validate_json(json.dumps(content))


def make_hosts(count: int, seed: int = 0) -> pd.DataFrame:
    stream = np.random.default_rng(seed)
    hosts = pd.DataFrame(
        {
            "galaxy_id": [f"10000_{index // 50}_{index}" for index in range(count)],
            "host_cutout_path": [f"hp04-000#{index}" for index in range(count)],
            "type": stream.choice(["SER", "DEV", "REX", "EXP"], count),
            "shape_e1": stream.normal(0, 0.15, count),
            "shape_e2": stream.normal(0, 0.15, count),
            "host_weight": stream.uniform(1, 20, count),
        }
    )
    psf = stream.uniform(1.0, 1.7, count)
    for band, factor, sigma in (("g", 1.1, 0.0017), ("r", 1.0, 0.0033), ("z", 0.95, 0.0078)):
        hosts[f"psfsize_{band}"] = psf * factor
        hosts[f"sky_sigma_{band}"] = sigma
        hosts[f"psfdepth_{band}_mag"] = stream.uniform(23.7, 25.3, count)
        hosts[f"mag_{band}"] = stream.uniform(17, 20, count)
    for column in HOST_COLUMNS:
        if column not in hosts:
            hosts[column] = 0
    return hosts[list(HOST_COLUMNS)]


@pytest.fixture(scope="session")
def demo() -> InjectionSettings:
    return load_settings("demo")


@pytest.fixture(scope="session")
def hosts() -> pd.DataFrame:
    return make_hosts(120)
