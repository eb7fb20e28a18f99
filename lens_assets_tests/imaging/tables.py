"""Small sample, cutout and feature tables with known content."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lens_assets.imaging.quality import QUALITY_COLUMNS

SPLIT_OF_CELL = {0: "train", 1: "val", 2: "test"}


def sample_table(count: int = 60, seed: int = 0, designs: tuple[str, ...] = ("baseline",)) -> pd.DataFrame:
    """Return a stratified sample: positives first in id, one degree of sky a split, rows 3 arcmin apart."""
    rng = np.random.default_rng(seed)
    index = np.arange(count)
    cell = index % 3
    label = (index < count // 3).astype("int64")
    frame = pd.DataFrame(
        {
            "galaxy_id": [f"10000_{i % 7}_{i:04d}" for i in index],
            "label": label,
            "tier": np.where(label == 1, np.where(index % 2 == 0, "A", "B"), np.where(index % 2 == 0, "N1", "N2")),
            "pool": np.where(label == 1, None, np.where(index % 2 == 0, "N1", "N2")),
            "confuser_category": np.where((label == 0) & (index % 2 == 1), "ring", None),
            "split": [SPLIT_OF_CELL[c] for c in cell],
            "healpix_128": 1000 + cell * 10 + index % 4,
            "sky_partition": np.where(cell == 2, "hp04-002", "hp04-001"),
            "region_id": cell.astype("int64"),
            "fold": cell.astype("int64"),
            "ra": 10.0 + cell * 1.0 + (index // 3 % 10) * 0.05,
            "dec": 1.0 + (index // 30) * 0.05,
            "brickname": np.where(index % 2 == 0, "0100p010", "0101p010"),
            "type": rng.choice(["SER", "DEV", "REX"], count),
            "type_bin": "SER",
            "nobs_z": rng.integers(3, 9, count).astype("int64"),
            "nobs_z_bin": "3-5",
            "stratum": "SER|3-5",
            "sample_weight": np.where(label == 1, 0.5, 1.0),
            "sampling_weight": np.where(label == 1, 1.0, 40.0),
            "lens_id": [f"lens-{i}" if i < count // 3 else None for i in index],
            "family": [("SLACS" if i % 2 else "DESI imaging") if i < count // 3 else None for i in index],
            "confirmation": ["candidate" if i < count // 3 else None for i in index],
            "evaluation_only": False,
            "maskbits": np.zeros(count, "int64"),
            "ebv": rng.uniform(0.02, 0.1, count),
            "shape_r": rng.uniform(0.5, 3, count).astype("f4"),
            "shape_e1": rng.normal(0, 0.1, count).astype("f4"),
            "shape_e2": rng.normal(0, 0.1, count).astype("f4"),
            "sersic": rng.uniform(1, 5, count).astype("f4"),
        }
    )
    for band in "grz":
        frame[f"mag_{band}"] = rng.uniform(17, 20, count)
        frame[f"psfsize_{band}"] = rng.uniform(1.0, 1.6, count).astype("f4")
        frame[f"psfdepth_{band}"] = rng.uniform(500, 900, count).astype("f4")
        frame[f"galdepth_{band}"] = rng.uniform(300, 600, count).astype("f4")
    return pd.concat([frame.assign(design=design) for design in designs], ignore_index=True)


def cutouts_table(sample: pd.DataFrame) -> pd.DataFrame:
    """Return an index of stamps in which every sampled galaxy has one."""
    objects = sample.drop_duplicates("galaxy_id")
    row = objects.groupby("sky_partition").cumcount()
    path = [f"{key}#{number}" for key, number in zip(objects["sky_partition"], row, strict=True)]
    return objects[["galaxy_id", "ra", "dec", "brickname", "sky_partition"]].assign(cutout_path=path, status="ok")


def features_table(sample: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """Return features of good stamps whose positives all show arcs; one feature, leaky, knows the label."""
    rng = np.random.default_rng(seed)
    objects = sample.drop_duplicates("galaxy_id")
    count = len(objects)
    table = pd.DataFrame({name: rng.normal(size=count) for name in QUALITY_COLUMNS})
    for band in "grz":
        table[f"nan_count_{band}"] = np.zeros(count, "int64")
        table[f"has_{band}"] = True
    label = objects["label"].to_numpy()
    return table.assign(
        galaxy_id=objects["galaxy_id"].to_numpy(),
        cutout_path=cutouts_table(sample)["cutout_path"].to_numpy(),
        quality_ok=True,
        quality_reason="ok",
        arc_visibility=np.where(label == 1, 20.0, 0.0),
        noise_correlation_r=rng.normal(size=count),
        leaky=label * 3.0 + rng.normal(size=count),
    )


def no_systems() -> pd.DataFrame:
    """Return an empty list of evaluation-only systems."""
    return pd.DataFrame({"galaxy_id": [], "ra": [], "dec": []}).astype({"galaxy_id": "str", "ra": float, "dec": float})
