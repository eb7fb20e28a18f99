"""Suites of the detector group: trainings that ran, scores that are probabilities, thresholds that hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.checks.suite import Expectation, Suite, between

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.campaign.campaign import Campaign


def _present(column: str) -> Expectation:
    return "expect_column_values_to_not_be_null", {"column": column}


def _at_least(larger: str, smaller: str) -> Expectation:
    return (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": larger, "column_B": smaller, "or_equal": True, "ignore_row_if": "either_value_is_missing"},
    )


def _trained_model(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_table_row_count_to_be_between", {"min_value": 1}),
        ("expect_column_values_to_be_unique", {"column": "epoch"}),
        _present("validation_auc"),
        between("validation_auc", 0.0, 1.0),
        between("training_loss", 0.0, 100.0),
        # No epoch better than chance: the labels, the stamps or the preprocessing are wrong.
        ("expect_column_max_to_be_between", {"column": "validation_auc", "min_value": 0.5, "strict_min": True}),
    ]


def _scores(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_table_row_count_to_be_between", {"min_value": 1}),
        ("expect_column_values_to_be_unique", {"column": "galaxy_id"}),
        ("expect_column_values_to_be_unique", {"column": "cutout_path"}),
        _present("score"),
        between("score", 0.0, 1.0),
        ("expect_column_values_to_be_in_set", {"column": "label", "value_set": [0, 1]}),
        ("expect_column_values_to_be_in_set", {"column": "split", "value_set": ["train", "val", "test"]}),
        ("expect_column_values_to_be_in_set", {"column": "tier", "value_set": ["A", "B", "N1", "N2"]}),
        # A constant score is a dead network.
        ("expect_column_unique_value_count_to_be_between", {"column": "score", "min_value": 2}),
    ]


def _evaluation_report(campaign: Campaign) -> list[Expectation]:
    metrics = ["auc", "ece", "brier", "recall", "fpr", "fpr_population", "precision"]
    return [
        ("expect_column_values_to_be_in_set", {"column": "metric", "value_set": metrics}),
        (
            "expect_compound_columns_to_be_unique",
            {"column_list": ["metric", "split", "subset", "value_of_subset", "threshold"]},
        ),
        ("expect_column_values_to_be_in_set", {"column": "split", "value_set": ["test"]}),
        between("value", 0.0, 1.0),
        between("lower", 0.0, 1.0),
        between("upper", 0.0, 1.0),
        _at_least("upper", "lower"),
        _at_least("n", "k"),
    ]


def _ensemble_report(campaign: Campaign) -> list[Expectation]:
    return [
        ("expect_column_values_to_be_unique", {"column": "name"}),
        ("expect_column_values_to_be_in_set", {"column": "kind", "value_set": ["member", "diagnostic", "combiner"]}),
        between("auc", 0.0, 1.0),
        between("ece", 0.0, 1.0),
        _at_least("auc_upper", "auc_lower"),
        _at_least("recall_n", "recall_k"),
    ]


def _frozen_detector(campaign: Campaign) -> list[Expectation]:
    names = list(campaign.evaluation.thresholds.names)
    return [
        ("expect_table_row_count_to_be_between", {"min_value": len(names)}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["detector", "name"]}),
        ("expect_column_values_to_be_in_set", {"column": "name", "value_set": names}),
        between("threshold", 0.0, 1.0 + 1e-9),
        between("fpr", 0.0, 1.0),
        _at_least("threshold_upper", "threshold_lower"),
        ("expect_column_values_to_match_regex", {"column": "digest", "regex": "^[0-9a-f]{64}$"}),
        ("expect_column_values_to_match_regex", {"column": "preprocessing_digest", "regex": "^[0-9a-f]{64}$"}),
    ]


def _audited_threshold(campaign: Campaign) -> list[Expectation]:
    """Warn where the audited cut rests on too few negatives; the table says so, and so must the UI."""
    audited = f'name == "{campaign.evaluation.thresholds.audit}"'
    where = {"row_condition": audited, "condition_parser": "pandas"}
    return [("expect_column_values_to_be_in_set", {"column": "sufficient", "value_set": [True], **where})]


def _doubled(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([table, table.head(1)], ignore_index=True)


SUITES: dict[str, Suite] = {
    "trained_model": Suite(
        asset="trained_model",
        expectations=_trained_model,
        corruptions={
            "expect_column_max_to_be_between:validation_auc": lambda table: table.assign(validation_auc=0.5),
            "expect_column_values_to_not_be_null:validation_auc": lambda table: table.assign(
                validation_auc=float("nan")
            ),
            "expect_column_values_to_be_unique:epoch": _doubled,
        },
    ),
    "scores": Suite(
        asset="scores",
        expectations=_scores,
        corruptions={
            "expect_column_values_to_be_between:score": lambda table: table.assign(score=table["score"] * 10 + 1),
            "expect_column_values_to_not_be_null:score": lambda table: table.assign(
                score=table["score"].mask(table.index == table.index[0])
            ),
            "expect_column_values_to_be_unique:galaxy_id": _doubled,
            "expect_column_unique_value_count_to_be_between:score": lambda table: table.assign(score=0.5),
        },
    ),
    "evaluation_report": Suite(
        asset="evaluation_report",
        expectations=_evaluation_report,
        corruptions={
            "expect_column_values_to_be_between:value": lambda table: table.assign(value=1.5),
            "expect_column_values_to_be_in_set:split": lambda table: table.assign(split="val"),
            "expect_column_pair_values_a_to_be_greater_than_b:": lambda table: table.assign(
                lower=table["upper"], upper=table["lower"]
            ),
        },
    ),
    "ensemble_report": Suite(
        asset="ensemble_report",
        expectations=_ensemble_report,
        corruptions={
            "expect_column_values_to_be_between:auc": lambda table: table.assign(auc=table["auc"] + 1),
            "expect_column_values_to_be_unique:name": _doubled,
        },
    ),
    "frozen_detector": Suite(
        asset="frozen_detector",
        expectations=_frozen_detector,
        corruptions={
            "expect_column_values_to_be_in_set:name": lambda table: table.assign(name="p>0.3"),
            "expect_column_values_to_match_regex:digest": lambda table: table.assign(digest="latest"),
            "expect_column_values_to_be_between:threshold": lambda table: table.assign(threshold=-0.1),
        },
    ),
    "frozen_detector_audited_threshold": Suite(
        asset="frozen_detector",
        expectations=_audited_threshold,
        corruptions={
            "expect_column_values_to_be_in_set:sufficient": lambda table: table.assign(sufficient=False),
        },
        blocking=False,
        severity="WARN",
    ),
}
