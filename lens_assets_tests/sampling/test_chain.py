"""The candidates of a partition, made from few rows, are the rows of its negative pool that a design may draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lens_assets.sampling.chain import (
    Surroundings,
    candidate_neighbourhood,
    has_repeated_ids,
    reachable_sources,
    read_positions,
    write_candidates,
)
from lens_assets.sampling.models import load_project
from lens_assets.sampling.neighbourhood import source_neighbourhood
from lens_assets.sampling.pool import build_negative_pool
from lens_assets.sampling.sql import ModelTestError, connect
from lens_assets_tests.sampling import synthetic
from lens_assets_tests.sampling.test_pool import changed

RULES = {
    "demo": synthetic.negatives_settings(),
    "extended": changed(extensions={"ebv_max": 0.2, "psfsize_r_max_arcsec": 1.8, "strict_mask_bits": (10,)}),
    "other": changed(filters={"mag_z_max": 19.0, "nobs_min": 5, "dec_min_deg": -2.0, "types": ("SER",)}),
    "plain": changed(extensions={"n1b_types": (), "n2_extra_types": (), "confuser_classes": False}),
}


def partition(folder: Path, sources: pd.DataFrame) -> str:
    path = folder / "hp04-077.parquet"
    pq.write_table(pa.Table.from_pandas(sources, preserve_index=False), path)
    return str(path)


def surroundings(sources: pd.DataFrame) -> Surroundings:
    """Lenses and contaminants on and beside some of the sources."""
    beside = sources.iloc[::17]
    lenses = pd.DataFrame({"ra": beside["ra"] + 4 / 3600, "dec": beside["dec"]}).reset_index(drop=True)
    curated = pd.DataFrame(
        {
            "contaminant_id": [f"curated-{number}" for number in range(30)],
            "ra": sources["ra"].iloc[5:35].to_numpy(),
            "dec": sources["dec"].iloc[5:35].to_numpy(),
            "galaxy_id": pd.Series([None] * 30, dtype=object),
            "category": "ring",
        }
    )
    return Surroundings(lenses, curated, synthetic.cells_of(sources))


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("doubled", [False, True])
def test_candidates_are_the_drawable_rows_of_the_pool(tmp_path: Path, name: str, doubled: bool) -> None:
    rules, sources = RULES[name], synthetic.sources(1200, 8)
    if doubled:
        fainter = {"mag_z": 25.0, "row_index": sources["row_index"].head(200) - 10_000}
        sources = pd.concat([sources, sources.head(200).assign(**fainter)], ignore_index=True)
    around = surroundings(sources)
    path = partition(tmp_path, sources)
    assert has_repeated_ids(read_positions(path)) == doubled
    found = pq.read_table(write_candidates([path], around, rules, tmp_path, connect(threads=1))).to_pandas()
    neighbourhood = source_neighbourhood(sources, around.lenses, around.contaminants, rules)
    table = pa.Table.from_pandas(sources, preserve_index=False)
    pool = build_negative_pool(table, neighbourhood, around.split_cells, rules).tables["negative_pool"].to_pandas()
    expected = pool[pool["pool"].notna() | pool["pool_without_maskbits"].notna()]
    assert 5 < len(found) == len(expected)
    pd.testing.assert_frame_equal(
        found.sort_values("galaxy_id", ignore_index=True),
        expected.sort_values("galaxy_id", ignore_index=True)[found.columns],
    )


def test_partitions_run_together_give_what_each_gives_alone(tmp_path: Path) -> None:
    rules, sources = synthetic.negatives_settings(), synthetic.sources(1800, 12)
    around, database = surroundings(sources), connect(threads=1)
    copies = sources[1200:1250].assign(row_index=sources["row_index"] + 10_000)
    parts = [sources[:600], sources[600:1200], pd.concat([sources[1200:], copies])]
    paths = []
    for number, part in enumerate(parts):
        (tmp_path / str(number)).mkdir()
        paths.append(str(Path(partition(tmp_path / str(number), part)).rename(tmp_path / f"hp04-{number:03d}.parquet")))
    (tmp_path / "alone").mkdir()
    alone = [file for path in paths for file in write_candidates([path], around, rules, tmp_path / "alone", database)]
    together = write_candidates(paths, around, rules, tmp_path, database)
    assert len(alone) == 3
    assert [Path(path).name for path in together] == [f"negative_candidates-hp04-00{n}.parquet" for n in (2, 0)]
    one, other = (pq.read_table(files).sort_by("galaxy_id").to_pandas() for files in (alone, together))
    pd.testing.assert_frame_equal(one, other)


def test_an_id_in_two_partitions_stops_the_run(tmp_path: Path) -> None:
    sources = synthetic.sources(600, 13)
    path = partition(tmp_path, sources)
    with pytest.raises(ModelTestError, match="galaxy_id"):
        write_candidates(
            [path, path], surroundings(sources), synthetic.negatives_settings(), tmp_path, connect(threads=1)
        )


def test_ids_of_a_partition_stay_in_arrow(tmp_path: Path) -> None:
    sources = synthetic.sources(50, 3)
    positions = read_positions(partition(tmp_path, sources))
    assert positions["galaxy_id"].dtype == pd.ArrowDtype(pa.string())
    assert positions["galaxy_id"].tolist() == sources["galaxy_id"].tolist()


def test_columns_that_no_candidate_is_made_from_are_not_decoded(tmp_path: Path) -> None:
    sources = synthetic.sources(300, 3)
    rows = reachable_sources(partition(tmp_path, sources), synthetic.negatives_settings(), connect(threads=1))
    empty = {name for name in rows.column_names if pa.types.is_null(rows.schema.field(name).type)}
    assert {"fitbits", "mw_transmission_g", "objid"} <= empty
    assert not empty & {"galaxy_id", "in_margin", "maskbits", "fracflux_r", "ellipticity", "flux_r", "nobs_g"}
    assert set(rows.column_names) == set(load_project().sources["sweep_sources"].columns)


def test_ids_repeat_among_own_rows_alone() -> None:
    ids = ["c", "a", "b", "a"]
    frame = pd.DataFrame({"galaxy_id": ids, "in_margin": [False, False, False, True]})
    assert not has_repeated_ids(frame)
    assert has_repeated_ids(frame.assign(in_margin=False))
    assert has_repeated_ids(frame.sort_values("galaxy_id").assign(in_margin=False))
    assert not has_repeated_ids(frame.iloc[:0])


def test_the_neighbourhood_speaks_of_bright_own_sources(tmp_path: Path) -> None:
    sources = synthetic.sources(1200, 9)
    around, rules = surroundings(sources), synthetic.negatives_settings()
    said = candidate_neighbourhood(partition(tmp_path, sources), around, rules)
    spoken_of = sources[sources["galaxy_id"].isin(said["galaxy_id"])]
    assert len(spoken_of) > 10
    assert not spoken_of["in_margin"].any()
    assert (spoken_of["mag_z"] < rules.filters.mag_z_max).all()
    assert np.isfinite(said["exclusion_separation_arcsec"]).any()
