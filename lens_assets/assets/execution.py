"""Run one partition of an asset: what it is made from, whether it is current, whether its gate lets it pass.

Nothing here knows Dagster, so that the same code serves the UI, the command line and the tests.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_assets.assets.framework import AssetRun, LensAsset, NoGo, Product, ProgressListener
from lens_assets.lake.lake import FIGURES_FOLDER, Lake, LakeError
from lens_assets.lake.record import Provenance, Record, combined_digest
from lens_assets.partitions import partition_keys

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure

    from lens_assets.campaign.campaign import Campaign
    from lens_assets.resources.tracking import Tracking

ABSENT = "absent"
VERDICT_FILE = "verdict.json"
PRESENTATION_FILE = f"{FIGURES_FOLDER}presentation.json"
FIGURE_DPI = 80


class GateClosed(RuntimeError):
    """A gate above this asset has not said GO for exactly these inputs."""


@dataclass(frozen=True)
class Lineage:
    """All assets of a campaign by name, and what can be derived from their declarations."""

    campaign: Campaign
    assets: Mapping[str, LensAsset]

    @property
    def schemes(self) -> dict[str, str | None]:
        """The partitioning scheme of every asset."""
        return {name: asset.partitions for name, asset in self.assets.items()}

    def keys(self, asset: LensAsset) -> list[str | None]:
        """The partitions of an asset, or [None]."""
        return list(partition_keys(self.campaign, asset.partitions)) if asset.partitions else [None]

    def inputs(self, asset: LensAsset) -> tuple[str, ...]:
        """The inputs of an asset that exist in this campaign."""
        return tuple(name for name in (*asset.inputs, *asset.optional_inputs) if name in self.assets)

    def ancestors(self, name: str) -> list[str]:
        """Every asset above one, inputs first."""
        seen: list[str] = []

        def visit(current: str) -> None:
            for above in self.inputs(self.assets[current]):
                if above not in seen:
                    visit(above)
                    seen.append(above)

        visit(name)
        return seen

    def gated_below(self, gate: str) -> list[str]:
        """Every asset that needs what lies below a gate; optional inputs do not count."""
        below = {gate}
        order = self.topological()
        for name in order:
            needed = {item for item in self.assets[name].inputs if item in self.assets}
            if needed & below:
                below.add(name)
        return [name for name in order if name in below - {gate}]

    def topological(self) -> list[str]:
        """All assets, inputs before what reads them; KeyError names an unknown input."""
        order: list[str] = []
        for name in self.assets:
            for item in [*self.ancestors(name), name]:
                if item not in order:
                    order.append(item)
        return order

    def provenance(self, lake: Lake, asset: LensAsset, key: str | None) -> Provenance:
        """Return what a partition would be made from now; LakeError if an input is not in the lake."""
        upstream: dict[str, str] = {}
        for name in self.inputs(asset):
            optional = name in asset.optional_inputs
            upstream |= self._input_digest(lake, asset, key, name, optional)
        if asset.outside is not None:
            upstream |= {f"file/{name}": text for name, text in asset.outside(self.campaign, key).items()}
        settings = {
            stage: self.campaign.settings_digest(stage)
            for declared in asset.settings
            for stage in self._stages(asset, key, declared)
        }
        return Provenance(code_version=asset.code_version, settings=settings, upstream=upstream)

    def _stages(self, asset: LensAsset, key: str | None, declared: str) -> list[str]:
        if declared != "experiments":
            return [declared] if declared in self.campaign.contents else []
        if asset.partitions == "experiment":
            return [f"experiments/{key}"]
        return [f"experiments/{name}" for name in self.campaign.experiments]

    def _input_digest(self, lake: Lake, asset: LensAsset, key: str | None, name: str, optional: bool) -> dict[str, str]:
        upstream = self.assets[name]
        if upstream.partitions is None:
            return {name: self._digest(lake, name, None, optional)}
        if upstream.partitions == asset.partitions:
            return {f"{name}/{key}": self._digest(lake, name, key, optional)}
        digests = {str(item): self._digest(lake, name, item, optional) for item in self.keys(upstream)}
        return {name: combined_digest(digests)}

    @staticmethod
    def _digest(lake: Lake, name: str, key: str | None, optional: bool) -> str:
        record = lake.record(name, key) if optional else lake.require(name, key)
        return record.digest if record is not None else ABSENT

    def stale(self, lake: Lake, names: list[str]) -> list[str]:
        """Return the labels of partitions that are missing or not made from what is in the lake now."""
        found = []
        for name in names:
            asset = self.assets[name]
            for key in self.keys(asset):
                if not self.is_current(lake, asset, key):
                    found.append(f"{name}/{key}" if key else name)
        return found

    def is_current(self, lake: Lake, asset: LensAsset, key: str | None) -> bool:
        """Say whether a stored partition is what would be made now."""
        try:
            return lake.is_current(asset.name, key, self.provenance(lake, asset, key))
        except LakeError:
            return False


def require_open(lineage: Lineage, lake: Lake, asset: LensAsset) -> None:
    """Raise GateClosed unless the gate above an asset says GO for exactly what is in the lake and the settings now."""
    if asset.behind is None:
        return
    gate = lineage.assets[asset.behind]
    record = lake.record(gate.name)
    if record is None:
        raise GateClosed(
            f"{asset.name} is behind {gate.name}, which has given no verdict: materialise {gate.name} first"
        )
    verdict = json.loads(lake.file(gate.name, VERDICT_FILE).read_text(encoding="utf-8"))
    if verdict["decision"] != "GO":
        raise GateClosed(
            f"{asset.name} is behind {gate.name}, whose verdict is {verdict['decision']}: {verdict['statement']}"
        )
    stale = lineage.stale(lake, [*lineage.ancestors(gate.name), gate.name])
    if stale:
        shown = ", ".join(stale[:8]) + (f" and {len(stale) - 8} more" if len(stale) > 8 else "")
        raise GateClosed(
            f"{asset.name} is behind {gate.name}, whose GO was given for other inputs; "
            f"no longer current: {shown}. Materialise them and {gate.name} again"
        )


def materialise(
    lineage: Lineage,
    lake: Lake,
    asset: LensAsset,
    key: str | None,
    *,
    tracking: Tracking,
    run_id: str = "",
    log: logging.Logger | None = None,
    listener: ProgressListener | None = None,
    recompute: bool = False,
) -> tuple[Record, bool]:
    """Make one partition and store it; return its sidecar and whether it was computed now.

    What is current for exactly these inputs is kept, unless it is provisional or `recompute`. A gate that does not say
    GO stores its verdict, removes everything below it from the lake and raises NoGo.
    """
    require_open(lineage, lake, asset)
    provenance = lineage.provenance(lake, asset, key)
    if not recompute and lake.is_current(asset.name, key, provenance) and not _asks_again(lake, asset, key):
        return lake.require(asset.name, key), False
    scratch = lake.scratch()
    run = AssetRun(
        asset=asset,
        campaign=lineage.campaign,
        lake=lake,
        partition=key,
        schemes=lineage.schemes,
        scratch=scratch,
        tracking=tracking,
        run_id=run_id,
        listener=listener,
        upstream=provenance.upstream,
        **({"log": log} if log is not None else {}),
    )
    try:
        try:
            product = asset(run)
        except NoGo as refusal:
            _store(lake, asset, key, provenance, refusal.product, run_id)
            for name in lineage.gated_below(asset.name):
                lake.retire(name)
            raise
        require_open(lineage, lake, asset)
        return _store(lake, asset, key, provenance, product, run_id), True
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _asks_again(lake: Lake, asset: LensAsset, key: str | None) -> bool:
    """Say whether the stored product is provisional, or a verdict other than GO, which has to be raised again."""
    record = lake.require(asset.name, key)
    if record.provisional:
        return True
    if VERDICT_FILE not in {entry.name for entry in record.files}:
        return False
    verdict = json.loads(lake.file(asset.name, VERDICT_FILE, key).read_text(encoding="utf-8"))
    return bool(verdict["decision"] != "GO")


def _store(
    lake: Lake, asset: LensAsset, key: str | None, provenance: Provenance, product: Product, run_id: str
) -> Record:
    files: dict[str, Path | bytes] = dict(product.files)
    for name, frame in product.tables.items():
        files[f"{name}.parquet"] = parquet_bytes(frame)
    for name, figure in product.figures.items():
        files[f"{FIGURES_FOLDER}{name}.png"] = png(figure)
    presentation = {
        "columns": dict(product.columns),
        "column_lineage": {column: list(pairs) for column, pairs in product.column_lineage.items()},
        "column_types": dict(product.column_types),
        "markdown": product.markdown,
        "tables": sorted(product.tables),
        "figures": list(product.figures),
    }
    files[PRESENTATION_FILE] = json.dumps(presentation, indent=1).encode()
    return lake.write(
        asset.name,
        key,
        provenance,
        table=_arrow(product.table),
        files=files,
        summary={name: _plain(value) for name, value in product.summary.items()},
        run_id=run_id,
        provisional=product.provisional,
    )


def _arrow(table: Any) -> pa.Table | Path | None:
    import pyarrow as pa

    if table is None or isinstance(table, pa.Table | Path):
        return table
    return pa.Table.from_pandas(table, preserve_index=False)


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Return a side table as Parquet bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None), buffer)
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes that hold no clock time, and close it."""
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=FIGURE_DPI, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def _plain(value: Any) -> int | float | str | bool | None:
    if value is None or isinstance(value, bool | str):
        return value
    item = value.item() if hasattr(value, "item") else value
    return item if isinstance(item, bool | int | str) else float(item)
