"""What all adapters owe the contract: shapes, streams, silence, and one sentence for what they cannot take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import codec_models
import pytest
import torch
from codec_models import same
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_layout import unusual_layouts

from livejam.codecs import Codec, WindowedCodec, chunked
from livejam.codecs.checks import require_audio
from livejam.codecs.encodec import SILENT_FRAMES
from livejam.codecs.offline import OfflineCodec
from livejam.errors import UserError


def tiny_windowed() -> WindowedCodec:
    return WindowedCodec(codec_models.tiny_stable_audio_vae(), context_frames=2, lookahead_frames=3)


BUILDERS: dict[str, Callable[[], Codec]] = {
    "stable_audio_vae": codec_models.tiny_stable_audio_vae,
    "dac": codec_models.tiny_dac,
    "music2latent": codec_models.tiny_music2latent,
    "encodec": codec_models.tiny_encodec,
    "mimi": codec_models.tiny_mimi,
    "codicodec": codec_models.tiny_codicodec,
    "windowed": tiny_windowed,
}
CAUSAL = ["encodec", "mimi", "codicodec"]
STREAMED = [*CAUSAL, "windowed"]
OFFLINE = ["stable_audio_vae", "dac", "music2latent"]
every = pytest.mark.parametrize("name", BUILDERS)


@cache
def built(name: str) -> Codec:
    return BUILDERS[name]()


def audio_for(codec: Codec, batch: int, frames: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 0.2 * torch.randn(batch, codec.spec.audio_channels, frames * codec.spec.hop_samples, generator=rng)


@every
@torch.no_grad()
def test_shapes_follow_the_spec(name: str) -> None:
    codec = built(name)
    audio = audio_for(codec, 2, 2)
    latents = codec.encode(audio)
    assert latents.shape == (2, 2, codec.spec.latent_channels)
    assert codec.decode(latents).shape == audio.shape


@every
def test_declares_itself_and_is_frozen(name: str) -> None:
    codec = built(name)
    assert codec.causal == (name in CAUSAL)
    assert codec.licence
    assert not any(module.training for module in codec.modules())
    assert not any(parameter.requires_grad for parameter in codec.parameters())


@every
def test_every_value_lies_in_dense_memory(name: str) -> None:
    assert not unusual_layouts(built(name))


@every
@torch.no_grad()
def test_rows_are_independent(name: str) -> None:
    codec = built(name)
    audio = audio_for(codec, 2, 2)
    latents = codec.encode(audio)
    alone = codec.encode(audio[1:])
    assert same(latents[1:], alone)
    assert same(codec.decode(latents)[1:], codec.decode(alone))
    assert not torch.allclose(latents[:1], alone, atol=1e-3)


@every
def test_latents_are_told_apart_by_their_hash(name: str) -> None:
    codec, before = built(name), built(name).latents_hash
    weight = next(iter(codec.parameters()))
    with torch.no_grad():
        weight[..., 0] += 1e-3
        changed = codec.latents_hash
        weight[..., 0] -= 1e-3
    assert len(before) == 64
    assert before != changed


@every
def test_gradients_pass_the_decoder(name: str) -> None:
    codec = built(name)
    latents = codec.encode(audio_for(codec, 1, 2)).detach().requires_grad_()
    codec.decode(latents).square().mean().backward()
    assert latents.grad is not None
    assert torch.isfinite(latents.grad).all()
    assert float(latents.grad.abs().sum()) > 0


@settings(max_examples=3, deadline=None)
@given(sizes=st.lists(st.integers(1, 3), min_size=2, max_size=4))
@pytest.mark.parametrize("name", ["encodec", "mimi"])
@torch.no_grad()
def test_stream_equals_offline(name: str, sizes: list[int]) -> None:
    require_stream_equals_offline(built(name), sizes)


@torch.no_grad()
def test_stream_of_chunks_equals_offline() -> None:
    require_stream_equals_offline(built("codicodec"), [1, 2])


def require_stream_equals_offline(codec: Codec, sizes: list[int]) -> None:
    """Whole round trips: what a stream plays is what files hold, `delay_samples` later."""
    hop, delay = codec.spec.hop_samples, codec.spec.delay_samples
    audio = audio_for(codec, 1, sum(sizes))
    latents = codec.encode(audio)
    sound = codec.decode(latents)
    encoder, decoder = codec.init_encoder_state(1), codec.init_decoder_state(1)
    streamed_latents, streamed = [], []
    for piece in audio.split([size * hop for size in sizes], dim=2):
        some_latents, encoder = codec.encode_step(piece, encoder)
        some_sound, decoder = codec.decode_step(some_latents, decoder)
        assert some_sound.shape == piece.shape
        streamed_latents.append(some_latents)
        streamed.append(some_sound)
    assert same(torch.cat(streamed_latents, dim=1), latents)
    assert same(torch.cat(streamed, dim=2)[:, :, delay:], sound[:, :, : audio.shape[2] - delay])


@pytest.mark.parametrize("name", CAUSAL)
@torch.no_grad()
def test_frames_hear_themselves_but_not_the_future(name: str) -> None:
    codec = built(name)
    hop, cut = codec.spec.hop_samples, 2
    audio, other = audio_for(codec, 1, 3), audio_for(codec, 1, 3, seed=1)
    # the last sample of a frame must matter to that frame, or its latents come later than they need to
    changed = torch.cat([audio[:, :, : cut * hop - 1], other[:, :, cut * hop - 1 :] + 0.3], dim=2)
    before, after = codec.encode(audio), codec.encode(changed)
    assert torch.equal(before[:, : cut - 1], after[:, : cut - 1])
    assert not torch.equal(before[:, cut - 1], after[:, cut - 1])
    mixed = torch.cat([before[:, :cut], after[:, cut:] + 0.3], dim=1)
    sound, mixed_sound = codec.decode(before), codec.decode(mixed)
    heard = cut * hop - codec.spec.delay_samples
    assert torch.allclose(sound[:, :, :heard], mixed_sound[:, :, :heard], atol=1e-6)
    assert not torch.allclose(sound[:, :, heard : heard + hop], mixed_sound[:, :, heard : heard + hop], atol=1e-4)


@torch.no_grad()
def test_old_states_stay_as_they_were() -> None:
    """A stream can be taken up again from any of its states."""
    for name in STREAMED:
        codec = built(name)
        audio = audio_for(codec, 1, 3)
        hop = codec.spec.hop_samples
        _, state = codec.encode_step(audio[:, :, :hop], codec.init_encoder_state(1))
        first, _ = codec.encode_step(audio[:, :, hop : 2 * hop], state)
        codec.encode_step(audio[:, :, 2 * hop :], state)
        again, _ = codec.encode_step(audio[:, :, hop : 2 * hop], state)
        assert torch.equal(first, again)


@pytest.mark.parametrize("name", OFFLINE)
def test_strict_streams_are_refused(name: str) -> None:
    codec = built(name)
    assert isinstance(codec, OfflineCodec)
    audio = torch.zeros(1, codec.spec.audio_channels, codec.spec.hop_samples)
    latents = torch.zeros(1, 1, codec.spec.latent_channels)
    calls: list[Callable[[], object]] = [
        lambda: codec.init_encoder_state(1),
        lambda: codec.encode_step(audio, None),
        lambda: codec.init_decoder_state(1),
        lambda: codec.decode_step(latents, None),
    ]
    for call in calls:
        with pytest.raises(UserError, match="WindowedCodec"):
            call()


@every
@torch.no_grad()
def test_long_files_are_coded_in_pieces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with a file: no call of the model sees more than a piece."""
    codec = BUILDERS[name]()
    model = codec.codec if isinstance(codec, WindowedCodec) else codec
    seen: list[int] = []
    if isinstance(model, OfflineCodec):
        monkeypatch.setattr(model, "piece_frames", 2)
        monkeypatch.setattr(model, "reach_frames", 1)
        monkeypatch.setattr(model, "encode_window", spy(model.encode_window, seen, 2, model.spec.hop_samples))
        monkeypatch.setattr(model, "decode_window", spy(model.decode_window, seen, 1, 1))
        most = 6 if codec is not model else 4
    else:
        monkeypatch.setattr(chunked, "PIECE_SAMPLES", codec.spec.hop_samples)
        monkeypatch.setattr(codec, "encode_step", spy(codec.encode_step, seen, 2, codec.spec.hop_samples))
        if name != "codicodec":
            monkeypatch.setattr(codec, "decode_step", spy(codec.decode_step, seen, 1, 1))
        most = SILENT_FRAMES if name == "encodec" else 1
    codec.decode(codec.encode(audio_for(codec, 1, 3)))
    assert len(seen) > 2
    assert max(seen) <= most


def spy(call: Callable[..., object], seen: list[int], dim: int, per_frame: int) -> Callable[..., object]:
    """A call that notes how many frames it is given."""

    def noted(x: torch.Tensor, *arguments: object) -> object:
        seen.append(x.shape[dim] // per_frame)
        return call(x, *arguments)

    return noted


@every
@pytest.mark.parametrize("kind", ["silence", "offset", "square"])
@torch.no_grad()
def test_degenerate_audio_has_a_defined_result(name: str, kind: str) -> None:
    codec = built(name)
    hop, channels = codec.spec.hop_samples, codec.spec.audio_channels
    square = torch.where(torch.arange(hop) % 200 < 100, 1.0, -1.0)
    values = {"silence": torch.zeros(hop), "offset": torch.full((hop,), 0.5), "square": square}[kind]
    audio = values.expand(1, channels, -1)
    latents = codec.encode(audio)
    sound = codec.decode(latents)
    assert torch.isfinite(latents).all()
    assert torch.isfinite(sound).all()
    assert torch.equal(latents, codec.encode(audio))
    assert torch.equal(sound, codec.decode(latents))


@every
def test_misfits_are_refused_with_a_sentence(name: str) -> None:
    codec = built(name)
    spec = codec.spec
    audio = torch.zeros(1, spec.audio_channels, 2 * spec.hop_samples)
    latents = torch.zeros(1, 2, spec.latent_channels)
    broken_audio, broken_latents = audio.clone(), latents.clone()
    broken_audio[0, 0, 5] = broken_latents[0, 0, 0] = float("nan")
    misfits: list[tuple[Callable[[], object], str]] = [
        (lambda: codec.encode(torch.zeros(1, 3 - spec.audio_channels, 2 * spec.hop_samples)), "channels"),
        (lambda: codec.encode(audio[:, :, :1]), "multiple"),
        (lambda: codec.encode(audio[0]), "shape"),
        (lambda: codec.encode(audio[:, :, :0]), "empty"),
        (lambda: codec.decode(latents[:, :0]), "no latents"),
        (lambda: codec.encode(broken_audio), "NaN"),
        (lambda: codec.encode(audio / 0.0), "NaN"),
        (lambda: codec.decode(broken_latents), "NaN"),
        (lambda: codec.decode(latents[:, :, 1:]), "decode with the codec"),
        (lambda: require_audio(audio, spec, sample_rate_hz=spec.sample_rate_hz + 1), "resample"),
    ]
    for call, words in misfits:
        with pytest.raises(UserError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", STREAMED)
def test_misfits_are_refused_in_streams_too(name: str) -> None:
    codec = built(name)
    spec = codec.spec
    encoder, decoder = codec.init_encoder_state(1), codec.init_decoder_state(1)
    with pytest.raises(UserError, match="multiple"):
        codec.encode_step(torch.zeros(1, spec.audio_channels, 1), encoder)
    with pytest.raises(UserError, match="NaN"):
        codec.encode_step(torch.full((1, spec.audio_channels, spec.hop_samples), float("nan")), encoder)
    with pytest.raises(UserError, match="NaN"):
        codec.decode_step(torch.full((1, 1, spec.latent_channels), float("inf")), decoder)
