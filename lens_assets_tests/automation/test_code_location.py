"""The code location can be served: what the web server and the daemon load, they load whole."""

from __future__ import annotations

import pytest

from lens_assets.definitions import build_defs


@pytest.mark.parametrize("campaign", ["demo", "dr10"])
def test_every_job_and_asset_of_the_code_location_loads(campaign: str) -> None:
    definitions = build_defs(campaign)
    repository = definitions.get_repository_def()
    repository.load_all_definitions()
    assets = {key.to_user_string() for key in definitions.resolve_asset_graph().materializable_asset_keys}
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    assert not {job.name for job in jobs} & assets
    covered = {key.to_user_string() for job in jobs for key in job.asset_layer.executable_asset_keys}
    assert covered == assets
    assert {sensor.name for sensor in repository.sensor_defs} == {"settings_watch", "stale_assets"}
