"""A miniature campaign that runs the whole lineage in seconds: the demo's settings, smaller in every direction.

Its sky holds a few dozen lenses, where the realism battery of the shipped campaigns asks for thirty anchors in each
group it compares. So the battery here runs in full and its thresholds are too wide to refuse: what is tested on this
campaign is that every asset does its work and that a verdict is obeyed, not whether the arcs look real. The battery
at its real thresholds is tested with the realism package and on the demo.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import yaml

from lens_assets.campaign.campaign import CAMPAIGNS_FOLDER
from lens_assets.environment import LAKE_VARIABLE, MLFLOW_VARIABLE, PROJECT_ROOT, STATE_VARIABLE

if TYPE_CHECKING:
    import dagster as dg

NAME = "miniature"
PARTITIONS = ["hp04-000", "hp04-033", "hp04-071"]
EXPERIMENTS = ("baseline", "second")

_PRIORS = {
    "psf_factor": 1.0,
    "gain_factor": 1.0,
    "size_factor": 1.0,
    "colour_shift": 0.0,
    "axis_ratio_from_host": False,
}
OVERRIDES: dict[str, dict[str, Any]] = {
    "survey": {"sky_partitions": PARTITIONS, "max_quarantined_fraction": 0.5},
    "simulated_sky": {
        "workers": 1,
        "layout.n_bricks": 12,
        "layout.brick_pixels": 480,
        "layout.sky_partitions": PARTITIONS,
        "layout.block_edge_bricks": 1,
        "layout.partition_edge_bricks": 1,
        "layout.incomplete_bricks": 2,
        "population.reference_pixels": 480,
        "population.lens": 8,
        "population.massive_early_type": 8,
        "population.early_type": 2,
        "population.disk": 3,
        "population.spiral": 1,
        "population.ring": 2,
        "population.merger": 1,
        "population.edge_on": 1,
        "population.blue_clumpy": 1,
        "population.pointy_core": 1,
        "population.faint": 2,
        "population.star": 1,
        "population.edge_fraction": 0.0,
        "lenses.hidden_fraction": 0.0,
        "lenses.theta_e_sigma_ln": 0.15,
        "lenses.source_mag_r_mean": 21.3,
        "lenses.source_mag_r_sigma": 0.4,
        "pixels.ray_oversampling": 2,
    },
    "splits": {"seed": 463, "fractions.train": 0.4, "fractions.val": 0.2, "fractions.test": 0.4},
    "cutouts": {"warn_failed_fraction": 0.3, "max_failed_fraction": 0.5},
    "sampling": {"designs.deployment.rows_val": 60, "designs.deployment.rows_test": 120},
    "features": {"shortcuts.resamples": 50},
    "evaluation": {
        "bootstrap.resamples": 50,
        "thresholds.fpr_targets": [0.1, 0.01],
        "thresholds.minimum_above": 1,
        "thresholds.audit": "fpr_0.1",
    },
    "injection": {"pilot_injections": 120, "source.mag_r": {"minimum": 20.5, "maximum": 23.0}},
    "realism": {
        "anchors.minimum_group": 10,
        "reweighting.covariates": ["arc_radius_arcsec"],
        "reweighting.ridge": 1000.0,
        "reweighting.minimum_effective": 10.0,
        "tolerances.snr_ratio_lower": 0.01,
        "tolerances.snr_ratio_upper": 100.0,
        "tolerances.colour_median_mag": 5.0,
        "distributions.family_wise_error": 1.0e-9,
        "distributions.resamples": 500,
        "background.maximum_pairs": 40,
        "probes.maximum_stamps": 50,
        "probes.components": 4,
        "calibration.draws": 50,
        "calibration.minimum_anchors": 5,
        "calibration.step_mag": 2.0,
    },
    "selection_function": {
        "grids": [
            {
                "name": "footprint",
                "theta_e_arcsec": {"start": 1.2, "step": 0.6, "count": 2},
                "psf_fwhm_arcsec": {"start": 1.4, "step": 0.8, "count": 1},
                "depth_mag": {"start": 23.9, "step": 1.0, "count": 2},
                "injections_per_cell": 60,
            }
        ],
        "intervals.bootstrap_resamples": 50,
        "sensitivity.injections": 40,
        "sensitivity.maximum_shift": 1.0,
        "sensitivity.variants": [{"name": "brighter", "source_mag_shift": -0.5, **_PRIORS}],
        "failures.remedies": [{"detector": "ensemble", "instead_of": "baseline"}],
        "closure.minimum_lenses": 1,
        "closure.maximum_bias": 1.0,
        "closure.significance": 1.0e-9,
        "release.region_p_value": 1.0e-9,
        "release.realism_subsample": 100,
        "release.maximum_artefact_share": 1.0,
        "release.accepted_unstable_variants": ["brighter"],
    },
}
TRAINING = {"training.epochs": 5, "training.threads": 1, "training.batch_size": 16, "architecture.width": 16}

MASKING = {"radius_px": 4.0, "first_share": 0.5, "last_share": 0.0}


@dataclass(frozen=True)
class Place:
    """Where a miniature lives: its campaign folder, its lake and its state."""

    root: Path

    @property
    def campaign(self) -> Path:
        """Folder of YAML files."""
        return self.root / NAME

    @property
    def lake(self) -> Path:
        """Root of the lake."""
        return self.root / "lake"

    @property
    def state(self) -> Path:
        """Dagster's instance and MLflow's store."""
        return self.root / "state"

    def environment(self) -> dict[str, str]:
        """Return the variables that point a process here."""
        return {
            "LENS_CAMPAIGN": str(self.campaign),
            LAKE_VARIABLE: str(self.lake),
            STATE_VARIABLE: str(self.state),
            MLFLOW_VARIABLE: f"sqlite:///{self.state / 'mlflow.db'}",
            "DAGSTER_HOME": str(PROJECT_ROOT),
            "OMP_NUM_THREADS": "1",
            "GX_ANALYTICS_ENABLED": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MPLBACKEND": "Agg",
        }

    def process_environment(self) -> dict[str, str]:
        """Return the environment of a child process that works here, without the reference data."""
        inherited = {name: value for name, value in os.environ.items() if name != "LENS_REFERENCE_DATA"}
        return inherited | self.environment() | {"PYTHONPATH": str(PROJECT_ROOT)}

    def copy_to(self, root: Path) -> Place:
        """Return a copy of campaign, lake and state to be changed at will."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        return Place(root)

    def edit(self, stage: str, changes: Mapping[str, Any]) -> None:
        """Change values of a YAML file by dotted key."""
        path = self.campaign / f"{stage}.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key, value in changes.items():
            *groups, last = key.split(".")
            target = content
            for group in groups:
                target = target[group]
            if last not in target:
                raise KeyError(f"{stage}.yaml has no {key}")
            target[last] = value
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def write_campaign(root: Path) -> Place:
    """Write the miniature's YAML files under a folder and return the place."""
    place = Place(root)
    shutil.copytree(CAMPAIGNS_FOLDER / "demo", place.campaign)
    for stage, changes in OVERRIDES.items():
        place.edit(stage, changes)
    (place.campaign / "experiments" / "core_only.yaml").unlink()
    for name in EXPERIMENTS:
        place.edit(f"experiments/{name}", TRAINING)
    place.edit("experiments/second", {"augmentation.core_masking": MASKING})
    return place


@contextmanager
def opened_instance(place: Place) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance of a miniature; this process's environment points there meanwhile."""
    import dagster as dg

    with mock.patch.dict(os.environ, place.environment()), dg.DagsterInstance.get() as instance:
        yield instance


def hurry_sqlite() -> None:
    """Let SQLite of this process leave syncing to the system: a kill loses nothing, only a power cut would."""
    from sqlalchemy import Engine, event

    @event.listens_for(Engine, "connect")
    def relax(connection: Any, record: Any) -> None:
        del record
        connection.execute("PRAGMA synchronous=OFF")
