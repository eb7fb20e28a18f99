"""The simulated survey, in DR10's formats so that everything reads it as it reads the survey's, and its truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from lens_assets.campaign.stages.simulated_sky import SimulatedSkySettings
    from lens_assets.simulated.sky import Sky

GALLERY_CLASSES = ("lens", "massive_early_type", "ring", "spiral", "merger", "edge_on", "blue_clumpy", "pointy_core")
GALLERY_PER_CLASS = 4


@lens_asset(
    group="survey",
    team="survey",
    kinds={"fits", "galsim"},
    settings=("simulated_sky",),
    code_version="simulated-survey-1",
    pool="images",
    simulated_only=True,
)
def simulated_survey(run: AssetRun) -> Product:
    """A small sky written in DR10's own formats: sweeps, coadd bricks, the bricks table and published catalogs."""
    import numpy as np

    from lens_assets.simulated.files import bricks_table
    from lens_assets.simulated.sky import draw_sky
    from lens_assets.simulated.survey import write_survey

    sky = draw_sky(_settings(run))
    root = run.scratch / "survey"
    root.mkdir()
    rows = write_survey(sky, root, progress=lambda done, total: run.report_progress("bricks", done, total))
    files = {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}
    figures = {"gallery": _gallery(run, root, sky)}
    table = bricks_table(sky.bricks, sky.sources)
    table.columns = [str(name).lower() for name in table.columns]
    return Product(
        table=table[[name for name in table.columns if not isinstance(table[name].iloc[0], np.ndarray)]],
        files=files,
        figures=figures,
        summary={
            "bricks": len(sky.bricks),
            "sources": len(sky.sources),
            "lenses": int((sky.objects["kind"] == "lens").sum()),
            "files": len(files),
            "catalog_rows": sum(rows.values()),
        },
    )


@lens_asset(
    group="survey",
    team="survey",
    kinds={"parquet"},
    settings=("simulated_sky",),
    code_version="simulated-truth-1",
    simulated_only=True,
)
def simulated_truth(run: AssetRun) -> Product:
    """What is really in the simulated sky, one row an object; only the closure report may read it."""
    from lens_assets.simulated.sky import draw_sky

    objects = draw_sky(_settings(run)).objects
    lenses = objects[objects["kind"] == "lens"]
    return Product(
        table=objects.sort_values("object_id").reset_index(drop=True),
        summary={
            "objects": len(objects),
            "lenses": len(lenses),
            "hidden_lenses": int(lenses["hidden"].sum()),
            "median_theta_e_arcsec": float(lenses["theta_e_arcsec"].median()),
        },
    )


def _settings(run: AssetRun) -> SimulatedSkySettings:
    settings = run.campaign.simulated_sky
    if settings is None:
        raise ValueError(f"campaign {run.campaign.name} has no simulated_sky.yaml, so it has no simulated survey")
    return settings


def _gallery(run: AssetRun, root: Path, sky: Sky) -> Figure:
    """Return stamps of every class, cut by the survey's own reader."""
    import numpy as np

    from lens_assets.figures.galleries import gallery
    from lens_assets.survey.coadds import read_stamps_from_brick
    from lens_assets.survey.files import SurveyFiles

    layout = run.campaign.survey
    survey = SurveyFiles(str(root), layout.sweep_folder, layout.coadd_folder, layout.bricks_table)

    chosen = []
    for kind in GALLERY_CLASSES:
        chosen += list(sky.objects[sky.objects["kind"] == kind].head(GALLERY_PER_CLASS).itertuples())
    stamps, titles = [], []
    for item in chosen:
        read = read_stamps_from_brick(survey, str(item.brickname), np.array([item.ra]), np.array([item.dec]), 101)
        stamps.append(read.stamps[0])
        titles.append(str(item.kind))
    return gallery(np.stack(stamps), titles, columns=8)
