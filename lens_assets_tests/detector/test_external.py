"""Finders from elsewhere: known by scores, or by a TorchScript file; both scored, stored, loaded and refused."""

import io

import numpy as np
import pandas as pd
import pytest
import torch

from lens_assets.detector.errors import DetectorError
from lens_assets.detector.exchange import stamp_ids
from lens_assets.detector.external import (
    FeaturesUnavailableError,
    ScoredFinder,
    UnscoredStampsError,
    save_external,
    scripted_finder,
)
from lens_assets.detector.frozen import load_detector
from lens_assets.imaging.preprocessing import PreprocessingSettings, preprocess

SPEC = PreprocessingSettings(
    input_pixels=101, stamp_pixels=64, annulus_inner_px=32.5, annulus_outer_px=45.0, arc_radius_px=32.0, clip=100.0,
    asinh_softening=None, mask="none", core_radius_px=6.0,
)  # fmt: skip


class Linear(torch.nn.Module):
    """One number a stamp from its mean in r."""

    def forward(self, stamps: torch.Tensor) -> torch.Tensor:
        return stamps[:, 1].mean(dim=(1, 2)) * 0.2


class Pairs(torch.nn.Module):
    """Two numbers a stamp, which is one too many."""

    def forward(self, stamps: torch.Tensor) -> torch.Tensor:
        return stamps[:, :2].mean(dim=(2, 3))


def _file(module: torch.nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, torch.zeros(4, 3, 64, 64)), buffer)
    return buffer.getvalue()


def _stamps(count: int = 10) -> np.ndarray:
    return np.random.default_rng(3).normal(0.01, 0.01, size=(count, 3, 101, 101)).astype(np.float32)


@pytest.fixture(scope="module")
def scripted():
    return scripted_finder("theirs", _file(Linear()), SPEC, "logit", 4)


@pytest.fixture(scope="module")
def scored():
    return ScoredFinder("theirs", pd.Series(np.linspace(0, 1, 10), index=stamp_ids(_stamps())))


def test_scores_follow_the_pixels_in_any_order(scored):
    stamps = _stamps()
    np.testing.assert_array_equal(scored.score(stamps[::-1]), np.linspace(0, 1, 10)[::-1])
    np.testing.assert_array_equal(scored.score(stamps[[3, 3]]), [1 / 3, 1 / 3])


def test_a_stamp_that_was_not_scored_is_an_error_that_says_what_to_do(scored):
    changed = _stamps()
    changed[4] += 1e-3
    name = stamp_ids(changed[[4]])[0]
    with pytest.raises(UnscoredStampsError, match=rf"no score for 1 of 10 stamps, {name} among them: export"):
        scored.score(changed)
    assert len(scored.known(changed)) == 9


def test_a_scripted_model_sees_the_stated_preprocessing_and_no_batch(scripted):
    stamps = _stamps()
    expected = 1 / (1 + np.exp(-preprocess(stamps, SPEC)[:, 1].astype(np.float64).mean(axis=(1, 2)) * 0.2))
    np.testing.assert_allclose(scripted.score(stamps), expected, atol=1e-6)
    single = np.concatenate([scripted.score(stamps[[row]]) for row in range(10)])
    np.testing.assert_array_equal(scripted.score(stamps), single)
    assert scripted.score(stamps[:0]).shape == (0,)


def test_neither_shows_features(scripted, scored):
    for finder in (scripted, scored):
        for ask in (finder.features, finder.layer_features):
            with pytest.raises(FeaturesUnavailableError, match="gives scores, not features"):
                ask(_stamps(1))


def test_both_are_stored_and_loaded_and_a_changed_file_is_refused(tmp_path, scripted, scored):
    for finder, changed in ((scripted, None), (scored, "scores.parquet")):
        folder = tmp_path / type(finder).__name__
        folder.mkdir()
        files = save_external(finder)
        assert files == save_external(finder)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        loaded = load_detector(folder)
        assert (loaded.name, loaded.digest) == (finder.name, finder.digest)
        np.testing.assert_array_equal(loaded.score(_stamps()), finder.score(_stamps()))
        if changed:
            table = pd.read_parquet(folder / changed)
            table.assign(score=table["score"] * 0.5).to_parquet(folder / changed, index=False)
        else:
            (folder / "model.pt").write_bytes(_file(torch.nn.Sequential(Linear(), torch.nn.Sigmoid())))
        with pytest.raises(DetectorError, match="the files were changed; freeze the detector again"):
            load_detector(folder)


def test_the_digest_is_of_model_preprocessing_and_output(scripted):
    other = SPEC.model_copy(update={"clip": 50.0})
    digests = {
        scripted.digest,
        scripted_finder("theirs", scripted.content, other, "logit", 4).digest,
        scripted_finder("theirs", scripted.content, SPEC, "probability", 4).digest,
    }
    assert len(digests) == 3


def test_models_that_do_not_fit_are_refused():
    with pytest.raises(DetectorError, match="not TorchScript"):
        scripted_finder("theirs", b"pickle", SPEC, "logit", 4)
    with pytest.raises(DetectorError, match=r"returned \(4, 2\) for 4 stamps; expected one number"):
        scripted_finder("theirs", _file(Pairs()), SPEC, "logit", 4).score(_stamps())
    with pytest.raises(DetectorError, match=r"returned values from .*`output: logit`"):
        scripted_finder("theirs", _file(Linear()), SPEC, "probability", 4).score(_stamps() - 0.2 * np.eye(101))
