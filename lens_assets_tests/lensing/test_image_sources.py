"""Pictures as sources: against GalSim unlensed, against the same profile lensed, and real galaxies on real hosts."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
import torch

from lens_assets.lensing.canvas import Canvas
from lens_assets.lensing.image_sources import SourceImage, shoot_images
from lens_assets.lensing.injection import null_injections, render_arcs, render_injections
from lens_assets.lensing.mass import mass_constants
from lens_assets.lensing.plan import draw_parameters
from lens_assets.survey.cutout_service import read_npz_cutout
from lens_assets_tests.lensing.conftest import make_hosts
from lens_assets_tests.survey.reference import reference_file

SIZE, SCALE, FINE = 101, 0.262, 0.03


def picture(index=1.0, radius=0.4, ratio=0.6, beta_deg=20.0, size=401):
    profile = galsim.Sersic(index, half_light_radius=radius).shear(q=ratio, beta=beta_deg * galsim.degrees)
    pixels = profile.drawImage(nx=size, ny=size, scale=FINE, method="no_pixel").array
    return profile, SourceImage(pixels, FINE)


def test_an_unlensed_picture_agrees_with_galsim():
    profile, image = picture()
    mass = mass_constants([1e-10], [0.9], [0.0], [0.0], [0.0], [0.0], [0.0])
    rays = shoot_images([image], mass, np.array([0.3]), np.array([-0.2]), np.array([30.0]), SIZE, SCALE)
    canvas = Canvas(SIZE, SCALE, torch.float64)
    mine = canvas.convolve(canvas.deposit(rays, 1), torch.tensor([[1.2]], dtype=torch.float64), 3.5)[0, 0].numpy()
    turned = galsim.Convolve(profile.rotate(30 * galsim.degrees).shift(0.3, -0.2), galsim.Moffat(3.5, fwhm=1.2))
    theirs = turned.drawImage(nx=SIZE, ny=SIZE, scale=SCALE, method="no_pixel").array
    assert np.abs(mine - theirs).max() < 5e-3 * theirs.max()
    assert mine.sum() == pytest.approx(theirs.sum(), rel=5e-3)


def test_a_lensed_picture_of_a_profile_is_the_lensed_profile(demo, hosts):
    rows = draw_parameters(hosts, 6, demo, 3, 0.0, (1.0, 2.0)).assign(
        source_sersic_index=1.0, source_half_light_radius_arcsec=0.4, source_axis_ratio=0.6, source_clumps=0,
        source_clump_flux_fraction=0.0, psfsize_g=1.2,
    )  # fmt: skip
    # The picture's major axis points along its columns' normal, +y, which a position angle of zero means.
    _, image = picture(beta_deg=90.0)
    profile, magnification = render_arcs(rows, demo)
    pictured, as_pictured = render_arcs(rows, demo, source_images=[image] * len(rows))
    assert np.allclose(as_pictured, magnification, rtol=5e-3)
    peaks = profile.max(axis=(2, 3), keepdims=True)
    assert np.max(np.abs(pictured - profile) / peaks) < 0.01


def test_a_picture_without_flux_is_refused():
    with pytest.raises(ValueError, match="positive sum"):
        SourceImage(np.zeros((5, 5)), FINE).unit_brightness(torch.float32)


def test_real_galaxies_are_lensed_onto_real_hosts(demo):
    path = reference_file("injection/cosmos/real_galaxy_catalog_26_extension_example.fits")
    catalog = galsim.RealGalaxyCatalog(path.name, dir=str(path.parent))
    images = [SourceImage(np.clip(catalog.getGalImage(row).array, 0, None), FINE) for row in range(6)]
    names = ("0001m040_4091", "0003m005_293", "0006p270_2574")
    paths = [reference_file(f"cutouts/ls_dr10_lens_candidates/{name}.npz") for name in names]
    real = np.stack([read_npz_cutout(path, SIZE, 0.02).stamp for path in paths]).astype(np.float32)
    rows = draw_parameters(make_hosts(3).assign(host_weight=1.0), 6, demo, 3, 0.0, (1.0, 2.0))
    stamps = real[rows["host_cutout_path"].str.split("#").str[1].astype(int)]
    result = render_injections(rows, stamps, demo, source_images=images)
    assert (result.truth["status"] == 0).all()
    assert result.truth["magnification"].between(1.0, 40.0).all()
    assert (result.stamps - stamps).sum(axis=(2, 3)).min() > 0
    null = render_injections(null_injections(rows), stamps, demo, source_images=images)
    assert null.stamps.tobytes() == stamps.tobytes()
