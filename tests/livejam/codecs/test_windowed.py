"""Windows: what they cost, how late they are, and where they make no difference."""

from __future__ import annotations

import inspect
from functools import cache
from itertools import pairwise

import pytest
import torch
from codec_models import tiny_codicodec, tiny_dac, tiny_music2latent, tiny_stable_audio_vae
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.codecs import (
    CausalCodec,
    Codec,
    CoDiCodec,
    WindowedCodec,
    codec_hash,
    codec_identity,
    pretrained_codec,
)
from livejam.codecs.offline import OfflineCodec
from livejam.codecs.windowed import seam_error
from livejam.errors import UserError

BUILDERS = {"stable_audio_vae": tiny_stable_audio_vae, "dac": tiny_dac}
convolutional = pytest.mark.parametrize("name", BUILDERS)


@cache
def built(name: str) -> OfflineCodec:
    return BUILDERS[name]()


def noise(codec: Codec, frames: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(frames)
    return 0.3 * torch.randn(1, codec.spec.audio_channels, frames * codec.spec.hop_samples, generator=rng)


@convolutional
@torch.no_grad()
def test_nothing_is_heard_beyond_the_reach(name: str) -> None:
    codec = built(name)
    hop, middle = codec.spec.hop_samples, 40
    audio = noise(codec, 2 * middle)
    latents = codec.encode(audio)
    sound = codec.decode(latents)
    changed_audio, changed_latents = audio.clone(), latents.clone()
    changed_audio[:, :, middle * hop : (middle + 1) * hop] += 1
    changed_latents[:, middle] += 1
    heard_T = (codec.encode(changed_audio) - latents).abs().amax((0, 2)) > 0
    heard_N = (codec.decode(changed_latents) - sound).abs().amax((0, 1)) > 0
    distances = [abs(int(t) - middle) for t in torch.cat([heard_T.nonzero(), heard_N.nonzero() // hop])]
    # not much less either: every frame of reach costs time
    assert codec.reach_frames - 3 <= max(distances) <= codec.reach_frames


@convolutional
@torch.no_grad()
def test_pieces_are_exactly_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = built(name)
    audio = noise(codec, 100)
    latents = codec.encode(audio)
    sound = codec.decode(latents)
    monkeypatch.setattr(codec, "piece_frames", 7)
    assert torch.allclose(codec.encode(audio), latents, atol=1e-5)
    assert torch.allclose(codec.decode(latents), sound, atol=1e-5)


@convolutional
@pytest.mark.parametrize("block", [1, 4])
@torch.no_grad()
def test_seams_vanish_as_windows_grow(name: str, block: int) -> None:
    codec = built(name)
    audio = noise(codec, 40)
    sizes = [0, 6, 12, codec.reach_frames]
    errors = [seam_error(WindowedCodec(codec, size, size, block), audio) for size in sizes]
    for which in ("latents_db", "audio_db"):
        levels = [getattr(error, which) for error in errors]
        assert all(after < before - 3 for before, after in pairwise(levels))
        assert levels[-1] < -110


@torch.no_grad()
def test_seams_of_unlimited_reach_shrink_but_stay() -> None:
    codec = tiny_music2latent()
    codec.reach_frames = 8
    audio = noise(codec, 8)
    narrow, wide = (seam_error(WindowedCodec(codec, size, size, 4), audio) for size in (0, 4))
    assert wide.latents_db < narrow.latents_db
    assert wide.latents_db > -60


@settings(max_examples=6, deadline=None)
@given(
    context=st.integers(0, 4),
    lookahead=st.integers(0, 4),
    block=st.integers(1, 3),
    sizes=st.lists(st.integers(1, 3), min_size=2, max_size=5),
    fade=st.sampled_from([0.0, 0.3, 1.0]),
)
@torch.no_grad()
def test_stream_equals_offline_however_it_is_cut(
    context: int, lookahead: int, block: int, sizes: list[int], fade: float
) -> None:
    codec = built("stable_audio_vae")
    hop, frames = codec.spec.hop_samples, block * sum(sizes)
    windowed = WindowedCodec(codec, context, lookahead, block, int(fade * min(block, lookahead) * hop))
    audio = noise(windowed, frames)
    latents, sound = windowed.encode(audio), windowed.decode(windowed.encode(audio))
    encoder, decoder = windowed.init_encoder_state(1), windowed.init_decoder_state(1)
    streamed_latents, streamed_sound = [], []
    for audio_piece, latents_piece in zip(
        audio.split([size * block * hop for size in sizes], dim=2),
        latents.split([size * block for size in sizes], dim=1),
        strict=True,
    ):
        some_latents, encoder = windowed.encode_step(audio_piece, encoder)
        some_sound, decoder = windowed.decode_step(latents_piece, decoder)
        assert some_latents.shape == latents_piece.shape
        assert some_sound.shape == audio_piece.shape
        streamed_latents.append(some_latents)
        streamed_sound.append(some_sound)
    kept = max(0, frames - lookahead)
    made_latents, made_sound = torch.cat(streamed_latents, dim=1), torch.cat(streamed_sound, dim=2)
    assert torch.allclose(made_latents[:, lookahead:], latents[:, :kept], atol=1e-5)
    assert torch.allclose(made_sound[:, :, lookahead * hop :], sound[:, :, : kept * hop], atol=1e-5)


@torch.no_grad()
def test_the_declared_delay_is_the_true_one() -> None:
    """A click, coded and decoded as a stream, comes out as offline, `delay_samples` later."""
    codec = built("stable_audio_vae")
    reach, hop = codec.reach_frames, codec.spec.hop_samples
    windowed = WindowedCodec(codec, reach, reach)
    audio = torch.zeros(1, 2, 8 * reach * hop)
    audio[:, :, 3 * reach * hop + 3] = 0.9
    encoder, decoder = windowed.init_encoder_state(1), windowed.init_decoder_state(1)
    played = []
    for piece in audio.split(hop, dim=2):
        latents, encoder = windowed.encode_step(piece, encoder)
        sound, decoder = windowed.decode_step(latents, decoder)
        played.append(sound)
    delay = 2 * reach * hop
    streamed, whole = torch.cat(played, dim=2), codec.decode(codec.encode(audio))
    assert windowed.spec.delay_samples == delay
    # the middle, where neither the start nor the end of the file is in reach of the offline codec
    middle = slice(reach * hop, 5 * reach * hop)
    assert torch.allclose(streamed[:, :, delay:][:, :, middle], whole[:, :, middle], atol=1e-5)
    assert float(whole[:, :, middle].std(dim=2).max()) > 1e-2


@torch.no_grad()
def test_cross_fades_are_an_overlap_add_of_windows_and_change_nothing_in_wide_ones() -> None:
    codec, context, block, lookahead, fade = built("stable_audio_vae"), 1, 4, 4, 12
    reach, hop = codec.reach_frames, codec.spec.hop_samples
    latents = codec.encode(noise(codec, 40))
    faded = WindowedCodec(codec, context, lookahead, block, fade)
    silence = faded.silent_latents(1)
    around = torch.cat([silence.expand(-1, 40, -1), latents, silence.expand(-1, 40, -1)], dim=1)
    rise = torch.arange(1, fade + 1) / (fade + 1)
    weights = torch.cat([rise, torch.ones(block * hop - fade), 1 - rise])
    expected = torch.zeros(1, codec.spec.audio_channels, 120 * hop)
    for start in range(40 - block, 80, block):  # from the window before the song, whose end is heard in it
        window = codec.decode_window(around[:, start - context : start + block + lookahead], start - context - 40)
        piece = window[:, :, context * hop :][:, :, : len(weights)]
        expected[:, :, start * hop :][:, :, : len(weights)] += weights * piece
    assert torch.allclose(faded.decode(latents), expected[:, :, 40 * hop : 80 * hop], atol=1e-5)
    hard, soft = (WindowedCodec(codec, reach, reach, block, samples).decode(latents) for samples in (0, fade))
    assert torch.allclose(hard, soft, atol=1e-5)


def test_windows_have_their_own_meaning() -> None:
    codec = built("dac")
    hashes = {WindowedCodec(codec, *sizes).latents_hash for sizes in ((1, 2, 1), (2, 1, 1), (1, 2, 2))}
    assert len(hashes) == 3
    assert WindowedCodec(codec, 1, 2).licence == codec.licence


def test_what_cannot_be_built_or_cut_is_refused() -> None:
    codec = built("dac")
    for sizes in ((-1, 0, 1), (0, -1, 1), (0, 0, 0)):
        with pytest.raises(UserError, match="cannot be built"):
            WindowedCodec(codec, *sizes)
    for fade in (-1, codec.spec.hop_samples + 1):
        with pytest.raises(UserError, match=f"between 0 and {codec.spec.hop_samples}"):
            WindowedCodec(codec, 1, 1, 2, fade_samples=fade)
    windowed = WindowedCodec(codec, 1, 1, block_frames=2)
    with pytest.raises(UserError, match="whole blocks"):
        windowed.encode_step(torch.zeros(1, 1, 3 * codec.spec.hop_samples), windowed.init_encoder_state(1))


def test_settings_count_beside_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every plain argument of a constructor is in the settings or the spec, and changes the identity."""
    dac, codicodec = built("dac"), tiny_codicodec()
    variants = [
        [WindowedCodec(dac, *sizes) for sizes in ((4, 2), (5, 2), (4, 3), (4, 2, 2), (4, 2, 1, 8))],
        [CoDiCodec(codicodec.model, "tiny", 44100, *numbers) for numbers in ((2, 0.4), (3, 0.4), (2, 0.5))],
        [CausalCodec("small", width=16, subframe_width=16, floor=floor) for floor in (6e-4, 1e-3)],
    ]
    for codecs in variants:
        assert len({codec_identity(codec) for codec in codecs}) == len(codecs)
        for name, parameter in inspect.signature(type(codecs[0])).parameters.items():
            known = {**codecs[0].spec.to_dict(), **codecs[0].settings}
            assert name in known or parameter.annotation not in ("int", "float", "str"), name
    assert codec_identity(variants[1][0]) == codec_identity(CoDiCodec(codicodec.model, "tiny"))
    before = codec_identity(dac)
    monkeypatch.setattr(dac, "piece_frames", 7)
    assert codec_identity(dac) != before


def test_the_hashes_of_the_bundled_codec_are_those_of_banks_and_checkpoints() -> None:
    codec = pretrained_codec("pocket")
    assert codec.latents_hash.startswith("0a7e02b17aab")
    assert codec_hash(codec).startswith("10c8897966b9")
