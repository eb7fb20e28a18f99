"""Pictures of real galaxies as lensed sources: speed and error against lenstronomy's INTERPOL, one core, three bands.

    python -m benchmarks picture_sources

The pictures are Sersic profiles with spiral knots and a telescope's PSF of 0.1 arcsec, 128 x 128 pixels of 0.03 arcsec,
one for each lens of the renderer's benchmark. Errors are those of the stamp's total and of its worst pixel in units of
the peak, in r after convolution, against the same pictures on 24 x 24 rays a pixel. lenstronomy stands twice, as in the
renderer's benchmark: one call of `image` a band, and one ray shooting shared by three convolutions.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

from benchmarks._interleaved import interleaved_seconds, ratio, with_settled_environment
from benchmarks.renderer import BETA, FWHM_ARCSEC, SCALE, SIZE, errors, systems

SIDE_PX, PICTURE_SCALE_ARCSEC = 128, 0.03


def pictures(count: int) -> list:
    """Return pictures of clumpy galaxies, unit flux, (SIDE_PX, SIDE_PX) each."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    stream = np.random.default_rng(11)
    axis = (np.arange(SIDE_PX) - (SIDE_PX - 1) / 2) * PICTURE_SCALE_ARCSEC
    x, y = np.meshgrid(axis, axis)
    found = []
    for _ in range(count):
        radius, q = stream.uniform(0.15, 0.4), stream.uniform(0.4, 1.0)
        image = np.exp(-1.678 * np.hypot(x * np.sqrt(q), y / np.sqrt(q)) / radius)
        for _ in range(8):
            place = stream.normal(0.0, 1.5 * radius, 2)
            image += stream.uniform(0.05, 0.3) * np.exp(-(np.hypot(x - place[0], y - place[1]) ** 2) / (2 * 0.04**2))
        image = gaussian_filter(image, 0.1 / 2.355 / PICTURE_SCALE_ARCSEC)
        found.append(image / image.sum())
    return found


def renderer(lenses: dict, images: list, rays_per_pixel: int, double: bool = False) -> Callable[[], object]:
    """Return a function that renders all lenses in three bands with the project's renderer."""
    import torch

    from lens_assets.lensing import image_sources
    from lens_assets.lensing.canvas import Canvas
    from lens_assets.lensing.mass import mass_constants

    dtype = torch.float64 if double else torch.float32
    torch.set_num_threads(1)
    sources = [image_sources.SourceImage(image, PICTURE_SCALE_ARCSEC) for image in images]

    def render() -> object:
        image_sources.RAYS_PER_PIXEL = rays_per_pixel
        mass = mass_constants(*(lenses[k] for k in ("theta_e", "q", "angle_deg", "g1", "g2", "x", "y")), dtype)
        canvas = Canvas(SIZE, SCALE, dtype)
        rays = image_sources.shoot_images(
            sources, mass, lenses["source_x"], lenses["source_y"], lenses["source_angle_deg"], SIZE, SCALE
        )
        widths = torch.tensor([FWHM_ARCSEC] * len(sources), dtype=dtype)
        return canvas.convolve(canvas.deposit(rays, len(sources)), widths, BETA).numpy()

    return render


def lenstronomy(lenses: dict, images: list, supersampling: int, shared: bool) -> Callable[[], object]:
    """Return a function that renders all lenses in three bands with lenstronomy's `INTERPOL` source."""
    import numpy as np
    from lenstronomy.Data.pixel_grid import PixelGrid
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel

    from lens_assets.lensing.conversions import lens_to_lenstronomy

    corner = -(SIZE - 1) / 2 * SCALE
    grid = PixelGrid(nx=SIZE, ny=SIZE, transform_pix2angle=np.eye(2) * SCALE, ra_at_xy_0=corner, dec_at_xy_0=corner)
    reach = np.arange(-27, 28) * SCALE
    psfs = []
    for width in FWHM_ARCSEC:
        scale = width / (2 * np.sqrt(2 ** (1 / BETA) - 1))
        kernel = (1 + (reach[:, None] ** 2 + reach**2) / scale**2) ** -BETA
        psfs.append(PSF("PIXEL", kernel_point_source=kernel / kernel.sum()))
    numerics = {"supersampling_factor": supersampling, "supersampling_convolution": False}
    names = {"theta_e": "theta_e_arcsec", "q": "lens_axis_ratio", "angle_deg": "lens_angle_deg", "g1": "shear_g1",
             "g2": "shear_g2", "x": "lens_x_arcsec", "y": "lens_y_arcsec"}  # fmt: skip

    def models() -> list:
        # INTERPOL keeps the spline of the picture it saw first, so every picture needs a model of its own.
        light = LightModel(["INTERPOL"])
        lens = LensModel(["SIE", "SHEAR"])
        return [ImageModel(grid, psf, lens, light, kwargs_numerics=numerics) for psf in psfs]

    own = [models() for _ in images]

    def render() -> object:
        stamps = np.empty((len(images), len(psfs), SIZE, SIZE))
        for row, image in enumerate(images):
            columns = {name: float(lenses[key][row]) for key, name in names.items()}
            lens = lens_to_lenstronomy({**columns, "lens_density_slope": 2.0})[1]
            source = {"image": image / PICTURE_SCALE_ARCSEC**2, "amp": 1.0, "scale": PICTURE_SCALE_ARCSEC,
                      "center_x": float(lenses["source_x"][row]), "center_y": float(lenses["source_y"][row]),
                      "phi_G": float(np.deg2rad(lenses["source_angle_deg"][row]))}  # fmt: skip
            bare = own[row][0].image(lens, [source], unconvolved=True) if shared else None
            for plane, model in enumerate(own[row]):
                if shared:
                    stamps[row, plane] = model.ImageNumerics.convolution_class.convolution2d(bare)
                else:
                    stamps[row, plane] = model.image(lens, [source], unconvolved=False)
        return stamps

    return render


def main() -> None:
    """Print one line a method: stamps a second and core, ratio to lenstronomy at supersampling 5, errors."""
    with_settled_environment()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options, _ = parser.parse_known_args()
    lenses = systems()
    images = pictures(len(lenses["theta_e"]))
    reference = renderer(lenses, images, 24, double=True)()
    a_call_a_band, shared = "INTERPOL 5, a call a band", "INTERPOL 5, shared rays"
    methods = {
        "renderer, 4 x 4 rays a pixel": renderer(lenses, images, 4),
        "renderer, 6 x 6 rays a pixel": renderer(lenses, images, 6),
        a_call_a_band: lenstronomy(lenses, images, 5, shared=False),
        shared: lenstronomy(lenses, images, 5, shared=True),
    }
    results = {name: method() for name, method in methods.items()}
    seconds = interleaved_seconds(methods, options.rounds)
    print(f"{'method':30s} stamps/s  x a call a band     x shared rays        flux med/max      peak med/max")
    for name, times in seconds.items():
        rate = len(images) / statistics.median(times)
        ratios = f"{ratio(seconds, a_call_a_band, name):>18s} {ratio(seconds, shared, name):>18s}"
        print(f"{name:30s} {rate:8.1f} {ratios}  {errors(results[name], reference)}")


if __name__ == "__main__":
    main()
