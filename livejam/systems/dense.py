"""All blocks of a crop, as a Block-Causal model plays them from the mix alone, in one pass per denoising step.

Shapes: B batch, T frames of the crop, N frames to generate (T - context), K blocks to generate, F frames of a block,
R rows (B K for every side of guidance), C latent channels.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from livejam.networks.dense_block_causal import dense_layout, dense_velocity
from livejam.networks.diffusion_conditions import DiffusionConditions, Unconditional
from livejam.networks.diffusion_transformer import DiffusionTransformer
from livejam.noise import Noise
from livejam.sampling import Sampler
from livejam.systems.lmdm_state import sides_of


def play_densely(
    network: DiffusionTransformer,
    mix_BTC: Tensor,
    heard_BT: Tensor,
    conditions: DiffusionConditions,
    sampler: Sampler,
    unconditional: Unconditional,
    noise: Noise,
) -> Tensor:
    """The blocks (BNC, normalised) that a model plays to a mix at cutoff 0, if it is never given what it played.

    Blocks that depend on the mix alone can be made at the same time. They are those of the deployed path with
    `DroppedContext`, but for the first blocks after a start: their caches also hold the silence before it.

    Args:
        network: the model, under the mask `BlockCausal`.
        mix_BTC: the normalised mix.
        heard_BT: frames in which there is a mix (bool).
        conditions: prompt and global embedding; neither mix nor context.
        sampler: from noise to latents, with a noise level for all blocks.
        unconditional: what guidance's unconditional side lacks.
        noise: draw number → noise_BNC.

    Raises:
        UserError: mask or crop do not fit (`dense_layout`).
    """
    batch, frames, channels = mix_BTC.shape
    blocks = dense_layout(network, frames).targets
    given = replace(
        conditions,
        context_BTC=torch.zeros_like(mix_BTC),
        context_mask_BT=torch.ones_like(mix_BTC[..., 0]),
        mix_BTC=mix_BTC * heard_BT[..., None],
        mix_mask_BT=heard_BT.to(mix_BTC),
    )
    asked = sides_of(given, sampler.sides(unconditional.lacks), None)

    def velocity(noisy_RFC: Tensor, time_R: Tensor) -> Tensor:
        rows = len(time_R) // blocks
        noisy_BNC, cutoff_0 = noisy_RFC.reshape(rows, -1, channels), time_R.new_zeros(rows)
        return dense_velocity(network, noisy_BNC, time_R.view(rows, blocks), asked, cutoff_0).view_as(noisy_RFC)

    def draw(number: int) -> Tensor:
        return noise(number).reshape(batch * blocks, network.block_frames, channels)

    return sampler.sample(velocity, draw).reshape(batch, -1, channels)
