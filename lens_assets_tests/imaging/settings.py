"""The features settings of the demo campaign, read on their own so that these tests need no other stage."""

from __future__ import annotations

import json

import yaml

from lens_assets.campaign.campaign import CAMPAIGNS_FOLDER
from lens_assets.campaign.stages.features import FeaturesSettings


def features_settings(**groups) -> FeaturesSettings:
    """Return the demo's settings with single values replaced, e.g. `split_proof={"buffer_arcsec": 10.0}`."""
    content = yaml.safe_load((CAMPAIGNS_FOLDER / "demo" / "features.yaml").read_text())
    for name, values in groups.items():
        content[name] = {**content[name], **values}
    return FeaturesSettings.model_validate_json(json.dumps(content))
