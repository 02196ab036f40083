"""What rollouts start from, and what they are compared with.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.networks import DiffusionTransformer
from livejam.systems.context import ContextMode


@dataclass(frozen=True)
class RolloutCrop:
    """A training crop of context and blocks.

    Args:
        context_BTC: what was played before, as the generator gets it (normalised, 0 where dropped).
        real_BTC: how it went on, block by block (normalised).
        mix_BTC: of context and blocks (codec latents).
        instrument_B: asked for.
        words: the prompts.
    """

    context_BTC: Tensor
    real_BTC: Tensor
    mix_BTC: Tensor
    instrument_B: Tensor
    words: tuple[str, ...]

    def pieces(self, count: int) -> list[RolloutCrop]:
        """Equal parts of the batch; what is left over is left out."""
        size = len(self.words) // count
        return [self._rows(slice(i * size, (i + 1) * size)) for i in range(count)]

    def _rows(self, rows: slice) -> RolloutCrop:
        return RolloutCrop(
            self.context_BTC[rows],
            self.real_BTC[rows],
            self.mix_BTC[rows],
            self.instrument_B[rows],
            self.words[rows],
        )


def crop_frames(network: DiffusionTransformer, blocks: int) -> int:
    """Frames of the context and of a rollout."""
    return network.context_frames + blocks * network.block_frames


def rollout_crop(
    mix_BTC: Tensor,
    target_BTC: Tensor,
    instrument_B: Tensor,
    words: tuple[str, ...],
    network: DiffusionTransformer,
    blocks: int,
    context_mode: ContextMode,
    rng: torch.Generator,
) -> RolloutCrop:
    """A crop with a context as the generator may get it.

    Args:
        mix_BTC: codec latents.
        target_BTC: normalised latents.
        instrument_B: asked for.
        words: the prompts.
        network: the generator's.
        blocks: of a rollout.
        context_mode: says which contexts are dropped.
        rng: where the randomness comes from.

    Raises:
        UserError: the latents are too short.
    """
    frames, context = crop_frames(network, blocks), network.context_frames
    if mix_BTC.shape[1] < frames:
        raise UserError(
            f"a training crop of {mix_BTC.shape[1]} frames is too short for {context} frames of context and {blocks} "
            f"blocks of {network.block_frames}; set data.init_args.crop_frames to {frames}, and leave out shorter songs"
        )
    real_BTC = target_BTC[:, :frames]
    given = context_mode.draw(real_BTC[:, : network.window_frames], network, rng)
    known_BTC = real_BTC if given.context is None else given.context[0]
    return RolloutCrop(known_BTC[:, :context], real_BTC[:, context:], mix_BTC[:, :frames], instrument_B, words)
