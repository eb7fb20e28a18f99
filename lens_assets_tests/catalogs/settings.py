"""Catalog settings for tests: those of the demo with some values replaced."""

from __future__ import annotations

import json
from typing import Any

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.catalogs import CatalogsSettings, LensSource


def catalog_settings(**changes: Any) -> CatalogsSettings:
    """Return the dr10 campaign's catalog settings with top-level values replaced (as in YAML)."""
    content = load_campaign("dr10").contents["catalogs"] | changes
    return CatalogsSettings.model_validate_json(json.dumps(content))


def lens_source(**changes: Any) -> LensSource:
    """Return a list read from a file `lenses.csv`, with values replaced."""
    columns = {
        "name": "name", "ra": "RA", "dec": "DEC", "z_lens": "zlens", "type": "type", "grading": "grading",
        "reference": "ref",
    }  # fmt: skip
    content = {
        "name": "own_list", "origin": "file", "path": "lenses.csv", "sha256": "", "columns": columns,
        "grading_values": {}, "positive_names": "DESI",
    }  # fmt: skip
    return LensSource.model_validate_json(json.dumps(content | changes))
