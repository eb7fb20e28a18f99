"""Networks from a preprocessed stamp to one logit, with the features on the way."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lens_assets.campaign.stages.experiments import PUBLISHED_RESNET18_STRIDE, ArchitectureSettings
from lens_assets.detector.torchvision_guard import torchvision_models

BANDS = 3


class StampNetwork(nn.Module):
    """Stages of convolutions, the mean over the image, dropout, one linear unit.

    Input (N, 3, h, w) as `imaging.preprocessing` gives it; output (N,) logits of being a lens. The mean over the
    image after each stage is a layer feature; after the last stage it is the penultimate feature.
    """

    def __init__(self, stem: nn.Module, stages: list[nn.Module], channels: int, dropout: float) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, 1)

    def pooled(self, stamps: Tensor) -> list[Tensor]:
        """Return the mean over the image after each stage, a list of (N, channels)."""
        image = self.stem(stamps)
        means = []
        for stage in self.stages:
            image = stage(image)
            means.append(image.mean(dim=(2, 3)))
        return means

    def forward(self, stamps: Tensor) -> Tensor:
        """Return logits (N,)."""
        logits: Tensor = self.head(self.dropout(self.pooled(stamps)[-1]))
        return logits.squeeze(1)


def build_network(settings: ArchitectureSettings) -> StampNetwork:
    """Return an untrained network; its weights come from torch's global generator, which the caller seeds."""
    builders = {
        "bottleneck_resnet": _bottleneck_resnet,
        "resnet18": _resnet18,
        "efficientnet_v2_s": _efficientnet_v2_s,
    }
    return builders[settings.family](settings)


def parameter_count(network: nn.Module) -> int:
    """Return the number of trained numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


class _Bottleneck(nn.Module):
    """Pre-activation bottleneck: 1x1 down, 3x3, 1x1 up, added to the input (He et al. 2016, arXiv:1603.05027)."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=False))
        self.body = nn.Sequential(
            nn.Conv2d(inputs, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, stride, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, outputs, 1, bias=False),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        active = self.before(image)
        kept = image if isinstance(self.shortcut, nn.Identity) else self.shortcut(active)
        result: Tensor = kept + self.body(active)
        return result


def _bottleneck_resnet(settings: ArchitectureSettings) -> StampNetwork:
    """Build the small residual network of lens finding (Lanusse et al. 2018, MNRAS 473, 3895), three stages here."""
    width = settings.width
    stem = nn.Conv2d(BANDS, width, 5, settings.stem_stride, 2, bias=False)
    stages: list[nn.Module] = []
    inputs = width
    for index in range(3):
        inner, outputs = (width // 2) << index, (2 * width) << index
        stride = 1 if index == 0 else 2
        layers: list[nn.Module] = []
        for block in range(2):
            layers.append(_Bottleneck(inputs, inner, outputs, stride if block == 0 else 1))
            inputs = outputs
        if index == 2:
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        stages.append(nn.Sequential(*layers))
    return _initialised(StampNetwork(stem, stages, inputs, settings.dropout))


def _resnet18(settings: ArchitectureSettings) -> StampNetwork:
    """Build ResNet-18 (He et al. 2016, arXiv:1512.03385).

    At a stem stride of 4 its stem is the published one. Strides 1 and 2 keep more of a stamp of 64 to 101 pixels by
    a 3x3 convolution without pooling, at sixteen and four times the arithmetic.
    """
    resnet = torchvision_models().resnet
    width = settings.width
    published = settings.stem_stride == PUBLISHED_RESNET18_STRIDE
    kernel, stride = (7, 2) if published else (3, settings.stem_stride)
    stem = nn.Sequential(
        nn.Conv2d(BANDS, width, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        *([nn.MaxPool2d(3, 2, 1)] if published else []),
    )
    stages: list[nn.Module] = []
    inputs = width
    for index in range(4):
        outputs, stride = width << index, 1 if index == 0 else 2
        stages.append(
            nn.Sequential(
                _basic_block(resnet.BasicBlock, inputs, outputs, stride),
                _basic_block(resnet.BasicBlock, outputs, outputs, 1),
            )
        )
        inputs = outputs
    return _initialised(StampNetwork(stem, stages, inputs, settings.dropout))


def _basic_block(block: type[nn.Module], inputs: int, outputs: int, stride: int) -> nn.Module:
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return block(inputs, outputs, stride, shortcut)


def _efficientnet_v2_s(settings: ArchitectureSettings) -> StampNetwork:
    """Build EfficientNetV2-S (Tan and Le 2021, arXiv:2104.00298) without pretrained weights."""
    features = torchvision_models().efficientnet_v2_s(weights=None, stochastic_depth_prob=0.0).features
    stem = features[0]
    if settings.stem_stride == 1:
        stem[0].stride = (1, 1)
    stages = [features[index] for index in range(1, len(features))]
    channels = stages[-1][0].out_channels
    return StampNetwork(stem, stages, channels, settings.dropout)


def _initialised(network: StampNetwork) -> StampNetwork:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(network.head.bias)
    nn.init.normal_(network.head.weight, std=0.01)
    return network


def contiguous_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights as plain tensors of their own, so that equal weights give equal files."""
    return {
        name: value.detach().to("cpu").contiguous(memory_format=torch.contiguous_format).clone()
        for name, value in network.state_dict().items()
    }
