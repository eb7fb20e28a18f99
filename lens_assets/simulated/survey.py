"""Writing the simulated survey: every brick in its own process, the same bytes for any number of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pandas as pd

from lens_assets.campaign.stages.simulated_sky import SimulatedSkySettings
from lens_assets.simulated import files
from lens_assets.simulated.coadds import render_brick
from lens_assets.simulated.published import write_published
from lens_assets.simulated.sky import Brick, Sky

Progress = Callable[[int, int], None]


def write_survey(sky: Sky, root: Path, workers: int | None = None, progress: Progress | None = None) -> dict[str, int]:
    """Write the whole survey under `root`, an empty folder: coadds, sweeps, bricks table, published catalogs.

    Args:
        sky: what to write.
        root: the folder; the caller makes it visible only when this returns.
        workers: processes; the settings' number when None. The bytes written do not depend on it.
        progress: called with (bricks done, bricks in all).

    Returns
    -------
        Rows of every sweep file and published catalog, by file name.
    """
    rows = files.write_sweeps(root, sky.sources, sky.settings.layout.sweep_overlap_deg)
    files.write_bricks_table(root, sky.bricks, sky.sources)
    rows |= write_published(root, sky)
    for done in _write_bricks(sky, root, workers or sky.settings.workers):
        if progress is not None:
            progress(done, len(sky.bricks))
    return rows


def _write_bricks(sky: Sky, root: Path, workers: int) -> Iterator[int]:
    by_brick = dict(list(sky.objects.groupby("brickname")))
    jobs = [(sky.settings, brick, by_brick[brick.name], root) for brick in sky.bricks]
    if workers == 1:
        for done, job in enumerate(jobs, start=1):
            write_brick(*job)
            yield done
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=min(workers, len(jobs)), mp_context=context) as pool:
        pending = [pool.submit(write_brick, *job) for job in jobs]
        try:
            for done, finished in enumerate(as_completed(pending), start=1):
                finished.result()
                yield done
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def write_brick(settings: SimulatedSkySettings, brick: Brick, objects: pd.DataFrame, root: Path) -> None:
    """Render one brick and write its coadd."""
    files.write_coadd(root, brick, render_brick(settings, brick, objects), settings.pixels.quantisation_nanomaggy)
