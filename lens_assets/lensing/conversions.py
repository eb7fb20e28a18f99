"""Truth columns to and from the conventions of lenstronomy, GalSim and COOLEST (and radii from the Tractor).

| | this package | lenstronomy | GalSim | COOLEST | Tractor |
|---|---|---|---|---|---|
| x | grows West (columns) | the same stamp axes | the same stamp axes | grows West | |
| angle of the major axis | East of North, [0, 180) deg | from +x counter-clockwise, in e1, e2 | from +x counter-clockwise | East of North, (-90, 90] deg | East of North |
| theta_E | sqrt(a b) | sqrt(a b) (`SIE`, `EPL`) | | sqrt(a b) (`SIE`, `PEMD`) | |
| half-light radius | sqrt(a b) | sqrt(a b) (`SERSIC_ELLIPSE`) | sqrt(a b) after `shear(q=...)` | sqrt(a b) (`Sersic`) | a |
| shear | g1 > 0 stretches along x | gamma1, gamma2 alike | | strength, and angle East of North of the stretch | |
| brightness | total flux to infinity | at the half-light radius | total flux | at the half-light radius | total flux |

lenstronomy's profile has an approximate b_n, so its total differs from ours by 1% at n = 0.5 and 1e-3 at n = 1 for the
same brightness at the half-light radius. Positions are arcsec from the stamp's centre everywhere.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lens_assets.lensing.geometry import angle_from_x_rad, position_angle_deg
from lens_assets.lensing.light import sersic_total_over_brightness
from lens_assets.lensing.mass import ISOTHERMAL_SLOPE

Row = Mapping[str, Any]


def circularised_radius_arcsec(major_axis_arcsec: float, axis_ratio: float) -> float:
    """Return the half-light radius sqrt(a b) of a Tractor shape, whose SHAPE_R is the major axis a."""
    return float(major_axis_arcsec * np.sqrt(axis_ratio))


def _ellipticity(axis_ratio: float, angle_deg: float) -> tuple[float, float]:
    """Return lenstronomy's e1, e2 = (1 - q)/(1 + q) (cos 2 phi, sin 2 phi), phi from +x."""
    size, phi = (1.0 - axis_ratio) / (1.0 + axis_ratio), float(angle_from_x_rad(angle_deg))
    return size * float(np.cos(2.0 * phi)), size * float(np.sin(2.0 * phi))


def _shape(e1: float, e2: float) -> tuple[float, float]:
    """Return (axis ratio, angle East of North in degrees) of lenstronomy's ellipticity."""
    size = float(np.hypot(e1, e2))
    return (1.0 - size) / (1.0 + size), float(position_angle_deg(0.5 * np.arctan2(e2, e1)))


def lens_to_lenstronomy(row: Row) -> tuple[list[str], list[dict[str, float]]]:
    """Return lenstronomy's `lens_model_list` and `kwargs_lens` of one truth row."""
    e1, e2 = _ellipticity(row["lens_axis_ratio"], row["lens_angle_deg"])
    mass = {"theta_E": float(row["theta_e_arcsec"]), "e1": e1, "e2": e2,
            "center_x": float(row["lens_x_arcsec"]), "center_y": float(row["lens_y_arcsec"])}  # fmt: skip
    shear = {"gamma1": float(row["shear_g1"]), "gamma2": float(row["shear_g2"]),
             "ra_0": mass["center_x"], "dec_0": mass["center_y"]}  # fmt: skip
    if row["lens_density_slope"] == ISOTHERMAL_SLOPE:
        return ["SIE", "SHEAR"], [mass, shear]
    return ["EPL", "SHEAR"], [{**mass, "gamma": float(row["lens_density_slope"])}, shear]


def lens_from_lenstronomy(models: Sequence[str], kwargs_lens: Sequence[Row]) -> dict[str, float]:
    """Return the truth columns of an `SIE` or `EPL`, with or without a `SHEAR` about its centre; else ValueError."""
    names = list(models)
    if not names or names[0] not in ("SIE", "EPL") or names[1:] not in ([], ["SHEAR"]):
        raise ValueError(f"lens_model_list: expected SIE or EPL, alone or followed by SHEAR, got {names}")
    mass = kwargs_lens[0]
    ratio, angle = _shape(mass["e1"], mass["e2"])
    shear = kwargs_lens[1] if len(names) == 2 else {"gamma1": 0.0, "gamma2": 0.0}
    centre = mass["center_x"], mass["center_y"]
    if (shear.get("ra_0", centre[0]), shear.get("dec_0", centre[1])) != centre:
        raise ValueError(
            f"kwargs_lens: expected the shear about the lens centre {centre}; another origin moves sources"
        )
    return {
        "theta_e_arcsec": mass["theta_E"], "lens_axis_ratio": ratio, "lens_angle_deg": angle,
        "lens_density_slope": mass.get("gamma", ISOTHERMAL_SLOPE), "shear_g1": shear["gamma1"],
        "shear_g2": shear["gamma2"], "lens_x_arcsec": mass["center_x"], "lens_y_arcsec": mass["center_y"],
    }  # fmt: skip


def _brightness(row: Row, flux: float) -> float:
    radius = row["source_half_light_radius_arcsec"]
    return float(flux / sersic_total_over_brightness(row["source_sersic_index"], radius))


def _flux(brightness: float, sersic_index: float, half_light_radius_arcsec: float) -> float:
    return float(brightness * sersic_total_over_brightness(sersic_index, half_light_radius_arcsec))


def source_to_lenstronomy(row: Row, flux: float) -> dict[str, float]:
    """Return the arguments of a `SERSIC_ELLIPSE` of total `flux` (amplitude in flux per arcsec^2)."""
    e1, e2 = _ellipticity(row["source_axis_ratio"], row["source_angle_deg"])
    return {
        "amp": _brightness(row, flux), "R_sersic": float(row["source_half_light_radius_arcsec"]),
        "n_sersic": float(row["source_sersic_index"]), "e1": e1, "e2": e2,
        "center_x": float(row["source_x_arcsec"]), "center_y": float(row["source_y_arcsec"]),
    }  # fmt: skip


def source_from_lenstronomy(kwargs: Row) -> tuple[dict[str, float], float]:
    """Return (truth columns, total flux) of a `SERSIC_ELLIPSE`."""
    ratio, angle = _shape(kwargs["e1"], kwargs["e2"])
    columns = _source(kwargs["center_x"], kwargs["center_y"], kwargs["R_sersic"], kwargs["n_sersic"], ratio, angle)
    return columns, _flux(kwargs["amp"], kwargs["n_sersic"], kwargs["R_sersic"])


def source_to_galsim(row: Row, flux: float) -> dict[str, float]:
    """Return the parameters of `Sersic(n, half_light_radius, flux).shear(q, beta).shift(x, y)`, beta in degrees."""
    return {
        "n": float(row["source_sersic_index"]), "half_light_radius": float(row["source_half_light_radius_arcsec"]),
        "flux": float(flux), "q": float(row["source_axis_ratio"]),
        "beta_deg": float(np.rad2deg(angle_from_x_rad(row["source_angle_deg"]))),
        "x": float(row["source_x_arcsec"]), "y": float(row["source_y_arcsec"]),
    }  # fmt: skip


def source_from_galsim(parameters: Row) -> tuple[dict[str, float], float]:
    """Return (truth columns, total flux) of those parameters."""
    angle = float(position_angle_deg(np.deg2rad(parameters["beta_deg"])))
    columns = _source(parameters["x"], parameters["y"], parameters["half_light_radius"], parameters["n"],
                      parameters["q"], angle)  # fmt: skip
    return columns, float(parameters["flux"])


def lens_to_coolest(row: Row) -> list[dict[str, Any]]:
    """Return COOLEST's mass profiles (`type` and values of `parameters`) of one truth row."""
    mass = {"theta_E": float(row["theta_e_arcsec"]), "q": float(row["lens_axis_ratio"]),
            "phi": _half_turn(row["lens_angle_deg"]), "center_x": float(row["lens_x_arcsec"]),
            "center_y": float(row["lens_y_arcsec"])}  # fmt: skip
    strength = float(np.hypot(row["shear_g1"], row["shear_g2"]))
    stretch = position_angle_deg(0.5 * np.arctan2(row["shear_g2"], row["shear_g1"]))
    shear = {"gamma_ext": strength, "phi_ext": _half_turn(stretch)}
    if row["lens_density_slope"] == ISOTHERMAL_SLOPE:
        return [{"type": "SIE", "parameters": mass}, {"type": "ExternalShear", "parameters": shear}]
    power_law = {**mass, "gamma": float(row["lens_density_slope"])}
    return [{"type": "PEMD", "parameters": power_law}, {"type": "ExternalShear", "parameters": shear}]


def lens_from_coolest(profiles: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the truth columns of an `SIE` or `PEMD`, with or without an `ExternalShear`; else ValueError."""
    names = [profile["type"] for profile in profiles]
    if not names or names[0] not in ("SIE", "PEMD") or names[1:] not in ([], ["ExternalShear"]):
        raise ValueError(f"mass profiles: expected SIE or PEMD, alone or followed by ExternalShear, got {names}")
    mass = profiles[0]["parameters"]
    shear = profiles[1]["parameters"] if len(names) == 2 else {"gamma_ext": 0.0, "phi_ext": 0.0}
    turn = 2.0 * float(angle_from_x_rad(shear["phi_ext"]))
    return {
        "theta_e_arcsec": mass["theta_E"], "lens_axis_ratio": mass["q"], "lens_angle_deg": mass["phi"] % 180.0,
        "lens_density_slope": mass.get("gamma", ISOTHERMAL_SLOPE), "shear_g1": shear["gamma_ext"] * np.cos(turn),
        "shear_g2": shear["gamma_ext"] * np.sin(turn), "lens_x_arcsec": mass["center_x"],
        "lens_y_arcsec": mass["center_y"],
    }  # fmt: skip


def source_to_coolest(row: Row, flux: float) -> dict[str, Any]:
    """Return COOLEST's light profile of total `flux` (`I_eff` in flux per arcsec^2)."""
    parameters = {
        "I_eff": _brightness(row, flux), "theta_eff": float(row["source_half_light_radius_arcsec"]),
        "n": float(row["source_sersic_index"]), "q": float(row["source_axis_ratio"]),
        "phi": _half_turn(row["source_angle_deg"]), "center_x": float(row["source_x_arcsec"]),
        "center_y": float(row["source_y_arcsec"]),
    }  # fmt: skip
    return {"type": "Sersic", "parameters": parameters}


def source_from_coolest(profile: Mapping[str, Any]) -> tuple[dict[str, float], float]:
    """Return (truth columns, total flux) of a `Sersic`; else ValueError."""
    if profile["type"] != "Sersic":
        raise ValueError(f"light profile: expected Sersic, got {profile['type']}")
    value = profile["parameters"]
    columns = _source(
        value["center_x"], value["center_y"], value["theta_eff"], value["n"], value["q"], value["phi"] % 180.0
    )
    return columns, _flux(value["I_eff"], value["n"], value["theta_eff"])


def _source(x: float, y: float, radius: float, index: float, axis_ratio: float, angle_deg: float) -> dict[str, float]:
    return {
        "source_x_arcsec": x, "source_y_arcsec": y, "source_half_light_radius_arcsec": radius,
        "source_sersic_index": index, "source_axis_ratio": axis_ratio, "source_angle_deg": angle_deg,
    }  # fmt: skip


def _half_turn(angle_deg: Any) -> float:
    """Return the angle of an axis within (-90, 90] degrees."""
    return float(90.0 - np.mod(90.0 - angle_deg, 180.0))
