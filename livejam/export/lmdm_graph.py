"""A Live Music Diffusion Model's block as a graph: all steps of its sampler, by the model's own code.

Shapes: B batch (1), T frames of a block, C latent channels, D draws of noise, F frames of a draw, I instruments,
P prompt tokens, L layers, K cached frames, H heads, E channels per head, W frames of the window, N numbers of a frame
of a sketch, G its controls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from livejam.accompanist import Controls
from livejam.batch import NAMES
from livejam.export.graphs import StepGraph, finite
from livejam.networks.conditioning import Prompt
from livejam.noise import Noise
from livejam.sampling.samplers import CfgPlusPlusSampler, CfgSampler, Sampler
from livejam.sampling.schedules import Schedule
from livejam.sketch import CONTROLS
from livejam.systems.blocks import DiffusionCache
from livejam.systems.context import InpaintedContext
from livejam.systems.lmdm import LMDMAccompanist
from livejam.systems.lmdm_state import LMDMState


class LMDMGraph(StepGraph):
    """`mix_latents` (1TC), `instrument` (1) and `noise` (DFC) to `accompaniment_latents` (1TC).

    The instrument chooses the prompt, unless there are tokens in the control `prompt` (1PD) with its `prompt_mask`
    (1P). A cached block keeps the prompt under which it was encoded, so a Block-Causal model has states before the
    first step for every instrument. Where guidance leads away from no prompt, it leads away from the tokens of the
    control `negative_prompt` (1PD) with its `negative_prompt_mask` (1P) instead, if there are any. The controls
    `sketch` (1WN) and `sketch_mask` (1WG) are the packed curves of the window that ends with the block, and 1 where one
    of them is asked for. Numbers that are not finite ask for nothing.

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
        prompts = [state.prompt for state in begun if state.prompt is not None]
        counts = torch.zeros(2, dtype=torch.int32)
        memory = {"generator_mix": begun[0].mix_BTC, "generator_played": begun[0].played_BTC}
        super().__init__(
            "generator",
            inputs,
            "accompaniment_latents",
            {**memory, "generator_counts": counts, **_cached(begun[0].cache)},
            [_cached(state.cache) for state in begun],
            _nothing_asked(accompanist, prompts),
        )
        self.generator, self.accompanist = accompanist.generator, _WithNoise(accompanist)
        self.layers = 0 if begun[0].cache is None else len(begun[0].cache.key)
        self.cached_frames = 0 if begun[0].cache is None else begun[0].cache.frames
        self.prompted, self.sketched = bool(prompts), accompanist.sketch is not None
        self.leads_away = leads_away(accompanist)
        if prompts:
            self.register_buffer("prompt_IPD", torch.cat([prompt.embedding_BPD for prompt in prompts]).detach())
            self.register_buffer("mask_IP", torch.cat([prompt.mask_BP for prompt in prompts]).float())

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        mix_BTC, instrument_B, noise_DFC = tensors[: len(self.inputs)]
        controls = dict(zip(self.controls, tensors[len(self.inputs) :], strict=False))
        heard_BTC, played_BTC, counts_2, *cached = tensors[len(self.inputs) + len(self.controls) :]
        state = LMDMState(
            mix_BTC=heard_BTC,
            position_B=counts_2[:1],
            played_BTC=played_BTC,
            played_B=counts_2[1:],
            seed_B=counts_2[:1],
            prompt=self._prompt(instrument_B, controls) if self.prompted else None,
            cache=None,
            negative=_avoided(controls) if self.leads_away else None,
            sketch_BTP=_with_gaps(controls["sketch"], controls["sketch_mask"]) if self.sketched else None,
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

    def _prompt(self, instrument_B: Tensor, controls: Mapping[str, Tensor]) -> Prompt:
        """What is asked in words, else the instrument's prompt."""
        own_BPD, own_BP = (held.index_select(0, instrument_B) for held in (self.prompt_IPD, self.mask_IP))
        asked_BPD, asked_BP = controls["prompt"], controls["prompt_mask"]
        asked_B1 = asked_BP.amax(dim=1, keepdim=True) > 0.5
        mask_BP = torch.where(asked_B1, asked_BP, own_BP) > 0.5
        return Prompt(torch.where(asked_B1[..., None], finite(asked_BPD), own_BPD), mask_BP)

    @property
    def own_prompts(self) -> Prompt | None:
        """The prompt of every class index of instruments; None if the model takes none."""
        return Prompt(self.prompt_IPD, self.mask_IP > 0.5) if self.prompted else None

    @property
    def first_position(self) -> int:
        """Position of the first frame of noise in step 0: the window ends with the block after the one just heard."""
        return 2 * self.generator.transformer.block_frames - self.inputs["noise"].shape[1]


def leads_away(accompanist: LMDMAccompanist) -> bool:
    """Whether guidance leads away from no prompt, so that there can be a negative one in its place."""
    return accompanist.generator.prompt_encoder is not None and any("prompt" in side for side in accompanist.sides)


def _avoided(controls: Mapping[str, Tensor]) -> Prompt:
    """What guidance leads away from; without tokens, from no prompt."""
    return Prompt(finite(controls["negative_prompt"]), controls["negative_prompt_mask"] > 0.5)


def _nothing_asked(accompanist: LMDMAccompanist, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
    """The controls of a model, as they are when nobody uses them."""
    controls: dict[str, Tensor] = {}
    if prompts:
        controls["prompt"] = torch.zeros_like(prompts[0].embedding_BPD)
        controls["prompt_mask"] = torch.zeros(prompts[0].mask_BP.shape)
        if leads_away(accompanist):
            controls |= {f"negative_{name}": nothing.clone() for name, nothing in controls.items()}
    if accompanist.sketch is not None:
        frames = accompanist.generator.transformer.window_frames
        controls["sketch"] = torch.zeros(1, frames, accompanist.sketch.numbers)
        controls["sketch_mask"] = torch.zeros(1, frames, len(CONTROLS))
    return controls


def _with_gaps(sketch_BWN: Tensor, mask_BWG: Tensor) -> Tensor:
    """Packed curves with NaN where nothing is asked, as sessions have them."""
    loudness, brightness, pitch = mask_BWG.split(1, dim=-1)
    asked_BWN = torch.cat((loudness, brightness, pitch.expand(-1, -1, sketch_BWN.shape[-1] - 2)), dim=-1)
    return torch.where(asked_BWN > 0.5, sketch_BWN, torch.nan)


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
