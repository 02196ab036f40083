"""What a stream of a Live Music Diffusion Model remembers.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from livejam.networks.conditioning import Prompt
from livejam.networks.diffusion_cache import DiffusionCache


@dataclass(frozen=True)
class LMDMState:
    """Everything a stream remembers; latents are normalised.

    Args:
        heard_BTC: the last mix frames, as many as the model sees; 0 where nothing was heard yet.
        heard_B: mix frames heard since the stream began.
        played_BTC: the last frames that were played, as many as the context has; 0 where nothing was played.
        played_B: frames played since the stream began.
        seed_B: seed of each row's noise.
        prompt: what is asked for; None if the model takes no prompts.
        cache: keys and values of the context and of the prompt; None = they are made in the next step.
    """

    heard_BTC: Tensor
    heard_B: Tensor
    played_BTC: Tensor
    played_B: Tensor
    seed_B: Tensor
    prompt: Prompt | None
    cache: DiffusionCache | None


def heard(state: LMDMState, mix_BTC: Tensor) -> LMDMState:
    """The state after more of the mix."""
    heard_BTC = _appended(state.heard_BTC, mix_BTC)
    return replace(state, heard_BTC=heard_BTC, heard_B=state.heard_B + mix_BTC.shape[1])


def played(state: LMDMState, block_BTC: Tensor) -> LMDMState:
    """The state after more of the accompaniment."""
    played_BTC = _appended(state.played_BTC, block_BTC)
    return replace(state, played_BTC=played_BTC, played_B=state.played_B + block_BTC.shape[1])


def _appended(memory_BTC: Tensor, new_BTC: Tensor) -> Tensor:
    """The last frames of both, as many as the memory has."""
    joined_BTC = torch.cat((memory_BTC, new_BTC.to(memory_BTC)), dim=1)
    return joined_BTC[:, new_BTC.shape[1] :]


def filled(count_B: Tensor, frames: int) -> Tensor:
    """Which of the last `frames` frames exist, when `count_B` were ever given (bool)."""
    return torch.arange(frames, device=count_B.device) >= frames - count_B[:, None]


def jam(state: LMDMState, window_frames: int) -> tuple[Tensor, Tensor]:
    """Mix latents and mask of the window."""
    batch, frames, channels = state.heard_BTC.shape
    mask_BT = filled(state.heard_B, frames).to(state.heard_BTC)
    missing = window_frames - frames
    later_BTC = state.heard_BTC.new_zeros(batch, missing, channels)
    jam_BTC = torch.cat((state.heard_BTC, later_BTC), dim=1)
    return jam_BTC, torch.cat((mask_BT, later_BTC[..., 0]), dim=1)
