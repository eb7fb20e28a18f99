"""Sensors: one that reports changed settings and launches nothing, one that requests what is stale.

https://docs.dagster.io/guides/automate/sensors
"""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import dagster as dg

from lens_assets.campaign.errors import CampaignError

if TYPE_CHECKING:
    from lens_assets.assets.execution import Lineage
    from lens_assets.campaign.campaign import Campaign

INTERVAL_SECONDS = 30
DATA_VERSION_TAG = "dagster/data_version"


def sensors(lineage: "Lineage", reload_campaign: "Callable[[], Campaign]") -> list[dg.SensorDefinition]:
    """Return the sensors of the code location."""
    del lineage
    return [_settings_watch(reload_campaign), _automation()]


def _automation() -> dg.AutomationConditionSensorDefinition:
    return dg.AutomationConditionSensorDefinition(
        "stale_assets",
        target=dg.AssetSelection.all(include_sources=True),
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )


def _settings_watch(reload_campaign: "Callable[[], Campaign]") -> dg.SensorDefinition:
    @dg.sensor(
        name="settings_watch",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports the digest of every changed YAML of the campaign; what it makes stale is then requested.",
    )
    def settings_watch(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            campaign = reload_campaign()
        except CampaignError as error:
            return dg.SkipReason(str(error))
        seen = json.loads(context.cursor or "{}")
        now = {name: campaign.settings_digest(name) for name in sorted(campaign.contents)}
        changed = [name for name in now if seen.get(name) != now[name]]
        if not changed:
            return dg.SkipReason("no settings changed")
        return dg.SensorResult(cursor=json.dumps(now), asset_events=list(observations(campaign, changed)))

    return settings_watch


def observations(campaign: "Campaign", names: list[str]) -> Iterator[dg.AssetObservation]:
    """Yield one observation a changed YAML file; an experiment's file is a partition of `settings/experiments`."""
    for name in names:
        stage, _, experiment = name.partition("/")
        yield dg.AssetObservation(
            dg.AssetKey(["settings", stage]),
            partition=experiment or None,
            tags={DATA_VERSION_TAG: campaign.settings_digest(name)},
        )
