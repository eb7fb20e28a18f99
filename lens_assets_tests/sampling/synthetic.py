"""Synthetic rows of the sampling stage, with every awkward value: nulls, NaN, ties, negative flux, unicode ids."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from lens_assets.campaign.campaign import CAMPAIGNS_FOLDER
from lens_assets.campaign.stages.negatives import NegativesSettings
from lens_assets.campaign.stages.sampling import SamplingSettings
from lens_assets.sky.healpix import pixel_of
from lens_assets.sky.splits import split_table

FRACTIONS = {"train": 0.5, "val": 0.2, "test": 0.3}


@cache
def negatives_settings() -> NegativesSettings:
    """Negatives of the demo campaign."""
    return _load("negatives", NegativesSettings)


@cache
def sampling_settings() -> SamplingSettings:
    """Sampling of the demo campaign."""
    return _load("sampling", SamplingSettings)


def _load(stage, model):  # type: ignore[no-untyped-def]
    import json

    import yaml

    content = yaml.safe_load((CAMPAIGNS_FOLDER / "demo" / f"{stage}.yaml").read_text(encoding="utf-8"))
    return model.model_validate_json(json.dumps(content))


def sources(count: int, seed: int, clean: bool = False) -> pd.DataFrame:
    """Return `count` rows of `sweep_sources`; without `clean`, a tenth of most values is null, NaN or on a threshold."""  # noqa: E501
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(150.0, 156.0, count), rng.uniform(-19.0 if not clean else 0.0, 6.0, count)
    flux = {band: rng.lognormal(2.5, 1.0, count) for band in ("g", "r", "z", "w1")}
    if not clean:
        for values in flux.values():
            values[rng.random(count) < 0.05] *= -1.0
    mag = {band: np.where(f > 0, 22.5 - 2.5 * np.log10(np.abs(f)), np.nan) for band, f in flux.items()}
    frame = pd.DataFrame(
        {
            "galaxy_id": [f"10000_{100 + i // 50}_{i}" if clean or i % 97 else f"10000_Ω{i}_é" for i in range(count)],
            "brickname": "1500p000",
            "objid": np.arange(count, dtype=np.int32),
            "ra": ra,
            "dec": dec,
            "type": rng.choice(["SER", "DEV", "REX", "EXP", "PSF"], count, p=[0.35, 0.2, 0.2, 0.15, 0.1]),
            **{f"nobs_{band}": rng.integers(1 if not clean else 3, 14, count).astype(np.int16) for band in "grz"},
            **{f"flux_{band}": values.astype(np.float32) for band, values in flux.items()},
            **{f"mag_{band}": mag[band] for band in "grz"},
            "g_minus_r": mag["g"] - mag["r"],
            "r_minus_z": mag["r"] - mag["z"],
            "z_minus_w1": mag["z"] - mag["w1"],
            **{f"psfsize_{band}": rng.uniform(0.9, 2.0, count).astype(np.float32) for band in "grz"},
            **{f"psfdepth_{band}": rng.uniform(100, 900, count).astype(np.float32) for band in "grz"},
            "psfdepth_r_mag": rng.uniform(23.5, 25.5, count),
            **{f"galdepth_{band}": rng.uniform(80, 700, count).astype(np.float32) for band in "grz"},
            "ebv": rng.uniform(0.0, 0.3, count).astype(np.float32),
            "maskbits": rng.choice([0, 0, 0, 0, 1, 2, 4, 32, 1024, 2048, 2050, 4096, 65536], count).astype(np.int32),
            "fitbits": np.zeros(count, dtype=np.int16),
            **{f"mw_transmission_{band}": rng.uniform(0.7, 1.0, count).astype(np.float32) for band in "grz"},
            "shape_r": rng.lognormal(0.0, 0.6, count).astype(np.float32),
            "shape_e1": rng.normal(0.0, 0.3, count).astype(np.float32),
            "shape_e2": rng.normal(0.0, 0.3, count).astype(np.float32),
            "sersic": rng.choice([1.0, 2.5, 4.0, 5.0, 6.0], count).astype(np.float32),
            "fracflux_r": rng.exponential(0.15, count).astype(np.float32),
            "in_margin": rng.random(count) < 0.05,
            "sweep_file": "sweep-150m020-155p005.fits",
            "row_index": np.arange(count, dtype=np.int64),
            "sky_partition": "hp04-077",
        }
    )
    frame["ellipticity"] = np.hypot(frame["shape_e1"].astype(float), frame["shape_e2"].astype(float))
    if not clean:
        _spoil(frame, rng)
    frame["healpix_64"] = pixel_of(64, ra, dec)
    frame["healpix_128"] = pixel_of(128, ra, dec)
    return frame


def _spoil(frame: pd.DataFrame, rng: np.random.Generator) -> None:
    """Put NaN into measured columns, and values that lie exactly on thresholds."""
    on_threshold = {"mag_z": 20.0, "shape_r": 2.0, "ellipticity": 0.5, "g_minus_r": 0.4, "mag_r": 20.5, "flux_r": 5.0}
    for column in ("mag_z", "shape_r", "ellipticity", "g_minus_r", "mag_r", "flux_r", "sersic", "fracflux_r"):
        draw = rng.random(len(frame))
        frame.loc[draw < 0.08, column] = np.nan
        if column in on_threshold:
            frame.loc[draw > 0.95, column] = on_threshold[column]


def neighbourhood(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return a `source_neighbourhood` of a tenth of the rows."""
    rng = np.random.default_rng(seed)
    picked = frame.loc[rng.random(len(frame)) < 0.2, "galaxy_id"].drop_duplicates()
    count = len(picked)
    separation = rng.choice([0.4, 7.0, 11.0, 11.5, np.nan], count)
    return pd.DataFrame(
        {
            "galaxy_id": picked.to_numpy(),
            "exclusion_separation_arcsec": separation,
            "similar_neighbours": rng.integers(0, 3, count),
            "contaminant_category": rng.choice(np.asarray([None, None, None, "ring", "spiral"], dtype=object), count),
        }
    )


def cells_of(frame: pd.DataFrame, seed: int = 42) -> pd.DataFrame:
    """Return split cells of the rows."""
    table = split_table(
        frame["healpix_128"].to_numpy(),
        nside=128, seed=seed, fractions=FRACTIONS, hash_nside=128, region_nside=16, folds=3,
    )  # fmt: skip
    return table.assign(sky_partition="hp04-077")


def positives(frame: pd.DataFrame, count: int, cells: pd.DataFrame) -> pd.DataFrame:
    """Return `positives` whose sources are the first rows of `frame`, and one that matched nothing."""
    rows = frame[~frame["in_margin"]].head(count).reset_index(drop=True)
    split = rows["healpix_128"].map(cells.set_index("healpix_128")["split"])
    matched = rows.assign(
        lens_id=[f"lens-{index:04d}" for index in range(len(rows))],
        matched=True,
        separation_arcsec=0.05,
        tier=np.where(np.arange(len(rows)) % 4 == 0, "A", "B"),
        weight=np.where(np.arange(len(rows)) % 4 == 0, 1.0, 0.5),
        family="",
        confirmation=np.where(np.arange(len(rows)) % 5 == 0, "confirmed", "candidate"),
        evaluation_only=np.arange(len(rows)) % 7 == 0,
        split=split,
    )
    lost = matched.iloc[:1].assign(lens_id="lens-lost", matched=False, galaxy_id=None)
    return pd.concat([matched, lost], ignore_index=True)
