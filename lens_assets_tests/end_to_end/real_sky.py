"""Real galaxies from the reference data: DECam cutouts as hosts, HST pictures as sources, lens candidates as anchors.

What the files do not say is stated here: the seeing of either survey is its published median, and the hosts' pixels
of 0.263 arcsec are taken for 0.262 as they stand, which moves nothing within an Einstein radius by a tenth of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import galsim
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from lens_assets.campaign.stages.features import FeaturesSettings
from lens_assets.imaging.features import feature_table
from lens_assets.imaging.geometry import radius_px
from lens_assets.imaging.host_subtraction import measure_ellipse
from lens_assets.lensing.image_sources import SourceImage
from lens_assets.lensing.plan import HOST_COLUMNS
from lens_assets.survey.cutout_service import read_npz_cutout
from lens_assets.survey.fits_files import open_fits
from lens_assets.survey.units import (
    BANDS,
    PIXEL_SCALE_ARCSEC,
    POINT_SOURCE_SIGNIFICANCE,
    counts_to_nanomaggies,
    flux_to_mag,
    shape_to_ellipticity,
)
from lens_assets_tests.survey.reference import reference_file

HOST_PIXELS = 91
DES_ZERO_POINT_MAG = 30.0
DES_FWHM_ARCSEC = (1.11, 0.95, 0.83)
"""Median seeing of g, r, z in the second data release (Abbott et al. 2021, ApJS 255, 20)."""
DECALS_FWHM_ARCSEC = (1.29, 1.18, 1.11)
"""Median seeing of g, r, z (Dey et al. 2019, AJ 157, 168)."""
FWHM_OVER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
TOTAL_APERTURE_PX = 10.0
HST_PIXEL_ARCSEC = 0.03
COSMOS = "injection/cosmos/real_galaxy_catalog_26_extension_example.fits"
COSMOS_COLUMNS = ("HSC_g", "HSC_r", "HSC_z", "ZPHOT")
CANDIDATES = ("0001m040_4091", "0003m005_293", "0006p270_2574")


def des_stamps() -> NDArray[np.float32]:
    """Return the 46 cutouts (46, 3, 91, 91) in nanomaggies per pixel."""
    planes = []
    for band in BANDS:
        with open_fits(reference_file(f"cutouts/des_z_lt_0p3/{band}.fits")) as opened:
            planes.append(opened[0].read())
    return counts_to_nanomaggies(np.stack(planes, axis=1), DES_ZERO_POINT_MAG).astype(np.float32)


def described(
    stamps: NDArray[np.float32], names: list[str], fwhm_arcsec: tuple[float, ...], features: FeaturesSettings
) -> pd.DataFrame:
    """Return names, magnitudes, shapes, sky noise, seeing and depth of galaxies, as measured on their stamps."""
    measured = feature_table(stamps, features.regions)
    level = np.nan_to_num(measured[[f"sky_level_{band}" for band in BANDS]].to_numpy())[:, :, None, None]
    light = np.where(stamps != 0.0, stamps - level, 0.0)
    flux = light[:, :, radius_px(*stamps.shape[2:]) <= TOTAL_APERTURE_PX].sum(axis=2)
    ratio, angle = measure_ellipse(light)
    e1, e2 = shape_to_ellipticity(ratio, angle - 90.0)
    table = pd.DataFrame({"galaxy_id": names, "type": "DEV", "shape_e1": e1, "shape_e2": e2})
    for plane, (band, fwhm) in enumerate(zip(BANDS, fwhm_arcsec, strict=True)):
        sigma = measured[f"sky_sigma_{band}"].to_numpy()
        # Noise-equivalent area of a Gaussian PSF: 4 pi sigma^2 (King 1983, PASP 95, 163).
        spread = np.sqrt(4.0 * np.pi) * fwhm / FWHM_OVER_SIGMA / PIXEL_SCALE_ARCSEC
        table[f"mag_{band}"] = flux_to_mag(flux[:, plane])
        table[f"sky_sigma_{band}"] = sigma
        table[f"psfsize_{band}"] = fwhm
        table[f"psfdepth_{band}_mag"] = flux_to_mag(POINT_SOURCE_SIGNIFICANCE * sigma * spread)
    return table


def host_rows(stamps: NDArray[np.float32], features: FeaturesSettings) -> pd.DataFrame:
    """Return the cutouts as hosts of equal weight; what is not known of them is 0."""
    names = [f"des_{row:02d}" for row in range(len(stamps))]
    table = described(stamps, names, DES_FWHM_ARCSEC, features)
    table["host_cutout_path"] = [f"des#{row}" for row in range(len(stamps))]
    return table.assign(host_weight=1.0).reindex(columns=list(HOST_COLUMNS), fill_value=0)


@dataclass(frozen=True)
class Sources:
    """Pictures of N galaxies and what was seen of them: mag_r, g_minus_r, r_minus_z and the photometric redshift z."""

    pictures: list[SourceImage]
    photometry: pd.DataFrame

    def beyond(self, redshift: float) -> NDArray[np.int64]:
        """Return the positions of the galaxies that lie farther than a redshift."""
        return np.flatnonzero(self.photometry["z"].to_numpy() > redshift)

    def behind(self, rows: pd.DataFrame, chosen: NDArray[np.int64], brighter_mag: float) -> pd.DataFrame:
        """Return injections with the magnitudes and colours of the chosen galaxies, all brighter by so much."""
        seen = self.photometry.iloc[chosen]
        return rows.assign(
            source_mag_r=seen["mag_r"].to_numpy() - brighter_mag,
            source_g_minus_r=seen["g_minus_r"].to_numpy(),
            source_r_minus_z=seen["r_minus_z"].to_numpy(),
        )


def cosmos_sources() -> Sources:
    """Return the 100 galaxies of the COSMOS field; their HSC magnitudes stand for DECam's."""
    path = reference_file(COSMOS)
    catalog = galsim.RealGalaxyCatalog(path.name, dir=str(path.parent))
    with open_fits(path) as opened:
        sigma = np.sqrt(opened[1].read_column("NOISE_VARIANCE"))
    with open_fits(path.with_name(f"{path.stem}_fits.fits")) as opened:
        table = pd.DataFrame({name: opened[1].read_column(name).astype(np.float64) for name in COSMOS_COLUMNS})
    pictures = [
        SourceImage(_object_alone(catalog.getGalImage(row).array, float(sigma[row])), HST_PIXEL_ARCSEC)
        for row in range(catalog.nobjects)
    ]
    photometry = pd.DataFrame(
        {
            "mag_r": table["HSC_r"],
            "g_minus_r": table["HSC_g"] - table["HSC_r"],
            "r_minus_z": table["HSC_r"] - table["HSC_z"],
            "z": table["ZPHOT"],
        }
    )
    return Sources(pictures, photometry)


def _object_alone(picture: NDArray[np.floating], sigma: float) -> NDArray[np.floating]:
    """Return the picture with everything dark but the brightest object: a lens would magnify the sky's noise too."""
    smooth = ndimage.gaussian_filter(picture, 1.5)
    # White noise smoothed by a Gaussian of width s keeps 1 / (2 s sqrt(pi)) of its scatter.
    bright = smooth > 2.0 * sigma / (2.0 * 1.5 * np.sqrt(np.pi))
    label, _ = ndimage.label(bright)
    return np.where(label == label.flat[np.argmax(smooth)], picture, 0.0)


def anchor_stamps() -> NDArray[np.float32]:
    """Return the three lens candidates (3, 3, 101, 101) in nanomaggies per pixel."""
    paths = [reference_file(f"cutouts/ls_dr10_lens_candidates/{name}.npz") for name in CANDIDATES]
    return np.stack([read_npz_cutout(path, 101, 0.02).stamp for path in paths])


def anchor_rows(stamps: NDArray[np.float32], features: FeaturesSettings) -> pd.DataFrame:
    """Return the candidates with what the battery asks of an anchor."""
    return described(stamps, list(CANDIDATES), DECALS_FWHM_ARCSEC, features).assign(lens_id=list(CANDIDATES))
