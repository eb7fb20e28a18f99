"""Rendering injections: parameters and host stamps in, injected stamps and their truth out.

The bytes of a stamp depend on its row, its host and the settings; not on the batch it was rendered in, nor on the
number of threads (each renders its own stamps, with one thread of torch). A null injection (zero flux) is its host,
byte for byte. Exact zeros of a host are pixels without data and stay zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lens_assets.campaign.stages.injection import FileSettings, InjectionSettings, RendererSettings
from lens_assets.lensing.canvas import Canvas
from lens_assets.lensing.compiled import light_on
from lens_assets.lensing.geometry import pixel_centres_arcsec
from lens_assets.lensing.image_sources import SourceImage, shoot_images
from lens_assets.lensing.images import KEPT_IMAGES, find_images, multiply_imaged_area_arcsec2
from lens_assets.lensing.mass import mass_to
from lens_assets.lensing.noise import added_noise, inferred_gain
from lens_assets.lensing.priors import PARAMETER_COLUMNS
from lens_assets.lensing.psf import PsfImages
from lens_assets.lensing.sources import lens_of, source_fluxes, source_pictures, source_profiles
from lens_assets.lensing.status import InjectionStatus
from lens_assets.survey.units import BANDS, PIXEL_SCALE_ARCSEC, flux_to_mag
from lens_assets.workers import in_order, worker_count

ARC_ANNULUS_PX = (4.0, 16.0)
"""Where `arc_snr` is summed: beyond the host's core, within the reach of galaxy-scale Einstein radii."""

WIDEST_PSF_SHARE = 0.25
PHYSICAL_RANGES = {
    "theta_e_arcsec": (-1e-12, np.inf), "lens_axis_ratio": (0.0, 1.0), "lens_density_slope": (1.0, 3.0 - 1e-9),
    "source_half_light_radius_arcsec": (0.0, np.inf), "source_sersic_index": (0.0, np.inf),
    "source_axis_ratio": (0.0, 1.0),
}  # fmt: skip
"""Above the first and up to the second number; what lies outside is flagged, not rendered."""

PSF_COLUMNS = tuple(f"psfsize_{band}" for band in BANDS)
SIGMA_COLUMNS = tuple(f"sky_sigma_{band}" for band in BANDS)

CORES_OF_A_BATCH = 2
"""Threads that render at the same time; further cores take other partitions."""

Progress = Callable[[int, int], None]
HostReader = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class RenderResult:
    """Injected stamps (N, 3, H, W) in nanomaggies, the arcs alone without noise, and one truth row each."""

    stamps: NDArray[np.float32]
    arcs: NDArray[np.float32]
    truth: pd.DataFrame


def null_injections(plan_rows: pd.DataFrame) -> pd.DataFrame:
    """Return the same injections with sources of zero flux."""
    return plan_rows.assign(source_mag_r=np.inf)


def render_injections(
    plan_rows: pd.DataFrame,
    host_stamps: NDArray[np.float32],
    settings: InjectionSettings,
    progress: Progress | None = None,
    source_images: Sequence[SourceImage] | None = None,
) -> RenderResult:
    """Render all rows onto `host_stamps` (N, 3, H, W), in row order; `render_batches` is for more than memory holds.

    `source_images`, one for each row, take the place of the Sersic sources; magnitudes, colours, positions and angles
    stay those of the rows.
    """
    position = {path: row for row, path in enumerate(plan_rows["injection_id"].astype(str))}

    def read(identifiers: Sequence[str]) -> NDArray[np.float32]:
        return host_stamps[[position[name] for name in identifiers]]

    if len(host_stamps) != len(plan_rows) or len(position) != len(plan_rows):
        raise ValueError(
            f"expected one host stamp for each of {len(plan_rows)} rows with different injection_id, "
            f"got {len(host_stamps)} stamps and {len(position)} ids"
        )
    batches = list(render_batches(plan_rows, read, settings, progress, "injection_id", source_images))
    if not batches:
        size = settings.renderer.stamp_pixels
        empty = np.zeros((0, len(BANDS), size, size), dtype=np.float32)
        return RenderResult(empty, empty, empty_truth(plan_rows))
    return _joined(batches)


def render_batches(
    plan_rows: pd.DataFrame,
    read_hosts: HostReader,
    settings: InjectionSettings,
    progress: Progress | None = None,
    reader_column: str = "host_cutout_path",
    source_images: Sequence[SourceImage] | None = None,
) -> Iterator[RenderResult]:
    """Yield rendered half batches (see `half_batches`) in row order; memory does not grow with the rows.

    `read_hosts` is given the values of `reader_column` and returns the host stamps, (n, 3, H, W) float32.
    """

    def one(rows: slice) -> RenderResult:
        chosen = plan_rows.iloc[rows]
        hosts = read_hosts(chosen[reader_column].astype(str).tolist())
        return render_rows(chosen, hosts, settings, source_images[rows] if source_images else None)

    halves = half_batches(len(plan_rows), settings)
    for rows, rendered in zip(halves, in_order(one, halves, rendering_workers(settings)), strict=True):
        yield rendered
        if progress is not None:
            progress(rows.stop, len(plan_rows))


def half_batches(count: int, settings: InjectionSettings) -> list[slice]:
    """Return the rows that are rendered together: half a batch, so that two cores have one batch between them."""
    size = -(-settings.renderer.batch_stamps // CORES_OF_A_BATCH)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def rendering_workers(settings: InjectionSettings) -> int:
    """Return how many threads render: no more than have one batch between them, and one on a GPU."""
    return min(worker_count(), CORES_OF_A_BATCH) if settings.renderer.device == "cpu" else 1


def _joined(parts: Sequence[RenderResult]) -> RenderResult:
    return RenderResult(
        np.concatenate([part.stamps for part in parts]),
        np.concatenate([part.arcs for part in parts]),
        pd.concat([part.truth for part in parts]),
    )


def render_rows(
    rows: pd.DataFrame,
    hosts: NDArray[np.float32],
    settings: InjectionSettings,
    source_images: Sequence[SourceImage] | None = None,
) -> RenderResult:
    """Render rows of a plan onto their hosts (n, 3, H, W) together, on one thread."""
    expected = (len(rows), len(BANDS), settings.renderer.stamp_pixels, settings.renderer.stamp_pixels)
    if hosts.shape != expected:
        raise ValueError(f"host stamps have shape {hosts.shape}, expected {expected} (renderer.stamp_pixels)")
    status = input_status(rows, settings.renderer)
    status[~np.isfinite(hosts).all(axis=(1, 2, 3))] |= InjectionStatus.HOST_UNREADABLE
    arcs = np.zeros(hosts.shape, dtype=np.float32)
    magnification = np.full(len(rows), np.nan)
    usable = status == InjectionStatus.OK
    if usable.any():
        images = None if source_images is None else [source_images[row] for row in np.flatnonzero(usable).tolist()]
        arcs[usable], magnification[usable] = render_arcs(rows[usable], settings, source_images=images)
    dark = usable & ~(magnification > 0)
    status[dark] |= InjectionStatus.NO_LIGHT_ON_STAMP
    sigma = rows[list(SIGMA_COLUMNS)].to_numpy(np.float64)
    sigma = np.where(sigma > 0, sigma, np.nan)
    gain = inferred_gain(sigma, settings.noise.sky_brightness)
    stamps = hosts.copy()
    for row in np.flatnonzero(status == InjectionStatus.OK):
        identifier = str(rows["injection_id"].iloc[row])
        noise = added_noise(arcs[row], gain[row], sigma[row], settings.noise, settings.seed, identifier)
        added = arcs[row] + noise
        covered = (hosts[row] != 0.0) & (added != 0.0)
        np.copyto(stamps[row], hosts[row] + added, where=covered, casting="same_kind")
    snr = annulus_snr(arcs[:, BANDS.index("r")], sigma[:, BANDS.index("r")])
    truth = _truth(rows, _Measured(status, magnification, snr, gain * settings.noise.gain_scale))
    return RenderResult(stamps, arcs, truth)


def input_status(rows: pd.DataFrame, settings: RendererSettings) -> NDArray[np.int64]:
    """Return the status bits that follow from the rows alone, OR-ed with their own `status`, shape (N,)."""
    status = rows["status"].to_numpy(np.int64).copy() if "status" in rows else np.zeros(len(rows), np.int64)
    parameters = rows[list(PARAMETER_COLUMNS)].to_numpy(np.float64).copy()
    parameters[:, PARAMETER_COLUMNS.index("source_mag_r")][np.isposinf(rows["source_mag_r"].to_numpy(np.float64))] = 0.0
    status[~np.isfinite(parameters).all(axis=1)] |= InjectionStatus.PARAMETERS_NOT_FINITE
    for column, (low, high) in PHYSICAL_RANGES.items():
        value = rows[column].to_numpy(np.float64)
        status[(value <= low) | (value > high)] |= InjectionStatus.PARAMETERS_UNPHYSICAL
    fwhm = rows[list(PSF_COLUMNS)].to_numpy(np.float64) * settings.psf_fwhm_scale
    status[~(np.isfinite(fwhm) & (fwhm > 0)).all(axis=1)] |= InjectionStatus.PSF_UNKNOWN
    widest = WIDEST_PSF_SHARE * settings.stamp_pixels * PIXEL_SCALE_ARCSEC
    status[(fwhm > widest).any(axis=1)] |= InjectionStatus.PSF_TOO_WIDE
    sigma = rows[list(SIGMA_COLUMNS)].to_numpy(np.float64)
    status[~(np.isfinite(sigma) & (sigma > 0)).all(axis=1)] |= InjectionStatus.SKY_NOISE_UNKNOWN
    return status


def render_arcs(
    rows: pd.DataFrame,
    settings: InjectionSettings,
    dtype: torch.dtype = torch.float32,
    source_images: Sequence[SourceImage] | None = None,
) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
    """Return noiseless lensed sources (N, 3, H, W) in nanomaggies, and the magnification measured on the stamp.

    The magnification is the flux of all rays that reach the stamp over the source's unlensed total.
    """
    renderer = settings.renderer
    with one_thread():
        device = _device(renderer)
        canvas = Canvas(renderer.stamp_pixels, PIXEL_SCALE_ARCSEC, dtype, not renderer.psf_includes_pixel, device)
        pictures = source_images if source_images is not None else source_pictures(rows, settings)
        if pictures is None:
            profiles = source_profiles(rows, settings, dtype).to(device)
            grid = light_on(canvas, profiles, len(rows), renderer.ray_tolerance)
        else:
            x, y, angle = rows[["source_x_arcsec", "source_y_arcsec", "source_angle_deg"]].to_numpy(np.float64).T
            size, inner = renderer.stamp_pixels, renderer.inner_images == "included"
            lenses = mass_to(lens_of(rows, dtype), device)
            rays = shoot_images(pictures, lenses, x, y, angle, size, PIXEL_SCALE_ARCSEC, inner)
            grid = canvas.deposit(rays, len(rows))
        magnification = grid.sum(dim=(1, 2), dtype=torch.float64).cpu().numpy()
        fwhm = torch.tensor(rows[list(PSF_COLUMNS)].to_numpy(np.float64) * renderer.psf_fwhm_scale, device=device)
        if renderer.psf_profile == "images":
            unit = canvas.convolve_images(grid, fwhm, _psf_images(renderer.psf_images))
        else:
            unit = canvas.convolve(grid, fwhm, renderer.psf_moffat_beta)
        flux = torch.as_tensor(source_fluxes(rows), device=device).to(dtype)
        return (unit * flux[:, :, None, None]).cpu().numpy(), magnification


def _device(renderer: RendererSettings) -> torch.device:
    """Return the device of the settings; ValueError where there is none."""
    if renderer.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("renderer.device: cuda, but torch finds no GPU here; set it to cpu (bytes differ by device)")
    return torch.device(renderer.device)


@lru_cache(maxsize=2)
def _psf_images(file: FileSettings) -> PsfImages:
    return PsfImages.read(Path(file.path), file.sha256)


def annulus_snr(arcs_r: NDArray[np.floating], sky_sigma_r: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the summed noiseless r signal in the arc annulus over sigma sqrt(pixels), shape (N,)."""
    axis = pixel_centres_arcsec(arcs_r.shape[-1], 1.0)
    radius = np.hypot(axis[:, None], axis[None, :])
    inside = (radius >= ARC_ANNULUS_PX[0]) & (radius < ARC_ANNULUS_PX[1])
    signal = arcs_r[:, inside].sum(axis=1, dtype=np.float64)
    return np.asarray(signal / (sky_sigma_r * np.sqrt(inside.sum())))


@dataclass(frozen=True)
class _Measured:
    """What rendering found for each row of a batch; NaN where a row failed."""

    status: NDArray[np.int64]
    magnification: NDArray[np.float64]
    arc_snr: NDArray[np.float64]
    gain: NDArray[np.float64]


def empty_truth(plan_rows: pd.DataFrame) -> pd.DataFrame:
    """Return a truth table of no rows with the columns that these plan rows would lead to."""
    nothing = np.zeros(0)
    return _truth(plan_rows[:0], _Measured(nothing.astype(np.int64), nothing, nothing, np.zeros((0, len(BANDS)))))


def _truth(rows: pd.DataFrame, measured: _Measured) -> pd.DataFrame:
    """Return the plan's columns followed by what rendering measured; NaN where an injection failed."""
    good = measured.status == InjectionStatus.OK
    magnification = np.where(good, measured.magnification, np.nan)
    lensed_mag = flux_to_mag(magnification[:, None] * source_fluxes(rows))
    columns: dict[str, NDArray] = {f"lensed_mag_{band}": lensed_mag[:, plane] for plane, band in enumerate(BANDS)}
    columns["magnification"] = magnification
    count, area = np.zeros(len(rows), dtype=np.int64), np.full(len(rows), np.nan)
    brightest = np.full((len(rows), KEPT_IMAGES, 3), np.nan)
    if good.any():
        lenses = lens_of(rows[good])
        x, y = (rows.loc[good, f"source_{axis}_arcsec"].to_numpy(np.float64) for axis in "xy")
        images = find_images(lenses, x, y)
        count[good], brightest[good] = images.counts(int(good.sum())), images.brightest(int(good.sum()))
        area[good] = multiply_imaged_area_arcsec2(lenses)
    columns["n_images"] = count
    for image in range(KEPT_IMAGES):
        for part, name in enumerate(("x_arcsec", "y_arcsec", "magnification")):
            columns[f"image_{image + 1}_{name}"] = brightest[:, image, part]
    columns["multiply_imaged_area_arcsec2"] = area
    columns["arc_snr"] = np.where(good, measured.arc_snr, np.nan)
    for plane, band in enumerate(BANDS):
        columns[f"gain_{band}"] = np.where(good, measured.gain[:, plane], np.nan)
    judged = rows.assign(status=measured.status.astype(np.int64))
    return pd.concat([judged, pd.DataFrame(columns, index=rows.index)], axis=1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: the order of sums is then fixed, and processes, not threads, share the cores.

    On a GPU the order of sums is fixed by torch's deterministic algorithms instead.
    """
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(deterministic or torch.cuda.is_available())
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic)
