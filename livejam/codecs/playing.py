"""A codec for playing on a CPU: the same sound, from half the bytes.

Published codecs keep their weights in float16. A decoder whose weights fit float16 therefore computes the same numbers
from weights in float16 as from their copies in float32, in two thirds of the time for a frame.
"""

from __future__ import annotations

from torch import Tensor

from livejam.codecs.causal_codec import CausalCodec
from livejam.codecs.codec import Codec
from livejam.networks.packed_linear import with_linears
from livejam.networks.reduced_linear import Float16Linear, has_kernels


def for_playing(codec: Codec) -> Codec:
    """A codec that plays the same, faster where that is possible; `codec` does not change.

    Without the weights of its linear maps in float32, the copy has no identity of its own, and cannot be trained.
    """
    if not isinstance(codec, CausalCodec) or not has_kernels():
        return codec
    twin = with_linears(codec, lambda linear: linear)
    twin.decoder = with_linears(codec.decoder, lambda linear: Float16Linear(linear) if _fits(linear.weight) else linear)
    return twin


def _fits(weight: Tensor) -> bool:
    """Whether float16 holds the weights exactly."""
    return weight.device.type == "cpu" and weight.dtype.itemsize == 4 and bool((weight.half().float() == weight).all())
