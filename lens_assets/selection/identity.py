"""What a completeness is a completeness of: the identity that two products must share to be compared or merged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lens_assets.campaign.stages.injection import InjectionSettings
from lens_assets.campaign.stages.selection_function import SelectionFunctionSettings
from lens_assets.digests import content_digest


def prior_digest(
    settings: InjectionSettings, magnitude_shift_mag: float, parent_limits: Mapping[str, float] | None = None
) -> str:
    """Return the SHA-256 of everything that C averages over: lens and source priors, their shift, hosts, rendering.

    Seeds, the size of the pilot, batch sizes and the reuse of hosts are not part of it: they change how well the
    same quantity is measured. `parent_limits` are those of the parent sample of hosts, where the settings name one.
    """
    hosts = settings.hosts.model_dump(mode="json", exclude={"maximum_uses_per_theta_e_bin", "parent"})
    content = {
        "lens": settings.lens.model_dump(mode="json"),
        "source": settings.source.model_dump(mode="json"),
        "hosts": hosts if parent_limits is None else hosts | {"parent": dict(parent_limits)},
        "renderer": settings.renderer.model_dump(mode="json", exclude={"batch_stamps"}),
        "noise": settings.noise.model_dump(mode="json"),
        "magnitude_shift_mag": round(magnitude_shift_mag, 9),
    }
    return content_digest(content)


def identity(
    settings: SelectionFunctionSettings,
    injection: InjectionSettings,
    magnitude_shift_mag: float,
    cuts: pd.DataFrame,
    parent_limits: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return the identity of a product: grid, prior, denominator, and each threshold by its definition.

    `cuts` has name, kind, target and threshold of any detector of the product; a cut given as a score is defined by
    that score, one given as a rate by the rate.
    """
    return {
        "grid": settings.grid.digest,
        "prior": prior_digest(injection, magnitude_shift_mag, parent_limits),
        "denominator": settings.denominator,
        "thresholds": {
            str(row["name"]): [str(row["kind"]), float(row["threshold"] if row["kind"] == "fixed" else row["target"])]
            for row in cuts.to_dict("records")
        },
    }


def detector_digest_name(detector: str) -> str:
    """Return the name under which a release states the digest of one frozen detector."""
    return f"frozen_detector/{detector}"
