"""Speed and error of the renderer against lenstronomy: 80 lenses, three bands, one core.

    python -m benchmarks renderer                   lenstronomy at supersampling 5
    python -m benchmarks renderer --slow            also at supersampling 15 (minutes)
    python -m benchmarks renderer --random 300      errors of so many random systems (0.3 s each)

The 80 span Einstein radii of 0.5 to 3 arcsec, half-light radii of 0.05 to 0.5, Sersic indices of 0.5 to 4 and sources
out to 1.2 Einstein radii; the random ones are drawn from the same ranges.

lenstronomy stands twice: one `ImageModel.image` call a band, which is what it offers, and one ray shooting shared by
the three convolutions, put together by hand. Errors are those of the stamp's total and of its worst pixel in units of
the peak, in r after convolution, against the renderer in float64 at a tolerance of 1e-7. That reference is itself
checked against an integration that shares nothing with it: other deflections and profiles, cells chosen by distance and
not by error, Gauss-Legendre rules, and the Moffat summed over all points instead of Fourier transforms.
"""

from __future__ import annotations

import argparse
import resource
import statistics
from collections.abc import Callable

from benchmarks._interleaved import interleaved_seconds, ratio, with_settled_environment

SIZE, SCALE, BETA = 101, 0.262, 3.5
FWHM_ARCSEC = (1.3, 1.2, 1.1)
TOLERANCE = 1e-5
"""That of the campaigns."""

BATCH = 80

RADII, INDICES, THETAS = (0.05, 0.1, 0.2, 0.5), (0.5, 1.0, 2.5, 4.0), (0.5, 1.0, 1.5, 2.0, 3.0)


def systems() -> dict[str, object]:
    """Return 80 lenses over Einstein radius, source size and Sersic index, as arrays by truth column."""
    import numpy as np

    theta, radius, index = np.array([(t, r, n) for t in THETAS for r in RADII for n in INDICES]).T
    return around(np.random.default_rng(7), theta, radius, index)


def random_systems(count: int) -> dict[str, object]:
    """Return as many lenses drawn over the same ranges; every third source is of the smallest size."""
    import numpy as np

    stream = np.random.default_rng(11)
    radius = np.exp(stream.uniform(np.log(RADII[0]), np.log(RADII[-1]), count))
    radius[::3] = RADII[0]
    index = stream.uniform(INDICES[0], INDICES[-1], count)
    return around(stream, stream.uniform(THETAS[0], THETAS[-1], count), radius, index)


def around(stream: object, theta: object, radius: object, index: object) -> dict[str, object]:
    """Return systems of these Einstein radii, source sizes and Sersic indices, everything else random."""
    import numpy as np

    count = len(theta)
    offset, direction = theta * stream.uniform(0.0, 1.2, count), stream.uniform(0, 2 * np.pi, count)
    lens_x, lens_y = stream.uniform(-0.13, 0.13, (2, count))
    return {
        "theta_e": theta,
        "q": stream.uniform(0.3, 0.99, count),
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
    from lens_assets.lensing.compiled import light_on
    from lens_assets.lensing.light import light_constants
    from lens_assets.lensing.mass import MassConstants, mass_constants
    from lens_assets.lensing.rays import LightConstants, Profiles

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
            grid = light_on(canvas, Profiles(part_mass, part_light, torch.arange(count)), count, tolerance)
            widths = torch.tensor([FWHM_ARCSEC] * count, dtype=dtype)
            stamps.append(canvas.convolve(grid, widths, BETA))
        return torch.cat(stamps).numpy()

    return render


def lenstronomy(lenses: dict, supersampling: int, shared: bool) -> Callable[[], object]:
    """Return a function that renders all lenses in three bands with lenstronomy, native-pixel convolution.

    With `shared`, rays are shot once and convolved three times; else each band is one call of `image`.
    """
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
            if shared:
                bare = models[0].image(lens, source, unconvolved=True)
                for plane, model in enumerate(models):
                    stamps[row, plane] = model.ImageNumerics.convolution_class.convolution2d(bare)
            else:
                for plane, model in enumerate(models):
                    stamps[row, plane] = model.image(lens, source, unconvolved=False)
        return stamps

    return render


def check_reference(lenses: dict, reference: object) -> str:
    """Return the largest disagreement of reference and brute force over all lenses, at their eight brightest pixels."""
    import numpy as np

    from lens_assets.lensing.geometry import pixel_centres_arcsec
    from lens_assets.simulated.brute_force import convolved, rays_of
    from lens_assets.simulated.ray_shooting import Blob, LensModel

    axis = pixel_centres_arcsec(SIZE, SCALE)
    worst = 0.0
    for row in range(len(reference)):
        image = reference[row, 1]
        spread = np.argsort(image, axis=None)[::-1][[0, 1, 3, 7, 15, 40, 100, 300]]
        rows, columns = np.unravel_index(spread, image.shape)
        value = {name: float(column[row]) for name, column in lenses.items()}
        lens = LensModel(*(value[name] for name in ("theta_e", "q", "angle_deg", "g1", "g2", "x", "y")))
        names = ("source_x", "source_y", "radius", "index", "source_q", "source_angle_deg")
        rays, flux = rays_of(lens, Blob(1.0, *(value[name] for name in names)), SIZE, SCALE)
        seen = convolved(rays, flux, axis[columns] + 1j * axis[rows], FWHM_ARCSEC[1], BETA, SCALE)
        worst = max(worst, float(np.abs(seen - image[rows, columns]).max() / image.max()))
    return f"reference against brute force: worst of 8 pixels of each of {len(reference)} lenses {worst:.1e} of peak"


def bytes_are_stable(lenses: dict) -> bool:
    """Return whether batches of one and of all give the same bytes."""
    import numpy as np

    return np.array_equal(quadtree(lenses, TOLERANCE, 1)(), quadtree(lenses, TOLERANCE, BATCH)())


def errors(stamps: object, reference: object) -> str:
    """Return median and maximum of the flux error and of the peak error in r, after convolution."""
    import numpy as np

    flux = np.abs(stamps[:, 1].sum(axis=(1, 2)) / reference[:, 1].sum(axis=(1, 2)) - 1)
    peak = np.abs(stamps[:, 1] - reference[:, 1]).max(axis=(1, 2)) / reference[:, 1].max(axis=(1, 2))
    return f"{np.median(flux):8.1e} {flux.max():8.1e} {np.median(peak):8.1e} {peak.max():8.1e}"


def main() -> None:
    """Print one line a method: stamps a second and core, ratios to lenstronomy at supersampling 5, errors."""
    with_settled_environment()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow", action="store_true", help="also lenstronomy at supersampling 15 (minutes)")
    parser.add_argument("--random", type=int, default=100, help="random systems whose errors are shown")
    options, _ = parser.parse_known_args()
    many = random_systems(options.random)
    if options.random:
        found = errors(quadtree(many, TOLERANCE, BATCH)(), quadtree(many, 1e-7, 6, double=True)())
        print(f"{options.random} random systems at tolerance 1e-5: flux and peak errors, med/max {found}")
    lenses = systems()
    reference = quadtree(lenses, 1e-7, 6, double=True)()
    print(check_reference(lenses, reference))
    a_call_a_band, shared = "lenstronomy 5, a call a band", "lenstronomy 5, shared rays"
    methods = {
        "renderer, tolerance 1e-5": quadtree(lenses, TOLERANCE, BATCH),
        "renderer, tolerance 3e-5": quadtree(lenses, 3e-5, BATCH),
        a_call_a_band: lenstronomy(lenses, 5, shared=False),
        shared: lenstronomy(lenses, 5, shared=True),
    }
    if options.slow:
        methods["lenstronomy 15, shared rays"] = lenstronomy(lenses, 15, shared=True)
        methods["lenstronomy 15, a call a band"] = lenstronomy(lenses, 15, shared=False)
    results = {name: method() for name, method in methods.items()}
    seconds = interleaved_seconds(methods, options.rounds)
    print(f"bytes of batches of 1 and {BATCH} equal: {bytes_are_stable(lenses)}")
    print(f"{'method':30s} stamps/s  x a call a band     x shared rays        flux med/max      peak med/max")
    for name, times in seconds.items():
        rate = len(reference) / statistics.median(times)
        ratios = f"{ratio(seconds, a_call_a_band, name):>18s} {ratio(seconds, shared, name):>18s}"
        print(f"{name:30s} {rate:8.1f} {ratios}  {errors(results[name], reference)}")
    if options.slow:
        for peer in list(methods)[-2:]:
            print(f"renderer at tolerance 1e-5 is x {ratio(seconds, peer, 'renderer, tolerance 1e-5')} {peer}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
