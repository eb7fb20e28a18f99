"""Each asset of the cutouts group on hand-made inputs: one input changes, and its numbers move as they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lens_assets.assets import cutouts as assets
from lens_assets.campaign.campaign import load_campaign
from lens_assets.imaging.manifest_schema import manifest_schema
from lens_assets.imaging.stamps import read_stamps, write_stamps
from lens_assets.lake.lake import Lake
from lens_assets_tests.imaging.bricks import wanted_positions, write_bricks
from lens_assets_tests.imaging.scenes import arc, host, noise
from lens_assets_tests.imaging.tables import sample_table
from lens_assets_tests.support import run_asset, store

DESIGNS = ("baseline", "deployment")


@pytest.fixture(scope="module")
def campaign():
    return load_campaign("demo")


@pytest.fixture
def lake(tmp_path, campaign) -> Lake:
    return Lake(str(tmp_path / "lake"), campaign.name)


@pytest.fixture(scope="module")
def sample(campaign) -> pd.DataFrame:
    """Return a sample whose partitions are the first ones of the campaign."""
    frame = sample_table(60, designs=DESIGNS)
    names = dict(zip(["hp04-001", "hp04-002"], campaign.survey.sky_partitions, strict=False))
    return frame.assign(sky_partition=frame["sky_partition"].map(names))


def put_stamps(lake: Lake, campaign, sample: pd.DataFrame, arcs: float | None = 21.5, hole: str = "") -> None:
    """Store cutouts of every partition: hosts, with an arc of magnitude `arcs` on the positives; one with a hole."""
    for key in campaign.survey.sky_partitions:
        objects = sample[sample["sky_partition"] == key].drop_duplicates("galaxy_id").sort_values("galaxy_id")
        ids = objects["galaxy_id"].tolist()
        stamps = noise(len(ids), seed=5) + host() if ids else np.empty((0, 3, 101, 101))
        if arcs is not None:
            stamps[objects["label"].to_numpy() == 1] += arc(arcs)
        if hole in ids:
            stamps[ids.index(hole), 1, 40:60, 40:60] = 0.0
        path = lake.scratch() / "stamps.arrow"
        write_stamps(path, ids, stamps)
        index = (
            objects[["galaxy_id", "ra", "dec", "brickname"]]
            .assign(
                cutout_path=pd.Series([f"{key}#{row}" for row in range(len(ids))], objects.index, dtype="str"),
                status="ok",
            )
            .astype({"status": "str"})
        )
        store(lake, "cutouts", index, key, files={"stamps.arrow": path})


def put_features(lake: Lake, campaign) -> None:
    for key in campaign.survey.sky_partitions:
        product = run_asset(assets.cutout_features, campaign, partition=key, lake=lake)
        store(lake, "cutout_features", product.table, key)


def manifest_inputs(sample: pd.DataFrame) -> dict[str, pd.DataFrame]:
    empty = {"ra": pd.Series(dtype=float), "dec": pd.Series(dtype=float)}
    return {
        "stratified_sample": sample,
        "lens_catalog": pd.DataFrame(
            {**empty, **{name: pd.Series(dtype="str") for name in ("role", "lens_id", "duplicate_of")}}
        ),
        "spectroscopic_catalog": pd.DataFrame({**empty, "use": pd.Series(dtype="str")}),
    }


def survey_files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_cutouts_follow_the_sample_and_a_damaged_file_costs_only_its_brick(campaign, lake, tmp_path):
    key = campaign.survey.sky_partitions[0]
    sample = pd.concat([wanted_positions().assign(design=name, label=1, sky_partition=key) for name in DESIGNS])
    files = survey_files(Path(write_bricks(tmp_path).root))
    store(lake, "simulated_survey", None, files=files)
    product = run_asset(assets.cutouts, campaign, {"stratified_sample": sample}, partition=key, lake=lake)
    table = product.table.set_index("galaxy_id")
    assert len(table) == sample["galaxy_id"].nunique() and product.summary["cut"] == 4
    assert read_stamps(product.files["stamps.arrow"]).shape == (4, 3, 101, 101)
    assert table.loc["0100p010_2", "status"] == "outside_image"

    elsewhere = campaign.survey.sky_partitions[1]
    moved = sample.assign(sky_partition=np.where(sample["galaxy_id"] == "0110p010_0", elsewhere, key))
    product = run_asset(assets.cutouts, campaign, {"stratified_sample": moved}, partition=elsewhere, lake=lake)
    assert product.table["cutout_path"].tolist() == [f"{elsewhere}#0"]

    name = next(name for name in files if "0100p010-image-r" in name)
    store(lake, "simulated_survey", None, files={**files, name: files[name][:3000]})
    product = run_asset(assets.cutouts, campaign, {"stratified_sample": sample}, partition=key, lake=lake)
    assert product.summary["cut"] == 2 and product.summary["files_quarantined"] == 1
    assert "image-r" in product.tables["quarantined"].loc[0, "detail"]


def test_features_see_the_arc_and_the_hole(campaign, lake, sample):
    key = campaign.survey.sky_partitions[0]
    hole = sample[sample["sky_partition"] == key]["galaxy_id"].iloc[0]
    put_stamps(lake, campaign, sample, hole=hole)
    table = run_asset(assets.cutout_features, campaign, partition=key, lake=lake).table
    labels = sample.drop_duplicates("galaxy_id").set_index("galaxy_id")["label"]
    visibility = table.set_index("galaxy_id")["arc_visibility"].drop(hole)
    visible = visibility > campaign.features.visibility.visible_snr
    assert visible[labels[visible.index] == 1].all() and visible[labels[visible.index] == 0].mean() < 0.2
    bad = table[~table["quality_ok"]]
    assert bad["galaxy_id"].tolist() == [hole] and bad["quality_reason"].tolist() == ["missing_core_r"]
    put_stamps(lake, campaign, sample, arcs=None)
    without = run_asset(assets.cutout_features, campaign, partition=key, lake=lake)
    assert without.summary["median_arc_visibility"] < visibility.median() or without.summary["quality_ok"] == len(table)


def test_an_empty_partition_gives_empty_features_with_all_columns(campaign, lake, sample):
    put_stamps(lake, campaign, sample)
    full = run_asset(assets.cutout_features, campaign, partition=campaign.survey.sky_partitions[0], lake=lake)
    empty = run_asset(assets.cutout_features, campaign, partition=campaign.survey.sky_partitions[-1], lake=lake)
    assert len(empty.table) == 0 and list(empty.table.columns) == list(full.table.columns)


def test_manifest_proof_and_audit_follow_their_inputs(campaign, lake, sample):
    hole = sample["galaxy_id"].iloc[0]
    put_stamps(lake, campaign, sample, hole=hole)
    put_features(lake, campaign)
    product = run_asset(assets.training_manifest, campaign, manifest_inputs(sample), lake=lake)
    assert product.table.schema == manifest_schema(DESIGNS)
    assert product.table.num_rows + len(product.tables["excluded"]) == sample["galaxy_id"].nunique()
    excluded = product.tables["excluded"].set_index("galaxy_id")["reason"]
    assert excluded[hole] == "quality:missing_core_r"
    store(lake, "training_manifest", product.table, tables=product.tables)

    proof = run_asset(assets.split_proof, campaign, lake=lake)
    assert proof.summary["separation_passed"]
    assert proof.summary["removed_by_the_buffer"] == product.summary["removed_by_the_buffer"]
    broken = product.table.to_pandas()
    test_cell = broken.loc[broken["split"] == "test", "healpix_128"].iloc[0]
    broken.loc[broken.index[broken["split"] == "train"][0], "healpix_128"] = test_cell
    store(lake, "training_manifest", broken, tables=product.tables)
    proof = run_asset(assets.split_proof, campaign, lake=lake)
    failed = proof.table[~proof.table["passed"] & (proof.table["kind"] == "separation")]
    assert (
        set(failed["check"]) == {"disjoint_healpix_128", "one_region_id_per_healpix_128"}
        and not proof.summary["separation_passed"]
    )

    store(lake, "training_manifest", product.table)
    audit = run_asset(assets.shortcut_audit, campaign, lake=lake)
    overall = audit.table[audit.table["part"] == "all"].set_index("feature")
    assert overall.loc["arc_visibility", "flag"] == "expected"
    rigged = product.table.to_pandas()
    rigged["psfsize_r"] = np.where(rigged["label"] == 1, 1.1, 1.5) + 0.01 * np.arange(len(rigged)) / len(rigged)
    store(lake, "training_manifest", rigged)
    audit = run_asset(assets.shortcut_audit, campaign, lake=lake)
    overall = audit.table[audit.table["part"] == "all"].set_index("feature")
    assert overall.loc["psfsize_r", "flag"] == "red" and overall.loc["psfsize_r", "sign"] == -1
    assert audit.summary["red"] >= 1 and audit.summary["strongest_unexpected_auc"] == 1.0


def test_a_moved_evaluation_system_takes_its_neighbours_out_of_training(campaign, lake, sample):
    put_stamps(lake, campaign, sample)
    put_features(lake, campaign)
    inputs = manifest_inputs(sample)
    train = sample[sample["split"] == "train"].iloc[0]
    inputs["spectroscopic_catalog"] = pd.DataFrame(
        {"ra": [train["ra"]], "dec": [train["dec"] + 10 / 3600], "use": ["evaluation"]}
    )
    excluded = run_asset(assets.training_manifest, campaign, inputs, lake=lake).tables["excluded"]
    assert excluded["galaxy_id"].tolist() == [train["galaxy_id"]]
    assert excluded["reason"].tolist() == ["near_evaluation_only"]
