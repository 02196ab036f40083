"""The velocity of the block that continues a context: recomputed with the context at every step, or on cached context.

Each is called once per denoising step of one block, and then gives what the next block may reuse.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from livejam.networks.diffusion_cache import DiffusionCache
from livejam.networks.diffusion_conditions import DiffusionConditions
from livejam.networks.diffusion_transformer import DiffusionTransformer


class BlockVelocity(ABC):
    """(block_BTC with noise, time_B) → velocity_BTC of the block.

    Args:
        network: the model.
        conditions: of the whole window, with its context.
        cache: what the block before left behind; None = encode the context anew.
    """

    def __init__(
        self, network: DiffusionTransformer, conditions: DiffusionConditions, cache: DiffusionCache | None = None
    ) -> None:
        self.network, self.conditions, self.cache = network, conditions, cache

    @abstractmethod
    def __call__(self, block_BTC: Tensor, time_B: Tensor) -> Tensor:
        """One denoising step."""


class Recomputed(BlockVelocity):
    """Every step computes the whole window (LMDM, algorithm 1)."""

    def __call__(self, block_BTC: Tensor, time_B: Tensor) -> Tensor:
        context = self.network.context_frames
        # The noisy path is switched off on context frames: zeros are as good as anything.
        empty_BTC = block_BTC.new_zeros(len(block_BTC), context, block_BTC.shape[2])
        return self.network(torch.cat((empty_BTC, block_BTC), dim=1), time_B, self.conditions)[:, context:]


class EncodedOnce(BlockVelocity):
    """Encoder-Decoder: one pass over the context, then every step computes the block alone."""

    def __init__(
        self, network: DiffusionTransformer, conditions: DiffusionConditions, cache: DiffusionCache | None = None
    ) -> None:
        # Of the block before only the prompt is still of use: all of its context has moved.
        super().__init__(network, conditions, network.prefill(conditions, None if cache is None else cache.prompt))

    def __call__(self, block_BTC: Tensor, time_B: Tensor) -> Tensor:
        assert self.cache is not None
        return self.network.denoise(block_BTC, time_B, self.conditions, self.cache)


class SlidingWindow(BlockVelocity):
    """Block-Causal: the first step also encodes the block just finished, further steps compute the block alone.

    Args:
        network: the model.
        conditions: of the whole window, with its context.
        cutoff_frames: frames of the window in which the mix is known.
        cache: what the block before left behind; None = encode the whole context anew.
    """

    def __init__(
        self,
        network: DiffusionTransformer,
        conditions: DiffusionConditions,
        cutoff_frames: int,
        cache: DiffusionCache | None = None,
    ) -> None:
        super().__init__(network, conditions, cache)
        self.cutoff_frames = cutoff_frames
        self._slid = False

    def __call__(self, block_BTC: Tensor, time_B: Tensor) -> Tensor:
        if self._slid:
            assert self.cache is not None
            return self.network.denoise(block_BTC, time_B, self.conditions, self.cache)
        if self.cache is None:
            velocity_BTC, self.cache = self.network.bootstrap(block_BTC, time_B, self.conditions)
        else:
            velocity_BTC, self.cache = self.network.fused(
                block_BTC, time_B, self.conditions, self.cache, self.cutoff_frames
            )
        self._slid = True
        return velocity_BTC
