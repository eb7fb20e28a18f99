"""Export the stamps that an external finder has to score, role by role, from what is in the lake now."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lens_assets.assets.execution import Lineage, require_open

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from lens_assets.assets.framework import AssetRun
    from lens_assets.detector.exchange import Format
    from lens_assets.lake.lake import Lake

ROLES = {
    "lenses": "known lenses of the validation and test splits",
    "negatives": "negatives of the validation and test splits, the deployment sample among them",
    "hosts": "hosts of the injections, without an arc",
    "injected": "hosts with an arc, behind the realism gate",
    "sensitivity": "the small batches under other priors",
    "failures": "the small batches of the failure experiments",
    "closure": "true lenses of a simulated sky",
}
CATALOGUE_ROLES = ("lenses", "negatives")
_README = """Stamps to be scored by a strong-lens finder
===========================================

Each stamp is float32, (3, H, W): bands g, r, z in nanomaggies per pixel, {scale} arcsec per pixel, north up and east
left, the galaxy in the centre; missing pixels are exact zeros. stamps.csv lists stamp_id, role, file and row, and the
conditions of the galaxy are left out on purpose.

Return a CSV or Parquet file with two columns:
  stamp_id   as exported, every one once
  score      a finite probability in [0, 1] (or a logit: say so); higher means more like a lens
Score every stamp by itself: a score must not depend on which other stamps are scored with it.
"""


class ExportError(ValueError):
    """An export that cannot be made; the message says why and what to do."""


def export_stamps(
    lineage: Lineage, lake: Lake, folder: Path, file_format: Format, roles: Sequence[str]
) -> pd.DataFrame:
    """Write the stamps of the roles with `stamps.csv`, `export.json` and a README; return the index.

    What lies behind a gate is exported only while the gate stands open for what is in the lake. Equal stamps are
    written once, under the first of the roles that holds them.
    """
    from lens_assets.detector.exchange import StampExport
    from lens_assets.survey.units import PIXEL_SCALE_ARCSEC

    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ExportError(f"{folder} is not empty; expected a new or empty folder, so that no older stamp stays in it")
    export = StampExport(folder, file_format)
    for role in roles:
        for stamps in _stamps_of(lineage, lake, role):
            export.add(role, stamps)
        export.flush(role)
    index = export.table()
    index.to_csv(folder / "stamps.csv", index=False)
    content = {
        "campaign": lineage.campaign.name,
        "format": file_format,
        "stamps": {role: int((index["role"] == role).sum()) for role in roles},
    }
    (folder / "export.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "README.txt").write_text(_README.format(scale=PIXEL_SCALE_ARCSEC), encoding="utf-8")
    return index


def available_roles(lineage: Lineage, lake: Lake) -> list[str]:
    """Return the roles whose stamps exist now: the catalogue's always, the others once the gate has let them pass."""
    from lens_assets.assets.execution import GateClosed

    batches = lineage.assets["injection_batches"]
    try:
        require_open(lineage, lake, batches)
    except GateClosed:
        return list(CATALOGUE_ROLES)
    if lineage.stale(lake, ["injection_batches"]):
        return list(CATALOGUE_ROLES)
    return [role for role in ROLES if role != "closure" or "closure_report" in lineage.assets]


def _stamps_of(lineage: Lineage, lake: Lake, role: str) -> Iterator[NDArray[np.float32]]:
    if role in CATALOGUE_ROLES:
        yield from _catalogue(lineage, lake, label=1 if role == "lenses" else 0)
        return
    require_open(lineage, lake, lineage.assets["injection_batches"])
    stale = lineage.stale(lake, ["injection_batches"])
    if stale:
        raise ExportError(f"role {role}: {', '.join(stale)} is missing or not current; run the campaign first")
    readers: dict[str, Callable[[Lineage, Lake], Iterator[NDArray[np.float32]]]] = {
        "hosts": _hosts,
        "injected": _injected,
        "sensitivity": _sensitivity,
        "failures": _failures,
        "closure": _closure,
    }
    yield from readers[role](lineage, lake)


def _cutouts(lake: Lake, paths: Sequence[str]) -> Iterator[NDArray[np.float32]]:
    from lens_assets.detector.exchange import blocks
    from lens_assets.imaging.stamps import STAMP_FILE, StampReader

    reader = StampReader(lambda shard: lake.file("cutouts", STAMP_FILE, shard))
    for block in blocks(len(paths)):
        yield reader.read([paths[position] for position in block])


def _catalogue(lineage: Lineage, lake: Lake, label: int) -> Iterator[NDArray[np.float32]]:
    from lens_assets.assets.detector_external import CATALOGUE_SPLITS

    stale = lineage.stale(lake, ["training_manifest", "cutouts"])
    if stale:
        raise ExportError(f"{', '.join(stale)} is missing or not current; run the campaign first")
    manifest = lake.table("training_manifest").sort_values("galaxy_id", kind="stable")
    chosen = manifest.loc[manifest["split"].isin(CATALOGUE_SPLITS) & (manifest["label"] == label)]
    yield from _cutouts(lake, chosen["cutout_path"].tolist())


def _hosts(lineage: Lineage, lake: Lake) -> Iterator[NDArray[np.float32]]:
    paths: set[str] = set()
    for key in lineage.keys(lineage.assets["injection_batches"]):
        paths |= set(lake.table("injection_batches", key, ["host_cutout_path"])["host_cutout_path"])
    yield from _cutouts(lake, sorted(paths))


def _injected(lineage: Lineage, lake: Lake) -> Iterator[NDArray[np.float32]]:
    import numpy as np

    from lens_assets.detector.exchange import blocks
    from lens_assets.imaging.stamps import STAMP_FILE, read_stamps

    for key in lineage.keys(lineage.assets["injection_batches"]):
        status = lake.table("injection_batches", key, ["status"])["status"].to_numpy()
        rendered, path = np.flatnonzero(status == 0), lake.file("injection_batches", STAMP_FILE, key)
        for block in blocks(len(rendered)):
            yield read_stamps(path, rendered[block])


def _sensitivity(lineage: Lineage, lake: Lake) -> Iterator[NDArray[np.float32]]:
    from lens_assets.assets.selection_sensitivity import plan_and_hosts, rendered_variants

    with _seen_by(lineage, lake, "sensitivity_report") as run:
        plan, hosts = plan_and_hosts(run)
        for _, _, stamps in rendered_variants(run, plan, hosts):
            yield stamps


def _failures(lineage: Lineage, lake: Lake) -> Iterator[NDArray[np.float32]]:
    from lens_assets.assets.selection_failures import stamps_of_experiment
    from lens_assets.assets.selection_sensitivity import plan_and_hosts
    from lens_assets.selection.failures import EXPERIMENTS

    with _seen_by(lineage, lake, "failure_experiments") as run:
        plan, hosts = plan_and_hosts(run)
        for experiment in EXPERIMENTS:
            yield from stamps_of_experiment(run, experiment, plan, hosts)


def _closure(lineage: Lineage, lake: Lake) -> Iterator[NDArray[np.float32]]:
    from lens_assets.assets.selection_closure import true_lenses

    if "closure_report" not in lineage.assets:
        raise ExportError(f"role closure: campaign {lineage.campaign.name} has no truth; leave the role out")
    with _seen_by(lineage, lake, "closure_report") as run:
        yield true_lenses(run)[1]


@contextmanager
def _seen_by(lineage: Lineage, lake: Lake, asset: str) -> Iterator[AssetRun]:
    """Yield what an asset's function sees, to make the stamps that it scores without computing it."""
    from lens_assets.assets.framework import AssetRun
    from lens_assets.resources.tracking import Tracking

    scratch = lake.scratch()
    try:
        yield AssetRun(
            asset=lineage.assets[asset],
            campaign=lineage.campaign,
            lake=lake,
            partition=None,
            schemes=lineage.schemes,
            scratch=scratch,
            tracking=Tracking.disabled(),
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
