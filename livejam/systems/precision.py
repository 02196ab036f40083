"""A trained accompanist with its weights laid out for playing on a CPU."""

from __future__ import annotations

import copy
from typing import Protocol, TypeVar

from livejam.networks.causal_transformer import CausalTransformer
from livejam.networks.packed_linear import packed
from livejam.networks.reduced_linear import reduced


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
    twin.generator = packed(generator, 1) if precision == "float32" else reduced(generator, precision)
    return twin
