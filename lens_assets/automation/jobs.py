"""Jobs: named selections of the lineage for the UI and the command line.

https://docs.dagster.io/guides/build/jobs
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from lens_assets.assets.execution import Lineage


def jobs(lineage: Lineage) -> list[dg.UnresolvedAssetJobDefinition]:
    """Return one job for each group and partitioning scheme, since a job has one kind of partition.

    No job may be named as an asset is: Dagster refuses to serve a code location where one is.
    """
    groups: dict[tuple[str, str | None], list[str]] = {}
    for name, asset in lineage.assets.items():
        groups.setdefault((asset.group, asset.partitions), []).append(name)
    return [
        dg.define_asset_job(
            name="_".join((group, "assets", *(("by", scheme) if scheme else ()))),
            selection=dg.AssetSelection.assets(*(dg.AssetKey(name.split("/")) for name in names)),
            executor_def=dg.in_process_executor,
        )
        for (group, scheme), names in groups.items()
    ]
