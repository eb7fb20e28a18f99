"""Injections end to end, planned, rendered and scored by the assets themselves: against a budget, there is no peer.

    python -m benchmarks injections                                       small sizes, to see that time is linear
    python -m benchmarks injections --injections 77000                    the whole parity grid

Synthetic hosts fill the 385 cells of the parity grid, with the priors of the survey's campaign. The assets
`injection_plan`, `injection_batches` (35 conditions) and `injection_scores` run on a lake in a temporary folder, which
takes 0.13 MB an injection, on the cores given; the detector is an untrained ResNet-18 of 64-pixel stamps with its
published stem (`--stem-stride 2` has none of its pooling and four times the arithmetic). The budget is ten minutes and
4 GiB for 77,000 injections on two cores. Every size is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks._interleaved import with_settled_environment

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.assets.execution import Lineage
    from lens_assets.campaign.campaign import Campaign
    from lens_assets.detector.frozen import FrozenDetector
    from lens_assets.lake.lake import Lake

PARITY_CELLS, BUDGET_INJECTIONS, BUDGET_SECONDS = 385, 77_000, 600.0
SEED = 5
GATELESS = {"injection_plan": (), "injection_batches": ("injection_plan",), "injection_scores": ("injection_batches",)}


def campaign_of(per_cell: int) -> Campaign:
    """Return the demo with the survey campaign's priors, filling the parity grid with `per_cell` injections a cell."""
    from lens_assets.campaign.campaign import load_campaign

    demo, survey = load_campaign("demo"), load_campaign("dr10")
    selection = demo.selection_function
    grids = tuple(grid.model_copy(update={"injections_per_cell": per_cell}) for grid in selection.grids)
    parity = selection.model_copy(update={"grids": grids, "audited_grid": "parity"})
    hosts = demo.injection.hosts.model_copy(
        update={"maximum_uses_per_theta_e_bin": survey.injection.hosts.maximum_uses_per_theta_e_bin}
    )
    injection = survey.injection.model_copy(update={"hosts": hosts, "pilot_injections": 1})
    return replace(demo, stages={**demo.stages, "injection": injection, "selection_function": parity})


def hosts_of(campaign: Campaign) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return manifest and cutout index of as many hosts in every condition as its injections ask for."""
    import numpy as np
    import pandas as pd

    grid = campaign.selection_function.grid
    stream = np.random.default_rng(SEED)
    each = math.ceil(grid.injections_per_cell / campaign.injection.hosts.maximum_uses_per_theta_e_bin)
    psf, depth = (
        axis.ravel().repeat(each) for axis in np.meshgrid(grid.psf_fwhm_arcsec.centres, grid.depth_mag.centres)
    )
    shard = campaign.survey.sky_partitions[0]
    rows = np.arange(len(psf))
    manifest = pd.DataFrame({"galaxy_id": [f"10000_1_{row:06d}" for row in rows]})
    values = {
        "label": 0, "split": "test", "quality_ok": True, "in_deployment": True, "sampling_weight_deployment": 10.0,
        "type": "SER", "mag_g": 19.5, "mag_r": 19.0, "mag_z": 18.5, "shape_r": 1.2, "sersic": 4.0, "ebv": 0.03,
        "maskbits": 0, "sky_partition": shard, "region_id": 1, "healpix_128": 5.0, "confuser_category": None,
    }  # fmt: skip
    manifest = manifest.assign(cutout_path=[f"{shard}#{row}" for row in rows], **values)
    manifest["shape_e1"], manifest["shape_e2"] = stream.normal(0.0, 0.1, (2, len(rows)))
    index = manifest[["cutout_path"]].assign(status="ok")
    for band, factor, sigma in (("g", 1.1, 0.0017), ("r", 1.0, 0.0033), ("z", 0.95, 0.0078)):
        manifest[f"psfsize_{band}"] = psf * factor
        manifest[f"psfdepth_{band}"] = (5.0 / 10 ** (0.4 * (22.5 - depth))) ** 2
        index[f"sky_sigma_{band}"] = sigma
    return manifest, index


def write_host_stamps(path: Path, count: int, size: int) -> None:
    """Write hosts of Gaussian light on Gaussian noise."""
    import numpy as np

    from lens_assets.imaging.stamps import StampWriter

    stream = np.random.default_rng(SEED)
    axis = np.arange(size) - size // 2
    light = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 4.0**2))
    colour = np.array([0.2, 0.5, 0.8])[:, None, None]
    with StampWriter(path, size, size) as writer:
        for start in range(0, count, 256):
            ids = [str(row) for row in range(start, min(start + 256, count))]
            noise = stream.standard_normal((len(ids), 3, size, size), dtype=np.float32)
            writer.write(ids, noise * np.float32(0.004) + (light * colour).astype(np.float32))


def untrained(campaign: Campaign, width: int, stem_stride: int) -> FrozenDetector:
    """Return a ResNet-18 of the first detector's preprocessing with random weights."""
    from lens_assets.detector.determinism import seed_torch
    from lens_assets.detector.frozen import Member, network_with, single
    from lens_assets.detector.models import build_network

    recipe = campaign.experiments["baseline"]
    shape = {"family": "resnet18", "width": width, "stem_stride": stem_stride}
    architecture = recipe.architecture.model_copy(update=shape)
    seed_torch(SEED, "weights")
    network = network_with(architecture, build_network(architecture).state_dict())
    return single(Member("resnet18", architecture, recipe.preprocessing, recipe.scoring.batch_size, network))


def prepared(root: Path, campaign: Campaign, width: int, stem_stride: int) -> tuple[Lineage, Lake]:
    """Return the lineage of the three assets without their gate, and a lake that holds what they read."""
    import pandas as pd
    import pyarrow as pa

    from lens_assets.assets.execution import Lineage
    from lens_assets.definitions import load_assets
    from lens_assets.detector.frozen import save_detector
    from lens_assets.imaging.stamps import STAMP_FILE
    from lens_assets.lake.lake import Lake
    from lens_assets.lake.record import Provenance

    lake, made = Lake(root / "lake", campaign.name), Provenance(code_version="benchmark", settings={}, upstream={})

    def store(asset: str, table: pd.DataFrame, key: str | None = None, files: dict | None = None) -> None:
        lake.write(asset, key, made, table=pa.Table.from_pandas(table, preserve_index=False), files=files or {})

    manifest, index = hosts_of(campaign)
    store("training_manifest", manifest)
    store("brightness_calibration", pd.DataFrame({"magnitude_shift_mag": [0.0]}))
    stamps = root / STAMP_FILE
    write_host_stamps(stamps, len(index), campaign.injection.renderer.stamp_pixels)
    first, *others = campaign.survey.sky_partitions
    store("cutouts", index, first, {STAMP_FILE: stamps})
    for key in others:
        store("cutouts", index[:0], key)
    detector = next(iter(campaign.evaluation.detectors))
    files = save_detector(root / "detector", untrained(campaign, width, stem_stride))
    store("frozen_detector", pd.DataFrame({"detector": [detector]}), detector, dict(files))
    known = load_assets()
    inputs = ("training_manifest", "brightness_calibration", "cutouts", "frozen_detector")
    assets = {name: replace(known[name], inputs=(), optional_inputs=()) for name in inputs}
    for name in GATELESS:
        asset = known[name]
        assets[name] = replace(asset, behind=None, inputs=tuple(item for item in asset.inputs if item != asset.behind))
    return Lineage(campaign, assets), lake


@dataclass
class Clock:
    """Seconds of wall and of processors by phase; `within` counts thread time of functions inside a phase."""

    seconds: dict[str, list[float]]
    lock: Lock

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        wall, busy = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = [time.perf_counter() - wall, time.process_time() - busy]

    def within(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.thread_time()
            result = function(*arguments, **options)
            with self.lock:
                self.seconds.setdefault(name, [math.nan, 0.0])[1] += time.thread_time() - start
            return result

        return timed


def measure(injections: int, width: int, stem_stride: int) -> dict[str, Any]:
    """Plan, render and score; return the injections made, the failed ones, seconds by phase and peak memory in MiB."""
    from lens_assets.assets.execution import materialise
    from lens_assets.lensing import injection
    from lens_assets.resources.tracking import Tracking

    campaign = campaign_of(math.ceil(injections / PARITY_CELLS))
    clock = Clock({}, Lock())
    with tempfile.TemporaryDirectory(prefix="injections-") as folder:
        lineage, lake = prepared(Path(folder), campaign, width, stem_stride)

        def make(name: str) -> None:
            asset = lineage.assets[name]
            keys = lineage.keys(asset)[:1] if asset.partitions == "detector" else lineage.keys(asset)
            for key in keys:
                materialise(lineage, lake, asset, key, tracking=Tracking.disabled())

        with clock.phase("plan"):
            make("injection_plan")
        inside = {"rays, PSF": "render_arcs", "noise": "added_noise", "images, truth": "_truth"}
        with clock.phase("render"):
            for name, function in inside.items():
                mock.patch.object(injection, function, clock.within(name, getattr(injection, function))).start()
            make("injection_batches")
            mock.patch.stopall()
        with clock.phase("score"):
            make("injection_scores")
        scored = lake.table("injection_scores", next(iter(campaign.evaluation.detectors)))
    return {
        "injections": len(scored),
        "failed": int((scored["status"] != 0).sum()),
        "hosts": int(scored["galaxy_id"].nunique()),
        "seconds": clock.seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def report(found: dict[str, Any]) -> None:
    """Print one size: every phase, and all of it scaled to the budget's size."""
    count, seconds = found["injections"], found["seconds"]
    print(f"{count} injections on {found['hosts']} hosts, {found['failed']} failed, {found['peak_mib']:.0f} MiB")
    phases = {name: seconds[name] for name in ("plan", "render", "score")}
    total = [sum(part) for part in zip(*phases.values(), strict=True)]
    inside = {f"  {name}": seconds[name] for name in seconds if name not in phases}
    lines = {"plan": seconds["plan"], "render": seconds["render"], **inside, "score": seconds["score"], "total": total}
    print(f"{'phase':18s} {'wall s':>9s} {'ms each':>8s} {'CPU ms each':>12s}")
    for name, (wall, busy) in lines.items():
        print(f"{name:18s} {wall:9.1f} {1e3 * wall / count:8.2f} {1e3 * busy / count:12.2f}")
    scaled = total[0] * BUDGET_INJECTIONS / count
    print(f"at this rate {BUDGET_INJECTIONS} take {scaled:.0f} s of {BUDGET_SECONDS:.0f} s\n", flush=True)


def main() -> None:
    """Measure each size in a process of its own and print it."""
    with_settled_environment()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--injections", type=int, nargs="+", default=[770, 3080], help="rounded up to whole cells")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage; 64 as published")
    parser.add_argument("--stem-stride", type=int, choices=(1, 2, 4), default=4, help="pixels; 4 as published")
    parser.add_argument("--one-size", action="store_true", help=argparse.SUPPRESS)
    options, _ = parser.parse_known_args()
    if options.one_size:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
        print(json.dumps(measure(options.injections[0], options.width, options.stem_stride)))
        return
    print(f"ResNet-18 of width {options.width} and stem stride {options.stem_stride}, {options.cores} cores")
    for size in options.injections:
        command = [sys.executable, "-m", "benchmarks.injections", "--one-size", "--injections", str(size),
                   "--cores", str(options.cores), "--width", str(options.width),
                   "--stem-stride", str(options.stem_stride)]  # fmt: skip
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        report(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
