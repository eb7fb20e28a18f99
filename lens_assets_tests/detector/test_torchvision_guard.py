"""The guard imports torchvision beside any torch, and hides nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from lens_assets.detector.torchvision_guard import import_torchvision, torchvision_models


def test_models_import_and_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = torchvision_models().resnet18(weights=None, num_classes=1)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    network(torch.randn(4, 3, 64, 64)).square().mean().backward()
    optimizer.step()
    changed = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert all(changed)


def test_operators_are_the_real_ones_or_fail_loudly() -> None:
    torchvision = import_torchvision()
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.9], [2.0, 2.0, 3.0, 3.0]])
    scores = torch.tensor([0.5, 0.9, 0.1])
    if torchvision.extension._has_ops():
        assert torchvision.ops.nms(boxes, scores, 0.5).tolist() == [1, 2]
    else:
        with pytest.raises(RuntimeError, match="Couldn't load custom C"):
            torchvision.ops.nms(boxes, scores, 0.5)


def test_a_spawned_process_imports_it_first_and_twice() -> None:
    code = (
        "from lens_assets.detector.torchvision_guard import import_torchvision as f; "
        "assert f() is f(); import torchvision.transforms.v2"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_other_errors_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError(f"{name}: something else")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(RuntimeError, match="something else"):
        import_torchvision()
