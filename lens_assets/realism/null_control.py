"""Injections without flux: what is left of the machinery when no arc is drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.injection import InjectionSettings
from lens_assets.lensing.injection import null_injections, render_injections
from lens_assets.lensing.plan import PLAN_COLUMNS

Reader = Callable[[NDArray[np.int64]], NDArray[np.float32]]


def null_reader(rendered: pd.DataFrame, read_hosts: Reader, settings: InjectionSettings) -> Reader:
    """Return a reader, by position in a table of rendered injections, of the same injections with no flux.

    They go through the renderer as any other injection does. `read_hosts` reads the hosts' stamps by that position.
    """
    plan = rendered[[name for name in rendered if name in PLAN_COLUMNS]]

    def read(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        chosen = null_injections(plan.iloc[rows].reset_index(drop=True))
        return render_injections(chosen, read_hosts(rows), settings).stamps

    return read
