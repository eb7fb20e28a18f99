"""The realism assets: anchors, calibration, report and gate answer to their inputs as the science says."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lens_assets.assets import realism as assets
from lens_assets.assets.framework import NoGo, Product
from lens_assets.figures.galleries import lupton_rgb
from lens_assets.realism.battery import as_table, row
from lens_assets.realism.null_control import null_reader
from lens_assets.realism.panel import PanelError
from lens_assets.realism.probes import null_bytes_row
from lens_assets_tests.assets.realism_inputs import (
    GALAXIES,
    LENSES,
    RingDetector,
    pilot,
    realism_campaign,
    realism_lake,
    sky,
)
from lens_assets_tests.support import run_asset, store

CALIBRATION = pd.DataFrame({"magnitude_shift_mag": [-0.3], "mode": ["fitted"]}).astype({"mode": "str"})


@pytest.fixture(scope="module")
def campaign():
    return realism_campaign()


@pytest.fixture(scope="module")
def lake(campaign):
    return realism_lake(campaign)


@pytest.fixture(scope="module")
def anchors(campaign, lake) -> Product:
    return run_asset(assets.anchor_observables, campaign, lake=lake)


def test_anchors_are_the_held_out_lenses_measured_on_their_stamps(anchors, campaign):
    table = anchors.table
    assert len(table) == LENSES and table["lens_id"].is_monotonic_increasing
    assert set(table["split"]) <= set(campaign.realism.anchors.splits)
    assert table["visible"].equals(table["arc_snr"] >= campaign.realism.detectability.minimum_arc_snr)
    assert 0.25 < (table["half"] == "calibration").mean() < 0.55
    assert anchors.summary["visible"] == anchors.summary["visible_gate"] + anchors.summary["visible_calibration"]


def test_a_lens_of_the_training_split_or_of_poor_quality_never_judges(campaign):
    manifest = sky()[1].copy()
    manifest.loc[:9, "split"] = "train"
    manifest.loc[10:14, "quality_ok"] = False
    table = run_asset(assets.anchor_observables, campaign, lake=realism_lake(campaign, manifest)).table
    assert len(table) == LENSES - 15
    assert not set(table["lens_id"]) & set(manifest["lens_id"][:15])


def test_a_larger_calibration_share_moves_lenses_over_and_none_back(anchors, lake):
    larger = realism_campaign({"anchors.calibration_fraction": 0.7})
    table = run_asset(assets.anchor_observables, larger, lake=lake).table.set_index("lens_id")
    before = anchors.table.set_index("lens_id")["half"]
    assert (table["half"] == "calibration").sum() > (before == "calibration").sum()
    assert (table.loc[before == "calibration", "half"] == "calibration").all()


def calibrated(campaign, lake, table) -> Product:
    return run_asset(assets.brightness_calibration, campaign, {"anchor_observables": table}, lake=lake)


def test_brighter_anchors_make_brighter_sources(campaign, lake, anchors):
    right = calibrated(campaign, lake, anchors.table)
    brighter = calibrated(campaign, lake, anchors.table.assign(arc_snr=anchors.table["arc_snr"] * 2.0))
    assert right.summary["mode"] == "fitted"
    assert right.summary["magnitude_shift_mag"] == pytest.approx(0.0, abs=1.0)
    assert brighter.summary["magnitude_shift_mag"] < right.summary["magnitude_shift_mag"] - 0.3


def test_the_half_that_judges_does_not_calibrate(campaign, lake, anchors):
    judging = anchors.table["half"] == "gate"
    changed = anchors.table.assign(arc_snr=anchors.table["arc_snr"].where(~judging, 500.0))
    first, second = (calibrated(campaign, lake, table).table for table in (anchors.table, changed))
    pd.testing.assert_frame_equal(first, second)


def test_a_pinned_shift_is_used_and_too_few_anchors_fit_nothing(lake, anchors):
    pinned = realism_campaign(injection={"brightness.calibration": "pinned", "brightness.pinned_shift_mag": -1.5})
    assert calibrated(pinned, lake, anchors.table).table["magnitude_shift_mag"].tolist() == [-1.5]
    few = calibrated(realism_campaign(), lake, anchors.table[:8])
    assert (few.summary["mode"], few.summary["magnitude_shift_mag"]) == ("not_fitted", 0.0)


@pytest.mark.parametrize("targets", ["faint", "legacy"])
def test_a_campaign_may_ask_for_shares_of_arc_signal_to_noise(lake, anchors, targets):
    asked = realism_campaign(
        injection={"brightness.calibration": "arc_snr", "brightness.arc_snr_targets": targets,
                   "brightness.fitted_shift_mag.maximum": 4.0}
    )  # fmt: skip
    product = calibrated(asked, lake, anchors.table)
    assert product.summary["mode"] == f"arc_snr_{targets}" and not product.summary["at_limit"]
    pd.testing.assert_frame_equal(product.table, calibrated(asked, lake, anchors.table[:0]).table)
    shares = product.tables["arc_snr"]
    assert (shares["found"] - shares["asked"]).abs().max() < 0.4
    below = shares.loc[shares["upper"] <= 8.0, "found"].sum()
    assert below > 0.6
    assert len(product.tables["alternatives"]) == 0


@pytest.fixture(scope="module")
def report(campaign, lake, anchors) -> Product:
    return reported(campaign, lake, anchors.table)


def reported(campaign, lake, table) -> Product:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lens_assets.detector.frozen.load_detector", lambda folder: RingDetector())
        inputs = {"anchor_observables": table, "brightness_calibration": CALIBRATION}
        return run_asset(assets.realism_report, campaign, inputs, lake=lake)


def panel_key(report: Product) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(report.files["panel_key.parquet"]))


def test_nothing_that_is_shown_says_which_stamps_of_the_panel_are_real(report):
    assert "panel_key" not in report.tables
    titles = [axes.get_title() for axes in report.figures["stamps"].axes]
    words = [text.get_text() for axes in report.figures["stamps"].axes for text in axes.texts]
    assert any(name in " ".join([*titles, *words]) for name in panel_key(report)["stamp"])
    assert not any("real" in text or "injected" in text for text in [*titles, *words])


def verdicts(product: Product) -> dict[str, str]:
    rows = product.table[(product.table["stratum"] == "all") & product.table["gates"]]
    return dict(zip(rows["observable"], rows["verdict"], strict=False))


def test_right_injections_pass_every_deciding_row(report):
    assert set(verdicts(report).values()) == {"PASS"}
    assert {"distributions", "differences", "rows", "stamps"} == set(report.figures)
    assert report.summary["effective_injections"] > 60
    probes = report.table["observable"].str.startswith(("probe", "frechet"))
    assert probes.sum() >= 5 and not report.table.loc[probes, "gates"].any()
    null = report.table[report.table["observable"].str.startswith("null_")].set_index("observable")
    assert set(null["verdict"]) == {"PASS"} and len(null) == 4
    assert null.loc["null_bytes", "value"] == 1.0 and null["gates"].sum() == 1
    assert null.loc["null_bytes", "n_injections"] > 30


@pytest.mark.parametrize("mode,verdict", [("source_shot", "PASS"), ("source_shot_and_sky", "FAIL")])
def test_a_second_sky_under_arcs_without_light_is_seen(mode, verdict):
    stamps, _, _ = sky()
    rows = pilot()[0][:4]
    hosts = stamps[rows["host_cutout_path"].str.partition("#")[2].to_numpy(int)]
    read = null_reader(rows, lambda places: hosts[places], realism_campaign(injection={"noise.mode": mode}).injection)
    item = null_bytes_row(read(np.arange(4)), hosts)
    assert item["verdict"] == verdict and "noise.mode" in str(item["likely_knob"])


def test_contaminants_are_scored_alone_and_with_arcs_and_do_not_decide(report):
    rows = report.table.set_index("observable").loc[["contaminant_fpr", "arcs_on_contaminants"]]
    assert rows["verdict"].isin(["PASS", "WARN"]).all() and not rows["gates"].any()
    assert rows.loc["contaminant_fpr", "n_anchors"] == GALAXIES // 2
    # Every other galaxy is called a ring, at random: both kinds pass alike, alone seldom and with a visible arc often.
    assert rows.loc["contaminant_fpr", "value"] < 0.15
    assert rows.loc["arcs_on_contaminants", ["injection_value", "anchor_value"]].min() > 0.5
    assert rows.loc["arcs_on_contaminants", "lower"] < 0 < rows.loc["arcs_on_contaminants", "upper"]


def test_observables_of_every_rendered_injection_are_kept(report):
    observed = report.tables["injection_observables"]
    assert len(observed) == report.summary["rendered_injections"]
    assert observed["visible"].sum() == report.summary["visible_injections"]


def test_the_panel_mixes_halves_on_an_offline_page(report):
    key = panel_key(report)
    assert key["truth"].value_counts().to_dict() == {"real": 25, "injected": 25}
    assert report.files["panel.html"].decode().count("<figure>") == 50


def test_the_panels_pictures_hide_who_is_who(report):
    """Names follow the order of the page; pictures are alike in size, format and chunks, and are stretched alike."""
    key, text = panel_key(report), report.files["panel.html"].decode()
    found = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)">', text)
    assert [name for name, _ in found] == key["stamp"].tolist()
    codes, places = zip(*(name.split("-") for name, _ in found), strict=True)
    assert list(places) == [f"S{number:03d}" for number in range(1, 51)] and len(set(codes)) == 1
    words = re.sub(r"base64,[^\"]+", "", text)
    assert not any(identifier in words for identifier in key["id"])
    decoded = [base64.b64decode(data) for _, data in found]
    pictures = [Image.open(io.BytesIO(data)) for data in decoded]
    assert len({(picture.size, picture.mode, picture.format, tuple(picture.info)) for picture in pictures}) == 1
    assert {name for data in decoded for name in _chunks(data)} == {b"IHDR", b"IDAT", b"IEND"}
    stamps, manifest, _ = sky()
    truth, injected = pilot()
    for stamp, identifier, truth_of in key[["stamp", "id", "truth"]].itertuples(index=False):
        if truth_of == "real":
            pixels = stamps[manifest.index[manifest["lens_id"] == identifier][0]]
        else:
            pixels = injected[truth.index[truth["injection_id"] == identifier][0]]
        expected = np.flip(lupton_rgb(pixels[None]), axis=1)[0].repeat(3, axis=0).repeat(3, axis=1)
        np.testing.assert_array_equal(np.asarray(pictures[int(stamp[-3:]) - 1]), expected)


def _chunks(png: bytes) -> set[bytes]:
    """Return the names of a PNG's chunks: none that could hold a text or a date."""
    names, place = set(), 8
    while place < len(png):
        names.add(png[place + 4 : place + 8])
        place += 12 + int.from_bytes(png[place : place + 4], "big")
    return names


def test_anchors_of_another_colour_fail_the_colour_by_name(campaign, lake, anchors):
    redder = anchors.table.assign(arc_r_minus_z=anchors.table["arc_r_minus_z"] + 0.6)
    found = verdicts(reported(campaign, lake, redder))
    assert {name for name, verdict in found.items() if verdict == "FAIL"} == {"arc_r_minus_z"}


def gate(campaign, lake, table, **side) -> Product:
    store(lake, "realism_report", table, tables=side)
    store(lake, "brightness_calibration", CALIBRATION)
    return run_asset(assets.realism_gate, campaign, lake=lake)


def test_the_gate_says_go_on_what_passed_and_prints_what_it_rests_on(campaign, lake, anchors, report):
    store(lake, "anchor_observables", anchors.table)
    product = gate(campaign, lake, report.table)
    verdict = json.loads(product.files["verdict.json"])
    assert verdict["decision"] == product.summary["decision"] == "GO"
    assert "fitted at -0.30 mag" in verdict["statement"]
    assert "No blinded panel was asked for" in verdict["statement"]
    assert "settings/realism" in verdict["inputs"]
    assert product.table["gates"].all()


def test_the_gate_says_what_magnitudes_were_fitted_to(campaign, lake, anchors, report):
    store(lake, "anchor_observables", anchors.table)
    store(lake, "realism_report", report.table)
    store(lake, "brightness_calibration", CALIBRATION.assign(mode="arc_snr_legacy"))
    verdict = json.loads(run_asset(assets.realism_gate, campaign, lake=lake).files["verdict.json"])
    assert "fitted to the legacy targets of arc S/N at -0.30 mag" in verdict["statement"]


@pytest.mark.parametrize(
    "change,decision",
    [
        (row("arc_snr", "FAIL", value=3.0, statistic="ratio", requirement="between 0.5 and 2"), "NO-GO"),
        (row("anchors", "NOT-EVALUATED", n_anchors=12, requirement="at least 30"), "NOT-EVALUATED"),
    ],
)
def test_the_gate_raises_with_the_verdict_in_its_product(campaign, lake, report, change, decision):
    with pytest.raises(NoGo, match=decision) as refusal:
        gate(campaign, lake, pd.concat([report.table, as_table([change])], ignore_index=True))
    assert json.loads(refusal.value.product.files["verdict.json"])["decision"] == decision
    assert str(change["observable"]) in str(refusal.value)


def test_a_campaign_that_requires_graders_waits_for_them_and_scores_their_form(lake, report, tmp_path):
    key = panel_key(report)
    waiting = realism_campaign({"panel.required": True})
    with pytest.raises(NoGo, match="NOT-EVALUATED.*panel"):
        gate(waiting, lake, report.table, panel_key=key)

    def graded(answers: pd.Series, digest: str = "") -> Product:
        path = tmp_path / "form.csv"
        pd.DataFrame({"grader": "a", "stamp": key["stamp"], "answer": answers}).to_csv(path, index=False)
        stated = digest or hashlib.sha256(path.read_bytes()).hexdigest()
        edits = {"panel.required": True, "panel.answers_csv": "form.csv", "panel.answers_sha256": stated}
        return gate(replace(realism_campaign(edits), folder=tmp_path), lake, report.table, panel_key=key)

    guessed = pd.Series(np.where(np.arange(len(key)) % 2 == 0, "real", "injected"))
    assert graded(guessed).summary["decision"] == "GO"
    with pytest.raises(NoGo, match=r"panel \(all\): share of stamps the graders told right = 1"):
        graded(key["truth"])
    with pytest.raises(NoGo, match="49 of 50 stamps were graded"):
        graded(guessed.where(guessed.index > 0))
    with pytest.raises(PanelError, match="answers_sha256"):
        graded(guessed, "0" * 64)
