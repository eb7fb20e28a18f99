"""The SQL models as assets, one a file: what each says once the campaign's thresholds are in it, and what it reads.

Staging and intermediate models are views: their rows are made where a mart runs, and are not stored a second time.
The asset of a model therefore holds its definition: compiled SQL, columns, and where each column comes from. A mart
depends on the definition it runs, so that an edited model makes exactly the tables stale that it makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, LensAsset, Product, lens_asset
from lens_assets.sampling.models import Model, Project, load_project

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lens_assets.campaign.campaign import Campaign
    from lens_assets.sampling.models import Parameter

BASELINE = "baseline"


def asset_name(model: str) -> str:
    """Return the asset key of a model."""
    return f"sql/{model}"


def campaign_parameters(campaign: Campaign) -> Mapping[str, Parameter]:
    """Return the parameters of every model: of negatives, host selection, the baseline and the first legacy design."""
    from lens_assets.sampling.legacy import NO_LEGACY, legacy_parameters
    from lens_assets.sampling.lrg import lrg_parameters
    from lens_assets.sampling.pool import pool_parameters
    from lens_assets.sampling.stratified import design_parameters

    sampling = campaign.sampling
    design = design_parameters(BASELINE, sampling.drawn[BASELINE], sampling.seed)
    legacy = next((legacy_parameters(name, item) for name, item in sampling.legacy.items()), NO_LEGACY)
    return {**pool_parameters(campaign.negatives), **lrg_parameters(campaign.host_selection), **design, **legacy}


def _definition(project: Project, model: Model) -> LensAsset:
    chain = [project.models[name] for name in project.upstream([model.name])]

    def define(run: AssetRun) -> Product:
        return _definition_product(project, model, campaign_parameters(run.campaign))

    define.__doc__ = f"{model.description}\n\nDefinition of the {model.layer} model {model.path.name}."
    return lens_asset(
        name=asset_name(model.name),
        group="sql",
        team="sampling",
        kinds={"sql", "duckdb"},
        inputs=[asset_name(name) for name in model.references if name in project.models],
        settings=sorted({stage for above in chain for stage in above.settings}),
        code_version="sql-model-2",
    )(define)


def _definition_product(project: Project, model: Model, parameters: Mapping[str, Parameter]) -> Product:
    import hashlib
    import json

    import pandas as pd

    from lens_assets.sampling.models import column_descriptions, column_lineage
    from lens_assets.sampling.sql import column_types

    types = column_types(project, parameters, [model.name])
    reads = by_asset(project, column_lineage(project, parameters, model.name, types))
    described = column_descriptions(project, types)[model.name]
    columns = types[model.name]
    table = pd.DataFrame(
        {
            "column": list(columns),
            "type": list(columns.values()),
            "reads": [", ".join(f"{name}.{column}" for name, column in reads[key]) for key in columns],
            "description": [described[key] for key in columns],
        }
    )
    chain = "\n".join(project.models[name].compiled(parameters) for name in project.upstream([model.name]))
    compiled = model.compiled(parameters, pretty=True)
    documented = "\n".join(f"- `{column}`: {text}" for column, text in described.items())
    tests = "\n".join(_tests_of(project, model)) or "none"
    return Product(
        tables={"columns": table},
        files={
            "model.sql": compiled.encode(),
            "spark.sql": model.compiled(parameters, "spark", pretty=True).encode(),
            "column_lineage.json": json.dumps(reads, indent=1).encode(),
            "chain.sha256": hashlib.sha256(chain.encode()).hexdigest().encode(),
        },
        summary={"layer": model.layer, "columns": len(columns), "stored_as_table": model.materialised},
        columns=described,
        column_types=columns,
        column_lineage=reads,
        markdown=f"{model.description}\n\n{documented}\n\nTests:\n\n{tests}\n\n```sql\n{compiled}\n```",
    )


def by_asset(project: Project, reads: Mapping[str, list[tuple[str, str]]]) -> dict[str, list[tuple[str, str]]]:
    """Return the lineage of columns with asset keys in place of the names of models and sources."""
    found = {}
    for column, pairs in reads.items():
        named: list[tuple[str, str]] = []
        for name, read in pairs:
            model = name in project.models
            named += [(asset_name(name), read)] if model else list(project.sources[name].made_from(read))
        found[column] = sorted(set(named))
    return found


def mart_lineage(project: Project, campaign: Campaign, model: str) -> dict[str, list[tuple[str, str]]]:
    """Return the lineage of a stored mart: each of its columns is that of the model's definition."""
    from lens_assets.sampling.sql import column_types

    types = column_types(project, campaign_parameters(campaign), [model])
    return {column: [(asset_name(model), column)] for column in types[model]}


def _tests_of(project: Project, model: Model) -> list[str]:
    """Return a line for each test beside a model and each singular test that reads it."""
    beside = [f"- `{test.column}`: {test.kind} {test.to}{', '.join(test.values)}".rstrip() for test in model.tests]
    singular = [test for test in project.tests.values() if model.name in test.references]
    return [*beside, *(f"- `{test.path.name}`: {test.description}" for test in singular)]


_PROJECT = load_project()
SQL_MODELS: tuple[LensAsset, ...] = tuple(_definition(_PROJECT, model) for model in _PROJECT.models.values())
