"""Small untrained players around real codecs, and what they play offline.

Shapes: A audio channels, B rows, C latent channels, N samples.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from livejam.accompanist import Accompanist, Controls, accompany
from livejam.batch import NAMES
from livejam.checkpoints.player import Player
from livejam.codecs import Codec, pretrained_codec
from livejam.networks import CausalTransformer, DiffusionTransformer, TagEncoder
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.diffusion_masks import AttentionMask
from livejam.sampling import PingPong
from livejam.sketch import CHANNELS, SketchAnalysis
from livejam.spec import LatentStatistics
from livejam.streaming.pipeline import as_channels
from livejam.streaming.resampling import resample
from livejam.systems.context import ContextMode, RoutedContext
from livejam.systems.liveband import LiveBandAccompanist
from livejam.systems.lmdm import LMDMAccompanist

pocket = cache(pretrained_codec)


def player_of(accompanist: Accompanist[object], codec: Codec) -> Player:
    """A player with the codec's own silence."""
    with torch.inference_mode():
        silence = torch.zeros(1, codec.spec.audio_channels, 4 * codec.block_frames * codec.spec.hop_samples)
        return Player(accompanist, codec, codec.encode(silence)[0, -1].clone(), ("Percussive", "Bass"))


def statistics(codec: Codec) -> LatentStatistics:
    channels = codec.spec.latent_channels
    return LatentStatistics(torch.zeros(channels), torch.full((channels,), 0.5))


REFERENCE = {"encoder": {"class_path": "metrics.embeddings.LogMel"}, "excerpt_seconds": 1.0, "excerpts": 3}
"""How the references are made of a LiveBand that takes them."""


def liveband(codec: Codec, anticipation: int = 1, anticipations: int = 0, references: bool = False) -> Player:
    """LiveBand; -1 is the bidirectional upper bound. With `anticipations`, it is told which of them it plays at."""
    torch.manual_seed(0)
    channels = codec.spec.latent_channels
    generator = CausalTransformer(
        channels,
        4,
        16,
        2,
        2,
        window_frames=8,
        causal=anticipation >= 0,
        class_channels=4,
        anticipations=anticipations,
        reference_channels=96 if references else 0,
    ).requires_grad_(False)
    if generator.project_reference is not None:
        torch.nn.init.normal_(generator.project_reference.weight)
    if generator.anticipation_embedding is not None:
        torch.nn.init.normal_(generator.anticipation_embedding.weight)
    parts = generator.eval(), codec.spec, statistics(codec), anticipation
    return player_of(LiveBandAccompanist(*parts, REFERENCE if references else None), codec)


def lmdm(
    codec: Codec,
    mask: AttentionMask,
    cutoff: int = 0,
    block: int = 3,
    context_mode: ContextMode | None = None,
    guidance: float | dict[str, float] = 1.0,
    prompts: bool = True,
    sketch: SketchAnalysis | None = None,
) -> Player:
    """A diffusion transformer with three blocks of context."""
    torch.manual_seed(0)
    channels = codec.spec.latent_channels
    network = DiffusionTransformer(
        channels,
        width=16,
        depth=2,
        heads=2,
        context_frames=3 * block,
        block_frames=block,
        prompt_width=8 if prompts else 0,
        mix_channels=channels,
        mask=mask,
        sketch_channels=None if sketch is None else list(CHANNELS),
        sketch_levels=None if sketch is None else 16,
    )
    generator = ConditionedTransformer(network, TagEncoder(8) if prompts else None).requires_grad_(False).eval()
    for parameter in generator.parameters():
        parameter.copy_(0.15 * torch.randn(parameter.shape))
    parts = codec.spec, statistics(codec), context_mode or RoutedContext(), PingPong(2, guidance)
    return player_of(LMDMAccompanist(generator, *parts, cutoff, sketch=sketch), codec)


def sound(channels: int, samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def offline(
    player: Player,
    audio_AN: Tensor,
    rate: int,
    instruments: list[str],
    seeds: list[int],
    sketch_TP: Tensor | None = None,
    reference_BE: Tensor | None = None,
) -> Tensor:
    """The whole mix through resampler, encoder, model, decoder and resampler, one after the other: output BAN."""
    spec, samples = player.codec.spec, audio_AN.shape[-1]
    mix_AN = resample(as_channels(audio_AN, spec.audio_channels), rate, spec.sample_rate_hz)
    block = math.lcm(player.accompanist.block_frames, player.codec.block_frames) * spec.hop_samples
    # what a stream has not decoded yet when the song ends is decoded from silence offline
    mix_AN = torch.nn.functional.pad(mix_AN, (0, -mix_AN.shape[-1] % block + 8 * block))
    mix_BTC = player.codec.encode(mix_AN[None]).expand(len(seeds), -1, -1)
    instrument_B = torch.tensor([NAMES.index(name) for name in instruments])
    controls = Controls(instrument_B, torch.tensor(seeds), reference_BE=reference_BE)
    curves_BTP = None if sketch_TP is None else sketch_TP[None]
    stems_BAN = player.codec.decode(accompany(player.accompanist, mix_BTC, controls, player.silence_C, curves_BTP))
    out_BAN = resample(stems_BAN, spec.sample_rate_hz, rate)[..., :samples]
    return as_channels(out_BAN, len(audio_AN))
