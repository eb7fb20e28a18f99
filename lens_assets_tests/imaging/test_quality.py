from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_assets.campaign.campaign import CAMPAIGNS_FOLDER
from lens_assets.campaign.stages.features import FeaturesSettings
from lens_assets.imaging.quality import QUALITY_COLUMNS, masked_percentiles, quality_table
from lens_assets_tests.imaging.scenes import arc, host, noise
from lens_assets_tests.imaging.settings import features_settings

SETTINGS: FeaturesSettings = features_settings()


def measure(stamps: np.ndarray) -> pd.DataFrame:
    return quality_table(stamps, SETTINGS.regions, SETTINGS.quality)


@pytest.fixture(scope="module")
def stamps() -> np.ndarray:
    return (noise(5, seed=3) + host() + arc(22.0)).astype("f4")


def test_the_campaigns_measure_alike():
    import yaml

    texts = [(CAMPAIGNS_FOLDER / name / "features.yaml").read_text() for name in ("demo", "dr10")]
    demo, dr10 = (yaml.safe_load(text) for text in texts)
    for part in ("regions", "quality", "split_proof"):
        assert demo[part] == dr10[part]


def test_good_stamps_pass_and_hold_all_published_columns(stamps):
    table = measure(stamps)
    assert table["quality_ok"].all() and set(table["quality_reason"]) == {"ok"}
    assert set(QUALITY_COLUMNS) < set(table.columns) and not table.isna().any().any()


def test_statistics_equal_a_plain_loop(stamps):
    holed = stamps.copy()
    holed[1, 1, 40:60, :45] = 0.0
    table = measure(holed)
    y, x = np.indices((101, 101)) - 50
    radius = np.hypot(y, x)
    for row, stamp in zip(table.itertuples(), holed, strict=True):
        plane = stamp[1].astype("f8")
        has = plane != 0
        core = plane[(radius <= 8) & has]
        ring = plane[(radius >= 4) & (radius <= 16) & has]
        outer = plane[(radius >= 16) & (radius <= 28) & has]
        values = plane[has]
        expected = {
            "core_brightness_r": np.median(core), "core_max_r": core.max(), "annulus_brightness_r": np.median(ring),
            "annulus_std_r": ring.std(), "outer_brightness_r": np.median(outer),
            "radial_gradient_r": np.median(core) - np.median(outer), "mean_r": values.mean(), "std_r": values.std(),
            "median_r": np.median(values), "mad_r": np.median(np.abs(values - np.median(values))),
            "percentile_1_r": np.percentile(values, 1), "percentile_99_r": np.percentile(values, 99),
        }  # fmt: skip
        for name, value in expected.items():
            assert getattr(row, name) == pytest.approx(value, rel=1e-5, abs=1e-9), name


def test_exact_zeros_count_as_missing_and_nan_does_too(stamps):
    holed = stamps.copy()
    holed[0, 0, :10] = 0.0
    holed[0, 2, 0, 0] = np.nan
    table = measure(holed)
    assert table.loc[0, ["nan_count_g", "nan_count_r", "nan_count_z"]].tolist() == [1010, 0, 1]
    assert table.loc[0, "nan_frac"] == pytest.approx(1011 / (3 * 101**2))
    assert table.loc[0, "central_nan_frac"] == 0.0


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda s: s[0].fill(0.0), "no_g_band"),
        (lambda s: s[1].fill(0.0), "no_r_band"),
        (lambda s: s[2].fill(np.nan), "no_z_band"),
        (lambda s: s.__setitem__(2, s[1]), "identical_bands"),
        (lambda s: s[1, 48:53, 48:53].fill(0.0), "missing_core_r"),
        (lambda s: s[0, 40:60, 60:75].fill(0.0) or s[1, 40:60, 60:75].fill(0.0), "missing_centre"),
        (lambda s: s[0, :3].fill(0.0), "missing_g"),
    ],
)
def test_each_fault_is_refused_for_its_own_reason(stamps, damage, reason):
    bad = stamps[:2].copy()
    damage(bad[0])
    table = measure(bad)
    assert table["quality_reason"].tolist() == [reason, "ok"] and table["quality_ok"].tolist() == [False, True]


def test_a_nan_gate_would_have_passed_the_hole(stamps):
    bad = stamps[:1].copy()
    bad[0, 1, 30:70, 30:70] = 0.0
    assert not np.isnan(bad).any() and not measure(bad).loc[0, "quality_ok"]


def test_no_stamps_give_a_table_with_all_columns():
    table = measure(np.empty((0, 3, 101, 101), "f4"))
    assert len(table) == 0 and set(QUALITY_COLUMNS) < set(table.columns)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_percentiles_are_numpys(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = rng.normal(size=(4, data.draw(st.integers(1, 40)))).astype("f4")
    valid = rng.random(values.shape) < data.draw(st.sampled_from([0.3, 1.0]))
    result = masked_percentiles(values, valid, (1.0, 50.0, 99.0))
    for row in range(4):
        if valid[row].any():
            expected = np.percentile(values[row, valid[row]].astype("f8"), [1, 50, 99])
            np.testing.assert_allclose(result[:, row], expected, rtol=1e-6)
        else:
            assert np.isnan(result[:, row]).all()
