"""A trained accompanist with its weights laid out for playing on a CPU."""

from __future__ import annotations

import copy
from typing import Protocol, TypeVar

from livejam.codecs.causal_convs import CausalConvs
from livejam.codecs.codec import Codec
from livejam.networks.causal_transformer import CausalTransformer, SwiGLU
from livejam.networks.reduced_linear import laid_out, reduced


class PlaysByFrame(Protocol):
    """An accompanist whose generator makes one frame per step."""

    generator: CausalTransformer


Frames = TypeVar("Frames", bound=PlaysByFrame)


def in_precision(accompanist: Frames, precision: str) -> Frames:
    """The same accompanist with other weights for steps of one stream; its states remain valid.

    Args:
        accompanist: in float32 on the CPU; it does not change.
        precision: "float32", which computes the same, or "float16" or "int8", which read fewer bytes.

    Raises:
        UserError: there is no such precision here.
    """
    twin = copy.copy(accompanist)
    generator = accompanist.generator
    twin.generator = laid_out(generator) if precision == "float32" else reduced(generator, precision)
    return twin


def compiled(accompanist: Frames, codec: Codec) -> tuple[Frames, Codec]:
    """The same accompanist and codec with their feed-forward layers and convolutions compiled by `torch.compile`.

    Attention appends to a buffer in place and stays as it is. The first step compiles, which takes a while.

    Args:
        accompanist: does not change.
        codec: does not change; one that has none of these layers is returned as it is.
    """
    twin = copy.copy(accompanist)
    twin.generator = copy.deepcopy(accompanist.generator)
    codec = copy.deepcopy(codec)
    for module in (*twin.generator.modules(), *codec.modules()):
        if isinstance(module, SwiGLU | CausalConvs):
            module.compile()
    return twin, codec
