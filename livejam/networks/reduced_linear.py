"""Linear maps with smaller weights: on a CPU the time of a frame is the time in which its weights are read.

Both kinds keep activations and sums in float32 and come from FBGEMM, which PyTorch's wheels for x86 contain. An
`Int8Linear` rounds its input to 8 bits for the product, too, with one scale for all rows of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from livejam.errors import UserError
from livejam.networks.packed_linear import FixedLinear, PackedLinear, can_pack, with_linears

Network = TypeVar("Network", bound=nn.Module)

SMALLEST, SMALLEST_EXACT = 128, 1 << 16
"""Channels in and out, or weights, from which a map is worth it."""


class Float16Linear(FixedLinear):
    """A linear map for inference with weights in float16: half the bytes, and errors below a thousandth.

    Args:
        linear: the map; float32 on the CPU.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weights = torch.ops.quantized.linear_prepack_fp16(linear.weight.detach(), linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.quantized.linear_dynamic_fp16(x, self.weights)
        return out


class Int8Linear(FixedLinear):
    """A linear map for inference with weights of 8 bits, one scale per output channel: a quarter of the bytes.

    Args:
        linear: the map; float32 on the CPU.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scale = weight.abs().amax(dim=1).clamp_min(1e-12).double() / 127
        rounded = torch.quantize_per_channel(weight, scale, torch.zeros(len(weight), dtype=torch.int64), 0, torch.qint8)
        self.weights = torch.ops.quantized.linear_prepack(rounded, linear.bias)
        # without VNNI, sums of full 8-bit products would overflow
        self.seven_bits = not torch.cpu._is_vnni_supported()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.quantized.linear_dynamic(x, self.weights, self.seven_bits)
        return out


KINDS: dict[str, Callable[[nn.Linear], nn.Module]] = {"float16": Float16Linear, "int8": Int8Linear}
"""Precisions by name."""


def reduced(network: Network, precision: str) -> Network:
    """A copy of a network for inference whose larger linear maps have smaller weights; it shares all others.

    Args:
        network: a network with linear maps in float32 on the CPU; it does not change.
        precision: "float16" or "int8".

    Raises:
        UserError: an unknown precision, weights that are not float32 on the CPU, or a processor without such kernels.
    """
    if precision not in KINDS:
        raise UserError(f"there is no precision '{precision}'; choose one of {', '.join(KINDS)}")
    if not has_kernels():
        raise UserError(f"PyTorch has no {precision} kernels for this processor; play in float32")
    if any(weight.device.type != "cpu" or weight.dtype != torch.float32 for weight in network.parameters()):
        raise UserError(f"{precision} weights are made of float32 weights on the CPU; move the model there first")
    make = KINDS[precision]
    return with_linears(network, lambda linear: make(linear) if min(linear.weight.shape) >= SMALLEST else linear)


def laid_out(network: Network) -> Network:
    """A copy of a network for single rows on a CPU that computes the same, and shares what is small.

    Published models keep their weights in float16. Such weights are read so, without any loss; others are packed.
    """

    def replacement(linear: nn.Linear) -> nn.Module:
        if has_kernels() and linear.weight.numel() >= SMALLEST_EXACT and _fits(linear.weight):
            return Float16Linear(linear)
        return PackedLinear(linear, 1) if can_pack(linear, 1) else linear

    return with_linears(network, replacement)


def _fits(weight: Tensor) -> bool:
    """Whether float16 holds these float32 weights exactly."""
    here = weight.device.type == "cpu" and weight.dtype == torch.float32
    return here and bool((weight.half().float() == weight).all())


def has_kernels() -> bool:
    """Whether PyTorch brings these kernels for this processor."""
    return "fbgemm" in torch.backends.quantized.supported_engines
