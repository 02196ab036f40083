"""A delay that follows what it hears, or another sketch, and words that change: in any chunks as offline.

Shapes: A audio channels, N samples, T latent frames, C latent channels.
"""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from players import lmdm, offline, pocket, sound
from torch import Tensor

from livejam.accompanist import Controls
from livejam.batch import NAMES
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.networks import BlockCausal, EncoderDecoder
from livejam.networks.conditioning import read_words
from livejam.sketch import SketchAnalysis
from livejam.streaming import DelayGains, GenerativeDelay, PromptChange, Session, answering, sketch_of
from livejam.streaming.delay import saturated

HOP = 2048
BLOCK = 3 * HOP
RATE = 22050
MASKS = {"encdec": EncoderDecoder(9), "blockcausal": BlockCausal(3, 3)}


@cache
def player(mask: str = "encdec") -> Player:
    return answering(lmdm(pocket(), MASKS[mask], sketch=SketchAnalysis()))


def delay(
    mask: str = "encdec", rate: int = RATE, channels: int = 1, following: bool = True, feedback: float = 0.0
) -> GenerativeDelay:
    session = Session(player(mask), sample_rate_hz=rate, channels=channels, instruments=["Percussive"])
    return GenerativeDelay(session, DelayGains(feedback=feedback), following)


def played(machine: GenerativeDelay, audio_AN: Tensor, sizes: list[int]) -> Tensor:
    """The answers, from chunks of these sizes, again and again."""
    out, place, number = [], 0, 0
    while place < audio_AN.shape[-1]:
        size = sizes[number % len(sizes)]
        out.append(machine.process_parts(audio_AN[:, place : place + size])[1])
        place, number = place + size, number + 1
    return torch.cat(out, dim=-1)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("feedback", [0.0, 0.7])
def test_it_follows_what_it_heard_as_offline(mask: str, feedback: float) -> None:
    audio_AN, machine = sound(1, 6 * BLOCK), delay(mask, feedback=feedback)
    late, wet_AN = machine.delay_samples, machine.process_parts(audio_AN)[1]
    heard_AN = audio_AN + feedback * wet_AN
    sketch_TP = sketch_of(player(mask), [heard_AN], RATE)
    asked = player(mask), heard_AN, RATE, ["Percussive"], [0]
    answer_AN, plain_AN = (saturated(offline(*asked, curves)[0]) for curves in (sketch_TP, None))
    assert (wet_AN[:, late:] - answer_AN[:, :-late]).abs().max() <= 5e-5
    assert (plain_AN - answer_AN).abs().max() > 1e-3


@pytest.mark.parametrize(("rate", "channels", "feedback"), [(RATE, 1, 0.7), (32000, 2, 0.3)])
def test_chunks_make_no_difference_to_what_follows(rate: int, channels: int, feedback: float) -> None:
    def quiet() -> GenerativeDelay:
        """An untrained model plays loud, and a loud loop amplifies differences of rounding from block to block."""
        machine = delay(rate=rate, channels=channels, feedback=feedback)
        machine.session.set_level(-20)
        return machine

    audio_AN = sound(channels, 4 * BLOCK * rate // RATE + 17)
    _, whole_AN = quiet().process_parts(audio_AN)
    for sizes in ([3 * HOP, 1, 0, 700], [1000]):
        assert (played(quiet(), audio_AN, sizes) - whole_AN).abs().max() <= 1e-5, sizes


def test_a_recording_of_the_input_is_the_same_sketch() -> None:
    audio_AN, following, told = sound(1, 5 * BLOCK), delay(), delay(following=False)
    told.session.set_sketch(sketch_of(player(), [audio_AN], RATE))
    told = GenerativeDelay(told.session)
    assert (played(following, audio_AN, [700]) - played(told, audio_AN, [5000])).abs().max() <= 1e-5


@torch.inference_mode()
def test_words_change_at_the_block_that_they_are_asked_for_as_offline() -> None:
    """Hard changes, with and without forgetting, and a cross-fade, which here are told to the model itself."""
    rate_T, codec = RATE / HOP, pocket()
    changes = [
        PromptChange(6 / rate_T, read_words("piano"), eject_blocks=2),
        PromptChange(12 / rate_T, read_words("jazz bass:0.7, strings:0.3"), fade_blocks=2),
    ]
    machine = delay(following=False)
    machine.session.set_prompts(changes)
    machine, audio_AN = GenerativeDelay(machine.session), sound(1, 8 * BLOCK)
    who, late = player().accompanist, machine.delay_samples
    state = who.init_state(1, Controls(torch.tensor([NAMES.index("Percussive")]), torch.tensor([0])))
    mix_BTC, pieces = codec.encode(audio_AN[None]), []
    first, piano, mixed = (
        who.generator.mixed_prompt([read_words(text)]) for text in ("Percussive", "piano", "jazz bass:0.7, strings:0.3")
    )
    told = [first, first, piano, piano, piano.faded(mixed, 0.5), mixed, mixed, mixed]
    for block, prompt in enumerate(told):
        if block == 2:
            state = who.ejected([2], state)
        state = who.asked(prompt, state)
        out_BTC, state = who.step(mix_BTC[:, 3 * block : 3 * block + 3], state)
        pieces.append(out_BTC)
    answer_AN = saturated(codec.decode(torch.cat(pieces, dim=1))[0])
    wet_AN = played(machine, audio_AN, [HOP, 777])
    assert (wet_AN[:, late:] - answer_AN[:, :-late]).abs().max() <= 5e-5
    assert wet_AN.abs().max() > 1e-2


def test_it_goes_on_exactly_after_a_snapshot_and_after_bad_sound() -> None:
    machine, audio_AN = delay(feedback=0.5), sound(1, 4 * BLOCK)
    machine.process(audio_AN[:, : BLOCK + 100])
    before, rest_AN = machine.snapshot(), audio_AN[:, BLOCK + 100 :]
    expected_AN = machine.process(rest_AN)
    machine.restore(before)
    bad_AN = rest_AN.clone()
    bad_AN[:, -5] = math.nan
    with pytest.raises(UserError, match="NaN"):
        machine.process(bad_AN)
    assert torch.equal(machine.process(rest_AN), expected_AN)


@settings(deadline=None, max_examples=6)
@given(
    st.lists(st.floats(width=32), min_size=10, max_size=120),
    st.sampled_from([torch.float16, torch.float32, torch.float64]),
    st.lists(st.integers(0, 3 * BLOCK), min_size=1, max_size=4),
)
def test_no_curve_ever_stops_a_delay(numbers: list[float], dtype: torch.dtype, sizes: list[int]) -> None:
    machine, frames = delay(following=False, feedback=0.5), len(numbers) // 10
    machine.session.set_sketch(torch.tensor(numbers[: 10 * frames]).view(frames, 10).to(dtype))
    machine = GenerativeDelay(machine.session, DelayGains(feedback=0.5))
    assert played(machine, sound(1, 4 * BLOCK), [*sizes, 1000]).isfinite().all()
    assert machine.session.failures == 0


def test_who_follows_no_sketch_cannot_follow_what_is_played() -> None:
    session = Session(answering(lmdm(pocket(), EncoderDecoder(9))))
    with pytest.raises(UserError, match="follows no sketch"):
        GenerativeDelay(session, following=True)
