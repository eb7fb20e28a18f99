"""The schema against real files and the survey's bit tables."""

import fitsio
import numpy as np

from lens_assets.survey import schemas
from lens_assets_tests.survey.reference import reference_file


def test_types_agree_with_a_real_tractor_row():
    table = fitsio.FITS(str(reference_file("sweeps/dr9/tractor-1054p567.fits")))[1]
    held = {name.upper(): table.get_rec_dtype()[0][name] for name in table.get_colnames()}
    absent = {name for name in schemas.SWEEP_DTYPES if name not in held}
    assert all("_I" in name for name in absent)  # DR9 has no i band
    for name, text in schemas.SWEEP_DTYPES.items():
        if name in absent or name == "MASKBITS":  # widened from i2 to i4 in DR10
            continue
        expected = np.dtype(text)
        assert held[name].base.kind == expected.base.kind, name
        assert held[name].base.itemsize == expected.base.itemsize, name
        assert held[name].shape == expected.shape, name


def test_only_the_i_band_is_optional():
    present = [name for name in schemas.NEEDED_COLUMNS if name != "FLUX_I"]
    assert schemas.missing_columns(present) == {}
    assert schemas.missing_columns(name.lower() for name in present) == {}
    assert schemas.missing_columns(present[:-1]) == {present[-1]: "DR8"}


def test_bits_of_the_i_band_stand_apart():
    assert schemas.Maskbits.SATUR_Z == 16
    assert schemas.Maskbits.SATUR_I == 1 << 14
    assert schemas.Maskbits.SUB_BLOB == 65536
    assert schemas.Fitbits.ITERATIVE == 8192
    assert schemas.bit_positions_to_mask((1, 5, 6, 7)) == int(
        schemas.Maskbits.BRIGHT | schemas.Maskbits.ALLMASK_G | schemas.Maskbits.ALLMASK_R | schemas.Maskbits.ALLMASK_Z
    )
