"""Rules that span stages: each returns the problems of a campaign whose files are valid one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lens_assets.campaign.errors import Problem
from lens_assets.campaign.stages.evaluation import ExternalDetectorSettings
from lens_assets.campaign.stages.external import ModelFinderSettings
from lens_assets.campaign.stages.host_selection import VARIANTS

if TYPE_CHECKING:
    from lens_assets.campaign.campaign import Campaign


SMOOTHED_WEIGHT_MIN = 0.5
"""Least weight of tier B where its target is smoothed."""


def inconsistencies(campaign: Campaign) -> list[Problem]:
    """Return every contradiction between the stages of a campaign."""
    rules = (
        _simulated_sky,
        _designs,
        _detectors,
        _external_finders,
        _stamp_sizes,
        _hosts,
        _faint_limit,
        _lens_masks,
        _tier_b,
        _folds,
        _buffer,
        _closure_truth,
        _remedies,
    )
    return [problem for rule in rules for problem in rule(campaign)]


def _problem(campaign: Campaign, stage: str, key: str, found: object, expected: str) -> Problem:
    return Problem(str(campaign.folder / f"{stage}.yaml"), key, str(found), expected)


def _simulated_sky(campaign: Campaign) -> Iterable[Problem]:
    simulated = campaign.survey.source == "simulated"
    sky = campaign.simulated_sky
    if campaign.closure is not None and not simulated:
        expected = "absent, since only the lenses of a simulated sky are known"
        yield _problem(campaign, "closure", "file", "present", expected)
    if simulated != (sky is not None):
        expected = f"{'present' if simulated else 'absent'}, since survey.source is {campaign.survey.source}"
        yield _problem(campaign, "simulated_sky", "file", "missing" if simulated else "present", expected)
        return
    if sky is None:
        return
    outside = sorted(set(sky.layout.sky_partitions) - set(campaign.survey.sky_partitions))
    if outside:
        expected = "sky partitions that survey.sky_partitions lists"
        yield _problem(campaign, "simulated_sky", "layout.sky_partitions", ", ".join(outside), expected)


def _designs(campaign: Campaign) -> Iterable[Problem]:
    known = list(campaign.sampling.drawn)
    named = [
        ("injection", "hosts.design", campaign.injection.hosts.design),
        ("evaluation", "deployment_design", campaign.evaluation.deployment_design),
        *(
            (f"experiments/{name}", "training.design", item.training.design)
            for name, item in campaign.experiments.items()
        ),
    ]
    for stage, key, design in named:
        if design not in known:
            yield _problem(campaign, stage, key, design, f"a design of sampling.yaml: {', '.join(known)}")


def _detectors(campaign: Campaign) -> Iterable[Problem]:
    candidates = [name for name, item in campaign.experiments.items() if item.role == "candidate"]
    for detector, item in campaign.evaluation.detectors.items():
        if isinstance(item, ExternalDetectorSettings):
            continue
        for member in item.members:
            if member not in candidates:
                expected = f"an experiment with role candidate: {', '.join(candidates)}"
                yield _problem(campaign, "evaluation", f"detectors.{detector}.members", member, expected)


def _external_finders(campaign: Campaign) -> Iterable[Problem]:
    entries = campaign.external.finders if campaign.external is not None else {}
    external = {
        name: item for name, item in campaign.evaluation.detectors.items() if isinstance(item, ExternalDetectorSettings)
    }
    for name in sorted(set(external) - set(entries)):
        expected = f"an entry {name} that says where its scores or its model are"
        yield _problem(campaign, "external", "finders", ", ".join(entries) or "nothing", expected)
    for name in sorted(set(entries) - set(external)):
        expected = f"a detector of kind external in evaluation.yaml: {', '.join(external) or 'there is none'}"
        yield _problem(campaign, "external", f"finders.{name}", name, expected)
    for name, item in external.items():
        if item.validation_design not in campaign.sampling.designs:
            expected = f"a design of sampling.yaml: {', '.join(campaign.sampling.designs)}"
            key = f"detectors.{name}.validation_design"
            yield _problem(campaign, "evaluation", key, item.validation_design, expected)


def _stamp_sizes(campaign: Campaign) -> Iterable[Problem]:
    size = campaign.cutouts.stamp_pixels
    named = [
        ("injection", "renderer.stamp_pixels", campaign.injection.renderer.stamp_pixels),
        *(
            (f"experiments/{name}", "preprocessing.input_pixels", item.preprocessing.input_pixels)
            for name, item in campaign.experiments.items()
        ),
        *(
            ("external", f"finders.{name}.preprocessing.input_pixels", item.preprocessing.input_pixels)
            for name, item in (campaign.external.finders if campaign.external is not None else {}).items()
            if isinstance(item, ModelFinderSettings)
        ),
    ]
    for stage, key, found in named:
        if found != size:
            yield _problem(campaign, stage, key, found, f"{size}, the stamp_pixels of cutouts.yaml")


def _hosts(campaign: Campaign) -> Iterable[Problem]:
    hosts, limit = campaign.injection.hosts, campaign.negatives.filters.mag_z_max
    if hosts.mag_z.minimum >= limit:
        expected = f"below {limit}, the mag_z_max of negatives.yaml, since hosts are negatives"
        yield _problem(campaign, "injection", "hosts.mag_z.minimum", hosts.mag_z.minimum, expected)


def _faint_limit(campaign: Campaign) -> Iterable[Problem]:
    found, negatives = campaign.survey.faintest_mag_z, campaign.negatives
    selected = [getattr(campaign.host_selection.variants, name).mag_z_max for name in VARIANTS]
    neighbours = negatives.filters.mag_z_max + negatives.confusers.merger.delta_mag_z_max
    needed = max(neighbours, *selected)
    if found is not None and found < needed:
        expected = (
            f"null or at least {needed}: the neighbours that negatives.yaml compares with its faintest sources reach "
            f"{neighbours}, the variants of host_selection.yaml {max(selected)}"
        )
        yield _problem(campaign, "survey", "faintest_mag_z", found, expected)


def _lens_masks(campaign: Campaign) -> Iterable[Problem]:
    found, masks = campaign.catalogs.match_mask_bits, campaign.negatives.filters.mask_bits
    if set(found) != set(masks):
        expected = f"{sorted(masks)}, the mask_bits of negatives.yaml: lenses and negatives see the same sky"
        yield _problem(campaign, "catalogs", "match_mask_bits", sorted(found), expected)


def _tier_b(campaign: Campaign) -> Iterable[Problem]:
    """Smoothing and a low weight both distrust a probable lens; together they would count the doubt twice."""
    weight = campaign.catalogs.tier_weight("B")
    for name, item in campaign.experiments.items():
        smoothing = item.training.tier_b_label_smoothing
        if smoothing and weight < SMOOTHED_WEIGHT_MIN:
            expected = (
                f"0, or a weight of at least {SMOOTHED_WEIGHT_MIN} of tier B in catalogs.yaml, where it is {weight}: "
                "not less of both"
            )
            yield _problem(campaign, f"experiments/{name}", "training.tier_b_label_smoothing", smoothing, expected)


def _folds(campaign: Campaign) -> Iterable[Problem]:
    folds = campaign.splits.folds
    for name, item in campaign.experiments.items():
        fold = item.training.held_out_fold
        if fold is not None and fold >= folds:
            expected = f"null or 0 to {folds - 1}, since splits.yaml has {folds} folds"
            yield _problem(campaign, f"experiments/{name}", "training.held_out_fold", fold, expected)


def _buffer(campaign: Campaign) -> Iterable[Problem]:
    found, radius = campaign.features.split_proof.buffer_arcsec, campaign.negatives.filters.exclusion_radius_arcsec
    if found < radius:
        expected = f"at least {radius}, the exclusion_radius_arcsec of negatives.yaml"
        yield _problem(campaign, "features", "split_proof.buffer_arcsec", found, expected)


def _closure_truth(campaign: Campaign) -> Iterable[Problem]:
    relied = campaign.selection_function.closure.relied_on_campaign
    if campaign.survey.source != "simulated" and not relied:
        expected = "the simulated campaign whose closure this one relies on, since the real sky has no truth table"
        yield _problem(campaign, "selection_function", "closure.relied_on_campaign", "nothing", expected)


def _remedies(campaign: Campaign) -> Iterable[Problem]:
    known = campaign.evaluation.detectors
    for number, remedy in enumerate(campaign.selection_function.failures.remedies):
        for key, name in (("detector", remedy.detector), ("instead_of", remedy.instead_of)):
            if name not in known:
                expected = f"a detector of evaluation.yaml: {', '.join(known)}"
                yield _problem(campaign, "selection_function", f"failures.remedies[{number}].{key}", name, expected)
