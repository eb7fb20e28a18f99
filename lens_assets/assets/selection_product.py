"""The release: tables, copies, documents and the file that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lens_assets.assets.framework import AssetRun, Product, lens_asset
from lens_assets.assets.selection_readers import trials_of_detector

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from lens_assets.campaign.campaign import Campaign
    from lens_assets.campaign.stages.evaluation import AnyDetectorSettings
    from lens_assets.realism.verdict import Verdict

_SIDE_TABLES = ("marginals", "floor", "merged")
_GATES = ("realism_gate", "release_gate")
_BORROWED = (
    ("realism_report", "distributions", "realism_distributions"),
    ("realism_report", "stamps", "realism_stamps"),
    ("failure_experiments", "gallery", "failure_gallery"),
    ("failure_experiments", "hypotheses", "failure_hypotheses"),
)
_SCORES = ["injection_id", "host_score", "injected_score"]


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet", "fits"},
    inputs=(
        "completeness_table",
        "footprint_conditions",
        "injection_batches",
        "injection_scores",
        "brightness_calibration",
        "frozen_detector",
        "sensitivity_report",
        "closure_report",
        "failure_experiments",
        "realism_report",
        "realism_gate",
        "release_gate",
    ),
    settings=("selection_function", "injection", "evaluation", "report", "host_selection"),
    code_version="selection-function-8",
    behind="release_gate",
)
def selection_function_product(run: AssetRun) -> Product:
    """The release: grid and injections, FITS copy, model card, citation, figures, and the one file that reads them."""
    from lens_assets.selection import product

    campaign = run.campaign
    primary, audit = campaign.evaluation.primary_detector, campaign.evaluation.thresholds.audit
    names = [primary, *(name for name in run.partition_keys_of("detector") if name != primary)]
    tables = _tables(run, names)
    trials, counts = trials_of_detector(run, primary)
    gates = {gate: _read_verdict(run, gate) for gate in _GATES}
    facts = _facts(run, counts, tables["footprint"])
    title = f"Selection function of campaign {campaign.name}, detector {primary}"
    quoted = _quoted(run, tables["grid"], names)
    shown = tables["grid"].loc[tables["grid"]["detector"] == primary]
    plots = _figures(shown, tables["marginals"].loc[tables["marginals"]["detector"] == primary], audit, title)
    settings = campaign.selection_function
    header = {"GRIDNAME": settings.grid.name, "GRIDHASH": settings.grid.digest, "DETECTOR": primary, "THRESH": audit}
    header |= {"REALISM": gates["realism_gate"].decision, "RELEASE": gates["release_gate"].decision}
    data = product.release_tables(tables, _released_injections(run, trials, names))
    data[product.FITS_FILE] = product.fits_bytes(tables, header)
    documents = product.Documents(
        title=title,
        reference_threshold=audit,
        verdicts={gate: _said(verdict) for gate, verdict in gates.items()},
        digests=_digests(run, names),
        identity=_identity(run, primary),
        facts=facts,
        waivers=_waivers(run, tables["sensitivity"]),
        files=product.checksums(data),
    )
    files = {
        **data,
        **product.release_documents(documents, settings.grid, quoted),
        **_pictures(run, plots),
    }
    return Product(
        table=quoted,
        files={f"release/{name}": content for name, content in files.items()},
        figures=plots,
        summary={"injections": counts["injections"], "cells": len(shown), "grid_digest": settings.grid.digest},
        columns={
            "detector": "frozen detector",
            "threshold": "name of the detection threshold",
            "value": f"completeness at {facts['quoted_at']}",
            "lower": "lower 95% limit: the wider of Beta posterior and host bootstrap",
            "upper": "upper 95% limit: the wider of Beta posterior and host bootstrap",
            "total_lower": "lower 95% limit with the threshold's own uncertainty and shared sky",
            "total_upper": "upper 95% limit with the threshold's own uncertainty and shared sky",
            "threshold_sufficient": "whether enough validation objects lie above the threshold to define it",
        },
        markdown=files[product.MODEL_CARD_FILE].decode(),
    )


def _tables(run: AssetRun, names: list[str]) -> dict[str, pd.DataFrame]:
    """Return the tables of the release by name, all detectors in each, the primary one first."""
    import pandas as pd

    tables = {"grid": pd.concat([run.table("completeness_table", name) for name in names], ignore_index=True)}
    kinds = (*_SIDE_TABLES, *(("models",) if run.campaign.selection_function.models else ()))
    for kind in kinds:
        parts = [run.side_table("completeness_table", kind, name) for name in names]
        frames = [
            part if "detector" in part else part.assign(detector=name) for part, name in zip(parts, names, strict=True)
        ]
        tables[kind] = pd.concat(frames, ignore_index=True)
    tables["footprint"] = run.table("footprint_conditions")
    tables["sensitivity"] = run.table("sensitivity_report")
    if "closure_report" in run.schemes:
        audit = run.campaign.evaluation.thresholds.audit
        closure = run.table("closure_report").assign(campaign=run.campaign.name)
        tables["closure"] = closure.assign(audited=closure["threshold"] == audit)
    return tables


def _digests(run: AssetRun, names: list[str]) -> dict[str, str]:
    """Return the digest of every input, of the grid and of each frozen detector alone."""
    from lens_assets.selection.identity import detector_digest_name

    frozen = {detector_digest_name(name): run.record("frozen_detector", name).digest for name in names}
    return dict(sorted({**run.upstream, **frozen}.items())) | {"grid": run.campaign.selection_function.grid.digest}


def _waivers(run: AssetRun, sensitivity: pd.DataFrame) -> list[str]:
    """Return what the sensitivity report found unstable and the campaign accepts, with its shift and the reason."""
    from lens_assets.selection.stability import UNSTABLE

    release = run.campaign.selection_function.release
    accepted = sensitivity["variant"].isin(release.accepted_unstable_variants)
    return [
        f"{row.variant} ({row.detector}): shift {row.shift:+.3f} "
        f"[{row.shift_lower_95:+.3f}, {row.shift_upper_95:+.3f}], {release.acceptance_reason}"
        for row in sensitivity.loc[accepted & (sensitivity["verdict"] == UNSTABLE)].itertuples()
    ]


def _detector_words(settings: AnyDetectorSettings) -> str:
    if settings.kind == "external":
        return f"external: {settings.description}"
    members = ", ".join(settings.members)
    return f"trained here: {members}" + (f" ({settings.combiner})" if len(settings.members) > 1 else "")


def _released_injections(run: AssetRun, trials: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    import pandas as pd

    from lens_assets.selection.product import released_injections

    injections = run.table("injection_batches")
    scores = {name: run.table("injection_scores", name, columns=_SCORES) for name in names}
    return pd.concat([released_injections(trials, injections, scores[name], name) for name in names], ignore_index=True)


def _quoted(run: AssetRun, grid: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    import pandas as pd

    from lens_assets.selection.product import completeness_at

    point = run.campaign.selection_function.reference
    sufficient = grid.drop_duplicates(["detector", "threshold"]).set_index(["detector", "threshold"])
    where = (point.theta_e_arcsec, point.psf_fwhm_arcsec, point.depth_mag)
    rows = []
    for name in names:
        for threshold in dict.fromkeys(grid["threshold"]):
            total = completeness_at(grid, *where, threshold, name, interval="total")
            rows.append(
                {"detector": name, "threshold": threshold}
                | completeness_at(grid, *where, threshold, name)
                | {"total_lower": total["lower"], "total_upper": total["upper"]}
                | {"threshold_sufficient": bool(sufficient.loc[(name, threshold), "threshold_sufficient"])}
            )
    return pd.DataFrame(rows)


def _facts(run: AssetRun, counts: dict[str, int], footprint: pd.DataFrame) -> dict[str, Any]:
    from lens_assets.selection.footprint import OUTSIDE_GRID
    from lens_assets.selection.merging import RULE
    from lens_assets.selection.models import MEANINGS

    campaign, settings = run.campaign, run.campaign.selection_function
    point = settings.reference
    outside = footprint.loc[footprint["condition"] == OUTSIDE_GRID].set_index("grid")["share"]
    return {
        **{f"detector {name}": _detector_words(item) for name, item in campaign.evaluation.detectors.items()},
        "hosts": campaign.injection.hosts.population,
        "parent_sample_of_hosts": _parent_words(campaign),
        "denominator": settings.denominator,
        "grid": settings.grid.name,
        "footprint_outside_the_grid": f"{outside[settings.grid.name]:.4f}",
        "footprint_weights": str(footprint["weights"].iloc[0]),
        "completeness_as_theta_e_goes_to_0": _vanishing(run),
        "quoted_at": f"theta_E {point.theta_e_arcsec} arcsec, PSF {point.psf_fwhm_arcsec} arcsec, "
        f"depth {point.depth_mag} mag",
        "prior_of_intervals": f"Beta({settings.intervals.prior_alpha}, {settings.intervals.prior_beta})",
        "merged_cells": f"{RULE} At most {settings.intervals.maximum_merged_cells} cells.",
        "models": "; ".join(MEANINGS[name] for name in settings.models) or "none; nothing is smoothed",
        "closure": _closure_words(run, campaign.evaluation.thresholds.audit),
        **counts,
    }


def _vanishing(run: AssetRun) -> str:
    """Say what passes when the Einstein radius vanishes and the source's light stays: found, but not for its arc."""
    row = run.table("failure_experiments").set_index("experiment").loc["vanishing_lens"]
    if not row["n"]:
        return "not evaluated: the external finder has not scored it"
    limits = f"[{row['beta_lower_95']:.3f}, {row['beta_upper_95']:.3f}]"
    return f"{row['completeness']:.3f} {limits} from {int(row['n'])} injections over the whole grid"


def _identity(run: AssetRun, primary: str) -> dict[str, Any]:
    from lens_assets.selection.identity import identity

    shift = float(run.table("brightness_calibration")["magnitude_shift_mag"].iloc[0])
    cuts = run.table("frozen_detector", primary)
    limits = _parent_limits(run.campaign)
    return identity(run.campaign.selection_function, run.campaign.injection, shift, cuts, limits)


def _parent_limits(campaign: Campaign) -> dict[str, float] | None:
    """Return the limits of the variant whose luminous red galaxies are the hosts; None where all are."""
    parent = campaign.injection.hosts.parent
    return None if parent == "scan" else getattr(campaign.host_selection.variants, parent).model_dump(mode="json")


def _parent_words(campaign: Campaign) -> str:
    limits = _parent_limits(campaign)
    if limits is None:
        return "all of these galaxies"
    stated = ", ".join(f"{name} {value}" for name, value in limits.items())
    return f"luminous red galaxies of variant {campaign.injection.hosts.parent} alone ({stated})"


def _figures(shown: pd.DataFrame, marginals: pd.DataFrame, audit: str, title: str) -> dict[str, Figure]:
    from lens_assets.figures import selection_function as figures
    from lens_assets.selection.marginals import PER_TRIAL

    thresholds = list(dict.fromkeys(shown["threshold"]))
    return {
        "completeness_maps": figures.completeness_maps(shown, audit, title),
        "marginals": figures.marginals(marginals.loc[marginals["weights"] == PER_TRIAL], thresholds, title),
    }


def _pictures(run: AssetRun, plots: dict[str, Figure]) -> dict[str, bytes]:
    """Return the pictures of the release: its own figures, what the realism battery compared, and failures."""
    from lens_assets.assets.execution import png
    from lens_assets.lake.lake import FIGURES_FOLDER

    pictures = {f"{FIGURES_FOLDER}{name}.png": png(figure) for name, figure in plots.items()}
    for asset, name, title in _BORROWED:
        source = f"{FIGURES_FOLDER}{name}.png"
        if any(entry.name == source for entry in run.record(asset).files):
            pictures[f"{FIGURES_FOLDER}{title}.png"] = run.file(asset, source).read_bytes()
    return pictures


def _read_verdict(run: AssetRun, gate: str) -> Verdict:
    from lens_assets.realism.verdict import FILE_NAME, Verdict

    return Verdict.from_json(run.file(gate, FILE_NAME).read_bytes())


def _said(verdict: Verdict) -> str:
    """Return the verdict in words, its decision first and once."""
    said = verdict.statement.startswith(verdict.decision)
    return verdict.statement if said else f"{verdict.decision}. {verdict.statement}"


def _closure_words(run: AssetRun, audit: str) -> str:
    if "closure_report" not in run.schemes:
        relied_on = run.campaign.selection_function.closure.relied_on_campaign
        return f"no truth in this campaign; relies on campaign {relied_on}"
    report = run.table("closure_report")
    chosen = report.loc[
        (report["threshold"] == audit) & (report["detector"] == run.campaign.evaluation.primary_detector)
    ]
    return str(chosen["reason"].iloc[0])
