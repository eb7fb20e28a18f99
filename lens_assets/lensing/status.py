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


EXPECTED: dict[InjectionStatus, str] = {
    InjectionStatus.PARAMETERS_NOT_FINITE: (
        "expected finite draws (only a magnitude may be infinite, for a null); look at the priors of injection.yaml"
    ),
    InjectionStatus.PSF_UNKNOWN: (
        "expected psfsize_g, _r and _z above 0 arcsec; leave such hosts out (negatives.yaml) or mend the catalogue"
    ),
    InjectionStatus.PSF_TOO_WIDE: (
        "expected a FWHM of at most a quarter of the stamp's side in every band; cut larger stamps "
        "(cutouts.stamp_pixels) or leave such hosts out"
    ),
    InjectionStatus.SKY_NOISE_UNKNOWN: (
        "expected a sky noise above 0 in every band of the host's cutout; look at the cutouts' sky_sigma and coverage"
    ),
    InjectionStatus.NO_LIGHT_ON_STAMP: (
        "expected lensed light within the stamp; look at injection.source.position and the grid's Einstein radii"
    ),
    InjectionStatus.HOST_UNREADABLE: "expected finite pixels in the host's cutout; cut it again",
    InjectionStatus.PARAMETERS_UNPHYSICAL: (
        "expected positive radii, axis ratios in (0, 1] and a slope whose mass is finite; look at the priors of "
        "injection.yaml and the sensitivity variants of selection_function.yaml"
    ),
}
"""What was expected where a bit is set, and what to do."""


def advice(status: int) -> str:
    """Return what a failed injection's bits stand for, what was expected and what to do."""
    bits = InjectionStatus(status)
    return "; ".join(f"{bit.name}: {text}" for bit, text in EXPECTED.items() if bit in bits)


def describe(status: int) -> str:
    """Return the names of the bits set, such as `PSF_UNKNOWN|SKY_NOISE_UNKNOWN`, or `OK`."""
    bits = InjectionStatus(status)
    return "|".join(str(bit.name) for bit in InjectionStatus if bit and bit in bits) or "OK"
