"""Synthetic `sweep_sources` at the density and mix of the survey: Parquet by sky partition, margins included.

Partitions are neighbouring pixels, each with as many own rows as a partition of the survey has, so that more rows are
more partitions, as at scale. Positions are uniform, with a share of close pairs; the values lie on both sides of every
threshold. What a row is depends on its pixel alone. Files are written as the lake writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import healpy
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lens_assets.lake.parquet import write_batches
from lens_assets.sky import healpix
from lens_assets.survey.sources import REPETITIVE_COLUMNS, SOURCE_SCHEMA, derived_columns, galaxy_ids

PARTITION_NSIDE = 4
MARGIN_ARCSEC = 60.0
SURVEY_ROWS = 114_000_000
SURVEY_PARTITIONS = 187
LENSES = 32_838
POSITIVES = 4_788
"""Systems of the survey that match a source; as many a row are made here."""

_DECLINATIONS_DEG = (-3.0, 17.0)
"""Centres of the partitions used: pixels wholly inside the footprint of the recipe."""
_GRID = 2**22
_NAMES = ("PSF", "REX", "EXP", "DEV", "SER")
_SHARES = (0.42, 0.22, 0.14, 0.11, 0.11)
_MASKBITS = (0, 1, 2, 32, 64, 128, 256, 1024, 2048, 2050, 4096, 8192)
_MASK_SHARES = (0.83, 0.01, 0.02, 0.02, 0.02, 0.02, 0.02, 0.01, 0.02, 0.01, 0.01, 0.01)


@dataclass(frozen=True)
class Sky:
    """The files of a synthetic sky: one Parquet a partition, and the tables beside them."""

    folder: Path
    partitions: tuple[str, ...]

    def sources(self, partition: str) -> Path:
        """Return the sources of a partition, with its margin."""
        return self.folder / "sweep_sources" / f"{partition}.parquet"

    def table(self, name: str) -> Path:
        """Return a side table: split_cells, lenses, positives or contaminants."""
        return self.folder / f"{name}.parquet"

    @property
    def bytes(self) -> int:
        """Size of the sources on disk."""
        return sum(self.sources(key).stat().st_size for key in self.partitions)


def make_sky(folder: Path, rows: int) -> Sky:
    """Write a sky of about `rows` rows, or return it where it is there already."""
    per_partition = min(rows, SURVEY_ROWS // SURVEY_PARTITIONS)
    pixels = _pixels(max(1, round(rows / per_partition)))
    sky = Sky(folder, tuple(healpix.partition_key(PARTITION_NSIDE, pixel) for pixel in pixels))
    if sky.table("positives").exists():
        return sky
    (folder / "sweep_sources").mkdir(parents=True, exist_ok=True)
    for pixel, key in zip(pixels, sky.partitions, strict=True):
        _write(_own_rows(pixel, per_partition), folder / f"own-{key}.parquet")
    for pixel, key in zip(pixels, sky.partitions, strict=True):
        _write_with_margin(sky, pixel, key)
    for key in sky.partitions:
        (folder / f"own-{key}.parquet").unlink()
    _write_side_tables(sky)
    return sky


def _pixels(count: int) -> list[int]:
    every = np.arange(12 * PARTITION_NSIDE**2)
    _, dec = healpix.pixel_centres(PARTITION_NSIDE, every)
    inside = every[(dec > _DECLINATIONS_DEG[0]) & (dec < _DECLINATIONS_DEG[1])]
    if count > len(inside):
        raise ValueError(f"{count} partitions wanted; {len(inside)} lie inside the footprint")
    return inside[:count].tolist()


def _own_rows(pixel: int, count: int) -> pd.DataFrame:
    stream = np.random.default_rng([pixel, 5])
    base = pixel * (_GRID // PARTITION_NSIDE) ** 2
    fine = base + stream.integers(0, (_GRID // PARTITION_NSIDE) ** 2, count)
    ra, dec = healpy.pix2ang(_GRID, fine, nest=True, lonlat=True)
    close = np.flatnonzero(stream.random(count) < 0.04)
    angle, reach = stream.uniform(0, 2 * np.pi, len(close)), stream.uniform(1.0, 7.0, len(close)) / 3600
    beside = stream.integers(0, count, len(close))
    ra[close] = ra[beside] + reach * np.cos(angle) / np.cos(np.radians(dec[beside]))
    dec[close] = dec[beside] + reach * np.sin(angle)
    ra = np.mod(ra, 360.0)
    inside = healpix.pixel_of(PARTITION_NSIDE, ra, dec) == pixel
    return _columns(ra[inside], dec[inside], pixel, stream)


def _columns(ra: np.ndarray, dec: np.ndarray, pixel: int, stream: np.random.Generator) -> pd.DataFrame:
    count = len(ra)
    mag_z = 21.0 + np.log10(stream.random(count)) / 0.35
    colour = {"z": np.zeros(count), "r": stream.normal(0.6, 0.3, count), "w1": stream.normal(-0.8, 0.5, count)}
    colour["g"] = colour["r"] + stream.normal(1.0, 0.5, count)
    colour["i"] = colour["r"] * 0.5
    flux = {band: 10 ** (0.4 * (22.5 - mag_z - shift)) for band, shift in colour.items()}
    lost = stream.random(count) < 0.01
    flux["g"][lost] *= -0.1
    brick = healpix.pixel_of(256, ra, dec)
    order = np.argsort(brick, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(brick[order]) > 0])
    objid = np.empty(count, dtype=np.int32)
    objid[order] = np.arange(count) - np.repeat(first, np.diff(np.r_[first, count]))
    kind = stream.choice(len(_NAMES), count, p=_SHARES)
    frame = pd.DataFrame(
        {
            "release": np.full(count, 10000, dtype=np.int16),
            "brickid": brick.astype(np.int32),
            "objid": objid,
            "brickname": np.char.mod("%08d", brick),
            "ra": ra,
            "dec": dec,
            "type": np.asarray(_NAMES)[kind],
            **{f"flux_{band}": flux[band].astype(np.float32) for band in ("g", "r", "i", "z", "w1")},
            **{f"flux_ivar_{band}": stream.uniform(50, 500, count).astype(np.float32) for band in "grz"},
            **{
                f"mw_transmission_{band}": stream.uniform(0.7, 1.0, count).astype(np.float32)
                for band in ("g", "r", "z", "w1")
            },
            **{f"nobs_{band}": stream.integers(1, 14, count).astype(np.int16) for band in "grz"},
            **{f"psfsize_{band}": stream.uniform(0.9, 2.0, count).astype(np.float32) for band in "grz"},
            **{f"psfdepth_{band}": stream.uniform(100, 900, count).astype(np.float32) for band in "grz"},
            **{f"galdepth_{band}": stream.uniform(80, 700, count).astype(np.float32) for band in "grz"},
            "shape_r": np.where(kind == 0, 0.0, stream.lognormal(-0.2, 0.6, count)).astype(np.float32),
            "shape_e1": stream.normal(0.0, 0.2, count).astype(np.float32),
            "shape_e2": stream.normal(0.0, 0.2, count).astype(np.float32),
            "sersic": np.where(kind == 4, stream.uniform(0.5, 6.0, count), 0.0).astype(np.float32),
            "maskbits": stream.choice(_MASKBITS, count, p=_MASK_SHARES).astype(np.int32),
            "fitbits": np.zeros(count, dtype=np.int16),
            "ebv": stream.uniform(0.0, 0.3, count).astype(np.float32),
            "fracflux_r": stream.exponential(0.05, count).astype(np.float32),
            "ref_cat": "",
        }
    )
    frame["galaxy_id"] = galaxy_ids(frame["release"], frame["brickid"], frame["objid"]).to_pandas()
    frame = frame.assign(**derived_columns(frame))
    frame["healpix_128"] = healpix.pixel_of(healpix.CELL_NSIDE, ra, dec)
    frame["healpix_64"] = healpix.coarser(frame["healpix_128"], healpix.CELL_NSIDE, healpix.COARSE_NSIDE)
    frame["sky_partition"] = healpix.partition_key(PARTITION_NSIDE, pixel)
    frame["in_margin"] = False
    frame["sweep_file"] = f"sweep-{pixel:03d}.fits"
    frame["row_index"] = np.arange(count, dtype=np.int64)
    return frame


def _write(frame: pd.DataFrame, path: Path) -> None:
    ordered = frame.sort_values("galaxy_id")[SOURCE_SCHEMA.names]
    table = pa.Table.from_pandas(ordered, schema=SOURCE_SCHEMA, preserve_index=False)
    write_batches(path, SOURCE_SCHEMA, table.to_batches(), REPETITIVE_COLUMNS)


def _write_with_margin(sky: Sky, pixel: int, key: str) -> None:
    parts = [pq.read_table(sky.folder / f"own-{key}.parquet")]
    around = {int(value) for value in healpy.get_all_neighbours(PARTITION_NSIDE, pixel, nest=True) if value >= 0}
    for other in sorted(around):
        path = sky.folder / f"own-{healpix.partition_key(PARTITION_NSIDE, other)}.parquet"
        if not path.exists():
            continue
        rows = pq.read_table(path)
        ra, dec = rows["ra"].to_numpy(), rows["dec"].to_numpy()
        near = rows.filter(pa.array(healpix.within_margin(PARTITION_NSIDE, pixel, ra, dec, MARGIN_ARCSEC)))
        index = near.schema.get_field_index("in_margin")
        parts.append(near.set_column(index, "in_margin", pa.array(np.ones(near.num_rows, bool))))
    table = pa.concat_tables(parts).sort_by("galaxy_id")
    write_batches(sky.sources(key), SOURCE_SCHEMA, table.to_batches(), REPETITIVE_COLUMNS)


def _write_side_tables(sky: Sky) -> None:
    from lens_assets.sky.splits import split_table

    stream = np.random.default_rng(11)
    own = pd.concat([_own_sources(sky, key) for key in sky.partitions], ignore_index=True)
    cells = split_table(
        np.unique(own["healpix_128"]),
        nside=128, seed=42, fractions={"train": 0.7, "val": 0.15, "test": 0.15}, hash_nside=128, region_nside=16,
        folds=5,
    )  # fmt: skip
    cells.to_parquet(sky.table("split_cells"))
    host = own.iloc[np.sort(stream.choice(len(own), LENSES))]
    shift = stream.uniform(-1.0, 1.0, (2, LENSES)) / 3600
    lenses = pd.DataFrame(
        {"ra": np.mod(host["ra"].to_numpy() + shift[0], 360), "dec": host["dec"].to_numpy() + shift[1]}
    )
    lenses.to_parquet(sky.table("lenses"))
    curated = own.iloc[np.sort(stream.choice(len(own), 500, replace=False))]
    pd.DataFrame(
        {
            "contaminant_id": [f"curated-{number:04d}" for number in range(len(curated))],
            "ra": curated["ra"].to_numpy(),
            "dec": curated["dec"].to_numpy(),
            "galaxy_id": pd.Series([None] * len(curated), dtype=object),
            "category": np.where(np.arange(len(curated)) % 2 == 0, "ring", "merger"),
        }
    ).to_parquet(sky.table("contaminants"))
    _positives(own, stream).to_parquet(sky.table("positives"))


def _own_sources(sky: Sky, key: str) -> pd.DataFrame:
    names = [
        "galaxy_id", "brickname", "ra", "dec", "type", "nobs_z", "mag_g", "mag_r", "mag_z", "psfdepth_r_mag", "ebv",
        "maskbits", "shape_r", "shape_e1", "shape_e2", "sersic", "healpix_128", "sky_partition", "in_margin",
        *(f"{stem}_{band}" for stem in ("psfsize", "psfdepth", "galdepth") for band in "grz"),
    ]  # fmt: skip
    rows = pq.read_table(sky.sources(key), columns=names).to_pandas()
    return rows[~rows["in_margin"]].drop(columns="in_margin")


def _positives(own: pd.DataFrame, stream: np.random.Generator) -> pd.DataFrame:
    galaxies = own[(own["type"] != "PSF") & (own["mag_z"] < 20.0) & (own["nobs_z"] >= 3)]
    count = max(20, round(POSITIVES * len(own) / SURVEY_ROWS))
    rows = galaxies.iloc[np.sort(stream.choice(len(galaxies), count, replace=False))].reset_index(drop=True)
    number = np.arange(count)
    return rows.assign(
        lens_id=[f"lens-{index:05d}" for index in number],
        matched=True,
        separation_arcsec=0.06,
        tier=np.where(number % 12 == 0, "A", "B"),
        weight=np.where(number % 12 == 0, 1.0, 0.5),
        family="",
        confirmation=np.where(number % 5 == 0, "confirmed", "candidate"),
        evaluation_only=number % 9 == 0,
    )
