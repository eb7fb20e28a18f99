"""Curated contaminants and reviewed labels: real lists, every reason for no source, and every contradiction."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from lens_assets.campaign.stages.catalogs import ContaminantSource, ReviewSource
from lens_assets.catalogs.contaminants import (
    CONTAMINANT_COLUMNS,
    build_contaminant_catalog,
    read_contaminant_list,
    read_entries,
    read_review,
)
from lens_assets.catalogs.reading import CatalogError
from lens_assets_tests.catalogs.settings import catalog_settings
from lens_assets_tests.survey.reference import reference_file

ARCSEC = 1 / 3600
CURATED = {
    "name": "curated", "origin": "file", "path": "x.csv", "sha256": "", "name_column": "name", "ra_column": "ra",
    "dec_column": "dec", "category_column": "category", "category": "", "galaxy_id_column": "", "keep_where": {},
}  # fmt: skip
REVIEW = {
    "name": "review", "origin": "file", "path": "x.csv", "sha256": "", "galaxy_id_column": "galaxy_id", "ra_column": "",
    "dec_column": "", "label_column": "label", "reviewer_column": "reviewer",
}  # fmt: skip
BY_POSITION = {"galaxy_id_column": "", "ra_column": "ra", "dec_column": "dec"}
SOURCES = pd.DataFrame(
    {"galaxy_id": ["10000_1_1", "10000_1_2", "10000_2_1"], "ra": [10.0, 10.0, 20.0], "dec": [5.0, 5.0 + ARCSEC, 5.0]}
)


def curated_list(folder, rows, columns=("name", "ra", "dec", "category"), **changes):
    pd.DataFrame(rows, columns=list(columns)).to_csv(folder / "curated.csv", index=False)
    source = ContaminantSource.model_validate_json(json.dumps(CURATED | changes))
    return read_contaminant_list(source, folder / "curated.csv")


def review(folder, rows, columns=("galaxy_id", "label", "reviewer"), name="review", **changes):
    path = folder / f"{name}.csv"
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, index=False)
    source = ReviewSource.model_validate_json(json.dumps(REVIEW | {"name": name} | changes))
    return read_review(source, path, {"ring", "spiral", "merger"})


def build(curated=(), reviews=(), sources=SOURCES):
    return build_contaminant_catalog(list(curated), list(reviews), sources, 1.5, 60.0)


def test_the_nearest_source_is_taken_and_every_reason_for_none_is_given(tmp_path):
    listed = curated_list(
        tmp_path,
        [
            ("near", 10.0, 5.0 + 0.7 * ARCSEC, "ring"),
            ("far", 20.0, 5.0 + 2.0 * ARCSEC, "spiral"),
            ("elsewhere", 30.0, 5.0, "merger"),
        ],
    )
    table = build([listed]).set_index("name")
    assert table["galaxy_id"].fillna("").to_dict() == {"near": "10000_1_2", "far": "", "elsewhere": ""}
    assert table["unmatched_reason"].fillna("").to_dict() == {
        "near": "", "far": "no_source_in_radius", "elsewhere": "outside_footprint",
    }  # fmt: skip
    assert table.loc["near", "separation_arcsec"] == pytest.approx(0.3, abs=1e-6)
    assert set(table["use"]) == {"contaminant"} and table["reviewer"].isna().all()


def test_an_id_that_a_list_states_is_taken_at_its_word(tmp_path):
    columns = ("name", "ra", "dec", "category", "id")
    listed = curated_list(
        tmp_path,
        [("a", 10.0, 5.0, "ring", "10000_2_1"), ("b", 10.0, 5.0, "ring", "9010_1_1")],
        columns,
        galaxy_id_column="id",
    )
    table = build([listed]).set_index("name")
    assert table["galaxy_id"].fillna("").to_dict() == {"a": "10000_2_1", "b": ""}
    assert table.loc["b", "unmatched_reason"] == "unknown_galaxy_id"
    with pytest.raises(ValueError, match=r"10000_2_1 has contradicting labels: ring .*row 1.*; spiral .*row 2"):
        rows = [("a", 10.0, 5.0, "ring", "10000_2_1"), ("b", 10.0, 5.0, "spiral", "10000_2_1")]
        build([curated_list(tmp_path, rows, columns, galaxy_id_column="id")])


def test_a_reviewed_lens_is_excluded_and_a_review_replaces_a_list(tmp_path):
    listed = curated_list(tmp_path, [("ring", 20.0, 5.0, "ring"), ("spiral", 10.0, 5.0, "spiral")])
    labels = review(tmp_path, [("10000_1_2", "lens", "ada"), ("10000_2_1", "merger", "ada")])
    table = build([listed], [labels]).set_index("contaminant_id")
    assert table.loc["review:1", ["use", "category", "galaxy_id", "reviewer"]].tolist() == [
        "exclude", "lens", "10000_1_2", "ada",
    ]  # fmt: skip
    assert table.loc["review:1", "dec"] == pytest.approx(5.0 + ARCSEC), "the position is the source's"
    assert table.loc["review:2", ["use", "matched"]].tolist() == ["contaminant", True]
    curated = table[table["source_catalog"] == "curated"].set_index("name")
    assert curated["unmatched_reason"].fillna("").to_dict() == {"ring": "superseded_by_review", "spiral": ""}


def test_reviews_by_position_find_their_source(tmp_path):
    columns = ("ra", "dec", "label", "reviewer")
    labels = review(tmp_path, [(20.0, 5.0 + ARCSEC, "lens", "ada"), (50.0, 5.0, "ring", "ada")], columns, **BY_POSITION)
    table = build([], [labels]).set_index("contaminant_id")
    assert table["galaxy_id"].fillna("").tolist() == ["10000_2_1", ""]
    assert table.loc["review:2", "unmatched_reason"] == "outside_footprint"


def test_reviewers_who_agree_are_both_kept_and_who_do_not_are_named(tmp_path):
    one = review(tmp_path, [("10000_1_1", "ring", "ada")], name="one")
    same = review(tmp_path, [("10000_1_1", "ring", "ben")], name="two")
    assert build([], [one, same])["reviewer"].tolist() == ["ada", "ben"]
    other = review(tmp_path, [("10000_2_1", "ring", "ben"), ("10000_1_1", "lens", "ben")], name="three")
    with pytest.raises(ValueError, match=r"10000_1_1 .*ring .*one.csv, row 1.*; lens .*three.csv, row 2.*one label"):
        build([], [one, other])


def test_a_review_of_an_unknown_object_is_named(tmp_path):
    labels = review(tmp_path, [("10000_1_1", "ring", "ada"), ("10000_9_9", "ring", "ada")])
    with pytest.raises(ValueError, match=r"review.csv, row 2: galaxy_id 10000_9_9 is no source of this campaign"):
        build([], [labels])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("10000_1_1", "", "ada"), r"row 1, column label: found ''; expected lens or one of merger, ring, spiral"),
        (("10000_1_1", "A Ring!", "ada"), "column label: found 'A Ring!'"),
        (("10000_1_1", "lenses", "ada"), r"row 1, column label: found 'lenses'; expected lens or one of merger, ring"),
        (("10000_1_1", "not_sure", "ada"), r"found 'not_sure'; .*contaminant_categories in catalogs.yaml"),
        (("10000_1_1", "N1", "ada"), "found 'N1'"),
        (("", "ring", "ada"), "column galaxy_id"),
        (("10000_1_1", "ring", ""), "column reviewer.*expected the name"),
    ],
)
def test_a_review_row_that_says_too_little_is_named(tmp_path, row, message):
    with pytest.raises(CatalogError, match=message):
        review(tmp_path, [row])


def test_a_review_names_objects_in_one_way():
    with pytest.raises(ValueError, match="either galaxy_id_column, or ra_column and dec_column"):
        ReviewSource.model_validate_json(json.dumps(REVIEW | {"ra_column": "ra", "dec_column": "dec"}))
    with pytest.raises(ValueError, match="either galaxy_id_column"):
        ReviewSource.model_validate_json(json.dumps(REVIEW | {"galaxy_id_column": ""}))


def test_rows_that_a_list_keeps_must_exist(tmp_path):
    with pytest.raises(CatalogError, match=r"category: found no row; expected rows that hold \{'category': 'warp'\}"):
        curated_list(tmp_path, [("a", 10.0, 5.0, "ring")], keep_where={"category": "warp"})
    with pytest.raises(CatalogError, match="row 2, column category: found ''; expected a kind"):
        curated_list(tmp_path, [("a", 10.0, 5.0, "ring"), ("b", 10.0, 5.0, "")])


def test_real_artefacts_and_rings_with_positions_and_j_names(tmp_path):
    artefacts = ContaminantSource.model_validate_json(json.dumps(CURATED))
    spikes = read_contaminant_list(artefacts, reference_file("catalogs/artifact_contaminants.csv"))
    rings_source = CURATED | {
        "name": "rings", "name_column": "id_str", "ra_column": "", "dec_column": "", "category_column": "",
        "category": "ring", "keep_where": {"ring": "1"},
    }  # fmt: skip
    rings = read_contaminant_list(
        ContaminantSource.model_validate_json(json.dumps(rings_source)), reference_file("catalogs/rings_gz_decals.csv")
    )
    # A survey that has a source 0.4 arcsec from every second ring and from every artefact that the release covers.
    covered = pd.read_csv(reference_file("catalogs/artifact_contaminants.csv"))["in_dr10"].to_numpy(bool)
    seen = pd.concat([rings.iloc[::2], spikes[covered]], ignore_index=True)
    sources = pd.DataFrame(
        {
            "galaxy_id": [f"10000_5_{number}" for number in range(len(seen))],
            "ra": seen["ra"],
            "dec": seen["dec"] + 0.4 * ARCSEC,
        }
    )
    table = build([spikes, rings], sources=sources)
    assert list(table.columns) == list(CONTAMINANT_COLUMNS)
    assert table["contaminant_id"].is_unique and len(table) == 77 + len(rings)
    counts = table.groupby("source_catalog")["matched"].sum().to_dict()
    assert counts == {"curated": int(covered.sum()), "rings": (len(rings) + 1) // 2}
    matched = table[table["matched"]]
    np.testing.assert_allclose(matched["separation_arcsec"], 0.4, atol=1e-5)
    assert set(table["category"]) == {"ring", "spike", "ghost", "satellite"}


def test_no_lists_make_an_empty_table():
    table = build()
    assert (list(table.columns), len(table)) == (list(CONTAMINANT_COLUMNS), 0)


def test_a_list_states_its_categories_in_one_way():
    with pytest.raises(ValueError, match="exactly one of category_column and category"):
        ContaminantSource.model_validate_json(json.dumps(CURATED | {"category": "ring"}))


LENS_WORDS = ["lens", "Lenses", "lens_candidate", "lensed quasar", "strong-lensing"]


@pytest.mark.parametrize("category", [*LENS_WORDS, "N1", "n1b", "N2", "none", "campaign", "ring_proxy"])
def test_a_curated_list_names_kinds_of_contaminants_only(tmp_path, category):
    with pytest.raises(
        CatalogError, match=rf"curated.csv, row 2, column category: found '{category}'; expected a kind"
    ):
        curated_list(tmp_path, [("a", 10.0, 5.0, "ring"), ("b", 10.0, 5.0, category)])
    with pytest.raises(ValueError, match=f"contaminants curated: category is '{category}'; expected a kind"):
        ContaminantSource.model_validate_json(json.dumps(CURATED | {"category_column": "", "category": category}))


def test_a_review_may_name_what_the_campaign_declares_and_what_its_lists_hold(tmp_path):
    pd.DataFrame({"name": ["a"], "ra": [10.0], "dec": [5.0], "category": ["non_lens"]}).to_csv(
        tmp_path / "x.csv", index=False
    )
    rows = {"galaxy_id": ["1_1_1", "1_1_2", "1_1_3"], "label": ["non_lens", "ring", "lens"], "reviewer": "ada"}
    pd.DataFrame(rows).to_csv(tmp_path / "y.csv", index=False)
    lists = {"contaminants": [CURATED], "reviews": [REVIEW | {"path": "y.csv"}]}
    read = read_entries(catalog_settings(**lists), lambda _, path: tmp_path / path)
    assert read["category"].tolist() == ["non_lens", "non_lens", "ring", "lens"]
    with pytest.raises(CatalogError, match=r"y.csv, row 2, .*found 'ring'; expected lens or one of non_lens, warp "):
        read_entries(catalog_settings(**lists, contaminant_categories=["warp"]), lambda _, path: tmp_path / path)
    with pytest.raises(ValueError, match="contaminant_categories holds 'lens'; expected a kind"):
        catalog_settings(contaminant_categories=["ring", "lens"])
