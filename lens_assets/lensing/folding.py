"""The product of spectra and PSFs, and its decimation to pixels, compiled: four aliases of each frequency are added.

The spectrum of a real grid is kept for half its frequencies, (cells, cells/2 + 1), and so is that of its pixels,
(cells/2, cells/4 + 1). Row r takes up row r + cells/2, and column c the conjugate of column cells/2 - c of the opposite
row. PSF and correction are the same in all quadrants, so they are laid out for one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lens_assets.lensing.machine_code import compiled


@compiled
def fold(spectra: Any, transfers: Any, index: Any, correction: Any, folded: Any) -> None:
    """Fill folded spectra (stamps, bands, rows, 2 (rows/2 + 1)) of grids' spectra (stamps, 2 rows, 2 (rows + 1)).

    Real and imaginary parts lie side by side, float32. `transfers` (stamps, bands, wavenumbers) are looked up by
    `index`, and `correction` multiplies them; both (rows + 1, rows + 1).
    """
    rows = folded.shape[2]
    quadrant = np.empty((rows + 1, rows + 1), np.float32)
    for stamp in range(folded.shape[0]):
        for band in range(folded.shape[1]):
            transfer = transfers[stamp, band]
            for r in range(rows + 1):
                for c in range(rows + 1):
                    quadrant[r, c] = transfer[index[r, c]] * correction[r, c]
            for r in range(rows):
                _fold_row(spectra[stamp], quadrant, r, (rows - r) % rows, rows, folded[stamp, band, r])


@compiled
def _fold_row(spectrum: Any, quadrant: Any, r: int, opposite: int, rows: int, out: Any) -> None:
    own, above = spectrum[r], spectrum[r + rows]
    own_share, above_share = quadrant[r], quadrant[rows - r]
    facing, facing_above = spectrum[opposite], spectrum[opposite + rows]
    facing_share, facing_above_share = quadrant[opposite], quadrant[rows - opposite]
    for c in range(rows // 2 + 1):
        a, b, d, e = own_share[c], above_share[c], facing_share[rows - c], facing_above_share[rows - c]
        real, imaginary = 2 * c, 2 * c + 1
        far_real, far_imaginary = 2 * (rows - c), 2 * (rows - c) + 1
        out[real] = (own[real] * a + above[real] * b) + (facing[far_real] * d + facing_above[far_real] * e)
        out[imaginary] = (own[imaginary] * a + above[imaginary] * b) - (
            facing[far_imaginary] * d + facing_above[far_imaginary] * e
        )
