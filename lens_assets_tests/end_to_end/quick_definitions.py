"""The code location of tests with a daemon: the campaign's, with sensors every second and one process a run."""

from __future__ import annotations

import dagster as dg

from lens_assets.automation import sensors
from lens_assets.definitions import build_defs


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the campaign that `LENS_CAMPAIGN` names, in a hurry."""
    sensors.INTERVAL_SECONDS = 1
    campaign = build_defs()
    return dg.Definitions(
        assets=campaign.assets,
        asset_checks=campaign.asset_checks,
        jobs=campaign.jobs,
        sensors=campaign.sensors,
        resources=campaign.resources,
        executor=dg.in_process_executor,
    )
