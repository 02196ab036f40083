"""LiveBand's step as a graph, with its own weights.

Shapes: B batch (1), T new frames (1), C latent channels, Z noise channels, D width, H heads, W slots of a cache, E
channels per head, I instruments, M adaptive normalisations.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from livejam.export.graphs import StepGraph
from livejam.networks.causal_transformer import AdaptiveLayerNorm, TransformerBlock
from livejam.networks.windowed_attention import (
    WindowedAttention,
    attend_cached,
    root_mean_square_normalised,
    rotary_turns,
    rotate,
)
from livejam.systems.liveband import LiveBandAccompanist


class LiveBandGraph(StepGraph):
    """`mix_latents` (1TC), `instrument` (1) and `noise` (1TZ) to `accompaniment_latents` (1TC).

    The cache of a block holds rotated keys and values of the last W frames in slots that are written in turn:
    attention does not ask for an order. `position` counts frames in 32 bits and may wrap: the angles of the rotary
    positions are counted in 2^-32 turns, whose differences stay exact.

    Args:
        accompanist: a causal one; its weights are shared.
    """

    modulation_IM2D: Tensor
    turns: Tensor
    slot_W: Tensor

    def __init__(self, accompanist: LiveBandAccompanist) -> None:
        generator = accompanist.generator
        blocks, heads, slots = len(generator.blocks), generator.heads, generator.window_frames
        channels = generator.norm.width // heads
        inputs = {
            "mix_latents": torch.zeros(1, 1, generator.latent_channels),
            "instrument": torch.zeros(1, dtype=torch.int32),
            "noise": torch.zeros(1, 1, generator.noise_channels),
        }
        states = {
            "generator_position": torch.zeros(1, dtype=torch.int32),
            "generator_slot": torch.zeros(1, dtype=torch.int32),
        } | {f"generator_cache_{block}": torch.zeros(2, heads, slots, channels) for block in range(blocks)}
        super().__init__("generator", inputs, "accompaniment_latents", states)
        self.statistics, self.project_in, self.project_out = (
            accompanist.statistics,
            generator.project_in,
            generator.project_out,
        )
        self.blocks = nn.ModuleList(cast(TransformerBlock, block) for block in generator.blocks)
        self.norm = generator.norm
        # all that depends on the instrument, so that a step reads one row of it; the anticipation is fixed
        norms = [norm for norm in generator.modules() if isinstance(norm, AdaptiveLayerNorm)]
        instrument_I = torch.arange(generator.classes)
        condition = generator.condition(instrument_I, torch.full_like(instrument_I, accompanist.anticipation_frames))
        modulations = [torch.cat(norm.modulation_of(condition), dim=1) for norm in norms]
        self.register_buffer("modulation_IM2D", torch.stack(modulations, dim=1).detach())
        self.register_buffer("turns", ((rotary_turns(channels, torch.device("cpu")) + (1 << 31)) >> 32).int())
        self.register_buffer("slot_W", torch.arange(slots, dtype=torch.int32))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        mix_BTC, instrument_B, noise_BTZ, position, slot, *caches = tensors
        angle = (position * self.turns).float() * (2 * math.pi / 2.0**32)
        table = angle.cos(), angle.sin()
        now_W, heard_W = self.slot_W == slot, self.slot_W <= position
        modulation_M2D = self.modulation_IM2D.index_select(0, instrument_B)[0]
        x_BTD = self.project_in(torch.cat((noise_BTZ, self.statistics.normalise(mix_BTC)), dim=-1))
        for number, block in enumerate(self.blocks):
            assert isinstance(block, TransformerBlock)
            first, second = modulation_M2D[2 * number], modulation_M2D[2 * number + 1]
            normed_BTD = block.attention_norm.modulated(x_BTD, tuple(first[:, None, None]))
            attended_BTD, caches[number] = attended(block.attention, normed_BTD, caches[number], now_W, heard_W, table)
            x_BTD = x_BTD + attended_BTD
            x_BTD = x_BTD + block.feed_forward(block.feed_forward_norm.modulated(x_BTD, tuple(second[:, None, None])))
        out_BTC = self.project_out(self.norm.modulated(x_BTD, tuple(modulation_M2D[-1][:, None, None])))
        following = slot + 1
        slot = torch.where(following >= len(self.slot_W), torch.zeros_like(slot), following)
        return self.statistics.denormalise(out_BTC), position + 1, slot, *caches


def attended(
    attention: WindowedAttention,
    x_BTD: Tensor,
    cache_2HWE: Tensor,
    now_W: Tensor,
    heard_W: Tensor,
    table: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """`WindowedAttention.step` for one frame, and the cache with that frame.

    Args:
        attention: the weights.
        x_BTD: the frame.
        cache_2HWE: keys and values.
        now_W: the slot of the frame.
        heard_W: the slots that are filled.
        table: cosines and sines of its position.
    """
    qkv_3HTE = attention.project_in(x_BTD).view(3, attention.heads, 1, -1)
    weight = torch.stack((attention.query_norm.weight, attention.key_norm.weight)).view(2, 1, 1, -1)
    query, key = rotate(root_mean_square_normalised(qkv_3HTE[:2]) * weight, table).unbind()
    cache_2HWE = torch.where(now_W[:, None], torch.stack((key, qkv_3HTE[2])), cache_2HWE)
    keys, values = cache_2HWE.unbind()
    out_HTE = attend_cached(query[None], keys[None], values[None], heard_W, attention.sink_H)
    return attention.project_out(out_HTE.reshape(1, 1, -1)), cache_2HWE
