"""Where the values of a module lie in memory."""

from __future__ import annotations

import torch
from torch import nn


def unusual_layouts(module: nn.Module) -> list[str]:
    """Names of the parameters and buffers whose strides are not those of a fresh tensor of their shape.

    DDP broadcasts dense memory only. `is_contiguous` is not enough: it forgives any stride of a dimension of one,
    and DDP does not.
    """
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return [name for name, tensor in tensors if tensor.stride() != torch.empty(tensor.shape, device="meta").stride()]
