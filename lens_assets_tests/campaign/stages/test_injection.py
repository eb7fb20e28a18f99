"""Settings of the injections: both campaigns load, and what is impossible is refused with what was expected."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.injection import InjectionSettings


@pytest.fixture(params=["demo", "dr10"])
def content(request: pytest.FixtureRequest) -> dict:
    return json.loads(load_campaign(request.param).injection.model_dump_json())


def refused(content: dict, path: str, value: object) -> str:
    *groups, last = path.split(".")
    group = content
    for name in groups:
        group = group[name]
    group[last] = value
    with pytest.raises(ValidationError) as caught:
        InjectionSettings.model_validate_json(json.dumps(content))
    return str(caught.value)


def test_campaigns_are_valid(content: dict) -> None:
    assert InjectionSettings.model_validate_json(json.dumps(content)).renderer.stamp_pixels == 101


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("renderer.stamp_pixels", 100, "odd"),
        ("renderer.psf_moffat_beta", 3.0, "2.5, 3.5, 4.5"),
        ("renderer.psf_fwhm_scale", 0.0, "greater than 0.2"),
        ("source.mag_r", {"minimum": 26.0, "maximum": 22.0}, "at least minimum"),
        ("source.half_light_radius_arcsec", {"minimum": 0.0, "maximum": 0.5}, "0.01"),
        ("source.position.mode", "anywhere", "'range', 'caustic' or 'centred'"),
        ("source.position.beta_over_theta_e", {"minimum": 0.0, "maximum": 9.0}, "maximum <= 3"),
        ("lens.axis_ratio", {"minimum": 0.05, "maximum": 1.0}, "0.2"),
        ("noise.mode", "sky", "source_shot"),
        ("noise.gain_e_per_nmgy", 150.0, "Extra inputs"),
        ("pilot_injections", "1500", "integer"),
    ],
)
def test_the_impossible_is_refused(content: dict, path: str, value: object, expected: str) -> None:
    assert expected in refused(content, path, value)


def test_every_fault_of_an_injection_is_an_edit_of_its_settings(content: dict) -> None:
    """Magnitudes pinned bright, a wide PSF, red sources, low gain, a second sky and centred sources are all valid."""
    content["source"]["mag_r"] = {"minimum": 20.0, "maximum": 24.0}
    content["brightness"] |= {"calibration": "pinned", "pinned_shift_mag": 0.0}
    content["renderer"]["psf_fwhm_scale"] = 1.3
    content["source"]["g_minus_r"]["mean"] += 0.5
    content["source"]["r_minus_z"]["mean"] += 0.5
    content["noise"] |= {"gain_scale": 0.01, "mode": "source_shot_and_sky"}
    content["source"]["position"]["mode"] = "centred"
    assert InjectionSettings.model_validate_json(json.dumps(content)).noise.gain_scale == 0.01
