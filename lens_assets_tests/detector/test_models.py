"""Networks: sizes, shapes, and that every parameter takes part."""

from __future__ import annotations

import pytest
import torch

from lens_assets.campaign.stages.experiments import ArchitectureSettings
from lens_assets.detector.determinism import seed_torch
from lens_assets.detector.models import build_network, contiguous_state, parameter_count
from lens_assets.detector.torchvision_guard import torchvision_models

CASES = [
    ("bottleneck_resnet", 32, 2),
    ("bottleneck_resnet", 16, 1),
    ("resnet18", 16, 2),
    ("resnet18", 16, 4),
    ("efficientnet_v2_s", 24, 2),
]


def _settings(family: str, width: int, stride: int, dropout: float = 0.0) -> ArchitectureSettings:
    content = {"family": family, "width": width, "stem_stride": stride, "dropout": dropout}
    return ArchitectureSettings.model_validate(content)


@pytest.mark.parametrize(("family", "width", "stride"), CASES)
def test_one_logit_a_stamp_and_every_parameter_has_a_gradient(family: str, width: int, stride: int) -> None:
    network = build_network(_settings(family, width, stride))
    logits = network(torch.randn(3, 3, 64, 64))
    assert logits.shape == (3,)
    logits.square().sum().backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None]
    assert not silent
    assert all(features.ndim == 2 for features in network.pooled(torch.randn(2, 3, 64, 64)))


def test_resnet18_is_torchvisions_but_for_the_stem_and_the_head() -> None:
    ours = parameter_count(build_network(_settings("resnet18", 64, 2)))
    theirs, stem_difference, head_difference = 11_689_512, 3 * 64 * (49 - 9), 513_000 - 513
    assert ours == theirs - stem_difference - head_difference


def test_resnet18_with_its_published_stem_is_torchvisions_but_for_the_head() -> None:
    theirs = torchvision_models().resnet18(weights=None).eval()
    ours = build_network(_settings("resnet18", 64, 4)).eval()
    seed_torch(7, "weights")
    for value in theirs.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.02, 0.1)
    ours.load_state_dict(
        {name: theirs.state_dict()[_name_in_torchvision(name)] for name in _without_head(ours)}, strict=False
    )
    theirs.fc = torch.nn.Identity()
    stamps = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected, found = theirs(stamps), ours.pooled(stamps)[-1]
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def _without_head(network: torch.nn.Module) -> list[str]:
    return [name for name in network.state_dict() if not name.startswith("head.")]


def _name_in_torchvision(name: str) -> str:
    part, index, rest = name.split(".", 2)
    if part == "stem":
        return f"{('conv1', 'bn1')[int(index)]}.{rest}"
    return f"layer{int(index) + 1}.{rest}"


@pytest.mark.parametrize(("family", "width"), [("bottleneck_resnet", 32), ("efficientnet_v2_s", 24)])
def test_the_published_stem_of_resnet18_is_refused_elsewhere(family: str, width: int) -> None:
    with pytest.raises(ValueError, match=f"stem_stride 4 is a stem of resnet18; {family} takes 1 or 2"):
        _settings(family, width, 4)


def test_efficientnet_has_its_published_size() -> None:
    published, head = 21_458_488, 1280 * 1000 + 1000
    assert parameter_count(build_network(_settings("efficientnet_v2_s", 24, 2))) == published - head + 1281


def test_the_small_network_is_small() -> None:
    assert 150_000 < parameter_count(build_network(_settings("bottleneck_resnet", 32, 2))) < 300_000


def test_equal_seeds_give_equal_weights_and_unequal_do_not() -> None:
    states = []
    for seed in (1, 1, 2):
        seed_torch(seed, "weights")
        states.append(contiguous_state(build_network(_settings("bottleneck_resnet", 8, 2))))
    same = [torch.equal(states[0][name], states[1][name]) for name in states[0]]
    assert all(same)
    assert not torch.equal(states[0]["stem.weight"], states[2]["stem.weight"])
