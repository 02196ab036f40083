"""LiveBand's step as a graph, with its own weights.

Shapes: T new frames (1), C latent channels, Z noise channels, D width, H heads, W slots of a cache, E channels per
head, I instruments, X numbers that depend on them. There is no batch: runtimes compute matrices faster than stacks of
one matrix.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from livejam.export.graphs import StepGraph
from livejam.networks.causal_transformer import AdaptiveLayerNorm, TransformerBlock
from livejam.networks.windowed_attention import WindowedAttention, rotary_turns
from livejam.systems.liveband import LiveBandAccompanist


class LiveBandGraph(StepGraph):
    """`mix_latents` (1TC), `instrument` (1) and `noise` (1TZ) to `accompaniment_latents` (1TC).

    The caches of a block hold rotated keys and values of the last W frames in slots that are written in turn:
    attention does not ask for an order. `position` counts frames in 32 bits and may wrap: the angles of the rotary
    positions are counted in 2^-32 turns, whose differences stay exact.

    Args:
        accompanist: a causal one; its weights are shared.
    """

    modulation_IX: Tensor
    turns: Tensor
    slot_W: Tensor
    half_turn_E: Tensor
    sign_E: Tensor

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
        }
        for kind in ("keys", "values"):
            states |= {f"generator_{kind}_{block}": torch.zeros(heads, slots, channels) for block in range(blocks)}
        super().__init__("generator", inputs, "accompaniment_latents", states)
        self.statistics, self.project_in, self.project_out = (
            accompanist.statistics,
            generator.project_in,
            generator.project_out,
        )
        self.blocks = nn.ModuleList(cast(TransformerBlock, block) for block in generator.blocks)
        self.norm = generator.norm
        # all that depends on the instrument, so that a step reads one row of it; anticipation and reference are fixed
        norms = [norm for norm in generator.modules() if isinstance(norm, AdaptiveLayerNorm)]
        instrument_I = torch.arange(generator.classes)
        told = torch.full_like(instrument_I, accompanist.anticipation_frames), accompanist.sounds_like_E
        condition = generator.condition(instrument_I, *told)
        rows = [torch.cat(norm.modulation_of(condition), dim=-1)[:, 0] for norm in norms]
        self.register_buffer("modulation_IX", torch.cat(rows, dim=-1).detach())
        self.register_buffer("turns", ((rotary_turns(channels, torch.device("cpu")) + (1 << 31)) >> 32).int())
        self.register_buffer("slot_W", torch.arange(slots, dtype=torch.int32))
        half = channels // 2
        self.register_buffer("half_turn_E", torch.arange(channels).roll(half))
        self.register_buffer("sign_E", torch.cat((-torch.ones(half), torch.ones(half))))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        mix_BTC, instrument_B, noise_BTZ, position, slot, *caches = tensors
        keys, values = caches[: len(self.blocks)], caches[len(self.blocks) :]
        place_HTE = slot.long()[:, None, None].expand(keys[0].shape[0], 1, keys[0].shape[-1])
        hidden_W = torch.where(self.slot_W <= position, 0.0, -math.inf)
        turn_2E = self._turn(position)
        modulation_X = self.modulation_IX.index_select(0, instrument_B)[0]
        gains = iter(modulation_X.split(self.norm.width))
        heard_TX = torch.cat((noise_BTZ[0], self.statistics.normalise(mix_BTC)[0]), dim=-1)
        x_TD = self.project_in(heard_TX)
        for number, block in enumerate(self.blocks):
            assert isinstance(block, TransformerBlock)
            normed_TD = _modulated(x_TD, next(gains), next(gains))
            query_HTE, key_HTE, value_HTE = self._heads(block.attention, normed_TD, turn_2E)
            keys[number] = keys[number].scatter(1, place_HTE, key_HTE)
            values[number] = values[number].scatter(1, place_HTE, value_HTE)
            x_TD = x_TD + attended(block.attention, query_HTE, keys[number], values[number], hidden_W)
            x_TD = x_TD + block.feed_forward(_modulated(x_TD, next(gains), next(gains)))
        out_TC = self.project_out(_modulated(x_TD, next(gains), next(gains)))
        following = slot + 1
        slot = torch.where(following >= len(self.slot_W), torch.zeros_like(slot), following)
        return self.statistics.denormalise(out_TC[None]), position + 1, slot, *keys, *values

    def _turn(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Factors (E) of a head's channels and of its halves in exchange, which rotate it by a position."""
        angle = (position * self.turns).float() * (2 * math.pi / 2.0**32)
        return torch.cat((angle.cos(), angle.cos())), torch.cat((angle.sin(), angle.sin())) * self.sign_E

    def _heads(
        self, attention: WindowedAttention, x_TD: Tensor, turn_2E: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value (HTE) of a frame, as in `WindowedAttention.step`; the query is scaled already."""
        heads_3H1E = attention.project_in(x_TD).view(3, attention.heads, 1, -1)
        pair_2H1E, value = heads_3H1E.split((2, 1))
        scale = pair_2H1E.shape[-1] ** -0.5
        weight = torch.stack((attention.query_norm.weight * scale, attention.key_norm.weight))[:, None, None]
        # PyTorch's nn.RMSNorm without an epsilon of its own
        power = pair_2H1E.square().mean(dim=-1, keepdim=True) + torch.finfo(torch.float32).eps
        pair_2H1E = pair_2H1E / power.sqrt() * weight
        cos_E, sin_E = turn_2E
        turned_2H1E = pair_2H1E * cos_E + pair_2H1E.index_select(-1, self.half_turn_E) * sin_E
        query, key = turned_2H1E.split(1)
        return query[0], key[0], value[0]


def _modulated(x_TD: Tensor, gain_D: Tensor, shift_D: Tensor) -> Tensor:
    """`AdaptiveLayerNorm.modulated` as one operator."""
    return F.layer_norm(x_TD, (x_TD.shape[-1],), gain_D, shift_D)


def attended(
    attention: WindowedAttention, query_HTE: Tensor, keys_HWE: Tensor, values_HWE: Tensor, hidden_W: Tensor
) -> Tensor:
    """`attend_cached` of a scaled query, and the projection of what it found (TD).

    Args:
        attention: the weights.
        query_HTE: of one frame.
        keys_HWE: rotated.
        values_HWE: of the same frames.
        hidden_W: 0 for slots that are filled, else -inf.
    """
    logits_HTW = query_HTE @ keys_HWE.transpose(-1, -2) + hidden_W
    if attention.sink_H is not None:
        logits_HTW = torch.cat((logits_HTW, attention.sink_H.view(-1, 1, 1)), dim=-1)
    weights_HTW = logits_HTW.softmax(dim=-1)[..., : keys_HWE.shape[1]]
    return cast(Tensor, attention.project_out((weights_HTW @ values_HWE).reshape(1, -1)))
