"""What a diffusion transformer refuses, before it computes anything.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from livejam.errors import UserError
from livejam.networks.diffusion_cache import DiffusionCache
from livejam.networks.diffusion_conditions import DiffusionConditions
from livejam.networks.diffusion_masks import AttentionMask, BlockCausal

if TYPE_CHECKING:
    from livejam.networks.diffusion_transformer import DiffusionTransformer


def check_sizes(
    width: int, heads: int, prompt_hidden: int, context_frames: int, block_frames: int, mask: AttentionMask
) -> None:
    """Refuse sizes that do not fit together.

    Raises:
        UserError: one of them; the sentence names it.
    """
    if width % (2 * heads):
        raise UserError(f"width {width} must be divisible by twice the number of heads ({heads})")
    if prompt_hidden % (width // heads) or (prompt_hidden and heads % (prompt_hidden * heads // width)):
        raise UserError(f"prompt_hidden {prompt_hidden} must hold a divisor of {heads} heads of {width // heads}")
    if context_frames < 0 or block_frames < 1:
        raise UserError(f"context_frames is {context_frames} and block_frames {block_frames}: at least 0 and 1")
    wanted = getattr(mask, "context_frames", context_frames)
    if wanted != context_frames:
        raise UserError(f"the mask's context is {wanted} frames, the network's context_frames {context_frames}")
    if isinstance(mask, BlockCausal) and mask.block_frames != block_frames:
        raise UserError(f"the mask's block is {mask.block_frames} frames, the network's block_frames {block_frames}")


def check_window(network: DiffusionTransformer, noisy_BTC: Tensor, conditions: DiffusionConditions) -> None:
    """Refuse a window that does not fit the network.

    Raises:
        UserError: its channels, its length or its conditions do not.
    """
    batch, frames, channels = noisy_BTC.shape
    if channels != network.latent_channels:
        raise UserError(f"latents have {channels} channels, this network {network.latent_channels}: another codec")
    network.mask.check(frames)
    check_conditions(network, batch, frames, conditions)


def check_conditions(network: DiffusionTransformer, batch: int, frames: int, conditions: DiffusionConditions) -> None:
    """Refuse conditions of another shape.

    Raises:
        UserError: names the field.
    """
    for name in ("context", "mix"):
        latents, mask = getattr(conditions, f"{name}_BTC"), getattr(conditions, f"{name}_mask_BT")
        if (latents is None) != (mask is None):
            raise UserError(f"conditions need {name}_BTC and {name}_mask_BT together")
        if latents is not None and latents.shape[:2] != (batch, frames):
            raise UserError(f"{name}_BTC has shape {tuple(latents.shape)}; the window is ({batch}, {frames}, …)")
    for name, channels in (("mix_BTC", network.mix_channels), ("prompt_BPD", network.prompt_width)):
        given = getattr(conditions, name)
        if given is not None and given.shape[-1] != channels:
            raise UserError(f"{name} has {given.shape[-1]} channels, this network takes {channels}")


def check_context(network: DiffusionTransformer, conditions: DiffusionConditions) -> None:
    """Refuse conditions whose context cannot be cached.

    Raises:
        UserError: it is missing, or a frame of it is left for the network to generate.
    """
    if conditions.context_BTC is None or conditions.context_mask_BT is None:
        raise UserError("a cached pass needs context_BTC and context_mask_BT")
    check_conditions(network, len(conditions.context_BTC), network.window_frames, conditions)
    if not bool((conditions.context_mask_BT[:, : network.context_frames] == 1).all()):
        raise UserError(
            f"context_mask_BT must be 1 on all {network.context_frames} context frames; "
            "where there is no music, context_BTC is 0"
        )


def check_block(network: DiffusionTransformer, noisy_BTC: Tensor, cache: DiffusionCache) -> None:
    """Refuse a block or a cache of another size.

    Raises:
        UserError: one of them; the sentence says which.
    """
    expected = (cache.batch_size, network.block_frames, network.latent_channels)
    if tuple(noisy_BTC.shape) != expected:
        raise UserError(f"the block has shape {tuple(noisy_BTC.shape)}; the cache and the network expect {expected}")
    if len(cache.key) != len(network.layers) or cache.key[0].shape[2] != network.heads:
        raise UserError("the cache belongs to another network; make it with prefill or bootstrap of this one")
    mask = network.mask
    frames = mask.cached_blocks * mask.block_frames if isinstance(mask, BlockCausal) else network.context_frames
    if cache.frames != frames:
        raise UserError(
            f"a cache of {cache.frames} frames is not a cache of this window and mask, which keep {frames}; "
            "make it with prefill or bootstrap of this network"
        )
