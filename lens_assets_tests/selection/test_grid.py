"""Cells are half-open, hosts outside belong nowhere, and different grids do not compare."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lens_assets.campaign.stages.selection_function import AxisSettings, GridSettings
from lens_assets.selection.grid import (
    OUTSIDE,
    GridMismatchError,
    bin_index,
    cells_of,
    condition_centres,
    condition_keys,
    grid_frame,
    require_same_grid,
)
from lens_assets_tests.selection.synthetic import settings_of
from lens_assets_tests.survey.reference import reference_file


def cell_of(grid: GridSettings, psf_fwhm_arcsec: float, depth_mag: float) -> str | None:
    return cells_of(grid, [psf_fwhm_arcsec], [depth_mag])[0]


def outside_share(grid: GridSettings, psf_fwhm_arcsec, depth_mag, weights) -> float:
    return np.average([key is None for key in cells_of(grid, psf_fwhm_arcsec, depth_mag)], weights=weights)


def _grid(campaign: str, name: str) -> GridSettings:
    return next(grid for grid in settings_of(campaign).grids if grid.name == name)


def test_the_parity_grid_has_the_published_cells():
    grid = _grid("dr10", "parity")
    assert grid.theta_e_arcsec.centres == tuple(np.round(np.arange(0.5, 3.01, 0.25), 6))
    assert grid.psf_fwhm_arcsec.centres == (0.9, 1.05, 1.2, 1.35, 1.5, 1.65, 1.8)
    assert grid.depth_mag.centres == (22.5, 23.0, 23.5, 24.0, 24.5)
    assert len(grid_frame(grid)) == 385
    assert grid.injections_per_cell == 200


def test_the_default_grid_of_dr10_spans_the_conditions_of_the_survey():
    grid = settings_of("dr10").grid
    assert grid.name == "footprint"
    percentiles_1_and_99 = [(1.03, 23.58), (2.00, 25.99), (1.03, 25.99), (2.00, 23.58)]
    assert all(cell_of(grid, psf, depth) is not None for psf, depth in percentiles_1_and_99)


def test_keys_are_unique_and_name_the_centres():
    for campaign in ("demo", "dr10"):
        grid = settings_of(campaign).grid
        keys = condition_keys(grid)
        assert len(set(keys)) == len(keys) == grid.psf_fwhm_arcsec.count * grid.depth_mag.count
        for key, (psf, depth) in condition_centres(grid).items():
            assert key == f"psf{psf:.2f}_depth{depth:.2f}"
            assert cell_of(grid, psf, depth) == key


def test_a_lower_edge_belongs_to_its_bin_and_the_last_upper_edge_to_none():
    edges = (1.0, 1.2, 1.4)
    assert bin_index([1.0, 1.2, 1.19999, 1.4, 0.999, np.nan], edges).tolist() == [0, 1, 0, OUTSIDE, OUTSIDE, OUTSIDE]


def test_hosts_beyond_the_axes_are_never_clamped():
    grid = settings_of().grid
    assert cell_of(grid, 1.37, 26.0) is None
    assert cell_of(grid, 0.8, 24.28) is None
    assert cell_of(grid, float("nan"), 24.28) is None
    assert cells_of(grid, [1.37, 3.0], [24.28, 24.28])[1] is None


@given(st.floats(0.2, 3.5), st.floats(22.0, 27.0))
def test_a_host_is_in_the_one_cell_whose_edges_hold_it(psf, depth):
    grid = settings_of().grid
    holding = [
        key
        for key, (p, d) in condition_centres(grid).items()
        if round(p - grid.psf_fwhm_arcsec.step / 2, 6) <= psf < round(p + grid.psf_fwhm_arcsec.step / 2, 6)
        and round(d - grid.depth_mag.step / 2, 6) <= depth < round(d + grid.depth_mag.step / 2, 6)
    ]
    assert cell_of(grid, psf, depth) == (holding[0] if holding else None)
    assert len(holding) <= 1


def test_more_injections_do_not_change_the_digest_but_another_axis_does():
    grid = settings_of().grid
    assert grid.model_copy(update={"injections_per_cell": 7}).digest == grid.digest
    wider = grid.model_copy(update={"depth_mag": AxisSettings(start=23.9, step=0.7, count=3)})
    assert wider.digest != grid.digest


def test_numbers_of_different_grids_refuse_comparison():
    assert require_same_grid(["a", "a"], "merge") == "a"
    with pytest.raises(GridMismatchError, match="remake both"):
        require_same_grid(["a" * 64, "b" * 64], "merge")


def test_the_parity_grid_leaves_out_much_of_the_real_survey_and_the_default_grid_little():
    regions = pd.read_csv(reference_file("survey/dr10_regions_v3.csv"))
    where = (regions["median_psf_r_arcsec"], regions["median_psfdepth_r"])
    parity, default = _grid("dr10", "parity"), settings_of("dr10").grid
    assert 0.3 < outside_share(parity, *where, regions["total_area_deg2"]) < 0.45
    assert outside_share(default, *where, regions["total_area_deg2"]) < 0.02
    keys = pd.Series(cells_of(parity, *where))
    assert 20 <= keys.nunique() <= 24
    deeper = regions["median_psfdepth_r"] >= parity.depth_edges_mag[-1]
    assert 0.18 < regions.loc[deeper, "total_area_deg2"].sum() / regions["total_area_deg2"].sum() < 0.45


def test_settings_name_the_key_and_what_was_expected():
    with pytest.raises(ValidationError, match="audited_grid: expected one of"):
        settings_of(audited_grid="fine")
    with pytest.raises(ValidationError, match=r"reference.depth_mag: expected a value in \[23.6, 25.4\)"):
        settings_of(reference={"theta_e_arcsec": 1.5, "psf_fwhm_arcsec": 1.3, "depth_mag": 22.0})
    with pytest.raises(ValidationError, match="at most two decimals"):
        GridSettings(
            name="odd",
            theta_e_arcsec=AxisSettings(start=0.5, step=0.25, count=2),
            psf_fwhm_arcsec=AxisSettings(start=1.2, step=0.125, count=2),
            depth_mag=AxisSettings(start=24.0, step=0.5, count=2),
            injections_per_cell=10,
        )
