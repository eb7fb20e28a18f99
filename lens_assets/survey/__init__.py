"""DR10's formats: schemas, bits, units, sweeps, bricks, coadds, the cutout service."""
