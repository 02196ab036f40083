"""SEANet, the convolutions of EnCodec and Mimi, run as a stream with explicit state.

The layers are those of transformers; only the way they are fed is ours. Every causal convolution keeps the samples that
its kernel still covers, every transposed one the overlap that is not complete yet, and an LSTM its two vectors.

Shapes: B batch, D channels, N samples at the rate of a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


def initial_pasts(layers: nn.Module, batch_size: int) -> tuple[Tensor, ...]:
    """The state before the first sample: a convolution has heard nothing, and pads as it does offline."""
    pasts = []
    for layer in layers.modules():
        if isinstance(layer, nn.ConvTranspose1d):
            overlap = layer.kernel_size[0] - layer.stride[0]
            pasts.append(layer.weight.new_zeros(batch_size, layer.out_channels, overlap))
        elif isinstance(layer, nn.Conv1d):
            pasts.append(layer.weight.new_zeros(batch_size, layer.in_channels, 0))
        elif isinstance(layer, nn.LSTM):
            memory = next(layer.parameters()).new_zeros(layer.num_layers, batch_size, layer.hidden_size)
            pasts += [memory, memory]
    return tuple(pasts)


def advance(layers: Iterable[nn.Module], x_BDN: Tensor, pasts: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Output of a chain of layers for the next samples, and the pasts of the next call."""
    old, new = iter(pasts), list[Tensor]()
    for layer in layers:
        x_BDN = advance_layer(layer, x_BDN, old, new)
    return x_BDN, tuple(new)


def advance_layer(layer: Any, x_BDN: Tensor, old: Iterator[Tensor], new: list[Tensor]) -> Tensor:
    """Output of one layer; takes its pasts from `old` and appends what follows them to `new`."""
    if hasattr(layer, "block"):
        hidden_BDN = x_BDN
        for part in layer.block:
            hidden_BDN = advance_layer(part, hidden_BDN, old, new)
        return advance_layer(layer.shortcut, x_BDN, old, new) + hidden_BDN
    if hasattr(layer, "lstm"):
        hidden_NBD, memory = layer.lstm(x_BDN.permute(2, 0, 1), (next(old), next(old)))
        new.extend(memory)
        return hidden_NBD.permute(1, 2, 0) + x_BDN
    if not hasattr(layer, "conv"):
        return layer(x_BDN)
    transposed = isinstance(layer.conv, nn.ConvTranspose1d)
    y_BDN, past_BDN = (transposed_conv if transposed else causal_conv)(layer, x_BDN, next(old))
    new.append(past_BDN)
    return y_BDN


def causal_conv(layer: Any, x_BDN: Tensor, past_BDN: Tensor) -> tuple[Tensor, Tensor]:
    """A convolution over the past and the next samples, a multiple of its stride."""
    conv: nn.Conv1d = layer.conv
    reach = (conv.kernel_size[0] - 1) * conv.dilation[0] + 1 - conv.stride[0]
    if reach and not past_BDN.shape[2]:
        heard_BDN = nn.functional.pad(x_BDN, (reach, 0), mode=layer.pad_mode)
    else:
        heard_BDN = torch.cat([past_BDN, x_BDN], dim=2)
    return conv(heard_BDN), heard_BDN[:, :, heard_BDN.shape[2] - reach :]


def transposed_conv(layer: Any, x_BDN: Tensor, overlap_BDN: Tensor) -> tuple[Tensor, Tensor]:
    """A transposed convolution: stride samples for each one, and the overlap with the samples that follow."""
    conv: nn.ConvTranspose1d = layer.conv
    whole_BDN = conv(x_BDN)
    reach, done = overlap_BDN.shape[2], x_BDN.shape[2] * conv.stride[0]
    whole_BDN = torch.cat([whole_BDN[:, :, :reach] + overlap_BDN, whole_BDN[:, :, reach:]], dim=2)
    overlap_BDN = whole_BDN[:, :, done:]
    # the next call adds the bias to these samples again
    return whole_BDN[:, :, :done], overlap_BDN if conv.bias is None else overlap_BDN - conv.bias[:, None]
