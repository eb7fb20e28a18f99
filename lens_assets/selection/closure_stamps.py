"""Closure at scale, the stamps: true lenses, other galaxies and injections of one simulated sky, drawn, cut and scored.

A unit of work is a batch; it depends on the job and on its number alone. True lenses are drawn by the sky's own ray
shooter. Injections pass through the lineage's own plan and renderer, and everything through its cutting, its quality
rules and the detector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.closure import ClosureSettings
from lens_assets.campaign.stages.features import QualitySettings, RegionSettings
from lens_assets.campaign.stages.injection import InjectionSettings
from lens_assets.campaign.stages.selection_function import GridSettings
from lens_assets.campaign.stages.simulated_sky import SimulatedSkySettings
from lens_assets.detector.frozen import Detector, load_detector
from lens_assets.digests import content_digest
from lens_assets.imaging.quality import quality_table
from lens_assets.imaging.stamps import StampReader, stamp_path, write_stamps
from lens_assets.lensing.injection import render_batches
from lens_assets.lensing.plan import eligible_hosts, grid_injections
from lens_assets.selection.grid import cells_of
from lens_assets.selection.transport import density_ratio, injection_covariates
from lens_assets.simulated.fields import Field, draw_field, render_field
from lens_assets.simulated.sky import LENS_COLUMNS
from lens_assets.sky import healpix
from lens_assets.sky.randomness import uniform
from lens_assets.survey.coadds import OK, BrickStamps, cut_stamps
from lens_assets.survey.sources import derived_columns
from lens_assets.survey.units import BANDS

JOB_VERSION = 1
NOT_CATALOGUED, NOT_SCANNED, BAD_STAMP = "not_catalogued", "not_scanned", "bad_stamp"
HOST_KINDS = ("massive_early_type", "early_type")
"""Classes with the morphology of lens hosts; the injections into others would speak for no lens of this sky."""
_HOST_TRUTH = ("kind", "radius_arcsec", "sersic_index", "axis_ratio", *(f"flux_{band}" for band in BANDS))
_CATALOGUE = (
    "ra", "dec", "type", "shape_r", "shape_e1", "shape_e2", "sersic", "ebv", "maskbits",
    *(f"{stem}_{band}" for stem in ("psfsize", "psfdepth", "mag") for band in BANDS),
    *(f"psfdepth_{band}_mag" for band in BANDS),
)  # fmt: skip


class NothingToCompareError(ValueError):
    """No true lens, or no galaxy for an injection, is left; the message says what to change."""


@dataclass(frozen=True)
class ClosureJob:
    """Everything that the stamps and their scores depend on.

    `detectors` maps a name to a frozen detector or to the folder of one, which other processes can open.
    """

    sky: SimulatedSkySettings
    injection: InjectionSettings
    grid: GridSettings
    regions: RegionSettings
    quality: QualitySettings
    mask_bits: tuple[int, ...]
    settings: ClosureSettings
    detectors: Mapping[str, Detector | Path]

    @property
    def stamp_pixels(self) -> int:
        """Side of the stamps."""
        return self.injection.renderer.stamp_pixels

    def digest(self) -> str:
        """Return the SHA-256 of settings and detectors; the number of processes is no part of it."""
        content = {
            "version": JOB_VERSION,
            "sky": self.sky.model_dump(mode="json", exclude={"workers"}),
            "injection": self.injection.model_dump(mode="json"),
            "grid": self.grid.model_dump(mode="json"),
            "regions": self.regions.model_dump(mode="json"),
            "quality": self.quality.model_dump(mode="json"),
            "mask_bits": self.mask_bits,
            "settings": self.settings.model_dump(mode="json", exclude={"workers"}),
            "detectors": {name: opened(item).digest for name, item in self.detectors.items()},
        }
        return content_digest(content)


def closure_job(
    sky: SimulatedSkySettings,
    injection: InjectionSettings,
    settings: ClosureSettings,
    detectors: Mapping[str, Detector | Path],
    grid: GridSettings,
    regions: RegionSettings,
    quality: QualitySettings,
    mask_bits: tuple[int, ...],
) -> ClosureJob:
    """Return the job of a campaign's settings: its sky under another seed, its injections under the stated ranges."""
    prior = settings.prior
    position = injection.source.position.model_copy(
        update={"mode": "range", "beta_over_theta_e": prior.beta_over_theta_e}
    )
    source = injection.source.model_copy(
        update={
            "mag_r": prior.mag_r,
            "half_light_radius_arcsec": prior.half_light_radius_arcsec,
            "axis_ratio": prior.axis_ratio,
            "position": position,
        }
    )
    return ClosureJob(
        sky=sky.model_copy(update={"seed": settings.seed}),
        injection=injection.model_copy(update={"seed": settings.seed, "source": source}),
        grid=grid,
        regions=regions,
        quality=quality,
        mask_bits=mask_bits,
        settings=settings,
        detectors=detectors,
    )


def opened(detector: Detector | Path) -> Detector:
    """Return a detector, loaded once a process where its folder is given."""
    return _loaded(detector) if isinstance(detector, Path) else detector


@lru_cache(maxsize=8)
def _loaded(folder: Path) -> Detector:
    return load_detector(folder)


def score_columns(job: ClosureJob, stamps: NDArray[np.float32], prefix: str) -> dict[str, NDArray[np.float64]]:
    """Return the scores of stamps (N, 3, H, W) as columns `<prefix>_<detector>`."""
    return {f"{prefix}_{name}": np.asarray(opened(item).score(stamps)) for name, item in job.detectors.items()}


def draw_objects(job: ClosureJob, role: str, numbers: range) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Return one row an object of a role ("lens" or "host") and the stamps of those rows whose status is ok.

    A row has `galaxy_id`, `status` (ok, not_catalogued, not_scanned: outside the types, magnitudes and masks of the
    scanned population, bad_stamp), what the catalogue says of the object, `true_*` of it, and a lens's parameters.
    """
    fields = [_field(job, role, f"{role}-{number:07d}") for number in numbers]
    table = pd.DataFrame([_truth(field) for field in fields])
    table = table.merge(_catalogued(fields), on="galaxy_id", how="left", validate="one_to_one")
    table["status"] = np.where(table["type"].isna(), NOT_CATALOGUED, np.where(_is_scanned(table, job), OK, NOT_SCANNED))
    wanted = np.flatnonzero(table["status"] == OK)
    cuts = [_cut(job, fields[number]) for number in wanted]
    stamps = np.concatenate([_no_stamps(job), *(cut.stamps for cut in cuts)])
    for number, band in enumerate(BANDS):
        table[f"sky_sigma_{band}"] = np.nan
        table.loc[wanted, f"sky_sigma_{band}"] = [float(cut.sky_sigma[0, number]) for cut in cuts]
    good = np.asarray([cut.status[0] == OK and (cut.zero_fraction[0] < 1.0).all() for cut in cuts], dtype=bool)
    good &= quality_table(stamps, job.regions, job.quality)["quality_ok"].to_numpy(dtype=bool)
    table.loc[wanted[~good], "status"] = BAD_STAMP
    return table, stamps[good]


def _no_stamps(job: ClosureJob) -> NDArray[np.float32]:
    return np.zeros((0, len(BANDS), job.stamp_pixels, job.stamp_pixels), dtype=np.float32)


def _field(job: ClosureJob, role: str, name: str) -> Field:
    return draw_field(job.sky, name, "lens" if role == "lens" else _host_kind(job, name), job.stamp_pixels)


def _host_kind(job: ClosureJob, name: str) -> str:
    """Draw the class of a host in proportion to what the sky holds."""
    counts = np.asarray([getattr(job.sky.population, kind) for kind in HOST_KINDS], dtype=np.float64)
    place = uniform(job.settings.seed, [name], "closure-kind")[0] * counts.sum()
    return HOST_KINDS[int(np.searchsorted(np.cumsum(counts), place, side="right"))]


def _truth(field: Field) -> dict[str, object]:
    row: dict[str, object] = {"galaxy_id": field.name}
    row |= {f"true_{name}": field.truth[name] for name in _HOST_TRUTH}
    return row | ({name: field.truth[name] for name in LENS_COLUMNS} if field.truth["kind"] == "lens" else {})


def _catalogued(fields: Sequence[Field]) -> pd.DataFrame:
    """Return what the catalogue says of the objects of the fields, one row each that is catalogued."""
    sources = pd.concat([field.source.assign(galaxy_id=field.name) for field in fields], ignore_index=True)
    columns = {str(name).lower(): sources[name].to_numpy() for name in sources.columns}
    columns |= derived_columns(columns)
    return pd.DataFrame({name: columns[name] for name in ("galaxy_id", *_CATALOGUE)})


def _is_scanned(table: pd.DataFrame, job: ClosureJob) -> NDArray[np.bool_]:
    """Return which rows are of the scanned population: of a host's type and magnitude, and under no mask."""
    hosts, bits = job.injection.hosts, sum(1 << bit for bit in job.mask_bits)
    masked = (table["maskbits"].fillna(0).astype(np.int64) & bits) != 0
    inside = table["mag_z"].between(hosts.mag_z.minimum, hosts.mag_z.maximum)
    return np.asarray(table["type"].isin(hosts.types) & inside & ~masked, dtype=bool)


def _cut(job: ClosureJob, field: Field) -> BrickStamps:
    return cut_stamps(render_field(job.sky, field), *field.position_px(), job.stamp_pixels, field.name)


def lens_unit(job: ClosureJob, numbers: range) -> pd.DataFrame:
    """Return the rows of true lenses, with `score_<detector>`; no score where the status is not ok."""
    table, stamps = draw_objects(job, "lens", numbers)
    ok = (table["status"] == OK).to_numpy()
    for name, scores in score_columns(job, stamps, "score").items():
        table[name] = np.nan
        table.loc[ok, name] = scores
    return table


def host_unit(job: ClosureJob, numbers: range, shard: str, stamps_file: Path) -> pd.DataFrame:
    """Return the rows of galaxies that are no lenses; the stamps of the usable ones go to `stamps_file`."""
    table, stamps = draw_objects(job, "host", numbers)
    ok = (table["status"] == OK).to_numpy()
    table["cutout_path"] = pd.Series([None] * len(table), dtype="object")
    table.loc[ok, "cutout_path"] = [stamp_path(shard, row) for row in range(int(ok.sum()))]
    write_stamps(stamps_file, table.loc[ok, "galaxy_id"].tolist(), stamps)
    return table


def plan_injections(job: ClosureJob, galaxies: pd.DataFrame, lenses: pd.DataFrame) -> pd.DataFrame:
    """Plan the injections into the usable galaxies, sorted by the host's stamp.

    A pool is drawn by the lineage's own rules. Both populations are known here before any pixel, so it is then thinned
    to that of the lenses (with COVARIATES): a draw is kept with a probability in proportion to the density of lenses
    over that of the pool at its covariates, cut at 1. The choice looks at drawn parameters alone.
    """
    if lenses.empty or not (galaxies["status"] == OK).any():
        raise NothingToCompareError(
            f"{len(lenses)} of {job.settings.lenses} true lenses lie in the grid and inside the prior's ranges, and "
            f"{int((galaxies['status'] == OK).sum())} of {job.settings.hosts} other galaxies can be hosts; draw more"
        )
    pool = _pool(job, galaxies)
    density = density_ratio(lenses, injection_covariates(pool), job.settings.estimate.folds, job.settings.seed)
    chance = np.minimum(density * (job.settings.injections / density.sum()), 1.0)
    kept = uniform(job.settings.seed, pool["injection_id"].tolist(), "closure-thinning") < chance
    return pool.loc[kept].sort_values(["host_cutout_path", "injection_id"], ignore_index=True)


def _pool(job: ClosureJob, galaxies: pd.DataFrame) -> pd.DataFrame:
    usable = galaxies.loc[galaxies["status"] == OK]
    design = job.injection.hosts.design
    cells = healpix.pixel_of(128, usable["ra"], usable["dec"])
    manifest = usable.drop(columns=["status", "sky_sigma_g", "sky_sigma_r", "sky_sigma_z"]).assign(
        **{f"in_{design}": True, f"sampling_weight_{design}": 1.0},
        label=0, split="test", quality_ok=True, healpix_128=cells, sky_partition="closure", region_id="closure",
        confuser_category=usable["true_kind"],
    )  # fmt: skip
    cutouts = usable[["cutout_path", "status", "sky_sigma_g", "sky_sigma_r", "sky_sigma_z"]]
    hosts, _ = eligible_hosts(manifest, cutouts, job.injection.hosts)
    conditions = list(cells_of(job.grid, hosts["psfsize_r"], hosts["psfdepth_r_mag"]))
    filled = len({key for key in conditions if key is not None}) * job.grid.theta_e_arcsec.count
    each = max(1, round(job.settings.pool / max(1, filled)))
    plan = grid_injections(hosts, conditions, job.grid.theta_e_edges_arcsec, each, job.injection, 0.0)
    truth = usable[["galaxy_id", *(f"true_{name}" for name in _HOST_TRUTH)]]
    return plan.merge(truth, on="galaxy_id", validate="many_to_one")


def injection_unit(job: ClosureJob, rows: pd.DataFrame, locate: Callable[[str], Path]) -> pd.DataFrame:
    """Return the truth of rendered injections with `score_<detector>`; no score where the status is not 0."""
    reader = StampReader(locate)
    batches = list(render_batches(rows, reader.read, job.injection))
    truth = pd.concat([batch.truth for batch in batches], ignore_index=True)
    rendered = (truth["status"] == 0).to_numpy()
    stamps = np.concatenate([batch.stamps for batch in batches])[rendered]
    for name, scores in score_columns(job, stamps, "score").items():
        truth[name] = np.nan
        truth.loc[rendered, name] = scores
    return truth
