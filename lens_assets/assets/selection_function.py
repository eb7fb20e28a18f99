"""The selection-function group: completeness, what it depends on, whether it closes, the second gate, the release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, NoGo, Product, lens_asset

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lens_assets.detector.frozen import Detector
    from lens_assets.realism.examine import Reader
    from lens_assets.realism.verdict import Verdict


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet"},
    inputs=("injection_batches", "injection_scores", "frozen_detector"),
    settings=("selection_function", "evaluation"),
    partitions="detector",
    code_version="completeness-1",
    behind="realism_gate",
)
def completeness_table(run: AssetRun) -> Product:
    """C(theta_E, PSF, depth) at every threshold: counts, Beta and cluster-bootstrap intervals, support flags."""
    from lens_assets.figures import selection_function as figures
    from lens_assets.selection.completeness import (
        COMPLETENESS_COLUMNS,
        completeness_grid,
        marginal,
        null_floor,
        thresholds_of,
    )
    from lens_assets.selection.product import completeness_at

    settings, audit = run.campaign.selection_function, run.campaign.evaluation.thresholds.audit
    thresholds = thresholds_of(run.table("frozen_detector"))
    trials, counts = _trials(run, run.partition)
    table = completeness_grid(
        trials, thresholds, settings.grid, settings.intervals, settings.denominator, settings.seed
    )
    table.insert(0, "detector", run.partition)
    marginals = marginal(trials, thresholds, settings.grid, settings.intervals, settings.seed)
    floor = null_floor(trials, thresholds, settings.intervals)
    point = settings.reference
    at = completeness_at(table, point.theta_e_arcsec, point.psf_fwhm_arcsec, point.depth_mag, audit, str(run.partition))
    plots = {
        "completeness_maps": figures.completeness_maps(table, audit, f"{run.campaign.name}, {run.partition}"),
        "marginals": figures.marginals(
            marginals, [threshold.name for threshold in thresholds], f"{run.campaign.name}, {run.partition}"
        ),
    }
    numbers = {f"reference_completeness{suffix}": number for suffix, number in _suffixed(at).items()}
    cells = table.loc[table["threshold"] == audit]
    summary = {
        **counts,
        "cells": len(cells),
        "supported_cells": int(cells["supported"].sum()),
        "pooled_completeness": float(cells["k"].sum() / max(1, cells["n"].sum())),
        **numbers,
    }
    params = settings.model_dump(mode="json", include={"audited_grid", "denominator", "intervals", "reference"})
    with run.tracking.start("selection_function", str(run.partition), run.provenance_tags(), params) as tracked:
        tracked.metrics({name: float(value) for name, value in summary.items()})
        tracked.table(table, "completeness")
        for name, plot in plots.items():
            tracked.figure(plot, name)
    return Product(
        table=table,
        tables={"marginals": marginals, "floor": floor},
        figures=plots,
        summary=summary,
        columns={"detector": "frozen detector", **COMPLETENESS_COLUMNS},
    )


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet", "torch"},
    inputs=("injection_batches", "injection_scores", "frozen_detector", "cutouts"),
    settings=("selection_function", "injection", "evaluation"),
    code_version="sensitivity-1",
    pool="torch",
    behind="realism_gate",
)
def sensitivity_report(run: AssetRun) -> Product:
    """The same injections under other priors: paired shifts of the mean completeness, and whether it is stable."""
    import numpy as np
    import pandas as pd

    from lens_assets.figures import selection_function as figures
    from lens_assets.lensing.injection import render_injections
    from lens_assets.selection import sensitivity

    settings, audit = run.campaign.selection_function, run.campaign.evaluation.thresholds.audit
    planned = run.table("injection_batches")
    planned = planned.loc[planned["status"] == 0].sort_values("injection_id")
    plan = sensitivity.subsample(planned, settings.sensitivity.injections, settings.seed)
    plan = plan[_plan_columns(plan)]
    hosts = _reader(run, "cutouts", list(plan["host_cutout_path"]))(np.arange(len(plan)))
    detectors = {name: _detector(run, name) for name in run.partition_keys_of("detector")}
    host_scores = {name: detector.score(hosts) for name, (detector, _) in detectors.items()}
    detected: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in detectors}
    variants = [None, *settings.sensitivity.variants]
    for variant in run.progress(variants, "alternate priors"):
        rows = plan if variant is None else sensitivity.altered_plan(plan, variant)
        priors = run.campaign.injection
        priors = priors if variant is None else sensitivity.altered_settings(priors, variant)
        stamps = render_injections(rows, hosts, priors).stamps
        for name, (detector, thresholds) in detectors.items():
            cut = thresholds[audit]
            passed = (detector.score(stamps) >= cut) & (host_scores[name] < cut)
            key = sensitivity.BASELINE if variant is None else variant.name
            detected[name][key] = rows[["injection_id", "galaxy_id"]].assign(detected=passed)
    limit = settings.sensitivity.maximum_shift
    report = pd.DataFrame(
        [
            {"detector": name, "threshold": audit}
            | sensitivity.shift_row(
                variant.name,
                detected[name][sensitivity.BASELINE],
                detected[name][variant.name],
                limit,
                settings.intervals.bootstrap_resamples,
                settings.seed,
            )
            | {"maximum_shift": limit}
            for name in detectors
            for variant in settings.sensitivity.variants
        ]
    )
    return Product(
        table=report,
        figures={"sensitivity": figures.sensitivity(report, limit)},
        summary={
            "injections_per_variant": len(plan),
            "largest_shift": float(report["shift"].abs().max()),
            "unstable": int((report["verdict"] == "UNSTABLE").sum()),
        },
        columns={
            "detector": "frozen detector",
            "threshold": "name of the detection threshold",
            "variant": "alternate prior",
            "n": "injections, the same hosts and draws as the published prior",
            "n_hosts": "distinct hosts",
            "baseline_completeness": "mean completeness of these injections under the published prior",
            "completeness": "mean completeness under the variant",
            "shift": "difference, paired",
            "shift_lower_95": "lower 95% limit, hosts resampled",
            "shift_upper_95": "upper 95% limit, hosts resampled",
            "verdict": "STABLE, UNSTABLE or NOT-EVALUATED",
            "maximum_shift": "largest |shift| that is stable",
        },
    )


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"parquet", "torch"},
    inputs=(
        "simulated_truth",
        "simulated_survey",
        "sweep_sources",
        "split_cells",
        "injection_batches",
        "injection_scores",
        "frozen_detector",
    ),
    settings=("selection_function", "injection", "evaluation", "survey"),
    code_version="closure-2",
    pool="torch",
    behind="realism_gate",
    simulated_only=True,
)
def closure_report(run: AssetRun) -> Product:
    """Whether completeness measured by injection predicts the recall of true lenses never seen before.

    Every true lens of the test split whose host is in the scanned population is cut from the coadds and scored,
    published or not. The injections, carried over to these lenses by Einstein radius, arc brightness, depth and host
    colour, predict their recall; bias and the coverage of the intervals are tested.
    """
    import pandas as pd

    from lens_assets.figures import selection_function as figures
    from lens_assets.selection import closure

    settings, audit = run.campaign.selection_function, run.campaign.evaluation.thresholds.audit
    lenses, stamps, funnel = _true_lenses(run)
    names = {"lensed_mag_r": "arc_mag_r", "mag_g": "host_mag_g", "mag_r": "host_mag_r"}
    batches = run.table("injection_batches").rename(columns=names)
    rows, strata, coverage, results = [], [], [], {}
    for name in run.partition_keys_of("detector"):
        detector, thresholds = _detector(run, name)
        scored = lenses.assign(score=detector.score(stamps) if len(lenses) else [])
        scores = run.table("injection_scores", name, columns=["injection_id", "injected_score"])
        trials = batches.merge(scores, on="injection_id", validate="one_to_one")
        trials = trials.loc[(trials["status"] == 0) & trials["injected_score"].notna()]
        for threshold, cut in thresholds.items():
            result = closure.closure(
                closure.with_strata(scored.assign(passed=scored["score"] >= cut), settings.grid),
                closure.with_strata(trials.assign(passed=trials["injected_score"] >= cut), settings.grid),
                closure.LEVELS_OF_STRATA,
                (settings.intervals.prior_alpha, settings.intervals.prior_beta),
                settings.seed,
            )
            limits = settings.closure
            verdict, reason = closure.closure_verdict(
                result, limits.minimum_lenses, limits.maximum_bias, limits.significance
            )
            key = {"detector": name, "threshold": threshold}
            results[(name, threshold)] = result
            rows.append({**key, **result.numbers(), "verdict": verdict, "reason": reason})
            strata.append(result.strata.assign(**key))
            coverage.append(result.coverage.assign(**key))
    primary = results[(run.campaign.evaluation.primary_detector, audit)]
    return Product(
        table=pd.DataFrame(rows),
        tables={
            "strata": pd.concat(strata, ignore_index=True),
            "coverage": pd.concat(coverage, ignore_index=True),
            "funnel": funnel,
        },
        figures={"closure": figures.closure(primary.strata, f"{run.campaign.evaluation.primary_detector}, {audit}")},
        summary=primary.numbers(),
        columns={
            "n_lenses": "true lenses predicted",
            "n_unmatched": "true lenses inside the grid that no stratum of injections can predict",
            "true_recall": "share of the true lenses at or above the threshold",
            "predicted_recall": "the same, predicted by injections of their strata",
            "bias": "predicted minus true recall",
            "standard_error": "standard error of the bias: counting noise of both sides",
            "verdict": "PASS, FAIL or NOT-EVALUATED",
            "reason": "why",
        },
        markdown=f"Averaged over the injections' population: {closure.AVERAGED_OVER}.",
    )


def _true_lenses(run: AssetRun) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Return (true lenses of the test split, their stamps in row order, how many were left at each step)."""
    import numpy as np
    import pandas as pd

    from lens_assets.assets.survey import survey_files
    from lens_assets.survey.coadds import OK, read_stamps_from_brick
    from lens_assets.survey.units import flux_to_mag

    truth, hosts = run.table("simulated_truth"), run.campaign.injection.hosts
    lenses = truth.loc[truth["kind"] == "lens"]
    steps = [("true lenses", len(lenses))]
    columns = ["galaxy_id", "in_margin", "brickname", "healpix_128", "type", "mag_z", "psfsize_r", "psfdepth_r_mag"]
    sources = run.table("sweep_sources", columns=columns)
    sources = sources.loc[~sources["in_margin"]].drop(columns="in_margin")
    names = ["object_id", "galaxy_id", "ra", "dec", "theta_e_arcsec", "arc_flux_r", "flux_g", "flux_r"]
    lenses = lenses[names].merge(sources, on="galaxy_id", validate="one_to_one")
    steps.append(("one Tractor source each", len(lenses)))
    cells = run.table("split_cells", columns=["healpix_128", "split"])
    lenses = lenses.merge(cells.loc[cells["split"] == "test"], on="healpix_128", validate="many_to_one")
    steps.append(("in the test split", len(lenses)))
    scanned = lenses["type"].isin(hosts.types) & lenses["mag_z"].between(hosts.mag_z.minimum, hosts.mag_z.maximum)
    lenses = lenses.loc[scanned].sort_values(["brickname", "object_id"]).reset_index(drop=True)
    steps.append(("host in the scanned population", len(lenses)))
    for name, flux in (("arc_mag_r", "arc_flux_r"), ("host_mag_g", "flux_g"), ("host_mag_r", "flux_r")):
        lenses[name] = flux_to_mag(lenses[flux])
    files, size = survey_files(run), run.campaign.injection.renderer.stamp_pixels
    stamps, good = np.zeros((len(lenses), 3, size, size), dtype=np.float32), np.zeros(len(lenses), dtype=bool)
    groups = lenses.groupby("brickname", sort=True)
    for brick, group in run.progress(list(groups), "bricks of true lenses"):
        cut = read_stamps_from_brick(files, str(brick), group["ra"], group["dec"], size)
        stamps[group.index], good[group.index] = cut.stamps, cut.status == OK
    steps.append(("with a stamp", int(good.sum())))
    return lenses.loc[good].reset_index(drop=True), stamps[good], pd.DataFrame(steps, columns=["step", "lenses"])


@lens_asset(
    group="selection_function",
    team="selection",
    kinds={"gate"},
    inputs=(
        "realism_gate",
        "anchor_observables",
        "cutouts",
        "injection_batches",
        "injection_scores",
        "frozen_detector",
        "completeness_table",
        "sensitivity_report",
        "closure_report",
        "split_proof",
        "false_positive_taxonomy",
    ),
    settings=("selection_function", "realism", "evaluation"),
    code_version="release-gate-1",
    behind="realism_gate",
)
def release_gate(run: AssetRun) -> Product:
    """The second verdict: may the numbers be published? Raises unless GO, after the verdict is written.

    Realism is judged again on the full run; the splits must be proven disjoint; completeness must be stable over sky
    regions and under alternate priors, and must close where there is truth; artefacts must not fill the top
    of the list.
    """
    import pandas as pd

    from lens_assets.realism.verdict import FILE_NAME
    from lens_assets.selection import release

    settings = run.campaign.selection_function
    limits, audit = settings.release, run.campaign.evaluation.thresholds.audit
    battery = _realism_of_full_run(run)
    rows = [
        release.realism_evidence(battery),
        release.split_evidence(run.table("split_proof")),
        *release.sensitivity_evidence(
            run.table("sensitivity_report"), limits.accepted_unstable_variants, limits.acceptance_reason
        ),
        *_closure_evidence(run, audit),
    ]
    regions = []
    for name in run.partition_keys_of("detector"):
        trials, _ = _trials(run, name)
        cut = _cuts(run, name)[audit]
        by_region, p_value = release.region_agreement(trials, cut)
        rows.append(release.region_evidence(p_value, limits.region_p_value, name))
        regions.append(by_region.assign(detector=name))
    rows.append(
        release.artefact_evidence(
            run.side_table("false_positive_taxonomy", "top_of_list"), limits.maximum_artefact_share
        )
    )
    rows.append(release.support_evidence(run.table("completeness_table"), audit))
    verdict = release.judge_release(rows, run.upstream)
    product = Product(
        table=pd.DataFrame(rows),
        files={FILE_NAME: verdict.to_json().encode()},
        tables={"realism_of_full_run": battery, "regions": pd.concat(regions, ignore_index=True)},
        summary={
            "decision": verdict.decision,
            "conditions": len(rows),
            "failed": sum(row["verdict"] == "FAIL" for row in rows),
            "accepted": sum(row["verdict"] == "WARN" for row in rows),
        },
        columns={
            "condition": "what was asked",
            "found": "what was found",
            "expected": "what passes",
            "verdict": "PASS, FAIL, WARN or NOT-EVALUATED",
            "gates": "whether the row decides",
            "reason": "why a row is not evaluated, or the campaign's reason for accepting it",
        },
        markdown=verdict.statement,
    )
    if verdict.decision != "GO":
        raise NoGo(product, verdict.statement)
    return product


def _closure_evidence(run: AssetRun, audit: str) -> list[dict[str, object]]:
    from lens_assets.selection import release

    closure = run.campaign.selection_function.closure
    if "closure_report" not in run.schemes:
        return [release.missing_closure_evidence(closure.relied_on_campaign)]
    report = run.table("closure_report")
    return release.closure_evidence(report.loc[report["threshold"] == audit], closure.maximum_bias)


def _realism_of_full_run(run: AssetRun) -> pd.DataFrame:
    """Run the battery again: a subsample of the full run against the same anchors and against untouched hosts."""
    from lens_assets.imaging.stamps import stamp_path
    from lens_assets.lensing.plan import HOST_COLUMNS
    from lens_assets.realism.battery import run_battery
    from lens_assets.realism.examine import StampTable, observe_injections, paired_sky
    from lens_assets.selection.sensitivity import subsample

    settings, realism = run.campaign.selection_function, run.campaign.realism
    batches = run.table("injection_batches", columns=["injection_id", "condition", "status", *HOST_COLUMNS])
    batches["row"] = batches.groupby("condition").cumcount()
    chosen = subsample(batches.loc[batches["status"] == 0], settings.release.realism_subsample, settings.seed)
    paths = [stamp_path(str(key), int(row)) for key, row in zip(chosen["condition"], chosen["row"], strict=True)]
    injected = StampTable(chosen, _reader(run, "injection_batches", paths))
    hosts = batches.drop_duplicates("galaxy_id").sort_values("galaxy_id", ignore_index=True)
    untouched = StampTable(hosts, _reader(run, "cutouts", list(hosts["host_cutout_path"])))
    report = lambda done, total: run.report_progress("injections measured", done, total)  # noqa: E731
    measured = observe_injections(injected, untouched, realism, report)
    background = paired_sky(injected, untouched, realism)
    return run_battery(run.table("anchor_observables"), measured, realism, background).rows


def _reader(run: AssetRun, asset: str, paths: list[str]) -> Reader:
    """Return a reader of an asset's stamps by position in `paths`."""
    from lens_assets.imaging.stamps import STAMP_FILE, StampReader

    reader = StampReader(lambda shard: run.file(asset, STAMP_FILE, shard))
    return lambda rows: reader.read([paths[row] for row in rows])


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
    trials, counts = _trials(run, primary)
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


def _detector(run: AssetRun, name: str) -> tuple[Detector, dict[str, float]]:
    """Return a frozen detector and its thresholds by name."""
    from lens_assets.detector.frozen import load_detector

    return load_detector(run.folder("frozen_detector", name)), _cuts(run, name)


def _cuts(run: AssetRun, name: str) -> dict[str, float]:
    table = run.table("frozen_detector", name)
    return dict(zip(table["name"], table["threshold"], strict=True))


def _trials(run: AssetRun, detector: str | None) -> tuple[pd.DataFrame, dict[str, int]]:
    from lens_assets.selection.completeness import INJECTION_COLUMNS, trials_of

    settings = run.campaign.selection_function
    injections = run.table("injection_batches", columns=list(INJECTION_COLUMNS))
    scores = run.table("injection_scores", detector, columns=["injection_id", "host_score", "injected_score"])
    return trials_of(injections, scores, settings.grid, settings.denominator)


def _plan_columns(batches: pd.DataFrame) -> list[str]:
    """Return the columns of the plan among those of rendered batches: rendering appends its own."""
    from lens_assets.lensing.plan import HOST_COLUMNS
    from lens_assets.lensing.priors import PARAMETER_COLUMNS

    wanted = {"injection_id", *HOST_COLUMNS, *PARAMETER_COLUMNS, "source_clumps", "log_pdf", "status"}
    return [name for name in batches.columns if name in wanted]


def _suffixed(answer: dict[str, float]) -> dict[str, float]:
    return {"" if name == "value" else f"_{name}_95": number for name, number in answer.items()}
