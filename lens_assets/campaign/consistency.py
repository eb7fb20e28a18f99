"""Rules that span stages: each returns the problems of a campaign whose files are valid one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.campaign.errors import Problem

if TYPE_CHECKING:
    from lens_assets.campaign.campaign import Campaign


def inconsistencies(campaign: Campaign) -> list[Problem]:
    """Return every contradiction between the stages of a campaign."""
    return [*_simulated_sky(campaign)]


def _simulated_sky(campaign: Campaign) -> list[Problem]:
    simulated = campaign.survey.source == "simulated"
    if simulated == (campaign.simulated_sky is not None):
        return []
    found = "missing" if simulated else "present"
    expected = f"{'present' if simulated else 'absent'}, since survey.source is {campaign.survey.source}"
    return [Problem(str(campaign.folder / "simulated_sky.yaml"), "file", found, expected)]
