"""The sampling chain a second time in pandas, numpy and scipy, vectorised, over the whole table in memory.

Independent of the SQL models: the peer of the benchmark, and the check that all engines draw the same sources. Reads
only the columns it needs and cuts as early as it can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from lens_assets.campaign.stages.negatives import CountBin, NegativesSettings
from lens_assets.campaign.stages.sampling import StratifiedDesign

COLUMNS = [
    "galaxy_id", "brickname", "ra", "dec", "type", "nobs_g", "nobs_r", "nobs_z", "flux_r", "mag_g", "mag_r", "mag_z",
    "g_minus_r", "psfsize_g", "psfsize_r", "psfsize_z", "psfdepth_g", "psfdepth_r", "psfdepth_z", "galdepth_g",
    "galdepth_r", "galdepth_z", "ebv", "maskbits", "shape_r", "shape_e1", "shape_e2", "sersic", "ellipticity",
    "fracflux_r", "healpix_128", "sky_partition", "in_margin",
]  # fmt: skip


def sample(
    files: Sequence[Path],
    lenses: pd.DataFrame,
    contaminants: pd.DataFrame,
    cells: pd.DataFrame,
    positives: pd.DataFrame,
    rules: NegativesSettings,
    design: StratifiedDesign,
    seed: int,
) -> pd.DataFrame:
    """Return the negatives of a design, with the columns of the sources that were read."""
    parts = [pd.read_parquet(path, columns=COLUMNS) for path in files]
    starts = np.cumsum([0, *map(len, parts[:-1])]).tolist()
    every = pd.concat(parts, ignore_index=True)
    del parts
    every["neighbours"] = _neighbours(every, starts, rules)
    sources = every[~every["in_margin"] & _filters(every, rules)]
    del every
    sources = sources[~_near(sources, lenses, rules.filters.exclusion_radius_arcsec)]
    sources = sources.drop_duplicates("galaxy_id")
    sources = _pools(sources, _curated(sources, contaminants, rules), rules)
    sources = sources[sources["pool"].notna() & ~sources["galaxy_id"].isin(positives["galaxy_id"])]
    sources = sources.merge(cells, on="healpix_128")
    return _draw(sources, _lenses(positives, cells), design, seed)


def _vectors(frame: pd.DataFrame) -> np.ndarray:
    ra, dec = np.radians(frame["ra"].to_numpy()), np.radians(frame["dec"].to_numpy())
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _chord(arcsec: float) -> float:
    return float(2.0 * np.sin(np.radians(arcsec / 3600.0) / 2.0))


def _neighbours(sources: pd.DataFrame, starts: Sequence[int], rules: NegativesSettings) -> np.ndarray:
    """Similar neighbours by partition: a partition's rows and its margin are neighbours of one another."""
    merger = rules.confusers.merger
    counts = np.zeros(len(sources), dtype=np.int64)
    for rows in np.split(np.arange(len(sources)), starts[1:]):
        mag = sources["mag_z"].to_numpy()[rows]
        there = rows[np.isfinite(mag)]
        vectors = _vectors(sources.iloc[there])
        pairs = cKDTree(vectors, balanced_tree=False, compact_nodes=False).query_pairs(
            _chord(merger.separation_max_arcsec), output_type="ndarray"
        )
        one, two = pairs.T
        chord = np.linalg.norm(vectors[one] - vectors[two], axis=1)
        bright = sources["mag_z"].to_numpy()[there]
        keep = (chord >= _chord(merger.separation_min_arcsec)) & (
            np.abs(bright[one] - bright[two]) <= merger.delta_mag_z_max
        )
        np.add.at(counts, there[np.concatenate([one[keep], two[keep]])], 1)
    return counts


def _filters(frame: pd.DataFrame, rules: NegativesSettings) -> np.ndarray:
    limits = rules.filters
    good = (
        (frame["mag_z"] < limits.mag_z_max) & (frame["dec"] > limits.dec_min_deg) & (frame["dec"] < limits.dec_max_deg)
    )
    for band in "grz":
        good &= frame[f"nobs_{band}"] >= limits.nobs_min
    extension = rules.extensions
    return (good & frame["type"].isin([*limits.types, *extension.n1b_types, *extension.n2_extra_types])).to_numpy(bool)


def _near(frame: pd.DataFrame, lenses: pd.DataFrame, radius_arcsec: float) -> np.ndarray:
    distance, _ = cKDTree(_vectors(lenses)).query(_vectors(frame), distance_upper_bound=_chord(radius_arcsec))
    return np.isfinite(distance)


def _curated(frame: pd.DataFrame, contaminants: pd.DataFrame, rules: NegativesSettings) -> pd.Series:
    """Categories of the curated contaminants. Each was made at the position of its source, so that is the nearest."""
    tree = cKDTree(_vectors(contaminants))
    reach = _chord(rules.contaminant_match_radius_arcsec)
    distance, index = tree.query(_vectors(frame), distance_upper_bound=reach)
    found = pd.Series(index[distance < _chord(1e-3)], index=frame.index[distance < _chord(1e-3)])
    return found.map(contaminants["category"]).reindex(frame.index)


def _mask(bits: Sequence[int]) -> int:
    return sum(1 << bit for bit in bits)


def _pools(frame: pd.DataFrame, curated: pd.Series, rules: NegativesSettings) -> pd.DataFrame:
    limits, extension, c = rules.filters, rules.extensions, rules.confusers
    kind, size, flux = frame["type"], frame["shape_r"].astype(float), frame["flux_r"].astype(float)
    published = kind.isin(list(limits.types))
    clean = (frame["maskbits"] & _mask(limits.mask_bits)) == 0
    sersic, red = frame["sersic"].astype(float), frame["g_minus_r"]
    matches = {
        "ring_proxy": ((kind == "DEV") | ((kind == "SER") & (sersic >= c.ring.sersic_min)))
        & (flux >= c.ring.flux_r_min_nanomaggies),
        "edge_on_proxy": kind.isin(["EXP", "SER", "DEV"])
        & (
            ((frame["ellipticity"] >= c.edge_on.ellipticity_min) & (size >= c.edge_on.shape_r_min_arcsec))
            | (frame["ellipticity"].isna() & (size >= c.edge_on.shape_r_min_without_ellipticity_arcsec))
        ),
        "blue_clumpy_proxy": (red <= c.blue_clumpy.g_minus_r_max) & (frame["mag_r"] <= c.blue_clumpy.mag_r_max),
        "large_galaxy_proxy": (size >= c.large_galaxy.shape_r_min_arcsec)
        & (flux >= c.large_galaxy.flux_r_min_nanomaggies),
        "merger_neighbour_proxy": (frame["neighbours"] > 0)
        | (frame["fracflux_r"].astype(float) >= c.merger.fracflux_r_min),
        "spiral_proxy": (red <= c.spiral.g_minus_r_max) & (size >= c.spiral.shape_r_min_arcsec),
        "pointy_core_proxy": (sersic >= c.pointy_core.sersic_min) & (size <= c.pointy_core.shape_r_max_arcsec),
    }
    category = curated.astype(object)
    for name, match in matches.items():
        category = category.mask(category.isna() & match, name)
    category = category.where(clean)
    star = (frame["maskbits"] & _mask(c.bright_star.mask_bits)) != 0
    category = category.mask(category.isna() & star, curated.astype(object).fillna("bright_star_artefact"))
    category = category.where(published | kind.isin(list(extension.n2_extra_types)))
    pool = pd.Series(np.where(published & clean, "N1", None), index=frame.index, dtype=object)
    return frame.assign(confuser_category=category, pool=pool.mask(category.notna(), "N2"))


def _lenses(positives: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    ordered = positives.sort_values(["tier", "separation_arcsec", "lens_id"]).drop_duplicates("galaxy_id")
    lenses = ordered.merge(cells[["healpix_128", "split"]], on="healpix_128")
    return lenses[~(lenses["evaluation_only"] & (lenses["split"] == "train"))]


def _stratum(frame: pd.DataFrame, bins: Sequence[CountBin]) -> pd.DataFrame:
    ordinal = np.zeros(len(frame), dtype=np.int64)
    for number, item in enumerate(bins, start=1):
        held = (frame["nobs_z"] >= item.low) & (frame["nobs_z"] <= (item.high or 32767))
        ordinal[held.to_numpy(bool)] = number
    kind = frame["type"].where(frame["type"].isin(["SER", "DEV", "REX", "EXP"]), "other")
    return frame.assign(ordinal=ordinal, type_bin=kind)


def _draw(sources: pd.DataFrame, lenses: pd.DataFrame, design: StratifiedDesign, seed: int) -> pd.DataFrame:
    keys = ["split", "type_bin", "ordinal"]
    sources, lenses = _stratum(sources, design.nobs_z_bins), _stratum(lenses, design.nobs_z_bins)
    wanted = lenses.groupby(keys).size()
    there = sources[sources["pool"] == "N1"].groupby(keys).size()
    quota, n2 = _quotas(wanted, there, design)
    sources["hash"] = [hashlib.sha256(f"{name}_{seed}".encode()).hexdigest() for name in sources["galaxy_id"]]
    sources = sources.sort_values(["hash", "galaxy_id"])
    first, second = sources[sources["pool"] == "N1"], sources[sources["pool"] == "N2"]
    limit = pd.MultiIndex.from_frame(first[keys]).map(quota).to_numpy(float)
    first = first[first.groupby(keys).cumcount().to_numpy() < np.nan_to_num(limit)]
    second = second[second.groupby("split").cumcount() < second["split"].map(n2).fillna(0)]
    return pd.concat([first, second])


def _quotas(
    wanted: pd.Series, there: pd.Series, design: StratifiedDesign
) -> tuple[dict[tuple[str, str, int], int], dict[str, int]]:
    """N1 by stratum with what neighbouring exposure bins lack, and N2 by split, as the models define them."""
    ratio, share = design.negatives_per_positive, design.n2_fraction
    n1 = {key: int(np.floor(count * ratio * (1 - share) + 0.5)) for key, count in wanted.items()}
    keys = set(n1) | set(there.index)
    own = {key: min(int(there.get(key, 0)), n1.get(key, 0)) for key in keys}
    spare = {key: int(there.get(key, 0)) - own[key] for key in keys}
    lacking = {key: n1.get(key, 0) - own[key] for key in keys}
    quota = dict(own)
    gave_below: dict = {}
    for split, kind, ordinal in keys:
        below = (split, kind, ordinal - 1)
        gave_below[(split, kind, ordinal)] = min(lacking.get(below, 0), spare[(split, kind, ordinal)])
    got_above = {key: min(lacking[key], spare.get((key[0], key[1], key[2] + 1), 0)) for key in keys}
    for key in keys:
        above = (key[0], key[1], key[2] + 1)
        still = lacking.get(above, 0) - got_above.get(above, 0)
        quota[key] += gave_below[key] + min(max(still, 0), spare[key] - gave_below[key])
    splits = {key[0] for key in keys}
    n2 = {}
    for split in splits:
        held = [key for key in keys if key[0] == split]
        matching = int(np.floor(sum(quota[key] for key in held) * share / (1 - share) + 0.5))
        lenses = sum(int(wanted.get(key, 0)) for key in held)
        n2[split] = min(int(np.floor(lenses * ratio * share + 0.5)), matching)
    return quota, n2
