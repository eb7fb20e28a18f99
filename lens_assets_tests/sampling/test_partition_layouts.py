"""No result depends on how the sky is cut: the same sweeps in partitions of two sizes give the same negatives."""

from __future__ import annotations

import io

import healpy
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lens_assets.campaign.campaign import load_campaign
from lens_assets.sampling.lrg import flag_sources
from lens_assets.sampling.neighbourhood import source_neighbourhood
from lens_assets.sampling.pool import build_negative_pool
from lens_assets.sky import healpix
from lens_assets.survey.sources import Region
from lens_assets.survey.tiles import parse_sweep_name, tiles_of_pixel
from lens_assets_tests.sampling.synthetic import cells_of, negatives_settings
from lens_assets_tests.survey.sweep_files import ingest, sweep_name, sweep_rows, write_sweep

MARGIN_ARCSEC = 60.0
LAYOUTS = (4, 8)
OF_THE_LAYOUT = ["sky_partition", "sweep_file", "row_index"]
CENTRE = (10.0, 5.0)
NAMES = [sweep_name(ra, dec, ra + 5, dec + 5) for ra in (5, 10) for dec in (0, 5)]


def edges_of_both_layouts() -> tuple[np.ndarray, np.ndarray]:
    """Return points on the edges of the pixels around CENTRE, corners included, within the tiles."""
    pixels = {nside: healpy.query_disc(nside, healpy.ang2vec(*CENTRE, lonlat=True), 0.1, nest=True, inclusive=True)
              for nside in LAYOUTS}  # fmt: skip
    points = [healpy.boundaries(nside, int(pixel), step=80, nest=True) for nside in LAYOUTS for pixel in pixels[nside]]
    ra, dec = healpy.vec2ang(np.concatenate(points, axis=1).T, lonlat=True)
    inside = (ra > 6.0) & (ra < 14.0) & (dec > 1.0) & (dec < 9.0)
    return ra[inside], dec[inside]


def around(rng, ra, dec, count, arcsec):
    """Return `count` positions within a few arcsec of each point."""
    step = arcsec / 3600.0
    ra, dec = np.repeat(ra, count), np.repeat(dec, count)
    return ra + rng.uniform(-step, step, len(ra)) / np.cos(np.radians(dec)), dec + rng.uniform(-step, step, len(dec))


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """Sweeps crowded along the edges of the partitions, lenses and curated contaminants among them."""
    rng = np.random.default_rng(4)
    edge_ra, edge_dec = edges_of_both_layouts()
    close_ra, close_dec = around(rng, edge_ra, edge_dec, 4, 12.0)
    ra = np.concatenate([close_ra, rng.uniform(6, 14, 500)])
    dec = np.concatenate([close_dec, rng.uniform(1, 9, 500)])
    rows = sweep_rows(ra, dec)
    rows["TYPE"] = rng.choice([b"SER", b"DEV", b"REX", b"EXP", b"PSF"], len(rows))
    for band in "GRZ":
        rows[f"FLUX_{band}"] = rng.lognormal(3.0, 1.0, len(rows))
    rows["SHAPE_R"], rows["SERSIC"] = rng.lognormal(0.0, 0.5, len(rows)), rng.uniform(1, 6, len(rows))
    rows["MASKBITS"] = rng.choice([0, 0, 0, 2, 2048], len(rows))
    folder = tmp_path_factory.mktemp("sweeps")
    for name in NAMES:
        tile = parse_sweep_name(name)
        near = parse_sweep_name(name).contains(ra, dec) | (
            (np.abs(ra - tile.ra1) < 0.01) & (dec > tile.dec1) & (dec < tile.dec2)  # overlapping files
        )
        write_sweep(folder, name, rows[near])
    lens_ra, lens_dec = around(rng, edge_ra[::2], edge_dec[::2], 1, 15.0)
    lenses = pd.DataFrame({"ra": lens_ra, "dec": lens_dec})
    chosen = rng.choice(len(close_ra), 60, replace=False)
    contaminants = pd.DataFrame(
        {"contaminant_id": [f"c{number:03d}" for number in range(60)], "ra": close_ra[chosen] + 0.5 / 3600.0,
         "dec": close_dec[chosen], "galaxy_id": None, "category": rng.choice(["ring", "spiral"], 60)}
    )  # fmt: skip
    return folder, rows, lenses, contaminants


def cells_of_layout(sky, nside: int) -> pd.DataFrame:
    """Return the cells with their counts of luminous red galaxies of the whole sky, made partition by partition."""
    folder, rows, *_ = sky
    found = []
    for pixel in np.unique(healpix.pixel_of(nside, rows["RA"], rows["DEC"])).tolist():
        names = [tile.name for tile in tiles_of_pixel(NAMES, nside, pixel, MARGIN_ARCSEC)]
        sources = ingest(folder, names, Region(nside, pixel, MARGIN_ARCSEC), 5000).sources
        found.append(flag_sources(sources, load_campaign("dr10").host_selection)["lrg_cells"].to_pandas())
    return pd.concat(found).sort_values("healpix_128", ignore_index=True).drop(columns="sky_partition")


def pool_of_layout(sky, nside: int, margin_arcsec: float = MARGIN_ARCSEC) -> tuple[pa.Table, int]:
    """Return the negative pool of the whole sky, made partition by partition, and the number of partitions."""
    folder, rows, lenses, contaminants = sky
    rules = negatives_settings()
    cells = cells_of(pd.DataFrame({"healpix_128": np.unique(healpix.pixel_of(128, rows["RA"], rows["DEC"]))}))
    pools = []
    for pixel in np.unique(healpix.pixel_of(nside, rows["RA"], rows["DEC"])).tolist():
        names = [tile.name for tile in tiles_of_pixel(NAMES, nside, pixel, margin_arcsec)]
        sources = ingest(folder, names, Region(nside, pixel, margin_arcsec), 5000).sources
        columns = sources.select(["galaxy_id", "ra", "dec", "mag_z"]).to_pandas()
        nearby = source_neighbourhood(columns, lenses, contaminants, rules)
        pools.append(build_negative_pool(sources, nearby, cells, rules).tables["negative_pool"])
    together = pa.concat_tables(pools).sort_by("galaxy_id")
    return together.drop_columns([name for name in OF_THE_LAYOUT if name in together.column_names]), len(pools)


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table.combine_chunks(), buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def coarse(sky):
    return pool_of_layout(sky, LAYOUTS[0])


def test_partitions_of_two_sizes_give_the_same_pool_byte_for_byte(sky, coarse):
    (whole, few), (fine, many) = coarse, pool_of_layout(sky, LAYOUTS[1])
    assert many > few >= 2
    assert whole.num_rows == len(sky[1])
    frame = whole.to_pandas()
    for evidence in ("exclusion_separation_arcsec", "confuser_category"):
        assert frame[evidence].notna().sum() > 50  # what neighbours decide is there to be got wrong
    assert frame["n2_merger_neighbour_proxy"].sum() > 50
    assert parquet(whole) == parquet(fine)


def test_without_a_margin_the_layouts_would_differ(sky, coarse):
    bare, _ = pool_of_layout(sky, LAYOUTS[0], margin_arcsec=1e-3)
    assert parquet(bare) != parquet(coarse[0])


def test_partitions_of_two_sizes_give_the_same_cells_of_hosts(sky):
    coarse_cells, fine_cells = (cells_of_layout(sky, nside) for nside in LAYOUTS)
    assert coarse_cells["n_sources"].sum() == len(sky[1])
    assert coarse_cells["n_lrg_v5_very_relaxed"].sum() > 50
    pd.testing.assert_frame_equal(coarse_cells, fine_cells, check_exact=True)
