"""Why an injection failed. Failed draws stay rows of every table, with these bits set; they are never dropped."""

from __future__ import annotations

from enum import IntFlag


class InjectionStatus(IntFlag):
    """Bits of the `status` column; zero is a rendered injection. A failed one carries its host's pixels unchanged."""

    OK = 0
    PARAMETERS_NOT_FINITE = 1
    """A drawn parameter is NaN or infinite (an infinite magnitude alone is a null injection, not a failure)."""
    PSF_UNKNOWN = 2
    """PSFSIZE of a band is missing or not positive."""
    PSF_TOO_WIDE = 4
    """The PSF's FWHM exceeds a quarter of the stamp, so its light cannot be followed."""
    SKY_NOISE_UNKNOWN = 8
    """The sky noise of a band is missing, so neither gain nor signal-to-noise can be inferred."""
    NO_LIGHT_ON_STAMP = 16
    """None of the lensed light falls on the stamp."""
    HOST_UNREADABLE = 32
    """The host's stamp has pixels that are not finite."""
    PARAMETERS_UNPHYSICAL = 64
    """A parameter is outside what a lens or source can have: a negative radius, an axis ratio above one, a slope whose
    mass or deflection is infinite."""


def describe(status: int) -> str:
    """Return the names of the bits set, such as `PSF_UNKNOWN|SKY_NOISE_UNKNOWN`, or `OK`."""
    bits = InjectionStatus(status)
    return "|".join(str(bit.name) for bit in InjectionStatus if bit and bit in bits) or "OK"
