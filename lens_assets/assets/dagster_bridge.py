"""Show the lineage to Dagster: one `AssetsDefinition` an asset, with its partitions, dependencies and metadata.

https://docs.dagster.io/guides/build/assets/defining-assets
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from lens_assets.assets.execution import PRESENTATION_FILE, GateClosed, Lineage, materialise
from lens_assets.assets.framework import LensAsset, NoGo, ProgressListener
from lens_assets.lake.lake import FIGURES_FOLDER, TABLE_FILE, Lake, LakeError
from lens_assets.lake.record import Record, combined_digest
from lens_assets.partitions import partitions_definition
from lens_assets.resources.lake import LakeResource
from lens_assets.resources.tracking import TrackingResource

if TYPE_CHECKING:
    from lens_assets.campaign.campaign import Campaign

SETTINGS_PREFIX = "settings"
RECOMPUTE_TAG = "lens_assets/recompute"
PREVIEW_ROWS = 12
PREVIEW_COLUMNS = 12
SHOWN_SOURCES = 6
Reads: TypeAlias = Mapping[str, Sequence[Sequence[str]]]
"""For a column the (asset, column) pairs it is computed from."""

# Listeners of this process, for a progress display; the UI reads the run's log instead.
progress_listeners: list[ProgressListener] = []


def settings_key(stage: str) -> dg.AssetKey:
    """Return the key of the settings asset of a stage."""
    return dg.AssetKey([SETTINGS_PREFIX, stage])


def asset_definition(
    lineage: Lineage,
    asset: LensAsset,
    reload_lineage: Callable[[], Lineage],
    automation: dg.AutomationCondition | None,
) -> dg.AssetsDefinition:
    """Return the Dagster asset of one declaration; it reads the campaign's files anew when it runs."""

    @dg.asset(
        key=dg.AssetKey(asset.name.split("/")),
        group_name=asset.group,
        owners=[f"team:{asset.team}"],
        kinds=set(asset.kinds),
        description=asset.description,
        code_version=asset.code_version,
        deps=_dependencies(lineage, asset),
        partitions_def=partitions_definition(lineage.campaign, asset.partitions) if asset.partitions else None,
        backfill_policy=dg.BackfillPolicy.single_run() if asset.partitions else None,
        automation_condition=automation,
        pool=asset.pool,
        op_tags={"lens_assets/behind": asset.behind} if asset.behind else None,
    )
    def run_asset(
        context: dg.AssetExecutionContext, lake: LakeResource, tracking: TrackingResource
    ) -> dg.MaterializeResult:
        return _run(context, reload_lineage(), asset.name, lake, tracking)

    return run_asset


def _dependencies(lineage: Lineage, asset: LensAsset) -> list[dg.AssetDep]:
    deps = []
    for name in lineage.inputs(asset):
        deps.append(_dependency(dg.AssetKey(name.split("/")), lineage.assets[name].partitions, asset.partitions))
    for stage in asset.settings:
        if stage == "experiments":
            deps.append(_dependency(settings_key(stage), "experiment", asset.partitions))
        elif stage in lineage.campaign.contents:
            deps.append(_dependency(settings_key(stage), None, asset.partitions))
    return deps


def _dependency(key: dg.AssetKey, upstream: str | None, downstream: str | None) -> dg.AssetDep:
    if upstream is not None and downstream is not None and upstream != downstream:
        return dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping())
    return dg.AssetDep(key)


def _run(
    context: dg.AssetExecutionContext,
    lineage: Lineage,
    name: str,
    lake_resource: LakeResource,
    tracking: TrackingResource,
) -> dg.MaterializeResult:
    asset = lineage.assets[name]
    lake = lake_resource.open(lineage.campaign)
    keys: list[str | None] = list(context.partition_keys) if asset.partitions else [None]
    recompute = context.run.tags.get(RECOMPUTE_TAG, "false").lower() == "true"
    records: dict[str, Record] = {}
    for key in keys:
        label = f"{name}/{key}" if key else name
        _tell(name, key or "", len(records), len(keys))
        try:
            record, computed = materialise(
                lineage,
                lake,
                asset,
                key,
                tracking=tracking.create(lineage.campaign.name),
                run_id=context.run.run_id,
                log=context.log,
                listener=_tell,
                recompute=recompute,
            )
        except NoGo as refusal:
            raise dg.Failure(
                str(refusal), metadata=_metadata(lake, lake.require(name, key)), allow_retries=False
            ) from refusal
        except (GateClosed, LakeError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.log.info("%s: %s", label, "computed" if computed else "current, kept")
        records[str(key)] = record
        if key is not None:
            context.add_asset_metadata(_metadata(lake, record), partition_key=key)
    only = next(iter(records.values())) if len(records) == 1 else None
    digest = only.digest if only else combined_digest({key: record.digest for key, record in records.items()})
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest),
        metadata=_metadata(lake, only) if only and not asset.partitions else None,
    )


def _tell(asset: str, description: str, done: int, total: int) -> None:
    for listener in progress_listeners:
        listener(asset, description, done, total)


def _metadata(lake: Lake, record: Record) -> dict[str, Any]:
    """Return what the UI shows of a stored partition: counts, schema, previews and figures."""
    asset, partition = record.asset, None if record.partition == "all" else record.partition
    shown = json.loads(lake.file(asset, PRESENTATION_FILE, partition).read_text(encoding="utf-8"))
    metadata: dict[str, Any] = {name: value for name, value in record.summary.items() if value is not None}
    metadata["digest"] = record.digest
    if record.rows is not None:
        table = lake.head(asset, PREVIEW_ROWS, partition)
        metadata["dagster/row_count"] = record.rows
        types = {field.name: str(field.type) for field in table.schema}
        metadata["dagster/column_schema"] = _schema(types, shown["columns"], shown.get("column_lineage", {}))
        metadata["preview"] = _preview(table.to_pandas())
        metadata["table"] = dg.MetadataValue.path(lake.table_path(asset, partition, TABLE_FILE))
    elif shown.get("column_types"):
        metadata["dagster/column_schema"] = _schema(shown["column_types"], shown["columns"], shown["column_lineage"])
    if shown.get("column_lineage"):
        metadata["dagster/column_lineage"] = _column_lineage(shown["column_lineage"])
    for name in shown["tables"]:
        metadata[name] = _preview(lake.table(asset, partition, name=f"{name}.parquet"), rows=40)
    for name in shown["figures"]:
        content = lake.file(asset, f"{FIGURES_FOLDER}{name}.png", partition).read_bytes()
        metadata[name] = dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(content).decode()})")
    if shown["markdown"]:
        metadata["notes"] = dg.MetadataValue.md(shown["markdown"])
    return metadata


def _schema(types: Mapping[str, str], descriptions: Mapping[str, str], reads: Reads) -> dg.TableSchema:
    """Return the columns with what they mean and where they come from.

    The open-source UI stores `dagster/column_lineage` and draws no graph of it, so that the descriptions say it too.
    """
    columns = []
    for name, kind in types.items():
        sources = [f"`{asset}.{column}`" for asset, column in reads.get(name, ())]
        more = f" and {len(sources) - SHOWN_SOURCES} more" if len(sources) > SHOWN_SOURCES else ""
        origin = f"(from {', '.join(sources[:SHOWN_SOURCES])}{more})" if sources else ""
        text = " ".join(part for part in (descriptions.get(name, ""), origin) if part)
        columns.append(dg.TableColumn(name=name, type=kind, description=text or None))
    return dg.TableSchema(columns=columns)


def _column_lineage(reads: Reads) -> dg.TableColumnLineage:
    """Return the columns each column is computed from, as the UI draws them; `reads` holds (asset, column) pairs."""
    return dg.TableColumnLineage(
        deps_by_column={
            column: [dg.TableColumnDep(dg.AssetKey(asset.split("/")), name) for asset, name in pairs]
            for column, pairs in reads.items()
        }
    )


def _preview(frame: Any, rows: int = PREVIEW_ROWS) -> dg.MetadataValue:
    shown = frame.head(rows)
    if shown.empty:
        return dg.MetadataValue.text(f"no rows; columns: {', '.join(map(str, frame.columns))}")
    return dg.MetadataValue.md(_markdown_table(shown.iloc[:, :PREVIEW_COLUMNS]))


def _markdown_table(frame: Any) -> str:
    head = "| " + " | ".join(map(str, frame.columns)) + " |"
    rule = "|" + "---|" * len(frame.columns)
    rows = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in frame.itertuples(index=False)]
    return "\n".join([head, rule, *rows])


def _cell(value: Any) -> str:
    text = f"{value:.5g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def settings_assets(campaign: "Campaign", reload_campaign: Callable[[], "Campaign"]) -> list[dg.SourceAsset]:
    """Return one observable source asset a YAML file; its data version is the digest of the parsed content."""
    stages = sorted({name.split("/")[0] for name in campaign.contents})
    return [_settings_asset(campaign, stage, reload_campaign) for stage in stages]


def _settings_asset(campaign: "Campaign", stage: str, reload_campaign: Callable[[], "Campaign"]) -> Any:
    if stage == "experiments":

        @dg.observable_source_asset(
            key=settings_key(stage),
            group_name=SETTINGS_PREFIX,
            partitions_def=partitions_definition(campaign, "experiment"),
            description="The training recipes, one YAML file each; the data version is a digest of its content.",
        )
        def observe_experiments(context: dg.OpExecutionContext) -> dg.DataVersionsByPartition:
            current = reload_campaign()
            return dg.DataVersionsByPartition(
                {name: current.settings_digest(f"experiments/{name}") for name in current.experiments}
            )

        return observe_experiments

    @dg.observable_source_asset(
        key=settings_key(stage),
        group_name=SETTINGS_PREFIX,
        description=f"{stage}.yaml of the campaign; the data version is a digest of its parsed content.",
    )
    def observe() -> dg.DataVersion:
        return dg.DataVersion(reload_campaign().settings_digest(stage))

    return observe
