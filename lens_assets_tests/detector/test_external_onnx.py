"""Finders given as ONNX files: the scores are torch's, and what cannot be run is refused by name."""

import io
import sys

import numpy as np
import pytest
import torch

from lens_assets.detector.errors import DetectorError
from lens_assets.detector.external import FeaturesUnavailableError, onnx_finder, save_external, scripted_finder
from lens_assets.detector.frozen import load_detector
from lens_assets_tests.detector.test_external import SPEC, Linear, _file, _stamps


class Tiny(torch.nn.Module):
    """A convolution, normalisation and one number: what finders are made of."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, 2), torch.nn.BatchNorm2d(8), torch.nn.GELU())
        self.head = torch.nn.Linear(8, outputs)
        self.eval()

    def forward(self, stamps: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(stamps).mean(dim=(2, 3)))


class Two(torch.nn.Module):
    """Two inputs."""

    def forward(self, stamps: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        return (stamps + others).mean(dim=(1, 2, 3))


def exported(
    module: torch.nn.Module,
    shape: tuple[int, ...] = (4, 3, 64, 64),
    any_batch: bool = True,
    inputs: int = 1,
    dtype: torch.dtype = torch.float32,
) -> bytes:
    buffer, names = io.BytesIO(), ["stamps", "others"][:inputs]
    axes = {name: {0: "n"} for name in names} if any_batch else None
    arguments = tuple(torch.zeros(shape, dtype=dtype) for _ in names)
    torch.onnx.export(module, arguments, buffer, dynamo=False, input_names=names, dynamic_axes=axes)
    return buffer.getvalue()


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def content() -> bytes:
    return exported(Tiny())


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_scores_are_those_of_torch(output):
    module = Tiny() if output == "logit" else torch.nn.Sequential(Tiny(), torch.nn.Sigmoid())
    theirs = scripted_finder("theirs", _file(module), SPEC, output, 4).score(_stamps())
    ours = onnx_finder("theirs", exported(module), SPEC, output, 4).score(_stamps())
    assert np.ptp(theirs) > 1e-4
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_no_score_depends_on_the_batch(content):
    finder = onnx_finder("theirs", content, SPEC, "logit", 4)
    single = np.concatenate([finder.score(_stamps()[[row]]) for row in range(10)])
    np.testing.assert_array_equal(single, finder.score(_stamps()))
    np.testing.assert_allclose(onnx_finder("theirs", content, SPEC, "logit", 7).score(_stamps()), single, atol=1e-6)


def test_a_stored_finder_is_loaded_again_unless_its_file_changed(content, tmp_path):
    finder = onnx_finder("theirs", content, SPEC, "logit", 4)
    for name, stored in save_external(finder).items():
        (tmp_path / name).write_bytes(stored)
    loaded = load_detector(tmp_path)
    assert (loaded.name, loaded.digest) == (finder.name, finder.digest)
    np.testing.assert_array_equal(loaded.score(_stamps()), finder.score(_stamps()))
    with pytest.raises(FeaturesUnavailableError):
        loaded.features(_stamps())
    (tmp_path / "model.onnx").write_bytes(exported(Linear()))
    with pytest.raises(DetectorError, match="the files were changed; freeze the detector again"):
        load_detector(tmp_path)


@pytest.mark.parametrize("damaged", [b"", b"pickle", _file(Linear())])
def test_what_is_not_onnx_is_refused(damaged):
    with pytest.raises(DetectorError, match=r"detector theirs: the model file is not an ONNX model"):
        onnx_finder("theirs", damaged, SPEC, "logit", 4)


def test_half_a_file_is_refused(content):
    with pytest.raises(DetectorError, match="not an ONNX model"):
        onnx_finder("theirs", content[: len(content) // 2], SPEC, "logit", 4)


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (lambda: exported(Tiny(), (4, 3, 48, 48)), r"stamps tensor\(float\) \['n', 3, 48, 48\]"),
        (lambda: exported(Tiny(), (8, 3, 64, 64), any_batch=False), r"stamps tensor\(float\) \[8, 3, 64, 64\]"),
        (lambda: exported(Linear(), dtype=torch.float64), r"stamps tensor\(double\)"),
        (lambda: exported(Two(), inputs=2), r"stamps tensor.*, others tensor"),
    ],
)
def test_inputs_of_another_shape_are_refused_with_both(made, shown):
    with pytest.raises(DetectorError, match=rf"{shown}.*expected one output, and one input .*\[4, 3, 64, 64\]"):
        onnx_finder("theirs", made(), SPEC, "logit", 4)


def test_more_than_one_number_a_stamp_is_refused():
    with pytest.raises(DetectorError, match=r"returned \(4, 2\) for 4 stamps; expected one number"):
        onnx_finder("theirs", exported(Tiny(outputs=2)), SPEC, "logit", 4).score(_stamps())


def test_a_scripted_model_for_other_stamps_is_refused_by_name():
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 48 * 48, 1))
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(flat, torch.zeros(4, 3, 48, 48)), buffer)
    with pytest.raises(
        DetectorError, match=r"detector theirs: the model does not take stamps of shape \(4, 3, 64, 64\)"
    ):
        scripted_finder("theirs", buffer.getvalue(), SPEC, "logit", 4).score(_stamps())


def test_the_extra_is_named_where_onnxruntime_is_missing(content, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DetectorError, match=r"needs onnxruntime: install the extra, .*'lens_assets\[onnx\]'"):
        onnx_finder("theirs", content, SPEC, "logit", 4)
