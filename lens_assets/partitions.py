"""The partitions of the lineage: sky, condition, experiment and detector. The order of keys is the order of execution.

https://docs.dagster.io/guides/build/partitions-and-backfills
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from lens_assets.campaign.campaign import Campaign

SCHEMES = ("sky", "condition", "experiment", "detector")


def partition_keys(campaign: Campaign, scheme: str) -> list[str]:
    """Return the keys of one partitioning scheme of a campaign."""
    if scheme == "sky":
        return list(campaign.survey.sky_partitions)
    if scheme == "condition":
        from lens_assets.selection.grid import condition_keys

        return list(condition_keys(campaign.selection_function.grid))
    if scheme == "experiment":
        return list(campaign.experiments)
    if scheme == "detector":
        return list(campaign.evaluation.detectors)
    raise ValueError(f"unknown partitioning scheme {scheme!r}; known: {', '.join(SCHEMES)}")


def partitions_definition(campaign: Campaign, scheme: str) -> dg.StaticPartitionsDefinition:
    """Return the Dagster partitions of one scheme."""
    return dg.StaticPartitionsDefinition(partition_keys(campaign, scheme))
