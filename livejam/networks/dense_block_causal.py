"""Block-Causal training in which every block of a long crop is a target: one pass instead of a window per block.

The sequence has three parts: the clean stream, frames that were played; the noisy stream, the blocks to generate; and
one token per such block, with its noise level. A block to generate hears the clean blocks before it and itself, as it
will in playing, where they come from a cache. So a crop of T frames trains T - context frames instead of one block.

Shapes: B batch, T frames of the crop, N frames to generate (T - context), K blocks to generate, C latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.networks.diffusion_conditions import DiffusionConditions
from livejam.networks.diffusion_masks import BlockCausal, Visibility
from livejam.networks.diffusion_transformer import DiffusionTransformer, masked_attention


@dataclass(frozen=True)
class DenseBlockCausal(Visibility):
    """What sees what: clean frames, then noisy frames, then tokens.

    Args:
        mask: of playing.
        blocks: of the crop. The last one is never context, so the clean stream ends before it.
    """

    mask: BlockCausal
    blocks: int

    @property
    def clean_frames(self) -> int:
        """Frames of the clean stream."""
        return (self.blocks - 1) * self.mask.block_frames

    @property
    def targets(self) -> int:
        """Blocks to generate: those with a whole context."""
        return self.blocks - self.mask.context_blocks

    def allowed(self, query_index: Tensor, key_index: Tensor) -> Tensor:
        """Whether the query may attend to the key; broadcasts."""
        query, key = self._block(query_index), self._block(key_index)
        clean_query, clean_key = query_index < self.clean_frames, key_index < self.clean_frames
        # a played block is encoded as the newest of a context, so it sees no further back than that
        reach = torch.where(clean_query, min(self.mask.window, self.mask.context_blocks), self.mask.window)
        past = (key > query - reach) & ((key < query) | (clean_query & (key == query)))
        return (clean_key & past) | (~clean_key & ~clean_query & (key == query))

    def _block(self, index: Tensor) -> Tensor:
        """The block of the crop that a frame or token belongs to."""
        frames, first = self.mask.block_frames, self.mask.context_blocks
        noisy = index - self.clean_frames
        token = noisy - self.targets * frames
        of_noisy = torch.where(token < 0, noisy.div(frames, rounding_mode="floor"), token)
        return torch.where(noisy < 0, index.div(frames, rounding_mode="floor"), first + of_noisy)

    def positions(self, device: torch.device) -> Tensor:
        """Rotary positions: that of frame i is i + 1 in both streams, a token's that in the window of its block."""
        frames = self.mask.block_frames
        index = torch.arange(self.blocks * frames, device=device) + 1
        token = torch.arange(self.targets, device=device) * frames + self.mask.token_position
        return torch.cat((index[: self.clean_frames], index[self.mask.context_frames :], token))


def dense_layout(network: DiffusionTransformer, frames: int) -> DenseBlockCausal:
    """What sees what in a crop of so many frames.

    Raises:
        UserError: the network's mask is not `BlockCausal`, or the crop is no context with whole blocks behind it.
    """
    if not isinstance(network.mask, BlockCausal):
        raise UserError(
            f"a dense pass needs the mask BlockCausal; {type(network.mask).__name__} has one block per window"
        )
    blocks, rest = divmod(frames, network.block_frames)
    if rest or blocks <= network.mask.context_blocks:
        raise UserError(
            f"a crop of {frames} frames has no whole number of blocks of {network.block_frames} behind a context of "
            f"{network.context_frames}; choose {network.context_frames} plus a multiple of {network.block_frames}"
        )
    return DenseBlockCausal(network.mask, blocks)


def dense_velocity(
    network: DiffusionTransformer,
    noisy_BNC: Tensor,
    time_BK: Tensor,
    conditions: DiffusionConditions,
    heard_frames_B: Tensor,
) -> Tensor:
    """The velocity_BNC of all blocks that have a context.

    That of the first one is `network` on its window. Those of the others are what the cached passes compute in playing,
    whose context blocks remember what was before the window.

    It is exact for horizons from cutoff 0 to +1, in frames. Below 0, the newest context blocks have no mix yet, and in
    playing they are encoded again with every block, until their mix is known: at cutoff -m a clean frame would have m
    encodings besides its last one, one for each distance from the block to generate, and a block of two frames at -2 s
    eleven. One clean stream is not enough for that, so those cutoffs are trained window by window (`FlowMatching`).

    Args:
        network: the model, under the mask `BlockCausal`.
        noisy_BNC: the blocks with noise.
        time_BK: noise level of every block.
        conditions: conditions of the whole crop, with the context wherever something was played, also in the blocks
            that are generated, and with all of the mix.
        heard_frames_B: first frames of its own mix that every block to generate hears, per row: 0 is cutoff 0, all of
            the block is cutoff +1, which cannot be played live.

    Raises:
        UserError: mask or crop do not fit (`dense_layout`), or shapes differ.
    """
    if conditions.context_BTC is None:
        raise UserError("a dense pass needs context_BTC and context_mask_BT")
    batch, frames = conditions.context_BTC.shape[:2]
    dense = dense_layout(network, frames)
    expected = (batch, frames - network.context_frames, network.latent_channels)
    if tuple(noisy_BNC.shape) != expected:
        raise UserError(f"the blocks have shape {tuple(noisy_BNC.shape)}; conditions and network expect {expected}")
    network.require_conditions(batch, frames, conditions)
    embedded = _embed(network, dense, noisy_BNC, conditions, heard_frames_B)
    tokens = _tokens(network, time_BK, conditions)
    hidden = torch.cat((*embedded, tokens), dim=1)
    table = network.rotary.table(dense.positions(noisy_BNC.device))
    attend = masked_attention(dense, hidden.shape[1], noisy_BNC.device)
    prompts = network.prompt_keys(conditions)
    for index, block in enumerate(network.layers):
        hidden = block(hidden, table, attend, prompts[index] if prompts else None)
    return network.velocity(hidden[:, dense.clean_frames : -dense.targets])


def _embed(
    network: DiffusionTransformer,
    dense: DenseBlockCausal,
    noisy_BNC: Tensor,
    conditions: DiffusionConditions,
    heard_frames_B: Tensor,
) -> tuple[Tensor, Tensor]:
    """Both streams before the first block."""
    clean_BTD = network.embed_context(conditions.frames(0, dense.clean_frames))
    own = conditions.frames(network.context_frames, dense.blocks * dense.mask.block_frames)
    frame_N = torch.arange(noisy_BNC.shape[1], device=noisy_BNC.device) % dense.mask.block_frames
    heard_BN = frame_N < heard_frames_B[:, None]
    heard = {
        name: None if (x := getattr(own, name)) is None else x * heard_BN.view(*heard_BN.shape, *[1] * (x.ndim - 2))
        for name in ("mix_BTC", "mix_mask_BT")
    }
    # only the mix is given where a block is generated
    given = network.given(replace(own, context_BTC=None, context_mask_BT=None, **heard))
    noisy_BND = network.sketched(network.project_noisy(network.before(noisy_BNC)), own)
    return clean_BTD, noisy_BND if given is None else noisy_BND + network.project_given(given)


def _tokens(network: DiffusionTransformer, time_BK: Tensor, conditions: DiffusionConditions) -> Tensor:
    """The token of every block (B, K, D)."""
    batch, blocks = time_BK.shape
    everywhere = conditions.global_BD
    if everywhere is not None:
        everywhere = everywhere.repeat_interleave(blocks, dim=0)
    tokens = network.token(time_BK.flatten(), replace(conditions, global_BD=everywhere))
    return tokens.view(batch, blocks, -1)
