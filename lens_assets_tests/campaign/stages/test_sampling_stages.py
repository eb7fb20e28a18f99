"""Settings of splits, negatives and sampling: what they refuse, and that the campaigns keep the published numbers."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from lens_assets.campaign.base import Settings
from lens_assets.campaign.campaign import load_campaign
from lens_assets.campaign.stages.negatives import CountBin, NegativesSettings
from lens_assets.campaign.stages.sampling import SamplingSettings, StratifiedDesign
from lens_assets.campaign.stages.splits import SplitsSettings

DEMO, DR10 = load_campaign("demo"), load_campaign("dr10")


def with_value(settings: Settings, path: str, value: Any) -> dict[str, Any]:
    """Return the settings' content with one value replaced, by dotted path."""
    content = settings.model_dump()
    target = content
    *parents, last = path.split(".")
    for name in parents:
        target = target[name]
    target[last] = value
    return content


@pytest.mark.parametrize(
    ("model", "stage", "path", "value", "message"),
    [
        (SplitsSettings, "splits", "fractions.train", 0.6, "train \\+ val \\+ test = 1.15"),
        (SplitsSettings, "splits", "cell_nside", 64, "128"),
        (SplitsSettings, "splits", "folds", 1, "greater than or equal to 2"),
        (NegativesSettings, "negatives", "filters.dec_min_deg", 40.0, "is not below filters.dec_max_deg"),
        (NegativesSettings, "negatives", "filters.types", ("SER", "COMP"), "COMP|Input should be"),
        (NegativesSettings, "negatives", "filters.mask_bits", (1, 17), "less than or equal to 16"),
        (NegativesSettings, "negatives", "exclusion_sensitivity_arcsec", (3.0, 12.0), "holds \\[12.0\\]"),
        (NegativesSettings, "negatives", "exclusion_sensitivity_arcsec", (3.0, 3.0), "expected radii, each once"),
        (NegativesSettings, "negatives", "exclusion_sensitivity_arcsec", (), "expected radii, each once"),
        (NegativesSettings, "negatives", "extensions.n1b_types", ("SER",), "share \\['SER'\\]"),
        (NegativesSettings, "negatives", "confusers.merger.separation_min_arcsec", 6.0, "is not below"),
        (
            NegativesSettings,
            "negatives",
            "alternatives.first.confusers.merger.separation_max_arcsec",
            5.0,
            "alternatives.first.confusers.merger has other separations",
        ),
        (NegativesSettings, "negatives", "warnings.edge_on_share_min", 0.5, "edge_on_share_min = 0.5 is above"),
        (NegativesSettings, "negatives", "warnings.published_rate_min", 0.9, "published_rate_min = 0.9 is above"),
        (NegativesSettings, "negatives", "nobs_z_bins", (CountBin(low=1, high=2),), "the last one open"),
        (NegativesSettings, "negatives", "unknown", 1, "Extra inputs"),
        (SamplingSettings, "sampling", "designs", {}, "at least 1 item"),
    ],
)
def test_refused(model: type[Settings], stage: str, path: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        model.model_validate(with_value(DEMO.stages[stage], path, value))


def test_what_departs_from_the_published_recipe_is_named() -> None:
    for campaign in (DEMO, DR10):
        assert campaign.negatives.departures == ()
        reordered = with_value(campaign.negatives, "filters.types", ("REX", "SER", "DEV"))
        assert NegativesSettings.model_validate(reordered).departures == ()
    changed = NegativesSettings.model_validate(with_value(DEMO.negatives, "confusers.ring.sersic_min", 4.5))
    assert changed.departures == ("confusers.ring.sersic_min is 4.5, published 4.0",)
    types = NegativesSettings.model_validate(with_value(DEMO.negatives, "filters.types", ("SER", "DEV")))
    assert types.departures == ("filters.types is SER, DEV, published SER, DEV, REX",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"condition": "psfsize_r"}, "expected edges exactly where a condition is named"),
        ({"condition": "psfsize_r", "condition_edges": (1.4, 1.2)}, "expected rising values"),
        ({"condition_edges": 4}, "expected edges exactly where a condition is named"),
        ({"condition": "psfsize_r", "condition_edges": 1}, "greater than or equal to 2"),
        ({"n2_fraction": 1.0}, "less than 1"),
        ({"negatives_per_positive": 0.0}, "greater than 0"),
        ({"nobs_z_bins": (CountBin(low=1, high=3), CountBin(low=3, high=None))}, "without gap or overlap"),
    ],
)
def test_refused_designs(changes: dict[str, Any], message: str) -> None:
    design = DEMO.sampling.designs["baseline"]
    with pytest.raises(ValidationError, match=message):
        StratifiedDesign.model_validate({**design.model_dump(), **changes})


def test_a_design_must_be_called_baseline() -> None:
    designs = {"Other": DEMO.sampling.designs["baseline"]}
    with pytest.raises(ValidationError, match="baseline among them"):
        SamplingSettings(seed=1, designs=designs)


def test_labels_of_bins() -> None:
    assert [item.label for item in DR10.negatives.nobs_z_bins] == ["1-2", "3-5", "6-10", "11+"]
    fine = DR10.sampling.designs["fine_nobs"]
    assert isinstance(fine, StratifiedDesign)
    assert [item.label for item in fine.nobs_z_bins] == ["1", "2", "3", "4+"]


def test_the_survey_keeps_the_published_numbers() -> None:
    filters = DR10.negatives.filters
    assert (filters.dec_min_deg, filters.dec_max_deg, filters.types) == (-18.0, 32.0, ("SER", "DEV", "REX"))
    assert filters.mask_bits == (1, 5, 6, 7, 11, 12, 13)
    assert (filters.nobs_min, filters.mag_z_max, filters.exclusion_radius_arcsec) == (3, 20.0, 11.0)
    assert DR10.splits.ordered_fractions == {"train": 0.70, "val": 0.15, "test": 0.15}
    assert list(DR10.splits.ordered_fractions) == ["train", "val", "test"]
    assert (DR10.splits.seed, DR10.splits.hash_nside, DR10.sampling.seed) == (42, 128, 42)
    baseline = DR10.sampling.designs["baseline"]
    assert isinstance(baseline, StratifiedDesign)
    assert (baseline.negatives_per_positive, baseline.n2_fraction) == (100.0, 0.15)


def test_the_survey_names_every_design_side_by_side() -> None:
    designs = DR10.sampling.drawn
    baseline = designs["baseline"]
    assert isinstance(baseline, StratifiedDesign)
    differs = {
        "with_exp": {"include_exp": True},
        "without_mask": {"without_maskbits": True},
        "low_ebv": {"ebv_max": 0.1},
        "psf_strata": {"condition": "psfsize_r", "condition_edges": (1.2, 1.4, 1.6)},
        "depth_strata": {"condition": "psfdepth_r_mag", "condition_edges": (24.0, 24.5, 25.0)},
        "without_candidates": {"positives": "confirmed"},
    }
    for name, changes in differs.items():
        expected = baseline.model_copy(update={**changes, "purpose": designs[name].purpose})
        assert designs[name] == expected, name
    assert set(designs) == {"baseline", "fine_nobs", "deployment", *differs}
    assert set(DR10.sampling.legacy) == {"legacy"}


def test_the_demo_applies_the_survey_s_filters_and_classes() -> None:
    own_limits = DEMO.negatives.model_copy(update={"warnings": DR10.negatives.warnings})
    assert own_limits == DR10.negatives
    limits = DR10.negatives.warnings
    assert (limits.published_rate_min, limits.published_rate_max, limits.largest_category_share) == (0.10, 0.25, 0.5)
    assert (limits.edge_on_share_min, limits.edge_on_share_max) == (0.02, 0.04)
