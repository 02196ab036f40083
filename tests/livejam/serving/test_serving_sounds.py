"""References and sketches that musicians ask for over OSC: as a session plays them, and whatever comes instead.

Shapes: N audio samples, E channels of an embedding.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from osc_desk import BLOCK, RATE, Desk, heard, placed, take_anything
from players import sound
from sounding import band, follower
from web_stage import tune

from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.serving.named_references import NamedReferences, read_named
from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import Error, Hello, Level, Reset
from livejam.serving.osc_sound_messages import (
    Reference,
    ReferenceBetween,
    ReferenceRow,
    Sketch,
    SketchCurve,
    SketchFree,
    SketchNotes,
)
from livejam.serving.osc_wire import write_datagram
from livejam.streaming import Session, Stroke, reference_of


@cache
def named() -> NamedReferences:
    sounds = {"voice": sound(1, 3 * RATE, 5), "strings": sound(1, RATE, 6).cumsum(1)}
    return NamedReferences({name: reference_of(band(), audio_AN, RATE) for name, audio_AN in sounds.items()})


def greeted(player: Player, instruments: tuple[str, ...] = ("Percussive",), references: bool = False) -> Desk:
    desk = Desk(player, instruments, named() if references else NamedReferences())
    desk(Hello())
    return desk


def session_of(desk: Desk) -> Session:
    return desk.desk.musician._session


def refused(desk: Desk, message: Message | bytes) -> str:
    desk.clock.sleep(0.2)
    (error,) = desk(message)
    assert isinstance(error, Error)
    return error.sentence


def agree(answers: list[Message], session: Session, audio_N: np.ndarray) -> None:
    """What was answered is what a session plays to it."""
    whole = len(audio_N) // BLOCK * BLOCK
    session.advance(torch.zeros(1, 0))
    wanted_BN = session.advance(torch.from_numpy(audio_N[:whole])[None])[:, 0].numpy()
    start = session.known_samples - wanted_BN.shape[1]
    got_BN = placed(answers, session.rows, session.known_samples)[:, start:]
    there = np.isfinite(got_BN)
    there[:, :2048] = False  # the opening is faded in
    assert there.sum() > 0.5 * there.size
    np.testing.assert_allclose(got_BN[there], wanted_BN[there], atol=1e-5)


def test_a_reference_is_chosen_mixed_and_moved_by_a_fader() -> None:
    desk, audio_N = greeted(band(), ("Percussive", "Bass"), True), tune(1.0)
    one_E, other_E = named().embeddings.values()
    assert not desk(Reference("voice:3, strings:1"))
    assert not desk(ReferenceRow(1, "voice:2, strings:2", 0.0))
    answers = heard(desk, audio_N)
    controls = session_of(desk)._musician.controls
    means_BE = torch.stack((0.75 * one_E + 0.25 * other_E, 0.5 * (one_E + other_E)))
    assert torch.allclose(controls.reference_BE, means_BE, atol=1e-6)  # type: ignore[arg-type]
    alone = desk.session(("Percussive", "Bass"))
    for row, mean_E in enumerate(means_BE):
        alone.set_reference(mean_E, row)
    agree(answers, alone, audio_N)
    desk(ReferenceRow(0, "none"))
    desk(ReferenceRow(1, "strings", 2.0))
    heard(desk, audio_N, len(audio_N) // BLOCK * BLOCK)
    none_E, going_E = session_of(desk)._musician.controls.reference_BE  # type: ignore[misc]
    assert not none_E.any()
    assert not torch.equal(going_E, other_E)
    desk(ReferenceBetween("voice", "strings", 0.25))
    heard(desk, audio_N[: RATE // 2], 2 * (len(audio_N) // BLOCK * BLOCK))
    between_BE = session_of(desk)._musician.controls.reference_BE
    assert torch.allclose(between_BE, (0.75 * one_E + 0.25 * other_E).expand(2, -1), atol=1e-6)  # type: ignore[arg-type]
    assert "there is no reference 'viola'; there are voice, strings" in refused(desk, Reference("viola"))
    assert "has no weight" in refused(desk, Reference("voice:1, strings"))
    assert "/etc/passwd" in refused(desk, Reference("/etc/passwd")), "what is asked for is a name and no file"
    assert "there is no row 3" in refused(desk, ReferenceRow(3, "voice"))
    assert "share of the other is 1.5" in refused(
        desk, write_datagram("/reference_between", [("s", "voice"), ("s", "strings"), ("f", 1.5)])
    )
    assert "takes no reference" in refused(greeted(follower(), references=True), Reference("voice"))
    assert "started without --like" in refused(greeted(band()), Reference("voice"))


def test_a_sketch_is_drawn_at_once_and_ahead() -> None:
    desk, audio_N = greeted(follower(), ("Percussive", "Bass")), tune(2.5)
    asked = (
        Sketch("loudness", -40.0), SketchCurve("brightness", 22_050, 1.0, np.array([90], dtype=np.float32)),
        SketchCurve("pitch", 40_000, 1.0, np.array([60, -1, 64.2, 67], dtype=np.float32)),
    )  # fmt: skip
    for message in asked:
        assert not desk(message)
    answers = heard(desk, audio_N)
    alone = desk.session(("Percussive", "Bass"))
    alone.advance(torch.zeros(1, 0))
    alone.draw_sketch(Stroke("loudness", (-40.0,)))
    alone.draw_sketch(Stroke("brightness", (90.0,), 1.0), 22_050)
    alone.draw_sketch(Stroke("pitch", (60.0, -1.0, float(np.float32(64.2)), 67.0), 1.0), 40_000)
    agree(answers, alone, audio_N)
    assert not desk(SketchNotes((60, 64)))
    assert not desk(SketchFree("loudness"))
    assert not desk(SketchFree())
    assert session_of(desk).failures == 0


def test_a_musician_who_counts_from_elsewhere_or_begins_anew_draws_where_the_sound_is() -> None:
    start, audio_N = 1_000_000 // BLOCK * BLOCK, tune(2.0)
    drawings = []
    for origin, reset in ((0, False), (start, False), (start, True)):
        desk = greeted(follower())
        heard(desk, audio_N, origin)
        end = origin + len(audio_N) // BLOCK * BLOCK
        if reset:  # the session counts from 0 again, the musician does not
            desk(Reset())
            end_frame = 0.0
        else:
            end_frame = session_of(desk).heard_samples / RATE * follower().codec.spec.frame_rate_hz
        assert not desk(SketchCurve("brightness", end + RATE, 0.0, np.array([80], dtype=np.float32)))
        drawing = session_of(desk).snapshot().pipeline.drawing
        assert drawing is not None
        asked_T = drawing.between(0, 200)[:, 1].isfinite()
        drawings.append(int(asked_T.int().argmax()) - end_frame)
    assert max(drawings) - min(drawings) <= 1, drawings
    assert abs(drawings[0] - follower().codec.spec.frame_rate_hz) <= 1


NO_SKETCHES: tuple[tuple[Message | bytes, str], ...] = (
    (Sketch("volume", 0.0), "there is no control 'volume'"),
    (Sketch("loudness", 40.0), "a loudness of 40.0 cannot"),
    (Sketch("pitch", -2.0), "a pitch of -2.0"),
    (SketchCurve("pitch", 2**31 - 1, 0.0, np.array([60], dtype=np.float32)), "ahead cannot be drawn"),
    (SketchCurve("loudness", 0, 0.5, np.array([-20, -10], dtype=np.float32)), "after its end"),
    (SketchCurve("brightness", 0, 60.0, np.array([-20, -10], dtype=np.float32)), "a brightness of -20.0"),
    (SketchNotes((60, 61, 62, 63, 64)), "0 to 4 notes"),
    (SketchNotes((200,)), "0 to 4 notes"),
    (SketchFree("x"), "there is no control 'x'"),
    (write_datagram("/sketch", [("s", "pitch")]), "is missing"),
    (write_datagram("/sketch", [("s", "pitch"), ("f", math.nan)]), "not a finite number"),
    (write_datagram("/sketch", [("s", "pitch"), ("s", "60")]), "not a finite number"),
    (write_datagram("/sketch_curve", [("s", "pitch"), ("i", 0), ("f", 1.0)]), "0 values"),
    (write_datagram("/sketch_curve", [("s", "pitch"), ("i", 0), ("f", 0.0), ("f", 1.0), ("f", 2.0)]), "in 0 s"),
    (write_datagram("/sketch_curve", [("s", "pitch"), ("i", 0), ("f", 99.0), ("f", 1.0)]), "from 0 to 60"),
    (
        write_datagram("/sketch_curve", [("s", "pitch"), ("i", 0), ("f", 1.0), ("f", math.inf), ("f", 2.0)]),
        "must be finite",
    ),
)


def test_what_is_no_sketch_gets_one_error() -> None:
    desk = greeted(follower())
    heard(desk, tune(1.0))
    before = session_of(desk).snapshot()
    for message, said in NO_SKETCHES:
        assert said in refused(desk, message)
        assert session_of(desk).snapshot() is before


def test_who_follows_none_says_so() -> None:
    for message in (Sketch("pitch", 60.0), SketchNotes((60,)), SketchFree()):
        assert "follows no sketch" in refused(greeted(band()), message)


NUMBERS = st.floats(width=32) | st.floats(-200, 200, width=32)
POSITIONS = st.integers(-(2**31), 2**31 - 1) | st.integers(0, 3 * RATE)
NAMES = st.sampled_from(("loudness", "brightness", "pitch", "voice", "strings", "none", "x", "voice:1, strings:2"))
ADDRESSES = ("/reference", "/reference_between", "/sketch", "/sketch_curve", "/sketch_notes", "/sketch_free", "/undo")
ARGUMENTS = st.one_of(
    st.tuples(st.just("s"), NAMES | st.text("a:,1. é", max_size=12)), st.tuples(st.just("f"), NUMBERS),
    st.tuples(st.just("i"), POSITIONS), st.tuples(st.just("T"), st.booleans()),
)  # fmt: skip
LIKELY = st.one_of(
    st.tuples(st.just("/sketch"), st.tuples(
        st.tuples(st.just("s"), NAMES), st.tuples(st.just("f"), NUMBERS), st.tuples(st.just("f"), st.floats(0, 70)))),
    st.tuples(st.just("/sketch_curve"), st.tuples(
        st.tuples(st.just("s"), NAMES), st.tuples(st.just("i"), POSITIONS), st.tuples(st.just("f"), st.floats(0, 70)),
        *[st.tuples(st.just("f"), NUMBERS)] * 3)),
    st.tuples(st.just("/reference"), st.tuples(
        st.tuples(st.just("s"), NAMES), st.tuples(st.just("f"), NUMBERS))),
    st.tuples(st.just("/reference_row"), st.tuples(
        st.tuples(st.just("i"), st.integers(-1, 2)), st.tuples(st.just("s"), NAMES))),
    st.tuples(st.just("/reference_between"), st.tuples(
        st.tuples(st.just("s"), NAMES), st.tuples(st.just("s"), NAMES), st.tuples(st.just("f"), NUMBERS))),
    st.tuples(st.sampled_from(ADDRESSES), st.lists(ARGUMENTS, max_size=6)),
)  # fmt: skip


@settings(deadline=None, max_examples=12)
@given(
    st.sampled_from((band, follower)),
    st.lists(st.tuples(LIKELY, st.none() | st.binary(min_size=1, max_size=3), st.integers(0, 3)), max_size=8),
)
def test_whatever_comes_gets_at_most_one_error_and_stops_nothing(make: Any, packets: list[Any]) -> None:
    """Good, wrong, late, early, infinite and damaged packets, between blocks of sound."""
    desk, audio_N = greeted(make(), references=True), tune(1.0)[: 8 * BLOCK]
    position = take_anything(desk, packets, audio_N)
    desk(Level(0.0))
    session = session_of(desk)
    audio_N = tune(0.5)
    answers = heard(desk, audio_N, position)
    got_N = np.concatenate([answer.samples_N for answer in answers if hasattr(answer, "samples_N")])
    assert np.isfinite(got_N).all()
    assert session.failures == 0
    assert desk(Hello())


def test_the_files_that_a_server_is_started_with(tmp_path: Path) -> None:
    path = tmp_path / "a=b.wav"
    soundfile.write(path, sound(2, 3 * RATE, 5).T.numpy(), RATE, subtype="FLOAT")
    found = read_named([f"voice={path}", f"Voice-2={path}"], band())
    assert list(found.embeddings) == ["voice", "Voice-2"]
    for given_options, said in (
        (["voice.wav"], "names no reference"),
        ([f"none={path}"], "names no reference"),
        ([f"my voice={path}"], "names no reference"),
        ([f"={path}"], "names no reference"),
        (["voice="], "names no reference"),
        ([f"voice={path}", f"voice={path}"], "two files with the name voice"),
        (["voice=nothing.wav"], r"nothing\.wav"),
    ):
        with pytest.raises(UserError, match=said):
            read_named(given_options, band())
    with pytest.raises(UserError, match="takes no reference"):
        read_named([f"voice={path}"], follower())
