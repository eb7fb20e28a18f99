"""A miniature sky for tests: the demo's settings with few, small bricks."""

from __future__ import annotations

from typing import Any

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.simulated_sky import SimulatedSkySettings


def demo_sky() -> SimulatedSkySettings:
    """Return the demo's own settings."""
    settings = load_campaign("demo").simulated_sky
    assert settings is not None
    return settings


def sky_settings(**changes: dict[str, Any]) -> SimulatedSkySettings:
    """Return the demo's settings with groups changed by keyword, e.g. layout={"n_bricks": 4}."""
    settings = demo_sky()
    for group, values in changes.items():
        settings = settings.model_copy(update={group: getattr(settings, group).model_copy(update=values)})
    return SimulatedSkySettings.model_validate_json(settings.model_dump_json())


def miniature_sky() -> SimulatedSkySettings:
    """Return four bricks of 300 pixels: one across a block edge, one across a partition edge, two with gaps."""
    return sky_settings(
        layout={"n_bricks": 4, "brick_pixels": 300, "block_edge_bricks": 1, "partition_edge_bricks": 1,
                "incomplete_bricks": 2},
        population={"edge_fraction": 0.1, "bright_star_fraction": 1.0},
    )  # fmt: skip
