"""Closure at scale for a campaign with a simulated sky: which detector is asked, where results stand, what is said.

It is no asset: it measures the method (simulator, renderer, priors, reweighting), not this campaign's completeness, and
takes as many lenses as its error needs. The lineage's own `closure_report` is the small version.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_assets.digests import content_digest

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign
    from lens_assets.campaign.stages.closure import ClosureSettings
    from lens_assets.lake.lake import Lake
    from lens_assets.selection.closure_run import Progress
    from lens_assets.selection.closure_scale import Comparison, Populations
    from lens_assets.selection.closure_stamps import ClosureJob

VERSION = 1
REPORT, SUMMARY, FIGURE = "closure.parquet", "summary.txt", "closure.png"


class ClosureError(ValueError):
    """Closure cannot be measured; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Finders:
    """The detectors that are asked: folder of each, thresholds of each by name, and the name of the audited one."""

    folders: Mapping[str, Path]
    cuts: Mapping[str, Mapping[str, float]]
    audit: str


def frozen_finders(campaign: Campaign, lake: Lake, names: Sequence[str]) -> Finders:
    """Return frozen detectors of the campaign's lake; ClosureError where one is not there."""
    from lens_assets.detector.external import SCORES_FILE

    known = list(campaign.evaluation.detectors)
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ClosureError(f"--detector {unknown[0]}: expected one of {', '.join(known)}")
    folders, cuts = {}, {}
    for name in names:
        if lake.record("frozen_detector", name) is None:
            raise ClosureError(
                f"{lake.root} holds no frozen detector {name}: make it first (make demo, or lens-assets --campaign "
                f"{campaign.name} run), or name a TorchScript finder with --model"
            )
        folders[name] = lake.folder("frozen_detector", name)
        if (folders[name] / SCORES_FILE).exists():
            raise ClosureError(f"--detector {name}: known by its scores alone, it cannot score the stamps of a new sky")
        table = lake.table("frozen_detector", name)
        cuts[name] = dict(zip(table["name"], table["threshold"].astype(float), strict=True))
    return Finders(folders, cuts, campaign.evaluation.thresholds.audit)


def model_finder(path: Path, threshold: float, folder: Path) -> Finders:
    """Return the TorchScript or ONNX finder that a YAML file describes, stored under `folder` for other processes.

    The file holds what an entry of `external.yaml` with a model does; its paths start at its own folder. `threshold`
    is a probability, whatever the model returns.
    """
    if not 0.0 < threshold < 1.0:
        raise ClosureError(f"--threshold {threshold:g}: scores are probabilities, also of a model that returns logits")
    import yaml
    from pydantic import ValidationError

    from lens_assets.campaign.stages.external import ModelFinderSettings
    from lens_assets.campaign.yaml_files import load_yaml
    from lens_assets.detector.errors import DetectorError
    from lens_assets.detector.external import MODELS, save_external

    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
        settings = ModelFinderSettings.model_validate_json(json.dumps(content))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        words = " or ".join(MODELS)
        raise ClosureError(f"{path}: {error}; expected an entry of external.yaml whose source is {words}") from error
    model = path.parent / Path(settings.path).expanduser()
    if not model.is_file():
        raise ClosureError(f"{model}: no such file; {path} names it under path")
    held = model.read_bytes()
    if (found := hashlib.sha256(held).hexdigest()) != settings.sha256:
        raise ClosureError(f"{model}: SHA-256 {found}, but {path} states {settings.sha256}")
    _, make = MODELS[settings.source]
    try:
        finder = make(path.stem, held, settings.preprocessing, settings.output, settings.batch_size)
    except DetectorError as error:
        raise ClosureError(f"{model}: {error}") from error
    place = folder / f"model-{finder.digest[:16]}"
    place.mkdir(parents=True, exist_ok=True)
    for name, data in save_external(finder).items():
        (place / name).write_bytes(data)
    audit = f"fixed_{threshold:g}"
    return Finders({finder.name: place}, {finder.name: {audit: threshold}}, audit)


def stated_settings(campaign: Campaign, **stated: int | None) -> ClosureSettings:
    """Return the campaign's closure settings with what the command line states in place of theirs."""
    from pydantic import ValidationError

    from lens_assets.campaign.stages.closure import ClosureSettings

    if campaign.closure is None or campaign.simulated_sky is None:
        relied = campaign.selection_function.closure.relied_on_campaign or "demo"
        raise ClosureError(
            f"campaign {campaign.name} has no closure.yaml, since its sky is not simulated; its closure is that of "
            f"campaign {relied}: lens-assets --campaign {relied} closure"
        )
    if (parent := campaign.injection.hosts.parent) != "scan":
        raise ClosureError(
            f"campaign {campaign.name} takes its hosts from {parent}, and lenses of the closure's sky have every host: "
            "set hosts.parent of injection.yaml to scan; closure_report closes the campaign's own sky for any parent"
        )
    content = campaign.closure.model_dump(mode="json")
    content |= {name: value for name, value in stated.items() if value is not None}
    try:
        return ClosureSettings.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        raise ClosureError(f"--{'.'.join(map(str, first['loc'])) or 'lenses'}: {first['msg']}") from error


def job_of(campaign: Campaign, settings: ClosureSettings, finders: Finders) -> ClosureJob:
    """Return what is drawn, rendered and scored for a campaign."""
    from lens_assets.selection.closure_stamps import closure_job

    assert campaign.simulated_sky is not None  # noqa: S101  (stated_settings refuses campaigns without)
    return closure_job(
        campaign.simulated_sky,
        campaign.injection,
        settings,
        finders.folders,
        campaign.selection_function.grid,
        campaign.features.regions,
        campaign.features.quality,
        tuple(campaign.negatives.filters.mask_bits),
    )


def close(campaign: Campaign, job: ClosureJob, finders: Finders, folder: Path, progress: Progress) -> pd.DataFrame:
    """Measure closure, write its report under `folder` and return it; what is there for the same settings is kept.

    Batches stand in `<folder>/work-<digest>` until the report is whole.
    """
    import pandas as pd

    from lens_assets.selection.closure_run import measure
    from lens_assets.selection.closure_scale import comparable
    from lens_assets.selection.closure_stamps import NothingToCompareError

    digest = _digest(campaign, job, finders)
    if (folder / REPORT).exists():
        stored = pd.read_parquet(folder / REPORT)
        if set(stored["settings_digest"]) == {digest}:
            return stored
    work = folder / f"work-{job.digest()[:16]}"
    try:
        lenses, injections = measure(job, work, progress)
    except NothingToCompareError as error:
        raise ClosureError(f"{error} (--lenses, --hosts)") from error
    populations = comparable(lenses, injections, job)
    report = _write(campaign, job, finders, populations, digest, folder, progress)
    shutil.rmtree(work)
    return report


def _digest(campaign: Campaign, job: ClosureJob, finders: Finders) -> str:
    content = {
        "version": VERSION,
        "job": job.digest(),
        "cuts": {name: dict(cuts) for name, cuts in finders.cuts.items()},
        "audit": finders.audit,
        "intervals": campaign.selection_function.intervals.model_dump(mode="json"),
    }
    return content_digest(content)


def _write(
    campaign: Campaign,
    job: ClosureJob,
    finders: Finders,
    populations: Populations,
    digest: str,
    folder: Path,
    progress: Progress,
) -> pd.DataFrame:
    import pandas as pd

    compared = _comparisons(campaign, job, finders, populations, progress)
    rows = [
        {
            "campaign": campaign.name,
            "detector": name,
            "threshold": threshold,
            "audited": threshold == finders.audit,
            **item.result.numbers(),
            "n_injections": len(populations.trials),
            "verdict": item.verdict,
            "reason": item.reason,
            "detector_digest": _detector_digest(job, name),
            "settings_digest": digest,
        }
        for (name, threshold), item in compared.items()
    ]
    report = pd.DataFrame(rows)
    for part in ("strata", "coverage"):
        frames = [getattr(item.result, part).assign(detector=d, threshold=t) for (d, t), item in compared.items()]
        pd.concat(frames, ignore_index=True).to_parquet(folder / f"{part}.parquet", index=False)
    for part in ("estimators", "along", "calibration"):
        frames = [getattr(item, part).assign(detector=d, threshold=t) for (d, t), item in compared.items()]
        pd.concat(frames, ignore_index=True).to_parquet(folder / f"{part}.parquet", index=False)
    populations.funnel.to_parquet(folder / "funnel.parquet", index=False)
    populations.lenses.to_parquet(folder / "lenses.parquet", index=False)
    populations.trials.to_parquet(folder / "injections.parquet", index=False)
    (folder / FIGURE).write_bytes(_figure(campaign, next(iter(finders.folders)), finders.audit, compared))
    (folder / SUMMARY).write_text("\n".join(_lines(finders, populations, compared, digest)) + "\n", encoding="utf-8")
    unfinished = folder / f"{REPORT}.part"
    report.to_parquet(unfinished, index=False)
    unfinished.replace(folder / REPORT)
    return report


def _comparisons(
    campaign: Campaign, job: ClosureJob, finders: Finders, populations: Populations, progress: Progress
) -> dict[tuple[str, str], Comparison]:
    from lens_assets.selection.closure_scale import compare
    from lens_assets.selection.transport import density_ratio

    settings, intervals = job.settings, campaign.selection_function.intervals
    weights = density_ratio(populations.lenses, populations.trials, settings.estimate.folds, settings.seed)
    keys = [(name, threshold) for name, cuts in finders.cuts.items() for threshold in cuts]
    compared = {}
    for done, (name, threshold) in enumerate(keys):
        progress("thresholds", done, len(keys))
        compared[name, threshold] = compare(
            populations,
            name,
            finders.cuts[name][threshold],
            weights,
            settings.estimate,
            (intervals.prior_alpha, intervals.prior_beta),
            settings.seed,
        )
    progress("thresholds", len(keys), len(keys))
    return compared


def _detector_digest(job: ClosureJob, name: str) -> str:
    from lens_assets.selection.closure_stamps import opened

    return opened(job.detectors[name]).digest


def _figure(campaign: Campaign, name: str, threshold: str, compared: Mapping[tuple[str, str], Comparison]) -> bytes:
    from lens_assets.assets.execution import png
    from lens_assets.figures.closure import closure_at_scale
    from lens_assets.selection.closure_scale import ALONG

    item = compared[name, threshold]
    title = f"{campaign.name}, {name}, {threshold}: {item.result.n_lenses} true lenses"
    return png(closure_at_scale(item.along, item.calibration, item.estimators, ALONG, title))


def _lines(
    finders: Finders, populations: Populations, compared: Mapping[tuple[str, str], Comparison], digest: str
) -> list[str]:
    lines = [f"settings {digest[:16]}"]
    lines += [f"  {row.step:34s} {row.rows:>7}" for row in populations.funnel.itertuples(index=False)]
    for (name, threshold), item in compared.items():
        result = item.result
        lines.append(
            f"{name}, {threshold}: true recall {result.true_recall:.4f}, predicted {result.predicted_recall:.4f}, "
            f"bias {result.bias:+.4f} +- {result.standard_error:.4f}: {item.verdict}"
        )
        if threshold == finders.audit:
            lines += [f"  {line}" for line in _details(item)]
    return lines


def _details(item: Comparison) -> list[str]:
    lines = [
        f"{row['level']:.0%} intervals hold {int(row['n_covered'])} of {int(row['n_strata'])} strata "
        f"({row['coverage']:.1%}, binomial p = {row['p_value']:.2g})"
        for row in item.result.coverage.to_dict("records")
    ]
    lines += [
        f"{row['estimator']:14s} {row['bias']:+.4f} +- {row['standard_error']:.4f}  {row['meaning']}"
        for row in item.estimators.to_dict("records")
    ]
    return [*lines, f"{item.verdict}: {item.reason}"]


class Reporter:
    """Shows how far each kind of batch is: a bar on a terminal, elsewhere a line at every tenth."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console()
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self._console, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._tasks: dict[str, Any] = {}
        self._said: dict[str, int] = {}

    def __enter__(self) -> Reporter:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, unit: str, done: int, total: int) -> None:
        """Show that `done` of `total` batches of a unit are on disk."""
        if unit not in self._tasks:
            self._tasks[unit] = self._bars.add_task(unit, total=total)
        self._bars.update(self._tasks[unit], completed=done)
        tenth = 10 * done // max(total, 1)
        if not self._console.is_terminal and tenth > self._said.get(unit, -1):
            self._said[unit] = tenth
            print(f"  {unit}: {done} of {total}", flush=True)  # noqa: T201
