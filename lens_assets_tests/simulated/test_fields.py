"""Fields hold the object that was asked for, as the sky draws it, and are cut where the catalogue says it is."""

import numpy as np
import pytest
from astropy.wcs import WCS

from lens_assets.campaign.campaign import load_campaign
from lens_assets.simulated.bricks import TangentPlane
from lens_assets.simulated.fields import FIELD_MARGIN_PX, draw_field, render_field
from lens_assets.survey.coadds import OK, OUTSIDE_IMAGE, cut_stamps
from lens_assets.survey.units import BANDS, PIXEL_SCALE_ARCSEC

STAMP = 61


@pytest.fixture(scope="module")
def sky():
    settings = load_campaign("demo").simulated_sky
    assert settings is not None
    return settings.model_copy(update={"seed": 5})


def test_pixels_and_sky_are_inverse_and_agree_with_the_header():
    plane, rng = TangentPlane(359.99, 31.0, 700), np.random.default_rng(1)
    x, y = rng.uniform(-50, 750, (2, 40))
    ra, dec = plane.to_sky(x, y)
    np.testing.assert_allclose(np.stack(plane.to_pixels(ra, dec)), np.stack([x, y]), atol=1e-6)
    header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": plane.ra_deg, "CRVAL2": plane.dec_deg}
    header |= {f"CRPIX{axis}": plane.reference_pixel + 1 for axis in (1, 2)}
    header |= {"CD1_1": -PIXEL_SCALE_ARCSEC / 3600, "CD2_2": PIXEL_SCALE_ARCSEC / 3600, "CD1_2": 0.0, "CD2_1": 0.0}
    np.testing.assert_allclose(np.stack(WCS(header).wcs_world2pix(ra, dec, 0)), np.stack([x, y]), atol=1e-5)


def test_a_field_is_about_its_object_and_holds_no_other_lens(sky):
    field = draw_field(sky, "one", "lens", STAMP)
    assert (field.objects["kind"] == "lens").sum() == 1
    assert field.truth["kind"] == "lens"
    assert field.truth["theta_e_arcsec"] > 0
    middle = (STAMP + 2 * FIELD_MARGIN_PX - 1) / 2
    assert np.hypot(*(np.concatenate(field.position_px()) - middle)) < 1.5
    again, other = draw_field(sky, "one", "lens", STAMP), draw_field(sky, "two", "lens", STAMP)
    assert again.truth.equals(field.truth)
    assert other.truth["theta_e_arcsec"] != field.truth["theta_e_arcsec"]


def test_neighbours_are_as_numerous_as_in_a_brick(sky):
    population = sky.population
    counts = [draw_field(sky, f"disk-{n}", "disk", STAMP).objects["kind"].iloc[1:] for n in range(20)]
    area = ((STAMP + 2 * FIELD_MARGIN_PX) / population.reference_pixels) ** 2
    faint = np.mean([(kinds == "faint").sum() for kinds in counts])
    assert faint == pytest.approx(population.faint * area, rel=0.3)
    stars = np.mean([kinds.isin(["star", "bright_star"]).sum() for kinds in counts])
    assert stars < 4 * population.star * area


def test_a_stamp_is_the_window_about_the_catalogued_position(sky):
    field = draw_field(sky, "one", "massive_early_type", STAMP)
    planes = render_field(sky, field)
    x, y = field.position_px()
    cut = cut_stamps(planes, x, y, STAMP, "one")
    column, row, half = int(np.floor(x[0] + 0.5)), int(np.floor(y[0] + 0.5)), STAMP // 2
    window = np.s_[row - half : row + half + 1, column - half : column + half + 1]
    for number, band in enumerate(BANDS):
        np.testing.assert_array_equal(cut.stamps[0, number], planes["image", band][window])
        sigma = 1 / np.sqrt(np.median(planes["invvar", band][window]))
        assert cut.sky_sigma[0, number] == pytest.approx(sigma, rel=1e-5)
    assert cut.status[0] == OK
    state = field.brick.conditions.bands["r"]
    assert cut.psfsize_arcsec[0, 1] == pytest.approx(state.psf_fwhm_arcsec, rel=0.01)
    beyond = cut_stamps(planes, [1.0], [1.0], STAMP, "one")
    assert beyond.status[0] == OUTSIDE_IMAGE
    assert "one: the stamp reaches beyond" in beyond.detail[0]


def test_the_arcs_of_a_lens_are_in_its_pixels(sky):
    field = draw_field(sky, "one", "lens", STAMP)
    arcs = render_field(sky, field)["image", "g"].sum()
    dark = field.objects.assign(source_mag_r=99.0)
    without = render_field(sky, type(field)(**{**vars(field), "objects": dark}))["image", "g"].sum()
    assert arcs - without == pytest.approx(field.truth["arc_flux_g"], rel=0.1)
