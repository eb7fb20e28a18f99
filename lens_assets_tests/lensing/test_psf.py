"""PSFs against GalSim: Moffat of every exponent, and images; wings, normalisation, pixels counted once."""

from __future__ import annotations

import hashlib

import galsim
import numpy as np
import pytest
import torch

from lens_assets.campaign.stages.injection import MOFFAT_BETAS, FileSettings
from lens_assets.lensing.canvas import Canvas
from lens_assets.lensing.injection import render_arcs
from lens_assets.lensing.light import light_constants
from lens_assets.lensing.mass import mass_constants
from lens_assets.lensing.plan import draw_parameters
from lens_assets.lensing.psf import PsfImages
from lens_assets.lensing.rays import Profiles, shoot

SIZE, SCALE = 101, 0.262
WIDTHS = (1.35, 1.2, 1.05)
FINE = galsim.GSParams(folding_threshold=1e-4, kvalue_accuracy=1e-7, maxk_threshold=1e-5, maximum_fft_size=32768)


def unlensed_grid(canvas):
    mass = mass_constants([1e-10], [0.9], [0.0], [0.0], [0.0], [0.0], [0.0])
    light = light_constants([0.31], [-0.17], [0.2], [1.0], [0.7], [-30.0])
    rays = shoot(Profiles(mass, light, torch.zeros(1, dtype=torch.long)), SIZE, SCALE, 1e-6)
    return canvas.deposit(rays, 1)


def galsim_source():
    return (
        galsim.Sersic(1.0, half_light_radius=0.2, gsparams=FINE)
        .shear(q=0.7, beta=60 * galsim.degrees)
        .shift(0.31, -0.17)
    )


def drawn(profile, method, size=SIZE, scale=SCALE):
    return profile.drawImage(nx=size, ny=size, scale=scale, method=method).array.astype(np.float64)


@pytest.mark.parametrize("beta", MOFFAT_BETAS)
@pytest.mark.parametrize("pixel_response", [False, True])
def test_each_band_has_its_own_moffat_and_the_pixel_is_counted_as_often_as_asked(beta, pixel_response):
    canvas = Canvas(SIZE, SCALE, torch.float64, pixel_response)
    mine = canvas.convolve(unlensed_grid(canvas), torch.tensor([WIDTHS], dtype=torch.float64), beta)[0].numpy()
    for plane, width in zip(mine, WIDTHS, strict=True):
        convolved = galsim.Convolve(galsim_source(), galsim.Moffat(beta, fwhm=width, gsparams=FINE), gsparams=FINE)
        theirs = drawn(convolved, "fft" if pixel_response else "no_pixel")
        assert np.abs(plane - theirs).max() < 5e-4 * theirs.max()
        assert plane.sum() == pytest.approx(theirs.sum(), rel=5e-4)


def test_counting_the_pixel_twice_would_be_seen():
    """A PSF that contains the pixel and one that is convolved with it again differ by percents of the peak."""
    once, twice = (
        canvas.convolve(unlensed_grid(canvas), torch.tensor([WIDTHS], dtype=torch.float64), 3.5)[0, 1].numpy()
        for canvas in (Canvas(SIZE, SCALE, torch.float64, response) for response in (False, True))
    )
    assert 0.01 < 1.0 - twice.max() / once.max() < 0.06


def test_wings_beyond_the_stamp_are_lost_and_nothing_is_renormalised():
    """A Moffat of exponent 2.5 holds (1 + r^2/a^2)^-1.5 of its flux beyond r: none of it may reappear on the stamp."""
    canvas = Canvas(31, SCALE, torch.float64)
    mass = mass_constants([1e-10], [0.9], [0.0], [0.0], [0.0], [0.0], [0.0])
    light = light_constants([0.0], [0.0], [0.01], [1.0], [1.0], [0.0])
    grid = canvas.deposit(shoot(Profiles(mass, light, torch.zeros(1, dtype=torch.long)), 31, SCALE, 1e-6), 1)
    stamp = canvas.convolve(grid, torch.tensor([[1.2]], dtype=torch.float64), 2.5)[0, 0].numpy()
    theirs = drawn(galsim.Moffat(2.5, fwhm=1.2, gsparams=FINE), "no_pixel", 31)
    assert stamp.sum() == pytest.approx(theirs.sum(), abs=2e-3)
    assert 0.95 < stamp.sum() < 0.99


def elliptical_psf(width):
    return galsim.Moffat(3.5, fwhm=width, gsparams=FINE).shear(g1=0.06, g2=-0.04)


@pytest.fixture(scope="module")
def images():
    """PSF images on pixels half as large as the survey's, wide enough for the wings, as a coadd's stars would be."""
    fine = SCALE / 2
    return PsfImages.of([drawn(elliptical_psf(width), "no_pixel", 129, fine) for width in WIDTHS], fine)


def test_an_image_of_each_bands_psf_convolves_like_galsim(images):
    canvas = Canvas(SIZE, SCALE, torch.float64)
    own = torch.as_tensor(images.fwhm_arcsec())[None]
    mine = canvas.convolve_images(unlensed_grid(canvas), own, images)[0].numpy()
    for plane, width in zip(mine, WIDTHS, strict=True):
        theirs = drawn(galsim.Convolve(galsim_source(), elliptical_psf(width), gsparams=FINE), "no_pixel")
        assert np.abs(plane - theirs).max() < 1e-3 * theirs.max()


def test_an_image_is_stretched_to_the_stamps_own_width(images):
    canvas = Canvas(SIZE, SCALE, torch.float64)
    wider = torch.as_tensor(images.fwhm_arcsec())[None] * 1.15
    mine = canvas.convolve_images(unlensed_grid(canvas), wider, images)[0].numpy()
    for plane, width in zip(mine, WIDTHS, strict=True):
        theirs = drawn(galsim.Convolve(galsim_source(), elliptical_psf(1.15 * width), gsparams=FINE), "no_pixel")
        assert np.abs(plane - theirs).max() < 2e-3 * theirs.max()


def test_the_width_of_an_image_is_measured(images):
    assert images.fwhm_arcsec() == pytest.approx(np.array(WIDTHS), rel=0.01)


def test_a_campaign_may_bring_psf_images(demo, hosts, images, tmp_path):
    path = tmp_path / "psf.npz"
    np.savez(path, **dict(zip("grz", images.pixels, strict=True)), pixel_scale_arcsec=images.pixel_scale_arcsec)
    file = FileSettings(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    renderer = demo.renderer.model_copy(update={"psf_profile": "images", "psf_images": file})
    rows = draw_parameters(hosts, 5, demo, 4, 0.0, (0.8, 2.0))
    pictured, _ = render_arcs(rows, demo.model_copy(update={"renderer": renderer}))
    moffat, _ = render_arcs(rows, demo)
    peaks = moffat.max(axis=(2, 3), keepdims=True)
    difference = np.abs(pictured - moffat) / peaks
    assert 0.005 < difference.max() < 0.2
    alone, _ = render_arcs(rows.iloc[[2]], demo.model_copy(update={"renderer": renderer}))
    assert alone[0].tobytes() == pictured[2].tobytes()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda image: image[:, 1:], "square of odd side"),
        (lambda image: image[1:, 1:], "square of odd side"),
        (lambda image: image * np.nan, "finite"),
        (lambda image: -image, "positive"),
    ],
)
def test_a_psf_image_that_is_none_is_refused(images, broken, message):
    with pytest.raises(ValueError, match=message):
        PsfImages.of([broken(image) for image in images.pixels], SCALE)


def test_a_file_without_a_band_or_with_another_digest_is_refused(images, tmp_path):
    path = tmp_path / "psf.npz"
    np.savez(path, g=images.pixels[0], r=images.pixels[1], pixel_scale_arcsec=SCALE)
    with pytest.raises(ValueError, match="'z'"):
        PsfImages.read(path)
    with pytest.raises(ValueError, match="SHA-256"):
        PsfImages.read(path, "0" * 64)
    with pytest.raises(ValueError, match="no such file"):
        PsfImages.read(tmp_path / "none.npz")
