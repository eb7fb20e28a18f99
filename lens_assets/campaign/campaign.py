"""Load a campaign: one typed settings object a stage, and a digest of what each YAML says.

A campaign is a folder of YAML files, one a stage, with one file an experiment under `experiments/`. The stage
models live in `stages/`; rules that span stages live in `consistency.py`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from lens_assets.campaign.base import Settings
from lens_assets.campaign.errors import CampaignError, Problem
from lens_assets.campaign.yaml_files import load_yaml
from lens_assets.environment import CAMPAIGNS_FOLDER, located_campaign

if TYPE_CHECKING:
    from lens_assets.campaign.stages.catalogs import CatalogsSettings
    from lens_assets.campaign.stages.closure import ClosureSettings
    from lens_assets.campaign.stages.cutouts import CutoutsSettings
    from lens_assets.campaign.stages.evaluation import EvaluationSettings
    from lens_assets.campaign.stages.experiments import ExperimentSettings
    from lens_assets.campaign.stages.external import ExternalSettings
    from lens_assets.campaign.stages.features import FeaturesSettings
    from lens_assets.campaign.stages.host_selection import HostSelectionSettings
    from lens_assets.campaign.stages.injection import InjectionSettings
    from lens_assets.campaign.stages.negatives import NegativesSettings
    from lens_assets.campaign.stages.realism import RealismSettings
    from lens_assets.campaign.stages.report import ReportSettings
    from lens_assets.campaign.stages.sampling import SamplingSettings
    from lens_assets.campaign.stages.selection_function import SelectionFunctionSettings
    from lens_assets.campaign.stages.simulated_sky import SimulatedSkySettings
    from lens_assets.campaign.stages.splits import SplitsSettings
    from lens_assets.campaign.stages.survey import SurveySettings

CAMPAIGN_VARIABLE = "LENS_CAMPAIGN"
DEFAULT_CAMPAIGN = "demo"

STAGES = (
    "catalogs",
    "survey",
    "negatives",
    "host_selection",
    "splits",
    "sampling",
    "cutouts",
    "features",
    "evaluation",
    "injection",
    "realism",
    "selection_function",
    "report",
)
OPTIONAL_STAGES = ("simulated_sky", "external", "closure")
EXPERIMENTS = "experiments"


@dataclass(frozen=True)
class Campaign:
    """The settings of one campaign, validated and frozen.

    `contents` holds the parsed YAML of each stage (`"splits"`) and experiment (`"experiments/baseline"`):
    the digest of a stage is the digest of that content, so a comment or the order of keys changes nothing. A list that
    a stage names counts with its content: another list under the same name is another setting.
    """

    name: str
    folder: Path
    stages: Mapping[str, Settings]
    experiments: Mapping[str, ExperimentSettings]
    contents: Mapping[str, Any]

    def settings_digest(self, stage: str) -> str:
        """Return the SHA-256 of the content of a stage's YAML, its lists with it; KeyError for an unknown stage."""
        content = self.contents[stage]
        named = self.stages[stage].files_of_your_own if stage in self.stages else ()
        if not named:
            return content_digest(content)
        files = {name: _file_digest(self.folder / Path(name).expanduser()) for name in named}
        return content_digest({"content": content, "files": files})

    @property
    def catalogs(self) -> CatalogsSettings:
        """Known lenses and contaminants."""
        return self.stages["catalogs"]  # type: ignore[return-value]

    @property
    def survey(self) -> SurveySettings:
        """Where the survey's files are and which part of the sky is used."""
        return self.stages["survey"]  # type: ignore[return-value]

    @property
    def simulated_sky(self) -> SimulatedSkySettings | None:
        """The simulated sky, for campaigns whose survey is simulated."""
        return self.stages.get("simulated_sky")  # type: ignore[return-value]

    @property
    def negatives(self) -> NegativesSettings:
        """Filters and confuser classes of the negative pool."""
        return self.stages["negatives"]  # type: ignore[return-value]

    @property
    def host_selection(self) -> HostSelectionSettings:
        """Luminous red galaxies as hosts, and the regions rich in them."""
        return self.stages["host_selection"]  # type: ignore[return-value]

    @property
    def splits(self) -> SplitsSettings:
        """Train, validation and test cells."""
        return self.stages["splits"]  # type: ignore[return-value]

    @property
    def sampling(self) -> SamplingSettings:
        """Strata and sampling designs."""
        return self.stages["sampling"]  # type: ignore[return-value]

    @property
    def cutouts(self) -> CutoutsSettings:
        """How stamps are cut."""
        return self.stages["cutouts"]  # type: ignore[return-value]

    @property
    def features(self) -> FeaturesSettings:
        """Quality limits and measured features of stamps."""
        return self.stages["features"]  # type: ignore[return-value]

    @property
    def evaluation(self) -> EvaluationSettings:
        """Metrics, thresholds and the audited detectors."""
        return self.stages["evaluation"]  # type: ignore[return-value]

    @property
    def external(self) -> ExternalSettings | None:
        """Scores and models of finders that were not trained here, for campaigns that audit any."""
        return self.stages.get("external")  # type: ignore[return-value]

    @property
    def closure(self) -> ClosureSettings | None:
        """Closure at scale, for campaigns whose sky is simulated."""
        return self.stages.get("closure")  # type: ignore[return-value]

    @property
    def injection(self) -> InjectionSettings:
        """Priors and rendering of injections."""
        return self.stages["injection"]  # type: ignore[return-value]

    @property
    def realism(self) -> RealismSettings:
        """The battery of the realism gate."""
        return self.stages["realism"]  # type: ignore[return-value]

    @property
    def selection_function(self) -> SelectionFunctionSettings:
        """The injection grid and its statistics."""
        return self.stages["selection_function"]  # type: ignore[return-value]

    @property
    def report(self) -> ReportSettings:
        """What the audit report shows."""
        return self.stages["report"]  # type: ignore[return-value]


def require_files(campaign: Campaign) -> None:
    """Raise CampaignError with every list that the settings name and that is not there."""
    problems = [
        Problem(str(campaign.folder / f"{stage}.yaml"), "path", str(path), "a file that is there")
        for stage, settings in campaign.stages.items()
        for path in (campaign.folder / Path(name).expanduser() for name in settings.files_of_your_own)
        if not path.is_file()
    ]
    if problems:
        raise CampaignError(campaign.name, problems)


def _file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, or a word where it cannot be read: whoever needs it says why."""
    try:
        status = path.stat()
        return _digest_of_version(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return "unreadable"


@lru_cache(maxsize=256)
def _digest_of_version(path: Path, size: int, mtime_ns: int) -> str:
    """Read a file once as long as its size and time stay as they are."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_digest(content: Any) -> str:
    """Return the SHA-256 of parsed settings in canonical JSON (sorted keys, no whitespace)."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def campaign_folder(name_or_path: str | Path | None = None) -> Path:
    """Return the folder of a campaign given by name or path, else of the one `LENS_CAMPAIGN` names."""
    wanted = str(name_or_path or os.environ.get(CAMPAIGN_VARIABLE) or DEFAULT_CAMPAIGN)
    folder = located_campaign(wanted)
    if folder.is_dir():
        return folder
    known = ", ".join(sorted(path.name for path in CAMPAIGNS_FOLDER.iterdir() if path.is_dir()))
    expected = f"one of {known}, or the path of a folder of YAML files"
    raise CampaignError(wanted, [Problem(wanted, CAMPAIGN_VARIABLE, "no such folder", expected)])


def load_campaign(name_or_path: str | Path | None = None) -> Campaign:
    """Load and validate a campaign; raise CampaignError with every problem that was found."""
    folder = campaign_folder(name_or_path)
    fingerprint = tuple(
        (str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(folder.rglob("*.yaml"))
    )
    return _load(folder, fingerprint)


@lru_cache(maxsize=8)
def _load(folder: Path, fingerprint: tuple[tuple[str, int, int], ...]) -> Campaign:
    del fingerprint  # part of the cache key: an edited file is read again
    problems: list[Problem] = []
    contents: dict[str, Any] = {}
    stages: dict[str, Settings] = {}
    for stage in (*STAGES, *OPTIONAL_STAGES):
        path = folder / f"{stage}.yaml"
        if stage in OPTIONAL_STAGES and not path.exists():
            continue
        settings = _load_stage(path, _stage_model(stage), stage, contents, problems)
        if settings is not None:
            stages[stage] = settings
    experiments = _load_experiments(folder, contents, problems)
    problems += _unexpected_files(folder)
    campaign = Campaign(folder.name, folder, stages, experiments, contents)
    if not problems:
        from lens_assets.campaign.consistency import inconsistencies

        problems += inconsistencies(campaign)
    if problems:
        raise CampaignError(folder.name, problems)
    return campaign


def _stage_model(stage: str) -> type[Settings]:
    module = importlib.import_module(f"lens_assets.campaign.stages.{stage}")
    name = "Experiment" if stage == EXPERIMENTS else "".join(part.title() for part in stage.split("_"))
    model: type[Settings] = getattr(module, f"{name}Settings")
    return model


def _load_experiments(folder: Path, contents: dict[str, Any], problems: list[Problem]) -> dict[str, ExperimentSettings]:
    experiments: dict[str, ExperimentSettings] = {}
    paths = sorted((folder / EXPERIMENTS).glob("*.yaml"))
    if not paths:
        expected = "one YAML file for each training recipe"
        problems.append(Problem(str(folder / EXPERIMENTS), "*.yaml", "no file", expected))
    for path in paths:
        settings = _load_stage(path, _stage_model(EXPERIMENTS), f"{EXPERIMENTS}/{path.stem}", contents, problems)
        if settings is not None:
            experiments[path.stem] = settings  # type: ignore[assignment]
    return experiments


def _load_stage(
    path: Path, model: type[Settings], stage: str, contents: dict[str, Any], problems: list[Problem]
) -> Settings | None:
    if not path.is_file():
        problems.append(Problem(str(path), stage, "no such file", "a YAML file with the settings of this stage"))
        return None
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problems.append(Problem(str(path), stage, " ".join(str(error).split()), "valid YAML in UTF-8"))
        return None
    if not isinstance(content, dict):
        problems.append(Problem(str(path), stage, type(content).__name__, "a mapping of settings to values"))
        return None
    not_finite = list(_not_finite(content))
    if not_finite:
        problems += [Problem(str(path), key, "a number that is not finite", "a finite number") for key in not_finite]
        return None
    contents[stage] = content
    try:
        return model.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        problems += [_problem(path, model, detail) for detail in error.errors()]
        return None


def _not_finite(content: Any, key: str = "") -> list[str]:
    if isinstance(content, dict):
        return [found for name, value in content.items() for found in _not_finite(value, f"{key}.{name}".lstrip("."))]
    if isinstance(content, list):
        return [found for index, value in enumerate(content) for found in _not_finite(value, f"{key}[{index}]")]
    return [key] if isinstance(content, float) and not math.isfinite(content) else []


def _problem(path: Path, model: type[Settings], detail: Any) -> Problem:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "value_error":
        return Problem(str(path), key, "", str(detail["ctx"]["error"]))
    found = json.dumps(detail.get("input"), default=str)
    found = found if len(found) <= 120 else found[:117] + "..."
    expected = detail["msg"]
    if detail["type"] == "extra_forbidden":
        expected = f"no such key; known keys here: {', '.join(_known_keys(model, detail['loc']))}"
    elif detail["type"] == "missing":
        found, expected = "nothing", "this key with a value"
    unit = _unit(model, detail["loc"])
    return Problem(str(path), key, found, f"{expected}{f' [{unit}]' if unit else ''}")


def _known_keys(model: type[Settings], location: tuple[Any, ...]) -> list[str]:
    return sorted(_model_at(model, location[:-1]).model_fields)


def _unit(model: type[Settings], location: tuple[Any, ...]) -> str:
    names = [part for part in location if isinstance(part, str)]
    field = _model_at(model, location[:-1]).model_fields.get(names[-1]) if names else None
    extra = field.json_schema_extra if field is not None else None
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def _model_at(model: type[Settings], location: tuple[Any, ...]) -> type[Settings]:
    """Follow the nested settings models along an error's location as far as they go."""
    for part in location:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        inner = _settings_type(field.annotation) if field is not None else None
        model = inner or model
    return model


def _settings_type(annotation: Any) -> type[Settings] | None:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    found = (_settings_type(argument) for argument in getattr(annotation, "__args__", ()))
    return next((item for item in found if item is not None), None)


def _unexpected_files(folder: Path) -> list[Problem]:
    known = {f"{stage}.yaml" for stage in (*STAGES, *OPTIONAL_STAGES)}
    strays = [path for path in sorted(folder.glob("*.y*ml")) if path.name not in known]
    expected = f"only {', '.join(sorted(known))} and {EXPERIMENTS}/*.yaml"
    return [Problem(str(path), "file name", path.name, expected) for path in strays]
