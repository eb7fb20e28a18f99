"""The shape of a check suite: expectations as data, so that naming them costs no import of Great Expectations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign

Expectation = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Suite:
    """What a table must satisfy, and for each corruption the expectation that must catch it.

    `expectations` maps a campaign to (snake-case expectation name, keyword arguments) pairs.
    `corruptions` maps "<expectation name>:<column or ''>" to a function that damages a good table.
    `table` names the extra table of the asset to check instead of its main table.
    """

    asset: str
    expectations: Callable[[Campaign], list[Expectation]]
    corruptions: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]]
    blocking: bool = True
    table: str = ""
    severity: str = field(default="ERROR")
