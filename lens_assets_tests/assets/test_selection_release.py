"""The release gate and the release: what opens it, what closes it, and what a colleague then holds."""

import dataclasses
import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from lens_assets.assets import selection_release
from lens_assets.assets.framework import NoGo, Product
from lens_assets.assets.selection_completeness import completeness_table
from lens_assets.assets.selection_product import selection_function_product
from lens_assets.campaign.campaign import Campaign, load_campaign
from lens_assets.campaign.stages.evaluation import ExternalDetectorSettings
from lens_assets.definitions import load_assets
from lens_assets.lake.lake import Lake
from lens_assets.selection.loader import SelectionFunction
from lens_assets_tests.assets.selection_inputs import THRESHOLDS, ArcDetector, fill_injections, small, verdict_bytes
from lens_assets_tests.support import run_asset, store

UNEVEN_SKY = {"kind": "sky_regions", "variant": "sky_regions", "p_value": 1e-4, "verdict": "UNSTABLE"}


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return small(load_campaign("demo"))


@pytest.fixture(scope="module")
def measured(campaign, tmp_path_factory) -> dict[str, Product]:
    """The completeness of every detector, made once."""
    folder = tmp_path_factory.mktemp("measured")
    lake = Lake(str(folder / "lake"), campaign.name)
    fill_injections(lake, campaign, folder)
    names = campaign.evaluation.detectors
    return {name: run_asset(completeness_table, campaign, partition=name, lake=lake) for name in names}


@pytest.fixture
def lake(tmp_path, campaign) -> Lake:
    return Lake(str(tmp_path / "lake"), campaign.name)


@pytest.fixture
def truth(lake, campaign, tmp_path) -> pd.DataFrame:
    return fill_injections(lake, campaign, tmp_path)


@pytest.fixture
def judged(lake, campaign, truth, measured, monkeypatch) -> Lake:
    """A lake with everything the release gate reads, all of it good."""
    battery = pd.DataFrame({"observable": ["arc_snr"], "verdict": ["PASS"], "gates": [True]})
    monkeypatch.setattr(selection_release, "_realism_of_full_run", lambda run: battery)
    for name, product in measured.items():
        supported = product.table.assign(supported=product.table["n"] >= 2)
        store(lake, "completeness_table", supported, name, tables=product.tables)
    stable = pd.DataFrame(
        {"detector": "baseline", "kind": ["prior"], "variant": ["redder"], "p_value": np.nan,
         "shift": [0.01], "shift_lower_95": [0.0],
         "shift_upper_95": [0.02], "maximum_shift": [0.1], "verdict": ["STABLE"]}
    )  # fmt: skip
    closed = pd.DataFrame(
        {"detector": ["baseline"], "threshold": ["fpr_0.05"], "bias": [0.01], "standard_error": [0.03],
         "verdict": ["PASS"], "reason": ["bias +0.010 +- 0.030"]}
    )  # fmt: skip
    store(lake, "sensitivity_report", stable)
    store(lake, "closure_report", closed)
    manifest = pd.DataFrame({"galaxy_id": sorted(set(truth["galaxy_id"])), "split": "test", "label": 0})
    store(lake, "training_manifest", manifest)
    store(lake, "split_proof", pd.DataFrame({"check": ["ids"], "kind": ["separation"], "passed": [True]}))
    top = pd.DataFrame({"maskbits": [0], "zero_fraction": [0.0]})
    store(lake, "false_positive_taxonomy", top, tables={"top_of_list": top})
    store(lake, "realism_gate", None, files={"verdict.json": verdict_bytes("realism_gate", "GO")})
    return lake


def _release(lake: Lake, campaign: Campaign):
    return run_asset(selection_release.release_gate, campaign, lake=lake)


def test_the_release_gate_opens_on_good_evidence(judged, campaign):
    product = _release(judged, campaign)
    assert product.summary["decision"] == "GO"
    assert json.loads(product.files["verdict.json"])["decision"] == "GO"


def test_a_campaign_without_truth_relies_on_the_closure_of_another(judged, campaign, tmp_path, monkeypatch):
    """The file is that of the simulated campaign's release, and is judged by the tolerance of the one that relies."""
    report = judged.table("closure_report").assign(campaign="demo", audited=True, n_lenses=9000)
    path = tmp_path / "closure.parquet"

    def decide(table: pd.DataFrame, bias: float, relied_on: str = "demo") -> str:
        table.to_parquet(path, index=False)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        closure = {"relied_on_campaign": relied_on, "relied_on_report": str(path), "relied_on_sha256": digest}
        settings = campaign.selection_function
        limits = settings.closure.model_copy(update=closure | {"maximum_bias": bias})
        stages = {**campaign.stages, "selection_function": settings.model_copy(update={"closure": limits})}
        try:
            product = _release(judged, dataclasses.replace(campaign, stages=stages))
        except NoGo as refusal:
            product = refusal.product
        assert product.table["condition"].str.startswith("completeness closes in campaign demo").sum() == 1
        return str(product.summary["decision"])

    real = {name: asset for name, asset in load_assets().items() if not asset.simulated_only}
    monkeypatch.setattr("lens_assets.definitions.load_assets", lambda: real)
    assert decide(report, 0.05) == "GO"
    assert decide(report.assign(bias=0.07, standard_error=0.01), 0.05) == "NO-GO"
    assert decide(report.assign(standard_error=0.06), 0.05) == "NOT-EVALUATED"
    assert decide(report.assign(verdict="FAIL"), 0.05) == "NO-GO"
    with pytest.raises(ValueError, match="holds the closure of demo; expected campaign other"):
        decide(report, 0.05, "other")


@pytest.mark.parametrize(
    ("asset", "change", "named"),
    [
        ("closure_report", {"verdict": "FAIL"}, "completeness closes"),
        ("split_proof", {"passed": False}, "splits are disjoint"),
        ("training_manifest", {"split": "train"}, "no host was trained on"),
        ("sensitivity_report", {"verdict": "UNSTABLE"}, "stable under redder"),
        ("sensitivity_report", UNEVEN_SKY, "stable under sky_regions"),
    ],
)
def test_the_release_gate_raises_with_its_verdict_stored(judged, campaign, asset, change, named):
    store(judged, asset, judged.table(asset).assign(**change))
    with pytest.raises(NoGo, match=named) as refusal:
        _release(judged, campaign)
    verdict = json.loads(refusal.value.product.files["verdict.json"])
    assert verdict["decision"] == "NO-GO"
    assert named in verdict["reasons"][0]


def test_the_product_is_a_release_that_loads_and_states_its_verdicts(judged, campaign, tmp_path, capsys):
    from lens_assets.selection.loader import load

    store(judged, "release_gate", None, files={"verdict.json": verdict_bytes("release_gate", "GO")})
    store(judged, "brightness_calibration", pd.DataFrame({"magnitude_shift_mag": [-0.39]}))
    store(judged, "realism_report", None, files={"figures/distributions.png": b"a picture"})
    control = pd.DataFrame(
        {"experiment": ["vanishing_lens"], "n": [200], "completeness": [0.025], "beta_lower_95": [0.01],
         "beta_upper_95": [0.055]}
    )  # fmt: skip
    store(judged, "failure_experiments", control, files={"figures/gallery.png": b"another"})
    shifts = judged.table("sensitivity_report")
    bright = {"variant": "brighter", "shift": 0.21, "verdict": "UNSTABLE"}
    both = [shifts.assign(**bright), shifts.assign(variant="fainter")]
    store(judged, "sensitivity_report", pd.concat(both, ignore_index=True))
    theirs = {"kind": "external", "validation_design": "baseline", "description": "a finder, version 3, by them"}
    stage = campaign.evaluation
    detectors = stage.detectors | {"ensemble": ExternalDetectorSettings.model_validate(theirs)}
    evaluation = stage.model_copy(update={"detectors": detectors})
    asked = dataclasses.replace(campaign, stages={**campaign.stages, "evaluation": evaluation})
    product = run_asset(selection_function_product, asked, lake=judged)
    names = {name.removeprefix("release/") for name in product.files}
    assert names == {
        "grid.parquet", "injections.parquet", "marginals.parquet", "floor.parquet", "merged.parquet",
        "footprint.parquet", "sensitivity.parquet", "closure.parquet", "grid.fits", "release.json",
        "model_card.md", "CITATION.cff", "selection_function.py",
        "figures/completeness_maps.png", "figures/marginals.png", "figures/realism_distributions.png",
        "figures/failure_gallery.png",
    }  # fmt: skip
    for name, content in product.files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
    sf = load(tmp_path / "release")
    assert "release_gate: GO." in capsys.readouterr().out
    assert sf.detectors == ["baseline", "ensemble"]
    cell = sf.grid.loc[sf.grid["supported"] & (sf.grid["threshold"] == "fpr_0.05")].iloc[0]
    answer = sf.completeness(**{axis: cell[axis] for axis in ("theta_e_arcsec", "psf_fwhm_arcsec", "depth_mag")})
    assert float(answer.value) == pytest.approx(cell["posterior_mean"])
    assert len(sf.injections) == 2 * 60
    assert campaign.injection.hosts.population in product.markdown
    assert "theta e goes to 0: 0.025 [0.010, 0.055] from 200 injections" in product.markdown
    assert "accepted with a reason: brighter (baseline): shift +0.210" in product.markdown
    assert "fainter" not in product.markdown
    assert pd.read_parquet(tmp_path / "release" / "sensitivity.parquet")["variant"].tolist() == ["brighter", "fainter"]
    assert sf.metadata["facts"]["detector ensemble"] == "external: a finder, version 3, by them"
    assert "- detector ensemble: external: a finder, version 3, by them" in product.markdown
    members = ", ".join(campaign.evaluation.detectors["baseline"].members)
    assert f"- detector baseline: trained here: {members}" in product.markdown
    assert {"frozen_detector/baseline", "frozen_detector/ensemble"} <= sf.metadata["digests"].keys()
    assert THRESHOLDS["name"].tolist() == sf.thresholds
    assert ArcDetector.name == "arc"


def test_models_are_released_beside_the_counts_and_answer_only_by_name(campaign, lake, truth):
    settings = campaign.selection_function.model_copy(update={"models": ("monotone", "hierarchical")})
    asked = dataclasses.replace(campaign, stages={**campaign.stages, "selection_function": settings})
    product = run_asset(completeness_table, asked, partition="baseline", lake=lake)
    model = product.tables["models"]
    assert model["model"].value_counts().to_dict() == dict.fromkeys(settings.models, len(product.table))
    assert set(model["detector"]) == {"baseline"}
    counts = product.table.assign(supported=product.table["n"] > 0)
    sf = SelectionFunction(counts, models=model.assign(supported=model["n"] > 0))
    query = {"psf_fwhm_arcsec": 1.4, "depth_mag": 24.5, "threshold": "fpr_0.05", "detector": "baseline"}
    theta = np.linspace(0.5, 2.75, 10)
    counted = sf.completeness(theta_e_arcsec=theta, **query).value
    modelled = sf.completeness(theta_e_arcsec=theta, cells="monotone", **query).value
    pooled = sf.completeness(theta_e_arcsec=theta, cells="hierarchical", **query).value
    assert (np.diff(modelled) >= -1e-9).all()
    assert np.abs(pooled - counted).max() > 1e-3
    assert not (np.diff(counted) >= -1e-9).all()
    assert {name: frame for name, frame in product.tables.items() if name != "models"}.keys() == {
        "marginals", "floor", "merged",
    }  # fmt: skip
