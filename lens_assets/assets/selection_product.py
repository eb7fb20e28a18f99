"""The release: tables, copies, documents and the file that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, Product, lens_asset
from lens_assets.assets.selection_readers import trials_of_detector

if TYPE_CHECKING:
    from lens_assets.realism.verdict import Verdict


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet", "fits"},
    inputs=(
        "completeness_table",
        "injection_batches",
        "injection_scores",
        "frozen_detector",
        "sensitivity_report",
        "closure_report",
        "realism_gate",
        "release_gate",
    ),
    settings=("selection_function", "injection", "evaluation", "report"),
    code_version="selection-function-1",
    behind="release_gate",
)
def selection_function_product(run: AssetRun) -> Product:
    """The release: grid and injections, FITS copy, model card, citation, and the one file that loads and queries it."""
    import pandas as pd

    from lens_assets.figures import selection_function as figures
    from lens_assets.selection import loader, product

    campaign, settings = run.campaign, run.campaign.selection_function
    primary, audit = campaign.evaluation.primary_detector, campaign.evaluation.thresholds.audit
    names = [primary, *(name for name in run.partition_keys_of("detector") if name != primary)]
    grid = pd.concat([run.table("completeness_table", name) for name in names], ignore_index=True)
    side = {
        kind: pd.concat(
            [run.side_table("completeness_table", kind, name).assign(detector=name) for name in names],
            ignore_index=True,
        )
        for kind in ("marginals", "floor")
    }
    injections = run.table("injection_batches")
    trials, counts = trials_of_detector(run, primary)
    score_columns = ["injection_id", "host_score", "injected_score"]
    released = pd.concat(
        [
            product.released_injections(
                trials, injections, run.table("injection_scores", name, columns=score_columns), name
            )
            for name in names
        ],
        ignore_index=True,
    )
    gates = {gate: _read_verdict(run, gate) for gate in ("realism_gate", "release_gate")}
    verdicts = {gate: f"{verdict.decision}. {verdict.statement}" for gate, verdict in gates.items()}
    digests = dict(sorted(run.upstream.items())) | {"grid": settings.grid.digest}
    point = settings.reference
    quoted = pd.DataFrame(
        [
            {"detector": name, "threshold": threshold}
            | product.completeness_at(
                grid, point.theta_e_arcsec, point.psf_fwhm_arcsec, point.depth_mag, threshold, name
            )
            for name in names
            for threshold in dict.fromkeys(grid["threshold"])
        ]
    )
    facts = {
        "hosts": campaign.injection.hosts.population,
        "denominator": settings.denominator,
        "grid": settings.grid.name,
        "quoted_at": f"theta_E {point.theta_e_arcsec} arcsec, PSF {point.psf_fwhm_arcsec} arcsec, "
        f"depth {point.depth_mag} mag",
        "prior_of_intervals": f"Beta({settings.intervals.prior_alpha}, {settings.intervals.prior_beta})",
        "closure": _closure_words(run, audit),
        **counts,
    }
    reason = settings.release.acceptance_reason
    waivers = [f"{name}: {reason}" for name in settings.release.accepted_unstable_variants]
    title = f"Selection function of campaign {campaign.name}, detector {primary}"
    header = {"GRIDNAME": settings.grid.name, "GRIDHASH": settings.grid.digest, "DETECTOR": primary, "THRESH": audit}
    header |= {"REALISM": gates["realism_gate"].decision, "RELEASE": gates["release_gate"].decision}
    files = {
        loader.GRID_FILE: product.parquet_bytes(grid),
        loader.INJECTIONS_FILE: product.parquet_bytes(released),
        "marginals.parquet": product.parquet_bytes(side["marginals"]),
        "floor.parquet": product.parquet_bytes(side["floor"]),
        product.FITS_FILE: product.fits_bytes(grid, side["marginals"], side["floor"], header),
        loader.METADATA_FILE: product.metadata_bytes(title, audit, verdicts, digests, settings.grid, facts),
        "model_card.md": product.model_card(title, quoted, verdicts, facts, digests, waivers),
        "CITATION.cff": product.citation(),
        product.LOADER_FILE: product.loader_source(),
    }
    shown = grid.loc[grid["detector"] == primary]
    marginals = side["marginals"].loc[side["marginals"]["detector"] == primary]
    return Product(
        table=quoted,
        files={f"release/{name}": content for name, content in files.items()},
        figures={
            "completeness_maps": figures.completeness_maps(shown, audit, title),
            "marginals": figures.marginals(marginals, list(dict.fromkeys(shown["threshold"])), title),
        },
        summary={"injections": len(injections), "cells": len(shown), "grid_digest": settings.grid.digest},
        columns={
            "detector": "frozen detector",
            "threshold": "name of the detection threshold",
            "value": f"completeness at {facts['quoted_at']}",
            "lower": "lower 95% limit: the wider of Beta posterior and host bootstrap",
            "upper": "upper 95% limit: the wider of Beta posterior and host bootstrap",
        },
        markdown=files["model_card.md"].decode(),
    )


def _read_verdict(run: AssetRun, gate: str) -> Verdict:
    from lens_assets.realism.verdict import FILE_NAME, Verdict

    return Verdict.from_json(run.file(gate, FILE_NAME).read_bytes())


def _closure_words(run: AssetRun, audit: str) -> str:
    if "closure_report" not in run.schemes:
        relied_on = run.campaign.selection_function.closure.relied_on_campaign
        return f"no truth in this campaign; relies on campaign {relied_on}"
    report = run.table("closure_report")
    chosen = report.loc[
        (report["threshold"] == audit) & (report["detector"] == run.campaign.evaluation.primary_detector)
    ]
    return str(chosen["reason"].iloc[0])
