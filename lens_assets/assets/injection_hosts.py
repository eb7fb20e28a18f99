"""Who may be a host of injections: the galaxies of the campaign's parent sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.assets.framework import AssetRun
    from lens_assets.lensing.plan import HostFunnel


def parent_sample(run: AssetRun) -> set[str] | None:
    """Return the ids of the sources in the parent sample that `injection.hosts.parent` names; None for all.

    The asset has `lrg_sources` among its inputs.
    """
    parent = run.campaign.injection.hosts.parent
    if parent == "scan":
        return None
    flagged = run.table("lrg_sources", columns=["galaxy_id", f"lrg_{parent}"])
    return set(flagged.loc[flagged[f"lrg_{parent}"].astype(bool), "galaxy_id"].astype(str))


def hosts_of_campaign(run: AssetRun) -> tuple[pd.DataFrame, HostFunnel]:
    """Return the campaign's hosts and the funnel that led to them; see `lensing.plan.eligible_hosts`."""
    from lens_assets.lensing.plan import eligible_hosts

    manifest, cutouts = run.table("training_manifest"), run.table("cutouts")
    return eligible_hosts(manifest, cutouts, run.campaign.injection.hosts, parent_sample(run))
