"""What a finished campaign prints: where its products are, and three numbers with their intervals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lens_assets.assets.execution import VERDICT_FILE
from lens_assets.campaign.stages.evaluation import ExternalDetectorSettings

if TYPE_CHECKING:
    from lens_assets.assets.execution import Lineage
    from lens_assets.lake.lake import Lake


def headline(lineage: Lineage, lake: Lake) -> Iterator[str]:
    """Yield the lines; what has not been made is said to be absent."""
    campaign = lineage.campaign
    primary = campaign.evaluation.primary_detector
    yield f"completeness table: {_path(lake, 'completeness_table', primary)}"
    yield f"audit report:       {_report(lake)}"
    yield f"1. {_auc(lineage, lake, primary)}"
    yield f"2. realism verdict: {_verdict(lake)}"
    yield f"3. {_completeness(lineage, lake, primary)}"


def _path(lake: Lake, asset: str, partition: str | None) -> str:
    return lake.table_path(asset, partition) if lake.record(asset, partition) else "absent"


def _report(lake: Lake) -> str:
    return str(lake.file("audit_report", "report.html")) if lake.record("audit_report") else "absent"


def _auc(lineage: Lineage, lake: Lake, primary: str) -> str:
    detector = lineage.campaign.evaluation.detectors[primary]
    if isinstance(detector, ExternalDetectorSettings):
        return f"{primary} is external ({detector.description}): it was not trained here"
    record = lake.record("evaluation_report", detector.members[0])
    if record is None:
        return f"test AUC of {primary}: absent"
    values = record.summary
    limits = f"[{values['test_auc_lower']:.3f}, {values['test_auc_upper']:.3f}]"
    return f"test AUC of {primary}: {values['test_auc']:.3f} {limits}"


def _verdict(lake: Lake) -> str:
    if lake.record("realism_gate") is None:
        return "absent"
    verdict = json.loads(lake.file("realism_gate", VERDICT_FILE).read_text(encoding="utf-8"))
    return str(verdict["statement"])


def _completeness(lineage: Lineage, lake: Lake, primary: str) -> str:
    point = lineage.campaign.selection_function.reference
    where = (
        f"completeness at theta_E {point.theta_e_arcsec} arcsec, PSF {point.psf_fwhm_arcsec} arcsec, "
        f"depth {point.depth_mag} mag"
    )
    record = lake.record("completeness_table", primary)
    if record is None:
        return f"{where}: absent, since no gate let it pass"
    values = record.summary
    lower, upper = values["reference_completeness_lower_95"], values["reference_completeness_upper_95"]
    return f"{where}: {values['reference_completeness']:.3f} [{lower:.3f}, {upper:.3f}]"
