"""The bank of pictures: its file, its choice, and real galaxies in it and on stamps."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from lens_assets.campaign.stages.injection import FileSettings, SourcePriorSettings
from lens_assets.cli import _parser
from lens_assets.lensing.image_sources import SourceImage
from lens_assets.lensing.injection import render_arcs
from lens_assets.lensing.plan import draw_parameters
from lens_assets.lensing.source_bank import (
    SourceBankError,
    bank_from_real_galaxies,
    half_light_radius_arcsec,
    isolated_galaxy,
    read_bank,
    write_bank,
)
from lens_assets.lensing.sources import source_fluxes
from lens_assets_tests.survey.reference import reference_file


def gaussian(sigma, size, shift=(0.0, 0.0)):
    y, x = (
        np.indices((size, size + 4)) - np.array([(size - 1) / 2 + shift[1], (size + 3) / 2 + shift[0]])[:, None, None]
    )
    return np.exp(-(x**2 + y**2) / (2 * sigma**2))


@pytest.fixture(scope="module")
def bank_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bank") / "bank.h5"
    images = [SourceImage(gaussian(sigma, 41) * 7.0, 0.03) for sigma in (3.0, 5.0, 6.0)]
    write_bank(path, ["a", "b", "c"], images)
    return path


def test_what_is_written_is_read_with_unit_flux(bank_file):
    bank = read_bank(bank_file)
    assert bank.identifiers == ("a", "b", "c")
    for image, sigma in zip(bank.pictures, (3.0, 5.0, 6.0), strict=True):
        expected = gaussian(sigma, 41)
        assert np.allclose(image.pixels, expected / expected.sum(), rtol=1e-5)
    # A Gaussian holds half its flux within 1.1774 sigma.
    assert bank.half_light_radius_arcsec == pytest.approx(np.array([3.0, 5.0, 6.0]) * 1.1774 * 0.03, rel=0.03)


def test_the_choice_is_by_seed_and_id_alone_and_even(bank_file):
    bank = read_bank(bank_file)
    names = [f"pilot-{index}" for index in range(3000)]
    choice = bank.choose(5, names)
    assert np.array_equal(bank.choose(5, names[::-1])[::-1], choice)
    assert not np.array_equal(bank.choose(6, names), choice)
    assert np.bincount(choice, minlength=3) == pytest.approx(np.full(3, 1000), abs=110)


def test_chosen_pictures_take_the_half_light_radius_they_are_asked_for(bank_file):
    bank = read_bank(bank_file)
    for image in bank.scaled(np.array([0, 2]), np.array([0.2, 0.45])):
        assert image.pixels.sum() == pytest.approx(1.0, rel=1e-4)
    radii = [half_light_radius_arcsec(image) for image in bank.scaled(np.array([0, 2]), np.array([0.2, 0.45]))]
    assert radii == pytest.approx([0.2, 0.45], rel=1e-6)


def test_a_galaxy_is_cut_free_of_noise_and_neighbours_and_centred():
    stream = np.random.default_rng(2)
    scene = 50.0 * gaussian(4.0, 81, shift=(3.0, -5.0))
    neighbour = np.roll(50.0 * gaussian(2.0, 81), (28, 28), axis=(0, 1))
    alone = isolated_galaxy(scene + neighbour + stream.normal(0, 1.0, scene.shape), 1.0)
    assert alone.sum() == pytest.approx(1.0, rel=1e-5)
    assert (alone >= 0).all()
    rows, columns = np.indices(alone.shape)
    centroid = np.array([(rows * alone).sum(), (columns * alone).sum()])
    assert np.abs(centroid - (np.array(alone.shape) - 1) / 2).max() <= 0.5
    assert half_light_radius_arcsec(SourceImage(alone, 1.0)) == pytest.approx(4.0 * 1.1774, rel=0.08)
    with pytest.raises(ValueError, match="exceeds"):
        isolated_galaxy(stream.normal(0, 0.1, (40, 40)), 5.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.attrs.__setitem__("version", 2), "version"),
        (lambda file: file.__delitem__("height"), "missing"),
        (lambda file: file["pixels"].__setitem__(slice(None), 0.0), "unit flux"),
        (lambda file: file["first"].__setitem__(2, 10**6), "unit flux"),
    ],
)
def test_a_file_that_is_no_bank_is_refused(bank_file, tmp_path, change, message):
    copy = tmp_path / "copy.h5"
    copy.write_bytes(bank_file.read_bytes())
    with h5py.File(copy, "a") as file:
        change(file)
    with pytest.raises(SourceBankError, match=message):
        read_bank(copy)


def test_another_file_than_the_pinned_one_is_refused(bank_file, tmp_path):
    assert len(read_bank(bank_file, hashlib.sha256(bank_file.read_bytes()).hexdigest())) == 3
    with pytest.raises(SourceBankError, match="SHA-256"):
        read_bank(bank_file, "0" * 64)
    with pytest.raises(SourceBankError, match="no such"):
        read_bank(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    with pytest.raises(SourceBankError, match="not an HDF5"):
        read_bank(text)


def with_bank(settings, path):
    file = FileSettings(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    source = settings.source.model_copy(update={"light": "bank", "bank": file})
    return settings.model_copy(update={"source": source})


def test_a_campaign_may_lens_pictures_and_bytes_do_not_depend_on_the_batch(demo, hosts, bank_file):
    settings = with_bank(demo, bank_file)
    rows = draw_parameters(hosts, 9, settings, 4, 0.0, (0.8, 2.0))
    arcs, magnification = render_arcs(rows, settings)
    alone = [render_arcs(rows.iloc[[row]], settings)[0][0] for row in range(len(rows))]
    assert np.stack(alone).tobytes() == arcs.tobytes()
    total = arcs.sum(axis=(2, 3), dtype=np.float64)
    assert np.allclose(total, magnification[:, None] * source_fluxes(rows), rtol=0.03)
    sersic, _ = render_arcs(rows, demo)
    assert not np.allclose(arcs, sersic, rtol=0.01)


def test_a_bank_needs_its_file(demo):
    content = demo.source.model_dump() | {"light": "bank"}
    with pytest.raises(ValueError, match=r"bank\.path"):
        SourcePriorSettings.model_validate(content)


def test_a_file_that_is_no_catalog_of_galaxies_is_refused(tmp_path):
    text = tmp_path / "catalog.fits"
    with pytest.raises(SourceBankError, match="not a RealGalaxy catalog of GalSim"):
        bank_from_real_galaxies(text, tmp_path / "bank.h5")
    text.write_text("galaxies")
    with pytest.raises(SourceBankError, match=r"catalog\.fits: not a RealGalaxy catalog"):
        bank_from_real_galaxies(text, tmp_path / "bank.h5")
    assert not list(tmp_path.glob("bank.h5*"))


def test_a_catalog_of_fits_to_galaxies_holds_no_pictures(tmp_path):
    fits_to_galaxies = reference_file("injection/cosmos/real_galaxy_catalog_26_extension_example_fits.fits")
    with pytest.raises(SourceBankError, match=r"example_fits\.fits: not a RealGalaxy catalog of GalSim"):
        bank_from_real_galaxies(fits_to_galaxies, tmp_path / "bank.h5")


def test_real_galaxies_fill_a_bank_and_are_lensed(demo, hosts, tmp_path, capsys):
    catalog = reference_file("injection/cosmos/real_galaxy_catalog_26_extension_example.fits")
    options = _parser().parse_args(["write-bank", str(catalog), str(tmp_path / "cosmos.h5")])
    assert options.command(options) == 0
    stated = yaml.safe_load("source:\n" + "\n".join(capsys.readouterr().out.splitlines()[1:]))["source"]
    bank = read_bank(Path(stated["bank"]["path"]), stated["bank"]["sha256"])
    with pytest.raises(SourceBankError, match="there already"):
        bank_from_real_galaxies(catalog, tmp_path / "cosmos.h5")
    assert len(bank) > 80
    assert (bank.half_light_radius_arcsec > 0.05).all()
    assert np.median(bank.half_light_radius_arcsec) < 0.6
    settings = with_bank(demo, tmp_path / "cosmos.h5")
    rows = draw_parameters(hosts, 12, settings, 4, 0.0, (0.8, 2.0))
    arcs, magnification = render_arcs(rows, settings)
    assert np.isfinite(arcs).all()
    assert ((magnification > 0.5) & (magnification < 60)).all()
