"""Every conversion there and back, and each package's own code on what it was given."""

from __future__ import annotations

from types import SimpleNamespace

import galsim
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from lenstronomy.Util import coolest_read_util

from lens_assets.lensing import conversions
from lens_assets.lensing.light import light_constants, surface_brightness
from lens_assets.lensing.mass import deflection, mass_constants, power_law_constants
from lens_assets.survey.units import axis_ratio as tractor_axis_ratio

ROW = {
    "theta_e_arcsec": 1.3, "lens_axis_ratio": 0.6, "lens_angle_deg": 25.0, "lens_density_slope": 2.0,
    "shear_g1": 0.04, "shear_g2": -0.03, "lens_x_arcsec": 0.2, "lens_y_arcsec": -0.1,
    "source_x_arcsec": 0.15, "source_y_arcsec": 0.3, "source_half_light_radius_arcsec": 0.4,
    "source_sersic_index": 2.5, "source_axis_ratio": 0.55, "source_angle_deg": 110.0,
}  # fmt: skip
STEEP = {**ROW, "lens_density_slope": 2.2}
STREAM = np.random.default_rng(3)
X, Y = STREAM.uniform(-4, 4, (2, 200))


def own_deflection(row, x, y):
    columns = ("theta_e_arcsec", "lens_axis_ratio", "lens_angle_deg", "shear_g1", "shear_g2",
               "lens_x_arcsec", "lens_y_arcsec")  # fmt: skip
    values = [[row[name]] for name in columns]
    steep = row["lens_density_slope"] != 2.0
    mass = power_law_constants(*values, [row["lens_density_slope"]]) if steep else mass_constants(*values)
    return [part.numpy() for part in deflection(torch.as_tensor(x), torch.as_tensor(y), mass)[:2]]


def own_brightness(row, x, y, flux=1.0):
    names = ("x_arcsec", "y_arcsec", "half_light_radius_arcsec", "sersic_index", "axis_ratio", "angle_deg")
    light = light_constants(*([row[f"source_{name}"]] for name in names), [flux])
    return surface_brightness(torch.as_tensor(x), torch.as_tensor(y), light)[0].numpy()


def lens_part(row):
    return {name: value for name, value in row.items() if not name.startswith("source_")}


def source_part(row):
    return {name: value for name, value in row.items() if name.startswith("source_")}


@pytest.mark.parametrize("row", [ROW, STEEP])
def test_lenstronomy_deflects_what_it_is_given_alike(row):
    models, arguments = conversions.lens_to_lenstronomy(row)
    theirs = LensModel(models).alpha(X, Y, arguments)
    assert np.allclose(own_deflection(row, X, Y), theirs, rtol=1e-6, atol=1e-7)


def test_lenstronomy_shines_what_it_is_given_alike():
    arguments = conversions.source_to_lenstronomy(ROW, 3.0)
    theirs = LightModel(["SERSIC_ELLIPSE"]).surface_brightness(X, Y, [arguments])
    # Its b_n is approximate, so the profiles part slowly with distance from the half-light radius.
    assert np.allclose(own_brightness(ROW, X, Y, 3.0), theirs, rtol=2e-3)


def test_galsim_draws_what_it_is_given_alike():
    given_to = conversions.source_to_galsim(ROW, 3.0)
    profile = galsim.Sersic(given_to["n"], half_light_radius=given_to["half_light_radius"], flux=given_to["flux"])
    profile = profile.shear(q=given_to["q"], beta=given_to["beta_deg"] * galsim.degrees)
    profile = profile.shift(given_to["x"], given_to["y"])
    theirs = [profile.xValue(float(x), float(y)) for x, y in zip(X, Y, strict=True)]
    assert np.allclose(own_brightness(ROW, X, Y, 3.0), theirs, rtol=1e-4)


def coolest(profile):
    """The part of a COOLEST profile object that lenstronomy's reader looks at."""
    empty = SimpleNamespace(min_value=None, max_value=None)
    return SimpleNamespace(
        parameters={
            name: SimpleNamespace(point_estimate=SimpleNamespace(value=value), definition_range=empty, fixed=False)
            for name, value in profile["parameters"].items()
        }
    )


@pytest.mark.parametrize("row", [ROW, STEEP])
def test_lenstronomys_reader_of_coolest_understands_the_lens(row):
    mass, shear = conversions.lens_to_coolest(row)
    models, arguments, rest = [], [], [[] for _ in range(5)]
    read = coolest_read_util.update_kwargs_sie if mass["type"] == "SIE" else coolest_read_util.update_kwargs_pemd
    read(coolest(mass), models, arguments, *rest)
    coolest_read_util.update_kwargs_shear(coolest(shear), models, arguments, *rest)
    # The reader's x grows East and its shear is about zero: mirror x and move the shear to the lens.
    arguments[1].update({"ra_0": arguments[0]["center_x"], "dec_0": arguments[0]["center_y"]})
    alpha_x, alpha_y = LensModel(models).alpha(-X, Y, arguments)
    assert np.allclose(own_deflection(row, X, Y), [-alpha_x, alpha_y], rtol=1e-6, atol=1e-7)


def test_lenstronomys_reader_of_coolest_understands_the_source():
    models, arguments, rest = [], [], [[] for _ in range(5)]
    profile = coolest(conversions.source_to_coolest(ROW, 3.0))
    coolest_read_util.update_kwargs_sersic(profile, models, arguments, *rest)
    theirs = LightModel(models).surface_brightness(-X, Y, arguments)
    mine = own_brightness(ROW, X, Y, 3.0)
    assert np.allclose(mine / mine.sum(), theirs / theirs.sum(), rtol=2e-3)


@settings(max_examples=60, deadline=None)
@given(
    q=st.floats(0.3, 0.99), angle=st.floats(0.0, 179.99), slope=st.sampled_from([1.8, 2.0, 2.3]),
    g1=st.floats(-0.1, 0.1), g2=st.floats(-0.1, 0.1), index=st.floats(0.5, 4.0), radius=st.floats(0.05, 0.5),
)  # fmt: skip
def test_there_and_back_is_the_same_row(q, angle, slope, g1, g2, index, radius):
    row = {**ROW, "lens_axis_ratio": q, "lens_angle_deg": angle, "lens_density_slope": slope, "shear_g1": g1,
           "shear_g2": g2, "source_axis_ratio": q, "source_angle_deg": angle, "source_sersic_index": index,
           "source_half_light_radius_arcsec": radius}  # fmt: skip

    def same(found, expected):
        for name, value in expected.items():
            difference = abs(found[name] - value)
            if name.endswith("angle_deg"):
                difference = min(difference, 180.0 - difference)
            assert difference < 1e-8, name

    same(conversions.lens_from_lenstronomy(*conversions.lens_to_lenstronomy(row)), lens_part(row))
    same(conversions.lens_from_coolest(conversions.lens_to_coolest(row)), lens_part(row))
    for there, back in (
        (conversions.source_to_lenstronomy, conversions.source_from_lenstronomy),
        (conversions.source_to_galsim, conversions.source_from_galsim),
        (conversions.source_to_coolest, conversions.source_from_coolest),
    ):
        columns, flux = back(there(row, 2.5))
        same(columns, source_part(row))
        assert flux == pytest.approx(2.5, rel=1e-12)


def test_what_has_no_counterpart_is_refused():
    with pytest.raises(ValueError, match="SIE or EPL"):
        conversions.lens_from_lenstronomy(["NFW"], [{}])
    with pytest.raises(ValueError, match="SIE or PEMD"):
        conversions.lens_from_coolest([{"type": "NFW", "parameters": {}}])
    with pytest.raises(ValueError, match="expected Sersic"):
        conversions.source_from_coolest({"type": "Shapelets", "parameters": {}})
    models, arguments = conversions.lens_to_lenstronomy(ROW)
    with pytest.raises(ValueError, match="lens centre"):
        conversions.lens_from_lenstronomy(models, [arguments[0], {**arguments[1], "ra_0": 0.0}])


def test_a_tractor_radius_is_the_major_axis():
    ratio = float(tractor_axis_ratio(np.array([0.25]), np.array([0.0]))[0])
    radius = conversions.circularised_radius_arcsec(0.8, ratio)
    light = light_constants([0.0], [0.0], [radius], [1.0], [ratio], [0.0])
    assert float(light.inverse_major_squared) ** -0.5 == pytest.approx(0.8)
