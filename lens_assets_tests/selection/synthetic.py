"""Synthetic injections with a known detection law, on the demo campaign's grid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from lens_assets.campaign.stages.selection_function import GridSettings, SelectionFunctionSettings
from lens_assets.selection.grid import cells_of

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "campaigns"


def settings_of(campaign: str = "demo", **changes: object) -> SelectionFunctionSettings:
    """Return the shipped settings of a campaign, with changed top-level keys."""
    content = yaml.safe_load((FOLDER / campaign / "selection_function.yaml").read_text())
    return SelectionFunctionSettings.model_validate_json(json.dumps(content | changes))


def true_rate(theta_e_arcsec: np.ndarray) -> np.ndarray:
    """The law of the synthetic detector: a rise with Einstein radius."""
    return 0.9 / (1.0 + np.exp(-(theta_e_arcsec - 1.2) / 0.25))


def injections(
    grid: GridSettings, per_cell: int = 20, hosts: int = 30, seed: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (injections, scores): trials in every cell, score 0.9 if found and 0.1 if not, hosts at 0.05."""
    rng = np.random.default_rng(seed)
    rows = []
    for psf in grid.psf_fwhm_arcsec.centres:
        for depth in grid.depth_mag.centres:
            for index, theta in enumerate(grid.theta_e_arcsec.centres):
                half = grid.theta_e_arcsec.step / 2.0
                for trial in range(per_cell):
                    host = int(rng.integers(hosts))
                    rows.append((f"{psf}-{depth}-{index}-{trial}", f"g{psf}-{depth}-{host}", host, psf, depth,
                                 theta + rng.uniform(-half, half) * 0.99))  # fmt: skip
    columns = ["injection_id", "galaxy_id", "host", "psfsize_r", "psfdepth_r_mag", "theta_e_arcsec"]
    table = pd.DataFrame(rows, columns=columns)
    table["healpix_128"] = table["host"] % 7
    table["region_id"] = table["host"] % 3
    table["condition"] = cells_of(grid, table["psfsize_r"], table["psfdepth_r_mag"]).astype(str)
    table["n_images"] = 2
    table["status"] = 0
    table["log_pdf"] = 0.0
    found = rng.random(len(table)) < true_rate(table["theta_e_arcsec"].to_numpy())
    scores = pd.DataFrame(
        {"injection_id": table["injection_id"], "host_score": 0.05, "injected_score": np.where(found, 0.9, 0.1)}
    )
    return table.drop(columns="host"), scores


THRESHOLDS = pd.DataFrame(
    {"name": ["fixed_0.5", "fpr_0.01"], "kind": ["fixed", "fpr"], "target": [0.5, 0.01], "threshold": [0.5, 0.8],
     "threshold_lower": [0.5, 0.7], "threshold_upper": [0.5, 0.92], "n_above": [100, 40], "sufficient": [True, True]}
)  # fmt: skip
