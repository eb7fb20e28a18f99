"""What the survey's catalogue says of a brick: truth, plus the noise and the habits of a model-fitting photometry.

Not a fit of pixels: each measured value is its truth with the error that the local depth implies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.simulated_sky import SimulatedSkySettings
from lens_assets.simulated.bricks import TangentPlane
from lens_assets.simulated.conditions import GALDEPTH_RADIUS_ARCSEC, BandConditions, BrickConditions
from lens_assets.simulated.light import psf_norm
from lens_assets.simulated.masks import BRIGHT_STAR_MAG, MEDIUM_STAR_MAG
from lens_assets.sky.randomness import generator
from lens_assets.survey.schemas import OPTICAL_BANDS, SWEEP_COLUMNS, WISE_BANDS, Fitbits, Maskbits
from lens_assets.survey.units import (
    BANDS,
    EXTINCTION_PER_EBV,
    PIXEL_SCALE_ARCSEC,
    flux_to_mag,
    mag_to_flux,
    shape_to_ellipticity,
)

FloatArray = NDArray[np.float64]
DETECTION_SIGNIFICANCE = 6.0
"""A source is catalogued when its flux exceeds this many PSFDEPTH sigmas in some band."""

SYSTEMATIC_FLUX_ERROR = 0.01
"""Relative scatter of fitted fluxes beyond their formal errors, which FLUX_IVAR leaves out as in the survey."""

FIBER_FRACTION_POINT = 0.78
"""Share of a point source within a 1.5 arcsec fibre at 1 arcsec seeing (legacysurvey.org/dr10/catalogs)."""

_UNMEASURED_WISE_SIGMA = {"w1": 0.35, "w2": 1.1, "w3": 20.0, "w4": 150.0}


def catalogue_of_brick(
    objects: pd.DataFrame,
    conditions: BrickConditions,
    exposures: Mapping[str, NDArray[np.int16]],
    maskbits: NDArray[np.int32],
    plane: TangentPlane,
    settings: SimulatedSkySettings,
) -> pd.DataFrame:
    """Return the catalogued sources of a brick: `object_id`, `component` (whole or arc) and every sweep column.

    RELEASE, BRICKID and BRICKNAME are left for the caller. Undetected objects have no row.
    """
    rng = generator(settings.seed, str(objects["brickname"].iloc[0]), "tractor")
    whole = _with_arc_light(objects, rng)
    sources = pd.concat([whole, _catalogued_arcs(whole, rng)], ignore_index=True)
    sources = sources[_inside(sources, plane.pixels)].reset_index(drop=True)
    catalogue = _empty_catalogue(len(sources))
    catalogue.insert(0, "object_id", sources["object_id"])
    catalogue.insert(1, "component", sources["component"])
    detected = np.zeros(len(sources), dtype=bool)
    for band in BANDS:
        detected |= _measure_band(catalogue, sources, band, conditions.bands[band], exposures[band], rng, settings)
    _measure_i_band(catalogue, sources, conditions.has_i_band, rng)
    _measure_wise(catalogue, sources, rng)
    _measure_shapes(catalogue, sources, rng)
    _measure_positions(catalogue, sources, plane, rng)
    _flag(catalogue, sources, maskbits, conditions, rng)
    catalogue = catalogue[detected].reset_index(drop=True)
    catalogue["OBJID"] = np.arange(len(catalogue))
    return catalogue


def _with_arc_light(objects: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the objects with, for lens hosts, the part of the arcs that their model absorbs; wide arcs less."""
    sources = objects.assign(component="whole", arc_is_source=False)
    is_lens = (sources["kind"] == "lens").to_numpy()
    theta_e = sources["theta_e_arcsec"].to_numpy()
    separated = is_lens & (theta_e > 1.3) & (sources["arc_snr_r"].to_numpy() > 12) & (rng.random(len(sources)) < 0.35)
    share = (
        np.clip(1.1 - 0.35 * theta_e, 0.2, 0.9) * rng.uniform(0.7, 1.0, len(sources)) * np.where(separated, 0.5, 1.0)
    )
    for band in BANDS:
        arc = np.where(is_lens, share * sources[f"arc_flux_{band}"].fillna(0.0), 0.0)
        sources[f"flux_{band}"] = sources[f"flux_{band}"] + arc
    sources["arc_is_source"] = separated
    return sources


def _catalogued_arcs(whole: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the brightest images that stand as sources of their own beside some wide lenses."""
    arcs = whole[whole["arc_is_source"]].copy()
    for band in BANDS:
        arcs[f"flux_{band}"] = 0.4 * arcs[f"arc_flux_{band}"]
    arcs["flux_i"] = np.sqrt(arcs["flux_r"] * arcs["flux_z"])
    arcs["flux_w1"] = arcs["flux_z"]
    arcs["x_px"] += arcs["brightest_x_arcsec"] / PIXEL_SCALE_ARCSEC
    arcs["y_px"] += arcs["brightest_y_arcsec"] / PIXEL_SCALE_ARCSEC
    types = np.where(rng.random(len(arcs)) < 0.6, "REX", "EXP")
    return arcs.assign(
        component="arc", kind="arc", type=types, radius_arcsec=0.5, sersic_index=1.0,
        axis_ratio=np.where(types == "REX", 1.0, 0.5),
    )  # fmt: skip


def _inside(sources: pd.DataFrame, pixels: int) -> NDArray[np.bool_]:
    x, y = sources["x_px"].to_numpy(), sources["y_px"].to_numpy()
    return np.asarray((x >= 0) & (x <= pixels - 1) & (y >= 0) & (y <= pixels - 1))


def _empty_catalogue(rows: int) -> pd.DataFrame:
    """Return a table with every sweep column but DCHISQ's vector spread as one column of tuples left to the writer."""
    columns: dict[str, Any] = {}
    for column in SWEEP_COLUMNS:
        if column.name == "DCHISQ":
            continue
        kind = np.dtype(column.dtype)
        columns[column.name] = np.full(rows, "", dtype=object) if kind.kind == "S" else np.zeros(rows, dtype=kind)
    return pd.DataFrame(columns)


def _pixel(values: NDArray[Any], sources: pd.DataFrame) -> NDArray[Any]:
    return np.asarray(values[np.rint(sources["y_px"]).astype(int), np.rint(sources["x_px"]).astype(int)])


def _norm_at(fwhm: FloatArray, beta: float, exponential_radius_arcsec: float = 0.0) -> FloatArray:
    """Return `psf_norm` for many widths, from seven nodes; it is smooth in the width."""
    nodes = np.linspace(fwhm.min() * 0.99, fwhm.max() * 1.01, 7)
    values = [psf_norm(float(node), beta, exponential_radius_arcsec) for node in nodes]
    return np.interp(fwhm, nodes, values)


def _measure_band(
    catalogue: pd.DataFrame,
    sources: pd.DataFrame,
    band: str,
    state: BandConditions,
    exposures: NDArray[np.int16],
    rng: np.random.Generator,
    settings: SimulatedSkySettings,
) -> NDArray[np.bool_]:
    """Fill the columns of one band; return which sources are detected in it.

    Formal variance of a flux: 1/PSFDEPTH for points; for galaxies 1/GALDEPTH growing with the area of the profile,
    plus the photon noise F / gain.
    """
    count = len(sources)
    nobs = _pixel(exposures, sources).astype(np.int16)
    covered = nobs > 0
    beta, upper = settings.pixels.psf_moffat_beta, band.upper()
    fwhm = state.fwhm_at(sources["x_px"].to_numpy(), sources["y_px"].to_numpy(), exposures.shape[0])
    sigma = state.sigma1 * np.sqrt(state.exposures / np.maximum(nobs, 1))
    psf_depth = (_norm_at(fwhm, beta) / sigma) ** 2
    gal_depth = (_norm_at(fwhm, beta, GALDEPTH_RADIUS_ARCSEC) / sigma) ** 2
    flux, radius = sources[f"flux_{band}"].to_numpy(float), sources["radius_arcsec"].to_numpy(float)
    growth = 1.0 + 0.3 * np.maximum(radius / GALDEPTH_RADIUS_ARCSEC, 1.0) ** 2
    sky_variance = np.where(radius > 0, growth / 1.3 / gal_depth, 1.0 / psf_depth)
    variance = sky_variance + flux / (state.gain_electrons_per_nanomaggy * np.maximum(nobs, 1) / state.exposures)
    measured = flux + rng.normal(size=count) * np.sqrt(variance)
    measured *= 1.0 + SYSTEMATIC_FLUX_ERROR * rng.normal(size=count)
    point_fraction = FIBER_FRACTION_POINT * np.exp(-0.35 * np.minimum(radius, 6.0))
    values = {
        "FLUX": measured,
        "FLUX_IVAR": 1.0 / variance,
        "FIBERFLUX": measured * point_fraction,
        "FIBERTOTFLUX": measured * point_fraction * (1.0 + np.abs(rng.normal(0, 0.03, count))),
        "NOBS": nobs,
        "RCHISQ": np.abs(rng.normal(1.0, 0.06, count)),
        "FRACFLUX": np.minimum(rng.exponential(0.03, count), 5.0),
        "FRACMASKED": np.minimum(rng.exponential(0.01, count), 1.0),
        "FRACIN": np.minimum(1.0, rng.normal(0.99, 0.02, count)),
        "PSFSIZE": fwhm,
        "PSFDEPTH": psf_depth,
        "GALDEPTH": gal_depth,
    }
    for stem, value in values.items():
        catalogue[f"{stem}_{upper}"] = np.where(covered, value, 0).astype(catalogue[f"{stem}_{upper}"].dtype)
    return np.asarray(covered & (measured * np.sqrt(psf_depth) > DETECTION_SIGNIFICANCE))


def _measure_i_band(catalogue: pd.DataFrame, sources: pd.DataFrame, present: bool, rng: np.random.Generator) -> None:
    """Fill the i band from r: it exists in about four bricks of five, with no coadds of its own here."""
    if not present:
        return
    noise = rng.normal(size=len(sources)) / np.sqrt(np.maximum(0.5 * catalogue["GALDEPTH_R"].to_numpy(), 1e-6))
    seen = catalogue["NOBS_R"].to_numpy() > 0
    catalogue["FLUX_I"] = np.where(seen, sources["flux_i"].to_numpy() + noise, 0.0).astype(np.float32)
    for stem in ("FIBERFLUX", "FIBERTOTFLUX"):
        share = catalogue[f"{stem}_R"] / catalogue["FLUX_R"].where(catalogue["FLUX_R"] != 0, 1.0)
        catalogue[f"{stem}_I"] = (catalogue["FLUX_I"] * share).astype(np.float32)
    for stem, factor in {
        "FLUX_IVAR": 0.5,
        "PSFDEPTH": 0.5,
        "GALDEPTH": 0.5,
        "PSFSIZE": 0.95,
        "RCHISQ": 1.0,
        "FRACIN": 1.0,
    }.items():
        catalogue[f"{stem}_I"] = (catalogue[f"{stem}_R"] * factor).astype(np.float32)
    catalogue["NOBS_I"] = np.maximum(catalogue["NOBS_R"] - 2, seen.astype(np.int16)).astype(np.int16)


def _measure_wise(catalogue: pd.DataFrame, sources: pd.DataFrame, rng: np.random.Generator) -> None:
    for band in WISE_BANDS:
        sigma = _UNMEASURED_WISE_SIGMA[band]
        truth = sources["flux_w1"].to_numpy() * {"w1": 1.0, "w2": 0.6}.get(band, 0.3)
        upper = band.upper()
        catalogue[f"FLUX_{upper}"] = (truth + rng.normal(0.0, sigma, len(sources))).astype(np.float32)
        catalogue[f"FLUX_IVAR_{upper}"] = np.float32(1.0 / sigma**2)
        catalogue[f"NOBS_{upper}"] = np.int16(120)
        catalogue[f"RCHISQ_{upper}"] = np.float32(1.0)
    for band in ("w1", "w2"):
        catalogue[f"PSFDEPTH_{band.upper()}"] = np.float32(1.0 / _UNMEASURED_WISE_SIGMA[band] ** 2)
    catalogue["WISE_COADD_ID"] = "0000p000"


def _measure_shapes(catalogue: pd.DataFrame, sources: pd.DataFrame, rng: np.random.Generator) -> None:
    """Fill TYPE and the shape: errors fall with the signal-to-noise of the r flux; the fixed parameters are exact."""
    count = len(sources)
    types = sources["type"].to_numpy(dtype=object)
    signal = catalogue["FLUX_R"].to_numpy(float) * np.sqrt(catalogue["FLUX_IVAR_R"].to_numpy(float))
    signal = np.maximum(signal, 3.0)
    extended, shaped, free_index = types != "PSF", np.isin(types, ["DEV", "EXP", "SER"]), types == "SER"
    radius_error = 0.03 + 0.8 / signal
    radius = sources["radius_arcsec"].to_numpy() * np.exp(rng.normal(size=count) * radius_error)
    shape_error = 0.01 + 0.5 / signal
    e1, e2 = shape_to_ellipticity(sources["axis_ratio"].to_numpy(), sources["angle_deg"].to_numpy())
    e1, e2 = e1 + rng.normal(size=count) * shape_error, e2 + rng.normal(size=count) * shape_error
    modulus = np.hypot(e1, e2)
    shrink = np.minimum(1.0, 0.95 / np.maximum(modulus, 1e-9))
    index_error = 0.05 + 1.0 / signal
    index = np.clip(sources["sersic_index"].to_numpy() * np.exp(rng.normal(size=count) * index_error), 0.5, 6.0)
    fixed_index = np.select([types == "DEV", np.isin(types, ["EXP", "REX"])], [4.0, 1.0], 0.0)
    catalogue["TYPE"] = types
    catalogue["SHAPE_R"] = np.where(extended, np.maximum(radius, 0.01), 0.0).astype(np.float32)
    catalogue["SHAPE_R_IVAR"] = np.where(extended, 1.0 / (radius_error * np.maximum(radius, 0.01)) ** 2, 0).astype(
        np.float32
    )
    for name, value in {"SHAPE_E1": e1 * shrink, "SHAPE_E2": e2 * shrink}.items():
        catalogue[name] = np.where(shaped, value, 0.0).astype(np.float32)
        catalogue[f"{name}_IVAR"] = np.where(shaped, 1.0 / shape_error**2, 0.0).astype(np.float32)
    catalogue["SERSIC"] = np.where(free_index, index, fixed_index).astype(np.float32)
    catalogue["SERSIC_IVAR"] = np.where(free_index, 1.0 / (index_error * index) ** 2, 0.0).astype(np.float32)


def _measure_positions(
    catalogue: pd.DataFrame, sources: pd.DataFrame, plane: TangentPlane, rng: np.random.Generator
) -> None:
    signal = np.maximum(catalogue["FLUX_R"].to_numpy(float) * np.sqrt(catalogue["FLUX_IVAR_R"].to_numpy(float)), 3.0)
    error_px = 0.02 + 2.0 / signal
    x, y = sources["x_px"].to_numpy(), sources["y_px"].to_numpy()
    ra, dec = plane.to_sky(x + rng.normal(size=len(x)) * error_px, y + rng.normal(size=len(y)) * error_px)
    catalogue["RA"], catalogue["DEC"] = ra, dec
    ivar = 1.0 / (error_px * PIXEL_SCALE_ARCSEC / 3600.0) ** 2
    catalogue["RA_IVAR"] = catalogue["DEC_IVAR"] = ivar.astype(np.float32)


def _flag(
    catalogue: pd.DataFrame,
    sources: pd.DataFrame,
    maskbits: NDArray[np.int32],
    conditions: BrickConditions,
    rng: np.random.Generator,
) -> None:
    """Fill masks, dust and reference catalogues. Within BRIGHT masks two galaxies of five are forced to be points."""
    count = len(sources)
    bits = _pixel(maskbits, sources)
    catalogue["MASKBITS"] = bits
    ebv = conditions.ebv * (1.0 + rng.normal(0.0, 0.01, count))
    catalogue["EBV"] = ebv.astype(np.float32)
    for band in (*OPTICAL_BANDS, *WISE_BANDS):
        transmission = mag_to_flux(22.5 + EXTINCTION_PER_EBV.get(band, 0.0) * ebv)
        catalogue[f"MW_TRANSMISSION_{band.upper()}"] = transmission.astype(np.float32)
    is_star = sources["kind"].isin(["star", "bright_star"]).to_numpy()
    mag = flux_to_mag(sources["flux_r"].to_numpy())
    in_gaia = is_star & (mag < 20.0)
    catalogue["REF_CAT"] = np.where(in_gaia, np.where(mag < 11.0, "T2", "GE"), "")
    catalogue["REF_ID"] = np.where(in_gaia, np.arange(count, dtype=np.int64) + 4_000_000_000_000, 0)
    catalogue["REF_EPOCH"] = np.where(in_gaia, 2016.0, 0.0).astype(np.float32)
    catalogue["GAIA_PHOT_G_MEAN_MAG"] = np.where(in_gaia, mag, 0.0).astype(np.float32)
    forced = ~is_star & ((bits & int(Maskbits.BRIGHT)) > 0) & (rng.random(count) < 0.4)
    fitbits = np.where(forced, int(Fitbits.FORCED_POINTSOURCE), 0)
    fitbits |= np.where(in_gaia, int(Fitbits.GAIA), 0)
    fitbits |= np.where(is_star & (mag < BRIGHT_STAR_MAG), int(Fitbits.BRIGHT), 0)
    fitbits |= np.where(is_star & (mag < MEDIUM_STAR_MAG), int(Fitbits.MEDIUM), 0)
    catalogue["FITBITS"] = fitbits.astype(np.int16)
    catalogue.loc[forced, "TYPE"] = "PSF"
    for name in (
        "SHAPE_R",
        "SHAPE_R_IVAR",
        "SHAPE_E1",
        "SHAPE_E1_IVAR",
        "SHAPE_E2",
        "SHAPE_E2_IVAR",
        "SERSIC",
        "SERSIC_IVAR",
    ):
        catalogue.loc[forced, name] = np.float32(0.0)
