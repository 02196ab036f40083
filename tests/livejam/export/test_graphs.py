"""The graphs compute what the modules compute whose weights they share; nothing here needs ONNX."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from players import liveband

from livejam.checkpoints.player import Player, load_player
from livejam.codecs import pretrained_codec
from livejam.codecs.causal_codec import CausalCodec
from livejam.export.codec_graphs import DecoderGraph, EncoderGraph
from livejam.export.fourier import InverseRealFourier, RealFourier
from livejam.export.graphs import StepGraph, in_order
from livejam.export.model import Reference, example_mix, step_model
from livejam.export.parity import LARGEST


@pytest.mark.parametrize(("samples", "bins"), [(1024, 513), (4096, 214), (96, 49)])
def test_fourier(samples: int, bins: int) -> None:
    audio = torch.randn(2, 3, samples, generator=torch.Generator().manual_seed(0))
    wanted = torch.fft.rfft(audio)
    for kept in (range(bins), range(1, bins - 3)):
        real, imaginary = RealFourier(samples, kept)(audio).unbind(dim=-2)
        assert (torch.complex(real, imaginary) - wanted[..., kept]).abs().max() < 1e-6 * wanted.abs().max()
    assert (InverseRealFourier(samples)(torch.stack((wanted.real, wanted.imag))) - audio).abs().max() < 1e-5


@pytest.fixture(scope="module")
def pocket() -> Player:
    return load_player("liveband-pocket")


@torch.inference_mode()
def test_liveband_plays_the_same(pocket: Player) -> None:
    # longer than the window of 64 frames, and than the period of the codec's noise
    plays_the_same(pocket, 140)


@torch.inference_mode()
def test_liveband_plays_the_same_at_the_anticipation_that_is_asked_for() -> None:
    player = liveband(pretrained_codec(), 1, anticipations=12)
    far = replace(player, accompanist=player.accompanist.with_anticipation(7))
    assert step_model(far).first_output_sample == 8 * 2048 - player.codec.spec.delay_samples
    plays_the_same(far, 12)


def plays_the_same(player: Player, steps: int) -> None:
    model, seed, instrument = step_model(player), 5, 14
    reference, values = Reference(player, instrument, seed), model.states(instrument)
    values["instrument"] = torch.tensor([instrument], dtype=torch.int32)
    for step, mix_BAN in enumerate(example_mix(model, steps).split(model.block_samples, dim=-1)):
        wanted = reference.step(mix_BAN)
        values |= {"mix": mix_BAN, "noise": model.noise_of(seed, step)}
        in_order(model.graphs, values)
        for name, largest in LARGEST.items():
            assert (values[name] - wanted[name]).abs().max() <= largest, (name, step)
    assert wanted["accompaniment"].abs().max() > 1e-3


@torch.inference_mode()
def test_what_is_rounded_is_a_root_of_next_to_nothing(pocket: Player) -> None:
    """On the grid of the encoder float32 is as far from float64 in PyTorch as in the graph; off it, both are near."""
    codec, exact = pocket.codec, deepcopy(pocket.codec).double()
    assert isinstance(codec, CausalCodec)
    graph = EncoderGraph(codec, 256)
    apart = {}
    for tuning in (0.0, 0.25):
        mix_BAN = example_mix(step_model(pocket), 256, tuning=tuning)
        wanted_BTC = exact.encode(mix_BAN.double())
        made = codec.encode(mix_BAN), graph(mix_BAN, graph.states["encoder_past"])[0]
        apart[tuning] = [float((made_BTC - wanted_BTC).abs().max()) for made_BTC in made]
    assert max(apart[0.25]) < 2e-4
    assert min(apart[0.0]) > 3 * max(apart[0.25])
    assert apart[0.0][1] < 2 * apart[0.0][0]


@torch.inference_mode()
def test_silence_is_finite(pocket: Player) -> None:
    model = step_model(pocket)
    values = model.states(0) | {"mix": torch.zeros(1, 1, model.block_samples), "noise": model.noise_of(0, 0)}
    values["instrument"] = torch.tensor([0], dtype=torch.int32)
    for _ in range(3):
        in_order(model.graphs, values)
    assert all(value.isfinite().all() for value in values.values())


@torch.inference_mode()
def test_a_stereo_codec_in_blocks_of_several_frames() -> None:
    torch.manual_seed(0)
    codec = CausalCodec(audio_channels=2, hop_samples=512, latent_channels=12, width=16, subframe_width=16, blocks=1)
    frames, audio_BAN = 70, 0.3 * torch.randn(1, 2, 2 * 70 * 512)
    encoder: StepGraph = EncoderGraph(codec, frames)
    decoder: StepGraph = DecoderGraph(codec, frames, codec.init_decoder_state(1))
    values = encoder.states | decoder.states
    memory, hearing = codec.init_decoder_state(1), codec.init_encoder_state(1)
    for number, mix_BAN in enumerate(audio_BAN.split(frames * 512, dim=-1)):
        values["mix"] = mix_BAN
        encoder.step(values)
        latents_BTC, hearing = codec.encode_step(mix_BAN, hearing)
        assert (values["mix_latents"] - latents_BTC).abs().max() < 1e-3
        values["accompaniment_latents"] = latents_BTC
        decoder.step(values)
        wanted_BAN, memory = codec.decode_step(latents_BTC, memory)
        begun = codec.spec.delay_samples if number == 0 else 0
        assert (values["accompaniment"] - wanted_BAN)[..., begun:].abs().max() < 1e-4
