"""A Live Music Diffusion Model as it plays: a block heard, a block emitted, on top of what it played before.

Shapes: B batch, T latent frames, C latent channels, P prompt tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from livejam.accompanist import Controls
from livejam.batch import CATEGORIES, NULL_CATEGORY
from livejam.errors import UserError
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.conditioning import Prompt
from livejam.networks.diffusion_transformer import DiffusionTransformer
from livejam.past import Past
from livejam.sampling import Sampler, row_noise
from livejam.spec import CodecSpec
from livejam.statistics import LatentStatistics


@dataclass(frozen=True)
class LMDMState:
    """Everything a stream remembers; latents are normalised.

    Args:
        heard_BTC: the last mix frames, as many as the model sees; 0 where nothing was heard yet.
        heard_B: mix frames heard since the stream began.
        played_BTC: the last frames that were played, as many as the context has; 0 where nothing was played.
        played_B: frames played since the stream began.
        seed_B: seed of each row's noise.
        prompt: what is asked for; may be replaced between steps. None if the model takes no prompts.
    """

    heard_BTC: Tensor
    heard_B: Tensor
    played_BTC: Tensor
    played_B: Tensor
    seed_B: Tensor
    prompt: Prompt | None


class LMDMAccompanist:
    """A trained diffusion transformer behind the `Accompanist` contract.

    One step hears a block of the mix and emits a block. The cutoff says which one, in blocks: at 0 the block that
    begins where hearing ends, at -1 the one after it, so that there is a block's time to compute in, and at +1
    the very block that was heard, which cannot be played live: an upper bound.

    Args:
        generator: network and encoders; used as they are (device, dtype, training mode).
        spec: the codec whose latents go in and out.
        statistics: of the latents that the generator was trained on.
        past: how it is told what it has played; the one it was trained with.
        sampler: from noise to latents.
        cutoff_blocks: blocks of the mix that are known beyond the context.

    Raises:
        UserError: generator, codec and cutoff do not fit together.
    """

    def __init__(
        self,
        generator: ConditionedTransformer,
        spec: CodecSpec,
        statistics: LatentStatistics,
        past: Past,
        sampler: Sampler,
        cutoff_blocks: int = 0,
    ) -> None:
        network = generator.transformer
        require_window(network, cutoff_blocks)
        for name in ("latent_channels", "jam_channels"):
            if getattr(network, name) != spec.latent_channels:
                raise UserError(
                    f"the network has {name} {getattr(network, name)}, but codec {spec.name} has "
                    f"{spec.latent_channels}; set {name} to the codec's"
                )
        self.generator = generator
        self._spec, self._statistics = spec, statistics
        self._past, self._sampler = past, sampler
        self._cutoff_blocks = cutoff_blocks

    @property
    def spec(self) -> CodecSpec:
        """The codec whose latents go in and out."""
        return self._spec

    @property
    def block_frames(self) -> int:
        """Frames heard and emitted per step."""
        return self.generator.transformer.block_frames

    @property
    def anticipation_frames(self) -> int:
        """δ, as `accompany` counts it: the first frame emitted is 1 + δ frames after the first frame heard.

        At cutoff 0 that is a block, the shortest that can be played live; its compute budget is
        δ + 1 - `block_frames` = 0 frames, and a block's more at each cutoff below.
        """
        return (1 - self._cutoff_blocks) * self.block_frames - 1

    def init_state(self, batch_size: int, controls: Controls) -> LMDMState:
        """The state before the first frame: nothing heard, nothing played."""
        network = self.generator.transformer
        empty = network.project_noisy.weight.new_zeros
        frames = torch.zeros(batch_size, dtype=torch.int64, device=network.project_noisy.weight.device)
        return LMDMState(
            heard_BTC=empty(batch_size, cutoff_frames(network, self._cutoff_blocks), network.jam_channels),
            heard_B=frames,
            played_BTC=empty(batch_size, network.context_frames, network.latent_channels),
            played_B=frames,
            seed_B=controls.seed_B.to(frames.device),
            prompt=prompt_of(self.generator, controls),
        )

    def primed(self, mix_BTC: Tensor, accompaniment_BTC: Tensor, state: LMDMState) -> LMDMState:
        """The state as if it had played the given accompaniment to the given mix (codec latents of any length).

        Args:
            mix_BTC: what was heard; the next step hears the frames after it.
            accompaniment_BTC: what was played; the next step emits the frames after it.
            state: before that.
        """
        mix_BTC, played_BTC = (self._statistics.normalise(x) for x in (mix_BTC, accompaniment_BTC))
        return _played(_heard(state, mix_BTC), played_BTC)

    def step(self, mix_BTC: Tensor, state: LMDMState) -> tuple[Tensor, LMDMState]:
        """Hear the next block, emit a block (codec latents, not normalised)."""
        if mix_BTC.shape[1] != self.block_frames:
            raise UserError(f"a step hears {self.block_frames} frames, not {mix_BTC.shape[1]}; give it whole blocks")
        network = self.generator.transformer
        state = _heard(state, self._statistics.normalise(mix_BTC))
        conditions = self.generator.conditions(
            state.prompt, self.spec.seconds_in(network.window_frames), jam=_jam(state, network.window_frames)
        )
        index_T = torch.arange(network.window_frames, device=mix_BTC.device)
        position_BT = state.heard_B[:, None] + index_T
        noise = row_noise(state.seed_B, position_BT, network.latent_channels, state.played_BTC.dtype)
        known_BT = _filled(state.played_B, network.context_frames)
        block_BTC = self._past.continued(network, conditions, state.played_BTC, known_BT, self._sampler, noise)
        return self._statistics.denormalise(block_BTC), _played(state, block_BTC)


def require_window(network: DiffusionTransformer, cutoff_blocks: int) -> None:
    """Refuse a window that cannot be played block by block.

    Raises:
        UserError: the context is no multiple of the block, or the cutoff lies outside of the window.
    """
    context, block = network.context_frames, network.block_frames
    if context % block:
        raise UserError(
            f"context_frames ({context}) must be a multiple of block_frames ({block}), because the context slides by "
            f"blocks; set it to {context // block * block or block}"
        )
    lowest = -(context // block)
    if not lowest <= cutoff_blocks <= 1:
        raise UserError(
            f"cutoff_blocks is {cutoff_blocks}, outside of the window of {context // block} context blocks and one "
            f"more; set it between {lowest} and 1"
        )


def cutoff_frames(network: DiffusionTransformer, cutoff_blocks: int) -> int:
    """Frames of the window in which the mix is known."""
    return network.context_frames + cutoff_blocks * network.block_frames


def prompt_of(generator: ConditionedTransformer, controls: Controls) -> Prompt | None:
    """What is asked for: the prompt where there is one, else the instrument's name, else nothing."""
    if controls.prompt is not None:
        return generator.prompt(controls.prompt)
    unasked_B = controls.instrument_B == NULL_CATEGORY
    prompt = generator.prompt([CATEGORIES[i] for i in controls.instrument_B.masked_fill(unasked_B, 0).tolist()])
    return None if prompt is None else prompt.without(unasked_B.to(prompt.mask_BP.device))


def _heard(state: LMDMState, mix_BTC: Tensor) -> LMDMState:
    heard_BTC = _appended(state.heard_BTC, mix_BTC)
    return replace(state, heard_BTC=heard_BTC, heard_B=state.heard_B + mix_BTC.shape[1])


def _played(state: LMDMState, block_BTC: Tensor) -> LMDMState:
    played_BTC = _appended(state.played_BTC, block_BTC)
    return replace(state, played_BTC=played_BTC, played_B=state.played_B + block_BTC.shape[1])


def _appended(memory_BTC: Tensor, new_BTC: Tensor) -> Tensor:
    """The last frames of both, as many as the memory has."""
    joined_BTC = torch.cat((memory_BTC, new_BTC.to(memory_BTC)), dim=1)
    return joined_BTC[:, new_BTC.shape[1] :]


def _filled(count_B: Tensor, frames: int) -> Tensor:
    """Which of the last `frames` frames exist, when `count_B` were ever given (bool)."""
    return torch.arange(frames, device=count_B.device) >= frames - count_B[:, None]


def _jam(state: LMDMState, window_frames: int) -> tuple[Tensor, Tensor]:
    """Mix latents and mask of the window."""
    batch, frames, channels = state.heard_BTC.shape
    mask_BT = _filled(state.heard_B, frames).to(state.heard_BTC)
    missing = window_frames - frames
    later_BTC = state.heard_BTC.new_zeros(batch, missing, channels)
    jam_BTC = torch.cat((state.heard_BTC, later_BTC), dim=1)
    return jam_BTC, torch.cat((mask_BT, later_BTC[..., 0]), dim=1)
