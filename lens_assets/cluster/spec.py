"""What a Spark job is asked to do, as JSON: settings, inputs and where its output goes. No code travels in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from lens_assets.campaign.campaign import Campaign
from lens_assets.campaign.stages.catalogs import CatalogsSettings
from lens_assets.campaign.stages.negatives import NegativesSettings
from lens_assets.campaign.stages.sampling import SamplingSettings
from lens_assets.campaign.stages.splits import SplitsSettings
from lens_assets.campaign.stages.survey import SurveySettings
from lens_assets.digests import content_digest

JOB_VERSION = "spark-sampling-3"
"""Raise it where the job would write other tables from the same inputs: what it wrote before is then left alone."""

STAGES = ("survey", "catalogs", "splits", "negatives", "sampling")
CATALOGS = ("lens_catalog", "spectroscopic_catalog")
ENTRIES = "contaminant_entries"
"""The rows of the curated lists and reviews; the job matches them to the sources that it ingests."""

GIVEN = (*CATALOGS, ENTRIES)


class JobError(RuntimeError):
    """The job cannot be run as asked, or must not go on; the message names what and what to do."""


@dataclass(frozen=True)
class JobSpec:
    """Settings by stage, the survey's root, the Parquet files of what is given with their digests, and the output.

    `output` is a folder or a prefix that driver and executors reach. `region` names the AWS region of every s3:// in
    it: nothing is left to the default of a machine.
    """

    campaign: str
    survey_root: str
    catalogs: dict[str, str]
    output: str
    settings: dict[str, Any]
    region: str = ""
    inputs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise JobError where something is missing that would only show on the cluster."""
        missing = sorted({*GIVEN} - {*self.catalogs}) + sorted({*STAGES} - {*self.settings})
        if missing:
            raise JobError(f"the job lacks {', '.join(missing)}; expected {', '.join((*GIVEN, *STAGES))}")
        remote = [place for place in (self.output, self.survey_root, *self.catalogs.values()) if place[:5] == "s3://"]
        if remote and not self.region:
            raise JobError(f"{remote[0]} is on S3 and no region is named; set AWS_REGION to the region of the bucket")

    @property
    def root(self) -> str:
        """Where this job writes: below the output, by a digest of all it depends on, so that runs never mix."""
        content = {name: value for name, value in asdict(self).items() if name not in ("output", "region")}
        digest = content_digest([content, JOB_VERSION])
        return f"{self.output.rstrip('/')}/{digest[:16]}"

    @property
    def survey(self) -> SurveySettings:
        """Where the survey's files are and how they are ingested."""
        return SurveySettings.model_validate_json(json.dumps(self.settings["survey"]))

    @property
    def catalog_rules(self) -> CatalogsSettings:
        """How lenses are matched to sources."""
        return CatalogsSettings.model_validate_json(json.dumps(self.settings["catalogs"]))

    @property
    def splits(self) -> SplitsSettings:
        """How the sky is split."""
        return SplitsSettings.model_validate_json(json.dumps(self.settings["splits"]))

    @property
    def negatives(self) -> NegativesSettings:
        """How negatives are chosen."""
        return NegativesSettings.model_validate_json(json.dumps(self.settings["negatives"]))

    @property
    def sampling(self) -> SamplingSettings:
        """The designs to draw."""
        return SamplingSettings.model_validate_json(json.dumps(self.settings["sampling"]))

    def to_json(self) -> str:
        """Return the spec as text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> JobSpec:
        """Return the spec of a text that `to_json` made."""
        return cls(**json.loads(text))


def job_spec(
    campaign: Campaign,
    survey_root: str,
    catalogs: dict[str, str],
    output: str,
    region: str = "",
    inputs: dict[str, str] | None = None,
) -> JobSpec:
    """Return the job of a campaign; `inputs` are digests of what the catalogs and the survey hold."""
    settings = {stage: campaign.stages[stage].model_dump(mode="json") for stage in STAGES}
    return JobSpec(campaign.name, survey_root, catalogs, output, settings, region, dict(inputs or {}))
