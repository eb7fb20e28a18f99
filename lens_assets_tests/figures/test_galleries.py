from __future__ import annotations

import numpy as np
import pytest
from astropy.visualization import make_lupton_rgb

from lens_assets.figures.galleries import BAND_WEIGHTS_GRZ, gallery, lupton_rgb
from lens_assets_tests.imaging.scenes import host, noise


def test_colours_are_those_of_astropys_lupton_mapping():
    stamp = np.clip(host() + 0.001, 1e-4, 0.05)
    weighted = stamp * np.asarray(BAND_WEIGHTS_GRZ)[:, None, None]
    expected = make_lupton_rgb(weighted[2], weighted[1], weighted[0], minimum=0, stretch=0.03, Q=6.0)
    ours = lupton_rgb(stamp[None], stretch_nanomaggies=0.03, softening=6.0)[0]
    # astropy normalises asinh so that its slope at zero is stretch-dependent; hue is what both must share.
    bright = expected.min(axis=-1) > 20
    ratio = [image[bright].astype(float) / image[bright].max(axis=-1, keepdims=True) for image in (ours, expected)]
    np.testing.assert_allclose(ratio[0], ratio[1], atol=0.06)


def test_hue_does_not_depend_on_brightness():
    stamp = np.clip(host(), 0, None)[None]
    faint, bright = lupton_rgb(stamp * 0.3)[0], lupton_rgb(stamp * 3)[0]
    core = (slice(49, 52), slice(49, 52))
    shares = [image[core].mean(axis=(0, 1)) / image[core].sum(axis=-1).mean() for image in (faint, bright)]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.02)


def test_bad_pixels_are_black_and_shapes_are_checked():
    stamp = noise(1, seed=0)
    stamp[:, :, 0, 0] = np.nan
    assert not lupton_rgb(stamp)[0, 0, 0].any()
    with pytest.raises(ValueError, match="bands g, r, z"):
        lupton_rgb(np.zeros((1, 4, 5, 5)))


def test_a_gallery_has_a_panel_a_stamp_with_its_title():
    stamps = noise(5, seed=1) + host()
    figure = gallery(stamps, [f"galaxy {n}" for n in range(5)], columns=3)
    assert [axis.get_title() for axis in figure.axes][:5] == [f"galaxy {n}" for n in range(5)]
    assert len(figure.axes) == 6
    assert len(gallery(np.empty((0, 3, 5, 5)), []).axes) == 1
    with pytest.raises(ValueError, match="5 stamps but 1 titles"):
        gallery(stamps, ["one"])
