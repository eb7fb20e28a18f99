"""Drawing the parameters of injections from the campaign's priors, every draw with the log of its density.

A draw is a function of the seed and the injection's id alone. `log_pdf` is the sum of the natural logs of the
densities of all drawn continuous parameters, in the units of their columns (positions per arcsec^2, half-light radius
per arcsec), and of the probability of the clump count; it is what a reweighting to another population divides by.
A range of no width is a constant and contributes nothing. Quantities conditioned on the host are densities given it.
Under a legacy design the probability of the configuration stands in for the densities of what it fixes, and a shear
that is not zero adds that of its direction, per radian.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, truncnorm

from lens_assets.campaign.stages.injection import (
    ClumpSettings,
    InjectionSettings,
    LensPriorSettings,
    NormalSettings,
    RangeSettings,
    SourcePositionSettings,
    SourcePriorSettings,
)
from lens_assets.lensing.designs import Design
from lens_assets.lensing.images import multiply_imaged_radius_arcsec
from lens_assets.lensing.mass import mass_constants
from lens_assets.lensing.status import InjectionStatus
from lens_assets.sky.randomness import uniform
from lens_assets.survey.units import axis_ratio as host_axis_ratio
from lens_assets.survey.units import position_angle_deg as host_angle_deg

FloatArray = NDArray[np.float64]
Drawn = tuple[FloatArray, FloatArray]
"""Values and log densities."""

SMALLEST_UNIFORM = 2.0**-54

PARAMETER_COLUMNS: tuple[str, ...] = (
    "theta_e_arcsec",
    "lens_axis_ratio",
    "lens_angle_deg",
    "lens_density_slope",
    "shear_g1",
    "shear_g2",
    "lens_x_arcsec",
    "lens_y_arcsec",
    "source_x_arcsec",
    "source_y_arcsec",
    "source_mag_r",
    "source_g_minus_r",
    "source_r_minus_z",
    "source_half_light_radius_arcsec",
    "source_sersic_index",
    "source_axis_ratio",
    "source_angle_deg",
    "source_clump_flux_fraction",
)


class _Uniforms:
    """Uniform numbers of named purposes for a list of injections."""

    def __init__(self, seed: int, injection_ids: list[str]):
        self._seed = seed
        self._ids = injection_ids

    def __call__(self, purpose: str) -> FloatArray:
        return uniform(self._seed, self._ids, f"injection_{purpose}")


def _uniform_between(u: FloatArray, low: FloatArray | float, high: FloatArray | float) -> Drawn:
    width = np.broadcast_to(np.asarray(high, np.float64) - np.asarray(low, np.float64), u.shape)
    density = np.where(width > 0, -np.log(np.where(width > 0, width, 1.0)), 0.0)
    return low + u * width, density


def _uniform_in(u: FloatArray, prior: RangeSettings) -> Drawn:
    return _uniform_between(u, prior.minimum, prior.maximum)


def _log_uniform_in(u: FloatArray, prior: RangeSettings) -> Drawn:
    log_values, log_density = _uniform_between(u, np.log(prior.minimum), np.log(prior.maximum))
    width = prior.maximum > prior.minimum
    return np.exp(log_values), log_density - (log_values if width else 0.0)


def _normal(u: FloatArray, prior: NormalSettings) -> Drawn:
    values = norm.ppf(np.maximum(u, SMALLEST_UNIFORM), prior.mean, prior.sigma)
    return values, norm.logpdf(values, prior.mean, prior.sigma)


def draw_prior(
    hosts: pd.DataFrame,
    settings: InjectionSettings,
    seed: int,
    magnitude_shift_mag: float,
    design: Design | None = None,
) -> pd.DataFrame:
    """Return one row of drawn parameters for each row of `hosts`, with `log_pdf` and `status`, same index.

    `hosts` has injection_id, theta_e_low_arcsec and theta_e_high_arcsec (the bin the Einstein radius is drawn in), and
    shape_e1, shape_e2 of the host galaxy. `magnitude_shift_mag` is the calibrated campaign-wide shift of source
    magnitudes. With a `design` the hosts also have mag_r, from which the source's magnitude follows.
    """
    u = _Uniforms(seed, hosts["injection_id"].astype(str).tolist())
    drawn: dict[str, FloatArray] = {}
    low = hosts["theta_e_low_arcsec"].to_numpy(np.float64)
    high = hosts["theta_e_high_arcsec"].to_numpy(np.float64)
    theta_e = _uniform_between(u("theta_e"), low, high)
    parts = {"theta_e_arcsec": theta_e} | _draw_lens(hosts, settings.lens, u)
    parts |= _draw_source(settings.source, u, magnitude_shift_mag)
    if design is not None:
        parts |= _draw_design(design, hosts, u)
    drawn |= {column: values for column, (values, _) in parts.items()}
    log_pdf = np.sum([np.broadcast_to(density, len(hosts)) for _, density in parts.values()], axis=0)
    log_pdf = log_pdf + _draw_position(drawn, settings.source.position, u)
    log_pdf = log_pdf + _draw_clumps(drawn, settings.source.clumps, u)
    frame = pd.DataFrame(drawn, index=hosts.index)
    frame = frame[[*PARAMETER_COLUMNS[:-1], "source_clumps", PARAMETER_COLUMNS[-1]]]
    frame["source_clumps"] = frame["source_clumps"].astype(np.int64)
    frame["log_pdf"] = log_pdf
    finite = np.isfinite(frame[[*PARAMETER_COLUMNS, "log_pdf"]].to_numpy(np.float64)).all(axis=1)
    frame["status"] = np.where(finite, InjectionStatus.OK, InjectionStatus.PARAMETERS_NOT_FINITE).astype(np.int64)
    return frame


def _draw_lens(hosts: pd.DataFrame, prior: LensPriorSettings, u: _Uniforms) -> dict[str, Drawn]:
    e1, e2 = hosts["shape_e1"].to_numpy(np.float64), hosts["shape_e2"].to_numpy(np.float64)
    ratio = np.nan_to_num(host_axis_ratio(e1, e2), nan=1.0)
    parts: dict[str, Drawn] = {}
    if prior.axis_ratio_mode == "uniform":
        parts["lens_axis_ratio"] = _uniform_in(u("axis_ratio"), prior.axis_ratio)
    else:
        centre = np.clip(ratio, prior.axis_ratio.minimum, prior.axis_ratio.maximum)
        scale = prior.axis_ratio_host_sigma
        law = truncnorm(
            (prior.axis_ratio.minimum - centre) / scale, (prior.axis_ratio.maximum - centre) / scale, centre, scale
        )
        drawn_ratio = law.ppf(u("axis_ratio"))
        parts["lens_axis_ratio"] = drawn_ratio, law.logpdf(drawn_ratio)
    # Positions along the half turn, uniform or wrapped about the host; a round host has no angle to follow.
    turn, angle_density = _uniform_between(u("angle"), 0.0, 180.0)
    if prior.angle_mode == "host":
        offset, offset_density = _normal(u("angle"), NormalSettings(mean=0.0, sigma=prior.angle_host_sigma_deg))
        follows = ratio < 1.0
        turn = np.where(follows, np.mod(host_angle_deg(e1, e2) + offset, 180.0), turn)
        angle_density = np.where(follows, offset_density, angle_density)
    parts["lens_angle_deg"] = turn, angle_density
    parts["lens_density_slope"] = _uniform_in(u("density_slope"), prior.density_slope)
    for column, sigma in (
        ("shear_g1", prior.shear_sigma),
        ("shear_g2", prior.shear_sigma),
        ("lens_x_arcsec", prior.centre_sigma_arcsec),
        ("lens_y_arcsec", prior.centre_sigma_arcsec),
    ):
        parts[column] = _normal(u(column), NormalSettings(mean=0.0, sigma=sigma))
    return parts


def _draw_source(prior: SourcePriorSettings, u: _Uniforms, magnitude_shift_mag: float) -> dict[str, Drawn]:
    magnitude, density = _uniform_in(u("source_mag_r"), prior.mag_r)
    return {
        "source_mag_r": (magnitude + magnitude_shift_mag, density),
        "source_g_minus_r": _normal(u("source_g_minus_r"), prior.g_minus_r),
        "source_r_minus_z": _normal(u("source_r_minus_z"), prior.r_minus_z),
        "source_half_light_radius_arcsec": _log_uniform_in(u("source_radius"), prior.half_light_radius_arcsec),
        "source_sersic_index": _uniform_in(u("source_sersic_index"), prior.sersic_index),
        "source_axis_ratio": _uniform_in(u("source_axis_ratio"), prior.axis_ratio),
        "source_angle_deg": _uniform_between(u("source_angle"), 0.0, 180.0),
    }


def _draw_design(design: Design, hosts: pd.DataFrame, u: _Uniforms) -> dict[str, Drawn]:
    """Return what the design fixes, with the configuration's probability on the Einstein radius."""
    picked, log_probability = design.pick(u("design_configuration"))
    certain = np.zeros(len(hosts))
    direction = 2.0 * np.pi * u("design_shear_direction")
    direction_density = np.where(picked.shear > 0, -np.log(2.0 * np.pi), 0.0)
    return {
        "theta_e_arcsec": (picked.theta_e_arcsec, certain + log_probability),
        "lens_axis_ratio": (picked.axis_ratio, certain),
        "shear_g1": (picked.shear * np.cos(direction), direction_density),
        "shear_g2": (picked.shear * np.sin(direction), certain),
        "source_mag_r": (hosts["mag_r"].to_numpy(np.float64) + picked.magnitude_difference, certain),
        "source_half_light_radius_arcsec": (picked.half_light_radius_arcsec, certain),
    }


def _draw_position(drawn: dict[str, FloatArray], prior: SourcePositionSettings, u: _Uniforms) -> FloatArray:
    """Place the source uniformly per unit area of the region, about the lens centre."""
    angle = 2.0 * np.pi * u("source_direction")
    share = u("source_distance")
    theta_e = drawn["theta_e_arcsec"]
    if prior.mode == "centred":
        radius, log_pdf = np.zeros_like(theta_e), np.zeros_like(theta_e)
    elif prior.mode == "range":
        inner, outer = prior.beta_over_theta_e.minimum**2, prior.beta_over_theta_e.maximum**2
        radius = theta_e * np.sqrt(inner + share * (outer - inner))
        log_pdf = -np.log(np.pi * (outer - inner) * theta_e**2)
    else:
        angle, radius, log_pdf = _within_caustic(drawn, u("source_direction"), share)
    drawn["source_x_arcsec"] = drawn["lens_x_arcsec"] + radius * np.cos(angle)
    drawn["source_y_arcsec"] = drawn["lens_y_arcsec"] + radius * np.sin(angle)
    return np.asarray(log_pdf)


def _within_caustic(
    drawn: dict[str, FloatArray], direction: FloatArray, share: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (angle from +x, radius, log density) of points uniform in the multiply imaged region.

    The region is that of the isothermal lens whatever the slope, so that a change of slope moves no source.
    """
    lenses = mass_constants(
        drawn["theta_e_arcsec"], drawn["lens_axis_ratio"], drawn["lens_angle_deg"],
        drawn["shear_g1"], drawn["shear_g2"], drawn["lens_x_arcsec"], drawn["lens_y_arcsec"],
    )  # fmt: skip
    reach = multiply_imaged_radius_arcsec(lenses)
    sectors = reach.shape[1]
    edges = np.arange(sectors + 1) * (2.0 * np.pi / sectors)
    angle, radius = np.empty_like(share), np.empty_like(share)
    for row, outline in enumerate(reach):
        cumulative = np.concatenate([[0.0], np.cumsum(outline**2)])
        angle[row] = np.interp(direction[row] * cumulative[-1], cumulative, edges)
        sector = min(int(angle[row] / (2.0 * np.pi) * sectors), sectors - 1)
        radius[row] = outline[sector] * np.sqrt(share[row])
    return angle, radius, -np.log(np.pi * np.mean(reach**2, axis=1))


def _draw_clumps(drawn: dict[str, FloatArray], prior: ClumpSettings, u: _Uniforms) -> FloatArray:
    clumpy = u("clumpy") < prior.probability
    count = 1 + np.floor(u("clump_count") * prior.maximum_count)
    fraction, density = _uniform_in(u("clump_flux_fraction"), prior.flux_fraction)
    drawn["source_clumps"] = np.where(clumpy, count, 0.0)
    drawn["source_clump_flux_fraction"] = np.where(clumpy, fraction, 0.0)
    with np.errstate(divide="ignore"):
        clumpy_log = np.log(prior.probability / prior.maximum_count) + density
        smooth_log = np.log1p(-prior.probability)
    return np.where(clumpy, clumpy_log, smooth_log)
