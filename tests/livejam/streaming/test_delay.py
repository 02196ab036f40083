"""A generative delay answers what was just heard, as late as it says, however the sound is cut.

Shapes: A audio channels, N samples.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from players import liveband, lmdm, offline, pocket, sound
from torch import Tensor

from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.networks import EncoderDecoder
from livejam.streaming import DelayGains, GenerativeDelay, Session
from livejam.streaming.delay import answering, saturated

HOP = 2048
BLOCK = 3 * HOP
RATE = 22050


@cache
def player() -> Player:
    return answering(lmdm(pocket(), EncoderDecoder(9), guidance=2.0))


def delay(rate: int = RATE, channels: int = 1, prompt: str = "percussive", **gains: float) -> GenerativeDelay:
    session = Session(player(), sample_rate_hz=rate, channels=channels, instruments=["Percussive"], prompts=[prompt])
    return GenerativeDelay(session, DelayGains(**gains))


def played(machine: GenerativeDelay, audio_AN: Tensor, sizes: list[int]) -> Tensor:
    """The output, from chunks of these sizes, again and again."""
    out, place, number = [], 0, 0
    while place < audio_AN.shape[-1]:
        size = sizes[number % len(sizes)]
        out.append(machine.process(audio_AN[:, place : place + size]))
        place, number = place + size, number + 1
    return torch.cat(out, dim=-1)


@pytest.mark.parametrize(("rate", "channels"), [(RATE, 1), (32000, 2)])
def test_chunks_make_no_difference(rate: int, channels: int) -> None:
    def quiet() -> GenerativeDelay:
        """An untrained model plays loud, and a loud loop amplifies differences of rounding from block to block."""
        machine = delay(rate, channels, feedback=0.7)
        machine.session.set_level(-20)
        return machine

    audio_AN = sound(channels, 5 * BLOCK * rate // RATE + 17)
    whole_AN = quiet().process(audio_AN)
    assert whole_AN.shape == audio_AN.shape
    assert (whole_AN - audio_AN).abs().max() > 0.01
    for sizes in ([64] * 50 + [1000], [HOP], [3 * HOP], [1, 5 * HOP + 3, 0, 700]):
        assert (played(quiet(), audio_AN, sizes) - whole_AN).abs().max() <= 1e-5, sizes


@pytest.mark.parametrize("feedback", [0.0, 0.7])
def test_it_answers_what_was_heard_a_block_and_the_codec_later(feedback: float) -> None:
    audio_AN, machine = sound(1, 6 * BLOCK), delay(feedback=feedback)
    _, wet_AN = machine.process_parts(audio_AN)
    late = machine.delay_samples
    assert late == BLOCK + pocket().spec.delay_samples
    assert (wet_AN[:, :late] == 0).all()
    heard_AN = audio_AN + feedback * wet_AN
    answer_AN = saturated(offline(player(), heard_AN, RATE, ["Percussive"], [0])[0])
    assert answer_AN.abs().max() > 0.01
    # an untrained model plays loud, and what is rounded differently in one pass and in blocks with it
    assert (wet_AN[:, late:] - answer_AN[:, :-late]).abs().max() <= 5e-5


def test_the_answer_is_made_to_the_block_that_was_heard() -> None:
    audio_AN, late = sound(1, 4 * BLOCK), delay().delay_samples
    other_AN = audio_AN.clone()
    other_AN[:, 2 * BLOCK :] = 0
    difference_AN = (delay().process_parts(audio_AN)[1] - delay().process_parts(other_AN)[1]).abs()
    assert (difference_AN[:, : 2 * BLOCK + late - 768] == 0).all()  # what the decoder adds up reaches a little back
    assert difference_AN[:, 2 * BLOCK + late :].max() > 1e-3


def test_the_knobs_do_what_they_say() -> None:
    audio_AN = sound(1, 3 * BLOCK)
    assert torch.equal(delay(wet=0).process(audio_AN), audio_AN)
    _, wet_AN = delay().process_parts(audio_AN)
    assert torch.allclose(delay(dry=0, wet=0.5).process(audio_AN), 0.5 * wet_AN, atol=1e-6)
    machine = delay(prompt="piano")
    assert (machine.process_parts(audio_AN)[1] - wet_AN).abs().max() > 1e-3
    machine = delay()
    machine.session.set_guidance(1.0)
    assert (machine.process_parts(audio_AN)[1] - wet_AN).abs().max() > 1e-3


def test_gains_glide() -> None:
    machine, ones_AN = delay(dry=0, wet=0), torch.full((1, 4000), 0.9)
    machine.set_gains(DelayGains(dry=1, wet=0))
    out_AN = played(machine, ones_AN, [100, 3, 700])
    assert out_AN.diff().abs().max() < 0.9 / 1000
    assert torch.equal(out_AN[:, 1200:], ones_AN[:, 1200:])


def test_answers_never_exceed_full_scale() -> None:
    x_AN = torch.linspace(-20, 20, 4001)[None]
    y_AN = saturated(x_AN)
    assert torch.equal(y_AN[x_AN.abs() <= 0.5], x_AN[x_AN.abs() <= 0.5])
    assert y_AN.abs().max() <= 1
    assert (y_AN.diff() >= 0).all()
    assert torch.equal(y_AN, -saturated(-x_AN))


def test_it_goes_on_exactly_after_a_snapshot_and_after_bad_sound() -> None:
    machine, audio_AN = delay(feedback=0.5), sound(1, 4 * BLOCK)
    machine.process(audio_AN[:, : BLOCK + 100])
    before, rest_AN = machine.snapshot(), audio_AN[:, BLOCK + 100 :]
    expected_AN = machine.process(rest_AN)
    machine.restore(before)
    bad_AN = rest_AN.clone()
    bad_AN[:, -5] = torch.nan
    for wrong_AN, sentence in ((bad_AN, "NaN"), (rest_AN.expand(2, -1), "1 channels"), (bad_AN[:, :0].T, "channels")):
        with pytest.raises(UserError, match=sentence):
            machine.process(wrong_AN)
    assert torch.equal(machine.process(rest_AN), expected_AN)


def test_what_cannot_be_a_delay_is_refused() -> None:
    with pytest.raises(UserError, match=r"LiveBand plays ahead of what it hears: use `livejam play`"):
        answering(liveband(pocket()))
    ahead = Session(lmdm(pocket(), EncoderDecoder(9)))
    with pytest.raises(UserError, match="answering"):
        GenerativeDelay(ahead)
    for name, value in (("feedback", 1.0), ("wet", 1.5), ("dry", float("nan"))):
        with pytest.raises(UserError, match=f"{name} is"):
            DelayGains(**{name: value})
