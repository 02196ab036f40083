"""A Live Music Diffusion Model's block as a graph: all steps of its sampler, by the model's own code.

Shapes: B batch (1), T frames of a block, C latent channels, D draws of noise, F frames of a draw, I instruments,
P prompt tokens, L layers, K cached frames, H heads, E channels per head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from livejam.accompanist import Controls
from livejam.batch import NAMES
from livejam.export.graphs import StepGraph
from livejam.networks.conditioning import Prompt
from livejam.noise import Noise
from livejam.sampling.samplers import CfgPlusPlusSampler, CfgSampler, Sampler
from livejam.sampling.schedules import Schedule
from livejam.systems.blocks import DiffusionCache
from livejam.systems.context import InpaintedContext
from livejam.systems.lmdm import LMDMAccompanist
from livejam.systems.lmdm_state import LMDMState


class LMDMGraph(StepGraph):
    """`mix_latents` (1TC), `instrument` (1) and `noise` (DFC) to `accompaniment_latents` (1TC).

    The instrument chooses the prompt. A cached block keeps the prompt under which it was encoded, so a Block-Causal
    model has states before the first step for every instrument.

    Args:
        accompanist: its weights are shared.
    """

    prompt_IPD: Tensor
    mask_IP: Tensor

    def __init__(self, accompanist: LMDMAccompanist) -> None:
        network = accompanist.generator.transformer
        begun = [accompanist.init_state(1, Controls(torch.tensor([i]), torch.tensor([0]))) for i in range(len(NAMES))]
        frames = (
            network.window_frames if isinstance(accompanist.context_mode, InpaintedContext) else network.block_frames
        )
        inputs = {
            "mix_latents": torch.zeros(1, network.block_frames, network.latent_channels),
            "instrument": torch.zeros(1, dtype=torch.int32),
            "noise": torch.zeros(_draws(accompanist, begun[0]), frames, network.latent_channels),
        }
        counts = torch.zeros(2, dtype=torch.int32)
        memory = {"generator_mix": begun[0].mix_BTC, "generator_played": begun[0].played_BTC}
        super().__init__(
            "generator",
            inputs,
            "accompaniment_latents",
            {**memory, "generator_counts": counts, **_cached(begun[0].cache)},
            [_cached(state.cache) for state in begun],
        )
        self.generator, self.accompanist = accompanist.generator, _WithNoise(accompanist)
        self.layers = 0 if begun[0].cache is None else len(begun[0].cache.key)
        self.cached_frames = 0 if begun[0].cache is None else begun[0].cache.frames
        prompts = [state.prompt for state in begun if state.prompt is not None]
        self.prompted = bool(prompts)
        if prompts:
            self.register_buffer("prompt_IPD", torch.cat([prompt.embedding_BPD for prompt in prompts]).detach())
            self.register_buffer("mask_IP", torch.cat([prompt.mask_BP for prompt in prompts]).float())

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        mix_BTC, instrument_B, noise_DFC, heard_BTC, played_BTC, counts_2, *cached = tensors
        state = LMDMState(
            mix_BTC=heard_BTC,
            position_B=counts_2[:1],
            played_BTC=played_BTC,
            played_B=counts_2[1:],
            seed_B=counts_2[:1],
            prompt=self._prompt(instrument_B),
            cache=None,
        )
        if self.layers:
            prompt = self.generator.transformer.prompt_keys(self.accompanist.asks(state))
            keys, values = tuple(cached[: self.layers]), tuple(cached[self.layers :])
            state = replace(state, cache=DiffusionCache(keys, values, self.cached_frames, prompt))
        self.accompanist.noise = lambda number: noise_DFC[number : number + 1]
        block_BTC, after = self.accompanist.generate_block(mix_BTC, state)
        # more than the window is as good as the window, and never overflows
        counts_2 = (counts_2 + mix_BTC.shape[1]).clamp(max=self.generator.transformer.window_frames)
        cache = _cached(after.cache).values() if self.layers else ()
        out_BTC = self.accompanist.statistics.denormalise(block_BTC)
        return out_BTC, after.mix_BTC, after.played_BTC, counts_2, *cache

    def _prompt(self, instrument_B: Tensor) -> Prompt | None:
        if not self.prompted:
            return None
        mask_BP = self.mask_IP.index_select(0, instrument_B) > 0.5
        return Prompt(self.prompt_IPD.index_select(0, instrument_B), mask_BP)

    @property
    def first_position(self) -> int:
        """Position of the first frame of noise in step 0: the window ends with the block after the one just heard."""
        return 2 * self.generator.transformer.block_frames - self.inputs["noise"].shape[1]


def _cached(cache: DiffusionCache | None) -> Mapping[str, Tensor]:
    """The rows of a cache that count, by their names."""
    if cache is None:
        return {}
    keys = {f"generator_key_{layer}": key[:, : cache.frames] for layer, key in enumerate(cache.key)}
    return keys | {f"generator_value_{layer}": value[:, : cache.frames] for layer, value in enumerate(cache.value)}


class _WithNoise(LMDMAccompanist):
    """The same model, with noise that somebody gives it.

    Args:
        accompanist: the model.
    """

    noise: Noise

    def __init__(self, accompanist: LMDMAccompanist) -> None:
        self.__dict__.update(accompanist.__dict__)
        self._sampler = _with_known_times(accompanist.sampler)

    def _noise(self, state: LMDMState, frames: int) -> Noise:
        return lambda number: self.noise(number)[:, -frames:]


class _KnownTimes(Schedule):
    """Noise levels that are numbers, and no part of a graph.

    Args:
        times: of the schedule that it replaces.
    """

    def __init__(self, times: Tensor) -> None:
        self._times = times

    def times(self, steps: int) -> Tensor:
        return self._times


def _with_known_times(sampler: Sampler) -> Sampler:
    if isinstance(sampler, CfgSampler | CfgPlusPlusSampler):
        return replace(sampler, schedule=_KnownTimes(sampler.schedule.times(sampler.steps)))
    return sampler


def _draws(accompanist: LMDMAccompanist, state: LMDMState) -> int:
    """How often a block draws noise."""
    asked: list[int] = []
    network = accompanist.generator.transformer

    def counted(number: int) -> Tensor:
        asked.append(number)
        return torch.zeros(1, network.window_frames, network.latent_channels)

    twin = _WithNoise(accompanist)
    twin.noise = counted
    with torch.no_grad():
        twin.generate_block(torch.zeros(1, network.block_frames, network.latent_channels), state)
    return 1 + max(asked)
