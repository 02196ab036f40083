"""A diffusion model with other block lengths, contexts and denoising steps: what of it fits into the time of a block.

Times depend on sizes alone, so a twin with the same weights need not play well to say how long it takes.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch

from livejam.accompanist import Controls
from livejam.batch import NULL_CATEGORY
from livejam.networks.diffusion_masks import AttentionMask, BlockCausal, EncoderDecoder
from livejam.networks.diffusion_transformer import DiffusionTransformer
from livejam.systems.lmdm import LMDMAccompanist

CONTEXTS = (1, 2, 4, 8)
"""Contexts that are tried, as multiples of the model's own."""

MOST_STEPS = 64
WARM_BLOCKS, BLOCKS = 2, 3


@dataclass(frozen=True)
class BlockLength:
    """How a model does with one block length.

    Args:
        block_frames: frames per block.
        block_seconds: their duration, which is the time there is.
        latency_seconds: time of a block with the model's own context and denoising steps.
        steps: most denoising steps that fit, with the model's own context; 0 = none.
        context_frames: largest context among those tried that fits, with the model's own steps; 0 = none.
    """

    block_frames: int
    block_seconds: float
    latency_seconds: float
    steps: int
    context_frames: int


def block_lengths(accompanist: LMDMAccompanist) -> Iterator[BlockLength]:
    """Half the model's block, its own, and twice as long ones, with about the same context."""
    network = accompanist.generator.transformer
    own = network.block_frames
    for block in sorted({max(1, own // 2), own, 2 * own}):
        context = max(block, network.context_frames // block * block)
        yield _measured(accompanist, block, context)


def _measured(accompanist: LMDMAccompanist, block: int, context: int) -> BlockLength:
    seconds = accompanist.spec.seconds_in(block)
    latency = _block_seconds(_twin(accompanist, block, context))
    fits, largest = latency < seconds, 0
    if fits:
        largest = context
        for factor in CONTEXTS[1:]:
            if _block_seconds(_twin(accompanist, block, factor * context)) >= seconds:
                break
            largest = factor * context
    return BlockLength(block, seconds, latency, _steps_that_fit(accompanist, block, context, seconds), largest)


def _steps_that_fit(accompanist: LMDMAccompanist, block: int, context: int, seconds: float) -> int:
    """By a line through the times of one and of four steps: a block costs its context once, and every step the same."""
    one, four = (_block_seconds(_twin(_with_steps(accompanist, steps), block, context)) for steps in (1, 4))
    each = max((four - one) / 3, 1e-6)
    return max(0, min(MOST_STEPS, int((seconds - one) / each) + 1)) if seconds > one else 0


def _with_steps(accompanist: LMDMAccompanist, steps: int) -> LMDMAccompanist:
    sampler: Any = accompanist.sampler
    return accompanist.with_sampler(replace(sampler, steps=steps))


def _twin(accompanist: LMDMAccompanist, block: int, context: int) -> LMDMAccompanist:
    """The same weights with another window; the time of a block does not depend on the cutoff."""
    network: DiffusionTransformer = copy.copy(accompanist.generator.transformer)
    network.context_frames, network.block_frames = context, block
    network.mask = _mask(network.mask, block, context)
    twin = copy.copy(accompanist)
    twin.generator = copy.copy(accompanist.generator)
    twin.generator._modules = {**accompanist.generator._modules, "transformer": network}
    return twin


def _mask(mask: AttentionMask, block: int, context: int) -> AttentionMask:
    if isinstance(mask, BlockCausal):
        return BlockCausal(block, context // block)
    return EncoderDecoder(context) if isinstance(mask, EncoderDecoder) else mask


@torch.inference_mode()
def _block_seconds(accompanist: LMDMAccompanist) -> float:
    controls = Controls(torch.tensor([NULL_CATEGORY]), torch.tensor([0]))
    state, times = accompanist.init_state(1, controls), []
    mix_BTC = torch.randn(1, accompanist.block_frames, accompanist.spec.latent_channels)
    for _ in range(WARM_BLOCKS + BLOCKS):
        started = time.perf_counter()
        _, state = accompanist.step(mix_BTC, state)
        times.append(time.perf_counter() - started)
    return median(times[WARM_BLOCKS:])
