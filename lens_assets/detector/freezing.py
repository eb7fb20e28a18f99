"""Decide on validation objects what is frozen: the member or the combination, and its thresholds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lens_assets.campaign.stages.evaluation import DetectorSettings, EvaluationSettings
from lens_assets.detector.ensembles import SINGLE, aligned_scores, best_member, combine, fit_combiner
from lens_assets.detector.evaluation import threshold_table, top_threshold_rows
from lens_assets.detector.frozen import SCORE_DECIMALS, FrozenDetector, Member


def freeze(
    name: str,
    settings: DetectorSettings,
    members: Mapping[str, Member],
    validation: Mapping[str, pd.DataFrame],
) -> FrozenDetector:
    """Return the frozen detector of a campaign's entry.

    `validation` maps each member to its validation scores: galaxy_id, split, label, score. A row of another split
    is refused: what has been measured on the test split must not have been chosen on it.
    """
    for member in settings.members:
        _require_validation(member, validation[member])
    joined = aligned_scores({member: validation[member] for member in settings.members})
    if settings.combiner == "best_on_validation":
        best = best_member({member: joined[member] for member in settings.members}, joined["label"])
        return FrozenDetector(name, (members[best],), SINGLE)
    combiner = fit_combiner(settings.combiner, joined[list(settings.members)].to_numpy(), joined["label"])
    return FrozenDetector(name, tuple(members[member] for member in settings.members), combiner)


def frozen_thresholds(
    detector: FrozenDetector,
    validation: Mapping[str, pd.DataFrame],
    settings: EvaluationSettings,
    deployment: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Return one row per threshold of a frozen detector, from its members' scores of validation objects.

    `validation` holds those of the training design, `deployment` those of the deployment design, which define cuts by
    the share of a candidate list; it is needed only where the settings name such shares.

    Columns: detector, name, kind, target, threshold, threshold_lower, threshold_upper, n_negatives, n_above, fpr,
    fpr_lower, fpr_upper, sufficient, audited, combiner, members, digest, preprocessing_digest.
    """
    names = [member.name for member in detector.members]
    table = thresholds_from(
        detector.name,
        _combined(detector, validation),
        _combined(detector, deployment) if deployment is not None else None,
        settings,
    )
    table["combiner"] = detector.combiner.kind
    table["members"] = ",".join(names)
    table["digest"] = detector.digest
    table["preprocessing_digest"] = detector.preprocessing_digest
    return table


def thresholds_from(
    detector: str, validation: pd.DataFrame, deployment: pd.DataFrame | None, settings: EvaluationSettings
) -> pd.DataFrame:
    """Return the thresholds that any detector's scores of validation objects define; see `frozen_thresholds`."""
    parts = [threshold_table(validation, settings)]
    if settings.thresholds.top_shares and deployment is not None:
        parts.append(top_threshold_rows(deployment, settings))
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "detector", detector)
    table["audited"] = table["name"] == settings.thresholds.audit
    return table


def _combined(detector: FrozenDetector, scored: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the members' common objects with the detector's own score."""
    names = [member.name for member in detector.members]
    joined = aligned_scores({name: scored[name] for name in names})
    joined["score"] = np.round(combine(joined[names].to_numpy(), detector.combiner), SCORE_DECIMALS)
    return joined


class DetectorModule(nn.Module):
    """A frozen detector as one torch module: preprocessed stamps (N, 3, h, w) to scores (N,) in [0, 1].

    It serves those who load a model from a registry; scores of the platform come from `FrozenDetector`, which
    also preprocesses and rounds. Members must share their preprocessing.
    """

    def __init__(self, detector: FrozenDetector) -> None:
        super().__init__()
        if len({member.preprocessing for member in detector.members}) != 1:
            raise ValueError(f"detector {detector.name}: members preprocess differently, so no one input serves all")
        self.members = nn.ModuleList([member.network for member in detector.members])
        self.kind = detector.combiner.kind
        coefficients = detector.combiner.coefficients or (1.0 / len(detector.members),) * len(detector.members)
        self.register_buffer("coefficients", torch.tensor(coefficients, dtype=torch.float32))
        self.register_buffer("intercept", torch.tensor(detector.combiner.intercept, dtype=torch.float32))

    coefficients: Tensor
    intercept: Tensor

    def forward(self, stamps: Tensor) -> Tensor:
        """Return scores (N,)."""
        logits = torch.stack([member(stamps) for member in self.members], dim=1)
        if self.kind == "mean_probability":
            return torch.sigmoid(logits).mean(dim=1)
        return torch.sigmoid((logits * self.coefficients).sum(dim=1) + self.intercept)


def _require_validation(member: str, rows: pd.DataFrame) -> None:
    others = sorted(set(rows["split"]) - {"val"})
    if others:
        raise ValueError(f"member {member} was given scores of split {', '.join(others)}; expected validation only")
