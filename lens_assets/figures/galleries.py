"""Galleries of colour stamps: the one asinh colour mapping that every page of the project shows stamps with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Relative weights of g, r, z: the sky noise of the survey grows about 1 : 1.5 : 4 from g to z, and
# galaxies brighten the same way, so that a typical early type comes out near white with these.
BAND_WEIGHTS_GRZ = (2.2, 1.4, 0.7)


def lupton_rgb(
    stamps: NDArray[np.floating], stretch_nanomaggies: float = 0.03, softening: float = 6.0
) -> NDArray[np.uint8]:
    """Map g, r, z stamps to RGB so that colour does not depend on brightness.

    Lupton et al. 2004 (PASP 116, 133): with I the mean of the weighted bands, every band is multiplied
    by f(I)/I where f(I) = asinh(softening I / stretch) / softening, and a pixel that would exceed white
    is scaled down as a whole, which keeps its hue.

    `stamps` holds nanomaggies per pixel, (N, 3, H, W), bands g, r, z; `stretch_nanomaggies` is the weighted flux
    per pixel at which the linear part ends, `softening` Lupton's Q (larger shows fainter structure). The result is
    (N, H, W, 3) with z as red, r as green, g as blue; non-finite pixels are black.
    """
    stamps = np.asarray(stamps, dtype=np.float64)
    if stamps.ndim != 4 or stamps.shape[1] != 3:
        raise ValueError(f"stamps have shape {stamps.shape}, expected (N, 3, H, W) with bands g, r, z")
    weighted = np.nan_to_num(stamps) * np.asarray(BAND_WEIGHTS_GRZ)[None, :, None, None]
    intensity = np.clip(weighted.mean(axis=1), 1e-12, None)
    factor = np.arcsinh(softening * intensity / stretch_nanomaggies) / softening / intensity
    rgb = np.clip(weighted[:, ::-1] * factor[:, None], 0.0, None)
    rgb /= np.maximum(rgb.max(axis=1, keepdims=True), 1.0)
    return np.moveaxis((255.0 * rgb + 0.5).astype(np.uint8), 1, -1)


def gallery(
    stamps: NDArray[np.floating],
    titles: Sequence[str],
    columns: int = 8,
    stretch_nanomaggies: float = 0.03,
) -> Figure:
    """Draw stamps (N, 3, H, W) in nanomaggies as a grid of colour images with one title each.

    The survey's first row is the southern edge, so rows grow upwards and north is up.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if len(titles) != len(stamps):
        raise ValueError(f"{len(stamps)} stamps but {len(titles)} titles; give one title per stamp")
    columns = max(1, min(columns, max(1, len(stamps))))
    rows = max(1, -(-len(stamps) // columns))
    figure = Figure(figsize=(1.35 * columns, 1.5 * rows), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axis in axes:
        axis.axis("off")
    if not len(stamps):
        axes[0].text(0.5, 0.5, "no stamps", ha="center", va="center")
        return figure
    images = lupton_rgb(stamps, stretch_nanomaggies)
    for axis, image, title in zip(axes, images, titles, strict=False):
        axis.imshow(image, origin="lower", interpolation="nearest")
        axis.set_title(title, fontsize=6, pad=2)
    return figure
