"""The survey group of the lineage: Tractor sources by sky partition."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset
from lens_assets.environment import STATE_VARIABLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lens_assets.campaign.campaign import Campaign

_COLUMNS = {
    "galaxy_id": "release_brickid_objid, unique in the partition",
    "ra": "right ascension, ICRS [deg]",
    "dec": "declination, ICRS [deg]",
    "type": "Tractor model: PSF, REX, DEV, EXP, SER, DUP",
    "flux_r": "total flux, not dereddened [nanomaggy]; other bands alike; i is null before DR10",
    "flux_ivar_r": "inverse variance of the flux [nanomaggy^-2]",
    "psfsize_r": "PSF FWHM, weighted mean of the exposures [arcsec]",
    "psfdepth_r": "inverse variance of a point source's flux [nanomaggy^-2]",
    "galdepth_r": "the same for a 0.45 arcsec round exponential [nanomaggy^-2]",
    "shape_r": "half-light radius along the major axis [arcsec]",
    "shape_e1": "first component of (a-b)/(a+b) exp(2 i phi)",
    "ellipticity": "(a-b)/(a+b)",
    "axis_ratio": "b/a",
    "mag_r": "22.5 - 2.5 log10 flux, null where flux <= 0; dereddened if survey.extinction_corrected [AB mag]",
    "mw_transmission_r": "share of the light that Galactic dust lets pass, linear",
    "psfdepth_r_mag": "5 sigma point-source depth [AB mag]",
    "healpix_128": "NESTED pixel of nside 128, the cell of the splits",
    "sky_partition": "partition that owns the row",
    "in_margin": "the row belongs to a neighbouring partition and is here for joins over the edge",
    "sweep_file": "file it was read from",
    "row_index": "zero-based row in that file",
}


def sweeps_of_partition(campaign: Campaign, key: str | None) -> dict[str, str]:
    """Return size and time of every sweep file of a partition; nothing for a remote survey, whose releases stand still.

    A folder that cannot be listed holds nothing: reading it says why.
    """
    from lens_assets.sky.healpix import parse_partition_key
    from lens_assets.survey.files import SurveyFiles

    settings = campaign.survey
    files = SurveyFiles(settings.root, settings.sweep_folder, settings.coadd_folder, settings.bricks_table)
    if settings.source == "simulated" or not files.is_local:
        return {}
    try:
        tiles = files.tiles_of_partition(*parse_partition_key(str(key)), settings.margin_arcsec)
        return {tile.name: files.sweep_identity(tile) for tile in tiles}
    except OSError:
        return {}


@lens_asset(
    group="survey",
    team="survey",
    kinds={"fits", "parquet"},
    inputs=("simulated_survey",),
    settings=("survey",),
    partitions="sky",
    outside=sweeps_of_partition,
    code_version="sweep-sources-5",
)
def sweep_sources(run: AssetRun) -> Product:
    """Tractor sources of one sky partition, read from the sweep files whose boxes touch it.

    Each source is held once, with the derived magnitudes, colours, shapes, depths and HEALPix cells, and with the
    rows of neighbouring partitions within the margin, marked, for spatial joins. Files that cannot be read are set
    aside with the reason; the table `files` accounts for every row that was read, and `bricks` holds the sources of
    each brick in which the release found objects, since a sweep file that a mirror lacks shows in nothing else. While a
    file is set aside the partition is made anew when it is asked for, and files that were read are not read again.
    """
    import pyarrow.parquet as pq

    from lens_assets.sky.healpix import parse_partition_key
    from lens_assets.survey.bricks import sources_by_brick
    from lens_assets.survey.ingest import ingest_partition
    from lens_assets.survey.sources import MAG_BANDS, Region
    from lens_assets.survey.staging import Staging

    settings = run.campaign.survey
    files = survey_files(run)
    bricks = files.read_bricks()
    nside, pixel = parse_partition_key(str(run.partition))
    tiles = files.tiles_of_partition(nside, pixel, settings.margin_arcsec)
    region = Region(nside, pixel, settings.margin_arcsec, settings.faintest_mag_z, settings.extinction_corrected)
    staging = Staging(run.staging, run.asset.code_version)
    read = run.progress(tiles, "sweep files", len(tiles))
    result = ingest_partition(read, files, region, settings.chunk_rows, staging, run.scratch)
    accounts = result.accounts
    held = pq.read_table(result.path, columns=["brickname"])["brickname"]
    by_brick = sources_by_brick(bricks, held.to_pandas(), nside, pixel)
    for row in accounts[accounts["status"] != "ok"].itertuples():
        run.log.warning("quarantined %s: %s, %s", row.sweep_file, row.reason, row.detail)
    for row in accounts[(accounts["status"] == "ok") & (accounts["malformed"] > 0)].itertuples():
        run.log.warning("%s: %d malformed rows left out; %s", row.sweep_file, row.malformed, row.detail)
    in_margin = int(accounts["kept_in_margin"].sum())
    without = result.nulls([f"mag_{band}" for band in MAG_BANDS])
    return Product(
        table=result.path,
        tables={"files": accounts, "bricks": by_brick},
        figures={"sources": _map(result.path)},
        summary={
            "sources": int(accounts["kept"].sum()) - in_margin,
            "in_margin": in_margin,
            "files": len(accounts),
            "files_quarantined": int((accounts["status"] != "ok").sum()),
            "rows_read": int(accounts["rows_read"].sum()),
            "duplicates": int(accounts["duplicate"].sum()),
            "malformed": int(accounts["malformed"].sum()),
            "bricks": len(by_brick),
            "bricks_without_sources": int((by_brick["sources"] == 0).sum()),
            **{f"without_{name}": count for name, count in without.items()},
        },
        columns=_COLUMNS,
        provisional=bool((accounts["status"] != "ok").any()),
    )


def survey_files(run: AssetRun):  # type: ignore[no-untyped-def]  # SurveyFiles is imported late
    """Return the files of the campaign's survey: the folder of its settings, or the simulated survey in the lake."""
    from lens_assets.survey.downloads import Cache
    from lens_assets.survey.files import SurveyFiles

    settings = run.campaign.survey
    root = str(run.folder("simulated_survey")) if settings.source == "simulated" else settings.root
    state = os.environ.get(STATE_VARIABLE)
    limit = int(settings.download_cache_gib * 2**30)
    cache = Cache(Path(state) / "downloads", limit) if state and limit else None
    return SurveyFiles(root, settings.sweep_folder, settings.coadd_folder, settings.bricks_table, run.scratch, cache)


def _map(path: Path) -> Figure:
    import pyarrow.parquet as pq

    from lens_assets.figures.survey import source_map

    return source_map(pq.read_table(path, columns=["ra", "dec", "mag_z", "in_margin"]).to_pandas())
