"""What a server was sent is played again with all that was asked for: references, negative prompts and guidance.

Shapes: N audio samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from osc_desk import RATE
from players import sound
from sounding import band, guided
from web_stage import tune

from livejam.checkpoints.player import Player
from livejam.serving.mono_sessions import mono_session
from livejam.serving.named_references import NamedReferences
from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import Hello, Stream
from livejam.serving.osc_sound_messages import Reference
from livejam.serving.osc_word_messages import Guidance, GuidanceRescale, NegativePrompt
from livejam.serving.recordings import Head
from livejam.serving.replaying import replay
from livejam.serving.replaying_web import replay_web
from livejam.serving.web_frames import Heard, write_heard
from livejam.serving.web_messages import Begin
from livejam.serving.web_messages import Guidance as WebGuidance
from livejam.serving.web_messages import GuidanceRescale as WebRescale
from livejam.serving.web_messages import NegativePrompt as WebNegative
from livejam.streaming import Session, reference_of

BLOCK = 256


def replayed(
    player: Player, asked: Sequence[Message], audio_N: np.ndarray, references: NamedReferences
) -> tuple[np.ndarray, list[str]]:
    """What is played to sound before which something was asked for, and what is said."""
    sent: list[Message] = [Hello(), *asked]
    packets = [(0.0, message.datagram(), 0) for message in sent]
    for at in range(0, len(audio_N) - BLOCK + 1, BLOCK):
        packets.append(((at + BLOCK) / RATE, Stream(at // BLOCK, at, audio_N[at : at + BLOCK]).datagram(), 0))
    said: list[str] = []
    make = partial(mono_session, player, RATE, False, seed=3)
    answer_N, _, counts = replay(packets, Head("osc", RATE, ("Percussive",), 3), make, said.append, references)
    assert counts.failed == 0
    return answer_N, refusals(said)


def refusals(said: list[str]) -> list[str]:
    """What was said because something was refused."""
    return [sentence for sentence in said if sentence.startswith("refused: ")]


def alone(player: Player) -> Session:
    return mono_session(player, RATE, False, ["Percussive"], 3)


def agree(answer_N: np.ndarray, session: Session, audio_N: np.ndarray) -> None:
    """What was played again is what a session plays from the beginning on."""
    heard_N = torch.from_numpy(audio_N[: len(audio_N) // BLOCK * BLOCK])
    parts = [session.advance(torch.zeros(1, 0)), session.advance(heard_N[None])]
    wanted_N = torch.cat(parts, dim=-1)[0, 0].numpy()
    samples = min(len(wanted_N), len(answer_N))
    assert samples > 0.5 * len(audio_N)
    np.testing.assert_allclose(answer_N[2048:samples], wanted_N[2048:samples], atol=1e-5)  # the opening is faded in


def test_references_that_are_given_again_are_heard_again() -> None:
    voice_E, audio_N = reference_of(band(), sound(1, 3 * RATE, 5), RATE), tune(1.0)
    answer_N, said = replayed(band(), [Reference("voice")], audio_N, NamedReferences({"voice": voice_E}))
    session = alone(band())
    session.set_reference(voice_E)
    agree(answer_N, session, audio_N)
    assert not said
    answer_N, said = replayed(band(), [Reference("voice"), Reference("voice")], audio_N, NamedReferences())
    agree(answer_N, alone(band()), audio_N)
    assert [sentence.count("started without --like") for sentence in said] == [1], "it is said once"


def test_negative_prompts_and_guidance_are_heard_again() -> None:
    audio_N = tune(1.0)
    asked = [NegativePrompt("loud trumpet"), Guidance((("prompt", 3.0),)), GuidanceRescale(0.7)]
    answer_N, said = replayed(guided(), asked, audio_N, NamedReferences())
    session = alone(guided())
    session.set_negative_prompt("loud trumpet")
    session.set_guidance({"prompt": 3.0})
    session.set_guidance_rescale(0.7)
    agree(answer_N, session, audio_N)
    assert not said
    _, said = replayed(band(), asked, tune(0.3), NamedReferences())
    for sentence, reason in zip(said, ("takes no prompts", "without guidance", "nothing to rescale"), strict=True):
        assert reason in sentence


def test_the_pages_controls_are_heard_again_and_refusals_said() -> None:
    audio_N, said = tune(1.0), list[str]()
    asked = [
        Begin(("Percussive",), 3), WebNegative("loud trumpet"), WebGuidance(prompt=3.0), WebRescale(0.7),
        WebNegative("zzz"),
    ]  # fmt: skip
    packets = [(0.0, message.text().encode(), 0) for message in asked]
    for at in range(0, len(audio_N) - BLOCK + 1, BLOCK):
        packets.append(((at + BLOCK) / RATE, write_heard(Heard(at // BLOCK, at, audio_N[at : at + BLOCK])), 0))
    make = partial(mono_session, guided(), RATE, False)
    answer_N, _ = replay_web(packets, Head("ws", RATE, ("Percussive",)), make, said.append)
    session = alone(guided())
    session.set_negative_prompt("loud trumpet")
    session.set_guidance({"prompt": 3.0})
    session.set_guidance_rescale(0.7)
    agree(answer_N, session, audio_N)
    (sentence,) = refusals(said)
    assert "no word that the tag encoder knows" in sentence
