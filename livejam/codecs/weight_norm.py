"""Weights that are computed again on every call, folded into plain ones."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_weight_norm


def fold_weight_norms(model: nn.Module) -> None:
    """Replace weight normalisation by the resulting weights: in a short step it costs more than the layer itself."""
    for layer in model.modules():
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")
        elif hasattr(layer, "weight_g"):
            remove_weight_norm(layer)
        else:
            continue
        # torch leaves a buffer where gradients are off
        weight = cast(Tensor, layer.weight)
        del layer.weight
        layer.weight = nn.Parameter(weight.detach())
