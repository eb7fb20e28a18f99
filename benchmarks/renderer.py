"""Speed and error of the renderer against lenstronomy, in one process and on one core, rounds interleaved.

Run with `python benchmarks/renderer.py`. glibc returns large temporaries to the system after every call, which slows
lenstronomy threefold and flatters any ratio; the two malloc variables are set for both sides by starting again.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "268435456", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

SIZE, SCALE, BETA = 101, 0.262, 3.5
FWHM_ARCSEC = (1.3, 1.2, 1.1)
RADII, INDICES, THETAS = (0.05, 0.1, 0.2, 0.5), (1.0, 2.5, 4.0), (0.5, 1.0, 1.5, 2.0, 3.0)


def with_settled_environment() -> None:
    """Start again with malloc and thread variables set, since both are read only at start."""
    wanted = MALLOC | ONE_THREAD
    if all(os.environ.get(name) == value for name, value in wanted.items()):
        return
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)  # noqa: S606


def systems() -> dict[str, object]:
    """Return 60 lenses over Einstein radius, source size and Sersic index, as arrays by truth column."""
    import numpy as np

    stream = np.random.default_rng(7)
    theta, radius, index = np.array([(t, r, n) for t in THETAS for r in RADII for n in INDICES]).T
    count = len(theta)
    offset, direction = theta * stream.uniform(0.02, 0.35, count), stream.uniform(0, 2 * np.pi, count)
    lens_x, lens_y = stream.uniform(-0.13, 0.13, (2, count))
    return {
        "theta_e": theta,
        "q": stream.uniform(0.55, 0.95, count),
        "angle_deg": stream.uniform(0, 180, count),
        "g1": stream.normal(0, 0.03, count),
        "g2": stream.normal(0, 0.03, count),
        "x": lens_x,
        "y": lens_y,
        "source_x": lens_x + offset * np.cos(direction),
        "source_y": lens_y + offset * np.sin(direction),
        "radius": radius,
        "index": index,
        "source_q": stream.uniform(0.4, 1.0, count),
        "source_angle_deg": stream.uniform(0, 180, count),
    }


def quadtree(lenses: dict, tolerance: float, batch: int, double: bool = False) -> Callable[[], object]:
    """Return a function that renders all lenses in three bands with the project's renderer."""
    import torch

    from lens_assets.lensing.canvas import Canvas
    from lens_assets.lensing.light import light_constants
    from lens_assets.lensing.mass import MassConstants, mass_constants
    from lens_assets.lensing.rays import LightConstants, Profiles, shoot

    dtype = torch.float64 if double else torch.float32
    torch.set_num_threads(1)

    def render() -> object:
        mass = mass_constants(*(lenses[k] for k in ("theta_e", "q", "angle_deg", "g1", "g2", "x", "y")), dtype)
        names = ("source_x", "source_y", "radius", "index", "source_q", "source_angle_deg")
        light = light_constants(*(lenses[name] for name in names), dtype=dtype)
        canvas = Canvas(SIZE, SCALE, dtype)
        stamps = []
        for start in range(0, len(lenses["theta_e"]), batch):
            rows = slice(start, start + batch)
            part_mass = MassConstants(*(column[rows] for column in mass))
            part_light = LightConstants(*(column[rows] for column in light))
            count = len(part_mass.x_arcsec)
            rays = shoot(Profiles(part_mass, part_light, torch.arange(count)), SIZE, SCALE, tolerance)
            widths = torch.tensor([FWHM_ARCSEC] * count, dtype=dtype)
            stamps.append(canvas.convolve(canvas.deposit(rays, count), widths, BETA))
        return torch.cat(stamps).numpy()

    return render


def lenstronomy(lenses: dict, supersampling: int) -> Callable[[], object]:
    """Return a function that renders all lenses in three bands with lenstronomy, native-pixel convolution."""
    import numpy as np
    from lenstronomy.Data.pixel_grid import PixelGrid
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    from lens_assets.lensing.geometry import angle_from_x_rad
    from lens_assets.lensing.light import light_constants

    corner = -(SIZE - 1) / 2 * SCALE
    grid = PixelGrid(nx=SIZE, ny=SIZE, transform_pix2angle=np.eye(2) * SCALE, ra_at_xy_0=corner, dec_at_xy_0=corner)
    reach = np.arange(-27, 28) * SCALE
    kernels = []
    for width in FWHM_ARCSEC:
        scale = width / (2 * np.sqrt(2 ** (1 / BETA) - 1))
        kernels.append((1 + (reach[:, None] ** 2 + reach**2) / scale**2) ** -BETA)
    psfs = [PSF("PIXEL", kernel_point_source=kernel / kernel.sum()) for kernel in kernels]
    numerics = {"supersampling_factor": supersampling, "supersampling_convolution": False}
    models = [
        ImageModel(grid, psf, LensModel(["SIE", "SHEAR"]), LightModel(["SERSIC_ELLIPSE"]), kwargs_numerics=numerics)
        for psf in psfs
    ]
    ones = np.ones(1)

    def arguments(row: int) -> tuple[list[dict], list[dict]]:
        value = {name: float(column[row]) for name, column in lenses.items()}
        e1, e2 = phi_q2_ellipticity(float(angle_from_x_rad(value["angle_deg"])), value["q"])
        s1, s2 = phi_q2_ellipticity(float(angle_from_x_rad(value["source_angle_deg"])), value["source_q"])
        amplitude = light_constants(ones * 0, ones * 0, ones * value["radius"], ones * value["index"], ones, ones * 0)
        lens = [
            {"theta_E": value["theta_e"], "e1": e1, "e2": e2, "center_x": value["x"], "center_y": value["y"]},
            {"gamma1": value["g1"], "gamma2": value["g2"], "ra_0": value["x"], "dec_0": value["y"]},
        ]
        source = {"amp": float(amplitude.brightness_at_half_light), "R_sersic": value["radius"], "e1": s1, "e2": s2,
                  "n_sersic": value["index"], "center_x": value["source_x"], "center_y": value["source_y"]}  # fmt: skip
        return lens, [source]

    def render() -> object:
        stamps = np.empty((len(lenses["theta_e"]), len(models), SIZE, SIZE))
        for row in range(len(stamps)):
            lens, source = arguments(row)
            for plane, model in enumerate(models):
                stamps[row, plane] = model.image(lens, source, unconvolved=False)
        return stamps

    def render_shared() -> object:
        """One ray shooting, three convolutions: the fastest way lenstronomy offers for bands of one morphology."""
        stamps = np.empty((len(lenses["theta_e"]), len(models), SIZE, SIZE))
        for row in range(len(stamps)):
            lens, source = arguments(row)
            bare = models[0].image(lens, source, unconvolved=True)
            for plane, model in enumerate(models):
                stamps[row, plane] = model.ImageNumerics.convolution_class.convolution2d(bare)
        return stamps

    try:
        render_shared()
    except AttributeError:
        return render
    return render_shared


def errors(stamps: object, reference: object) -> str:
    """Return median and maximum of the flux error and of the peak error in r, after convolution."""
    import numpy as np

    flux = np.abs(stamps[:, 1].sum(axis=(1, 2)) / reference[:, 1].sum(axis=(1, 2)) - 1)
    peak = np.abs(stamps[:, 1] - reference[:, 1]).max(axis=(1, 2)) / reference[:, 1].max(axis=(1, 2))
    return f"{np.median(flux):8.1e} {flux.max():8.1e} {np.median(peak):8.1e} {peak.max():8.1e}"


def main() -> None:
    """Print one line a method: stamps a second and core, errors, and the ratio to lenstronomy at supersampling 5."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow", action="store_true", help="also lenstronomy at supersampling 15 (minutes)")
    options = parser.parse_args()
    lenses = systems()
    reference = quadtree(lenses, 1e-7, 6, double=True)()
    methods = {
        "quadtree, tolerance 1e-4": quadtree(lenses, 1e-4, 60),
        "quadtree, tolerance 3e-5": quadtree(lenses, 3e-5, 60),
        "lenstronomy, supersampling 5": lenstronomy(lenses, 5),
    }
    if options.slow:
        methods["lenstronomy, supersampling 15"] = lenstronomy(lenses, 15)
    results = {name: method() for name, method in methods.items()}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(options.rounds):
        for name, method in methods.items():
            start = time.perf_counter()
            method()
            seconds[name].append(time.perf_counter() - start)
    count = len(reference)
    base = statistics.median(seconds["lenstronomy, supersampling 5"])
    print(f"{'method':32s} stamps/s    x s=5   flux med  flux max  peak med  peak max")
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"{name:32s} {count / middle:8.1f} {base / middle:8.1f}  {errors(results[name], reference)}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    with_settled_environment()
    main()
