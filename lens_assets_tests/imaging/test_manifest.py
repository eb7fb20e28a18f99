from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_assets.imaging import manifest
from lens_assets.imaging.manifest_schema import PUBLISHED, manifest_schema, to_manifest
from lens_assets_tests.imaging.settings import features_settings
from lens_assets_tests.imaging.tables import cutouts_table, features_table, no_systems, sample_table

PUBLISHED_ORDER = [
    "cutout_path", "filename", "galaxy_id", "label", "cutout_type", "ra", "dec", "size", "pixel_scale", "timestamp",
    "pipeline_version", "cutout_url", "layer", "bands_requested", "tier", "weight", "nobs_z", "match_type",
    "brickname", "nan_count_g", "nan_count_r", "nan_count_z", "nan_frac", "central_nan_frac", "has_g", "has_r",
    "has_z", "core_brightness_r", "core_max_r", "annulus_brightness_r", "annulus_std_r", "outer_brightness_r",
    "radial_gradient_r", "mad_r", "std_r", "median_r", "mean_r", "percentile_1_r", "percentile_99_r", "clip_frac_r",
    "quality_ok", "split", "sample_weight", "pool", "confuser_category", "nobs_z_bin", "type", "type_bin",
    "healpix_128", "psfsize_r", "psfdepth_r", "galdepth_r", "ebv",
]  # fmt: skip
STRINGS = {
    "cutout_path", "filename", "galaxy_id", "cutout_type", "timestamp", "pipeline_version", "cutout_url", "layer",
    "bands_requested", "tier", "match_type", "brickname", "split", "pool", "confuser_category", "nobs_z_bin", "type",
    "type_bin",
}  # fmt: skip
INTEGERS = {"label", "size", "nobs_z", "nan_count_g", "nan_count_r", "nan_count_z"}
BOOLEANS = {"has_g", "has_r", "has_z", "quality_ok"}


def build(sample, cutouts=None, features=None, systems=None, **groups):
    return manifest.assemble(
        sample,
        cutouts_table(sample) if cutouts is None else cutouts,
        features_table(sample) if features is None else features,
        no_systems() if systems is None else systems,
        features_settings(**groups),
    )


def arrow(training: manifest.TrainingSet) -> pa.Table:
    rows = manifest.published_columns(training.rows, 101, 0.262, "ls-dr10-south", "digest")
    return to_manifest(rows, manifest.design_names(rows.columns))


@pytest.mark.parametrize(("position", "name"), list(enumerate(PUBLISHED_ORDER)))
def test_each_published_field_has_its_place_and_type(position, name):
    field = manifest_schema(["baseline"]).field(position)
    kinds = [(STRINGS, pa.string()), (INTEGERS, pa.int64()), (BOOLEANS, pa.bool_())]
    kind = next((kind for names, kind in kinds if name in names), pa.float64())
    nullable = name not in {"cutout_path", "label", "split", "sample_weight", "tier"}
    assert (field.name, field.type, field.nullable) == (name, kind, nullable)


def test_a_stored_manifest_keeps_names_types_and_nullability(tmp_path):
    table = arrow(build(sample_table(designs=("baseline", "deployment"))))
    pq.write_table(table, tmp_path / "manifest.parquet")
    stored = pq.read_schema(tmp_path / "manifest.parquet")
    assert stored.equals(manifest_schema(["baseline", "deployment"]))
    assert set(table["settings_hash"].to_pylist()) == {"digest"}


@pytest.mark.parametrize("column", ["label", "split", "sample_weight", "tier", "cutout_path"])
def test_a_missing_required_value_is_refused(column):
    training = build(sample_table())
    rows = training.rows.assign(**{column: training.rows[column].astype(object).where(training.rows.index != 2, None)})
    rows = manifest.published_columns(rows, 101, 0.262, "ls-dr10-south", "digest").assign(**{column: rows[column]})
    with pytest.raises(ValueError, match=f"1 rows have no {column}"):
        to_manifest(rows, manifest.design_names(rows.columns))


def test_a_manifest_has_exactly_its_schema_and_no_null_where_none_may_be():
    table = arrow(build(sample_table(designs=("baseline", "deployment"))))
    assert table.schema == manifest_schema(["baseline", "deployment"])
    assert len(PUBLISHED) == len(PUBLISHED_ORDER) == 53
    for name in ("cutout_path", "label", "split", "sample_weight", "healpix_128", "galaxy_id"):
        assert table[name].null_count == 0
    assert table["timestamp"].null_count == table.num_rows
    assert set(table["cutout_type"].to_pylist()) == {"positive", "negative"}
    assert table["galaxy_id"].to_pylist() == sorted(table["galaxy_id"].to_pylist())


def test_a_missing_cell_is_refused_before_it_becomes_a_nan():
    training = build(sample_table())
    training.rows.loc[3, "healpix_128"] = np.nan
    with pytest.raises(ValueError, match="1 rows have no healpix_128"):
        arrow(training)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_sampled_galaxy_is_in_the_manifest_or_excluded_once(data):
    sample = sample_table(60, seed=data.draw(st.integers(0, 5)), designs=("baseline", "deployment"))
    cutouts, features = cutouts_table(sample), features_table(sample)
    picks = st.lists(st.integers(0, 59), max_size=6)
    lost, poor = data.draw(picks), data.draw(picks)
    cutouts.loc[cutouts.index[lost], ["status", "cutout_path"]] = ["corrupt_file", None]
    features.loc[poor, ["quality_ok", "quality_reason"]] = [False, "missing_r"]
    features = features[~features["galaxy_id"].isin(cutouts.loc[cutouts["status"] != "ok", "galaxy_id"])]
    sample.loc[sample["galaxy_id"].isin(sample["galaxy_id"].iloc[data.draw(picks)]), "evaluation_only"] = True
    training = build(sample, cutouts, features, manifest.evaluation_only_systems(sample, lenses(), spectroscopic()))
    ids = [*training.rows["galaxy_id"], *training.excluded["galaxy_id"]]
    assert sorted(ids) == sorted(sample["galaxy_id"].unique())
    assert (training.excluded["reason"] != "").all()
    assert training.rows["cutout_path"].notna().all() and training.rows["quality_ok"].all()


def lenses(ra=(), dec=(), role=(), duplicate_of=None) -> pd.DataFrame:
    table = pd.DataFrame({"ra": np.array(ra, float), "dec": np.array(dec, float), "role": np.array(role, object)})
    return table.assign(
        lens_id=[f"list:{number}" for number in range(len(table))],
        duplicate_of=np.full(len(table), None) if duplicate_of is None else np.array(duplicate_of, object),
    )


def spectroscopic(ra=(), dec=(), use=()) -> pd.DataFrame:
    return pd.DataFrame({"ra": np.array(ra, float), "dec": np.array(dec, float), "use": np.array(use, object)})


def test_reasons_name_what_happened():
    sample = sample_table()
    cutouts, features = cutouts_table(sample), features_table(sample)
    cutouts.loc[0, ["status", "cutout_path"]] = ["corrupt_file", None]
    features.loc[1, ["quality_ok", "quality_reason"]] = [False, "missing_core_r"]
    sample.loc[3, "evaluation_only"] = True  # a training cell
    sample.loc[4, "evaluation_only"] = True  # a validation cell: it stays
    training = build(sample, cutouts, features, manifest.evaluation_only_systems(sample, lenses(), spectroscopic()))
    reasons = training.excluded.set_index("galaxy_id")["reason"]
    ids = sample["galaxy_id"]
    assert reasons[ids[0]] == "no_stamp:corrupt_file" and reasons[ids[1]] == "quality:missing_core_r"
    assert reasons[ids[3]] == "evaluation_only" and ids[4] in set(training.rows["galaxy_id"])


def test_a_family_whose_arcs_do_not_show_leaves_training_but_not_the_test():
    sample = sample_table(90)
    features = features_table(sample)
    slacs = sample["family"] == "SLACS"
    shown = sample.index[slacs & (sample["split"] == "train")][0]
    features.loc[slacs.to_numpy() & (sample.index != shown), "arc_visibility"] = 0.5
    training = build(sample, features=features)
    gone = training.excluded[training.excluded["reason"] == "low_visibility_family"]
    assert set(gone["family"]) == {"SLACS"} and set(gone["split"]) == {"train"}
    left = training.rows[training.rows["family"] == "SLACS"].set_index("galaxy_id")
    assert left.index[left["split"] == "train"].tolist() == [sample.loc[shown, "galaxy_id"]], "its stamp shows an arc"
    assert (left["stress_test"] == ~left["visible"]).all() and left["stress_test"].sum() == len(left) - 1
    assert not training.rows.loc[training.rows["family"] != "SLACS", "stress_test"].any()
    judged = training.families.set_index("family")
    assert judged.loc["SLACS", "low_visibility"] and not judged.loc["DESI imaging", "low_visibility"]
    lenient = build(sample, features=features, visibility={"family_min_members": 1000})
    assert not (lenient.excluded["reason"] == "low_visibility_family").any()


def test_a_declared_family_trains_stamp_by_stamp_whatever_its_size():
    sample = sample_table(18)
    features = features_table(sample)
    slacs = (sample["family"] == "SLACS").to_numpy()
    assert slacs.sum() == 3, "too few to be judged by their measurements"
    features.loc[slacs, "arc_visibility"] = 0.5
    training = manifest.assemble(
        sample, cutouts_table(sample), features, no_systems(), features_settings(), low_visibility={"SLACS"}
    )
    gone = training.excluded[training.excluded["reason"] == "low_visibility_family"]
    assert set(gone["galaxy_id"]) == set(sample.loc[slacs & (sample["split"] == "train"), "galaxy_id"]) != set()
    assert training.families.set_index("family").loc["SLACS", ["declared", "judged"]].tolist() == [True, False]
    features.loc[slacs, "arc_visibility"] = 20.0
    kept = manifest.assemble(
        sample, cutouts_table(sample), features, no_systems(), features_settings(), low_visibility={"SLACS"}
    )
    assert len(kept.excluded) == 0 and not kept.rows["stress_test"].any()


def test_of_two_stamps_too_close_the_less_protected_goes():
    sample = sample_table()
    step = 20.0 / 3600.0
    for near, to in ((0, 2), (1, 5), (6, 4)):  # train by test, val by test, train by val
        sample.loc[near, ["ra", "dec"]] = [sample.loc[to, "ra"] + step, sample.loc[to, "dec"]]
    training = build(sample)
    gone = training.excluded[training.excluded["reason"] == "split_buffer"]
    assert set(gone["galaxy_id"]) == set(sample.loc[[0, 1, 6], "galaxy_id"])
    assert len(build(sample, split_proof={"buffer_arcsec": 15.0}).excluded) == 0


def test_training_stamps_near_evaluation_only_systems_go_and_others_stay():
    sample = sample_table()
    listed = spectroscopic(sample.loc[[0, 1], "ra"], sample.loc[[0, 1], "dec"], ["evaluation", "evaluation"])
    training = build(sample, systems=manifest.evaluation_only_systems(sample, lenses(), listed))
    gone = training.excluded[training.excluded["reason"] == "near_evaluation_only"]
    assert gone["galaxy_id"].tolist() == [sample.loc[0, "galaxy_id"]]
    cataloged = lenses(sample.loc[[3], "ra"], sample.loc[[3], "dec"], ["evaluation_only"])
    systems = manifest.evaluation_only_systems(sample, cataloged, spectroscopic())
    assert build(sample, systems=systems).excluded["galaxy_id"].tolist() == [sample.loc[3, "galaxy_id"]]
    listed["use"] = "training"
    assert len(build(sample, systems=manifest.evaluation_only_systems(sample, lenses(), listed)).excluded) == 0


def test_an_evaluation_entry_that_duplicates_a_positive_does_not_hold_it():
    sample = sample_table()
    ra, dec = sample.loc[[3, 3, 0, 0], "ra"], sample.loc[[3, 3, 0, 0], "dec"]
    roles = ["positive", "evaluation_only", "evaluation_only", "evaluation_only"]
    cataloged = lenses(ra, dec, roles, [None, "list:0", None, "list:2"])  # of a positive, of an evaluation entry
    systems = manifest.evaluation_only_systems(sample, cataloged, spectroscopic())
    assert systems["ra"].tolist() == [sample.loc[0, "ra"]] * 2
    assert build(sample, systems=systems).excluded["galaxy_id"].tolist() == [sample.loc[0, "galaxy_id"]]


def test_weights_come_from_the_primary_design_and_every_design_keeps_its_own():
    sample = sample_table(designs=("baseline", "deployment"))
    other = sample["design"] == "deployment"
    sample.loc[other, "sampling_weight"] = 7.0
    sample = sample[~(other & sample["galaxy_id"].eq(sample["galaxy_id"].iloc[0]))]
    rows = build(sample).rows.set_index("galaxy_id")
    first = sample["galaxy_id"].iloc[0]
    assert rows["sampling_weight"].isin([1.0, 40.0]).all()
    assert not rows.loc[first, "in_deployment"] and np.isnan(rows.loc[first, "sampling_weight_deployment"])
    assert (rows.drop(first)["sampling_weight_deployment"] == 7.0).all()


def test_a_galaxy_that_is_a_lens_in_one_design_and_not_in_another_is_refused():
    sample = sample_table(designs=("baseline", "deployment"))
    sample.loc[0, "label"] = 0
    with pytest.raises(ValueError, match="2 values of label"):
        build(sample)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda sample: sample.iloc[:0], "no rows; expected some"),
        (lambda sample: pd.concat([sample, sample.iloc[3:4]]), "stands twice in design baseline"),
        (lambda sample: sample.assign(ra=sample["ra"].where(sample.index != 4)), "lies at ra nan.*1 such rows"),
        (lambda sample: sample.assign(dec=sample["dec"].where(sample.index != 4, 90.5)), "dec 90.5.*from -90 to 90"),
        (lambda sample: sample.assign(ra=-1.0), "lies at ra -1.0.*60 such rows"),
    ],
)
def test_a_sample_that_cannot_be_a_manifest_is_refused(spoil, message):
    whole = sample_table()
    with pytest.raises(ValueError, match=message):
        build(spoil(whole), cutouts_table(whole), features_table(whole))


def test_the_order_of_rows_does_not_matter():
    sample = sample_table()
    shuffled = sample.sample(frac=1.0, random_state=3)
    cutouts, features = cutouts_table(sample), features_table(sample)
    assert arrow(build(sample, cutouts, features)).equals(arrow(build(shuffled, cutouts, features)))
