"""What an observer measures of an arc: the observables that anchors and injections are compared in.

No function here knows what was injected. Widths are also given in units of the PSF so that conditions drop out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from lens_assets.campaign.stages.realism import ApertureSettings, DetectabilitySettings
from lens_assets.imaging.geometry import centre_pixel, radius_px
from lens_assets.realism.residuals import (
    G,
    R,
    Residuals,
    Z,
    crop,
    crop_half_px,
    decompose,
    host_fluxes,
    sky_statistics,
)
from lens_assets.survey.units import PIXEL_SCALE_ARCSEC, flux_to_mag

CHUNK = 128
_FWHM_OVER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
_WIDTH_ITERATIONS = 12
_SECTOR_SIGMA_PX = 2.0
# Immerkaer 1996 (CVIU 64, 300): difference of two Laplacians; it removes planes and slow curvature, so that
# what is left of a PSF-smooth image is its noise. Unit norm.
_ROUGHNESS = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0]).astype(np.float32) / 6.0

OBSERVABLES: dict[str, str] = {
    "arc_snr": "sum of the blue residual over its arc pixels / (sqrt(pixels) x sky sigma)",
    "arc_g_minus_r": "g-r of the host-subtracted arc pixels [mag]",
    "arc_r_minus_z": "r-z of the host-subtracted arc pixels [mag]",
    "arc_surface_brightness": "mean r surface brightness of the arc pixels [mag / arcsec^2]",
    "arc_width_arcsec": "radial FWHM of the brightest arc, PSF included [arcsec]",
    "arc_width_over_psf": "radial FWHM of the brightest arc over the PSF FWHM in g and r",
    "arc_radius_arcsec": "flux-weighted distance of the arc pixels from the host [arcsec]",
    "residual_amplitude": "r flux of the arc pixels / r flux of the host model in the arc annulus",
    "tangential_asymmetry": "|sum f exp(i phi)| / sum f over the arc pixels: 0 a ring, 1 one image",
    "arc_noise_ratio": "pixel-to-pixel roughness in the arc pixels over that of the sky, mean of g and r",
    "background_sigma_g": "robust sigma of the sky annulus in g [nanomaggy / pixel]",
    "background_sigma_r": "robust sigma of the sky annulus in r [nanomaggy / pixel]",
    "background_sigma_z": "robust sigma of the sky annulus in z [nanomaggy / pixel]",
    "host_g_minus_r": "g-r of the stamp within 2 px of the target [mag]",
    "host_core_mag_r": "r of the stamp within 2 px of the target [mag]",
    "host_halo_mag_z": "z, where arcs weigh least, of the host model in the arc annulus [mag]",
    "arc_pixels": "number of arc pixels",
}

ARC_COLUMNS = tuple(list(OBSERVABLES)[:10])
"""What describes an arc and is missing without one; `arc_snr` is 0 then."""


def measure(
    stamps: NDArray[np.floating],
    axis_ratio: NDArray[np.floating],
    angle_deg: NDArray[np.floating],
    psf_fwhm_arcsec: NDArray[np.floating],
    apertures: ApertureSettings,
) -> pd.DataFrame:
    """Measure the observables of every stamp.

    Args:
        stamps: (N, 3, H, W) nanomaggies per pixel, bands g, r, z.
        axis_ratio: (N,) minor over major axis of the host.
        angle_deg: (N,) major axis of the host, counter-clockwise from +x.
        psf_fwhm_arcsec: (N, 3) PSF FWHM in g, r, z.

    Returns
    -------
        One row a stamp with the columns `OBSERVABLES`. A stamp without arc pixels has arc_snr 0 and NaN in
        everything that describes an arc.
    """
    count = len(stamps)
    shapes = {"axis_ratio": len(axis_ratio), "angle_deg": len(angle_deg), "psf_fwhm_arcsec": len(psf_fwhm_arcsec)}
    wrong = {name: length for name, length in shapes.items() if length != count}
    if wrong:
        raise ValueError(f"expected one value for each of {count} stamps, got lengths {wrong}")
    ratio, angle = np.asarray(axis_ratio, np.float64), np.asarray(angle_deg, np.float64)
    fwhm = np.asarray(psf_fwhm_arcsec, dtype=np.float64).reshape(count, 3)
    parts = [
        _measure_chunk(stamps[part], ratio[part], angle[part], fwhm[part], apertures)
        for part in (slice(start, start + CHUNK) for start in range(0, count, CHUNK))
    ]
    if not parts:
        return pd.DataFrame({name: np.zeros(0) for name in OBSERVABLES})
    return pd.concat(parts, ignore_index=True)[list(OBSERVABLES)]


def is_visible(observables: pd.DataFrame, settings: DetectabilitySettings) -> NDArray[np.bool_]:
    """Return which stamps show an arc that is bright enough to be seen, shape (N,)."""
    return np.asarray(observables["arc_snr"] >= settings.minimum_arc_snr)


def _measure_chunk(
    stamps: NDArray[np.floating],
    axis_ratio: NDArray[np.float64],
    angle_deg: NDArray[np.float64],
    fwhm: NDArray[np.float64],
    apertures: ApertureSettings,
) -> pd.DataFrame:
    stamps = np.asarray(stamps, dtype=np.float32)
    parts = decompose(stamps, axis_ratio, angle_deg, apertures)
    pixels = parts.arc.sum(axis=(1, 2))
    flux = np.einsum("nbij,nij->nb", parts.residual.astype(np.float64), parts.arc)
    annulus = _annulus(parts.arc.shape[1:], apertures)
    halo = parts.host[:, :, annulus].sum(axis=2, dtype=np.float64)
    light = np.where(parts.arc, parts.smoothed, 0.0).astype(np.float64)
    width = _radial_fwhm_arcsec(parts)
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {
            "arc_snr": np.where(
                pixels > 0, np.where(parts.arc, parts.detection, 0.0).sum(axis=(1, 2)) / np.sqrt(pixels), 0.0
            ),
            "arc_g_minus_r": _colour(flux[:, G], flux[:, R]),
            "arc_r_minus_z": _colour(flux[:, R], flux[:, Z]),
            "arc_surface_brightness": flux_to_mag(flux[:, R] / (pixels * PIXEL_SCALE_ARCSEC**2)),
            "arc_width_arcsec": width,
            "arc_width_over_psf": width / fwhm[:, : R + 1].mean(axis=1),
            "arc_radius_arcsec": _mean_radius_arcsec(light),
            "residual_amplitude": np.where(halo[:, R] > 0, flux[:, R] / halo[:, R], np.nan),
            "tangential_asymmetry": _dipole(light),
            "arc_noise_ratio": _roughness_ratio(stamps, parts.arc, apertures),
        }
    for band, name in enumerate("grz"):
        columns[f"background_sigma_{name}"] = parts.sky_sigma[:, band]
    core = host_fluxes(parts.host + parts.residual)
    columns["host_g_minus_r"] = _colour(core[:, G], core[:, R])
    columns["host_core_mag_r"] = flux_to_mag(core[:, R])
    columns["host_halo_mag_z"] = flux_to_mag(halo[:, Z])
    frame = pd.DataFrame(columns)
    described = [name for name in ARC_COLUMNS if name != "arc_snr"]
    frame.loc[pixels == 0, described] = np.nan
    return frame.assign(arc_pixels=pixels.astype(np.float64))


def _annulus(shape: tuple[int, ...], apertures: ApertureSettings) -> NDArray[np.bool_]:
    radius = radius_px(*shape) * PIXEL_SCALE_ARCSEC
    return np.asarray((radius >= apertures.arc_inner_arcsec) & (radius < apertures.arc_outer_arcsec))


def _colour(blue: NDArray[np.float64], red: NDArray[np.float64]) -> NDArray[np.float64]:
    return flux_to_mag(blue) - flux_to_mag(red)


def _mean_radius_arcsec(light: NDArray[np.float64]) -> NDArray[np.float64]:
    radius = radius_px(*light.shape[1:]) * PIXEL_SCALE_ARCSEC
    return np.asarray((light * radius).sum(axis=(1, 2)) / light.sum(axis=(1, 2)))


def _dipole(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the amplitude of the first angular harmonic over the flux."""
    half = centre_pixel(light.shape[1])
    y, x = np.mgrid[-half : light.shape[1] - half, -half : light.shape[2] - half]
    direction = np.exp(1j * np.arctan2(y, x))
    return np.asarray(np.abs((light * direction).sum(axis=(1, 2))) / light.sum(axis=(1, 2)))


def _radial_fwhm_arcsec(parts: Residuals) -> NDArray[np.float64]:
    """Return the radial FWHM at the brightest arc pixel, by adaptive Gaussian moments along the radius.

    With weight exp(-(r - m)^2 / 2 s^2) a Gaussian of the same centre and width has the weighted mean m and the
    weighted variance s^2 / 2, so m and s are the fixed point of the iteration (the one-dimensional form of
    Bernstein and Jarvis 2002, AJ 123, 583, section 3.1). NaN where it does not settle.
    """
    half = centre_pixel(parts.arc.shape[1])
    y, x = np.mgrid[-half : parts.arc.shape[1] - half, -half : parts.arc.shape[2] - half].astype(np.float64)
    peak = np.where(parts.arc, parts.smoothed, -np.inf).reshape(len(parts.arc), -1).argmax(axis=1)
    px, py = x.ravel()[peak], y.ravel()[peak]
    norm = np.maximum(np.hypot(px, py), 1.0)
    ux, uy = (px / norm)[:, None, None], (py / norm)[:, None, None]
    along, across = x * ux + y * uy, y * ux - x * uy
    window = parts.detection * np.exp(-0.5 * (across / _SECTOR_SIGMA_PX) ** 2) * (along > 0)
    radius = np.broadcast_to(np.hypot(x, y), window.shape)
    mean, sigma = norm.copy(), np.full(len(norm), 2.2)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_WIDTH_ITERATIONS):
            offset = radius - mean[:, None, None]
            light = window * np.exp(-0.5 * (offset / sigma[:, None, None]) ** 2)
            total = light.sum(axis=(1, 2))
            shift = (light * offset).sum(axis=(1, 2)) / total
            variance = (light * offset**2).sum(axis=(1, 2)) / total - shift**2
            mean = np.clip(mean + np.nan_to_num(shift), norm - 4.0, norm + 4.0)
            sigma = np.sqrt(np.clip(2.0 * np.nan_to_num(variance), 0.25, 36.0))
    settled = (total > 0) & (sigma > 0.55) & (sigma < 5.9)
    return np.where(settled, _FWHM_OVER_SIGMA * sigma * PIXEL_SCALE_ARCSEC, np.nan)


def _roughness_ratio(
    stamps: NDArray[np.float32], arc: NDArray[np.bool_], apertures: ApertureSettings
) -> NDArray[np.float64]:
    """Return the root mean square roughness of the arc pixels over the sky's, averaged in square over g and r."""
    images = ndimage.convolve(stamps[:, : R + 1], _ROUGHNESS[None, None])
    sigma = sky_statistics(images, apertures)[1]
    part = crop(images, crop_half_px(apertures, stamps.shape[-1])).astype(np.float64)
    square = np.einsum("nbij,nij->nb", part**2, arc) / arc.sum(axis=(1, 2))[:, None]
    return np.asarray(np.sqrt((square / sigma**2).mean(axis=1)))
