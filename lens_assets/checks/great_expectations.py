"""Run check suites with Great Expectations and show them as Dagster asset checks.

Great Expectations swallows errors: an expectation that could not be evaluated looks like one that failed. The two
are told apart here, and a table that could not be evaluated never passes.
https://docs.greatexpectations.io/docs/reference/
"""

import importlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.storage import tags as dg_tags

from lens_assets.checks.suite import Suite
from lens_assets.partitions import partitions_definition
from lens_assets.resources.lake import LakeResource

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.assets.execution import Lineage
    from lens_assets.campaign.campaign import Campaign

SUITE_MODULES = (
    "catalogs",
    "survey_simulated",
    "survey",
    "sampling",
    "sampling_positives",
    "sampling_hosts",
    "cutouts",
    "detector",
    "realism",
    "injection",
    "selection_function",
    "audit",
)
CHECK_NAME = "expectations"
SHOWN_FAILURES = 6
SHOWN_ROWS = 2
IDENTIFYING_COLUMNS = ("galaxy_id", "injection_id", "lens_id", "contaminant_id", "brickname", "sweep_file", "row_index")
"""Columns by which a person finds a row again."""


@dataclass(frozen=True)
class Outcome:
    """One expectation on one table: what was expected, what was seen, and whether it could be evaluated.

    `examples` names a few of the rows that do not meet it.
    """

    expectation: str
    column: str
    expected: str
    observed: str
    passed: bool
    error: str = ""
    examples: str = ""


def load_suites() -> dict[str, Suite]:
    """Return every suite by name."""
    suites: dict[str, Suite] = {}
    for name in SUITE_MODULES:
        suites |= importlib.import_module(f"lens_assets.checks.suites.{name}").SUITES
    return suites


def validate(frame: "pd.DataFrame", suite: Suite, campaign: "Campaign") -> list[Outcome]:
    """Evaluate a suite on a table and return one outcome an expectation."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas", category=FutureWarning)
        import great_expectations as gx
        import great_expectations.expectations as expectations

    for name in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(name).setLevel(logging.WARNING)
    gx_context = gx.get_context(mode="ephemeral")
    gx_context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    source = gx_context.data_sources.add_pandas("frame").add_dataframe_asset(suite.asset.replace("/", "_"))
    batch = source.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    wanted = [getattr(expectations, _class_name(name))(**arguments) for name, arguments in suite.expectations(campaign)]
    result = batch.validate(gx.ExpectationSuite(name=suite.asset.replace("/", "_"), expectations=wanted))
    return [_outcome(item, frame) for item in result.results]


def _class_name(expectation: str) -> str:
    return "".join(part.title() for part in expectation.split("_"))


def _outcome(item: Any, frame: "pd.DataFrame") -> Outcome:
    arguments = {key: value for key, value in item.expectation_config.kwargs.items() if key != "batch_id"}
    column = str(arguments.pop("column", ""))
    seen = {
        key: value
        for key, value in (item.result or {}).items()
        if key in ("observed_value", "unexpected_count", "unexpected_percent", "partial_unexpected_list")
    }
    return Outcome(
        expectation=item.expectation_config.type,
        column=column,
        expected=", ".join(f"{key}={value}" for key, value in arguments.items()),
        observed=", ".join(f"{key}={value}" for key, value in seen.items()),
        passed=bool(item.success),
        error="; ".join(_errors(item.exception_info or {})),
        examples="" if item.success else _examples(column, seen.get("partial_unexpected_list") or [], frame),
    )


def _examples(column: str, unexpected: list[Any], frame: "pd.DataFrame") -> str:
    """Return the first rows that hold an unexpected value, with what identifies them."""
    if column not in frame or not unexpected:
        return ""
    rows = frame[frame[column].isin(unexpected)].head(SHOWN_ROWS)
    names = [name for name in IDENTIFYING_COLUMNS if name in frame and name != column]
    described = []
    for row in rows[[*names, column]].to_dict("records"):
        value = row.pop(column)
        described.append(f"{column} {value} of {', '.join(f'{name} {text}' for name, text in row.items())}".strip())
    return "; ".join(described)


def _errors(info: dict[str, Any]) -> Iterator[str]:
    details = [info] if "raised_exception" in info else [item for item in info.values() if isinstance(item, dict)]
    for detail in details:
        if detail.get("raised_exception"):
            yield str(detail.get("exception_message"))


def asset_checks(lineage: "Lineage", reload_campaign: "Callable[[], Campaign]") -> list[dg.AssetChecksDefinition]:
    """Return one asset check a suite whose asset exists in the campaign."""
    return [
        _asset_check(lineage, name, suite, reload_campaign)
        for name, suite in load_suites().items()
        if suite.asset in lineage.assets
    ]


def check_name(name: str, suite: Suite) -> str:
    """Return the name of the asset check of a suite."""
    return CHECK_NAME if name == suite.asset else f"{CHECK_NAME}_{name.replace('/', '_')}"


def blocking_checks(asset: str) -> list[str]:
    """Return the names of the checks that must pass before anything below an asset is run."""
    return [check_name(name, suite) for name, suite in load_suites().items() if suite.asset == asset and suite.blocking]


def _asset_check(
    lineage: "Lineage", name: str, suite: Suite, reload_campaign: "Callable[[], Campaign]"
) -> dg.AssetChecksDefinition:
    asset = lineage.assets[suite.asset]
    scheme = asset.partitions

    @dg.asset_check(
        asset=dg.AssetKey(suite.asset.split("/")),
        name=check_name(name, suite),
        blocking=suite.blocking,
        description=f"Great Expectations suite of {suite.asset}{f' ({suite.table})' if suite.table else ''}",
        partitions_def=partitions_definition(lineage.campaign, scheme) if scheme else None,
    )
    def check(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        campaign = reload_campaign()
        opened = lake.open(campaign)
        keys: list[str | None] = list(context.partition_keys) if scheme else [None]
        file_name = f"{suite.table}.parquet" if suite.table else "table.parquet"
        outcomes: dict[str | None, list[Outcome]] = {}
        explanations: dict[str | None, list[str]] = {}
        for key in keys:
            frame = opened.table(suite.asset, key, name=file_name)
            outcomes[key] = validate(frame, suite, campaign)
            if suite.explain is not None and not all(item.passed for item in outcomes[key]):
                explanations[key] = suite.explain(frame)
        if scheme and dg_tags.PARTITION_NAME_TAG not in context.run.tags:
            for key in keys:
                _report_partition(
                    context,
                    suite,
                    name,
                    str(key),
                    _result({key: outcomes[key]}, suite, {key: explanations.get(key, [])}),
                )
        return _result(outcomes, suite, explanations)

    return check


def _report_partition(
    context: dg.AssetCheckExecutionContext, suite: Suite, name: str, partition: str, result: dg.AssetCheckResult
) -> None:
    """Record the outcome of one partition of a range run, for which Dagster itself records one outcome of the whole."""
    asset_key = dg.AssetKey(suite.asset.split("/"))
    shown = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key, asset_partitions=[partition]), limit=1
    ).records
    evaluation = dg.AssetCheckEvaluation(
        asset_key=asset_key,
        check_name=check_name(name, suite),
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
        blocking=suite.blocking,
        partition=partition,
        target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
            storage_id=shown[0].storage_id, run_id=shown[0].event_log_entry.run_id, timestamp=shown[0].timestamp
        )
        if shown
        else None,
    )
    event = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
        job_name=context.run.job_name,
        event_specific_data=evaluation,
    )
    context.instance.report_dagster_event(event, run_id=context.run.run_id)


def _result(
    outcomes: dict[str | None, list[Outcome]], suite: Suite, explanations: dict[str | None, list[str]]
) -> dg.AssetCheckResult:
    failed = [(key, item) for key, items in outcomes.items() for item in items if not item.passed]
    records = [
        dg.TableRecord(
            {
                "partition": key or "",
                "expectation": item.expectation,
                "column": item.column,
                "expected": item.expected,
                "observed": (f"NOT EVALUATED: {item.error}" if item.error else item.observed)[:300],
                "passed": item.passed,
            }
        )
        for key, items in _interesting(outcomes)
        for item in items
    ]
    described = "; ".join(
        f"{item.expectation} on {item.column or 'the table'}{f' in {key}' if key else ''}"
        f"{f' ({item.examples})' if item.examples else ''}"
        for key, item in failed[:SHOWN_FAILURES]
    )
    if len(failed) > SHOWN_FAILURES:
        described += f"; and {len(failed) - SHOWN_FAILURES} more"
    explained = list(dict.fromkeys(line for lines in explanations.values() for line in lines))
    if len(explained) > SHOWN_FAILURES:
        explained[SHOWN_FAILURES:] = [f"and {len(explained) - SHOWN_FAILURES} more; all are in the table"]
    held = f"{len(next(iter(outcomes.values()), []))} expectations hold"
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity[suite.severity],
        description="\n".join([f"failed: {described}", *explained]) if failed else held,
        metadata={
            "expectations": dg.MetadataValue.table(records) if records else "none",
            "partitions_checked": len(outcomes),
            "failed": len(failed),
        },
    )


def _interesting(outcomes: dict[str | None, list[Outcome]]) -> list[tuple[str | None, list[Outcome]]]:
    """Return the first partition whole and of the others only what failed, so that the table stays readable."""
    pairs = list(outcomes.items())
    return pairs[:1] + [(key, [item for item in items if not item.passed]) for key, items in pairs[1:]]
