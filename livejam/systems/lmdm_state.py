"""What a Live Music Diffusion Model remembers from block to block.

Shapes: B batch, T latent frames, C latent channels, P numbers of a frame of a sketch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from livejam.networks.conditioning import Prompt
from livejam.systems.blocks import DiffusionCache


@dataclass(frozen=True)
class LMDMState:
    """The state of a stream; latents are normalised.

    Args:
        mix_BTC: the last mix frames, as many as the model sees; 0 where nothing was heard yet.
        position_B: mix frames heard since the stream began.
        played_BTC: the last frames that were played, as many as the context has; 0 where nothing was played.
        played_B: frames played since the stream began.
        seed_B: seed of each row's noise.
        prompt: the prompts; None if the model takes no prompts.
        cache: keys and values of the context and of the prompt; None = they are computed in the next step.
        sketch_BTP: packed curves of the window that ends with the next block, which alone follows them; None = none.
    """

    mix_BTC: Tensor
    position_B: Tensor
    played_BTC: Tensor
    played_B: Tensor
    seed_B: Tensor
    prompt: Prompt | None
    cache: DiffusionCache | None
    sketch_BTP: Tensor | None = None


def heard(state: LMDMState, mix_BTC: Tensor) -> LMDMState:
    """The state after more of the mix."""
    frames = mix_BTC.shape[1]
    return replace(state, mix_BTC=_appended(state.mix_BTC, mix_BTC), position_B=state.position_B + frames)


def played(state: LMDMState, block_BTC: Tensor) -> LMDMState:
    """The state after more of the accompaniment."""
    played_BTC = _appended(state.played_BTC, block_BTC)
    return replace(state, played_BTC=played_BTC, played_B=state.played_B + block_BTC.shape[1])


def _appended(memory_BTC: Tensor, new_BTC: Tensor) -> Tensor:
    """The last frames of both, in the length of the memory."""
    joined_BTC = torch.cat((memory_BTC, new_BTC.to(memory_BTC)), dim=1)
    return joined_BTC[:, new_BTC.shape[1] :]


def filled(count_B: Tensor, frames: int) -> Tensor:
    """Which of the last `frames` frames exist, after `count_B` frames in all (bool)."""
    return torch.arange(frames, device=count_B.device) >= frames - count_B[:, None]


def known_mix(state: LMDMState, window_frames: int) -> tuple[Tensor, Tensor]:
    """Mix latents and mask of the window."""
    batch, frames, channels = state.mix_BTC.shape
    mask_BT = filled(state.position_B, frames).to(state.mix_BTC)
    missing = window_frames - frames
    later_BTC = state.mix_BTC.new_zeros(batch, missing, channels)
    mix_BTC = torch.cat((state.mix_BTC, later_BTC), dim=1)
    return mix_BTC, torch.cat((mask_BT, later_BTC[..., 0]), dim=1)
