"""The codec: stream equals offline, rows are independent, the future stays unheard, errors are clear."""

from __future__ import annotations

import pytest
import torch
from codec_music import music
from hypothesis import example, given, settings
from hypothesis import strategies as st

from livejam.codecs import CausalCodec
from livejam.codecs.checks import require_audio
from livejam.errors import UserError

FRAMES = 12


def audio_for(codec: CausalCodec, batch: int, frames: int = FRAMES) -> torch.Tensor:
    spec = codec.spec
    return music(batch, spec.audio_channels, frames * spec.hop_samples, spec.sample_rate_hz)


@pytest.fixture(params=["pocket", "paper_size"])
def codec(request: pytest.FixtureRequest) -> CausalCodec:
    return request.getfixturevalue(request.param)


@settings(max_examples=3, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=3, max_size=6))
@example(sizes=[1] * FRAMES)
@pytest.mark.parametrize("name", ["pocket", "paper_size"])
def test_stream_equals_offline(request: pytest.FixtureRequest, name: str, sizes: list[int]) -> None:
    codec: CausalCodec = request.getfixturevalue(name)
    hop, delay = codec.spec.hop_samples, codec.spec.delay_samples
    audio = audio_for(codec, 2, sum(sizes))
    latents, sound = codec.encode(audio), codec.decode(codec.encode(audio))
    encoder, decoder = codec.init_encoder_state(2), codec.init_decoder_state(2)
    streamed_latents, streamed_sound = [], []
    for piece in audio.split([size * hop for size in sizes], dim=2):
        some_latents, encoder = codec.encode_step(piece, encoder)
        some_sound, decoder = codec.decode_step(some_latents, decoder)
        assert some_sound.shape == piece.shape
        streamed_latents.append(some_latents)
        streamed_sound.append(some_sound)
    stream = torch.cat(streamed_sound, dim=2)
    assert torch.allclose(torch.cat(streamed_latents, dim=1), latents, atol=1e-5, rtol=0)
    assert float(stream[:, :, :delay].abs().max()) == 0
    assert torch.allclose(stream[:, :, delay:], sound[:, :, :-delay], atol=1e-5, rtol=0)


def test_offline_in_pieces_equals_offline_at_once(pocket: CausalCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = audio_for(pocket, 1, 20)
    once = pocket.decode(pocket.encode(audio))
    monkeypatch.setattr("livejam.codecs.causal_codec.CHUNK_FRAMES", 3)
    assert torch.allclose(pocket.decode(pocket.encode(audio)), once, atol=1e-5)


def test_rows_do_not_know_of_each_other(codec: CausalCodec) -> None:
    audio = audio_for(codec, 3)
    together = codec.encode(audio)
    alone = torch.cat([codec.encode(row[None]) for row in audio])
    assert torch.allclose(together, alone, atol=1e-5)
    sound = torch.cat([codec.decode(row[None]) for row in together])
    assert torch.allclose(codec.decode(together), sound, atol=1e-5)


@settings(max_examples=4, deadline=None)
@given(cut=st.integers(1, FRAMES - 1))
@pytest.mark.parametrize("name", ["pocket", "paper_size"])
def test_encoder_hears_nothing_of_the_future(request: pytest.FixtureRequest, name: str, cut: int) -> None:
    codec: CausalCodec = request.getfixturevalue(name)
    audio = audio_for(codec, 1)
    changed = audio.clone()
    changed[:, :, cut * codec.spec.hop_samples :] = 0.3 * torch.randn_like(audio[:, :, cut * codec.spec.hop_samples :])
    before, after = codec.encode(audio), codec.encode(changed)
    assert torch.equal(before[:, :cut], after[:, :cut])
    assert float((before[:, cut] - after[:, cut]).abs().max()) > 0.1


@settings(max_examples=4, deadline=None)
@given(cut=st.integers(1, FRAMES - 1))
@pytest.mark.parametrize("name", ["pocket", "paper_size"])
def test_decoder_reaches_back_exactly_its_delay(request: pytest.FixtureRequest, name: str, cut: int) -> None:
    codec: CausalCodec = request.getfixturevalue(name)
    hop, delay = codec.spec.hop_samples, codec.spec.delay_samples
    latents = codec.encode(audio_for(codec, 1))
    changed = latents.clone()
    changed[:, cut:] += 1.0
    difference = (codec.decode(latents) - codec.decode(changed))[0].abs().amax(0)
    first = int((difference > 0).nonzero()[0])
    # the first sample of a window is multiplied by nothing, its next ones by almost nothing
    assert cut * hop - delay <= first <= cut * hop - delay + 64


def test_declared_delay_is_the_measured_one(codec: CausalCodec) -> None:
    """Clicks come out of the stream `delay_samples` later; a code of spectra places each within a few strides."""
    hop, channels = codec.spec.hop_samples, codec.spec.audio_channels
    shifts = []
    for position in range(10 * hop, 12 * hop, 1111 * hop // 2048):
        audio = torch.zeros(1, channels, 20 * hop)
        audio[:, :, position : position + 64] = 0.8 * torch.randn(64)
        state, out = codec.init_decoder_state(1), []
        for frames in codec.encode(audio).split(5, dim=1):
            sound, state = codec.decode_step(frames, state)
            out.append(sound)
        power = torch.cat(out, dim=2)[0].square().sum(0)
        centre = float((power * torch.arange(len(power))).sum() / power.sum())
        shifts.append(centre - (position + 32))
    measured = sum(shifts) / len(shifts)
    assert abs(measured - codec.spec.delay_samples) < codec.synthesis.stride_samples


def test_bounded_latents_and_decode_clamps(pocket: CausalCodec) -> None:
    latents = pocket.encode(audio_for(pocket, 2))
    assert float(latents.abs().max()) <= pocket.bound
    wild = latents.clone()
    wild[:, 5, ::9] = 50.0
    assert torch.equal(pocket.decode(wild), pocket.decode(wild.clamp(-pocket.bound, pocket.bound)))


def test_outliers_and_noise_do_not_explode(pocket: CausalCodec) -> None:
    latents = pocket.encode(audio_for(pocket, 4, 24))
    level = pocket.decode(latents).square().mean().sqrt()
    noisy = latents + 0.3 * torch.randn_like(latents)
    wild = torch.where(torch.rand_like(latents) < 0.01, 6.0, latents)
    for disturbed in (noisy, wild):
        change_db = 20 * torch.log10(pocket.decode(disturbed).square().mean().sqrt() / level)
        assert abs(float(change_db)) < 6


def test_silence_stays_silent(pocket: CausalCodec) -> None:
    sound = pocket.decode(pocket.encode(torch.zeros(1, 1, 30 * 2048)))
    assert float(sound.abs().max()) < 2e-3


def test_gradients_reach_the_latents(pocket: CausalCodec) -> None:
    latents = pocket.encode(audio_for(pocket, 1)).requires_grad_()
    pocket.decode(latents).square().mean().backward()
    assert latents.grad is not None
    assert torch.isfinite(latents.grad).all()
    assert float(latents.grad.abs().sum()) > 0


def test_a_sound_stays_on_its_side(paper_size: CausalCodec) -> None:
    """Left and right have the same mid and side magnitudes; a codec that knew only these would mix them up."""
    mono = audio_for(paper_size, 1)[:, :1]
    for side in (0, 1):
        audio = torch.cat([mono, 0.1 * mono] if side == 0 else [0.1 * mono, mono], dim=1)
        power = paper_size.decode(paper_size.encode(audio))[0].square().mean(1)
        assert int(power.argmax()) == side
        assert float(power[side] / power[1 - side]) > 4


def test_stereo_keeps_sides_apart(paper_size: CausalCodec) -> None:
    latents = paper_size.encode(audio_for(paper_size, 1, 4))
    left, right = paper_size.decode(latents)[0]
    assert not torch.allclose(left, right)
    assert paper_size.spec.frame_rate_hz == pytest.approx(10.767, abs=1e-3)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 2, 4096), "channels"), ((1, 1, 4000), "multiple"), ((1, 4096), "shape")],
)
def test_misfitting_audio_is_refused(pocket: CausalCodec, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        pocket.encode(torch.zeros(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_numbers_are_refused(pocket: CausalCodec, value: float) -> None:
    audio, latents = torch.zeros(1, 1, 4096), torch.zeros(1, 2, pocket.spec.latent_channels)
    audio[0, 0, 7] = latents[0, 0, 7] = value
    with pytest.raises(UserError, match="NaN"):
        pocket.encode(audio)
    with pytest.raises(UserError, match="NaN"):
        pocket.decode(latents)


def test_foreign_rate_and_latents_are_refused(pocket: CausalCodec) -> None:
    with pytest.raises(UserError, match="resample"):
        require_audio(torch.zeros(1, 1, 2048), pocket.spec, sample_rate_hz=44100)
    with pytest.raises(UserError, match="decode with the codec"):
        pocket.decode(torch.zeros(1, 2, 7))
    with pytest.raises(UserError, match="cannot be built"):
        CausalCodec(audio_channels=3)
