"""References and sketches that musicians ask for on the page: as a session plays them, and whatever comes instead.

Shapes: N audio samples, E channels of an embedding.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from page_scripts import runner
from sounding import band, follower
from web_stage import JAM, RATE, Visitor, client_of, tune

from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.reference import interpolated
from livejam.serving.mono_sessions import mono_session
from livejam.serving.web_frames import MOST_SAMPLES, Recorded, is_recorded, read_recorded, write_recorded
from livejam.serving.web_guard import App
from livejam.serving.web_limits import Limits
from livejam.serving.web_messages import Prompt, Recording, Reference, Sketch, SketchFree
from livejam.serving.web_recordings import LONGEST_SECONDS, REMEMBERED_SECONDS, Recordings
from livejam.serving.web_server import make_app
from livejam.serving.web_shared import stage_of
from livejam.streaming import Session, Stroke, reference_of
from livejam.streaming.batons import Baton
from livejam.streaming.sharing import shared


def app_of(player: Player, limits: Limits | None = None) -> App:
    """A server as the command makes it."""
    baton = Baton()
    playing = shared(player, baton)

    def make(instruments: Any, seed: int) -> Session:
        return mono_session(playing, RATE, False, instruments, seed)

    return make_app(stage_of(Path("toy"), player, RATE, make, baton, limits or Limits(), print), (), "")


def send(visitor: Visitor, slot: int, audio_N: np.ndarray) -> None:
    for at in range(0, len(audio_N), MOST_SAMPLES):
        visitor.socket.send_bytes(write_recorded(Recorded(slot, at, audio_N[at : at + MOST_SAMPLES])))


def noise(seconds: float, seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def test_the_model_sounds_like_files_and_between_them() -> None:
    audio_N, recordings = tune(1.0), (noise(2.0, 1), np.cumsum(noise(1.5, 2)).astype(np.float32) / 9)
    with client_of(app_of(band())) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive", "Bass")
        assert (visitor.told[0]["references"], visitor.told[0]["sketches"]) == (True, False)
        for slot, recorded_N in enumerate(recordings):
            send(visitor, slot, recorded_N)
            visitor.say(Recording(slot))
            assert visitor.until("done")["of"] == "recording"
        for message in (Reference(0.25), Reference(1.0, 1)):
            visitor.say(message)
            assert visitor.until("done")["of"] == "reference"
        visitor.play(audio_N)
        answer_BN = visitor.hear(2, len(audio_N))
        for message in (Reference(0.0, None, 3.0), Reference(None)):
            visitor.say(message)
            assert visitor.until("done")["of"] == "reference"
    one_E, other_E = (
        reference_of(band(), torch.from_numpy(np.clip(recorded_N, -1, 1))[None], RATE) for recorded_N in recordings
    )
    session = Session(band(), sample_rate_hz=RATE, channels=1, instruments=["Percussive", "Bass"], seeds=[0, 1])
    session.set_reference(interpolated(one_E, other_E, 0.25), 0)
    session.set_reference(other_E, 1)
    wanted_BN = session.process_rows(torch.from_numpy(audio_N)[None])[:, 0].numpy()
    np.testing.assert_allclose(answer_BN, wanted_BN, atol=1e-5)


def test_the_model_sounds_like_what_was_played_last_and_says_what_is_missing() -> None:
    with client_of(app_of(band())) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive")
        for message, said in (
            (Reference(0.5), "there is no recording 0 yet"),
            (Recording(0), "no recording has come"),
            (Recording(1, 2.0), "nothing was heard yet"),
            (Sketch(pitch=60.0), "follows no sketch"),
            (SketchFree(), "follows no sketch"),
            (Prompt("x", 7 % 4), "there is no row 3"),
        ):
            visitor.say(message)
            problem = visitor.until("problem")
            assert said in problem["sentence"] or "prompts" in problem["sentence"]
            assert not problem["ended"]
        for frame, said in (
            (write_recorded(Recorded(0, 512, noise(0.01, 0))), "a piece of the recording is missing"),
            (write_recorded(Recorded(1, 0, noise(0.01, 0)))[:-2], "no sound"),
            (b"\x03\x02\x00\x00" + bytes(16), "no recording"),
        ):
            socket.send_bytes(frame)
            assert said in visitor.until("problem")["sentence"]
        send(visitor, 0, noise(0.05, 3))
        visitor.say(Recording(0))
        assert "shorter than 0.2 s" in visitor.until("problem")["sentence"]
        send(visitor, 0, np.zeros(RATE, dtype=np.float32))
        visitor.say(Recording(0))
        assert "is silent" in visitor.until("problem")["sentence"]
        visitor.play(tune(1.5))
        visitor.say(Recording(1, 1.0))
        assert visitor.until("done")["of"] == "recording"
        visitor.say(Reference(1.0))
        assert visitor.until("done")["of"] == "reference"
        visitor.say(Reference(0.5))
        assert "there is no recording 0 yet" in visitor.until("problem")["sentence"]
        assert np.isfinite(visitor.hear(1, RATE)).all()


def test_a_sketch_is_moved_by_sliders() -> None:
    audio_N = tune(2.0)
    with client_of(app_of(follower())) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive")
        assert (visitor.told[0]["references"], visitor.told[0]["sketches"]) == (False, True)
        for message in (Sketch(-40.0, 90.0), Sketch(None, None, 64.0, 0.5), SketchFree("loudness")):
            visitor.say(message)
            assert visitor.until("done")["of"] == message.kind
        visitor.play(audio_N)
        answer_BN = visitor.hear(1, len(audio_N) // 2)
        for wrong, said in (
            ({"kind": "sketch", "loudness": 21}, "from -100 to 20"),
            ({"kind": "sketch", "pitch": "C"}, "pitch is 'C'"),
            ({"kind": "sketch_free", "control": "volume"}, "no control 'volume'"),
        ):
            socket.send_text(json.dumps(wrong))
            assert said in visitor.until("problem")["sentence"]
        visitor.say(Recording(0))
        assert "takes no reference" in visitor.until("problem")["sentence"]
        send(visitor, 0, noise(0.05, 3))
        assert "takes no reference" in visitor.until("problem")["sentence"]
    session = Session(follower(), sample_rate_hz=RATE, channels=1, instruments=["Percussive"], seeds=[0])
    session.draw_sketch(Stroke("brightness", (90.0,)))
    session.draw_sketch(Stroke("pitch", (64.0,), 0.5))
    known_BAN = torch.cat((session.advance(torch.zeros(1, 0)), session.advance(torch.from_numpy(audio_N)[None])), -1)
    np.testing.assert_allclose(answer_BN, known_BAN[:, 0, : answer_BN.shape[1]].numpy(), atol=1e-5)


def test_who_sends_too_many_recordings_is_sent_away() -> None:
    with client_of(app_of(band(), Limits(recordings_per_second=0.01, recordings_burst=1.0))) as client:
        for many in (lambda visitor: send(visitor, 0, noise(5.0, 0)), lambda visitor: visitor.say(Recording(0))):
            with client.websocket_connect(JAM) as socket:
                visitor = Visitor(socket)
                visitor.begin("Percussive")
                for _ in range(8):
                    many(visitor)
                while not visitor.until("problem")["ended"]:
                    pass
                assert "too many recordings" in visitor.told[-1]["sentence"]


PIECES = st.tuples(st.integers(0, 1), st.sampled_from(("next", "anew", "far")), st.integers(1, 400))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(PIECES, st.integers(0, 1), st.floats(0.2, REMEMBERED_SECONDS), st.floats(0, 1)), max_size=40))
def test_whatever_is_recorded_in_whatever_order(events: list[Any]) -> None:
    """Against a model of it: what was sent whole is given, and all else is refused and leaves no trace."""
    rate = 20
    recordings, sent, heard_N = Recordings(rate), dict[int, list[float]](), np.zeros(0, dtype=np.float32)
    number = 0
    for event in events:
        if isinstance(event, tuple):
            slot, where, samples = event
            held = sent.get(slot, [])
            position = {"next": len(held), "anew": 0, "far": len(held) + 7}[where]
            piece_N = np.arange(number, number + samples, dtype=np.float32)
            number += samples
            whole = ([] if position == 0 else held) + piece_N.tolist()
            good = position != len(held) + 7 and len(whole) <= LONGEST_SECONDS * rate
            try:
                recordings.put(Recorded(slot, position, piece_N))
                assert good
                sent[slot] = whole
            except UserError:
                assert not good
                sent.pop(slot, None) if position else None
            recordings.hear(piece_N)
            heard_N = np.concatenate((heard_N, piece_N))
        elif isinstance(event, int):
            if event in sent:
                assert recordings.sent(event).tolist() == sent.pop(event)
            else:
                with pytest.raises(UserError, match="no recording has come"):
                    recordings.sent(event)
        elif len(heard_N):
            last_N = recordings.last(max(event, 0.2))
            assert last_N.tolist() == heard_N[-round(max(event, 0.2) * rate) :].tolist()


@settings(max_examples=200)
@given(st.binary(max_size=64) | st.binary(max_size=40).map(lambda rest: b"\x03" + rest))
def test_any_frame_is_a_piece_of_a_recording_or_refused(frame: bytes) -> None:
    assert is_recorded(frame) == frame.startswith(b"\x03")
    try:
        recorded = read_recorded(frame)
    except UserError:
        return
    again = read_recorded(write_recorded(recorded))
    assert (again.slot, again.position_samples) == (recorded.slot, recorded.position_samples)
    np.testing.assert_array_equal(again.audio_N, recorded.audio_N)
    assert np.abs(recorded.audio_N).max() <= 1


VALUES = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 200) | st.floats(0, 1)
ASKED = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("sketch")}, optional=dict.fromkeys(("loudness", "brightness", "pitch"), VALUES)
    ),
    st.fixed_dictionaries({"kind": st.just("sketch_free"), "control": st.sampled_from(("pitch", "x", "", None))}),
    st.fixed_dictionaries({"kind": st.just("recording"), "slot": st.integers(-1, 2), "seconds": VALUES}),
    st.fixed_dictionaries({"kind": st.just("reference"), "share": VALUES, "row": st.integers(-1, 3) | st.none()}),
    st.binary(max_size=40).map(lambda rest: b"\x03" + rest),
    st.integers(1, 9000).map(lambda samples: write_recorded(Recorded(samples % 2, 0, noise(0.1, samples)[:4096]))),
)


@settings(deadline=None, max_examples=4)
@given(st.sampled_from((band, follower)), st.lists(ASKED, max_size=10))
def test_whatever_comes_gets_one_answer_and_stops_nothing(make: Any, sent: list[Any]) -> None:
    with client_of(app_of(make(), Limits(recordings_burst=99.0))) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive")
        visitor.play(tune(0.3))
        answered = 0
        for each in sent:
            if isinstance(each, bytes):
                socket.send_bytes(each)
                continue
            socket.send_text(json.dumps(each))
            while True:
                told = visitor.receive()
                if told is not None and told["kind"] == "done":
                    break
                if told is not None and told["kind"] == "problem":
                    assert not told["ended"]
                    if "frame" not in told["sentence"] and "piece" not in told["sentence"]:
                        break
            answered += 1
        visitor.play(tune(0.7), start=round(0.3 * RATE))
        assert np.isfinite(visitor.hear(1, RATE // 2)).all()


def test_what_the_page_sends(tmp_path: Path, node: str) -> None:
    run = runner(REPOSITORY / "livejam/serving/web", tmp_path, node)
    found = run(
        'import { reference } from "./likeness.js"; import { between, hertz, note } from "./sketching.js";'
        'import { writeRecorded } from "./frames.js";'
        "const frame = [...new Uint8Array(writeRecorded(1, 5000, Float32Array.from([0.5, -0.25])))];"
        'console.log(JSON.stringify([reference(0.3, "2"), reference(null, ""), between({ low: -70, high: -5 }, 2),'
        "between({ low: 40, high: 115 }, 0.5), hertz(69), note(60), frame]));"
    )
    assert found[:2] == [
        {"kind": "reference", "share": 0.3, "fade_seconds": 2},
        {"kind": "reference", "share": None, "fade_seconds": 0},
    ]
    assert found[2:6] == [-5, 78, 440, "C4"]
    recorded = read_recorded(bytes(found[6]))
    assert (recorded.slot, recorded.position_samples, recorded.audio_N.tolist()) == (1, 5000, [0.5, -0.25])
