"""A tiny survey folder with two bricks, written by astropy in the layout of the coadds."""

from __future__ import annotations

from pathlib import Path

import astropy.io.fits as fits
import numpy as np
import pandas as pd
from astropy.wcs import WCS

from lens_assets.survey.files import SurveyFiles

PIXELS = 201
BRICKS = {"0100p010": (10.0, 1.0), "0110p010": (11.0, 1.0)}


def _header(ra: float, dec: float) -> fits.Header:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [ra, dec], [PIXELS / 2 + 0.5] * 2
    wcs.wcs.cd = np.diag([-0.262, 0.262]) / 3600
    header = wcs.to_header()
    for name, value in (("CD1_1", -0.262 / 3600), ("CD1_2", 0.0), ("CD2_1", 0.0), ("CD2_2", 0.262 / 3600)):
        header[name] = value
    return header


def write_bricks(root: Path) -> SurveyFiles:
    """Write both bricks under a root; the first 30 columns have no r coverage, one pixel of the mask is BRIGHT."""
    rng = np.random.default_rng(0)
    for brick, centre in BRICKS.items():
        folder = root / "south" / "coadd" / brick[:3] / brick
        folder.mkdir(parents=True)
        header = _header(*centre)
        for number, band in enumerate("grz"):
            image = rng.normal(0, 0.003, (PIXELS, PIXELS)).astype("f4")
            invvar = np.full((PIXELS, PIXELS), 1 / 0.003**2, "f4")
            if band == "r":
                image[:, :30], invvar[:, :30] = 0.0, 0.0
            planes = {"image": image, "invvar": invvar, "nexp": np.full((PIXELS, PIXELS), 3 + number, "i2"),
                      "psfsize": np.full((PIXELS, PIXELS), 1.3, "f4")}  # fmt: skip
            for product, plane in planes.items():
                path = folder / f"legacysurvey-{brick}-{product}-{band}.fits.fz"
                fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(plane, header)]).writeto(path)
        path = folder / f"legacysurvey-{brick}-maskbits.fits.fz"
        bits = np.zeros((PIXELS, PIXELS), "i4")
        bits[110, 110] = 2
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(bits, header)]).writeto(path)
    return SurveyFiles(str(root), "south/sweep/10.1", "south/coadd", "bricks.fits")


def wanted_positions() -> pd.DataFrame:
    """Return five positions a brick: centre, two inside, one at the edge, one without r coverage."""
    rows = []
    for brick, (ra, dec) in BRICKS.items():
        for number, (dx, dy) in enumerate([(0, 0), (40, 20), (-60, 5), (99, 0), (-88, 0)]):
            position = ra - dx * 0.262 / 3600 / np.cos(np.deg2rad(dec)), dec + dy * 0.262 / 3600
            rows.append((f"{brick}_{number}", *position, brick))
    return pd.DataFrame(rows, columns=["galaxy_id", "ra", "dec", "brickname"])
