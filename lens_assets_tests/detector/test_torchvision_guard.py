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


def test_missing_operators_still_fail_loudly() -> None:
    torchvision = import_torchvision()
    if torchvision.extension._has_ops():
        pytest.skip("this torchvision has its operators")
    with pytest.raises(RuntimeError, match="Couldn't load custom C"):
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)


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
