"""A sound that leads the sketch, on the page and over OSC: as a session is led, and whatever comes instead.

Shapes: N audio samples.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from osc_desk import BLOCK, Desk, heard, placed, take_anything
from page_scripts import runner
from sounding import band, follower
from test_web_sounds import app_of
from web_stage import JAM, RATE, Visitor, client_of, tune

from livejam.errors import UserError
from livejam.serving.mono_sessions import mono_session
from livejam.serving.named_references import NamedReferences
from livejam.serving.osc_messages import Error, Hello, Stream
from livejam.serving.osc_sound_messages import SketchLead, SketchSound
from livejam.serving.osc_wire import write_datagram
from livejam.serving.recordings import Head
from livejam.serving.replaying import replay
from livejam.serving.web_frames import HEADER, LEADING, Heard, is_leading, read_leading, write_heard, write_leading
from livejam.serving.web_limits import Limits
from livejam.serving.web_messages import Leading
from livejam.sketch import CONTROLS, VoicePitch
from livejam.streaming import LiveSketch, Session
from livejam.streaming.rings import Audio

PIECE = 512


def voice(seconds: float) -> Audio:
    """A hum that swells and rises."""
    time_N = np.arange(round(seconds * RATE)) / RATE
    phase_N = 2 * np.pi * np.cumsum(180 + 60 * time_N) / RATE
    sung_N = sum(np.sin(part * phase_N) / part for part in (1, 2, 3, 4))
    audio_N: Audio = (0.3 * (0.1 + np.abs(np.sin(2 * time_N))) * sung_N).astype(np.float32)
    return audio_N


def led(
    session: Session, controls: Sequence[str], voice_N: Audio, mix_N: Audio, piece: int, single: bool = False
) -> Audio:
    """What a session plays that is led, as far as that makes it known."""
    live = LiveSketch(session, controls, VoicePitch() if single else None)
    known = [session.advance(torch.zeros(1, 0))]
    for at in range(0, len(mix_N) - piece + 1, piece):
        live.hear(session, torch.from_numpy(voice_N[None, at : at + piece]), at)
        known.append(session.advance(torch.from_numpy(mix_N[None, at : at + piece])))
    return torch.cat(known, dim=-1)[:, 0].numpy()


def send(visitor: Visitor, voice_N: Audio, mix_N: Audio) -> None:
    for number, at in enumerate(range(0, len(mix_N), PIECE)):
        visitor.socket.send_bytes(write_leading(Heard(number, at, voice_N[at : at + PIECE])))
        visitor.socket.send_bytes(write_heard(Heard(number, at, mix_N[at : at + PIECE])))


@pytest.mark.parametrize(("controls", "single"), [(CONTROLS, True), (("loudness",), False)])
def test_the_page_leads_as_a_session_is_led(controls: tuple[str, ...], single: bool) -> None:
    mix_N, voice_N = tune(2.0), voice(2.0)
    with client_of(app_of(follower())) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive")
        visitor.say(Leading(controls, single))
        assert visitor.until("done")["of"] == "leading"
        send(visitor, voice_N, mix_N)
        answer_BN = visitor.hear(1, len(mix_N) // 2)
        visitor.say(Leading((), single))
        assert visitor.until("done")["of"] == "leading"
    alone, plain = (mono_session(follower(), RATE, False, ["Percussive"], 0) for _ in range(2))
    wanted_BN = led(alone, controls, np.clip(voice_N, -1, 1), mix_N, PIECE, single)[:, : answer_BN.shape[1]]
    np.testing.assert_allclose(answer_BN, wanted_BN, atol=1e-5)
    plain_BN = plain.advance(torch.from_numpy(mix_N)[None])[:, 0, : answer_BN.shape[1]].numpy()
    assert np.abs(answer_BN - plain_BN).max() > 1e-3


def test_what_cannot_lead_gets_one_problem_and_the_jam_goes_on() -> None:
    with client_of(app_of(band())) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive")
        visitor.say(Leading(CONTROLS, True))
        assert "leading: this model follows no sketch" in visitor.until("problem")["sentence"]
        send(visitor, voice(0.2), tune(0.2))  # nobody follows it, and nothing is said of it
        visitor.say(Leading((), True))
        assert visitor.until("done")["of"] == "leading"
        assert sum(message["kind"] == "problem" for message in visitor.told) == 1
    with client_of(app_of(follower())) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive")
        for wrong, said in (
            ({"kind": "leading", "controls": ["tempo"], "single": True}, "no control 'tempo'"),
            ({"kind": "leading", "controls": "pitch", "single": True}, "controls is 'pitch'"),
            ({"kind": "leading", "controls": ["pitch"]}, "single is None"),
        ):
            socket.send_text(json.dumps(wrong))
            assert said in visitor.until("problem")["sentence"]
        visitor.say(Leading(CONTROLS, False))
        assert visitor.until("done")["of"] == "leading"
        for frame, said in (
            (write_leading(Heard(0, 0, voice(0.01)))[:-2], "no sound"),
            (HEADER.pack(LEADING, 1, 0, 0, 0) + bytes(8), "leads nothing"),
            (HEADER.pack(LEADING, 0, 0, 0, -5) + bytes(8), "out of range"),
        ):
            socket.send_bytes(frame)
            assert said in visitor.until("problem")["sentence"]
        for place in range(6):  # it is said once, for then it leads no more
            socket.send_bytes(write_leading(Heard(0, 2**50 + 4096 * place, voice(0.1)[:4096])))
        assert "ahead of the music" in visitor.until("problem")["sentence"]
        problems = sum(message["kind"] == "problem" for message in visitor.told)
        send(visitor, voice(1.0), tune(1.0))
        assert np.isfinite(visitor.hear(1, RATE // 2)).all()
        assert sum(message["kind"] == "problem" for message in visitor.told) == problems


def test_who_sends_too_much_is_sent_away() -> None:
    limits = Limits(sound_burst_seconds=0.5)
    with client_of(app_of(follower(), limits)) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive")
        for at in range(0, 2 * RATE, PIECE):
            socket.send_bytes(write_leading(Heard(0, at, np.zeros(PIECE, dtype=np.float32))))
        while not visitor.until("problem")["ended"]:
            pass
        assert "more sound came than can be followed" in visitor.told[-1]["sentence"]


@settings(max_examples=200)
@given(st.binary(max_size=64) | st.lists(st.floats(width=32), max_size=9))
def test_any_frame_is_read_or_refused(given_frame: Any) -> None:
    body = given_frame if isinstance(given_frame, bytes) else struct.pack(f"<{len(given_frame)}f", *given_frame)
    frame = HEADER.pack(LEADING, 0, 0, 0, 7) + body
    assert is_leading(frame)
    try:
        audio_N = read_leading(frame).audio_N
    except UserError:
        return
    assert np.isfinite(audio_N).all()
    assert np.abs(audio_N).max() <= 1


def both(desk: Desk, voice_N: Audio, mix_N: Audio) -> list[Any]:
    """What is answered to a mix and to a sound that leads."""
    answers = []
    for at in range(0, len(mix_N) - BLOCK + 1, BLOCK):
        answers += desk(SketchSound(at, voice_N[at : at + BLOCK]))
        answers += heard(desk, mix_N[at : at + BLOCK], at)
    return answers


def test_osc_leads_as_a_session_is_led() -> None:
    mix_N, voice_N, controls = tune(1.5), voice(1.5), ("loudness", "pitch")
    desk = Desk(follower())
    desk(Hello())
    assert not desk(SketchLead(0, controls))
    answers = both(desk, voice_N, mix_N)
    assert not [answer for answer in answers if isinstance(answer, Error)]
    wanted_BN = led(desk.session(None), controls, voice_N, mix_N, BLOCK)
    got_BN = placed(answers, 1, wanted_BN.shape[1])
    there = np.isfinite(got_BN)
    there[:, :2048] = False  # the opening is faded in
    assert there.mean() > 0.5
    np.testing.assert_allclose(got_BN[there], wanted_BN[there], atol=1e-5)
    assert not desk(SketchLead(0, ()))
    assert desk.desk.musician._lead._live is None


def test_what_led_is_heard_again_in_a_replay() -> None:
    mix_N, voice_N = tune(1.0), voice(1.0)
    packets = [(0.0, Hello().datagram(), 0), (0.0, SketchLead(1, CONTROLS).datagram(), 0)]
    for at in range(0, len(mix_N) - BLOCK + 1, BLOCK):
        for message in (SketchSound(at, voice_N[at : at + BLOCK]), Stream(at // BLOCK, at, mix_N[at : at + BLOCK])):
            packets.append(((at + BLOCK) / RATE, message.datagram(), 0))
    make = partial(mono_session, follower(), RATE, False, seed=3)
    said: list[str] = []
    answer_N, _, _ = replay(packets, Head("osc", RATE, ("Percussive",), 3), make, said.append, NamedReferences())
    wanted_N = led(make(["Percussive"]), CONTROLS, voice_N, mix_N, BLOCK, single=True)[0]
    samples = min(len(answer_N), len(wanted_N))
    assert samples > 0.5 * len(mix_N)
    np.testing.assert_allclose(answer_N[2048:samples], wanted_N[2048:samples], atol=1e-5)
    assert not [sentence for sentence in said if "refused" in sentence]


def test_what_osc_cannot_follow_gets_one_error() -> None:
    desk = Desk(follower())
    desk(Hello())
    for message, said in (
        (SketchLead(0, ("tempo",)), "no control 'tempo'"),
        (write_datagram("/sketch_sound", [("i", 0), ("f", float("nan"))]), "must be finite"),
        (write_datagram("/sketch_lead", [("i", 2), ("s", "pitch")]), "0 to 1"),
    ):
        desk.clock.sleep(0.2)
        (error,) = desk(message)
        assert isinstance(error, Error)
        assert said in error.sentence
    other = Desk(band())
    other(Hello())
    (error,) = other(SketchLead(1, CONTROLS))
    assert isinstance(error, Error)
    assert "follows no sketch" in error.sentence
    assert not other(SketchSound(0, voice(0.01)))
    assert not desk(SketchLead(0, CONTROLS))
    desk.clock.sleep(0.2)
    answers = [answer for at in range(12) for answer in desk(SketchSound(2**30 + 1024 * at, voice(0.1)[:1024]))]
    (error,) = answers
    assert isinstance(error, Error)
    assert "ahead of the music" in error.sentence


WORDS = st.sampled_from((*CONTROLS, "tempo", "", "é"))
SAMPLES = st.lists(st.tuples(st.just("f"), st.floats(width=32) | st.floats(-1, 1, width=32)), max_size=6)
PACKETS = st.one_of(
    st.tuples(st.just("/sketch_lead"), st.tuples(
        st.tuples(st.just("i"), st.integers(-1, 2)), st.lists(st.tuples(st.just("s"), WORDS), max_size=4)
    ).map(lambda given: [given[0], *given[1]])),
    st.tuples(st.just("/sketch_sound"), st.tuples(
        st.tuples(st.just("i"), st.integers(-(2**31), 2**31 - 1) | st.integers(0, 60_000)), SAMPLES
    ).map(lambda given: [given[0], *given[1]])),
)  # fmt: skip


@settings(deadline=None, max_examples=12)
@given(
    st.sampled_from((follower, band)),
    st.lists(st.tuples(PACKETS, st.none() | st.binary(min_size=1, max_size=3), st.integers(0, 3)), max_size=8),
)
def test_whatever_comes_gets_at_most_one_error_and_stops_nothing(make: Any, packets: list[Any]) -> None:
    desk, mix_N = Desk(make()), tune(0.3)
    position = take_anything(desk, packets, mix_N)
    answers = heard(desk, mix_N, position)
    assert np.isfinite(np.concatenate([answer.samples_N for answer in answers if hasattr(answer, "samples_N")])).all()
    assert desk.desk.musician._session.failures == 0


SCRIPT = """
import { Jam, tell } from "./jam.js";
import { leading } from "./leading.js";
import { writeLeading } from "./frames.js";
const sent = [];
const options = (room) => ({ rate: 44100, rows: 1, first: 300, step: 256, ahead: 0, least: 0, room });
const played = (room, message, voiced) => {
  const found = [];
  const send = (kind) => (position, samples) => found.push([kind, position, samples.length, samples[10]]);
  const jam = new Jam(options(room), send("mix"), send("lead"), () => {});
  if (message) tell(jam, message);
  for (let k = 0; k < 10; k++) {
    const voice = voiced ? new Float32Array(128).fill(0.25) : null;
    jam.process(new Float32Array(128).fill(0.5), new Float32Array(128), new Float32Array(128), voice);
  }
  return found;
};
const on = (heard) => ({ leading: true, heard });
const frame = Buffer.from(writeLeading(2 ** 40 + 3, Float32Array.of(0.5, -1))).toString("hex");
console.log(JSON.stringify({ frame, message: leading(["pitch"], true), cases: [
  played(false, null, true), played(false, on(false), true), played(false, on(true), true),
  played(true, null, false), played(true, on(false), false), played(true, on(true), false),
  played(false, on(true), false)] }));
"""


def test_the_page_sends_the_voice_before_the_mix_and_mixes_it_if_asked(tmp_path: Path, node: str) -> None:
    """For a song and for the microphone: what the mix is, and what leads; 0.5 is what is played, 0.25 the voice."""
    found = runner(REPOSITORY / "livejam/serving/web", tmp_path, node)(SCRIPT)
    leading = read_leading(bytes.fromhex(found["frame"]))
    assert (leading.position_samples, leading.audio_N.tolist()) == (2**40 + 3, [0.5, -1.0])
    assert found["message"] == {"kind": "leading", "controls": ["pitch"], "single": True}
    wanted = [(0.5, None), (0.5, 0.25), (0.75, 0.25), (0.5, None), (0, 0.5), (0.5, 0.5), (0.5, 0)]
    for blocks, (mix, lead) in zip(found["cases"], wanted, strict=True):
        kinds = [kind for kind, *_ in blocks]
        assert kinds == (["mix"] * len(kinds) if lead is None else ["lead", "mix"] * (len(kinds) // 2))
        assert {sample for kind, _, _, sample in blocks if kind == "mix"} == {mix}
        assert {sample for kind, _, _, sample in blocks if kind == "lead"} == (set() if lead is None else {lead})
        if lead is not None:
            assert [block[1:3] for block in blocks[::2]] == [block[1:3] for block in blocks[1::2]]
