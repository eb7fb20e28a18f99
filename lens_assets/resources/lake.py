"""The lake as a Dagster resource: it only resolves where the lake of the campaign is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from lens_assets.environment import LAKE_VARIABLE

if TYPE_CHECKING:
    from lens_assets.campaign.campaign import Campaign
    from lens_assets.lake.lake import Lake

HOME_FOLDER = ".lens"


def default_root(campaign_name: str) -> str:
    """Return `LENS_LAKE`, else `.lens/<campaign>` in the working directory."""
    return os.environ.get(LAKE_VARIABLE) or str(Path(HOME_FOLDER) / campaign_name)


class LakeResource(dg.ConfigurableResource):
    """Opens the lake; an empty `root` means `LENS_LAKE` or the default folder."""

    root: str = ""

    def open(self, campaign: Campaign) -> Lake:
        """Open the lake of a campaign; LakeError if another campaign wrote it."""
        from lens_assets.lake.lake import Lake

        return Lake(self.root or default_root(campaign.name), campaign.name)
