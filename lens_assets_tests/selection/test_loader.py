"""The released loader: the same numbers as the table, nothing beyond the grid, and no package it does not need."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator
from scipy.special import expit, logit

from lens_assets.automation.questions import answer_lines
from lens_assets.campaign.campaign import load_campaign
from lens_assets.selection import loader, product
from lens_assets.selection.completeness import completeness_grid, thresholds_of, trials_of
from lens_assets.selection.identity import prior_digest
from lens_assets.selection.merging import merged_grid
from lens_assets_tests.selection.synthetic import THRESHOLDS, injections, settings_of

CONFIG = settings_of()
FEW = CONFIG.intervals.model_copy(update={"bootstrap_resamples": 50, "minimum_trials": 10, "minimum_hosts": 3})
POINT = {"psf_fwhm_arcsec": 1.40, "depth_mag": 24.5, "threshold": "fixed_0.5"}


@pytest.fixture(scope="module")
def parts() -> tuple[pd.DataFrame, pd.DataFrame]:
    table, scores = injections(CONFIG.grid, per_cell=20)
    lost = table["condition"] == "psf1.65_depth25.10"
    trials, _ = trials_of(table[~lost], scores[~lost], CONFIG.grid, "all_draws")
    grid = completeness_grid(trials, thresholds_of(THRESHOLDS), CONFIG.grid, FEW, "all_draws", 1)
    grid.insert(0, "detector", "baseline")
    return grid, product.released_injections(trials, table[~lost], scores, "baseline")


IDENTITY = {
    "grid": CONFIG.grid.digest, "prior": "p" * 64, "denominator": "all_draws",
    "thresholds": {"fixed_0.5": ["fixed", 0.5], "fpr_0.01": ["fpr", 0.01]},
}  # fmt: skip


@pytest.fixture(scope="module")
def merged() -> pd.DataFrame:
    table, scores = injections(CONFIG.grid, per_cell=6)
    trials, _ = trials_of(table, scores, CONFIG.grid, "all_draws")
    return merged_grid(trials, thresholds_of(THRESHOLDS), CONFIG.grid, FEW, 1).assign(detector="baseline")


@pytest.fixture(scope="module")
def sf(parts) -> loader.SelectionFunction:
    return loader.SelectionFunction(parts[0], {"reference_threshold": "fpr_0.01", "identity": IDENTITY}, parts[1])


@pytest.fixture
def release(parts, tmp_path) -> Path:
    (tmp_path / loader.GRID_FILE).write_bytes(product.parquet_bytes(parts[0]))
    (tmp_path / loader.INJECTIONS_FILE).write_bytes(product.parquet_bytes(parts[1]))
    (tmp_path / product.LOADER_FILE).write_bytes(product.loader_source())
    tables = {name: (tmp_path / name).read_bytes() for name in (loader.GRID_FILE, loader.INJECTIONS_FILE)}
    documents = product.Documents(
        "A release", "fixed_0.5", {"realism_gate": "GO. 20 of 20"}, {"grid": CONFIG.grid.digest}, IDENTITY, {},
        files=product.checksums(tables),
    )  # fmt: skip
    (tmp_path / loader.METADATA_FILE).write_bytes(product.metadata_bytes(documents, CONFIG.grid))
    return tmp_path


def test_at_a_cell_centre_the_table_answers(sf):
    row = sf.grid.set_index(["threshold", "condition", "theta_e_arcsec"]).loc[("fixed_0.5", "psf1.40_depth24.50", 1.5)]
    answer = sf.completeness(theta_e_arcsec=1.5, **POINT)
    assert float(answer.value) == pytest.approx(row["posterior_mean"], rel=1e-9)
    assert float(answer.lower) == pytest.approx(min(row["beta_lower_95"], row["host_lower_95"]), rel=1e-6)
    assert float(answer.upper) == pytest.approx(max(row["beta_upper_95"], row["host_upper_95"]), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.5, 2.75), st.floats(1.15, 1.40), st.floats(23.9, 25.1))
def test_between_centres_it_is_scipys_interpolation_in_logit(sf, theta, psf, depth):
    cells = sf.grid.loc[sf.grid["threshold"] == "fixed_0.5"].sort_values(list(loader.AXES))
    axes = [np.unique(cells[axis]) for axis in loader.AXES]
    cube = logit(cells["posterior_mean"].to_numpy()).reshape([len(axis) for axis in axes])
    expected = expit(RegularGridInterpolator(axes, cube)([[theta, psf, depth]])[0])
    answer = sf.completeness(theta_e_arcsec=theta, psf_fwhm_arcsec=psf, depth_mag=depth, threshold="fixed_0.5")
    assert float(answer.value) == pytest.approx(expected, abs=1e-6)
    assert 0.0 <= float(answer.lower) <= float(answer.value) <= float(answer.upper) <= 1.0


def test_queries_broadcast(sf):
    theta, psf = np.linspace(0.5, 2.75, 5)[:, None], np.array([1.15, 1.3, 1.4])
    answer = sf.completeness(theta_e_arcsec=theta, psf_fwhm_arcsec=psf, depth_mag=24.5, level=68)
    assert answer.value.shape == answer.lower.shape == (5, 3)
    assert (np.diff(answer.value[[0, -1]], axis=0) > 0).all()


def test_beyond_the_edges_nothing_is_clamped_unasked(sf):
    with pytest.raises(loader.OutsideGridError, match="theta_e_arcsec = 5,.*lies outside the grid"):
        sf.completeness(theta_e_arcsec=5.0, **POINT)
    answer = sf.completeness(theta_e_arcsec=[1.5, 5.0, np.nan], outside="nan", **POINT)
    assert np.isnan(answer.value).tolist() == [False, True, True]
    clipped = sf.completeness(theta_e_arcsec=5.0, outside="clip", **POINT)
    assert clipped.value == sf.completeness(theta_e_arcsec=2.75, **POINT).value
    assert np.isnan(sf.completeness(theta_e_arcsec=np.nan, outside="clip", **POINT).value)


def test_the_outer_half_of_an_edge_bin_takes_its_value_and_the_edge_itself_is_outside(sf):
    inner = sf.completeness(theta_e_arcsec=0.4, **POINT)
    assert inner.value == sf.completeness(theta_e_arcsec=0.5, **POINT).value
    assert np.isnan(sf.completeness(theta_e_arcsec=2.875, outside="nan", **POINT).value)


def test_unsupported_neighbours_are_outside_too(sf):
    query = {"theta_e_arcsec": 1.5, "threshold": "fixed_0.5"}
    with pytest.raises(loader.OutsideGridError, match="too few injections nearby"):
        sf.completeness(psf_fwhm_arcsec=1.5, depth_mag=25.0, **query)
    assert np.isnan(sf.completeness(psf_fwhm_arcsec=1.65, depth_mag=25.1, outside="nan", **query).value)
    assert np.isfinite(sf.completeness(psf_fwhm_arcsec=1.4, depth_mag=25.1, **query).value)


def test_where_nothing_was_injected_clipping_gives_no_number_either(sf):
    empty = {"psf_fwhm_arcsec": 1.65, "depth_mag": 25.1, "threshold": "fixed_0.5", "outside": "clip"}
    c = sf.completeness(theta_e_arcsec=[1.5, 9.0], interval="total", **empty)
    assert np.isnan([c.value, c.lower, c.upper]).all()
    merged = loader.SelectionFunction(sf.grid, merged=sf.grid.assign(supported=True))
    assert np.isnan(merged.completeness(theta_e_arcsec=1.5, cells="merged", **empty).value)
    points = {"theta_e_arcsec": [1.5, 1.5], "psf_fwhm_arcsec": [1.4, 1.65], "depth_mag": 25.1, "threshold": "fixed_0.5"}
    named = r"1 of 2 points have no completeness, number 1 \(theta_e_arcsec = 1.5, psf_fwhm_arcsec = 1.65"
    with pytest.raises(loader.OutsideGridError, match=named):
        sf.expected_counts(outside="clip", **points)
    with pytest.raises(loader.OutsideGridError, match=named):
        sf.corrected_distribution(edges_arcsec=[1.0, 2.0], outside="clip", **points)
    assert np.isnan(sf.expected_counts(outside="nan", **points).value)
    assert sf.corrected_distribution(edges_arcsec=[1.0, 2.0], outside="nan", **points)["n_without_c"].tolist() == [1]


def test_the_command_line_says_that_nothing_was_injected_there(sf):
    told = loader.SelectionFunction(sf.grid, {"reference_threshold": "fpr_0.01", "title": "t", "verdicts": {}})
    lines = answer_lines(told, [1.5], 1.65, 25.1, None, None, "clip", 95, "conditional", "measured")
    assert lines[-1] == "theta_E 1.5 arcsec: no number: nothing was injected there"


def test_few_detections_leave_the_corrected_numbers_finite(sf):
    """The Horvitz-Thompson limits stay within those of the Beta posterior, at every count of detections."""
    for interval in ("conditional", "total"):
        cells = sf.grid.loc[(sf.grid["threshold"] == "fixed_0.5") & sf.grid["supported"]]
        assert (cells["k"] < 3).any()
        axes = [cells[axis].to_numpy() for axis in loader.AXES]
        query = {"edges_arcsec": [0.0, 9.0], "threshold": "fixed_0.5", "interval": interval}
        result = sf.corrected_distribution(*axes, **query).iloc[0]
        largest = (1.0 / cells["beta_lower_95"]).sum()
        assert result["n_corrected"] < result["n_corrected_upper"] < 1.5 * largest


def test_unknown_names_are_refused_with_the_known_ones(sf):
    with pytest.raises(ValueError, match=r"threshold: expected one of \['fixed_0.5', 'fpr_0.01'\]"):
        sf.completeness(theta_e_arcsec=1.5, psf_fwhm_arcsec=1.3, depth_mag=24.5, threshold="p>0.3")
    with pytest.raises(ValueError, match="detector: expected one of"):
        sf.completeness(theta_e_arcsec=1.5, detector="other", **POINT)
    with pytest.raises(ValueError, match="outside: expected"):
        sf.completeness(theta_e_arcsec=1.5, outside="guess", **POINT)


def test_cells_of_two_grids_are_refused(sf):
    mixed = pd.concat([sf.grid, sf.grid.assign(grid_digest="f" * 64)])
    with pytest.raises(ValueError, match="expected cells of one grid"):
        loader.SelectionFunction(mixed)


def test_reweighting_to_the_drawn_prior_changes_nothing(sf):
    same = sf.reweight(lambda rows: np.zeros(len(rows)), threshold="fixed_0.5")
    found = (sf.injections["injected_score"] >= 0.5).mean()
    assert same.value == pytest.approx(found)
    assert same.n_eff == pytest.approx(same.n_trials)
    assert 0.0 < same.standard_error < 0.05


def test_reweighting_to_wide_lenses_raises_completeness_and_costs_trials(sf):
    wide = sf.reweight(lambda rows: np.where(rows["theta_e_arcsec"] > 2.0, 0.0, -np.inf), threshold="fixed_0.5")
    chosen = sf.injections.loc[sf.injections["theta_e_arcsec"] > 2.0]
    assert wide.value == pytest.approx((chosen["injected_score"] >= 0.5).mean())
    assert wide.n_eff == pytest.approx(len(chosen))
    with pytest.raises(ValueError, match="without NaN"):
        sf.reweight(lambda rows: np.full(len(rows), np.nan))


def test_one_quantity_is_reweighted_alone(sf):
    falling = sf.reweight(lambda rows: rows["log_pdf"] - 2.0 * np.log(rows["theta_e_arcsec"]), threshold="fixed_0.5")
    weight = sf.injections["theta_e_arcsec"] ** -2.0
    found = sf.injections["injected_score"] >= 0.5
    assert falling.value == pytest.approx((weight * found).sum() / weight.sum())
    assert falling.n_eff < falling.n_trials


@pytest.mark.parametrize(("number", "named"), [(np.inf, "got inf for injection"), (np.nan, "got nan for injection")])
def test_one_weight_that_is_no_number_is_named(sf, number, named):
    def log_prior(rows):
        return np.r_[number, np.zeros(len(rows) - 1)]

    with pytest.raises(ValueError, match=named):
        sf.reweight(log_prior, threshold="fixed_0.5")
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        sf.reweight(lambda rows: np.zeros(3), threshold="fixed_0.5")


def test_total_limits_enclose_the_conditional_ones(sf):
    query = {"theta_e_arcsec": [1.2, 1.5], "psf_fwhm_arcsec": 1.3, "depth_mag": 24.5, "threshold": "fpr_0.01"}
    conditional, total = sf.completeness(**query), sf.completeness(interval="total", **query)
    assert (total.value == conditional.value).all()
    assert (total.lower <= conditional.lower).all()
    assert (total.upper >= conditional.upper).all()
    with pytest.raises(ValueError, match="interval: expected"):
        sf.completeness(interval="both", **query)


def test_merged_cells_answer_only_when_asked(sf, merged):
    bare = loader.SelectionFunction(sf.grid.assign(supported=False), sf.metadata, merged=merged)
    with pytest.raises(loader.OutsideGridError):
        bare.completeness(theta_e_arcsec=1.5, **POINT)
    answer = bare.completeness(theta_e_arcsec=1.5, cells="merged", **POINT)
    row = merged.set_index(["threshold", "condition", "theta_e_arcsec"]).loc[("fixed_0.5", "psf1.40_depth24.50", 1.5)]
    assert float(answer.value) == pytest.approx(row["posterior_mean"])
    with pytest.raises(ValueError, match="cells: expected one of"):
        bare.completeness(theta_e_arcsec=1.5, cells="monotone", **POINT)


def test_expected_counts_weigh_completeness_by_the_population(sf):
    theta, number = np.array([0.75, 1.5, 2.5]), np.array([100.0, 50.0, 10.0])
    c = sf.completeness(theta_e_arcsec=theta, **POINT)
    found = sf.expected_counts(theta_e_arcsec=theta, n_lenses=number, **POINT)
    assert found.value == pytest.approx(number @ c.value)
    assert (found.lower, found.upper) == pytest.approx((number @ c.lower, number @ c.upper))
    assert found.poisson_error == pytest.approx(np.sqrt(found.value))
    with pytest.raises(ValueError, match="none below 0"):
        sf.expected_counts(theta_e_arcsec=theta, n_lenses=-1.0, **POINT)
    with pytest.raises(loader.OutsideGridError):
        sf.expected_counts(theta_e_arcsec=9.0, **POINT)


def test_a_found_distribution_is_corrected_to_the_true_one(sf):
    """A population thinned by its own completeness comes back within its errors, and raw counts do not."""
    edges = np.array([0.5, 1.0, 1.5, 2.0, 2.5])
    pulls, raw = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        true = rng.uniform(0.5, 2.5, 2000)
        kept = true[rng.random(len(true)) < sf.completeness(theta_e_arcsec=true, **POINT).value]
        result = sf.corrected_distribution(kept, 1.40, 24.5, edges, threshold="fixed_0.5")
        pulls.append((result["n_corrected"] - 500) / result["counting_error"])
        raw.append(result["n_found"].iloc[0])
        assert result["n_found"].sum() == len(kept)
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.6
    assert 0.7 < np.std(pulls) < 1.3
    assert np.mean(raw) < 150
    assert (result["n_corrected_lower"] < result["n_corrected"]).all()
    assert (result["n_corrected"] < result["n_corrected_upper"]).all()


def test_found_lenses_without_a_completeness_are_counted_apart(sf):
    theta, psf = np.array([1.2, 1.3, 1.4]), np.array([1.4, 3.0, 1.4])
    query = {"edges_arcsec": [1.0, 2.0], "threshold": "fixed_0.5"}
    result = sf.corrected_distribution(theta, psf, 24.5, outside="nan", **query).iloc[0]
    assert (result["n_found"], result["n_without_c"]) == (2, 1)
    with pytest.raises(loader.OutsideGridError):
        sf.corrected_distribution(theta, psf, 24.5, **query)
    with pytest.raises(ValueError, match="rising numbers"):
        sf.corrected_distribution(theta, psf, 24.5, edges_arcsec=[2.0, 1.0])


def _other(sf, **identity) -> loader.SelectionFunction:
    metadata = sf.metadata | {"identity": IDENTITY | identity}
    return loader.SelectionFunction(sf.grid.assign(k=sf.grid["k"] + 1), metadata, sf.injections)


def test_releases_of_the_same_quantity_compare_cell_by_cell(sf):
    table = sf.compare(_other(sf), "fixed_0.5")
    assert len(table) == 90
    assert (table["k_other"] - table["k"] == 1).all()
    assert (table["difference"] == 0.0).all()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"grid": "0" * 64}, "differ in grid"),
        ({"prior": "0" * 64}, "differ in prior"),
        ({"denominator": "multiply_imaged"}, "differ in denominator"),
        ({"thresholds": {"fixed_0.5": ["fixed", 0.6]}}, "differ in threshold"),
        ({"thresholds": {}}, "differ in threshold"),
    ],
)
def test_releases_of_other_quantities_refuse_to_compare(sf, changed, named):
    with pytest.raises(loader.IncomparableError, match=named):
        sf.compare(_other(sf, **changed), "fixed_0.5")


def test_a_release_without_an_identity_does_not_compare(sf):
    with pytest.raises(loader.IncomparableError, match="does not state its identity"):
        sf.compare(loader.SelectionFunction(sf.grid), "fixed_0.5")


def test_another_prior_is_another_identity_and_more_draws_are_not():
    settings = load_campaign("demo").injection
    more = settings.model_copy(update={"seed": 5, "pilot_injections": 9})
    assert prior_digest(settings, 0.1) == prior_digest(more, 0.1)
    brighter = settings.source.model_copy(update={"mag_r": settings.source.mag_r.model_copy(update={"minimum": 19.0})})
    assert prior_digest(settings.model_copy(update={"source": brighter}), 0.1) != prior_digest(settings, 0.1)
    assert prior_digest(settings, 0.2) != prior_digest(settings, 0.1)
    red = {"mag_z_max": 20.4, "r_minus_z_min": 0.4, "z_minus_w1_min": 1.6}
    others = [prior_digest(settings, 0.1, limits) for limits in (None, red, red | {"mag_z_max": 20.0})]
    assert len(set(others)) == 3


CLEAN = """
import sys, importlib.abc
allowed = {"numpy", "pandas", "pyarrow", "dateutil", "six", "pytz", "tzdata", "selection_function"}
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        top = name.split(".")[0]
        if top not in allowed and top not in sys.stdlib_module_names and not top.startswith(("__editable__", "_")):
            raise ImportError(f"not in this environment: {name}")
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
from selection_function import load
sf = load(sys.argv[1])
c = sf.completeness(theta_e_arcsec=[1.5, 2.0], psf_fwhm_arcsec=1.3, depth_mag=24.4)
sf.expected_counts(theta_e_arcsec=[1.5, 2.0], psf_fwhm_arcsec=1.3, depth_mag=24.4, n_lenses=10)
sf.corrected_distribution([1.5, 2.0], 1.3, 24.4, [1.0, 2.0, 3.0])
sf.reweight(lambda rows: rows["log_pdf"])
sf.compare(sf, "fixed_0.5")
print(c.value.round(6).tolist())
try:
    import scipy
except ImportError as error:
    print("refused", error)
"""


def test_it_loads_where_only_numpy_pandas_and_pyarrow_are_installed(release, sf):
    command = [sys.executable, "-I", "-c", CLEAN, str(release)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    title, verdict, numbers, refused = done.stdout.strip().splitlines()
    assert title == "A release"
    assert verdict == "  realism_gate: GO. 20 of 20"
    expected = sf.completeness(theta_e_arcsec=[1.5, 2.0], psf_fwhm_arcsec=1.3, depth_mag=24.4, threshold="fixed_0.5")
    assert numbers == str(expected.value.round(6).tolist())
    assert refused.startswith("refused")


def test_a_newer_schema_is_refused(release):
    path = release / loader.METADATA_FILE
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(ValueError, match="schema version 2 is newer than 1"):
        loader.load(release)


def test_a_release_without_its_grid_is_named(release):
    (release / loader.GRID_FILE).rename(release / "other.parquet")
    with pytest.raises(ValueError, match=r"grid.parquet is missing; .*copy the whole release"):
        loader.load(release)


def test_an_edited_table_is_refused(release, parts):
    whole = loader.load(release, quiet=True)
    assert (len(whole.grid), len(whole.injections)) == (len(parts[0]), len(parts[1]))
    better = parts[0].assign(posterior_mean=1.0)
    (release / loader.GRID_FILE).write_bytes(product.parquet_bytes(better))
    with pytest.raises(ValueError, match=r"grid.parquet was changed: .*copy the release again"):
        loader.load(release)


def test_a_damaged_release_is_named(release):
    (release / loader.METADATA_FILE).write_text("[]")
    with pytest.raises(ValueError, match=r"release.json cannot be read .*expected a release folder"):
        loader.load(release)
    with pytest.raises(ValueError, match="expected a release folder"):
        loader.load(release / "elsewhere")
