"""The one home of the DR10 sweep format: column names, types, units, mask bits, and what older releases lack.

Source: https://www.legacysurvey.org/dr10/files/#sweep-catalogs and https://www.legacysurvey.org/dr10/bitmasks/;
bit names as in legacypipe (`py/legacypipe/bits.py`). No reading of files here: see `sweeps.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag

OPTICAL_BANDS = ("g", "r", "i", "z")
WISE_BANDS = ("w1", "w2", "w3", "w4")
TRACTOR_TYPES = ("PSF", "REX", "DEV", "EXP", "SER", "DUP")
"""Morphological models of DR9 and DR10. DR3 and DR7 used SIMP and COMP, which have no equal here."""


@dataclass(frozen=True)
class SweepColumn:
    """One column of a sweep file: its upper-case FITS name, numpy type (without byte order) and unit."""

    name: str
    dtype: str
    unit: str = ""


def _per_band(stem: str, bands: Iterable[str], dtype: str, unit: str = "") -> list[SweepColumn]:
    return [SweepColumn(f"{stem}_{band.upper()}", dtype, unit) for band in bands]


def _sweep_columns() -> tuple[SweepColumn, ...]:
    all_bands = (*OPTICAL_BANDS, *WISE_BANDS)
    columns = [
        SweepColumn("RELEASE", "i2"),
        SweepColumn("BRICKID", "i4"),
        SweepColumn("BRICKNAME", "S8"),
        SweepColumn("OBJID", "i4"),
        SweepColumn("TYPE", "S3"),
        SweepColumn("RA", "f8", "deg"),
        SweepColumn("DEC", "f8", "deg"),
        SweepColumn("RA_IVAR", "f4", "1/deg^2"),
        SweepColumn("DEC_IVAR", "f4", "1/deg^2"),
        SweepColumn("DCHISQ", "5f4"),
        SweepColumn("EBV", "f4", "mag"),
    ]
    columns += _per_band("FLUX", all_bands, "f4", "nanomaggy")
    columns += _per_band("FLUX_IVAR", all_bands, "f4", "1/nanomaggy^2")
    columns += _per_band("FIBERFLUX", OPTICAL_BANDS, "f4", "nanomaggy")
    columns += _per_band("FIBERTOTFLUX", OPTICAL_BANDS, "f4", "nanomaggy")
    columns += _per_band("MW_TRANSMISSION", all_bands, "f4")
    columns += _per_band("NOBS", all_bands, "i2")
    columns += _per_band("RCHISQ", all_bands, "f4")
    columns += _per_band("FRACFLUX", all_bands, "f4")
    columns += _per_band("FRACMASKED", OPTICAL_BANDS, "f4")
    columns += _per_band("FRACIN", OPTICAL_BANDS, "f4")
    columns += _per_band("ANYMASK", OPTICAL_BANDS, "i2")
    columns += _per_band("ALLMASK", OPTICAL_BANDS, "i2")
    columns += _per_band("WISEMASK", ("w1", "w2"), "u1")
    columns += _per_band("PSFSIZE", OPTICAL_BANDS, "f4", "arcsec")
    columns += _per_band("PSFDEPTH", (*OPTICAL_BANDS, "w1", "w2"), "f4", "1/nanomaggy^2")
    columns += _per_band("GALDEPTH", OPTICAL_BANDS, "f4", "1/nanomaggy^2")
    columns += [
        SweepColumn("WISE_COADD_ID", "S8"),
        SweepColumn("SHAPE_R", "f4", "arcsec"),
        SweepColumn("SHAPE_R_IVAR", "f4", "1/arcsec^2"),
        SweepColumn("SHAPE_E1", "f4"),
        SweepColumn("SHAPE_E1_IVAR", "f4"),
        SweepColumn("SHAPE_E2", "f4"),
        SweepColumn("SHAPE_E2_IVAR", "f4"),
        SweepColumn("SERSIC", "f4"),
        SweepColumn("SERSIC_IVAR", "f4"),
        SweepColumn("MASKBITS", "i4"),
        SweepColumn("FITBITS", "i2"),
        SweepColumn("REF_CAT", "S2"),
        SweepColumn("REF_ID", "i8"),
        SweepColumn("REF_EPOCH", "f4", "yr"),
        SweepColumn("GAIA_PHOT_G_MEAN_MAG", "f4", "mag"),
        SweepColumn("GAIA_PHOT_G_MEAN_FLUX_OVER_ERROR", "f4"),
        SweepColumn("GAIA_PHOT_BP_MEAN_MAG", "f4", "mag"),
        SweepColumn("GAIA_PHOT_BP_MEAN_FLUX_OVER_ERROR", "f4"),
        SweepColumn("GAIA_PHOT_RP_MEAN_MAG", "f4", "mag"),
        SweepColumn("GAIA_PHOT_RP_MEAN_FLUX_OVER_ERROR", "f4"),
        SweepColumn("GAIA_ASTROMETRIC_EXCESS_NOISE", "f4"),
        SweepColumn("GAIA_DUPLICATED_SOURCE", "?"),
        SweepColumn("GAIA_PHOT_BP_RP_EXCESS_FACTOR", "f4"),
        SweepColumn("GAIA_ASTROMETRIC_SIGMA5D_MAX", "f4", "mas"),
        SweepColumn("GAIA_ASTROMETRIC_PARAMS_SOLVED", "u1"),
        SweepColumn("PARALLAX", "f4", "mas"),
        SweepColumn("PARALLAX_IVAR", "f4", "1/mas^2"),
        SweepColumn("PMRA", "f4", "mas/yr"),
        SweepColumn("PMRA_IVAR", "f4", "yr^2/mas^2"),
        SweepColumn("PMDEC", "f4", "mas/yr"),
        SweepColumn("PMDEC_IVAR", "f4", "yr^2/mas^2"),
    ]
    return tuple(columns)


SWEEP_COLUMNS = _sweep_columns()
SWEEP_DTYPES: dict[str, str] = {column.name: column.dtype for column in SWEEP_COLUMNS}
SWEEP_UNITS: dict[str, str] = {column.name: column.unit for column in SWEEP_COLUMNS}

NEEDED_COLUMNS: tuple[str, ...] = (
    "RELEASE", "BRICKID", "OBJID", "BRICKNAME", "RA", "DEC", "TYPE",
    "FLUX_G", "FLUX_R", "FLUX_I", "FLUX_Z", "FLUX_W1",
    "FLUX_IVAR_G", "FLUX_IVAR_R", "FLUX_IVAR_Z",
    "MW_TRANSMISSION_G", "MW_TRANSMISSION_R", "MW_TRANSMISSION_Z", "MW_TRANSMISSION_W1",
    "NOBS_G", "NOBS_R", "NOBS_Z",
    "PSFSIZE_G", "PSFSIZE_R", "PSFSIZE_Z",
    "PSFDEPTH_G", "PSFDEPTH_R", "PSFDEPTH_Z",
    "GALDEPTH_G", "GALDEPTH_R", "GALDEPTH_Z",
    "SHAPE_R", "SHAPE_E1", "SHAPE_E2", "SERSIC",
    "MASKBITS", "FITBITS", "EBV", "FRACFLUX_R", "REF_CAT",
)  # fmt: skip
"""What the lineage reads from a sweep file, in the order of the table `sweep_sources`."""

OPTIONAL_COLUMNS = frozenset({"FLUX_I"})
"""Columns that a readable file may lack: they are then null. DR9 has no i band."""

ROW_FILTER_COLUMN = "BRICK_PRIMARY"
"""In Tractor and `-extra` files only; sweep files hold primary rows and lack the column."""

FIRST_RELEASE_WITH: dict[str, str] = {"FLUX_I": "DR10", "REF_CAT": "DR8", "MASKBITS": "DR7", "EBV": "DR7"}
"""First release whose sweeps hold a column, where that is not DR9 (see `missing_columns`)."""


class Maskbits(IntFlag):
    """MASKBITS of DR10. SATUR and ALLMASK of i stand apart (14, 15): never compute a bit from a band index."""

    NPRIMARY = 1 << 0
    BRIGHT = 1 << 1
    SATUR_G = 1 << 2
    SATUR_R = 1 << 3
    SATUR_Z = 1 << 4
    ALLMASK_G = 1 << 5
    ALLMASK_R = 1 << 6
    ALLMASK_Z = 1 << 7
    WISEM1 = 1 << 8
    WISEM2 = 1 << 9
    BAILOUT = 1 << 10
    MEDIUM = 1 << 11
    GALAXY = 1 << 12
    """Near a large galaxy of the SGA."""
    CLUSTER = 1 << 13
    """Near a globular cluster; it has nothing to do with galaxy clusters."""
    SATUR_I = 1 << 14
    ALLMASK_I = 1 << 15
    SUB_BLOB = 1 << 16


class Fitbits(IntFlag):
    """FITBITS of DR9 and DR10: how the source was fitted."""

    FORCED_POINTSOURCE = 1 << 0
    FIT_BACKGROUND = 1 << 1
    HIT_RADIUS_LIMIT = 1 << 2
    HIT_SERSIC_LIMIT = 1 << 3
    FROZEN = 1 << 4
    BRIGHT = 1 << 5
    MEDIUM = 1 << 6
    GAIA = 1 << 7
    TYCHO2 = 1 << 8
    LARGEGALAXY = 1 << 9
    WALKER = 1 << 10
    RUNNER = 1 << 11
    GAIA_POINTSOURCE = 1 << 12
    ITERATIVE = 1 << 13


def bit_positions_to_mask(positions: Iterable[int]) -> int:
    """Return the integer mask of the given bit positions, e.g. (0, 3) -> 9."""
    mask = 0
    for position in positions:
        mask |= 1 << position
    return mask


def missing_columns(present: Iterable[str]) -> dict[str, str]:
    """Return the needed columns that `present` (any case) lacks, each with the first release that has it.

    DR9 is the first release with one Sersic profile a source (SERSIC, SHAPE_*), PSFSIZE and FITBITS;
    every needed column is in DR9 and DR10 sweeps, but for the i band, which only DR10 has.
    """
    held = {name.upper() for name in present}
    absent = [name for name in NEEDED_COLUMNS if name not in held and name not in OPTIONAL_COLUMNS]
    return {name: FIRST_RELEASE_WITH.get(name, "DR9") for name in absent}
