"""A session plays what the offline pass plays, however the sound is cut, and forgets nothing it should remember."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
from codec_models import tiny_codicodec, tiny_encodec, tiny_mimi, tiny_stable_audio_vae
from hypothesis import given, settings
from hypothesis import strategies as st
from players import liveband, lmdm, offline, pocket, sound
from rounding import SESSION, assert_same_up_to_rounding
from torch import Tensor

from livejam.checkpoints.player import Player
from livejam.codecs import WindowedCodec
from livejam.errors import UserError
from livejam.networks import Bidirectional, BlockCausal, EncoderDecoder
from livejam.streaming import Session
from livejam.streaming.timing import counter_of
from livejam.systems.context import InpaintedContext

APART = {"mix": 2.0, "past": 0.5, "prompt": 3.0}
"""Weights of guidance with sides of their own."""

PLAYERS: dict[str, Callable[[], Player]] = {
    "liveband": lambda: liveband(pocket()),
    "liveband, one second ahead": lambda: liveband(pocket(), 11),
    "liveband, synchronous": lambda: liveband(pocket(), 0),
    "liveband, told": lambda: liveband(pocket(), 2, anticipations=5),
    "liveband, bidirectional": lambda: liveband(pocket(), -1),
    "outpainting": lambda: lmdm(pocket(), Bidirectional()),
    "encoder-decoder": lambda: lmdm(pocket(), EncoderDecoder(9)),
    "block-causal": lambda: lmdm(pocket(), BlockCausal(3, 3), cutoff=-1),
    "block-causal, guided": lambda: lmdm(pocket(), BlockCausal(3, 3), guidance=APART),
    "generative delay": lambda: lmdm(pocket(), EncoderDecoder(9), cutoff=1),
    "look-ahead": lambda: lmdm(pocket(), Bidirectional(), cutoff=-1, context_mode=InpaintedContext()),
    "encodec": lambda: liveband(tiny_encodec()),
    "mimi": lambda: liveband(tiny_mimi()),
    "codicodec": lambda: liveband(tiny_codicodec()),
    "windowed": lambda: liveband(WindowedCodec(tiny_stable_audio_vae(), context_frames=2, lookahead_frames=3), 5),
    "windowed blocks": lambda: lmdm(
        WindowedCodec(tiny_stable_audio_vae(), context_frames=2, lookahead_frames=2, block_frames=4),
        EncoderDecoder(9),
    ),
}


@cache
def built(name: str) -> Player:
    return PLAYERS[name]()


def cut(audio_AN: Tensor, sizes: list[int]) -> list[Tensor]:
    """Chunks of these sizes, again and again."""
    chunks, place = [], 0
    while place < audio_AN.shape[-1]:
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(audio_AN[:, place : place + size])
        place += size
    return chunks


def late(reference: Tensor, session: Session) -> Tensor:
    """What the session plays of it, as late as it says."""
    samples = session.timing.late_samples
    return torch.nn.functional.pad(reference, (samples, 0))[..., : reference.shape[-1]]


@pytest.mark.parametrize("name", PLAYERS)
def test_streamed_equals_offline(name: str) -> None:
    player, instruments, seeds = built(name), ["Percussive", "Bass"], [3, 4]
    spec = player.codec.spec
    hop = spec.hop_samples
    slow = name == "codicodec"
    audio_AN = sound(spec.audio_channels, (6 if slow else 40) * hop + 17)
    reference = offline(player, audio_AN, spec.sample_rate_hz, instruments, seeds)
    assert reference.abs().max() > 1e-4
    for sizes in ([3 * hop],) if slow else ([64] * 40 + [5 * hop], [1000], [hop], [3 * hop], [1, 5 * hop + 3, 700]):
        session = Session(player, instruments=instruments, seeds=seeds)
        played = torch.cat([session.process_rows(chunk) for chunk in cut(audio_AN, sizes)], dim=-1)
        assert played.shape == reference.shape
        loudest = max(1.0, float(reference.abs().max()))
        assert (played - late(reference, session)).abs().max() <= 1e-5 * loudest, sizes


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 1), (96_000, 6), (8_000, 1)])
def test_any_rate_and_number_of_channels(rate: int, channels: int) -> None:
    player = built("liveband")
    audio_AN = sound(channels, 2 * rate + 11)
    reference = offline(player, audio_AN, rate, ["Bass"], [0]).sum(dim=0)
    session = Session(player, sample_rate_hz=rate, channels=channels, instruments=["Bass"], seeds=[0])
    played = torch.cat([session.process(chunk) for chunk in cut(audio_AN, [480, 1, 9000])], dim=-1)
    assert played.shape == audio_AN.shape
    assert (played - reference).abs().max() <= 1e-5
    assert session.heard_samples == audio_AN.shape[-1]


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=12), rate=st.sampled_from([22_050, 48_000]))
def test_the_promised_lead_is_kept(sizes: list[int], rate: int) -> None:
    session = Session(built("liveband"), sample_rate_hz=rate)
    for size in sizes:
        before = session.known_samples
        new_BAN = session.advance(sound(1, size))
        assert session.known_samples == before + new_BAN.shape[-1]
        assert session.known_samples >= session.heard_samples + session.timing.lead_samples


@pytest.mark.parametrize("name", PLAYERS)
def test_no_more_lead_is_there_than_promised(name: str) -> None:
    """Somewhere, one sample more would have been a lie."""
    session = Session(built(name))
    leads = []
    for _ in range(20 * session.timing.block_samples // 8):
        session.advance(sound(session.channels, 8))
        leads.append(session.known_samples - session.heard_samples)
        if session.heard_samples > 3 * session.timing.block_samples + 3000:
            break
    assert 0 <= min(leads) - session.timing.lead_samples < 16


@pytest.mark.parametrize("name", ["liveband", "block-causal, guided"])
def test_restored_plays_on_bit_equal(name: str) -> None:
    session = Session(built(name), instruments=["Percussive", "Bass"])
    hop = session.player.codec.spec.hop_samples
    session.process_rows(sound(1, 7 * hop + 100))
    kept, following = session.snapshot(), sound(1, 9 * hop, seed=1)
    first = session.process_rows(following)
    session.set_instrument("Bass")
    session.mute()
    session.process_rows(sound(1, 5 * hop, seed=2))
    session.restore(kept)
    assert torch.equal(session.process_rows(following), first)
    assert session.instruments == ("Percussive", "Bass")


@pytest.mark.parametrize("name", ["liveband", "encoder-decoder"])
def test_undone_is_forgotten(name: str) -> None:
    """After an undo, the model plays on bit-equal to one that never heard those seconds."""
    player = built(name)
    hop = player.codec.spec.hop_samples
    # the encoder overlaps what it hears, so the seconds to be forgotten lie between two silences
    start, gone, silence = sound(1, 12 * hop), sound(1, 24 * hop, seed=1), torch.zeros(1, 6 * hop)
    following = sound(1, 12 * hop, seed=2)
    session, other = Session(player), Session(player)
    for chunk in (torch.cat((start, silence), dim=1), torch.cat((gone, silence), dim=1)):
        session.process(chunk)
    other.process(torch.cat((start, silence), dim=1))
    seconds = session.undo(30 * hop / player.codec.spec.sample_rate_hz)
    assert seconds == pytest.approx(30 * hop / player.codec.spec.sample_rate_hz)
    assert torch.equal(continued(session), continued(other))
    heard, session_late = session.heard_samples, session.process(following)
    assert session.heard_samples == heard + 12 * hop
    assert session_late.shape == following.shape


def continued(session: Session) -> Tensor:
    """What the model plays to some latents, as it is."""
    musician = session.snapshot().pipeline.musician
    frames = 6 * musician.accompanist.block_frames
    rng = torch.Generator().manual_seed(7)
    mix_BTC = torch.randn(session.rows, frames, session.player.codec.spec.latent_channels, generator=rng)
    played, memory = [], musician.memory
    with torch.inference_mode():
        for block_BTC in mix_BTC.split(musician.accompanist.block_frames, dim=1):
            out_BTC, memory = musician.accompanist.step(block_BTC, memory)
            played.append(out_BTC)
    return torch.cat(played, dim=1)


def test_undo_reaches_the_beginning_but_not_further_than_it_says() -> None:
    session = Session(built("liveband"))
    session.process(sound(1, 22_050))
    assert session.undo(30) == pytest.approx(1.0)
    assert torch.equal(continued(session), continued(Session(built("liveband"))))
    for seconds in (-1.0, 31.0, float("nan")):
        with pytest.raises(UserError, match="cannot be undone"):
            session.undo(seconds)


def test_undoing_twice_goes_further_back() -> None:
    session = Session(built("liveband"))
    for _ in range(20):
        session.process(sound(1, 5_000))
    first = session.undo(1.0)
    assert 1.0 <= first < 1.6
    second = session.undo(1.0)
    assert 1.0 <= second < 1.6


def test_a_reset_begins_anew() -> None:
    session = Session(built("liveband"), instruments=["Bass"])
    chunk = sound(1, 30_000)
    first = session.process(chunk)
    session.set_level(-6.0)
    session.process(chunk)
    session.reset()
    assert session.heard_samples == session.known_samples == 0
    session.set_level(0.0)
    session.reset()
    assert torch.equal(session.process(chunk), first)


def test_rows_play_as_if_alone() -> None:
    player, audio_AN = built("liveband"), sound(1, 30_000)
    both = Session(player, instruments=["Percussive", "Bass"], seeds=[5, 6]).process_rows(audio_AN)
    alone = Session(player, instruments=["Bass"], seeds=[6]).process_rows(audio_AN)
    assert_same_up_to_rounding(both[1:], alone, SESSION)


@pytest.mark.parametrize("name", ["liveband", "encoder-decoder", "liveband, synchronous", "windowed blocks"])
def test_rows_that_hear_each_other(name: str) -> None:
    """A row hears the mix and the others: the same as hearing a mix that the others' sound was added to."""
    player = built(name)
    hop = player.codec.spec.hop_samples
    audio_AN = sound(player.codec.spec.audio_channels, 40 * hop)
    together = Session(player, instruments=["Percussive", "Bass"], seeds=[1, 2], hear_each_other=True)
    played = torch.cat([together.process_rows(chunk) for chunk in cut(audio_AN, [900, 7000])], dim=-1)
    late_by = together._pipeline.answer_delay
    early = together.timing.late_samples
    answer_AN = torch.nn.functional.pad(played[0, :, early:], (late_by, early))[..., : audio_AN.shape[-1]]
    alone = Session(player, instruments=["Bass"], seeds=[2]).process_rows(audio_AN + answer_AN)
    samples = audio_AN.shape[-1] - early
    assert torch.allclose(played[1, :, :samples], alone[0, :, :samples], atol=1e-5)
    deaf = Session(player, instruments=["Percussive", "Bass"], seeds=[1, 2]).process_rows(audio_AN)
    assert not torch.allclose(played, deaf, atol=1e-6)


def test_controls_take_effect_at_the_next_block_without_a_click() -> None:
    player, audio_AN = built("liveband"), sound(1, 60_000)
    plain = Session(player, instruments=["Percussive"]).process(audio_AN)
    session = Session(player, instruments=["Percussive"])
    first = session.process(audio_AN[:, :30_000])
    session.mute()
    rest = session.process(audio_AN[:, 30_000:])
    played = torch.cat((first, rest), dim=1)
    unchanged = 30_000 + session.timing.lead_samples
    assert torch.allclose(played[:, :unchanged], plain[:, :unchanged])
    assert not played[:, 30_000 + 3 * 2048 :].any()
    assert played.diff().abs().max() <= 1.01 * plain.diff().abs().max()


@pytest.mark.parametrize(("decibels", "gain"), [(-20.0, 0.1), (6.0, 1.9953)])
def test_levels_are_decibels(decibels: float, gain: float) -> None:
    player, audio_AN = built("liveband"), sound(1, 30_000)
    plain = Session(player).process(audio_AN)
    session = Session(player)
    session.set_level(decibels)
    session.reset()
    assert torch.allclose(session.process(audio_AN), gain * plain, atol=1e-5)


@pytest.mark.parametrize("change", ["instrument", "seed", "prompt", "guidance"])
def test_a_control_changes_what_is_played_and_keeps_the_memory(change: str) -> None:
    name = "block-causal" if change in ("prompt", "guidance") else "liveband"
    audio_AN = sound(1, 80_000)
    plain, session = Session(built(name)), Session(built(name))
    plain.process(audio_AN)
    session.process(audio_AN)
    {
        "instrument": lambda: session.set_instrument("Bass"),
        "seed": lambda: session.set_seed(99),
        "prompt": lambda: session.set_prompt("bass"),
        "guidance": lambda: session.set_guidance(3.0),
    }[change]()
    one, other = plain.process(audio_AN), session.process(audio_AN)
    assert not torch.allclose(one, other, atol=1e-4)
    assert torch.equal(one[:, : session.timing.lead_samples], other[:, : session.timing.lead_samples])


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (torch.full((1, 10), float("nan")), "NaN"),
        (torch.tensor([[0.0, float("inf")]]), "NaN or infinite"),
        (torch.zeros(3, 10), "1 channels"),
        (torch.zeros(1, 1, 10), "1 channels"),
    ],
)
def test_bad_sound_leaves_the_session_as_it_was(bad: Tensor, sentence: str) -> None:
    session, audio_AN = Session(built("liveband")), sound(1, 20_000)
    session.process(audio_AN)
    before = session.snapshot()
    with pytest.raises(UserError, match=sentence):
        session.process(bad)
    assert session.snapshot() is before
    assert session.process(audio_AN).isfinite().all()


def test_chunks_without_samples_and_of_one_sample() -> None:
    session = Session(built("liveband"))
    assert session.process(torch.zeros(1, 0)).shape == (1, 0)
    assert session.process(torch.zeros(0)).shape == (1, 0)
    assert session.process(torch.zeros(1)).shape == (1, 1)


def test_sound_far_beyond_full_scale_is_survived() -> None:
    session = Session(built("liveband"))
    assert session.process(1e38 * sound(1, 20_000)).isfinite().all()


def test_a_model_that_fails_is_silenced_and_begins_anew() -> None:
    player = liveband(pocket())
    accompanist = player.accompanist
    step, calls = accompanist.step, []

    def failing(mix_BTC: Tensor, state: object) -> tuple[Tensor, object]:
        calls.append(1)
        out_BTC, state = step(mix_BTC, state)
        return (out_BTC * float("nan") if len(calls) == 3 else out_BTC), state

    accompanist.step = failing  # type: ignore[method-assign]
    session = Session(player)
    assert session.process(sound(1, 30_000)).isfinite().all()
    assert session.failures == 1
    assert session.process(sound(1, 30_000)).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda session: session.set_instrument("Kazoo"), "Kazoo"),
        (lambda session: session.set_instrument("Organ"), "learnt Percussive, Bass"),
        (lambda session: session.set_instrument("Bass", row=4), "no row 4"),
        (lambda session: session.set_prompt("funky"), "takes no prompts"),
        (lambda session: session.set_guidance(2.0), "without guidance"),
        (lambda session: session.set_anticipation(3), "1 frames ahead and learnt nothing else"),
        (lambda session: session.set_seed(-1), "seed -1"),
        (lambda session: session.set_level(float("nan")), "level of nan"),
        (lambda session: session.set_level(90.0), "level of 90"),
    ],
)
def test_a_control_that_cannot_be_met_changes_nothing(act: Callable[[Session], None], sentence: str) -> None:
    session = Session(built("liveband"))
    before = session.snapshot()
    with pytest.raises(UserError, match=sentence):
        act(session)
    assert session.snapshot() is before


def test_a_prompt_that_is_not_understood_changes_nothing() -> None:
    session = Session(built("block-causal"))
    before = session.snapshot()
    with pytest.raises(UserError):
        session.set_prompt("")
    assert session.snapshot() is before


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"sample_rate_hz": 0}, "sample rate of 0 Hz"),
        ({"channels": 0}, "0 audio channels"),
        ({"instruments": []}, "at least one instrument"),
        ({"instruments": ["Bass"], "seeds": [1, 2]}, "1 instruments but 2 seeds"),
        ({"prompts": ["funky"]}, "takes no prompts"),
    ],
)
def test_a_session_that_cannot_be_played_is_refused(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Session(built("liveband"), **wrong)  # type: ignore[arg-type]


def test_streams_block_by_block() -> None:
    player, audio_AN = built("liveband"), sound(1, 20_000)
    heard: list[int] = []

    def source() -> object:
        for chunk in cut(audio_AN, [1500]):
            heard.append(chunk.shape[-1])
            yield chunk

    session, played = Session(player), []
    for block_AN in session.stream(source()):  # type: ignore[arg-type]
        played.append(block_AN)
        assert len(heard) == len(played), "every block is there before the next chunk is asked for"
    assert torch.equal(
        torch.cat(played, dim=1), torch.cat([Session(player).process(audio_AN)], dim=1)
    ) or torch.allclose(torch.cat(played, dim=1), Session(player).process(audio_AN), atol=1e-6)


def test_warming_up_leaves_no_trace() -> None:
    player, audio_AN = built("liveband"), sound(1, 20_000)
    warm = Session(player)
    warm.warm_up()
    assert warm.heard_samples == 0
    assert torch.equal(warm.process(audio_AN), Session(player).process(audio_AN))


def test_every_step_says_how_long_it_took() -> None:
    times: list[object] = []
    session = Session(built("liveband"), on_step=times.append)
    session.process(sound(1, 10 * 2048))
    assert len(times) == 10
    assert all(part.encode > 0 and part.generate > 0 and part.decode > 0 for part in times)  # type: ignore[attr-defined]


@settings(deadline=None)
@given(heard=st.integers(0, 10**7), rate=st.sampled_from([22050, 44100, 48000, 96000]))
def test_nothing_becomes_known_before_the_next_block_of_the_codec(heard: int, rate: int) -> None:
    player = liveband(pocket())
    counter = counter_of(player.accompanist, player.codec, rate)
    missing = counter.samples_to_next_block(heard)
    assert missing > 0
    assert counter.known_samples(heard + missing - 1) == counter.known_samples(heard)
    assert counter.known_samples(heard + missing) > counter.known_samples(heard)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000, 96_000, 8_000])
def test_steps_come_when_a_session_says(rate: int) -> None:
    """Sound that is sent at the ends that this gives is never sent too early, and at most a sample late."""
    session = Session(liveband(pocket()), sample_rate_hz=rate)
    heard = first = session.samples_to_next_block(0)
    for number in range(1, 2000):
        heard += session.samples_to_next_block(heard)
        assert 0 <= first + math.ceil(number * session.step_samples) - heard <= 1
