"""Both masks against a plain forward pass: places and sight of every position written out, one position at a time.

Shapes: B batch, T frames and token, D width, H heads, E channels per head.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from diffusion_toys import BLOCK, BLOCK_CAUSAL, BLOCKS, CONTEXT, ENCODER_DECODER, WINDOW, Song, in_window, noise, times
from diffusion_toys import make_network as make
from torch import Tensor

from livejam.networks import Bidirectional, DiffusionTransformer
from livejam.networks.diffusion_layers import DiffusionBlock
from livejam.networks.diffusion_masks import AttentionMask

FRAMES = list(range(WINDOW))
TOKEN = WINDOW
PLACES = [*range(1, WINDOW + 1), 0]
"""Frames stand at 1, 2, …, and the token behind them at 0, as in the public code ("postpend")."""


def sight(name: str) -> list[list[int]]:
    """For every position, which positions it sees."""
    if name == "bidirectional":
        return [[*FRAMES, TOKEN]] * (WINDOW + 1)
    if name == "encoder_decoder":
        return [FRAMES[:CONTEXT]] * CONTEXT + [[*FRAMES, TOKEN]] * (BLOCK + 1)
    blocks = [FRAMES[i * BLOCK : (i + 1) * BLOCK] for i in range(BLOCKS + 1)]
    blocks[-1] = [*blocks[-1], TOKEN]
    # four blocks, the own one included: the last does not see the oldest
    seen = [list(itertools.chain(*blocks[max(0, own - 3) : own + 1])) for own in range(BLOCKS + 1)]
    return [seen[own] for own, block in enumerate(blocks) for _ in block]


def turned(x_E: Tensor, place: int) -> Tensor:
    """Pairs (i, i + R/2) of the first R channels, turned by place · 10000^(-2 i / R)."""
    half = min(len(x_E), max(len(x_E) // 2, 32)) // 2
    angles = [place * 10_000.0 ** (-i / half) for i in range(half)]
    pairs = [complex(x_E[i], x_E[i + half]) * complex(math.cos(a), math.sin(a)) for i, a in enumerate(angles)]
    parts = [z.real for z in pairs] + [z.imag for z in pairs]
    return torch.cat((torch.tensor(parts, dtype=x_E.dtype), x_E[2 * half :]))


def attended(block: DiffusionBlock, hidden_TD: Tensor, seen: list[list[int]]) -> Tensor:
    attention = block.attention
    qkv = attention.project_in(block.attention_norm(hidden_TD)).unflatten(-1, (3, attention.heads, -1))
    assert attention.query_norm is not None
    assert attention.key_norm is not None
    q_THE, k_THE, v_THE = attention.query_norm(qkv[:, 0]), attention.key_norm(qkv[:, 1]), qkv[:, 2]
    out_THE = torch.zeros_like(v_THE)
    for head in range(attention.heads):
        queries = [turned(q_E, place) for q_E, place in zip(q_THE[:, head], PLACES, strict=True)]
        keys = [turned(k_E, place) for k_E, place in zip(k_THE[:, head], PLACES, strict=True)]
        for index, query_E in enumerate(queries):
            scores = torch.stack([query_E @ keys[other] for other in seen[index]]) / math.sqrt(len(query_E))
            out_THE[index, head] = scores.softmax(0) @ v_THE[seen[index], head]
    return attention.project_out(out_THE.flatten(1))


def by_hand(network: DiffusionTransformer, noisy_BTC: Tensor, time_B: Tensor, song: Song, name: str) -> Tensor:
    conditions = song.conditions(0, BLOCKS)
    start_BTD = torch.cat((network.embed(noisy_BTC, conditions), network.token(time_B, conditions)), dim=1)
    prompts, rows = network.prompt_keys(conditions), []
    assert prompts is not None
    for row, hidden_TD in enumerate(start_BTD):
        for block, (key, value) in zip(network.layers, prompts, strict=True):
            told = key[row : row + 1], value[row : row + 1]
            hidden_TD = block.rest(hidden_TD[None], attended(block, hidden_TD, sight(name))[None], told)[0]
        rows.append(hidden_TD)
    return network.velocity(torch.stack(rows)[:, :-1])


@pytest.mark.parametrize(
    ("name", "mask"),
    [("bidirectional", Bidirectional()), ("encoder_decoder", ENCODER_DECODER), ("block_causal", BLOCK_CAUSAL)],
)
def test_a_pass_is_what_its_mask_and_places_say(name: str, mask: AttentionMask) -> None:
    network, song = make(mask, depth=2), Song.random(BLOCKS + 1)
    x_BTC, time_B = in_window(noise(1), WINDOW), times(1, 3)
    with torch.no_grad():
        expected_BTC = by_hand(network, x_BTC, time_B, song, name)
        assert torch.allclose(network(x_BTC, time_B, song.conditions(0, BLOCKS)), expected_BTC, atol=1e-9)
