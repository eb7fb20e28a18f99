"""Realism: anchors measured, brightness calibrated, the battery on the pilot, and the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_assets.assets.framework import AssetRun, NoGo, Product, lens_asset
from lens_assets.digests import file_digest

if TYPE_CHECKING:
    import pandas as pd

    from lens_assets.realism.battery import Battery
    from lens_assets.realism.calibration import BrightnessFit
    from lens_assets.realism.examine import StampTable

ANCHOR_COLUMNS = (
    "lens_id", "galaxy_id", "cutout_path", "split", "region_id", "tier", "family", "confirmation", "evaluation_only",
    "type", "mag_g", "mag_r", "mag_z", "psfsize_g", "psfsize_r", "psfsize_z",
    "psfdepth_g_mag", "psfdepth_r_mag", "psfdepth_z_mag", "ebv",
)  # fmt: skip
_OF_LENSES = ("lens_id", "family", "confirmation")
UNTOUCHED_COLUMNS = (*(name for name in ANCHOR_COLUMNS if name not in _OF_LENSES), "confuser_category")


@lens_asset(
    group="injection",
    team="injection",
    kinds={"numpy", "parquet"},
    inputs=("training_manifest", "cutouts"),
    settings=("realism",),
    code_version="anchor-observables-2",
    pool="images",
)
def anchor_observables(run: AssetRun) -> Product:
    """Arc observables of every held-out lens, measured on its stamp; half of them tune, the other half judges.

    Anchors are lenses of the validation and test splits, never of training. A lens belongs to its half by the hash of
    its id. `visible` marks those that pass the detectability gate, which injections pass as well before any comparison.
    """
    from lens_assets.figures.realism import anchor_overview
    from lens_assets.realism.examine import StampTable, halves, observe
    from lens_assets.realism.observables import OBSERVABLES, is_visible

    settings = run.campaign.realism
    manifest = _with_depths(run.table("training_manifest"))
    held_out = manifest[
        (manifest["label"] == 1) & manifest["split"].isin(settings.anchors.splits) & manifest["quality_ok"].astype(bool)
    ]
    held_out = held_out.sort_values("lens_id", ignore_index=True)[list(ANCHOR_COLUMNS)]
    report = lambda done, total: run.report_progress("anchors", done, total)  # noqa: E731
    table = observe(StampTable(held_out, _cutout_reader(run, held_out["cutout_path"])), settings, report)
    half = halves(table["lens_id"].astype(str).tolist(), settings.anchors.seed, settings.anchors.calibration_fraction)
    table.insert(1, "half", half.astype(object))
    table["half"] = table["half"].astype("str")
    table.insert(2, "visible", is_visible(table, settings.detectability))
    counts = table.groupby(["half", "visible"]).size().rename("anchors").reset_index()
    seen = table["visible"]
    return Product(
        table=table,
        tables={"counts": counts},
        figures={"anchors": anchor_overview(table)},
        summary={
            "anchors": len(table),
            "visible": int(seen.sum()),
            "visible_calibration": int((seen & (table["half"] == "calibration")).sum()),
            "visible_gate": int((seen & (table["half"] == "gate")).sum()),
            "median_arc_snr": float(table.loc[seen, "arc_snr"].median()) if seen.any() else 0.0,
        },
        columns=OBSERVABLES
        | {"half": "calibration (tunes) or gate (judges)", "visible": "passes the detectability gate"},
    )


@lens_asset(
    group="injection",
    team="injection",
    kinds={"pytorch", "parquet"},
    inputs=("anchor_observables", "training_manifest", "cutouts", "lrg_sources"),
    settings=("injection", "realism", "selection_function"),
    code_version="brightness-calibration-8",
    pool="images",
)
def brightness_calibration(run: AssetRun) -> Product:
    """The one shift of the source magnitudes of the whole campaign, fitted to the calibration half of the anchors.

    It never depends on a host's depth or seeing, and no injection is rejected by its signal-to-noise: either would
    flatten the depth axis of completeness. A campaign may fit it to targets of the arcs' signal-to-noise instead (side
    table `arc_snr`: shares asked for and found), or pin it; with too few anchors the prior stays as it is.
    Side table `alternatives`: the same fit to anchors without those of tier B, and to confirmed lenses alone; nothing
    is drawn with them but the sensitivity report's batches.
    """
    import pandas as pd

    from lens_assets.figures.realism import calibration_curve
    from lens_assets.realism.calibration import ALL_ANCHORS, GROUPS, TABLE_COLUMNS, fit_groups, unfitted

    injection, realism = run.campaign.injection, run.campaign.realism
    anchors = run.table("anchor_observables")
    tuning = anchors[(anchors["half"] == "calibration") & anchors["visible"]].reset_index(drop=True)
    extra: dict[str, pd.DataFrame] = {}
    if injection.brightness.calibration == "arc_snr":
        by_targets, extra["arc_snr"] = _fitted_to_targets(run)
        fits = {ALL_ANCHORS: by_targets}
    elif injection.brightness.calibration == "pinned":
        fits = {ALL_ANCHORS: unfitted("pinned", injection.brightness.pinned_shift_mag, len(tuning))}
    elif len(tuning) < realism.calibration.minimum_anchors:
        fits = {ALL_ANCHORS: unfitted("not_fitted", 0.0, len(tuning))}
    else:
        rows = _calibration_draws(run)
        hosts = _cutout_reader(run, rows["host_cutout_path"])(rows.index.to_numpy())
        report = lambda done, total: run.report_progress("trial shifts", done, total)  # noqa: E731
        groups = {name: tuning[chosen(tuning)].reset_index(drop=True) for name, chosen in GROUPS.items()}
        fits = fit_groups(groups, rows, hosts, injection, realism, report)
    fit = fits[ALL_ANCHORS]
    others = [item.table().assign(anchors=name) for name, item in fits.items() if name != ALL_ANCHORS]
    if fit.at_limit:
        run.log.warning(
            "brightness calibration ended at the limit %.2f mag of injection.brightness.fitted_shift_mag; "
            "widen it or move injection.source.mag_r",
            fit.shift_mag,
        )
    return Product(
        table=fit.table(),
        tables={
            "curve": fit.curve,
            "alternatives": pd.concat(others, ignore_index=True) if others else fit.table().assign(anchors="").iloc[:0],
            **extra,
        },
        figures={"calibration": calibration_curve(fit.curve, fit.shift_mag, fit.lower_mag, fit.upper_mag)},
        summary={
            "magnitude_shift_mag": fit.shift_mag,
            "lower_mag": fit.lower_mag,
            "upper_mag": fit.upper_mag,
            "mode": fit.mode,
            "at_limit": fit.at_limit,
            "anchors": fit.n_anchors,
        },
        columns=TABLE_COLUMNS,
    )


@lens_asset(
    group="injection",
    team="injection",
    kinds={"scikitlearn", "parquet"},
    inputs=(
        "anchor_observables",
        "brightness_calibration",
        "injection_pilot",
        "training_manifest",
        "cutouts",
        "frozen_detector",
    ),
    settings=("realism", "evaluation", "injection"),
    code_version="realism-report-11",
    pool="torch",
)
def realism_report(run: AssetRun) -> Product:
    """The battery on the pilot, observable by observable: anchors somebody saw against injections that can be seen.

    Both pass the same detectability gate; injections are weighted to the anchors' arc radii, hosts and conditions with
    the calibration half, and the gate half judges. Every row states its rule; a failure names the likely knob.
    """
    import pandas as pd

    from lens_assets.figures import realism as figures
    from lens_assets.realism.battery import COLUMNS, as_table, run_battery
    from lens_assets.realism.examine import StampTable, observe_injections, paired_sky
    from lens_assets.realism.observables import is_visible

    settings = run.campaign.realism
    anchors = run.table("anchor_observables")
    pilot = run.table("injection_pilot")
    rendered = (pilot["status"] == 0).to_numpy().nonzero()[0]
    injected = StampTable(pilot.iloc[rendered].reset_index(drop=True), _pilot_reader(run, rendered))
    untouched = _untouched(run)
    report = lambda done, total: run.report_progress("injections measured", done, total)  # noqa: E731
    measured = observe_injections(injected, untouched, settings, report)
    sky = paired_sky(injected, untouched, settings)
    battery = run_battery(anchors, measured, settings, sky)
    probes = _probe_rows(run, anchors, measured, injected, untouched, battery)
    rows = pd.concat([battery.rows, as_table(probes)], ignore_index=True)
    panel_key, page, stamps_figure = _panel(run, anchors, measured, injected)
    visible = is_visible(measured, settings.detectability) & ~measured["host_visible"].to_numpy(bool)
    return Product(
        table=rows,
        tables={"injection_observables": _shown_columns(measured.assign(visible=visible))},
        # A file, since tables are previewed in the user interface and graders must not see the key.
        files={"panel.html": page.encode(), "panel_key.parquet": panel_key},
        figures={
            "distributions": figures.distributions(battery, settings),
            "differences": figures.differences(battery, settings, sky),
            "rows": figures.verdict_chart(rows),
            "stamps": stamps_figure,
        },
        summary={
            **{
                str(name).lower().replace("-", "_"): int(count)
                for name, count in rows["verdict"].value_counts().items()
            },
            "judging_anchors": len(battery.compared.judging),
            "visible_injections": int(visible.sum()),
            "rendered_injections": len(measured),
            "effective_injections": battery.compared.matching.effective if battery.compared.matching else 0.0,
            "point_rule_false_alarm": battery.tolerance_false_alarm,
            "distribution_level": battery.distribution_level,
        },
        columns=COLUMNS,
    )


@lens_asset(
    group="injection",
    team="injection",
    kinds={"json"},
    inputs=("realism_report", "anchor_observables", "injection_pilot", "brightness_calibration"),
    settings=("realism",),
    code_version="realism-gate-3",
)
def realism_gate(run: AssetRun) -> Product:
    """The verdict on the injections as data: GO, NO-GO or NOT-EVALUATED, with the digests of what it judged.

    Everything below reads it and runs only on a GO for exactly these inputs; a NO-GO names the observable, by how
    much, where, and the setting to look at.
    """
    import pandas as pd

    from lens_assets.figures.realism import verdict_chart
    from lens_assets.realism.battery import COLUMNS, as_table
    from lens_assets.realism.verdict import FILE_NAME, judge, named

    settings = run.campaign.realism
    report = run.table("realism_report")
    calibration = run.table("brightness_calibration").iloc[0]
    rows = pd.concat([report, as_table([_panel_row(run)])], ignore_index=True)
    notes = [
        f"Source magnitudes {_set_by(str(calibration['mode']))} at {calibration['magnitude_shift_mag']:+.2f} mag",
        "Blinded panel required" if settings.panel.required else "No blinded panel was asked for",
    ]
    if ((rows["observable"] == "probe_features") & ~rows["gates"] & (rows["verdict"] == "NOT-EVALUATED")).any():
        notes.append("Feature space not compared: the finder is external")
    missing = report[~report["gates"] & (report["verdict"] == "NOT-EVALUATED")]
    if len(missing):
        notes.append(f"Not evaluated and not deciding: {named(missing)}")
    inputs = dict(run.upstream) | {"settings/realism": run.campaign.settings_digest("realism")}
    verdict = judge("realism_gate", rows, inputs, notes)
    deciding = rows[rows["gates"]].reset_index(drop=True)
    product = Product(
        table=deciding,
        files={FILE_NAME: verdict.to_json().encode()},
        figures={"verdict": verdict_chart(deciding)},
        summary={
            "decision": verdict.decision,
            "failed": int((deciding["verdict"] == "FAIL").sum()),
            "not_evaluated": int((deciding["verdict"] == "NOT-EVALUATED").sum()),
        },
        columns=COLUMNS,
        markdown=f"**{verdict.decision}**\n\n" + "\n".join(f"- {reason}" for reason in verdict.reasons),
    )
    if verdict.decision != "GO":
        raise NoGo(product, verdict.statement)
    return product


def _set_by(mode: str) -> str:
    """Return the mode of the brightness calibration in words."""
    targets = mode.removeprefix("arc_snr_")
    return f"fitted to the {targets} targets of arc S/N" if targets != mode else mode.replace("_", " ")


def _with_depths(manifest: pd.DataFrame) -> pd.DataFrame:
    from lens_assets.survey.units import BANDS, depth_ivar_to_mag

    return manifest.assign(
        **{f"psfdepth_{band}_mag": depth_ivar_to_mag(manifest[f"psfdepth_{band}"]) for band in BANDS}
    )


def _cutout_reader(run: AssetRun, paths: pd.Series):  # type: ignore[no-untyped-def]
    """Return a reader of cutouts by position in `paths`."""
    from lens_assets.imaging.stamps import STAMP_FILE, StampReader

    names = paths.astype(str).to_numpy()
    reader = StampReader(lambda shard: run.file("cutouts", STAMP_FILE, shard))
    return lambda rows: reader.read(names[rows].tolist())


def _pilot_reader(run: AssetRun, kept):  # type: ignore[no-untyped-def]
    """Return a reader of pilot stamps by position among the kept rows."""
    from lens_assets.imaging.stamps import STAMP_FILE, StampReader, stamp_path

    reader = StampReader(lambda shard: run.file("injection_pilot", STAMP_FILE))
    return lambda rows: reader.read([stamp_path("pilot", int(row)) for row in kept[rows]])


def _calibration_draws(run: AssetRun) -> pd.DataFrame:
    from lens_assets.assets.injection_hosts import hosts_of_campaign
    from lens_assets.lensing.plan import draw_parameters

    campaign = run.campaign
    hosts, _ = hosts_of_campaign(run)
    edges = campaign.selection_function.grid.theta_e_edges_arcsec
    settings = campaign.realism.calibration
    rows = draw_parameters(
        hosts, settings.draws, campaign.injection, settings.seed, 0.0, (edges[0], edges[-1]), "calibration"
    )
    return rows.reset_index(drop=True)


def _fitted_to_targets(run: AssetRun) -> tuple[BrightnessFit, pd.DataFrame]:
    """Return the shift by the campaign's targets of the arcs' signal-to-noise, and the shares asked for and found."""
    from lens_assets.lensing.injection import render_injections
    from lens_assets.realism.snr_targets import fit_to_targets, shares

    injection, realism = run.campaign.injection, run.campaign.realism
    brightness, rows = injection.brightness, _calibration_draws(run)
    hosts = _cutout_reader(run, rows["host_cutout_path"])(rows.index.to_numpy())
    snr = render_injections(rows, hosts, injection).truth["arc_snr"].to_numpy()
    names, targets = rows["galaxy_id"].astype(str).tolist(), brightness.arc_snr_targets
    fit = fit_to_targets(snr, names, targets, brightness.fitted_shift_mag, realism.calibration.seed)
    return fit, shares(snr, targets, fit.shift_mag)


def _untouched(run: AssetRun) -> StampTable:
    """Return the test-split negatives, as they are."""
    from lens_assets.realism.examine import StampTable

    manifest = _with_depths(run.table("training_manifest"))
    rows = manifest[(manifest["label"] == 0) & (manifest["split"] == "test") & manifest["quality_ok"].astype(bool)]
    table = rows.sort_values("galaxy_id", ignore_index=True)[list(UNTOUCHED_COLUMNS)]
    return StampTable(table, _cutout_reader(run, table["cutout_path"]))


def _probe_rows(
    run: AssetRun,
    anchors: pd.DataFrame,
    measured: pd.DataFrame,
    injected: StampTable,
    untouched: StampTable,
    battery: Battery,
) -> list[dict[str, object]]:
    from lens_assets.assets.selection_readers import cuts_of
    from lens_assets.detector.frozen import load_detector
    from lens_assets.realism.examine import probe_rows, scored_contaminants
    from lens_assets.realism.null_control import null_reader

    evaluation, settings = run.campaign.evaluation, run.campaign.realism
    detector = load_detector(run.folder("frozen_detector", evaluation.primary_detector))
    reader = _cutout_reader(run, anchors["cutout_path"])
    cut = cuts_of(run, evaluation.primary_detector)[evaluation.thresholds.audit]
    read_hosts = _cutout_reader(run, injected.table["host_cutout_path"])
    null = null_reader(injected.table, read_hosts, run.campaign.injection)
    return [
        *probe_rows(anchors, reader, measured, injected, untouched, battery, detector, settings, null),
        *scored_contaminants(measured, injected, untouched, battery, detector, cut, settings),
    ]


def _shown_columns(measured: pd.DataFrame) -> pd.DataFrame:
    from lens_assets.realism.observables import OBSERVABLES

    wanted = ["injection_id", "galaxy_id", "type", "mag_r", "psfsize_r", "psfdepth_r_mag", "visible", *OBSERVABLES]
    return measured[wanted].sort_values("injection_id", ignore_index=True)


def _panel(run: AssetRun, anchors: pd.DataFrame, measured: pd.DataFrame, injected: StampTable):  # type: ignore[no-untyped-def]
    """Return the key, the page and a gallery of the blinded panel, which is published and must not give it away."""
    import io

    import numpy as np

    from lens_assets.figures.galleries import gallery, lupton_rgb
    from lens_assets.realism.observables import is_visible
    from lens_assets.realism.panel import choose, page, sealed

    settings = run.campaign.realism
    seen = np.flatnonzero(is_visible(anchors, settings.detectability) & (anchors["half"] == "gate"))
    shown = np.flatnonzero(is_visible(measured, settings.detectability) & ~measured["host_visible"])
    panel = choose(anchors.iloc[seen], measured.iloc[shown], settings.panel)
    read_anchor = _cutout_reader(run, anchors["cutout_path"])
    stamps = [
        (read_anchor(seen[[row]]) if truth == "real" else injected.read(shown[[row]]))[0]
        for truth, row in zip(panel.key["truth"], panel.key["row"], strict=True)
    ]
    block = np.stack(stamps) if stamps else np.zeros((0, 3, 101, 101), np.float32)
    images = np.flip(lupton_rgb(block), axis=1) if len(block) else np.zeros((0, 101, 101, 3), np.uint8)
    panel = sealed(panel, images)
    key = panel.key.drop(columns="row").astype("str")
    content = io.BytesIO()
    key.to_parquet(content, index=False)
    return content.getvalue(), page(panel, images), gallery(block[:24], key["stamp"].tolist()[:24])


def _panel_row(run: AssetRun) -> dict[str, object]:

    from lens_assets.realism.panel import PanelError, missing_row, read_answers, score

    settings = run.campaign.realism.panel
    if not settings.answers_csv:
        return missing_row(settings, "no graded form was returned")
    path = run.campaign.folder / settings.answers_csv
    answers = read_answers(path)
    digest = file_digest(path)
    if digest != settings.answers_sha256:
        raise PanelError(
            f"{path}: SHA-256 {digest}, but realism panel.answers_sha256 is {settings.answers_sha256!r}; state it"
        )
    return score(run.side_table("realism_report", "panel_key"), answers, settings)
