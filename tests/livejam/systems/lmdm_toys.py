"""Small Live Music Diffusion Models that play, for tests.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from livejam.accompanist import Controls
from livejam.networks import (
    NOTHING_ASKED,
    Bidirectional,
    BlockCausal,
    DiffusionTransformer,
    EncoderDecoder,
    TagEncoder,
    Unconditional,
)
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.diffusion_masks import AttentionMask
from livejam.sampling import Euler, Sampler
from livejam.spec import CodecSpec, LatentStatistics
from livejam.systems.context import ContextMode, RoutedContext
from livejam.systems.lmdm import LMDMAccompanist

C, BLOCK, BLOCKS = 5, 3, 3
CONTEXT = BLOCK * BLOCKS
SPEC = CodecSpec("test", 22050, 1, 2048, C, 0)
STATISTICS = LatentStatistics(torch.full((C,), 0.3), torch.linspace(0.5, 2.0, C))
CONTROLS = Controls(torch.tensor([4, 14]), torch.tensor([1, 2]))
SILENCE_C = torch.full((C,), -7.0, dtype=torch.float64)


def make_generator(mask: AttentionMask, context: int = CONTEXT, block: int = BLOCK) -> ConditionedTransformer:
    """Every weight random: an untrained network does not listen."""
    network = DiffusionTransformer(
        C,
        width=16,
        depth=3,
        heads=2,
        context_frames=context,
        block_frames=block,
        prompt_width=8,
        mix_channels=C,
        mask=mask,
    )
    generator = ConditionedTransformer(network, TagEncoder(8)).double().requires_grad_(False)
    rng = torch.Generator().manual_seed(0)
    for parameter in generator.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64) * 0.3)
    return generator


MASKS: dict[str, AttentionMask] = {
    "outpainting": Bidirectional(),
    "encdec": EncoderDecoder(CONTEXT),
    "blockcausal": BlockCausal(BLOCK, BLOCKS),
}


def make_accompanist(
    mask: AttentionMask,
    cutoff: int = 0,
    sampler: Sampler | None = None,
    cached: bool = True,
    context_mode: ContextMode | None = None,
    unconditional: Unconditional = NOTHING_ASKED,
) -> LMDMAccompanist:
    parts = make_generator(mask), SPEC, STATISTICS, context_mode or RoutedContext(), sampler or Euler(2)
    return LMDMAccompanist(*parts, cutoff, cached, unconditional)


def make_mix(blocks: int = 6) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(2, blocks * BLOCK, C, generator=rng, dtype=torch.float64)


def played(accompanist: LMDMAccompanist, mix_BTC: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    state = state or accompanist.init_state(2, CONTROLS)
    blocks = []
    for block_BTC in mix_BTC.split(BLOCK, dim=1):
        out_BTC, state = accompanist.step(block_BTC, state)
        blocks.append(out_BTC)
    return torch.cat(blocks, dim=1), state
