"""Draws follow the settings, depend on nothing but seed and id, and carry the density they were drawn with."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, norm

from lens_assets.campaign.stages.injection import InjectionSettings, RangeSettings
from lens_assets.lensing.designs import DESIGNS
from lens_assets.lensing.images import find_images
from lens_assets.lensing.plan import draw_parameters
from lens_assets.lensing.priors import PARAMETER_COLUMNS, draw_prior
from lens_assets.lensing.sources import lens_of

RANGE = (0.5, 2.5)


def changed(settings, path, **values):
    """Return the settings with fields of one nested group replaced."""
    head, *rest = path.split(".")
    group = getattr(settings, head)
    inner = changed(group, ".".join(rest), **values) if rest else group.model_copy(update=values)
    return settings.model_copy(update={head: inner})


def rows(count=4000, e1=0.0, e2=0.0):
    return pd.DataFrame(
        {
            "injection_id": [f"pilot-{index}" for index in range(count)],
            "theta_e_low_arcsec": RANGE[0],
            "theta_e_high_arcsec": RANGE[1],
            "shape_e1": e1,
            "shape_e2": e2,
        }
    )


SLOPES = RangeSettings(minimum=1.8, maximum=2.2)


@pytest.fixture(scope="module")
def drawn(demo):
    return draw_prior(rows(), changed(demo, "lens", density_slope=SLOPES), 7, 0.0)


def test_marginals_follow_the_settings(drawn, demo):
    source = demo.source
    laws = {
        "theta_e_arcsec": ("uniform", (RANGE[0], RANGE[1] - RANGE[0])),
        "source_mag_r": ("uniform", (source.mag_r.minimum, source.mag_r.maximum - source.mag_r.minimum)),
        "source_g_minus_r": ("norm", (source.g_minus_r.mean, source.g_minus_r.sigma)),
        "source_r_minus_z": ("norm", (source.r_minus_z.mean, source.r_minus_z.sigma)),
        "lens_density_slope": ("uniform", (1.8, 0.4)),
        "shear_g1": ("norm", (0.0, demo.lens.shear_sigma)),
        "lens_x_arcsec": ("norm", (0.0, demo.lens.centre_sigma_arcsec)),
    }
    for column, (law, arguments) in laws.items():
        assert kstest(drawn[column], law, arguments).pvalue > 1e-3, column
    radius = source.half_light_radius_arcsec
    log_radius = np.log(drawn["source_half_light_radius_arcsec"])
    width = np.log(radius.maximum / radius.minimum)
    assert kstest(log_radius, "uniform", (np.log(radius.minimum), width)).pvalue > 1e-3


def test_source_positions_are_uniform_per_unit_area(drawn, demo):
    offset = np.hypot(
        drawn["source_x_arcsec"] - drawn["lens_x_arcsec"], drawn["source_y_arcsec"] - drawn["lens_y_arcsec"]
    )
    largest = demo.source.position.beta_over_theta_e.maximum
    assert kstest((offset / drawn["theta_e_arcsec"] / largest) ** 2, "uniform").pvalue > 1e-3


def test_parameters_are_drawn_independently(drawn):
    table = drawn[[name for name in PARAMETER_COLUMNS if "position" not in name]].rank()
    free = table.drop(columns=["source_x_arcsec", "source_y_arcsec", "lens_x_arcsec", "lens_y_arcsec"])
    correlation = free.corr().to_numpy() - np.eye(free.shape[1])
    assert np.abs(correlation).max() < 0.08


def test_a_draw_depends_on_its_id_alone(drawn, demo):
    few = rows().iloc[[17, 3]]
    sloped = changed(demo, "lens", density_slope=SLOPES)
    again = draw_prior(few, sloped, 7, 0.0)
    pd.testing.assert_frame_equal(again, drawn.loc[[17, 3]])
    assert not np.allclose(draw_prior(few, sloped, 8, 0.0)["source_mag_r"], again["source_mag_r"])


def test_the_calibrated_shift_moves_every_magnitude_alike_and_nothing_else(drawn, demo):
    shifted = draw_prior(rows(), changed(demo, "lens", density_slope=SLOPES), 7, -0.7)
    assert np.allclose(shifted["source_mag_r"], drawn["source_mag_r"] - 0.7)
    pd.testing.assert_frame_equal(shifted.drop(columns="source_mag_r"), drawn.drop(columns="source_mag_r"))


def test_densities_integrate_to_one(demo):
    """The mean of 1/density over draws is the volume of the prior's support; all factors but those are switched off."""
    smooth = changed(demo, "source.clumps", probability=0.0)
    one = draw_prior(rows(), smooth, 7, 0.0)
    lens, source = demo.lens, demo.source
    widths = [RANGE[1] - RANGE[0], 180.0, 180.0]
    widths += [prior.maximum - prior.minimum for prior in (source.mag_r, source.sersic_index, source.axis_ratio)]
    expected = -np.log(widths).sum()
    for columns, sigma in (
        (["shear_g1", "shear_g2"], lens.shear_sigma),
        (["lens_x_arcsec", "lens_y_arcsec"], lens.centre_sigma_arcsec),
    ):
        expected = expected + norm.logpdf(one[columns], 0.0, sigma).sum(axis=1)
    expected = expected + norm.logpdf(one["source_g_minus_r"], source.g_minus_r.mean, source.g_minus_r.sigma)
    expected = expected + norm.logpdf(one["source_r_minus_z"], source.r_minus_z.mean, source.r_minus_z.sigma)
    size = source.half_light_radius_arcsec
    expected = expected - np.log(one["source_half_light_radius_arcsec"] * np.log(size.maximum / size.minimum))
    expected = expected - np.log(np.pi * source.position.beta_over_theta_e.maximum**2 * one["theta_e_arcsec"] ** 2)
    q_density = np.exp(one["log_pdf"] - expected)
    low, high = lens.axis_ratio.minimum, lens.axis_ratio.maximum
    counts, edges = np.histogram(one["lens_axis_ratio"], bins=10, range=(low, high), density=True)
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        inside = one["lens_axis_ratio"].between(left, right)
        if inside.sum() > 200:
            assert q_density[inside].mean() == pytest.approx(count, rel=0.15)


def test_the_stored_density_reweights_the_draws_to_any_population_inside_them(demo):
    """Mean of f/exp(log_pdf) over the draws is the integral of f: one, for a narrower population f written out here."""
    wide = changed(demo, "lens", density_slope=SLOPES, axis_ratio_mode="uniform", angle_mode="uniform")
    one = draw_prior(rows(20000), wide, 11, 0.4)
    inside = np.ones(len(one))

    def uniform_within(column, low, high):
        nonlocal inside
        inside = inside * np.where(one[column].between(low, high), 1.0 / (high - low), 0.0)

    source, largest = demo.source, demo.source.position.beta_over_theta_e.maximum
    uniform_within("theta_e_arcsec", 0.8, 2.2)
    uniform_within("lens_axis_ratio", 0.55, 0.98)
    uniform_within("lens_angle_deg", 20.0, 170.0)
    uniform_within("source_angle_deg", 0.0, 150.0)
    uniform_within("lens_density_slope", 1.85, 2.2)
    uniform_within("source_mag_r", source.mag_r.minimum + 0.6, source.mag_r.maximum + 0.4)
    uniform_within("source_sersic_index", source.sersic_index.minimum, source.sersic_index.maximum - 0.3)
    uniform_within("source_axis_ratio", 0.45, source.axis_ratio.maximum)
    uniform_within("source_half_light_radius_arcsec", 0.12, 0.55)
    for column, mean, sigma in (
        ("shear_g1", 0.0, demo.lens.shear_sigma), ("shear_g2", 0.01, 0.9 * demo.lens.shear_sigma),
        ("lens_x_arcsec", 0.0, demo.lens.centre_sigma_arcsec), ("lens_y_arcsec", 0.0, demo.lens.centre_sigma_arcsec),
        ("source_g_minus_r", source.g_minus_r.mean, source.g_minus_r.sigma),
        ("source_r_minus_z", source.r_minus_z.mean, 0.9 * source.r_minus_z.sigma),
    ):  # fmt: skip
        inside = inside * norm.pdf(one[column], mean, sigma)
    offset = np.hypot(one["source_x_arcsec"] - one["lens_x_arcsec"], one["source_y_arcsec"] - one["lens_y_arcsec"])
    reach = 0.9 * largest * one["theta_e_arcsec"]
    inside = inside * np.where(offset < reach, 1.0 / (np.pi * reach**2), 0.0)
    inside = inside * np.where(one["source_clumps"] == 0, 1.0, 0.0)
    ratio = inside / np.exp(one["log_pdf"])
    assert ratio.mean() == pytest.approx(1.0, abs=4.0 * ratio.std() / np.sqrt(len(one)))
    assert ratio.std() / np.sqrt(len(one)) < 0.05


def test_a_conditional_density_integrates_to_one_over_its_own_parameter(demo):
    """The truncated normal of the axis ratio and the wrapped one of the angle, summed over the draws' histogram."""
    one = draw_prior(rows(20000, 0.1, 0.05), demo, 5, 0.0)
    rest = draw_prior(rows(20000, 0.1, 0.05), changed(demo, "lens", axis_ratio_mode="uniform"), 5, 0.0)
    width = demo.lens.axis_ratio.maximum - demo.lens.axis_ratio.minimum
    density = np.exp(one["log_pdf"] - rest["log_pdf"]) / width
    # For a density p drawn from itself, the mean of 1/p is the length of its support.
    assert (1.0 / density).mean() == pytest.approx(width, rel=0.1)


def test_clump_probability_is_part_of_the_density(demo):
    clumpy = draw_prior(rows(500), changed(demo, "source.clumps", probability=1.0), 7, 0.0)
    smooth = draw_prior(rows(500), changed(demo, "source.clumps", probability=0.0), 7, 0.0)
    settings = demo.source.clumps
    width = settings.flux_fraction.maximum - settings.flux_fraction.minimum
    assert np.allclose(clumpy["log_pdf"] - smooth["log_pdf"], -np.log(settings.maximum_count * width))
    assert clumpy["source_clumps"].between(1, settings.maximum_count).all()
    assert not smooth["source_clumps"].any()


def test_angle_and_axis_ratio_follow_an_elongated_host_and_not_a_round_one(demo):
    angle = np.deg2rad(35.0)
    elongated = draw_prior(rows(1500, 0.2 * np.cos(2 * angle), 0.2 * np.sin(2 * angle)), demo, 7, 0.0)
    difference = np.mod(elongated["lens_angle_deg"] - 35.0 + 90.0, 180.0) - 90.0
    assert difference.std() == pytest.approx(demo.lens.angle_host_sigma_deg, rel=0.1)
    assert elongated["lens_axis_ratio"].mean() == pytest.approx(0.8 / 1.2, abs=0.02)
    assert kstest(draw_prior(rows(1500), demo, 7, 0.0)["lens_angle_deg"] / 180.0, "uniform").pvalue > 1e-3


def test_caustic_mode_fills_the_multiply_imaged_region_and_nothing_else(demo):
    inside = draw_prior(rows(600), changed(demo, "source.position", mode="caustic"), 7, 0.0)
    counts = find_images(
        lens_of(inside), inside["source_x_arcsec"].to_numpy(), inside["source_y_arcsec"].to_numpy()
    ).counts(600)
    assert (counts >= 2).mean() > 0.99


def test_centred_mode_puts_every_source_behind_its_lens(demo):
    centred = draw_prior(rows(50), changed(demo, "source.position", mode="centred"), 7, 0.0)
    assert np.allclose(centred["source_x_arcsec"], centred["lens_x_arcsec"])
    assert np.isfinite(centred["log_pdf"]).all()


def test_a_host_without_a_shape_counts_as_round(demo):
    draws = draw_prior(rows(50, np.nan, np.nan), demo, 7, 0.0)
    assert (draws["status"] == 0).all()
    assert draws["lens_axis_ratio"].between(demo.lens.axis_ratio.minimum, demo.lens.axis_ratio.maximum).all()


def test_draws_over_hosts_are_ready_to_render(demo, hosts):
    plan = draw_parameters(hosts, 300, demo, demo.seed, 0.0, RANGE)
    assert len(plan) == 300
    assert plan["injection_id"].is_unique
    assert np.isfinite(plan[list(PARAMETER_COLUMNS)].to_numpy()).all()


def test_the_small_grid_is_its_48_configurations_alike_and_magnitudes_follow_the_hosts(demo, hosts):
    pinned = changed(demo, "brightness", calibration="pinned").model_copy(update={"pilot_design": "grid_small"})
    plan = draw_parameters(hosts, 4800, pinned, 3, -0.7, RANGE)
    difference = (plan["source_mag_r"] - plan["mag_r"]).round(6)
    shear = np.hypot(plan["shear_g1"], plan["shear_g2"]).round(6)
    ellipticity = ((1 - plan["lens_axis_ratio"]) / (1 + plan["lens_axis_ratio"])).round(6)
    sizes = plan.groupby(
        [plan["theta_e_arcsec"], difference, plan["source_half_light_radius_arcsec"], ellipticity, shear]
    ).size()
    assert len(sizes) == len(DESIGNS["grid_small"].combinations()) == 48
    assert sizes.sum() == 4800
    assert ((sizes - 100) ** 2 / 100).sum() < 90
    assert sorted(difference.unique()) == [1.0, 2.0]
    assert sorted(shear.unique()) == [0.0, 0.03]


def test_the_density_of_a_design_is_the_chance_of_its_configuration_and_what_it_leaves_free(demo):
    pinned = changed(changed(demo, "source.clumps", probability=0.0), "lens", axis_ratio_mode="uniform")
    plain = draw_prior(rows().assign(mag_r=19.0), pinned, 7, 0.0)
    grid = draw_prior(rows().assign(mag_r=19.0), pinned, 7, 0.0, DESIGNS["grid_small"])
    lens, source = demo.lens, demo.source
    fixed = -np.log(RANGE[1] - RANGE[0]) - np.log(source.mag_r.maximum - source.mag_r.minimum)
    fixed -= np.log(lens.axis_ratio.maximum - lens.axis_ratio.minimum)
    fixed = fixed + norm.logpdf(plain[["shear_g1", "shear_g2"]], 0.0, lens.shear_sigma).sum(axis=1)
    size = source.half_light_radius_arcsec
    fixed -= np.log(plain["source_half_light_radius_arcsec"] * np.log(size.maximum / size.minimum))
    fixed += 2.0 * np.log(grid["theta_e_arcsec"] / plain["theta_e_arcsec"])
    sheared = np.hypot(grid["shear_g1"], grid["shear_g2"]) > 0
    chance = -np.log(48.0) - np.where(sheared, np.log(2.0 * np.pi), 0.0)
    assert np.allclose(grid["log_pdf"] - chance, plain["log_pdf"] - fixed)


def test_a_design_cannot_be_calibrated(demo):
    with pytest.raises(ValueError, match="pilot_design"):
        InjectionSettings.model_validate(demo.model_dump() | {"pilot_design": "grid_wide"})
