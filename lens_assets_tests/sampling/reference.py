"""The rules of the pool and of the sample, written a second time in plain Python for one row after another."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from typing import Any

import pandas as pd

from lens_assets.campaign.stages.negatives import NegativesSettings
from lens_assets.campaign.stages.sampling import StratifiedDesign

ORDER = ("coordinates", "footprint", "type", "maskbits", "nobs", "mag_z", "exclusion", "unique")


def _number(value: Any) -> float | None:
    if value is None or value is pd.NA:
        return None
    number = float(value)
    return None if math.isnan(number) else number


def _mask(bits: tuple[int, ...]) -> int:
    return sum(2**bit for bit in bits)


def filters(row: Any, separation: float | None, first_of_id: bool, settings: NegativesSettings) -> dict[str, bool]:
    """Return the published filters of one source."""
    rule = settings.filters
    ra, dec, mag_z = _number(row.ra), _number(row.dec), _number(row.mag_z)
    return {
        "coordinates": ra is not None and dec is not None and 0 <= ra <= 360 and -90 <= dec <= 90,
        "footprint": dec is not None and rule.dec_min_deg < dec < rule.dec_max_deg,
        "type": row.type in rule.types,
        "maskbits": int(row.maskbits) & _mask(rule.mask_bits) == 0,
        "nobs": min(row.nobs_g, row.nobs_r, row.nobs_z) >= rule.nobs_min,
        "mag_z": mag_z is not None and mag_z < rule.mag_z_max,
        "exclusion": separation is None or separation > rule.exclusion_radius_arcsec,
        "unique": first_of_id,
    }


def classes(row: Any, similar_neighbours: int, settings: NegativesSettings) -> dict[str, bool]:
    """Return the confuser classes of one source, in the order that decides."""
    c = settings.confusers
    g_r, mag_r, flux_r = _number(row.g_minus_r), _number(row.mag_r), _number(row.flux_r)
    size, sersic, eps, near = (_number(getattr(row, n)) for n in ("shape_r", "sersic", "ellipticity", "fracflux_r"))

    def least(value: float | None, limit: float) -> bool:
        return value is not None and value >= limit

    def most(value: float | None, limit: float) -> bool:
        return value is not None and value <= limit

    elongated = least(eps, c.edge_on.ellipticity_min) and least(size, c.edge_on.shape_r_min_arcsec)
    unknown = eps is None and least(size, c.edge_on.shape_r_min_without_ellipticity_arcsec)
    peaked = row.type == "DEV" or (row.type == "SER" and least(sersic, c.ring.sersic_min))
    extended = settings.extensions.confuser_classes
    return {
        "ring_proxy": peaked and least(flux_r, c.ring.flux_r_min_nanomaggies),
        "edge_on_proxy": row.type in ("EXP", "SER", "DEV") and (elongated or unknown),
        "blue_clumpy_proxy": most(g_r, c.blue_clumpy.g_minus_r_max) and most(mag_r, c.blue_clumpy.mag_r_max),
        "large_galaxy_proxy": least(size, c.large_galaxy.shape_r_min_arcsec)
        and least(flux_r, c.large_galaxy.flux_r_min_nanomaggies),
        "merger_neighbour_proxy": extended and (similar_neighbours > 0 or least(near, c.merger.fracflux_r_min)),
        "spiral_proxy": extended and most(g_r, c.spiral.g_minus_r_max) and least(size, c.spiral.shape_r_min_arcsec),
        "pointy_core_proxy": extended
        and least(sersic, c.pointy_core.sersic_min)
        and most(size, c.pointy_core.shape_r_max_arcsec),
        "bright_star_artefact": extended and int(row.maskbits) & _mask(c.bright_star.mask_bits) != 0,
    }


def pool_of(
    row: Any, passed: dict[str, bool], matched: dict[str, bool], curated: str | None, settings: NegativesSettings
) -> tuple[str | None, str | None]:
    """Return (pool, category) of one source."""
    extensions = settings.extensions
    if not all(passed[name] for name in ORDER if name not in ("type", "maskbits")):
        return None, None
    obeying = [name for name, match in matched.items() if match and name != "bright_star_artefact"]
    may_confuse = passed["type"] or row.type in extensions.n2_extra_types
    if may_confuse and passed["maskbits"] and (curated or obeying):
        return "N2", curated or obeying[0]
    if may_confuse and matched["bright_star_artefact"]:
        return "N2", curated or "bright_star_artefact"
    if not passed["maskbits"]:
        return None, None
    return ("N1", None) if passed["type"] else ("N1b", None) if row.type in extensions.n1b_types else (None, None)


def pool_table(
    sources: pd.DataFrame, neighbourhood: pd.DataFrame, settings: NegativesSettings
) -> dict[tuple[str, int], dict[str, Any]]:
    """Return by (galaxy_id, row_index) what the pool must say of each source that is not in the margin."""
    around = {row.galaxy_id: row for row in neighbourhood.itertuples()}
    rows = list(sources[~sources["in_margin"]].sort_values(["sweep_file", "row_index"]).itertuples())
    seen: set[str] = set()
    found = {}
    for row in rows:
        near = around.get(row.galaxy_id)
        separation = _number(near.exclusion_separation_arcsec) if near is not None else None
        curated = near.contaminant_category if near is not None and isinstance(near.contaminant_category, str) else None
        passed = filters(row, separation, row.galaxy_id not in seen, settings)
        matched = classes(row, int(near.similar_neighbours) if near is not None else 0, settings)
        pool, category = pool_of(row, passed, matched, curated, settings)
        failed = next((name for name in ORDER if not passed[name]), None)
        found[(row.galaxy_id, row.row_index)] = {
            **{f"pass_{name}": value for name, value in passed.items()},
            **{f"n2_{name}": value for name, value in matched.items()},
            "pool": pool,
            "confuser_category": category,
            "first_failed_filter": failed,
        }
        seen.add(row.galaxy_id)
    return found


def draw_order(galaxy_id: str, seed: int) -> tuple[str, str]:
    """Return the key by which sources are drawn."""
    return hashlib.sha256(f"{galaxy_id}_{seed}".encode()).hexdigest(), galaxy_id


def bin_of(count: int, design: StratifiedDesign) -> tuple[int, str]:
    """Return (ordinal, label) of an exposure count."""
    for ordinal, item in enumerate(design.nobs_z_bins, start=1):
        if count >= item.low and (item.high is None or count <= item.high):
            return ordinal, item.label
    return 0, "none"


def draw(
    pool: pd.DataFrame, lenses: pd.DataFrame, design: StratifiedDesign, seed: int
) -> tuple[set[str], dict[tuple[str, str, int], int]]:
    """Return the ids of the negatives of a design and the N1 shortfall by (split, type, bin).

    `pool` and `lenses` hold galaxy_id, split, type, nobs_z; `pool` also pool. Lenses are one row a source.
    """
    lens_ids = set(lenses["galaxy_id"])
    wanted: dict[tuple[str, str, int], int] = defaultdict(int)
    for row in lenses.itertuples():
        wanted[(row.split, row.type if row.type != "PSF" else "other", bin_of(row.nobs_z, design)[0])] += 1
    there: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    confusers: dict[str, list[str]] = defaultdict(list)
    for row in pool.itertuples():
        if row.galaxy_id in lens_ids or row.pool not in ("N1", "N2"):
            continue
        if row.pool == "N2":
            confusers[row.split].append(row.galaxy_id)
        else:
            there[(row.split, row.type, bin_of(row.nobs_z, design)[0])].append(row.galaxy_id)
    ratio, share = design.negatives_per_positive, design.n2_fraction
    target_n1 = {key: math.floor(count * ratio * (1 - share) + 0.5) for key, count in wanted.items()}
    strata = set(there) | set(wanted)
    take = {key: min(len(there[key]), target_n1.get(key, 0)) for key in strata}
    lacking = {key: target_n1.get(key, 0) - take[key] for key in strata}
    for step in (1, -1):
        for key in sorted(strata):
            giver = (key[0], key[1], key[2] + step)
            if giver not in strata or not lacking[key]:
                continue
            given = min(lacking[key], len(there[giver]) - take[giver])
            take[giver] += given
            lacking[key] -= given
    drawn = {name for key in strata for name in sorted(there[key], key=lambda n: draw_order(n, seed))[: take[key]]}
    for split in {key[0] for key in strata}:
        found = sum(count for key, count in take.items() if key[0] == split)
        lenses_there = sum(count for key, count in wanted.items() if key[0] == split)
        quota = math.floor(lenses_there * ratio * share + 0.5)
        quota = min(quota, math.floor(found * share / (1 - share) + 0.5), len(confusers[split]))
        drawn |= set(sorted(confusers[split], key=lambda n: draw_order(n, seed))[:quota])
    return drawn, {key: value for key, value in lacking.items() if value}
