"""The code location: assembles the lineage of the campaign for Dagster and decides nothing.

https://docs.dagster.io/api/dagster/definitions
"""

from __future__ import annotations

import importlib
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from lens_assets.assets.execution import Lineage
from lens_assets.assets.framework import LensAsset
from lens_assets.campaign.campaign import load_campaign

if TYPE_CHECKING:
    from lens_assets.campaign.campaign import Campaign

# Documented here once: partitioned checks and backfill policies are beta in the pinned version.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

ASSET_MODULES = (
    "catalogs",
    "survey_simulated",
    "survey",
    "sampling_sql",
    "sampling",
    "sampling_positives",
    "sampling_hosts",
    "cutouts",
    "detector_training",
    "detector",
    "realism",
    "injection",
    "selection_footprint",
    "selection_completeness",
    "selection_sensitivity",
    "selection_closure",
    "selection_failures",
    "selection_release",
    "selection_product",
    "audit",
)


def load_assets() -> dict[str, LensAsset]:
    """Return every declared asset by name, in the order of the modules."""
    found: dict[str, LensAsset] = {}
    for name in ASSET_MODULES:
        module = importlib.import_module(f"lens_assets.assets.{name}")
        for item in vars(module).values():
            for asset in item if isinstance(item, tuple) else (item,):
                if isinstance(asset, LensAsset):
                    found[asset.name] = asset
    return found


def build_lineage(campaign: Campaign) -> Lineage:
    """Return the lineage of a campaign: the declared assets that exist in it, inputs first."""
    simulated = campaign.survey.source == "simulated"
    assets = {name: asset for name, asset in load_assets().items() if simulated or not asset.simulated_only}
    lineage = Lineage(campaign, assets)
    return Lineage(campaign, {name: assets[name] for name in lineage.topological()})


def _reload_lineage(folder: str) -> Lineage:
    return build_lineage(load_campaign(folder))


def build_defs(campaign_name: str | Path | None = None, **resource_overrides: Any) -> dg.Definitions:
    """Assemble the definitions of a campaign; tests override resources by name instead of patching modules."""
    from lens_assets.assets.dagster_bridge import asset_definition, settings_assets
    from lens_assets.automation.cluster import cluster_assets
    from lens_assets.automation.conditions import stale_only
    from lens_assets.automation.jobs import jobs
    from lens_assets.automation.sensors import sensors
    from lens_assets.checks.great_expectations import asset_checks
    from lens_assets.resources.lake import LakeResource
    from lens_assets.resources.tracking import TrackingResource

    campaign = load_campaign(campaign_name)
    lineage = build_lineage(campaign)
    reload_lineage = partial(_reload_lineage, str(campaign.folder))
    reload_campaign = partial(load_campaign, str(campaign.folder))
    lineage_assets = [
        asset_definition(lineage, asset, reload_lineage, stale_only()) for asset in lineage.assets.values()
    ]
    return dg.Definitions(
        assets=[*settings_assets(campaign, reload_campaign), *lineage_assets, *cluster_assets(lineage)],
        asset_checks=asset_checks(lineage, reload_campaign),
        jobs=jobs(lineage),
        sensors=sensors(lineage, reload_campaign),
        resources={"lake": LakeResource(), "tracking": TrackingResource(), **resource_overrides},
        executor=dg.multiprocess_executor.configured({"max_concurrent": 2}),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the campaign that `LENS_CAMPAIGN` names."""
    return build_defs()
