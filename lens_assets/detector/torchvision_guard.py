"""The only place that imports torchvision: its wheel may have been built for another torch.

The wheel on PyPI is built against CUDA. Beside a CPU torch its compiled operators do not load, and its import then
fails while it describes two of them (nms, qnms). The networks need none of these operators: declaring the two
signatures is enough, and calling them still fails with torchvision's own message. Where the operators load, nothing
is declared.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

_SIGNATURE = "{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")
# Declarations end with the object that made them, so it lives as long as the module.
_declarations: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """Return torchvision, declaring its missing operators if that is what its import needs."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error) or _declarations:
            raise
    # A fragment, since a full definition would clash with the library's own where it loads later.
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _OPERATORS:
        library.define(_SIGNATURE.format(name=name))
    _declarations.append(library)
    return importlib.import_module("torchvision")


def torchvision_models() -> ModuleType:
    """Return `torchvision.models`."""
    import_torchvision()
    return importlib.import_module("torchvision.models")
