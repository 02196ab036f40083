"""Linear maps with weights in the layout of the matrix product, which makes short passes on a CPU fast."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from livejam.errors import UserError

Network = TypeVar("Network", bound=nn.Module)

FEWEST_ROWS = 128
"""What a pass of several rows is packed for at least. For fewer, oneDNN chooses its older kernel, which with AVX-512
reads wide matrices at half the speed of the blocked one, and in one thread alone if they have a multiple of 1024 rows;
packed for more, they are as fast or faster at any number of rows from two on (`benchmarks.lmdm_blocks`)."""

BEGIN = "begin with the model as livejam.checkpoints.player.load_player gives it"


class FixedLinear(nn.Module):
    """A linear map whose weights are laid out for the CPU that it was made on."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FixedLinear:
        before = torch.zeros(())
        after = fn(before)
        if (after.device, after.dtype) != (before.device, before.dtype):
            raise UserError(f"weights that are laid out for playing on a CPU cannot be moved or converted; {BEGIN}")
        super()._apply(fn, recurse)
        return self


class PackedLinear(FixedLinear):
    """A linear map for inference in oneDNN's blocked layout.

    Args:
        linear: the map; float32 on the CPU.
        rows: number of input rows that it is packed for; other numbers work, too.
    """

    def __init__(self, linear: nn.Linear, rows: int) -> None:
        super().__init__()
        rows = rows if rows == 1 else max(rows, FEWEST_ROWS)
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return out


def can_pack(linear: nn.Linear, rows: int) -> bool:
    """Whether packing is possible and worthwhile here: one row of a matrix under a megabyte is faster as it is."""
    weight = linear.weight
    on_cpu = weight.device.type == "cpu" and torch.backends.mkldnn.is_available()
    large = min(weight.shape) >= 128 and (rows > 1 or weight.numel() >= 1 << 18)
    return on_cpu and weight.dtype == torch.float32 and large


def packed(network: Network, rows: int) -> Network:
    """A copy of the network for inference on passes of about `rows` rows; on other devices, a plain copy.

    The copy shares everything but the packed weights; the network itself does not change.

    Args:
        network: a network with linear maps.
        rows: batch size × positions of a typical pass.
    """
    return with_linears(network, lambda linear: PackedLinear(linear, rows) if can_pack(linear, rows) else linear)


def with_linears(network: Network, replacement: Callable[[nn.Linear], nn.Module]) -> Network:
    """A copy of a network in which other modules take the places of its linear maps; it shares all other weights.

    Raises:
        UserError: they were replaced already.
    """
    if any(isinstance(module, FixedLinear) for module in network.modules()):
        raise UserError(f"the weights are laid out for playing already; {BEGIN}")
    shared = [*network.parameters(), *network.buffers()]
    twin = copy.deepcopy(network, {id(tensor): tensor for tensor in shared})
    for module in list(twin.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, replacement(child))
    return twin
