"""Settings of survey and catalogs: what is impossible is refused with its key and what was expected."""

import json

import pytest
from pydantic import ValidationError

from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.catalogs import CatalogsSettings
from lens_assets.campaign.stages.survey import SurveySettings
from lens_assets.survey.tiles import parse_sweep_name
from lens_assets_tests.survey.reference import reference_file


def validated(model, stage, **changes):
    return model.model_validate_json(json.dumps(load_campaign("demo").contents[stage] | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root": "/data"}, "survey.root is '/data' while survey.source is 'simulated'"),
        ({"source": "folder"}, "survey.root is '' while survey.source is 'folder'"),
        ({"sky_partitions": ["hp08-001"]}, "expected hp04-<pixel>"),
        ({"sky_partitions": ["hp04-192"]}, "000 to 191"),
        ({"sky_partitions": ["hp04-001", "hp04-001"]}, "names a partition twice"),
        ({"sky_partitions": []}, "sky_partitions"),
        ({"margin_arcsec": 5.0}, "margin_arcsec"),
        ({"margin_arcsec": "60"}, "margin_arcsec"),
        ({"chunk_rows": 0}, "chunk_rows"),
        ({"max_quarantined_fraction": 2.0}, "max_quarantined_fraction"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_impossible_survey_settings_are_refused(changes, message):
    with pytest.raises(ValidationError, match=r"(?s).*") as caught:
        validated(SurveySettings, "survey", **changes)
    assert message in str(caught.value)


def tiers(a=1.0, b=0.5, names="AB"):
    """Return the tiers with other weights or names (then with weights that fit the names)."""
    weights = (a, b) if names == "AB" else (b, a)
    gradings = ("confident", "probable")
    return [{"grading": g, "tier": t, "weight": w} for g, t, w in zip(gradings, names, weights, strict=True)]


@pytest.mark.parametrize("weights", [(0.9, 0.3), (1.0, 0.6)])
def test_the_ends_of_the_ranges_are_allowed(weights):
    settings = validated(CatalogsSettings, "catalogs", tiers=tiers(*weights))
    assert (settings.tier_weight("A"), settings.tier_weight("B")) == weights


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"match_radius_arcsec": 0.0}, "match_radius_arcsec"),
        ({"coverage_radius_arcsec": 0.5}, "expected the first to be larger"),
        ({"match_types": ["COMP"]}, "match_types"),
        ({"match_mask_bits": [17]}, "match_mask_bits"),
        ({"tiers": [{"grading": "confident", "tier": "A", "weight": 1.0}]}, "one entry for confident and one for"),
        ({"tiers": tiers(a=0.8)}, "weight of tier A is 0.8; expected 0.9 to 1.0"),
        ({"tiers": tiers(b=0.2)}, "weight of tier B is 0.2; expected 0.3 to 0.6"),
        ({"tiers": tiers(b=0.7)}, "weight of tier B is 0.7; expected 0.3 to 0.6"),
        ({"tiers": tiers(names="BA")}, "expected tier A for confident and tier B for probable"),
        ({"spectroscopic_matched_use": "both"}, "spectroscopic_matched_use"),
        ({"lenses": []}, "lenses"),
    ],
)
def test_impossible_catalog_settings_are_refused(changes, message):
    with pytest.raises(ValidationError) as caught:
        validated(CatalogsSettings, "catalogs", **changes)
    assert message in str(caught.value)


def test_a_list_has_a_path_unless_it_is_the_package_and_patterns_compile():
    lists = load_campaign("dr10").contents["catalogs"]["lenses"]
    for change, message in (
        ({"path": "x.csv"}, "expected an empty path for lenscat"),
        ({"origin": "file"}, "and a file otherwise"),
        ({"positive_names": "("}, "expected a regular expression"),
    ):
        with pytest.raises(ValidationError, match=message):
            validated(CatalogsSettings, "catalogs", lenses=[lists[0] | change])


def test_the_survey_campaign_covers_every_real_tile_and_nothing_else():
    lines = reference_file("survey/dr10_sweep_urls.txt").read_text().split()
    settings = load_campaign("dr10").survey
    tiles = [parse_sweep_name(line.rsplit("/", 1)[1]) for line in lines]
    held = set(settings.sky_partitions)
    touched = set()
    for tile in tiles:
        touched |= {f"hp04-{pixel:03d}" for pixel in tile.pixels(settings.partition_nside, 0.0)}
    assert held <= touched
    assert len(touched - held) <= 12  # pixels that a tile's grown box touches but no point of it


def test_the_demo_s_partitions_are_those_of_its_sky():
    campaign = load_campaign("demo")
    assert campaign.survey.sky_partitions == campaign.simulated_sky.layout.sky_partitions


def test_masks_of_lenses_and_negatives_are_the_same():
    for name in ("demo", "dr10"):
        campaign = load_campaign(name)
        assert set(campaign.catalogs.match_mask_bits) == set(campaign.negatives.filters.mask_bits)
