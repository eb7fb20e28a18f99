"""The files of the simulated survey, in the formats, names and header keys of DR10.

Sources: legacysurvey.org/dr10/files; headers, tile sizes and quantisation as in real coadds of the survey.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from numpy.typing import NDArray

from lens_assets.simulated.bricks import sweep_block_membership
from lens_assets.simulated.coadds import Coadd
from lens_assets.simulated.sky import Brick
from lens_assets.survey.schemas import SWEEP_COLUMNS
from lens_assets.survey.units import BANDS, EXTINCTION_PER_EBV, PIXEL_SCALE_ARCSEC, depth_ivar_to_mag, mw_transmission

SWEEP_FOLDER = "south/sweep/10.1"
BRICKS_TABLE = "south/survey-bricks-dr10-south.fits.gz"
_TILE = (100, 100)
_BUNIT = {"image": "nanomaggy", "invvar": "1/nanomaggy^2", "psfsize": "arcsec"}


def coadd_path(brickname: str, plane: str, band: str = "") -> str:
    """Return the path of a coadd plane under the survey root; `band` is empty for maskbits."""
    suffix = f"-{band}" if band else ""
    return f"south/coadd/{brickname[:3]}/{brickname}/legacysurvey-{brickname}-{plane}{suffix}.fits.fz"


def coadd_header(brick: Brick, plane: str, band: str) -> fits.Header:
    """Return the header of a coadd plane: survey, brick, band, TAN projection and unit."""
    header = fits.Header()
    header["SURVEY"] = ("DECaLS", "simulated in the format of the survey")
    header["SURVEYDR"] = ("DR10", "format of this data release")
    header["DRVERSIO"] = (brick.release, "survey data release number")
    header["PROCTYPE"], header["OBSTYPE"] = "tile", "object"
    header["BRICKNAM"] = (brick.name, "LegacySurvey brick RRRr[pm]DDd")
    header["BRICKID"] = brick.brickid
    header["RAMIN"], header["RAMAX"] = brick.grid["ra1"], brick.grid["ra2"]
    header["DECMIN"], header["DECMAX"] = brick.grid["dec1"], brick.grid["dec2"]
    header["BRICKRA"], header["BRICKDEC"] = brick.plane.ra_deg, brick.plane.dec_deg
    header["BRICKBND"] = ("".join(BANDS), "bands touching this brick")
    if band:
        header["FILTER"] = header["BAND"] = band
        header["MAGZERO"] = (22.5, "magnitude zero point")
    for axis, value in ((1, brick.plane.ra_deg), (2, brick.plane.dec_deg)):
        header[f"CTYPE{axis}"] = ("RA---TAN", "DEC--TAN")[axis - 1]
        header[f"CRVAL{axis}"] = value
        header[f"CRPIX{axis}"] = brick.plane.reference_pixel + 1.0
    scale = PIXEL_SCALE_ARCSEC / 3600.0
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -scale, 0.0, 0.0, scale
    header["EQUINOX"] = 2000.0
    header["IMTYPE"] = header["PRODTYPE"] = plane
    if plane in _BUNIT:
        header["BUNIT"] = _BUNIT[plane]
    return header


def write_coadd(root: Path, brick: Brick, coadd: Coadd, quantisation_nanomaggy: float) -> None:
    """Write image, invvar, nexp and psfsize of every band, and maskbits, as Rice-compressed tiles.

    Images are quantised in fixed steps with subtractive dithering that keeps exact zeros (SUBTRACTIVE_DITHER_2, `qz`);
    invvar and psfsize in steps relative to their range; counts and masks lose nothing.
    """
    for band in BANDS:
        steps = {"image": -quantisation_nanomaggy, "psfsize": -1e-4}
        planes = {"image": coadd.image[band], "invvar": coadd.invvar[band], "psfsize": coadd.psfsize[band]}
        for plane, values in planes.items():
            step = steps.get(plane, -max(float(values.max()) * 1e-5, 1e-6))
            _write_compressed(
                root / coadd_path(brick.name, plane, band), values, coadd_header(brick, plane, band), step
            )
        _write_compressed(
            root / coadd_path(brick.name, "nexp", band), coadd.nexp[band], coadd_header(brick, "nexp", band), None
        )
    _write_compressed(
        root / coadd_path(brick.name, "maskbits"), coadd.maskbits, coadd_header(brick, "maskbits", ""), None
    )


def _write_compressed(path: Path, values: NDArray[np.generic], header: fits.Header, step: float | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    quantisation = {} if step is None else {"quantize_level": step, "quantize_method": 2, "dither_seed": 1}
    hdu = fits.CompImageHDU(values, header=header, compression_type="RICE_1", tile_shape=_TILE, **quantisation)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


def write_sweeps(root: Path, sources: pd.DataFrame, overlap_deg: float) -> dict[str, int]:
    """Write the sweep files of all sources; return rows by file name. Rows are in the order of (BRICKID, OBJID)."""
    folder = root / SWEEP_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    ordered = sources.sort_values(["BRICKID", "OBJID"], kind="stable")
    members = sweep_block_membership(ordered["RA"].to_numpy(), ordered["DEC"].to_numpy(), overlap_deg)
    for name, rows in members.items():
        _sweep_table(ordered.iloc[rows]).writeto(folder / name)
    return {name: len(rows) for name, rows in members.items()}


def _sweep_table(sources: pd.DataFrame) -> fits.HDUList:
    records = np.zeros(len(sources), dtype=[(column.name, column.dtype) for column in SWEEP_COLUMNS])
    for column in SWEEP_COLUMNS:
        if column.name == "DCHISQ":
            records["DCHISQ"] = _dchisq(sources)
        else:
            records[column.name] = sources[column.name].to_numpy()
    hdu = fits.BinTableHDU(records, name="SWEEP")
    for index, column in enumerate(SWEEP_COLUMNS, start=1):
        if column.unit:
            hdu.header[f"TUNIT{index}"] = column.unit
    return fits.HDUList([fits.PrimaryHDU(), hdu])


def _dchisq(sources: pd.DataFrame) -> NDArray[np.float32]:
    """Return the gain in chi^2 of the models PSF, REX, DEV, EXP, SER over no source: largest for the chosen one."""
    significance = np.square(sources["FLUX_R"].to_numpy(float)) * sources["FLUX_IVAR_R"].to_numpy(float)
    shares = {"PSF": 0.90, "REX": 0.95, "DEV": 0.97, "EXP": 0.96, "SER": 0.98}
    chosen = sources["TYPE"].to_numpy(dtype=object)
    return np.stack(
        [significance * np.where(chosen == name, 1.0, share) for name, share in shares.items()], axis=1
    ).astype(np.float32)


def bricks_table(bricks: tuple[Brick, ...], sources: pd.DataFrame) -> pd.DataFrame:
    """Return the summary table of the bricks. Its depths are AB magnitudes, unlike the columns of a sweep file."""
    rows = []
    by_brick = dict(list(sources.groupby("BRICKNAME")))
    for brick in bricks:
        held = by_brick.get(brick.name, sources.iloc[:0])
        row: dict[str, object] = {"brickname": brick.name, "brickid": brick.brickid, **brick.grid}
        for band in BANDS:
            state = brick.conditions.bands[band]
            upper = band.upper()
            row[f"nexp_{band}"] = state.exposures
            row[f"psfsize_{band}"] = state.psf_fwhm_arcsec
            row[f"psfdepth_{band}"] = state.psf_depth_mag
            galdepth = held.loc[held[f"GALDEPTH_{upper}"] > 0, f"GALDEPTH_{upper}"]
            row[f"galdepth_{band}"] = float(depth_ivar_to_mag(galdepth.median())) if len(galdepth) else 0.0
            row[f"trans_{band}"] = float(mw_transmission(brick.conditions.ebv, band))
            row[f"ext_{band}"] = EXTINCTION_PER_EBV[band] * brick.conditions.ebv
        row["ebv"] = brick.conditions.ebv
        row["nobjs"] = len(held)
        for name in ("PSF", "REX", "DEV", "EXP", "SER", "DUP"):
            row[f"n{name.lower()}"] = int((held["TYPE"] == name).sum())
        row["area"] = (brick.plane.pixels * PIXEL_SCALE_ARCSEC / 3600.0) ** 2
        row["survey_primary"], row["in_desi"] = True, True
        rows.append(row)
    return pd.DataFrame(rows)


def write_bricks_table(root: Path, bricks: tuple[Brick, ...], sources: pd.DataFrame) -> None:
    """Write the bricks table, gzipped without a time stamp so that its bytes depend on its content alone."""
    table = bricks_table(bricks, sources)
    types = {"f": "f4", "i": "i4", "u": "i4", "b": "?", "O": "S8", "U": "S8"}
    double = {"ra", "dec", "ra1", "ra2", "dec1", "dec2"}
    dtype = [(name, "f8" if name in double else types.get(np.dtype(kind).kind, "S8") if isinstance(kind, np.dtype) else "S8")  # noqa: E501
             for name, kind in table.dtypes.items()]  # fmt: skip
    records = np.zeros(len(table), dtype=dtype)
    for name in table.columns:
        records[name] = table[name].to_numpy()
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(records)]).writeto(buffer)
    path = root / BRICKS_TABLE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
